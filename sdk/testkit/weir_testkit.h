/* The test kit: a plugin's built .so, run through the gateway's own host table over a fake host
 * with a clock that only the test moves. No gateway, no sleeping, no sockets but the test's own.
 *
 *     struct kit *kit = kit_open("_format_version: '3.0'\n"
 *                                "services: [{name: s, host: t, routes: [{name: r, paths:
 * [/]}]}]\n" "plugins: [{name: key-auth}]\n"); kit_request *r = kit_request_new(kit, "GET",
 * "/orders?x=1"); kit_request_header(r, "apikey", "wrong"); cr_assert_eq(kit_run(r), 401);
 *     cr_assert_str_eq(kit_response_header(r, "WWW-Authenticate"), "Key");
 *     kit_close(kit);
 *
 * Plugins are found in the folder that WEIR_PLUGIN_DIR names. What a request needs beyond policies
 * is simple here: the route is named, not matched; the target says what the test told it to say; no
 * header is added or dropped but by policies. Texts the kit returns are terminated and live as long
 * as the request (or the kit). A mistake in using the kit itself ends the process with a message.
 * One kit at a time in a process (and its further workers): the clock is the process's. */
#ifndef WEIR_TESTKIT_H
#define WEIR_TESTKIT_H

#include <weir/weir.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kit;                             /* one worker with its configuration */
typedef struct kit_request kit_request; /* one request and its response */

/* ---- a gateway's worth of plugins ------------------------------------------------------------ */

/* Load a whole declarative configuration. NULL: refused, kit_error() says why. */
struct kit *kit_open(const char *yaml);
/* The same with the plugins of another folder than WEIR_PLUGIN_DIR. */
struct kit *kit_open_folder(const char *yaml, const char *plugin_folder);
/* The same with the first ```yaml block of a Markdown file, so that the example of a README is
 * tested as it stands. A relative path starts at WEIR_SOURCE_DIR when that is set. */
struct kit *kit_open_markdown(const char *path);
/* Why the last kit_open() or kit_reload() refused: a line "kong.yml:LINE:COLUMN: path: message" for
 * each problem. Empty when it did not. */
const char *kit_error(void);
/* Warnings of the last configuration that loaded, in the same form; empty without any. */
const char *kit_warnings(void);
/* Requests that still wait are aborted, everything is freed. NULL is fine. Workers that
 * kit_second_worker() made must be closed before. */
void kit_close(struct kit *kit);

/* Another configuration over the same shared memory, as a reload does it: waiting requests end on
 * the one they started with. false: refused (kit_error() says why), the old one goes on. */
bool kit_reload(struct kit *kit, const char *yaml);
/* One more worker: the same configuration, shared memory and clock, loaded as a process of its own
 * would (the plugin's static variables are separate). Up to seven. */
struct kit *kit_second_worker(struct kit *kit);

/* ---- time ------------------------------------------------------------------------------------ */

/* The clock starts at 2026-01-01 00:00:00 UTC and stands still. Wall clock alone, timers are not
 * moved: */
void kit_set_time(struct kit *kit, int64_t wall_ms);
int64_t kit_time(const struct kit *kit); /* wall clock, ms */
/* Both clocks go on; what comes due on the way (timers, deadlines) happens at its own moment and in
 * order, and requests that are woken go on. Moves the time of all workers, fires those of each. */
void kit_advance_ms(struct kit *kit, int64_t ms);
/* The same without time: what is due now, wakes, and watched descriptors that are ready. */
void kit_turn(struct kit *kit);
/* For a plugin that talks to a peer of the test (a server on loopback): wait in real time, at most
 * `real_ms`, until a watched descriptor is ready, then turn. The kit's clock does not move. false:
 * none was ready. */
bool kit_wait_ready(struct kit *kit, int real_ms);
/* Timers that run: of policies, and deadlines of what waits. */
size_t kit_timer_count(const struct kit *kit);

/* ---- peers: weir_stream_… and weir_fetch_…
   -------------------------------------------------------

   A stream is a real connection to a server of the test on loopback: plain TCP to "localhost" or an
   address (other names, and WEIR_PEER_TLS, end in `closed`). kit_turn() and kit_wait_ready() move
   it on: one turn connects, what a policy writes is sent at once, what comes in needs a turn.
   Deadlines go by the kit's clock: kit_advance_ms().

   A fetch reaches nobody: the test says what its URL answers, all workers ask the same. The answer
   comes with the next turn, so within kit_run(), unless fetches are held. */

/* One more answer of exactly that URL: each is given once, in this order, the last one from then on
 * for ever. Status 0: no answer came, and `body` is the reason; `content_type` NULL: none; `body`
 * NULL: empty. A URL nobody spoke of fails. */
void kit_fetch_answer(struct kit *kit, const char *url, int status, const char *content_type,
                      const char *body);
/* One more header of the answer that was added last. */
void kit_fetch_answer_header(struct kit *kit, const char *url, const char *name, const char *value);
/* Fetches wait, as with a server that hangs, until they are released or their deadline passes. A
 * release turns all workers. */
void kit_fetch_hold(struct kit *kit);
void kit_fetch_release(struct kit *kit);
/* How often that URL was asked so far; NULL: all together. */
size_t kit_fetch_count(const struct kit *kit, const char *url);
/* Those without an answer yet, of this worker. */
size_t kit_fetch_waiting(const struct kit *kit);
/* What the last fetch of that URL sent; NULL: no such header, no body, or it was never asked. Live
 * until the next fetch. */
const char *kit_fetch_method(const struct kit *kit, const char *url);
const char *kit_fetch_header(const struct kit *kit, const char *url, const char *name);
const char *kit_fetch_body(const struct kit *kit, const char *url);

/* ---- files: weir_file_… ---------------------------------------------------------------------- */

/* Lines are in the file of that name when the call returns. What cannot be written waits, bounded
   as in the gateway, and is tried again in each turn; the host's log lines and metrics about it
   come with a turn, so within kit_run(). A closed file that still cannot be written loses its lines
   after 2 s on the kit's clock. */

/* Every write to that path fails with that errno (ENOSPC: a full disk), for all workers; 0: it goes
 * well again, also after kit_file_hang(). */
void kit_file_fail(struct kit *kit, const char *path, int error);
/* A write to that path does not come back, as on a disk that hangs. */
void kit_file_hang(struct kit *kit, const char *path);

/* ---- what is left behind --------------------------------------------------------------------- */

/* Everything policies logged, a line each ("warn: …"), oldest first; "" when nothing was. */
const char *kit_log_lines(struct kit *kit);
void kit_log_clear(struct kit *kit);
/* All metrics in the Prometheus text format. Lives until the next call. */
const char *kit_metrics(struct kit *kit);

/* ---- the request: before kit_run() ----------------------------------------------------------- */

/* `target` is a path, perhaps with a query. Client 127.0.0.1, plain HTTP/1.1 on port 8000, Host
 * "gw.test", on the first route of the file. kit_close() or kit_request_free() frees it. */
kit_request *kit_request_new(struct kit *kit, const char *method, const char *target);
void kit_request_free(kit_request *r); /* aborts it when it waits; NULL is fine */
/* One more header; "Host" replaces the one that is there. */
void kit_request_header(kit_request *r, const char *name, const char *value);
/* Its Content-Length comes with it. */
void kit_request_body(kit_request *r, const char *text);
void kit_request_body_bytes(kit_request *r, const void *data, size_t size);
/* By name or id. NULL: no route matches, so the answer is 404 and only the response phases of
 * global policies run. */
void kit_request_route(kit_request *r, const char *name_or_id);
/* A named group of the route's regular expression. */
void kit_request_capture(kit_request *r, const char *name, const char *value);
void kit_request_client_ip(kit_request *r, const char *ip); /* after trusted_ips */
void kit_request_peer_ip(kit_request *r, const char *ip);   /* of the socket */
void kit_request_tls(kit_request *r);                       /* https, port 8443 */
void kit_request_id(kit_request *r, const char *hex32);     /* instead of a made-up one */
/* Bodies, both ways, are given to body hooks `size` bytes at a time, then comes an empty last
 * piece. Without this call there is one piece, the last. */
void kit_split(kit_request *r, size_t size);
/* A policy that reads the whole body waits for kit_body_arrives() instead of getting it at once. */
void kit_hold_body(kit_request *r);
/* A body that a policy reads may have that many bytes, else the answer is 413. */
void kit_body_limit(kit_request *r, size_t size);

/* What the target answers. Without this call: 200, text/plain, "hello". Content-Length is set. */
void kit_target_response(kit_request *r, int status, const char *body);
void kit_target_response_bytes(kit_request *r, int status, const void *data, size_t size);
/* One more header of its answer; Content-Type replaces the one that is there. "" as value with
 * Content-Type: none. */
void kit_target_header(kit_request *r, const char *name, const char *value);
/* It does not answer: the gateway's own 502, 503 or 504. */
void kit_target_fails(kit_request *r, int status);
/* Time that passes at the target before its answer comes (timers may fire meanwhile). */
void kit_target_takes(kit_request *r, int64_t ms);

/* ---- and after ------------------------------------------------------------------------------- */

/* rewrite, route, access, request body, upstream, the target, response headers and body, log: in
 * the gateway's order and by its rules. The status the client gets; 0: a policy waits. */
int kit_run(kit_request *r);
/* A policy waits: kit_advance_ms() or kit_turn() go on with it. */
bool kit_is_waiting(const kit_request *r);
/* Turn once more; the status, or 0 when it still waits. */
int kit_finish(kit_request *r);
/* See kit_hold_body(): it is there now. */
void kit_body_arrives(kit_request *r);
/* The client goes away. Log hooks run, nothing else does. */
void kit_abort(kit_request *r);

/* What the client gets; 0 and NULL while there is no answer. Names in any case. */
int kit_status(const kit_request *r);
const char *kit_response_header(kit_request *r, const char *name);
const char *kit_response_header_nth(kit_request *r, const char *name, size_t nth);
size_t kit_response_header_count(kit_request *r, const char *name);
/* The negotiated error body is always its JSON form here:
 * {"message":…,"request_id":…} with two-space indent, as the gateway sends it. */
const char *kit_response_body(kit_request *r);
size_t kit_response_body_size(const kit_request *r);

/* What the target was sent, as policies left it. kit_was_proxied() false: they say what it would
 * have been sent so far. */
bool kit_was_proxied(const kit_request *r);
const char *kit_upstream_method(kit_request *r);
const char *kit_upstream_path(kit_request *r);  /* the client's, or a policy's */
const char *kit_upstream_query(kit_request *r); /* raw; NULL: none, "": a bare '?' */
const char *kit_upstream_header(kit_request *r, const char *name);
const char *kit_upstream_header_nth(kit_request *r, const char *name, size_t nth);
size_t kit_upstream_header_count(kit_request *r, const char *name);
const char *kit_upstream_body(kit_request *r);
size_t kit_upstream_body_size(const kit_request *r);
const char *kit_upstream_host(kit_request *r);   /* a policy's Host; NULL: none set one */
const char *kit_upstream_target(kit_request *r); /* a policy's target "host:port"; NULL: none */

/* Username (else custom_id, else id) of who was authenticated; NULL: nobody. */
const char *kit_consumer(kit_request *r);
/* A value that a policy published for others; NULL: none did. */
const char *kit_shared(kit_request *r, const char *name);
/* The log document (one line of JSON), once the request is over. */
const char *kit_log_document(kit_request *r);
const char *kit_id(kit_request *r); /* of the request: 32 hex digits */

#ifdef __cplusplus
}
#endif

#endif
