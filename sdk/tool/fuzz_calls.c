/* The watch in the table: what the plugin asks of the host. A call that the host refuses because of
 * its phase or a capability, a text that lies in memory which is gone, a token woken twice, a wait
 * without an end: all of them are mistakes that a gateway survives, which is why nobody sees them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_report.h"
#include "fuzz_watch.h"

enum { TOKENS = 1024, LOG_LINE = 2048 };

/* The tokens that were handed out last. */
static struct woken {
    weir_token token;
    const weir_host *table;
    bool woken;
} tokens[TOKENS];
static uint32_t token_count;

void watch_calls_forget(void)
{
    memset(tokens, 0, sizeof(tokens));
    token_count = 0;
}

static struct watched *begin(void)
{
    struct watched *image = watch_current();
    image->totals.host_calls++;
    return image;
}

static weir_status judged(const char *call, weir_status status)
{
    if (!watch_judges())
        return status;
    if (status == WEIR_PHASE)
        report_find("wrong phase", NULL, "the host refuses weir_%s() there", call);
    else if (status == WEIR_DENIED)
        report_find("missing capability", NULL,
                    "weir_%s() needs one that WEIR_PLUGIN does not declare", call);
    return status;
}

/* false: it must not reach the host. */
static bool text_is_there(const char *call, const char *what, weir_str text)
{
    const char *freed_in = NULL;
    if (!watch_judges() || text.data == NULL || text.size == 0)
        return true;
    enum memory_state state = block_state(text.data, text.size, &freed_in);
    if (state == MEMORY_UNKNOWN)
        return true;
    report_find(strncmp(call, "header", 6) == 0 ? "header from freed memory"
                                                : "text from freed memory",
                NULL, "weir_%s() is given a %s in memory %s%s%s", call, what,
                state == MEMORY_FREED ? "that was freed" : "of a request that is over",
                freed_in == NULL ? "" : " in ", freed_in == NULL ? "" : freed_in);
    return false;
}

#define STATUS_CALL(name_, params_, args_, check_)    \
    static weir_status on_##name_ params_             \
    {                                                 \
        static const char call[] = #name_;            \
        const struct watched *image = begin();        \
        if (!watch_is_live(request, call))            \
            return WEIR_GONE;                         \
        if (!(check_))                                \
            return WEIR_INVALID;                      \
        if (watch_fails_now())                        \
            return WEIR_NO_MEMORY;                    \
        return judged(call, image->host.name_ args_); \
    }

/* ---- request and response */

STATUS_CALL(query_set, (weir_request * request, weir_str name, weir_str value),
            (request, name, value),
            text_is_there(call, "name", name) && text_is_there(call, "value", value))
STATUS_CALL(query_remove, (weir_request * request, weir_str name), (request, name),
            text_is_there(call, "name", name))
STATUS_CALL(query_replace, (weir_request * request, weir_str raw), (request, raw),
            text_is_there(call, "query", raw))
STATUS_CALL(header_set, (weir_request * request, uint32_t side, weir_header_id id, weir_str value),
            (request, side, id, value), text_is_there(call, "value", value))
STATUS_CALL(header_add, (weir_request * request, uint32_t side, weir_header_id id, weir_str value),
            (request, side, id, value), text_is_there(call, "value", value))
STATUS_CALL(header_remove, (weir_request * request, uint32_t side, weir_header_id id),
            (request, side, id), true)
STATUS_CALL(method_set, (weir_request * request, weir_str method), (request, method),
            text_is_there(call, "method", method))
STATUS_CALL(path_set, (weir_request * request, weir_str path), (request, path),
            text_is_there(call, "path", path))
STATUS_CALL(host_set, (weir_request * request, weir_str host), (request, host),
            text_is_there(call, "host", host))
STATUS_CALL(target_set, (weir_request * request, weir_str host, uint16_t port),
            (request, host, port), text_is_there(call, "host", host))
STATUS_CALL(status_set, (weir_request * request, uint32_t status), (request, status), true)
STATUS_CALL(body_emit, (weir_request * request, uint32_t side, weir_str chunk),
            (request, side, chunk), text_is_there(call, "chunk", chunk))
STATUS_CALL(body_replace, (weir_request * request, uint32_t side, weir_str body),
            (request, side, body), text_is_there(call, "body", body))
STATUS_CALL(body_skip, (weir_request * request, uint32_t side), (request, side), true)
STATUS_CALL(authenticate,
            (weir_request * request, const weir_consumer *consumer,
             const weir_credential *credential, weir_str identifier),
            (request, consumer, credential, identifier),
            text_is_there(call, "identifier", identifier))
STATUS_CALL(authenticate_anonymous, (weir_request * request, weir_str username_or_id),
            (request, username_or_id), text_is_there(call, "name", username_or_id))
STATUS_CALL(shared_set, (weir_request * request, weir_str name, weir_str value),
            (request, name, value),
            text_is_there(call, "name", name) && text_is_there(call, "value", value))
STATUS_CALL(log_set, (weir_request * request, weir_str dotted_key, weir_str json),
            (request, dotted_key, json),
            text_is_there(call, "key", dotted_key) && text_is_there(call, "value", json))
STATUS_CALL(template_render,
            (weir_request * request, const weir_template *compiled, weir_str *out_text),
            (request, compiled, out_text), true)
STATUS_CALL(correlate, (weir_request * request, weir_str id, uint32_t flags), (request, id, flags),
            text_is_there(call, "id", id))

static weir_status answered(const char *call, weir_request *request, weir_status status)
{
    struct watched_request *mine = watch_find_request(request);
    if (status != WEIR_SUCCESS || mine == NULL)
        return judged(call, status);
    if (mine->answered && watch_judges())
        report_find("answers twice", NULL, "weir_%s() after another answer in the same hook", call);
    mine->answered = mine->was_answered = true;
    return status;
}

static weir_status on_respond(weir_request *request, uint32_t status, weir_str content_type,
                              weir_str body)
{
    const struct watched *image = begin();
    if (!watch_is_live(request, "respond"))
        return WEIR_GONE;
    if (!text_is_there("respond", "content type", content_type) ||
        !text_is_there("respond", "body", body))
        return WEIR_INVALID;
    if (watch_fails_now())
        return WEIR_NO_MEMORY;
    return answered("respond", request, image->host.respond(request, status, content_type, body));
}

static weir_status on_respond_error(weir_request *request, uint32_t status, weir_str message)
{
    const struct watched *image = begin();
    if (!watch_is_live(request, "respond_error"))
        return WEIR_GONE;
    if (!text_is_there("respond_error", "message", message))
        return WEIR_INVALID;
    if (watch_fails_now())
        return WEIR_NO_MEMORY;
    return answered("respond_error", request, image->host.respond_error(request, status, message));
}

/* ---- reading */

static weir_str on_request_text(weir_request *request, uint32_t what)
{
    const struct watched *image = begin();
    return watch_is_live(request, "request_text") ? image->host.request_text(request, what)
                                                  : (weir_str){0};
}

static weir_str on_capture(weir_request *request, weir_str name)
{
    const struct watched *image = begin();
    return watch_is_live(request, "capture") ? image->host.capture(request, name) : (weir_str){0};
}

static weir_str on_query_get(weir_request *request, weir_str name, size_t nth)
{
    const struct watched *image = begin();
    watch_learn(name, false);
    return watch_is_live(request, "query_get") ? image->host.query_get(request, name, nth)
                                               : (weir_str){0};
}

static weir_str on_header_get(weir_request *request, uint32_t side, weir_header_id id, size_t nth)
{
    const struct watched *image = begin();
    return watch_is_live(request, "header_get") ? image->host.header_get(request, side, id, nth)
                                                : (weir_str){0};
}

static weir_str on_body_get(weir_request *request, uint32_t side)
{
    const struct watched *image = begin();
    return watch_is_live(request, "body_get") ? image->host.body_get(request, side) : (weir_str){0};
}

static weir_header_id on_header_intern(const weir_host *host, weir_str name)
{
    watch_learn(name, true);
    return begin()->host.header_intern(host, name);
}

static void on_log(const weir_host *host, weir_request *request, uint32_t level, const char *format,
                   ...) WEIR_PRINTF_ARGS(4, 5);
static void on_log(const weir_host *host, weir_request *request, uint32_t level, const char *format,
                   ...)
{
    char line[LOG_LINE];
    va_list args;
    const struct watched *image = begin();
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    /* Thousands of requests would tell thousands of times of what was done to them on purpose. */
    if ((request == NULL || watch_is_live(request, "log")) && !watch_judges())
        image->host.log(host, request, level, "%s", line);
}

/* ---- memory */

static void *on_request_alloc(weir_request *request, size_t size)
{
    struct watched *image = begin();
    if (!watch_is_live(request, "request_alloc") || watch_fails_now())
        return NULL;
    image->totals.request_bytes += size;
    block_request_bytes(size);
    return (watch_what & WATCH_GUARD) != 0 ? block_request_alloc(request, size)
                                           : image->host.request_alloc(request, size);
}

static void *on_policy_alloc(const void *self, size_t size)
{
    struct watched *image = begin();
    if (watch_fails_now())
        return NULL;
    image->totals.policy_bytes += size;
    block_policy_bytes(size);
    return image->host.policy_alloc(self, size);
}

/* ---- waiting */

static bool may_park(enum watch_phase phase)
{
    return (phase >= WATCH_REWRITE && phase <= WATCH_RESPONSE_BODY) || phase == WATCH_WAKE;
}

static void judge_deadline(const char *call, uint32_t deadline_ms)
{
    if (watch_judges() && deadline_ms == 0)
        report_find("missing deadline", NULL,
                    "weir_%s() with 0 ms: the request waits for as long as the host thinks right",
                    call);
}

static weir_token on_park(weir_request *request, uint32_t deadline_ms, weir_wake_hook *on_wake)
{
    const struct watched *image = begin();
    struct watched_request *mine = watch_find_request(request);
    if (!watch_is_live(request, "park"))
        return 0;
    judge_deadline("park", deadline_ms);
    if (mine == NULL || watch_fails_now())
        return 0;
    weir_token token =
        image->host.park(request, deadline_ms, on_wake == NULL ? NULL : watch_on_wake);
    if (token == 0) {
        if (watch_judges() && mine->parked)
            report_find("parks twice", NULL, "weir_park() while the request is parked already");
        else if (watch_judges() && !may_park(watch_running_phase()))
            report_find("wrong phase", NULL, "the host refuses weir_park() there");
        return 0;
    }
    mine->parked = true;
    mine->on_wake = on_wake;
    /* Another worker has the same numbers, and a table may lie where an old one lay. */
    for (size_t i = 0; i < TOKENS; i++)
        if (tokens[i].token == token && tokens[i].table == image->table)
            tokens[i] = (struct woken){0};
    tokens[token_count++ % TOKENS] = (struct woken){.token = token, .table = image->table};
    return token;
}

static weir_status on_body_read(weir_request *request, uint32_t deadline_ms,
                                weir_wake_hook *on_wake)
{
    const struct watched *image = begin();
    struct watched_request *mine = watch_find_request(request);
    if (!watch_is_live(request, "body_read"))
        return WEIR_GONE;
    if (mine == NULL || watch_fails_now())
        return WEIR_NO_MEMORY;
    weir_wake_hook *before = mine->on_wake;
    mine->on_wake = on_wake;
    weir_status status =
        image->host.body_read(request, deadline_ms, on_wake == NULL ? NULL : watch_on_wake);
    if (status == WEIR_SUCCESS)
        mine->parked = true;
    else
        mine->on_wake = before;
    return judged("body_read", status);
}

static weir_status on_wake(const weir_host *host, weir_token token)
{
    const struct watched *image = watch_current();
    weir_status status = image->host.wake(host, token);
    for (size_t i = 0; token != 0 && i < TOKENS; i++) {
        if (tokens[i].token != token || tokens[i].table != host)
            continue;
        if (tokens[i].woken && status == WEIR_GONE && watch_judges())
            report_find("double wake", NULL,
                        "weir_wake() of a token that was woken already: WEIR_GONE");
        tokens[i].woken = true;
    }
    return status;
}

/* ---- callbacks. Their records are never freed: they end with the child. */

struct shim {
    struct watched *image;
    void *user;
    union {
        weir_timer_hook *timer;
        weir_io_hook *io;
        weir_fetch_hook *fetch;
        weir_stream_events stream;
    } call;
};

static struct shim *shim_of(struct watched *image, void *user)
{
    struct shim *shim = calloc(1, sizeof(*shim));
    if (shim == NULL)
        return NULL;
    shim->image = image;
    shim->user = user;
    return shim;
}

static void fire_timer(void *self, void *user)
{
    struct shim *shim = user;
    struct watch_call call;
    watch_enter(&call, shim->image, WATCH_TIMER, NULL);
    shim->call.timer(self, shim->user);
    watch_leave(&call, WEIR_NEXT);
}

static weir_timer *on_timer_start(const void *self, uint32_t delay_ms, uint32_t repeat_ms,
                                  weir_timer_hook *hook, void *user)
{
    struct watched *image = begin();
    struct shim *shim = watch_fails_now() ? NULL : shim_of(image, user);
    if (shim == NULL)
        return NULL;
    shim->call.timer = hook;
    return image->host.timer_start(self, delay_ms, repeat_ms, hook == NULL ? NULL : fire_timer,
                                   shim);
}

static void fire_io(void *self, void *user, int fd, uint32_t events)
{
    struct shim *shim = user;
    struct watch_call call;
    watch_enter(&call, shim->image, WATCH_DESCRIPTOR, NULL);
    shim->call.io(self, shim->user, fd, events);
    watch_leave(&call, WEIR_NEXT);
}

static weir_io *on_io_add(const void *self, int fd, uint32_t events, weir_io_hook *hook, void *user)
{
    struct watched *image = begin();
    struct shim *shim = watch_fails_now() ? NULL : shim_of(image, user);
    if (shim == NULL)
        return NULL;
    shim->call.io = hook;
    return image->host.io_add(self, fd, events, hook == NULL ? NULL : fire_io, shim);
}

static void fire_opened(void *self, void *user)
{
    struct shim *shim = user;
    struct watch_call call;
    watch_enter(&call, shim->image, WATCH_STREAM, NULL);
    if (shim->call.stream.opened != NULL)
        shim->call.stream.opened(self, shim->user);
    watch_leave(&call, WEIR_NEXT);
}

static void fire_data(void *self, void *user, weir_str bytes)
{
    struct shim *shim = user;
    struct watch_call call;
    watch_enter(&call, shim->image, WATCH_STREAM, NULL);
    if (shim->call.stream.data != NULL)
        shim->call.stream.data(self, shim->user, bytes);
    watch_leave(&call, WEIR_NEXT);
}

static void fire_closed(void *self, void *user, weir_str why)
{
    struct shim *shim = user;
    struct watch_call call;
    watch_enter(&call, shim->image, WATCH_STREAM, NULL);
    if (shim->call.stream.closed != NULL)
        shim->call.stream.closed(self, shim->user, why);
    watch_leave(&call, WEIR_NEXT);
}

static weir_stream *on_stream_open(const void *self, const weir_peer *peer,
                                   const weir_stream_events *events, void *user)
{
    static const weir_stream_events ours = {
        .size = (uint32_t)sizeof(ours),
        .opened = fire_opened,
        .data = fire_data,
        .closed = fire_closed,
    };
    struct watched *image = begin();
    if (peer == NULL || events == NULL)
        return image->host.stream_open(self, peer, events, user);
    judge_deadline("stream_open", peer->deadline_ms);
    struct shim *shim = watch_fails_now() ? NULL : shim_of(image, user);
    if (shim == NULL)
        return NULL;
    size_t size = events->size < sizeof(*events) ? events->size : sizeof(*events);
    memcpy(&shim->call.stream, events, size);
    weir_peer ours_instead = {.size = (uint32_t)sizeof(ours_instead),
                              .host = WEIR_LIT("127.0.0.1")};
    ours_instead.port = watch_stream_port();
    ours_instead.deadline_ms = peer->deadline_ms;
    return image->host.stream_open(self, ours_instead.port == 0 ? peer : &ours_instead, &ours,
                                   shim);
}

static weir_status on_stream_write(weir_stream *stream, weir_str bytes)
{
    const struct watched *image = begin();
    if (!text_is_there("stream_write", "text", bytes))
        return WEIR_INVALID;
    return watch_fails_now() ? WEIR_NO_MEMORY : image->host.stream_write(stream, bytes);
}

static void fire_fetch(void *self, void *user, const weir_fetch_answer *answer)
{
    struct shim *shim = user;
    struct watch_call call;
    watch_enter(&call, shim->image, WATCH_FETCH, NULL);
    shim->call.fetch(self, shim->user, answer);
    watch_leave(&call, WEIR_NEXT);
}

static weir_fetch *on_fetch_start(const void *self, const weir_fetch_request *request,
                                  weir_fetch_hook *done, void *user)
{
    struct watched *image = begin();
    if (request == NULL || done == NULL)
        return image->host.fetch_start(self, request, done, user);
    judge_deadline("fetch_start", request->deadline_ms);
    struct shim *shim = watch_fails_now() ? NULL : shim_of(image, user);
    if (shim == NULL || !text_is_there("fetch_start", "URL", request->url) ||
        !text_is_there("fetch_start", "body", request->body))
        return NULL;
    shim->call.fetch = done;
    watch_tell_fetch(image->kit, request->url);
    return image->host.fetch_start(self, request, fire_fetch, shim);
}

/* ---- what a configuration opens, and the rest */

static weir_dict *on_dict_open(weir_error *error, const void *self, weir_str name, uint32_t layout,
                               uint32_t entries, uint32_t value_size)
{
    const struct watched *image = begin();
    return watch_fails_now()
               ? NULL
               : image->host.dict_open(error, self, name, layout, entries, value_size);
}

static weir_status on_dict_set(weir_dict *dict, weir_str key, const void *value, size_t size,
                               int64_t ttl_ms)
{
    const struct watched *image = begin();
    if (!text_is_there("dict_set", "key", key))
        return WEIR_INVALID;
    return watch_fails_now()
               ? WEIR_FULL
               : judged("dict_set", image->host.dict_set(dict, key, value, size, ttl_ms));
}

static weir_status on_dict_add(weir_dict *dict, weir_str key, int64_t delta, int64_t ttl_ms,
                               int64_t *out_value)
{
    const struct watched *image = begin();
    if (!text_is_there("dict_add", "key", key))
        return WEIR_INVALID;
    return watch_fails_now()
               ? WEIR_FULL
               : judged("dict_add", image->host.dict_add(dict, key, delta, ttl_ms, out_value));
}

static weir_status on_dict_get(weir_dict *dict, weir_str key, void *out_value, size_t size)
{
    const struct watched *image = begin();
    return judged("dict_get", image->host.dict_get(dict, key, out_value, size));
}

static weir_status on_dict_take(weir_dict *dict, weir_take *counters, size_t count, size_t stride)
{
    const struct watched *image = begin();
    return judged("dict_take", image->host.dict_take(dict, counters, count, stride));
}

static const weir_template *on_template_compile(weir_error *error, const void *self,
                                                const char *path, weir_str text)
{
    const struct watched *image = begin();
    return watch_fails_now() ? NULL : image->host.template_compile(error, self, path, text);
}

static weir_metric *on_metric_open(weir_error *error, const void *self, uint32_t kind,
                                   weir_str name, weir_str help, const char *const *labels,
                                   const double *buckets, size_t bucket_count)
{
    const struct watched *image = begin();
    return watch_fails_now() ? NULL
                             : image->host.metric_open(error, self, kind, name, help, labels,
                                                       buckets, bucket_count);
}

static weir_file *on_file_open(const void *self, weir_str path, const weir_file_options *options)
{
    const struct watched *image = begin();
    return watch_fails_now() ? NULL : image->host.file_open(self, path, options);
}

/* The same numbers in the same scenario, so that answers can be compared. */
static void on_random(const weir_host *host, void *out, size_t size)
{
    unsigned char *to = out;
    (void)host;
    (void)begin();
    for (size_t i = 0; i < size; i++)
        to[i] = (unsigned char)watch_random();
}

static void on_uuid(const weir_host *host, char out[36])
{
    char text[37];
    (void)host;
    (void)begin();
    (void)snprintf(text, sizeof(text), "%08x-%04x-4%03x-8%03x-%012llx", (unsigned)watch_random(),
                   (unsigned)watch_random() & 0xffff, (unsigned)watch_random() & 0xfff,
                   (unsigned)watch_random() & 0xfff,
                   (unsigned long long)(watch_random() & 0xffffffffffff));
    memcpy(out, text, 36);
}

#define PUT(name_) image->table->name_ = on_##name_

static void put_request_calls(struct watched *image)
{
    PUT(query_set), PUT(query_remove), PUT(query_replace), PUT(query_get);
    PUT(header_set), PUT(header_add), PUT(header_remove), PUT(header_get), PUT(header_intern);
    PUT(method_set), PUT(path_set), PUT(host_set), PUT(target_set), PUT(status_set);
    PUT(respond), PUT(respond_error), PUT(request_text), PUT(capture), PUT(correlate);
    PUT(body_emit), PUT(body_replace), PUT(body_skip), PUT(body_get), PUT(body_read);
    PUT(authenticate), PUT(authenticate_anonymous), PUT(shared_set), PUT(log_set), PUT(log);
    PUT(template_render), PUT(request_alloc);
}

void watch_calls(struct watched *image)
{
    put_request_calls(image);
    PUT(policy_alloc), PUT(park), PUT(wake), PUT(timer_start), PUT(io_add);
    PUT(stream_open), PUT(stream_write), PUT(fetch_start), PUT(file_open);
    PUT(dict_open), PUT(dict_set), PUT(dict_add), PUT(dict_get), PUT(dict_take);
    PUT(template_compile), PUT(metric_open), PUT(random), PUT(uuid);
}
