/* How a plugin calls the host: a function for each slot of the table of <weir/host.h>, with its
 * contract, and WEIR_PLUGIN. Included by <weir/weir.h>, never alone. */
#ifndef WEIR_CALLS_H
#define WEIR_CALLS_H

#ifndef WEIR_HOST_H
#error "include <weir/weir.h>"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The table this plugin was handed; WEIR_PLUGIN defines it, all files of the plugin share it. */
extern const weir_host *weir_host_table
#if defined(__GNUC__)
    __attribute__((visibility("hidden")))
#endif
    ;

/* Why the configuration is refused; `path` ("redis.host") becomes file, line and column.
 * [configure] */
#define weir_error_at(error, path, ...) (weir_host_table->error_at((error), (path), __VA_ARGS__))
/* A line with request id, plugin and route; `request` may be NULL. [worker] */
#define weir_log(request, level, ...) \
    (weir_host_table->log(weir_host_table, (request), (level), __VA_ARGS__))

/* Until the request ends; NULL without memory. [exchange] */
static inline void *weir_request_alloc(weir_request *request, size_t size)
{
    return weir_host_table->request_alloc(request, size);
}
/* As long as the policy. [configure, worker] */
static inline void *weir_policy_alloc(const void *self, size_t size)
{
    return weir_host_table->policy_alloc(self, size);
}
/* Of the policy whose `self` this is: WEIR_POLICY_...; absent when it has none. */
static inline weir_str weir_policy_text(const void *self, uint32_t what)
{
    return weir_host_table->policy_text(self, what);
}
/* An optional service by its id, "weir.tls/1"; NULL when this host has none. */
static inline const void *weir_ext(const char *id)
{
    return weir_host_table->ext(weir_host_table, id);
}

/* WEIR_TEXT_...; absent when there is none. [exchange] */
static inline weir_str weir_request_text(weir_request *request, uint32_t what)
{
    return weir_host_table->request_text(request, what);
}
/* WEIR_NUMBER_...; WEIR_UNSET when there is none. [exchange] */
static inline int64_t weir_request_number(weir_request *request, uint32_t what)
{
    return weir_host_table->request_number(request, what);
}
/* A named group of the route's regex path, or its number as text. */
static inline weir_str weir_capture(weir_request *request, weir_str name)
{
    return weir_host_table->capture(request, name);
}
/* The nth argument called `name`, decoded; data NULL when absent, empty when it has no value. */
static inline weir_str weir_query_get(weir_request *request, weir_str name, size_t nth)
{
    return weir_host_table->query_get(request, name, nth);
}
/* One argument of that name, in place of all of them. [rewrite, access, upstream] */
static inline weir_status weir_query_set(weir_request *request, weir_str name, weir_str value)
{
    return weir_host_table->query_set(request, name, value);
}
/* All arguments of that name; WEIR_NOT_FOUND when there was none. The rest is encoded anew. */
static inline weir_status weir_query_remove(weir_request *request, weir_str name)
{
    return weir_host_table->query_remove(request, name);
}
/* Once, in configure: names cost nothing afterwards. 0 when the name is not a header name. */
static inline weir_header_id weir_header_intern(weir_str name)
{
    return weir_host_table->header_intern(weir_host_table, name);
}
/* The nth field of that name, absent when there are fewer. */
static inline weir_str weir_header_get(weir_request *request, uint32_t side, weir_header_id id,
                                       size_t nth)
{
    return weir_host_table->header_get(request, side, id, nth);
}
/* One field of that name, in place of all of them. WEIR_INVALID: CR, LF or NUL in the value. */
static inline weir_status weir_header_set(weir_request *request, uint32_t side, weir_header_id id,
                                          weir_str value)
{
    return weir_host_table->header_set(request, side, id, value);
}
static inline weir_status weir_header_set_number(weir_request *request, uint32_t side,
                                                 weir_header_id id, int64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    weir_str text;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        digits[--at] = '-';
    text.data = digits + at;
    text.size = sizeof(digits) - at;
    return weir_header_set(request, side, id, text);
}
/* One more field of that name. */
static inline weir_status weir_header_add(weir_request *request, uint32_t side, weir_header_id id,
                                          weir_str value)
{
    return weir_host_table->header_add(request, side, id, value);
}
/* All fields of that name; WEIR_NOT_FOUND when there was none. */
static inline weir_status weir_header_remove(weir_request *request, uint32_t side,
                                             weir_header_id id)
{
    return weir_host_table->header_remove(request, side, id);
}
/* The whole query as it is to be sent, in place of the one there is; data NULL: none, not even a
 * '?'. WEIR_INVALID: a byte that cannot stand in a query. [rewrite, access, upstream] */
static inline weir_status weir_query_replace(weir_request *request, weir_str raw)
{
    return weir_host_table->query_replace(request, raw);
}
/* Every field in order. Do not edit headers inside the visit. */
static inline void weir_header_each(weir_request *request, uint32_t side, weir_header_visit *visit,
                                    void *user)
{
    weir_host_table->header_each(request, side, visit, user);
}
/* What the target is sent. [rewrite, access, upstream] */
static inline weir_status weir_method_set(weir_request *request, weir_str method)
{
    return weir_host_table->method_set(request, method);
}
/* Instead of the path joined from service and route. Starts with "/". [access, upstream] */
static inline weir_status weir_path_set(weir_request *request, weir_str path)
{
    return weir_host_table->path_set(request, path);
}
/* Instead of the Host made by preserve_host or the target. [rewrite, access, upstream] */
static inline weir_status weir_host_set(weir_request *request, weir_str host)
{
    return weir_host_table->host_set(request, host);
}
/* Instead of the service's target: a name or an address. [access, upstream] */
static inline weir_status weir_target_set(weir_request *request, weir_str host, uint16_t port)
{
    return weir_host_table->target_set(request, host, port);
}
/* Of the response. [response_headers] */
static inline weir_status weir_status_set(weir_request *request, uint32_t status)
{
    return weir_host_table->status_set(request, status);
}
/* Answer now; the hook then returns WEIR_DONE. Headers of the answer may be set after this call. */
static inline weir_status weir_respond(weir_request *request, uint32_t status,
                                       weir_str content_type, weir_str body)
{
    return weir_host_table->respond(request, status, content_type, body);
}
/* The same with the gateway's negotiated error body. */
static inline weir_status weir_respond_error(weir_request *request, uint32_t status,
                                             weir_str message)
{
    return weir_host_table->respond_error(request, status, message);
}

/* Wait for the whole request body, then return WEIR_WAIT: on_wake finds it in weir_body_get(). A
 * body above the cap ends the request with 413. Needs WEIR_CAP_BODY. [access] */
static inline weir_status weir_body_read(weir_request *request, uint32_t deadline_ms,
                                         weir_wake_hook *on_wake)
{
    return weir_host_table->body_read(request, deadline_ms, on_wake);
}
/* Pass bytes on in place of the chunk. [request_body, response_body with WEIR_BODY_STREAM] */
static inline weir_status weir_body_emit(weir_request *request, uint32_t side, weir_str chunk)
{
    return weir_host_table->body_emit(request, side, chunk);
}
/* The whole body once it is there, absent before. Lives as long as the request. */
static inline weir_str weir_body_get(weir_request *request, uint32_t side)
{
    return weir_host_table->body_get(request, side);
}
/* Another body in its place, Content-Length follows. [access after body_read, BUFFER hooks] */
static inline weir_status weir_body_replace(weir_request *request, uint32_t side, weir_str body)
{
    return weir_host_table->body_replace(request, side, body);
}

/* The body of that side passes this policy by, this time: it is neither collected nor shown to its
 * body hook. [before the first piece: access for the request, response_headers for the response] */
static inline weir_status weir_body_skip(weir_request *request, uint32_t side)
{
    return weir_host_table->body_skip(request, side);
}

/* NULL when no credential of that kind has the key. `kind` is the index in the descriptor. */
static inline const weir_credential *weir_credential_find(const void *self, uint32_t kind,
                                                          weir_str key)
{
    return weir_host_table->credential_find(self, kind, key);
}
/* The struct its fields filled. */
static inline const void *weir_credential_data(const weir_credential *credential)
{
    return weir_host_table->credential_data(credential);
}
static inline const weir_consumer *weir_credential_consumer(const weir_credential *credential)
{
    return weir_host_table->credential_consumer(credential);
}
static inline weir_str weir_credential_id(const weir_credential *credential)
{
    return weir_host_table->credential_id(credential);
}
static inline const weir_consumer *weir_consumer_find(const void *self, weir_str username_or_id)
{
    return weir_host_table->consumer_find(self, username_or_id);
}
/* WEIR_CONSUMER_... */
static inline weir_str weir_consumer_text(const weir_consumer *consumer, uint32_t what)
{
    return weir_host_table->consumer_text(consumer, what);
}
/* Who was authenticated; NULL: nobody (yet). */
static inline const weir_consumer *weir_request_consumer(weir_request *request)
{
    return weir_host_table->request_consumer(request);
}
/* Set the identity, its X-Consumer-* headers and the consumer's chain. `identifier` is what
 * X-Credential-Identifier says; absent: the credential's id. [access] */
static inline weir_status weir_authenticate(weir_request *request, const weir_consumer *consumer,
                                            const weir_credential *credential, weir_str identifier)
{
    return weir_host_table->authenticate(request, consumer, credential, identifier);
}
/* The same for the consumer of `anonymous`. WEIR_NOT_FOUND: no such consumer. [access] */
static inline weir_status weir_authenticate_anonymous(weir_request *request,
                                                      weir_str username_or_id)
{
    return weir_host_table->authenticate_anonymous(request, username_or_id);
}

/* Text with $(headers.x) and the like; NULL: refused, and `error` says why at `path`. [configure]
 */
static inline const weir_template *weir_template_compile(weir_error *error, const void *self,
                                                         const char *path, weir_str text)
{
    return weir_host_table->template_compile(error, self, path, text);
}
/* Lives as long as the request. */
static inline weir_status weir_template_render(weir_request *request, const weir_template *compiled,
                                               weir_str *out_text)
{
    return weir_host_table->template_render(request, compiled, out_text);
}
/* Publish a value for later policies, logs and templates. */
static inline weir_status weir_shared_set(weir_request *request, weir_str name, weir_str value)
{
    return weir_host_table->shared_set(request, name, value);
}
static inline weir_str weir_shared_get(weir_request *request, weir_str name)
{
    return weir_host_table->shared_get(request, name);
}
/* A member of the log document: "a.b" makes or finds the object a. `json` is a JSON value; empty
 * removes the member. */
static inline weir_status weir_log_set(weir_request *request, weir_str dotted_key, weir_str json)
{
    return weir_host_table->log_set(request, dotted_key, json);
}
/* The exchange as one line of JSON, in the layout log policies share. [log] */
static inline weir_str weir_log_document(weir_request *request)
{
    return weir_host_table->log_document(request);
}

/* The id under which the caller knows this request: in every log line of the request from now on,
 * and with WEIR_CORRELATE_ERRORS in the gateway's error bodies. Another call takes its place.
 * WEIR_INVALID: empty, longer than 256 bytes, or not printable. [exchange] */
static inline weir_status weir_correlate(weir_request *request, weir_str id, uint32_t flags)
{
    return weir_host_table->correlate(request, id, flags);
}

/* Park, then return WEIR_WAIT; on_wake's verdict goes on where this hook stopped. 0: no memory. */
static inline weir_token weir_park(weir_request *request, uint32_t deadline_ms,
                                   weir_wake_hook *on_wake)
{
    return weir_host_table->park(request, deadline_ms, on_wake);
}
/* WEIR_GONE when the work ended or was woken already. [any thread] */
static inline weir_status weir_wake(weir_token token)
{
    return weir_host_table->wake(weir_host_table, token);
}
/* repeat_ms 0: once. NULL without memory. [start, worker] */
static inline weir_timer *weir_timer_start(const void *self, uint32_t delay_ms, uint32_t repeat_ms,
                                           weir_timer_hook *hook, void *user)
{
    return weir_host_table->timer_start(self, delay_ms, repeat_ms, hook, user);
}
/* NULL is fine. A timer that ran once is gone by itself. */
static inline void weir_timer_stop(weir_timer *timer)
{
    weir_host_table->timer_stop(timer);
}
/* Level-triggered. Remove it before the descriptor is closed. Needs WEIR_CAP_NETWORK. */
static inline weir_io *weir_io_add(const void *self, int fd, uint32_t events, weir_io_hook *hook,
                                   void *user)
{
    return weir_host_table->io_add(self, fd, events, hook, user);
}
static inline weir_status weir_io_set(weir_io *io, uint32_t events)
{
    return weir_host_table->io_set(io, events);
}
static inline void weir_io_remove(weir_io *io)
{
    weir_host_table->io_remove(io);
}

/* Connect to a peer, names resolved and TLS spoken without blocking the loop. `peer` and `events`
 * are copied. NULL: refused, and no event follows (no memory, an impossible peer, or more than 64
 * streams of one policy). What a policy leaves open is closed at its stop(), without an event.
 * Needs WEIR_CAP_NETWORK. [start, worker, exchange] */
static inline weir_stream *weir_stream_open(const void *self, const weir_peer *peer,
                                            const weir_stream_events *events, void *user)
{
    return weir_host_table->stream_open(self, peer, events, user);
}
/* Copied, sent as fast as the peer takes it. WEIR_PHASE before `opened`, WEIR_FULL when more than 1
 * MiB would wait. */
static inline weir_status weir_stream_write(weir_stream *stream, weir_str bytes)
{
    return weir_host_table->stream_write(stream, bytes);
}
/* At once; no event follows. NULL is fine. */
static inline void weir_stream_close(weir_stream *stream)
{
    weir_host_table->stream_close(stream);
}
/* Ask an HTTP server. Redirects are not followed; the connection is not kept. `request` is copied.
 * `done` is called once, never from inside this call; the answer lives as long as that call. A
 * fetch whose `user` lies in a request's context is to be cancelled in the log hook. NULL: refused,
 * and `done` is not called: no memory, a URL that cannot be or that names a user, a field that is
 * the connection's own (Connection, Content-Length, Transfer-Encoding, TE, Trailer, Upgrade,
 * Expect) or more than 64 of them, a request above 1 MiB, more than 64 fetches of one policy at
 * once. A User-Agent is sent unless one is given. What is under way at the policy's stop() is
 * cancelled. Needs WEIR_CAP_NETWORK. [start, worker, exchange] */
static inline weir_fetch *weir_fetch_start(const void *self, const weir_fetch_request *request,
                                           weir_fetch_hook *done, void *user)
{
    return weir_host_table->fetch_start(self, request, done, user);
}
/* `done` will not be called. NULL is fine. */
static inline void weir_fetch_cancel(weir_fetch *fetch)
{
    weir_host_table->fetch_cancel(fetch);
}

/* A file that lines are appended to. No call here waits for the file, however slow its disk: the
 * host writes, in a thread of its own, all files of a worker one after the other. `path` and
 * `options` are copied. Nothing is made or opened before the first line; the name is compared with
 * the open file once a second, so a file that was renamed away is begun anew. What cannot be
 * written is tried again for as long as the policy lives. The host logs when a fault begins and
 * ends, and shows weir_file_lost_lines_total and weir_file_waiting_bytes with the plugin and the
 * path. NULL: refused (no memory, an empty path or one above 4095 bytes or with a NUL, unknown
 * flags, more than 16 files of one policy). What a policy leaves open is closed at its stop().
 * Needs WEIR_CAP_FILES. [start, worker, exchange] */
static inline weir_file *weir_file_open(const void *self, weir_str path,
                                        const weir_file_options *options)
{
    return weir_host_table->file_open(self, path, options);
}
/* `line` and a newline, the whole of it or nothing: lines of several workers do not mix (to a pipe,
 * only those up to 4096 bytes). Copied. WEIR_FULL: no more may wait. WEIR_INVALID: absent, or with
 * a newline inside. Whatever is not WEIR_SUCCESS is a lost line, and is counted. */
static inline weir_status weir_file_append(weir_file *file, weir_str line)
{
    return weir_host_table->file_append(file, line);
}
/* WEIR_FILE_WRITTEN and the like, as it is now. */
static inline int64_t weir_file_number(weir_file *file, uint32_t what)
{
    return weir_host_table->file_number(file, what);
}
/* The handle is gone. What waits is still written, within two seconds; then it is lost, and the
 * host logs how much. No exit of a worker takes longer than that. NULL is fine. */
static inline void weir_file_close(weir_file *file)
{
    weir_host_table->file_close(file);
}

/* A named dictionary of this plugin in shared memory, the same for all its policies and workers. It
 * outlives swaps and crashes; another `layout` number starts it empty. When it is full the entry
 * nearest its end makes room. NULL: refused, and `error` says why. Needs WEIR_CAP_SHARED_MEMORY.
 * [configure] */
static inline weir_dict *weir_dict_open(weir_error *error, const void *self, weir_str name,
                                        uint32_t layout, uint32_t entries, uint32_t value_size)
{
    return weir_host_table->dict_open(error, self, name, layout, entries, value_size);
}
/* WEIR_NOT_FOUND: absent or run out. */
static inline weir_status weir_dict_get(weir_dict *dict, weir_str key, void *out_value, size_t size)
{
    return weir_host_table->dict_get(dict, key, out_value, size);
}
/* ttl_ms 0: no end. */
static inline weir_status weir_dict_set(weir_dict *dict, weir_str key, const void *value,
                                        size_t size, int64_t ttl_ms)
{
    return weir_host_table->dict_set(dict, key, value, size, ttl_ms);
}
static inline weir_status weir_dict_remove(weir_dict *dict, weir_str key)
{
    return weir_host_table->dict_remove(dict, key);
}
/* Add to an 8-byte counter, made with that ttl when absent; out_value may be NULL. */
static inline weir_status weir_dict_add(weir_dict *dict, weir_str key, int64_t delta,
                                        int64_t ttl_ms, int64_t *out_value)
{
    return weir_host_table->dict_add(dict, key, delta, ttl_ms, out_value);
}
/* Compare and swap an 8-byte value; WEIR_FULL when it is another one. */
static inline weir_status weir_dict_swap(weir_dict *dict, weir_str key, int64_t expected,
                                         int64_t value)
{
    return weir_host_table->dict_swap(dict, key, expected, value);
}
/* Add 1 to every counter, or to none when one would pass its limit (WEIR_FULL; `value` then says
 * what it is). One atomic step over all workers. */
static inline weir_status weir_dict_take(weir_dict *dict, weir_take *counters, size_t count)
{
    return weir_host_table->dict_take(dict, counters, count);
}

/* `labels` ends with NULL and is at most 8 long; `buckets` are for histograms, rising. The same
 * name opened twice is the same metric; with other buckets it is refused within a configuration,
 * and begins anew in the next. Series beyond the limit are counted in one called "overflow". NULL:
 * refused. [configure] */
static inline weir_metric *weir_metric_open(weir_error *error, const void *self, uint32_t kind,
                                            weir_str name, weir_str help, const char *const *labels,
                                            const double *buckets, size_t bucket_count)
{
    return weir_host_table->metric_open(error, self, kind, name, help, labels, buckets,
                                        bucket_count);
}
/* The same metric through a handle that adds no series once it has that many; by itself that is
 * 10,000. NULL: refused. [configure] */
static inline weir_metric *weir_metric_limit(weir_error *error, const void *self,
                                             weir_metric *metric, uint32_t series)
{
    return weir_host_table->metric_limit(error, self, metric, series);
}
/* One value for each label. A histogram observes `amount`. */
static inline void weir_metric_add(weir_metric *metric, const weir_str *label_values, double amount)
{
    weir_host_table->metric_add(metric, label_values, amount);
}
/* Of a gauge: this worker's share of it. */
static inline void weir_metric_set(weir_metric *metric, const weir_str *label_values, double value)
{
    weir_host_table->metric_set(metric, label_values, value);
}
/* Wall clock, read once per turn of the loop. */
static inline int64_t weir_now_ms(void)
{
    return weir_host_table->now_ms(weir_host_table);
}
/* Monotonic, read once per turn of the loop. */
static inline int64_t weir_mono_us(void)
{
    return weir_host_table->mono_us(weir_host_table);
}
/* Not for keys. */
static inline void weir_random(void *out, size_t size)
{
    weir_host_table->random(weir_host_table, out, size);
}
/* 36 characters, not terminated. */
static inline void weir_uuid(char out[36])
{
    weir_host_table->uuid(weir_host_table, out);
}

/* ---- the one macro of a plugin ----------------------------------------------------------------
 */

#define WEIR_SELF(type) .self_size = (uint32_t)sizeof(type)
#define WEIR_CONTEXT(type) .context_size = (uint32_t)sizeof(type)
#define WEIR_FIELDS(rows)                                                          \
    .fields = (rows), .field_count = (uint32_t)(sizeof(rows) / sizeof((rows)[0])), \
    .field_stride = (uint32_t)sizeof((rows)[0])
#define WEIR_CREDENTIALS(rows)                                                               \
    .credentials = (rows), .credential_count = (uint32_t)(sizeof(rows) / sizeof((rows)[0])), \
    .credential_stride = (uint32_t)sizeof((rows)[0])

/* ---- state handed over ----------------------------------------------------------------------- */

/* In export_state(): a value under a key, in place of one that has it already. Both are copied.
 * WEIR_FULL: more than 4096 values or 4 MiB; WEIR_INVALID: an empty key. */
static inline weir_status weir_state_set(weir_state *state, weir_str key, weir_str value)
{
    return weir_host_table->state_set(state, key, value);
}
/* In import_state(): absent when the former build said nothing of it. Lives for the call. */
static inline weir_str weir_state_get(const weir_state *state, weir_str key)
{
    return weir_host_table->state_get(state, key);
}
/* All of them, in no particular order. */
static inline void weir_state_each(const weir_state *state, weir_state_hook *hook, void *user)
{
    weir_host_table->state_each(state, hook, user);
}

#define WEIR_TEXT_OF_(x) #x
#define WEIR_TEXT_OF(x) WEIR_TEXT_OF_(x)

/* The manifest is read from the file before any code of the plugin runs; the section survives
 * strip. */
#define WEIR_PLUGIN(name_, version_, capabilities_, ...)                                  \
    const weir_host *weir_host_table;                                                     \
    __attribute__((section(".weir.manifest"), used)) static const char weir_manifest_[] = \
        "weir-plugin/1\nname=" name_ "\nversion=" version_                                \
        "\nabi=" WEIR_TEXT_OF(WEIR_MAJOR) "." WEIR_TEXT_OF(WEIR_TARGET_MINOR) "\n";       \
    static const weir_plugin weir_descriptor_ = {.size = (uint32_t)sizeof(weir_plugin),   \
                                                 .major = WEIR_MAJOR,                     \
                                                 .minor = WEIR_TARGET_MINOR,              \
                                                 .name = name_,                           \
                                                 .version = version_,                     \
                                                 .capabilities = (capabilities_),         \
                                                 __VA_ARGS__};                            \
    __attribute__((visibility("default"))) const weir_plugin *weir_plugin_v1(             \
        const weir_host *host);                                                           \
    const weir_plugin *weir_plugin_v1(const weir_host *host)                              \
    {                                                                                     \
        weir_host_table = host;                                                           \
        return &weir_descriptor_;                                                         \
    }                                                                                     \
    _Static_assert(sizeof(name_) <= 64, "a plugin's name has at most 63 bytes")

#ifdef __cplusplus
}
#endif

#endif
