/* The cache of names and who waits for them; the queries themselves are in resolve_ares.c.
 *
 * A name has an answer (maybe a stale one), and maybe a query under way. Those who wait are told at
 * the end of the turn, never from inside c-ares, so they may look up, cancel and close what they
 * like. */
#include "net/resolve.h"

#include <stdlib.h>

#include "base/clock.h"
#include "net/resolve_internal.h"

enum {
    NAMES_MAX = 4096,
    NAME_SIZE_MAX = 255,
    TTL_MIN_MS = 1000,
    TTL_MAX_MS = 24 * 3600 * 1000,
    STALE_MS = 3600 * 1000,
    NO_NAME_MS = 30 * 1000,
    FAILURE_MS = 1000,
};
#define FOREVER UINT64_MAX

struct lookup {
    struct list link; /* name->waiting */
    void (*done)(const struct resolution *resolution, void *user);
    void *user;
};

static void tell(struct name *name, const struct resolution *resolution)
{
    struct list batch;
    if (list_is_empty(&name->waiting))
        return;
    batch = name->waiting;
    batch.next->prev = batch.prev->next = &batch;
    list_init(&name->waiting);
    name->telling = true;
    while (!list_is_empty(&batch)) {
        struct lookup *lookup = LIST_ENTRY(batch.next, struct lookup, link);
        /* The analyzer believes that a linked node may stay where it is in list_remove(). */
        void (*done)(const struct resolution *, void *) = lookup->done; /* NOLINT */
        void *user = lookup->user;
        list_remove(&lookup->link);
        free(lookup);
        done(resolution, user);
    }
    name->telling = false;
}

static void on_tell(struct loop_task *task)
{
    struct name *name = LIST_ENTRY(task, struct name, tell);
    tell(name, &name->answer);
}

static void free_name(struct name *name)
{
    LIST_FOREACH (node, &name->waiting)
        free(LIST_ENTRY(node, struct lookup, link));
    list_remove(&name->recent);
    loop_task_cancel(&name->tell);
    loop_task_cancel(&name->query);
    free(name->answer.addresses);
    free(name);
}

static bool is_busy(const struct name *name)
{
    return name->querying || name->telling || !list_is_empty(&name->waiting);
}

/* Make room by forgetting the name that was not asked for the longest. */
static bool make_room(struct resolver *resolver)
{
    if (map_count(resolver->names) < NAMES_MAX)
        return true;
    for (struct list *node = resolver->recent.prev; node != &resolver->recent; node = node->prev) {
        struct name *name = LIST_ENTRY(node, struct name, recent);
        if (is_busy(name))
            continue;
        (void)map_remove(resolver->names, span_text(name->text));
        free_name(name);
        return true;
    }
    return false;
}

/* Names are kept in lower case; a final dot stays, it switches the search list off. */
static bool fold(struct span name, char out[NAME_SIZE_MAX + 1])
{
    if (name.size == 0 || name.size > NAME_SIZE_MAX)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if (c <= ' ' || c == 127)
            return false;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        out[i] = c;
    }
    out[name.size] = '\0';
    return true;
}

static bool is_localhost(struct span name)
{
    if (span_ends_with(name, SPAN(".")))
        name.size--;
    return span_equal(name, SPAN("localhost")) || span_ends_with(name, SPAN(".localhost"));
}

/* Answers that need nobody: IP literals, and localhost (RFC 6761). */
static bool answer_at_once(struct name *name)
{
    struct address address;
    struct span text = span_text(name->text);
    if (is_localhost(text))
        text = SPAN("127.0.0.1");
    if (address_parse_ip(text, 0, &address) != WEIR_OK)
        return true;
    name->answer.addresses = malloc(sizeof address);
    if (name->answer.addresses == NULL)
        return false;
    *name->answer.addresses = address;
    name->answer.count = 1;
    name->answer.expires_ms = FOREVER;
    name->known = true;
    return true;
}

static void on_query(struct loop_task *task)
{
    resolver_query(LIST_ENTRY(task, struct name, query));
}

/* /etc/hosts answers at once, and a new answer frees the old one, which somebody may hold until
 * control returns to the loop. So no query begins before that. */
static void begin_query(struct name *name)
{
    if (name->querying)
        return;
    name->querying = true;
    loop_after_turn(name->resolver->loop, &name->query);
}

static struct name *create_name(struct resolver *resolver, const char *text)
{
    size_t size = strlen(text) + 1;
    if (!make_room(resolver))
        return NULL;
    struct name *name = calloc(1, sizeof *name + size);
    if (name == NULL)
        return NULL;
    memcpy(name->text, text, size);
    name->resolver = resolver;
    name->tell.run = on_tell;
    name->query.run = on_query;
    list_init(&name->waiting);
    list_push_front(&resolver->recent, &name->recent);
    if (!answer_at_once(name) || map_add(resolver->names, span_text(name->text), name) != WEIR_OK) {
        free_name(name);
        return NULL;
    }
    return name;
}

/* The entry of `text`, made when absent; NULL when the name is none, or without memory. */
static struct name *find_name(struct resolver *resolver, struct span text, bool create)
{
    char folded[NAME_SIZE_MAX + 1];
    if (!fold(text, folded))
        return NULL;
    struct name *name = map_find(resolver->names, span_of(folded, text.size));
    if (name == NULL)
        return create ? create_name(resolver, folded) : NULL;
    list_remove(&name->recent);
    list_push_front(&resolver->recent, &name->recent);
    return name;
}

/* An answer of the past is good while it is fresh, and when it was a good one for an hour more. */
static bool is_usable(const struct name *name, uint64_t now)
{
    if (!name->known)
        return false;
    if (name->answer.expires_ms == FOREVER || now < name->answer.expires_ms)
        return true;
    return name->answer.error == WEIR_OK && now < name->answer.expires_ms + STALE_MS;
}

static bool is_fresh(const struct name *name, uint64_t now)
{
    return now < name->answer.expires_ms || now < name->retry_ms;
}

void name_answered(struct name *name, enum weir_err error, struct address *addresses, size_t count,
                   uint64_t ttl_ms)
{
    uint64_t now = clock_mono_ms();
    name->querying = false;
    if (error != WEIR_OK && name->answer.error == WEIR_OK && is_usable(name, now)) {
        /* Keep the stale answer, and do not ask again with every request. */
        name->retry_ms = now + (error == WEIR_ERR_NO_NAME ? NO_NAME_MS : FAILURE_MS);
    } else {
        if (error != WEIR_OK)
            ttl_ms = error == WEIR_ERR_NO_NAME ? NO_NAME_MS : FAILURE_MS;
        else if (ttl_ms < TTL_MIN_MS)
            ttl_ms = TTL_MIN_MS;
        else if (ttl_ms > TTL_MAX_MS)
            ttl_ms = TTL_MAX_MS;
        free(name->answer.addresses);
        name->answer = (struct resolution){error, addresses, count, now + ttl_ms};
        name->known = true;
        addresses = NULL;
    }
    free(addresses);
    loop_after_turn(name->resolver->loop, &name->tell);
}

const struct resolution *resolver_cached(struct resolver *resolver, struct span text)
{
    uint64_t now = clock_mono_ms();
    struct address ip;
    /* Only what is known or needs no query gets an entry here. */
    bool literal = address_parse_ip(text, 0, &ip) == WEIR_OK || is_localhost(text);
    struct name *name = find_name(resolver, text, literal);
    if (name == NULL || !is_usable(name, now))
        return NULL;
    if (!is_fresh(name, now))
        begin_query(name);
    return &name->answer;
}

struct lookup *resolver_lookup(struct resolver *resolver, struct span text,
                               void (*done)(const struct resolution *resolution, void *user),
                               void *user)
{
    uint64_t now = clock_mono_ms();
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL)
        return NULL;
    struct name *name = find_name(resolver, text, true);
    if (name == NULL) {
        /* No name at all, or no room: told like everybody else. */
        name = &resolver->nobody;
    }
    lookup->done = done;
    lookup->user = user;
    list_push_back(&name->waiting, &lookup->link);
    if (is_usable(name, now))
        loop_after_turn(resolver->loop, &name->tell);
    if (name != &resolver->nobody && (!is_usable(name, now) || !is_fresh(name, now)))
        begin_query(name);
    return lookup;
}

void lookup_cancel(struct lookup *lookup)
{
    if (lookup == NULL)
        return;
    list_remove(&lookup->link);
    free(lookup);
}

struct resolver *resolver_create(struct loop *loop, const char *nameservers)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL)
        return NULL;
    resolver->loop = loop;
    list_init(&resolver->recent);
    list_init(&resolver->sockets);
    struct name *nobody = &resolver->nobody;
    nobody->resolver = resolver;
    nobody->tell.run = on_tell;
    nobody->known = true;
    nobody->answer = (struct resolution){WEIR_ERR_NO_NAME, NULL, 0, FOREVER};
    list_init(&nobody->waiting);
    resolver->names = map_create(64);
    if (resolver->names == NULL || !resolver_start_ares(resolver, nameservers)) {
        map_destroy(resolver->names);
        free(resolver);
        return NULL;
    }
    return resolver;
}

void resolver_destroy(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    resolver_stop_ares(resolver);
    LIST_FOREACH (node, &resolver->recent)
        free_name(LIST_ENTRY(node, struct name, recent));
    LIST_FOREACH (node, &resolver->nobody.waiting)
        free(LIST_ENTRY(node, struct lookup, link));
    loop_task_cancel(&resolver->nobody.tell);
    map_destroy(resolver->names);
    free(resolver);
}
