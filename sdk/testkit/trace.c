/* What a test learns of hooks: which ran, in which order, with which verdict. The descriptor of
 * each image is given functions of this file, which call the plugin's own and write down what came
 * of it. Also what the plugin keeps of the request in memory is watched from here. */
#include <stdlib.h>

#include "kit_internal.h"
#include "plugin_host/phases.h"

struct kit_image {
    struct list link;
    const weir_plugin *plugin;
    weir_plugin given; /* before its functions were replaced */
};

static kit_request *of_request(weir_request *request)
{
    kit_request *r = (kit_request *)(void *)request;
    CHECK(r, KIT_REQUEST);
    return r;
}

static struct kit_image *find_image(const struct kit *kit, const weir_plugin *plugin)
{
    LIST_FOREACH (node, &kit->image_list) {
        struct kit_image *image = LIST_ENTRY(node, struct kit_image, link);
        if (image->plugin == plugin)
            return image;
    }
    return NULL;
}

/* What the author wrote. */
static const weir_plugin *given(const kit_request *r, const void *self)
{
    const struct kit_image *image = find_image(r->kit, policy_of_self(self)->plugin);
    if (image == NULL)
        kit_die("a hook of a plugin that was never loaded");
    return &image->given;
}

/* ---- lines */

static const struct walk *running_walk(weir_request *request)
{
    const struct walk *walk = request_running(request);
    if (walk == NULL)
        kit_die("a hook runs outside of its phase");
    return walk;
}

static void write_names(kit_request *r, const struct walk *walk)
{
    const struct policy *policy = walk->entry->policy->policy;
    buf_printf(&r->trace, "%s %.*s", phase_name(walk->phase), SPAN_ARG(policy->name));
    if (span_is_set(policy->instance_name))
        buf_printf(&r->trace, "/%.*s", SPAN_ARG(policy->instance_name));
}

static weir_verdict note(kit_request *r, const struct walk *walk, weir_verdict verdict)
{
    r->kit->running = NULL;
    buf_printf(&r->trace, " %s\n", verdict_word(&r->request, walk, verdict));
    if (r->trace.failed)
        kit_die("no memory");
    return verdict;
}

/* The hook runs from here on; what it starts is the request's. */
static kit_request *enter(weir_request *request)
{
    kit_request *r = of_request(request);
    write_names(r, running_walk(request));
    r->kit->running = r;
    return r;
}

/* ---- hooks */

static weir_verdict run_hook(weir_request *request, void *self, void *context, weir_hook *hook)
{
    kit_request *r = enter(request);
    const struct walk *walk = running_walk(request);
    return note(r, walk, hook(request, self, context));
}

static weir_verdict on_rewrite(weir_request *request, void *self, void *context)
{
    return run_hook(request, self, context, given(of_request(request), self)->rewrite);
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    return run_hook(request, self, context, given(of_request(request), self)->access);
}

static weir_verdict on_upstream(weir_request *request, void *self, void *context)
{
    return run_hook(request, self, context, given(of_request(request), self)->upstream);
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    return run_hook(request, self, context, given(of_request(request), self)->response_headers);
}

static weir_verdict run_body(weir_request *request, void *self, void *context, weir_str chunk,
                             bool last, weir_body_hook *hook)
{
    kit_request *r = enter(request);
    const struct walk *walk = running_walk(request);
    buf_printf(&r->trace, " %zu%s", chunk.size, last ? " last" : "");
    return note(r, walk, hook(request, self, context, chunk, last));
}

static weir_verdict on_request_body(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last)
{
    return run_body(request, self, context, chunk, last,
                    given(of_request(request), self)->request_body);
}

static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    return run_body(request, self, context, chunk, last,
                    given(of_request(request), self)->response_body);
}

static void on_log(weir_request *request, void *self, void *context)
{
    kit_request *r = enter(request);
    given(r, self)->log(request, self, context);
    r->kit->running = NULL;
    buf_byte(&r->trace, '\n');
}

static enum direction running_direction(weir_request *request)
{
    return running_walk(request) == &request->walks[TO_TARGET] ? TO_TARGET : TO_CLIENT;
}

static weir_verdict on_woken(weir_request *request, void *self, void *context, uint32_t why)
{
    kit_request *r = enter(request);
    const struct walk *walk = running_walk(request);
    buf_text(&r->trace, why == WEIR_DEADLINE ? " deadline" : " woken");
    return note(r, walk, r->on_wake[running_direction(request)](request, self, context, why));
}

weir_wake_hook *kit_wake_hook(weir_request *request, weir_wake_hook *on_wake)
{
    const struct walk *walk = request_running(request);
    if (on_wake == NULL || walk == NULL)
        return on_wake;
    /* One that is parked already is refused, and its hook stays. */
    if (walk->park == NULL)
        of_request(request)->on_wake[running_direction(request)] = on_wake;
    return on_woken;
}

void kit_hooks_wrap(struct kit *kit, weir_plugin *plugin)
{
    struct kit_image *image = find_image(kit, plugin); /* of one that lay there before */
    if (image == NULL) {
        image = kit_need(calloc(1, sizeof(*image)));
        list_push_back(&kit->image_list, &image->link);
    }
    image->plugin = plugin;
    image->given = *plugin;
#define WRAP(name)            \
    if (plugin->name != NULL) \
    plugin->name = on_##name
    WRAP(rewrite);
    WRAP(access);
    WRAP(request_body);
    WRAP(upstream);
    WRAP(response_headers);
    WRAP(response_body);
    WRAP(log);
#undef WRAP
}

void kit_image_list_free(struct kit *kit)
{
    LIST_FOREACH (node, &kit->image_list) {
        list_remove(node);
        free(LIST_ENTRY(node, struct kit_image, link));
    }
}

/* ---- what a test asks */

const char *kit_trace(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    return r->trace.size == 0 ? "" : kit_text(r, buf_view(&r->trace));
}

/* The words behind "PHASE NAME " of that line, when it is of that hook; unset: it is not. */
static struct span words_of(struct span line, const char *phase, const char *policy)
{
    struct span names[2] = {span_text(phase), span_text(policy)};
    for (size_t i = 0; i < 2; i++) {
        if (!span_starts_with(line, names[i]))
            return SPAN_NONE;
        line = span_from(line, names[i].size);
        if (line.size > 0 && line.data[0] == ' ')
            line = span_from(line, 1);
        else if (i == 0 || line.size > 0)
            return SPAN_NONE;
    }
    return line.size == 0 ? SPAN("") : line;
}

const char *kit_verdict(kit_request *r, const char *phase, const char *policy)
{
    CHECK(r, KIT_REQUEST);
    struct span rest = buf_view(&r->trace), found = SPAN_NONE;
    while (rest.size > 0) {
        size_t end = span_find(rest, '\n');
        struct span words = words_of(span_first(rest, end), phase, policy);
        if (span_is_set(words))
            found = words;
        rest = end == rest.size ? SPAN_NONE : span_from(rest, end + 1);
    }
    if (!span_is_set(found))
        return NULL;
    static const char *const before[] = {"woken ", "deadline "};
    for (size_t i = 0; i < COUNT_OF(before); i++)
        if (span_starts_with(found, span_text(before[i])))
            found = span_from(found, strlen(before[i]));
    size_t start = 0;
    while (start < found.size && (found.data[start] < 'A' || found.data[start] > 'Z'))
        start++; /* sizes of pieces */
    found = span_from(found, start);
    return kit_text(r, span_first(found, span_find(found, ' ')));
}

/* ---- what is left of a request */

static size_t count_timers(const kit_request *r)
{
    size_t count = 0;
    LIST_FOREACH (node, &r->kit->timers)
        count += LIST_ENTRY(node, const struct kit_timer, link)->owner == r->number;
    return count;
}

static size_t count_watches(const kit_request *r)
{
    size_t count = 0;
    LIST_FOREACH (node, &r->kit->watches)
        count += LIST_ENTRY(node, const struct kit_watch, link)->owner == r->number;
    return count;
}

const char *kit_request_leftovers(kit_request *r)
{
    CHECK(r, KIT_REQUEST);
    const struct {
        const char *name;
        size_t count;
    } kinds[] = {
        {"parks", r->request.park_count},
        {"timers", count_timers(r)},
        {"watches", count_watches(r)},
        {"streams", kit_stream_count(r->kit, r->number)},
        {"fetches", kit_fetches_of(r->kit, r->number)},
    };
    AUTO_BUF text = BUF_INIT;
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (kinds[i].count > 0)
            buf_printf(&text, "%s%s %zu", text.size > 0 ? ", " : "", kinds[i].name, kinds[i].count);
    return text.size == 0 ? "" : kit_text(r, buf_view(&text));
}
