/* HTTP requests of policies in the kit: answered by what the test said of their URL, never sent. */
#include <stdio.h>
#include <stdlib.h>

#include "kit_internal.h"

enum { SENT_HEADERS = 64, ANSWER_HEADERS = 32, REASON_SIZE = 256 };

struct header {
    char *name, *value;
};

struct scripted_answer {
    struct list link;
    uint32_t status;
    char *body;
    struct header headers[ANSWER_HEADERS];
    size_t header_count;
};

/* What is known of one URL, or of all with one beginning. */
struct kit_script {
    struct list link;
    char *url;
    bool is_prefix; /* of all that begin so and have no answer of their own */
    struct list answers;
    kit_fetch_answerer *answerer;
    void *answerer_user;
    uint32_t delay_ms;
    size_t count;
    /* Of the last request. */
    char *method, *body;
    struct header headers[SENT_HEADERS];
    size_t header_count;
};

struct kit_fetch {
    struct list link;
    uint64_t owner;
    struct kit *kit;
    struct kit_script *script;
    void (*done)(void *arg, const weir_fetch_answer *answer);
    void *arg;
    void *timer, *delay; /* `delay` NULL: the answer is there */
    uint32_t deadline_ms, body_limit;
};

static char *copy_of(struct span text)
{
    return kit_need(strndup(text.data == NULL ? "" : text.data, text.size));
}

static weir_str str_of(const char *text)
{
    return (weir_str){text, strlen(text)};
}

/* ---- scripts */

static struct kit_script *find_script(const struct kit *kit, struct span url)
{
    LIST_FOREACH (node, &kit->first->scripts) {
        struct kit_script *script = LIST_ENTRY(node, struct kit_script, link);
        if (!script->is_prefix && span_equal(span_text(script->url), url))
            return script;
    }
    return NULL;
}

static bool has_answer(const struct kit_script *script)
{
    return script->answerer != NULL || !list_is_empty(&script->answers);
}

static bool has_delay(const struct kit_script *script)
{
    return script->delay_ms > 0;
}

/* The longest that begins `url` and has what is wanted; NULL: none. */
static struct kit_script *find_prefix(const struct kit *kit, struct span url,
                                      bool (*has)(const struct kit_script *script))
{
    struct kit_script *found = NULL;
    LIST_FOREACH (node, &kit->first->scripts) {
        struct kit_script *script = LIST_ENTRY(node, struct kit_script, link);
        if (script->is_prefix && has(script) && span_starts_with(url, span_text(script->url)) &&
            (found == NULL || strlen(script->url) > strlen(found->url)))
            found = script;
    }
    return found;
}

static struct kit_script *add_url(struct kit *kit, struct span url, bool is_prefix)
{
    struct kit_script *script = kit_need(calloc(1, sizeof(*script)));
    script->url = copy_of(url);
    script->is_prefix = is_prefix;
    list_init(&script->answers);
    list_push_back(&kit->first->scripts, &script->link);
    return script;
}

static struct kit_script *script_of(struct kit *kit, struct span url)
{
    struct kit_script *script = find_script(kit, url);
    return script != NULL ? script : add_url(kit, url, false);
}

static struct kit_script *prefix_of(struct kit *kit, const char *prefix)
{
    CHECK(kit, KIT);
    LIST_FOREACH (node, &kit->first->scripts) {
        struct kit_script *script = LIST_ENTRY(node, struct kit_script, link);
        if (script->is_prefix && strcmp(script->url, prefix) == 0)
            return script;
    }
    return add_url(kit, span_text(prefix), true);
}

static void free_answer(struct scripted_answer *answer)
{
    list_remove(&answer->link);
    for (size_t i = 0; i < answer->header_count; i++) {
        free(answer->headers[i].name);
        free(answer->headers[i].value);
    }
    free(answer->body);
    free(answer);
}

static void forget_request(struct kit_script *script)
{
    for (size_t i = 0; i < script->header_count; i++) {
        free(script->headers[i].name);
        free(script->headers[i].value);
    }
    script->header_count = 0;
    free(TAKE(script->method));
    free(TAKE(script->body));
}

void kit_scripts_free(struct kit *kit)
{
    LIST_FOREACH (node, &kit->scripts) {
        struct kit_script *script = LIST_ENTRY(node, struct kit_script, link);
        LIST_FOREACH (answer, &script->answers)
            free_answer(LIST_ENTRY(answer, struct scripted_answer, link));
        forget_request(script);
        list_remove(&script->link);
        free(script->url);
        free(script);
    }
}

static void add_header(struct scripted_answer *answer, const char *name, const char *value)
{
    if (answer->header_count == ANSWER_HEADERS)
        kit_die("no more than %d headers of an answer", ANSWER_HEADERS);
    answer->headers[answer->header_count++] =
        (struct header){copy_of(span_text(name)), copy_of(span_text(value))};
}

static void add_answer(struct kit_script *script, int status, const char *content_type,
                       const char *body)
{
    if (status != 0 && (status < 200 || status > 999))
        kit_die("kit_fetch_answer: %d is no status of an answer", status);
    struct scripted_answer *answer = kit_need(calloc(1, sizeof(*answer)));
    answer->status = (uint32_t)status;
    answer->body = copy_of(span_text(body));
    if (content_type != NULL)
        add_header(answer, "Content-Type", content_type);
    list_push_back(&script->answers, &answer->link);
}

void kit_fetch_answer(struct kit *kit, const char *url, int status, const char *content_type,
                      const char *body)
{
    CHECK(kit, KIT);
    add_answer(script_of(kit, span_text(url)), status, content_type, body);
}

void kit_fetch_answer_prefix(struct kit *kit, const char *prefix, int status,
                             const char *content_type, const char *body)
{
    add_answer(prefix_of(kit, prefix), status, content_type, body);
}

void kit_fetch_answer_by(struct kit *kit, const char *prefix, kit_fetch_answerer *answerer,
                         void *user)
{
    struct kit_script *script = prefix_of(kit, prefix);
    script->answerer = answerer;
    script->answerer_user = user;
}

void kit_fetch_delay(struct kit *kit, const char *prefix, uint32_t ms)
{
    prefix_of(kit, prefix)->delay_ms = ms;
}

void kit_fetch_answer_header(struct kit *kit, const char *url, const char *name, const char *value)
{
    CHECK(kit, KIT);
    struct kit_script *script = find_script(kit, span_text(url));
    if (script == NULL || list_is_empty(&script->answers))
        kit_die("kit_fetch_answer_header: %s has no answer yet", url);
    add_header(LIST_ENTRY(script->answers.prev, struct scripted_answer, link), name, value);
}

/* ---- what is under way */

static void drop(struct kit_fetch *fetch)
{
    list_remove(&fetch->link);
    kit_services.timer_stop(fetch->kit, TAKE(fetch->timer));
    kit_services.timer_stop(fetch->kit, TAKE(fetch->delay));
    free(fetch);
}

static void finish(struct kit_fetch *fetch, const weir_fetch_answer *answer)
{
    void (*done)(void *arg, const weir_fetch_answer *answer) = fetch->done;
    void *arg = fetch->arg;
    drop(fetch);
    done(arg, answer);
}

static void fail(struct kit_fetch *fetch, const char *why)
{
    finish(fetch, &(weir_fetch_answer){.size = sizeof(weir_fetch_answer), .why = str_of(why)});
}

static void on_answer(void *arg)
{
    struct kit_fetch *fetch = arg;
    fetch->delay = NULL; /* it ran once and is gone; what follows is a turn */
}

static void on_late(void *arg)
{
    struct kit_fetch *fetch = arg;
    char why[REASON_SIZE];
    fetch->timer = NULL; /* it ran once and is gone */
    (void)snprintf(why, sizeof(why), "no whole answer within %u ms", (unsigned)fetch->deadline_ms);
    fail(fetch, why);
}

static struct kit_fetch *due_fetch(const struct kit *kit)
{
    if (kit->first->fetches_held)
        return NULL;
    LIST_FOREACH (node, &kit->fetches) {
        struct kit_fetch *fetch = LIST_ENTRY(node, struct kit_fetch, link);
        if (fetch->delay == NULL)
            return fetch;
    }
    return NULL;
}

bool kit_fetch_is_due(const struct kit *kit)
{
    return due_fetch(kit) != NULL;
}

/* The last answer of `from` stays for those that come. */
static void answer_with(struct kit_fetch *fetch, const struct kit_script *from,
                        struct scripted_answer *answer)
{
    char why[REASON_SIZE];
    bool is_last = from != NULL && answer->link.next == &from->answers;
    if (!is_last)
        list_remove(&answer->link); /* whoever is called may add others and fetch again */
    if (answer->status == 0) {
        fail(fetch, answer->body[0] != '\0' ? answer->body : "no answer came");
    } else if (strlen(answer->body) > fetch->body_limit) {
        (void)snprintf(why, sizeof(why), "the body of the answer is longer than %u bytes",
                       (unsigned)fetch->body_limit);
        fail(fetch, why);
    } else {
        weir_pair headers[ANSWER_HEADERS];
        for (size_t i = 0; i < answer->header_count; i++)
            headers[i] =
                (weir_pair){str_of(answer->headers[i].name), str_of(answer->headers[i].value)};
        finish(fetch, &(weir_fetch_answer){.size = sizeof(weir_fetch_answer),
                                           .status = answer->status,
                                           .headers = headers,
                                           .header_count = answer->header_count,
                                           .body = str_of(answer->body)});
    }
    if (!is_last)
        free_answer(answer);
}

/* What the test's function says is for this fetch alone. */
static void answer_by_test(struct kit_fetch *fetch, const struct kit_script *script)
{
    struct kit_script *own = fetch->script;
    script->answerer(script->answerer_user, fetch->kit, own->url);
    if (list_is_empty(&own->answers))
        fail(fetch, "no answer came");
    else
        answer_with(fetch, NULL, LIST_ENTRY(own->answers.next, struct scripted_answer, link));
}

void kit_fetch_deliver(struct kit *kit)
{
    struct kit_fetch *fetch = due_fetch(kit);
    if (fetch == NULL)
        return;
    struct kit_script *script = fetch->script;
    if (list_is_empty(&script->answers)) {
        script = find_prefix(kit, span_text(fetch->script->url), has_answer);
        if (script != NULL && script->answerer != NULL) {
            answer_by_test(fetch, script);
            return;
        }
    }
    if (script == NULL)
        fail(fetch, "the test said nothing of this URL");
    else
        answer_with(fetch, script, LIST_ENTRY(script->answers.next, struct scripted_answer, link));
}

/* ---- services */

static bool is_sound(const weir_fetch_request *request)
{
    struct span url = {request->url.data, request->url.size};
    if (!span_starts_with_nocase(url, SPAN("http://")) &&
        !span_starts_with_nocase(url, SPAN("https://")))
        return false;
    for (size_t i = 0; i < url.size; i++)
        if (url.data[i] <= ' ' || url.data[i] >= 127)
            return false;
    if (request->deadline_ms == 0 || request->header_count > SENT_HEADERS ||
        (request->flags & ~WEIR_PEER_NO_VERIFY) != 0 ||
        !http_name_is_valid((struct span){request->method.data, request->method.size}))
        return false;
    for (size_t i = 0; i < request->header_count; i++) {
        const weir_pair *header = &request->headers[i];
        if (!http_name_is_valid((struct span){header->key.data, header->key.size}) ||
            !http_value_is_valid((struct span){header->value.data, header->value.size}))
            return false;
    }
    return true;
}

static void remember(struct kit_script *script, const weir_fetch_request *request)
{
    forget_request(script);
    script->count++;
    script->method = copy_of((struct span){request->method.data, request->method.size});
    if (request->body.data != NULL)
        script->body = copy_of((struct span){request->body.data, request->body.size});
    for (size_t i = 0; i < request->header_count; i++) {
        const weir_pair *header = &request->headers[i];
        script->headers[i].name = copy_of((struct span){header->key.data, header->key.size});
        script->headers[i].value = copy_of((struct span){header->value.data, header->value.size});
    }
    script->header_count = request->header_count;
}

void *kit_fetch_start(void *user, const weir_fetch_request *request,
                      void (*done)(void *arg, const weir_fetch_answer *answer), void *arg)
{
    struct kit *kit = user;
    if (!is_sound(request))
        return NULL;
    struct kit_fetch *fetch = kit_need(calloc(1, sizeof(*fetch)));
    fetch->kit = kit;
    fetch->owner = kit_owner(kit);
    fetch->script = script_of(kit, (struct span){request->url.data, request->url.size});
    fetch->done = done;
    fetch->arg = arg;
    fetch->deadline_ms = request->deadline_ms;
    fetch->body_limit = request->body_limit;
    fetch->timer = kit_need(kit_timer_start(kit, request->deadline_ms, 0, on_late, fetch));
    const struct kit_script *slow =
        find_prefix(kit, (struct span){request->url.data, request->url.size}, has_delay);
    if (slow != NULL)
        fetch->delay = kit_need(kit_timer_start(kit, slow->delay_ms, 0, on_answer, fetch));
    remember(fetch->script, request);
    list_push_back(&kit->fetches, &fetch->link);
    return fetch;
}

void kit_fetch_cancel(void *user, void *fetch)
{
    (void)user;
    drop(fetch);
}

/* ---- what a test asks */

void kit_fetch_hold(struct kit *kit)
{
    CHECK(kit, KIT);
    kit->first->fetches_held = true;
}

void kit_fetch_release(struct kit *kit)
{
    CHECK(kit, KIT);
    kit->first->fetches_held = false;
    for (uint32_t i = 0; i < KIT_WORKERS; i++)
        if (kit->first->workers[i] != NULL)
            kit_turn(kit->first->workers[i]);
}

size_t kit_fetch_count(const struct kit *kit, const char *url)
{
    size_t count = 0;
    CHECK(kit, KIT);
    LIST_FOREACH (node, &kit->first->scripts) {
        const struct kit_script *script = LIST_ENTRY(node, const struct kit_script, link);
        if (url == NULL || strcmp(script->url, url) == 0)
            count += script->count;
    }
    return count;
}

size_t kit_fetches_of(const struct kit *kit, uint64_t owner)
{
    size_t count = 0;
    LIST_FOREACH (node, &kit->fetches) {
        const struct kit_fetch *fetch = LIST_ENTRY(node, const struct kit_fetch, link);
        count += owner == 0 || fetch->owner == owner;
    }
    return count;
}

size_t kit_fetch_waiting(const struct kit *kit)
{
    CHECK(kit, KIT);
    return kit_fetches_of(kit, 0);
}

const char *kit_fetch_method(const struct kit *kit, const char *url)
{
    CHECK(kit, KIT);
    const struct kit_script *script = find_script(kit, span_text(url));
    return script == NULL ? NULL : script->method;
}

const char *kit_fetch_header(const struct kit *kit, const char *url, const char *name)
{
    CHECK(kit, KIT);
    const struct kit_script *script = find_script(kit, span_text(url));
    for (size_t i = 0; script != NULL && i < script->header_count; i++)
        if (span_equal_nocase(span_text(script->headers[i].name), span_text(name)))
            return script->headers[i].value;
    return NULL;
}

const char *kit_fetch_body(const struct kit *kit, const char *url)
{
    CHECK(kit, KIT);
    const struct kit_script *script = find_script(kit, span_text(url));
    return script == NULL ? NULL : script->body;
}
