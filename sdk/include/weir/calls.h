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

/* Before a wrapper whose slot is deprecated since that minor: compilers say so, and the host counts
 * who still calls it. Such a slot stays and works as long as the major does. */
#if defined(__GNUC__)
#define WEIR_DEPRECATED_SINCE_(minor, instead) \
    __attribute__((deprecated("since weir ABI 1." #minor ": " instead)))
#else
#define WEIR_DEPRECATED_SINCE_(minor, instead)
#endif

/* Why the configuration is refused; `path` ("redis.host") becomes file, line and column, NULL: the
 * whole. Copied, cut at 511 bytes. Saying it is not refusing: return something that is not 0. A
 * NULL `error` is fine. [configure] */
#define weir_error_at(error, path, ...) (weir_host_table->error_at((error), (path), __VA_ARGS__))
/* A line with request id, plugin and route, when its level is shown; `request` may be NULL. Copied,
 * cut at 2047 bytes. Never a secret. [configure, worker] */
#define weir_log(request, level, ...) \
    (weir_host_table->log(weir_host_table, (request), (level), __VA_ARGS__))

/* Zeroed, aligned for everything, until the request ends (after its log hooks). NULL: no memory.
 * [exchange] */
static inline void *weir_request_alloc(weir_request *request, size_t size)
{
    return weir_host_table->request_alloc(request, size);
}
/* Zeroed, aligned for everything, as long as the policy; it is never given back before, so not for
 * each request. NULL: no memory. [configure, worker] */
static inline void *weir_policy_alloc(const void *self, size_t size)
{
    return weir_host_table->policy_alloc(self, size);
}
/* Of the policy whose `self` this is: WEIR_POLICY_…; absent when it has none. Lives as long as the
 * policy. [configure, worker] */
static inline weir_str weir_policy_text(const void *self, uint32_t what)
{
    return weir_host_table->policy_text(self, what);
}
/* An optional service by its id, "weir.tls/1"; NULL when this host has none. Lives as long as the
 * plugin is loaded. 1.0 has none. [configure, worker] */
static inline const void *weir_ext(const char *id)
{
    return weir_host_table->ext(weir_host_table, id);
}

/* WEIR_TEXT_…; absent when there is none (yet). Lives as long as the request. [exchange] */
static inline weir_str weir_request_text(weir_request *request, uint32_t what)
{
    return weir_host_table->request_text(request, what);
}
/* WEIR_NUMBER_…; WEIR_UNSET when there is none (yet). [exchange] */
static inline int64_t weir_request_number(weir_request *request, uint32_t what)
{
    return weir_host_table->request_number(request, what);
}
/* A named group of the route's regex path, or its number as text. Absent: no such group, or before
 * routing. Lives as long as the request. [exchange] */
static inline weir_str weir_capture(weir_request *request, weir_str name)
{
    return weir_host_table->capture(request, name);
}
/* The nth argument called `name` (0: the first), decoded; absent when there are fewer, empty when
 * it has no value. Lives as long as the request. [exchange] */
static inline weir_str weir_query_get(weir_request *request, weir_str name, size_t nth)
{
    return weir_host_table->query_get(request, name, nth);
}
/* One argument of that name, in place of all of them; the rest is encoded anew. WEIR_INVALID: no
 * name. WEIR_FULL: the query passes 64 KiB. WEIR_NO_MEMORY, WEIR_PHASE. [rewrite, access, upstream]
 */
static inline weir_status weir_query_set(weir_request *request, weir_str name, weir_str value)
{
    return weir_host_table->query_set(request, name, value);
}
/* All arguments of that name; WEIR_NOT_FOUND when there was none. The rest is encoded anew.
 * WEIR_FULL, WEIR_NO_MEMORY, WEIR_PHASE. [rewrite, access, upstream] */
static inline weir_status weir_query_remove(weir_request *request, weir_str name)
{
    return weir_host_table->query_remove(request, name);
}
/* The whole query as it is to be sent, in place of the one there is; data NULL: none, not even a
 * '?'. WEIR_INVALID: a byte that cannot stand in a query. WEIR_FULL: above 64 KiB. WEIR_NO_MEMORY,
 * WEIR_PHASE. [rewrite, access, upstream] */
static inline weir_status weir_query_replace(weir_request *request, weir_str raw)
{
    return weir_host_table->query_replace(request, raw);
}
/* Best in configure(): names cost nothing afterwards. The same number for the same spelling, as
 * long as the process lives; it means nothing in another. 0: not a header name, above 256 bytes, no
 * memory, or more than 4096 names of one process. Refuse the configuration then: 0 reads as a
 * header that nobody sent. [configure, worker] */
static inline weir_header_id weir_header_intern(weir_str name)
{
    return weir_host_table->header_intern(weir_host_table, name);
}
/* The nth field of that name (0: the first), absent when there are fewer. The response's before
 * there is one: what policies have set for it. Lives as long as the request. [exchange] */
static inline weir_str weir_header_get(weir_request *request, uint32_t side, weir_header_id id,
                                       size_t nth)
{
    return weir_host_table->header_get(request, side, id, nth);
}
/* One field of that name, in place of all of them. WEIR_INVALID: CR, LF or NUL in the value, an
 * unknown id, or a field that frames the message (Content-Length, Transfer-Encoding, Connection …).
 * WEIR_FULL: too many fields. WEIR_NO_MEMORY. WEIR_PHASE: that head is on its way. Host of the
 * request: as weir_host_set(). [of the request: rewrite, access, upstream, request_body with
 * WEIR_BODY_BUFFER; of the response: these until it is there, response_headers, response_body with
 * WEIR_BODY_BUFFER] */
static inline weir_status weir_header_set(weir_request *request, uint32_t side, weir_header_id id,
                                          weir_str value)
{
    return weir_host_table->header_set(request, side, id, value);
}
/* The same with a number in decimal. [as weir_header_set()] */
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
/* One more field of that name. Errors as of weir_header_set(); WEIR_INVALID also for the request's
 * Host. [as weir_header_set()] */
static inline weir_status weir_header_add(weir_request *request, uint32_t side, weir_header_id id,
                                          weir_str value)
{
    return weir_host_table->header_add(request, side, id, value);
}
/* All fields of that name; WEIR_NOT_FOUND when there was none. WEIR_INVALID: an unknown id, a field
 * that frames the message, or the request's Host. WEIR_PHASE. [as weir_header_set()] */
static inline weir_status weir_header_remove(weir_request *request, uint32_t side,
                                             weir_header_id id)
{
    return weir_host_table->header_remove(request, side, id);
}
/* Every field in order, until the visit says false. Do not edit headers inside the visit. The
 * strings live as long as the request. [exchange] */
static inline void weir_header_each(weir_request *request, uint32_t side, weir_header_visit *visit,
                                    void *user)
{
    weir_host_table->header_each(request, side, visit, user);
}
/* What the target is sent. WEIR_INVALID: not a token. WEIR_NO_MEMORY, WEIR_PHASE. [rewrite, access,
 * upstream] */
static inline weir_status weir_method_set(weir_request *request, weir_str method)
{
    return weir_host_table->method_set(request, method);
}
/* Instead of the path joined from service and route: as it is to be sent, encoded, without query.
 * WEIR_INVALID: it does not start with "/", or has a space, a control character, '?' or '#'.
 * WEIR_NO_MEMORY, WEIR_PHASE. [access, upstream] */
static inline weir_status weir_path_set(weir_request *request, weir_str path)
{
    return weir_host_table->path_set(request, path);
}
/* Instead of the Host made by preserve_host or the target: a name or an address, with or without
 * port. WEIR_INVALID: not that. WEIR_NO_MEMORY, WEIR_PHASE. [rewrite, access, upstream] */
static inline weir_status weir_host_set(weir_request *request, weir_str host)
{
    return weir_host_table->host_set(request, host);
}
/* Instead of the service's target: a name or an address. WEIR_INVALID: not that, above 255 bytes,
 * or port 0. WEIR_NO_MEMORY, WEIR_PHASE. [access, upstream] */
static inline weir_status weir_target_set(weir_request *request, weir_str host, uint16_t port)
{
    return weir_host_table->target_set(request, host, port);
}
/* Of the response. WEIR_INVALID: not 200 to 999. WEIR_PHASE. [response_headers] */
static inline weir_status weir_status_set(weir_request *request, uint32_t status)
{
    return weir_host_table->status_set(request, status);
}
/* Answer now; the hook then returns WEIR_DONE, and nothing happens when it returns anything else.
 * Headers of the answer may be set after this call. An empty `content_type`: none is sent. In
 * response_headers it takes the place of the response. WEIR_INVALID: a status that is not 200 to
 * 999, or a content type with CR, LF or NUL. WEIR_NO_MEMORY, WEIR_PHASE. [rewrite, access,
 * request_body, upstream, response_headers] */
static inline weir_status weir_respond(weir_request *request, uint32_t status,
                                       weir_str content_type, weir_str body)
{
    return weir_host_table->respond(request, status, content_type, body);
}
/* The same with the gateway's error body, in the form that the client's Accept asks for; `message`
 * absent: the status' own. Errors as of weir_respond(): WEIR_INVALID, WEIR_NO_MEMORY, WEIR_PHASE.
 * [rewrite, access, request_body, upstream, response_headers] */
static inline weir_status weir_respond_error(weir_request *request, uint32_t status,
                                             weir_str message)
{
    return weir_host_table->respond_error(request, status, message);
}

/* Wait for the whole request body, then return WEIR_WAIT: on_wake finds it in weir_body_get(). It
 * is a park, so the hook may have no other, and a deadline of 0 is 60 s. A body above 8 MiB ends
 * the request with 413. WEIR_INVALID: no on_wake, or a body that broke off. WEIR_FULL: the body was
 * above the cap already. WEIR_NO_MEMORY, WEIR_PHASE. Needs WEIR_CAP_BODY. [access] */
static inline weir_status weir_body_read(weir_request *request, uint32_t deadline_ms,
                                         weir_wake_hook *on_wake)
{
    return weir_host_table->body_read(request, deadline_ms, on_wake);
}
/* Pass bytes on in place of the chunk: copied, after what was emitted before. WEIR_FULL: above 8
 * MiB at once. WEIR_NO_MEMORY. WEIR_PHASE: not the hook of that side. Needs WEIR_CAP_BODY.
 * [request_body, response_body with WEIR_BODY_STREAM] */
static inline weir_status weir_body_emit(weir_request *request, uint32_t side, weir_str chunk)
{
    return weir_host_table->body_emit(request, side, chunk);
}
/* The whole body once it is there, absent before and when nobody asked for the whole of it. Lives
 * as long as the request, also when it is replaced. Needs WEIR_CAP_BODY. [exchange] */
static inline weir_str weir_body_get(weir_request *request, uint32_t side)
{
    return weir_host_table->body_get(request, side);
}
/* Another body in its place, Content-Length follows. WEIR_FULL: above 8 MiB. WEIR_NO_MEMORY.
 * WEIR_PHASE: it is not there whole, or not the hook of that side. Needs WEIR_CAP_BODY. [access
 * after weir_body_read(), request_body and response_body with WEIR_BODY_BUFFER] */
static inline weir_status weir_body_replace(weir_request *request, uint32_t side, weir_str body)
{
    return weir_host_table->body_replace(request, side, body);
}

/* The body of that side passes this policy by, this time: it is neither collected nor shown to its
 * body hook. Before the first piece. WEIR_PHASE: too late. WEIR_NO_MEMORY. [of the request:
 * rewrite, access, upstream; of the response: these, request_body, response_headers] */
static inline weir_status weir_body_skip(weir_request *request, uint32_t side)
{
    return weir_host_table->body_skip(request, side);
}

/* One hash probe. NULL when no credential of that kind has the key. `kind` is the index in the
 * descriptor. Lives as long as the policy. [worker] */
static inline const weir_credential *weir_credential_find(const void *self, uint32_t kind,
                                                          weir_str key)
{
    return weir_host_table->credential_find(self, kind, key);
}
/* The struct its fields filled; NULL of NULL. Lives as long as the policy. [worker] */
static inline const void *weir_credential_data(const weir_credential *credential)
{
    return weir_host_table->credential_data(credential);
}
/* Whose it is; NULL of NULL. Lives as long as the policy. [worker] */
static inline const weir_consumer *weir_credential_consumer(const weir_credential *credential)
{
    return weir_host_table->credential_consumer(credential);
}
/* Its id in the configuration; absent of NULL. Lives as long as the policy. [worker] */
static inline weir_str weir_credential_id(const weir_credential *credential)
{
    return weir_host_table->credential_id(credential);
}
/* NULL when no consumer has that username or id. Lives as long as the policy. [worker] */
static inline const weir_consumer *weir_consumer_find(const void *self, weir_str username_or_id)
{
    return weir_host_table->consumer_find(self, username_or_id);
}
/* WEIR_CONSUMER_…; absent when it has none, and of NULL. Lives as long as the policy. [worker] */
static inline weir_str weir_consumer_text(const weir_consumer *consumer, uint32_t what)
{
    return weir_host_table->consumer_text(consumer, what);
}
/* Who was authenticated; NULL: nobody (yet), or an identity without consumer. Lives as long as the
 * request. [exchange] */
static inline const weir_consumer *weir_request_consumer(weir_request *request)
{
    return weir_host_table->request_consumer(request);
}
/* Set the identity, its X-Consumer-* headers and the consumer's chain: the policies after this one
 * are chosen anew when the hook has returned. What a client sent under these names is removed.
 * `consumer` NULL: known, but nobody of the configuration; `credential` may be NULL. `identifier`
 * is what X-Credential-Identifier says; absent: the credential's id. WEIR_FULL, WEIR_INVALID,
 * WEIR_NO_MEMORY: the fields could not be set, and there is no identity. WEIR_PHASE. [access] */
static inline weir_status weir_authenticate(weir_request *request, const weir_consumer *consumer,
                                            const weir_credential *credential, weir_str identifier)
{
    return weir_host_table->authenticate(request, consumer, credential, identifier);
}
/* The same for the consumer of `anonymous`. WEIR_NOT_FOUND: no such consumer. WEIR_FULL,
 * WEIR_NO_MEMORY, WEIR_PHASE. [access] */
static inline weir_status weir_authenticate_anonymous(weir_request *request,
                                                      weir_str username_or_id)
{
    return weir_host_table->authenticate_anonymous(request, username_or_id);
}

/* Text with $(headers.x) and the like, up to 16 KiB. NULL: refused, and `error` says why at `path`.
 * Lives as long as the policy. [configure] */
static inline const weir_template *weir_template_compile(weir_error *error, const void *self,
                                                         const char *path, weir_str text)
{
    return weir_host_table->template_compile(error, self, path, text);
}
/* The text for this request; it lives as long as the request. WEIR_INVALID: an unknown name inside
 * another. WEIR_FULL: above 64 KiB. WEIR_NO_MEMORY. [exchange] */
static inline weir_status weir_template_render(weir_request *request, const weir_template *compiled,
                                               weir_str *out_text)
{
    return weir_host_table->template_render(request, compiled, out_text);
}
/* Publish a value for later policies, logs and templates, in place of one that is there; absent: as
 * if never published. WEIR_FULL: no name or one above 256 bytes, a value above 64 KiB, more than
 * 128 names. WEIR_NO_MEMORY. [exchange] */
static inline weir_status weir_shared_set(weir_request *request, weir_str name, weir_str value)
{
    return weir_host_table->shared_set(request, name, value);
}
/* What a policy published under that name; absent when none did. Lives as long as the request.
 * [exchange] */
static inline weir_str weir_shared_get(weir_request *request, weir_str name)
{
    return weir_host_table->shared_get(request, name);
}
/* A member of the log document: "a.b" makes or finds the object a. `json` is a JSON value; empty
 * removes the member. WEIR_INVALID: not JSON, or an empty part in the key. WEIR_FULL: a key above
 * 128 bytes, a value above 64 KiB, nested too deep, or more than 64 changes of one request.
 * WEIR_NO_MEMORY. [exchange] */
static inline weir_status weir_log_set(weir_request *request, weir_str dotted_key, weir_str json)
{
    return weir_host_table->log_set(request, dotted_key, json);
}
/* The exchange as one line of JSON without newline, in the layout log policies share; made anew at
 * each call. Absent: no memory. Lives as long as the request. [log] */
static inline weir_str weir_log_document(weir_request *request)
{
    return weir_host_table->log_document(request);
}

/* The id under which the caller knows this request: in every log line of the request from now on,
 * and with WEIR_CORRELATE_ERRORS in the gateway's error bodies. Another call takes its place.
 * WEIR_INVALID: empty, longer than 256 bytes, or not printable. WEIR_NO_MEMORY. [exchange] */
static inline weir_status weir_correlate(weir_request *request, weir_str id, uint32_t flags)
{
    return weir_host_table->correlate(request, id, flags);
}

/* Park, then return WEIR_WAIT: that direction of the request stands still, and on_wake's verdict
 * goes on where this hook stopped. on_wake is called once, from the loop, with WEIR_WOKEN or, after
 * `deadline_ms` (0: 60 s), with WEIR_DEADLINE; not at all when the exchange ends before, and then
 * the log hook is what still comes. A hook that parks and does not return WEIR_WAIT gives the park
 * up. The token is a number: keep it as long as you like. 0: no memory, more than 65536 parks of
 * one worker, no on_wake, this hook has parked already, or not here. [rewrite, access,
 * request_body, upstream, response_headers, response_body; body hooks not with WEIR_BODY_TEE] */
static inline weir_token weir_park(weir_request *request, uint32_t deadline_ms,
                                   weir_wake_hook *on_wake)
{
    return weir_host_table->park(request, deadline_ms, on_wake);
}
/* Legal before WEIR_WAIT was returned, and from inside any hook: on_wake is never called from
 * inside this call. WEIR_GONE when the work ended or was woken already. [any thread] */
static inline weir_status weir_wake(weir_token token)
{
    return weir_host_table->wake(weir_host_table, token);
}
/* `hook` is called from the loop after `delay_ms`, then every `repeat_ms`; 0: once. No call comes
 * after the policy's stop(). NULL: no memory, no hook, or not here. The handle lives until then or
 * weir_timer_stop(); one that ran once is gone when its hook has returned. [worker] */
static inline weir_timer *weir_timer_start(const void *self, uint32_t delay_ms, uint32_t repeat_ms,
                                           weir_timer_hook *hook, void *user)
{
    return weir_host_table->timer_start(self, delay_ms, repeat_ms, hook, user);
}
/* No call comes any more. Fine inside its own hook. NULL is fine; a handle that is gone is not.
 * [worker] */
static inline void weir_timer_stop(weir_timer *timer)
{
    weir_host_table->timer_stop(timer);
}
/* Call `hook` from the loop while `fd` is ready for one of `events` (level-triggered). The
 * descriptor stays the plugin's: remove the watch before it is closed. No call comes after the
 * policy's stop(). NULL: no memory, no hook, or no descriptor. The handle lives until
 * weir_io_remove(). Needs WEIR_CAP_NETWORK. [worker] */
static inline weir_io *weir_io_add(const void *self, int fd, uint32_t events, weir_io_hook *hook,
                                   void *user)
{
    return weir_host_table->io_add(self, fd, events, hook, user);
}
/* Other events, 0: none for now. WEIR_GONE: the watch has ended, or NULL. WEIR_INVALID: this host
 * cannot. Needs WEIR_CAP_NETWORK. [worker] */
static inline weir_status weir_io_set(weir_io *io, uint32_t events)
{
    return weir_host_table->io_set(io, events);
}
/* No call comes any more. Fine inside its own hook. NULL is fine; a handle that is gone is not.
 * Needs WEIR_CAP_NETWORK. [worker] */
static inline void weir_io_remove(weir_io *io)
{
    weir_host_table->io_remove(io);
}

/* Connect to a peer, names resolved and TLS spoken without blocking the loop. `peer` and `events`
 * are copied. Events come from the loop, never from inside this call. NULL: refused, and no event
 * follows (no memory, an impossible peer, or more than 64 streams of one policy). What a policy
 * leaves open is closed at its stop(), without an event. The handle lives until its `closed` event
 * has returned, or weir_stream_close(). Needs WEIR_CAP_NETWORK. [worker] */
static inline weir_stream *weir_stream_open(const void *self, const weir_peer *peer,
                                            const weir_stream_events *events, void *user)
{
    return weir_host_table->stream_open(self, peer, events, user);
}
/* Copied, sent as fast as the peer takes it. WEIR_PHASE before `opened`, WEIR_FULL when more than 1
 * MiB would wait (nothing of it is taken). WEIR_INVALID: absent, with a size. WEIR_NO_MEMORY.
 * WEIR_GONE: the peer takes no more, or NULL. Needs WEIR_CAP_NETWORK. [worker] */
static inline weir_status weir_stream_write(weir_stream *stream, weir_str bytes)
{
    return weir_host_table->stream_write(stream, bytes);
}
/* At once; what waits is not sent, and no event follows. Fine inside its own events. NULL is fine.
 * Needs WEIR_CAP_NETWORK. [worker] */
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
 * cancelled. The handle lives until `done` has returned, or weir_fetch_cancel(). Needs
 * WEIR_CAP_NETWORK. [worker] */
static inline weir_fetch *weir_fetch_start(const void *self, const weir_fetch_request *request,
                                           weir_fetch_hook *done, void *user)
{
    return weir_host_table->fetch_start(self, request, done, user);
}
/* `done` will not be called. NULL is fine; a handle that is gone is not. Needs WEIR_CAP_NETWORK.
 * [worker] */
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
 * flags, more than 16 files of one policy). What a policy leaves open is closed at its stop(). The
 * handle lives until then, or weir_file_close(). Needs WEIR_CAP_FILES. [worker] */
static inline weir_file *weir_file_open(const void *self, weir_str path,
                                        const weir_file_options *options)
{
    return weir_host_table->file_open(self, path, options);
}
/* `line` and a newline, the whole of it or nothing: lines of several workers do not mix (to a pipe,
 * only those up to 4096 bytes). Copied. WEIR_FULL: no more may wait. WEIR_INVALID: absent, or with
 * a newline inside. WEIR_NO_MEMORY. WEIR_GONE: NULL. Whatever is not WEIR_SUCCESS is a lost line,
 * and is counted. Needs WEIR_CAP_FILES. [worker] */
static inline weir_status weir_file_append(weir_file *file, weir_str line)
{
    return weir_host_table->file_append(file, line);
}
/* WEIR_FILE_WRITTEN and the like, as it is now. WEIR_UNSET: unknown, or NULL. Needs WEIR_CAP_FILES.
 * [worker] */
static inline int64_t weir_file_number(weir_file *file, uint32_t what)
{
    return weir_host_table->file_number(file, what);
}
/* The handle is gone. What waits is still written, within two seconds; then it is lost, and the
 * host logs how much. No exit of a worker takes longer than that. NULL is fine. Needs
 * WEIR_CAP_FILES. [worker] */
static inline void weir_file_close(weir_file *file)
{
    weir_host_table->file_close(file);
}

/* A named dictionary of this plugin in shared memory, the same for all its policies and workers. It
 * outlives swaps and crashes; another `layout` number starts it empty. An absent key is the empty
 * one. When it is full the entry nearest its end makes room. At most 67,108,864 `entries` of at
 * most 4096 bytes each. NULL: refused, and `error` says why. The handle lives as long as the
 * process. Needs WEIR_CAP_SHARED_MEMORY. [configure] */
static inline weir_dict *weir_dict_open(weir_error *error, const void *self, weir_str name,
                                        uint32_t layout, uint32_t entries, uint32_t value_size)
{
    return weir_host_table->dict_open(error, self, name, layout, entries, value_size);
}
/* Copies `size` bytes of the value. WEIR_NOT_FOUND: absent or run out. WEIR_INVALID: more bytes
 * than a value has. WEIR_GONE: NULL, or opened with another layout since; so answers every call on
 * it. Needs WEIR_CAP_SHARED_MEMORY. [worker] */
static inline weir_status weir_dict_get(weir_dict *dict, weir_str key, void *out_value, size_t size)
{
    return weir_host_table->dict_get(dict, key, out_value, size);
}
/* The value under that key, copied; what is shorter than a value is filled with zeros. ttl_ms 0: no
 * end. WEIR_INVALID: a negative ttl, or more bytes than a value has. WEIR_NO_MEMORY: no place.
 * WEIR_GONE. Needs WEIR_CAP_SHARED_MEMORY. [worker] */
static inline weir_status weir_dict_set(weir_dict *dict, weir_str key, const void *value,
                                        size_t size, int64_t ttl_ms)
{
    return weir_host_table->dict_set(dict, key, value, size, ttl_ms);
}
/* WEIR_NOT_FOUND: absent or run out. WEIR_GONE. Needs WEIR_CAP_SHARED_MEMORY. [worker] */
static inline weir_status weir_dict_remove(weir_dict *dict, weir_str key)
{
    return weir_host_table->dict_remove(dict, key);
}
/* Add to an 8-byte counter, made with that ttl (0: no end) when absent; out_value may be NULL and
 * is set on success. WEIR_FULL: it would overflow. WEIR_INVALID: a negative ttl, or values below 8
 * bytes. WEIR_NO_MEMORY: no place. WEIR_GONE. Needs WEIR_CAP_SHARED_MEMORY. [worker] */
static inline weir_status weir_dict_add(weir_dict *dict, weir_str key, int64_t delta,
                                        int64_t ttl_ms, int64_t *out_value)
{
    return weir_host_table->dict_add(dict, key, delta, ttl_ms, out_value);
}
/* Compare and swap an 8-byte value; WEIR_FULL when it is another one. Its end stays.
 * WEIR_NOT_FOUND: absent or run out. WEIR_INVALID: values below 8 bytes. WEIR_GONE. Needs
 * WEIR_CAP_SHARED_MEMORY. [worker] */
static inline weir_status weir_dict_swap(weir_dict *dict, weir_str key, int64_t expected,
                                         int64_t value)
{
    return weir_host_table->dict_swap(dict, key, expected, value);
}
/* Add 1 to every counter, or to none when one would pass its limit (WEIR_FULL; `value` then says
 * what it is). One atomic step over all workers. At most 16 counters. WEIR_INVALID: more, a
 * negative ttl, or values below 8 bytes. WEIR_NO_MEMORY: no place. WEIR_GONE. Needs
 * WEIR_CAP_SHARED_MEMORY. [worker] */
static inline weir_status weir_dict_take(weir_dict *dict, weir_take *counters, size_t count)
{
    return weir_host_table->dict_take(dict, counters, count, sizeof(*counters));
}

/* A metric of the process, summed over its workers. `labels` ends with NULL and is at most 8 long;
 * `buckets` are for histograms, rising, at most 32. The same name opened twice is the same metric;
 * with other buckets it is refused within a configuration, and begins anew in the next. Series
 * beyond the limit are counted in one called "overflow". All is copied. NULL: refused, and `error`
 * says why. The handle lives as long as the process. [configure] */
static inline weir_metric *weir_metric_open(weir_error *error, const void *self, uint32_t kind,
                                            weir_str name, weir_str help, const char *const *labels,
                                            const double *buckets, size_t bucket_count)
{
    return weir_host_table->metric_open(error, self, kind, name, help, labels, buckets,
                                        bucket_count);
}
/* The same metric through a handle that adds no series once it has that many; by itself that is
 * 10,000. NULL: refused, and `error` says why. The handle lives as long as the process. [configure]
 */
static inline weir_metric *weir_metric_limit(weir_error *error, const void *self,
                                             weir_metric *metric, uint32_t series)
{
    return weir_host_table->metric_limit(error, self, metric, series);
}
/* One value for each label, of which 256 bytes are kept; NULL without labels. A histogram observes
 * `amount`. A NULL metric is fine. [worker] */
static inline void weir_metric_add(weir_metric *metric, const weir_str *label_values, double amount)
{
    weir_host_table->metric_add(metric, label_values, amount);
}
/* Of a gauge: this worker's share of it. A NULL metric is fine. [worker] */
static inline void weir_metric_set(weir_metric *metric, const weir_str *label_values, double value)
{
    weir_host_table->metric_set(metric, label_values, value);
}
/* Wall clock: milliseconds since 1970, read once per turn of the loop. [configure, worker] */
static inline int64_t weir_now_ms(void)
{
    return weir_host_table->now_ms(weir_host_table);
}
/* Monotonic: microseconds, read once per turn of the loop. [configure, worker] */
static inline int64_t weir_mono_us(void)
{
    return weir_host_table->mono_us(weir_host_table);
}
/* Fast and well spread, but not for keys. [configure, worker] */
static inline void weir_random(void *out, size_t size)
{
    weir_host_table->random(weir_host_table, out, size);
}
/* Version 4, lower case: 36 characters, not terminated. Not for keys. [configure, worker] */
static inline void weir_uuid(char out[36])
{
    weir_host_table->uuid(weir_host_table, out);
}

/* ---- the one macro of a plugin ----------------------------------------------------------------
 */

/* Of the descriptor: the struct that the fields fill and the private members after them. */
#define WEIR_SELF(type) .self_size = (uint32_t)sizeof(type)
/* Of the descriptor: what a policy keeps of one request. */
#define WEIR_CONTEXT(type) .context_size = (uint32_t)sizeof(type)
/* Of the descriptor: the array of fields. */
#define WEIR_FIELDS(rows)                                                          \
    .fields = (rows), .field_count = (uint32_t)(sizeof(rows) / sizeof((rows)[0])), \
    .field_stride = (uint32_t)sizeof((rows)[0])
/* Of the descriptor: the array of kinds of credentials. */
#define WEIR_CREDENTIALS(rows)                                                               \
    .credentials = (rows), .credential_count = (uint32_t)(sizeof(rows) / sizeof((rows)[0])), \
    .credential_stride = (uint32_t)sizeof((rows)[0])

/* ---- state handed over ----------------------------------------------------------------------- */

/* A value under a key, in place of one that has it already. Both are copied. WEIR_FULL: more than
 * 4096 values or 4 MiB. WEIR_INVALID: an empty key. WEIR_NO_MEMORY. [export_state] */
static inline weir_status weir_state_set(weir_state *state, weir_str key, weir_str value)
{
    return weir_host_table->state_set(state, key, value);
}
/* Absent when the former build said nothing of it. Lives as long as the call of import_state().
 * [import_state] */
static inline weir_str weir_state_get(const weir_state *state, weir_str key)
{
    return weir_host_table->state_get(state, key);
}
/* All of them, in no particular order, until the visit says false. The strings live as long as the
 * call of import_state(). [import_state] */
static inline void weir_state_each(const weir_state *state, weir_state_visit *visit, void *user)
{
    weir_host_table->state_each(state, visit, user);
}

#define WEIR_TEXT_OF_(x) #x
#define WEIR_TEXT_OF(x) WEIR_TEXT_OF_(x)

#ifdef __cplusplus
#define WEIR_EXPORT_ extern "C" __attribute__((visibility("default")))
#define WEIR_ASSERT_ static_assert
#else
#define WEIR_EXPORT_ __attribute__((visibility("default")))
#define WEIR_ASSERT_ _Static_assert
#endif
/* Once in a plugin, in one of its files: its name (that of the file, at most 63 bytes), version and
 * capabilities, then members of weir_plugin. Makes the one exported symbol, the descriptor, and the
 * manifest, which is read from the file before any code of the plugin runs and survives strip. */
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
    WEIR_EXPORT_ const weir_plugin *weir_plugin_v1(const weir_host *host);                \
    const weir_plugin *weir_plugin_v1(const weir_host *host)                              \
    {                                                                                     \
        weir_host_table = host;                                                           \
        return &weir_descriptor_;                                                         \
    }                                                                                     \
    WEIR_ASSERT_(sizeof(name_) <= 64, "a plugin's name has at most 63 bytes")

#ifdef __cplusplus
}
#endif

#endif
