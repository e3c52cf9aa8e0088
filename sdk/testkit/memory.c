/* Memory that the host lends policies. Calls of the host's table that may answer "no memory" go
 * through this file, so that a test can have the n-th of them say so; what a policy allocates for a
 * request is a piece of its own, freed at the request's end, so that ASan and valgrind see whoever
 * touches it afterwards. */
#include <stdlib.h>

#include "kit_internal.h"
#include "plugin_host/phases.h"

struct piece {
    struct list link;
    max_align_t bytes[];
};

/* The clock is the process's, and so is this. */
static struct {
    size_t count;   /* calls since the test last spoke */
    size_t fail_at; /* 0: none fails */
    bool all_after;
    const char *failed; /* the first that did */
} memory;

static weir_host real; /* every call, as the host makes it */

static bool is_short(const char *call)
{
    memory.count++;
    bool fails = memory.fail_at != 0 && (memory.count == memory.fail_at ||
                                         (memory.all_after && memory.count > memory.fail_at));
    if (fails && memory.failed == NULL)
        memory.failed = call;
    return fails;
}

static void tell(weir_error *error)
{
    real.error_at(error, NULL, "no memory");
}

/* ---- the calls */

static void *lend_request_alloc(weir_request *request, size_t size)
{
    kit_request *r = (kit_request *)(void *)request;
    CHECK(r, KIT_REQUEST);
    /* The host's own way first: it counts, and knows what is too much. */
    if (is_short("weir_request_alloc") || real.request_alloc(request, size) == NULL)
        return NULL;
    struct piece *piece = kit_need(calloc(1, sizeof(*piece) + size));
    list_push_back(&r->pieces, &piece->link);
    return piece->bytes;
}

static weir_status lend_body_read(weir_request *request, uint32_t deadline_ms,
                                  weir_wake_hook *on_wake)
{
    if (is_short("weir_body_read"))
        return WEIR_NO_MEMORY;
    return real.body_read(request, deadline_ms, kit_wake_hook(request, on_wake));
}

static weir_token lend_park(weir_request *request, uint32_t deadline_ms, weir_wake_hook *on_wake)
{
    if (is_short("weir_park"))
        return 0;
    return real.park(request, deadline_ms, kit_wake_hook(request, on_wake));
}

static const weir_template *lend_template_compile(weir_error *error, const void *self,
                                                  const char *path, weir_str text)
{
    if (!is_short("weir_template_compile"))
        return real.template_compile(error, self, path, text);
    tell(error);
    return NULL;
}

static weir_dict *lend_dict_open(weir_error *error, const void *self, weir_str name,
                                 uint32_t layout, uint32_t entries, uint32_t value_size)
{
    if (!is_short("weir_dict_open"))
        return real.dict_open(error, self, name, layout, entries, value_size);
    tell(error);
    return NULL;
}

static weir_metric *lend_metric_open(weir_error *error, const void *self, uint32_t kind,
                                     weir_str name, weir_str help, const char *const *labels,
                                     const double *buckets, size_t bucket_count)
{
    if (!is_short("weir_metric_open"))
        return real.metric_open(error, self, kind, name, help, labels, buckets, bucket_count);
    tell(error);
    return NULL;
}

static weir_metric *lend_metric_limit(weir_error *error, const void *self, weir_metric *metric,
                                      uint32_t series)
{
    if (!is_short("weir_metric_limit"))
        return real.metric_limit(error, self, metric, series);
    tell(error);
    return NULL;
}

/* clang-format off */
#define LEND(result, name, failure, parameters, arguments)                                     \
    static result lend_##name parameters                                                       \
    {                                                                                          \
        return is_short("weir_" #name) ? (failure) : real.name arguments;                      \
    }
#define LEND_STATUS(name, parameters, arguments)                                               \
    LEND(weir_status, name, WEIR_NO_MEMORY, parameters, arguments)
#define REQUEST weir_request *request

LEND(void *, policy_alloc, NULL, (const void *self, size_t size), (self, size))
LEND(weir_header_id, header_intern, 0, (const weir_host *host, weir_str name), (host, name))
LEND(weir_str, log_document, ((weir_str){NULL, 0}), (REQUEST), (request))
LEND(weir_timer *, timer_start, NULL,
     (const void *self, uint32_t delay_ms, uint32_t repeat_ms, weir_timer_hook *hook, void *user),
     (self, delay_ms, repeat_ms, hook, user))
LEND(weir_io *, io_add, NULL,
     (const void *self, int fd, uint32_t events, weir_io_hook *hook, void *user),
     (self, fd, events, hook, user))
LEND(weir_stream *, stream_open, NULL,
     (const void *self, const weir_peer *peer, const weir_stream_events *events, void *user),
     (self, peer, events, user))
LEND(weir_fetch *, fetch_start, NULL,
     (const void *self, const weir_fetch_request *wanted, weir_fetch_hook *done, void *user),
     (self, wanted, done, user))
LEND(weir_file *, file_open, NULL,
     (const void *self, weir_str path, const weir_file_options *options), (self, path, options))

LEND_STATUS(query_set, (REQUEST, weir_str name, weir_str value), (request, name, value))
LEND_STATUS(query_remove, (REQUEST, weir_str name), (request, name))
LEND_STATUS(query_replace, (REQUEST, weir_str raw), (request, raw))
LEND_STATUS(header_set, (REQUEST, uint32_t side, weir_header_id id, weir_str value),
            (request, side, id, value))
LEND_STATUS(header_add, (REQUEST, uint32_t side, weir_header_id id, weir_str value),
            (request, side, id, value))
LEND_STATUS(method_set, (REQUEST, weir_str method), (request, method))
LEND_STATUS(path_set, (REQUEST, weir_str path), (request, path))
LEND_STATUS(host_set, (REQUEST, weir_str host), (request, host))
LEND_STATUS(target_set, (REQUEST, weir_str host, uint16_t port), (request, host, port))
LEND_STATUS(respond, (REQUEST, uint32_t status, weir_str content_type, weir_str body),
            (request, status, content_type, body))
LEND_STATUS(respond_error, (REQUEST, uint32_t status, weir_str message), (request, status, message))
LEND_STATUS(body_emit, (REQUEST, uint32_t side, weir_str chunk), (request, side, chunk))
LEND_STATUS(body_replace, (REQUEST, uint32_t side, weir_str body), (request, side, body))
LEND_STATUS(body_skip, (REQUEST, uint32_t side), (request, side))
LEND_STATUS(authenticate,
            (REQUEST, const weir_consumer *consumer, const weir_credential *credential,
             weir_str identifier),
            (request, consumer, credential, identifier))
LEND_STATUS(authenticate_anonymous, (REQUEST, weir_str username_or_id), (request, username_or_id))
LEND_STATUS(template_render, (REQUEST, const weir_template *compiled, weir_str *out_text),
            (request, compiled, out_text))
LEND_STATUS(shared_set, (REQUEST, weir_str name, weir_str value), (request, name, value))
LEND_STATUS(log_set, (REQUEST, weir_str dotted_key, weir_str json), (request, dotted_key, json))
LEND_STATUS(correlate, (REQUEST, weir_str id, uint32_t flags), (request, id, flags))
LEND_STATUS(stream_write, (weir_stream *stream, weir_str bytes), (stream, bytes))
LEND_STATUS(file_append, (weir_file *file, weir_str line), (file, line))
LEND_STATUS(state_set, (weir_state *state, weir_str key, weir_str value), (state, key, value))
/* clang-format on */

/* Slots of capabilities that were not declared refuse, and go on refusing. */
#define WRAP(name)                  \
    if (table->name == (real).name) \
    table->name = lend_##name

static void wrap_request_calls(weir_host *table)
{
    WRAP(request_alloc);
    WRAP(query_set);
    WRAP(query_remove);
    WRAP(query_replace);
    WRAP(header_set);
    WRAP(header_add);
    WRAP(method_set);
    WRAP(path_set);
    WRAP(host_set);
    WRAP(target_set);
    WRAP(respond);
    WRAP(respond_error);
    WRAP(body_read);
    WRAP(body_emit);
    WRAP(body_replace);
    WRAP(body_skip);
    WRAP(authenticate);
    WRAP(authenticate_anonymous);
    WRAP(template_render);
    WRAP(shared_set);
    WRAP(log_set);
    WRAP(log_document);
    WRAP(correlate);
    WRAP(park);
}

static void wrap_policy_calls(weir_host *table)
{
    WRAP(policy_alloc);
    WRAP(header_intern);
    WRAP(template_compile);
    WRAP(dict_open);
    WRAP(metric_open);
    WRAP(metric_limit);
    WRAP(timer_start);
    WRAP(io_add);
    WRAP(stream_open);
    WRAP(stream_write);
    WRAP(fetch_start);
    WRAP(file_open);
    WRAP(file_append);
    WRAP(state_set);
}
#undef WRAP

void kit_table_wrap(struct kit *kit, weir_host *table)
{
    if (real.size == 0) {
        weir_host *whole = kit_need(plugin_table_create(kit->host, SPAN("kit")));
        real = *whole;
        plugin_table_destroy(whole);
    }
    wrap_request_calls(table);
    wrap_policy_calls(table);
}

/* ---- the end of a request */

void __asan_poison_memory_region(void const volatile *, size_t) __attribute__((weak));
void __asan_unpoison_memory_region(void const volatile *, size_t) __attribute__((weak));

static void each_context(const kit_request *r, void (*set_poison)(void const volatile *, size_t))
{
    const struct chain_set *set = r->ended_set;
    if (set_poison == NULL || set == NULL || r->ended_contexts == NULL)
        return;
    for (uint16_t i = 0; i < set->member_count; i++) {
        uint32_t size = set->members[i]->plugin->context_size;
        if (size > 0 && r->ended_contexts[i] != NULL)
            set_poison(r->ended_contexts[i], size);
    }
}

void kit_memory_shut(kit_request *r)
{
    r->ended_set = r->request.set;
    r->ended_contexts = r->request.contexts;
    request_end(&r->request);
    LIST_FOREACH (node, &r->pieces) {
        list_remove(node);
        free(LIST_ENTRY(node, struct piece, link));
    }
    each_context(r, __asan_poison_memory_region);
}

void kit_memory_open(const kit_request *r)
{
    each_context(r, __asan_unpoison_memory_region);
}

/* ---- what a test says and asks */

static void fail_at(size_t nth, bool all_after)
{
    memory.count = 0;
    memory.fail_at = nth;
    memory.all_after = all_after;
    memory.failed = NULL;
}

void kit_fail_allocation(size_t nth)
{
    fail_at(nth, false);
}

void kit_fail_allocations_from(size_t nth)
{
    fail_at(nth, true);
}

size_t kit_allocations(void)
{
    return memory.count;
}

const char *kit_failed_allocation(void)
{
    return memory.failed;
}

size_t kit_each_allocation(void (*scenario)(void *user, size_t nth), void *user, size_t most)
{
    size_t nth = 0;
    do {
        fail_at(++nth, false);
        scenario(user, nth);
    } while (memory.failed != NULL && nth < most);
    bool was_last = memory.failed == NULL;
    fail_at(0, false);
    return was_last ? nth - 1 : nth;
}
