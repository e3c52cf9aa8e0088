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

/* What stands here is all that libweir_testkit.so exports. */
#pragma GCC visibility push(default)

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
 * the one they started with, and policies that are in both hand over their state (export_state,
 * import_state). false: refused (kit_error() says why), the old one goes on. */
bool kit_reload(struct kit *kit, const char *yaml);
/* The same configuration with another build of one plugin, as `weir plugin swap` does it: `so` is a
 * path, or the name of a file in the plugin folder; NULL: the build of the folder as it is now. At
 * any step of a request, but not inside a hook. Later reloads keep the build. false: refused
 * (kit_error() says why), the old one goes on. This worker alone, as on a canary. */
bool kit_swap(struct kit *kit, const char *plugin, const char *so);
/* Configurations that are still there: the current one, and those that requests began with. A
 * request lets go of its own when it is freed. */
size_t kit_generations(const struct kit *kit);
/* Free every request that is over; how many those were. */
size_t kit_free_finished(struct kit *kit);
/* Builds that are loaded. One that no configuration uses is unloaded, unless it cannot be (threads,
 * what the linker keeps), or the kit itself was built with a sanitizer. */
size_t kit_images(const struct kit *kit);
/* One more worker: the same configuration, shared memory and clock, loaded as a process of its own
 * would (the plugin's static variables are separate). Up to seven. */
struct kit *kit_second_worker(struct kit *kit);

/* ---- time ------------------------------------------------------------------------------------ */

/* The clock starts at 2026-01-01 00:00:00 UTC and stands still. Wall clock alone, timers are not
 * moved: */
void kit_set_time(struct kit *kit, int64_t wall_ms);
int64_t kit_time(const struct kit *kit); /* wall clock, ms */
/* weir_random() and weir_uuid() give the numbers that belong to `seed` from here on: the same in
 * every run. */
void kit_seed(struct kit *kit, uint64_t seed);
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

/* Servers, a Redis and files: weir_fetch_…, weir_stream_…, weir_file_… */
#include <weir_testkit_peers.h>

/* ---- what is left behind --------------------------------------------------------------------- */

/* Everything policies logged, a line each ("warn: …"), oldest first; "" when nothing was. */
const char *kit_log_lines(struct kit *kit);
void kit_log_clear(struct kit *kit);
/* Of these lines: how many have that level ("error"; NULL: any) and that text (NULL: any). */
size_t kit_log_count(struct kit *kit, const char *level, const char *text);
/* All metrics in the Prometheus text format. Lives until the next call. */
const char *kit_metrics(struct kit *kit);
/* The value of one series, "name" or "name{label=\"value\"}" with all its labels in any order; of a
 * histogram "name_count", "name_sum" and so on. 0 when nobody counted it. */
double kit_metric(struct kit *kit, const char *series);

/* ---- dictionaries in shared memory: of a plugin, by name, of all workers ---------------------

   A mistake in a name ends the process: a policy opens its dictionaries in configure(). */

/* Entries that have not run out. */
size_t kit_dict_count(struct kit *kit, const char *plugin, const char *dict);
/* The value of a counter; 0 when it is not there. */
int64_t kit_dict_counter(struct kit *kit, const char *plugin, const char *dict, weir_str key);
void kit_dict_set_counter(struct kit *kit, const char *plugin, const char *dict, weir_str key,
                          int64_t value, int64_t ttl_ms);
/* Values of any kind; false: it is not there. */
bool kit_dict_get(struct kit *kit, const char *plugin, const char *dict, weir_str key,
                  void *out_value, size_t size);
void kit_dict_set(struct kit *kit, const char *plugin, const char *dict, weir_str key,
                  const void *value, size_t size, int64_t ttl_ms);
bool kit_dict_remove(struct kit *kit, const char *plugin, const char *dict, weir_str key);

/* ---- memory ----------------------------------------------------------------------------------

   What a policy was lent for a request (weir_request_alloc(), its context) is gone when the request
   is over: under AddressSanitizer whoever touches it then is found; under valgrind, who touches
   what weir_request_alloc() gave.

   Every call of the host that may say "no memory" (WEIR_NO_MEMORY, NULL, a token of 0) can be made
   to say so. These count for the process, so kit_open() is included. */

/* The nth such call from here on fails (1: the next one), and those around it do not. 0: none. */
void kit_fail_allocation(size_t nth);
/* The nth and all after it, as when memory is really over. */
void kit_fail_allocations_from(size_t nth);
/* Such calls since the last of the two above. */
size_t kit_allocations(void);
/* The first call that was made to fail since then: "weir_header_set"; NULL: none came to it. */
const char *kit_failed_allocation(void);
/* Run `scenario` with the 1st of its calls failing, then with the 2nd, until it makes no more or
 * `most` were tried. It opens and closes its kit itself and takes every outcome that is not a crash
 * or a leak; in its last run nothing fails. Returns how many calls failed. */
size_t kit_each_allocation(void (*scenario)(void *user, size_t nth), void *user, size_t most);

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
/* A value that an earlier policy would have published: weir_shared_get() finds it. */
void kit_request_shared(kit_request *r, const char *name, const char *value);
/* In which pieces body hooks see a body: kit_split.., below. A body that a policy reads whole is
 * there at once, or: */
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
/* kit_run() returns with the request at its target (kit_status() 0), which answers when
 * kit_target_answers() says so. */
void kit_target_hold(kit_request *r);
void kit_target_answers(kit_request *r);

/* ---- how bodies come. `side` is WEIR_SIDE_REQUEST or WEIR_SIDE_RESPONSE --------------------- */

/* Both ways, `size` bytes at a time, then an empty last piece. Without any of these calls a body is
 * one piece, the last. */
void kit_split(kit_request *r, size_t size);
/* Pieces of exactly these sizes; what is left comes as one more, then an empty last one. */
void kit_split_list(kit_request *r, uint32_t side, const size_t *sizes, size_t count);
/* Pieces of random sizes from 1 on, the same for the same seed; whether the last one is empty is
 * random, too. */
void kit_split_random(kit_request *r, uint32_t side, uint64_t seed);
/* The last bytes come with the last piece; no empty one follows. */
void kit_last_full(kit_request *r, uint32_t side);
/* So much time on the kit's clock passes between two pieces: kit_run() returns 0 and
 * kit_advance_ms() goes on. A body that a policy reads whole takes as long. */
void kit_slow_body(kit_request *r, uint32_t side, uint32_t ms);
/* After so many bytes it breaks off, and no last piece comes: the client is gone (kit_status()
 * stays 0), or the target is (502 when the head of the response still waited for the body, else the
 * client sees what there was). */
void kit_body_breaks(kit_request *r, uint32_t side, size_t after);
/* It comes without Content-Length, as chunked ones do. */
void kit_no_length(kit_request *r, uint32_t side);

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
/* The log hooks have run. */
bool kit_is_over(const kit_request *r);
/* The client went away, or sees a response that breaks off. */
bool kit_was_cut_off(const kit_request *r);
/* The client goes away. Log hooks run, nothing else does. */
void kit_abort(kit_request *r);

/* Which hooks ran so far, in their order, a line each: "PHASE PLUGIN VERDICT". Body hooks have the
 * size of their piece before the verdict, and "last" with the last one; who waited comes again with
 * "woken" or "deadline"; log hooks have no verdict. A policy with an instance_name is PLUGIN/NAME.
 *     access key-auth NEXT
 *     access quota WAIT
 *     access quota woken DONE
 *     response_body rewriter 5 last NEXT
 *     log quota
 * A verdict the host takes for FAIL says why: "FAIL (WAIT for nothing)". */
const char *kit_trace(kit_request *r);
/* The last verdict of that hook: "NEXT", "DONE", "WAIT" or "FAIL"; "" of a log hook that ran; NULL:
 * it did not run. */
const char *kit_verdict(kit_request *r, const char *phase, const char *plugin);
/* What hooks of this request started and is still there, as "timers 1, fetches 2"; "" when nothing
 * is. Of the process's memory it says nothing (see ASan, valgrind). */
const char *kit_request_leftovers(kit_request *r);

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
/* A policy set an identity, be it that of `anonymous`. */
bool kit_is_authenticated(const kit_request *r);
/* The id of the credential it did so with; NULL: none, or without one. */
const char *kit_credential(kit_request *r);
/* A value that a policy published for others; NULL: none did. */
const char *kit_shared(kit_request *r, const char *name);
/* The log document (one line of JSON), once the request is over. */
const char *kit_log_document(kit_request *r);
const char *kit_id(kit_request *r); /* of the request: 32 hex digits */

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
