/* The functions behind the slots of the host table, one for each, with the slot's signature.
 * Implemented in calls_*.c; table.c puts them together. Internal to core/plugin_host. */
#ifndef WEIR_PLUGIN_HOST_CALLS_H
#define WEIR_PLUGIN_HOST_CALLS_H

#include "plugin_host/request.h"

/* calls_policy.c, calls_process.c, calls_watch.c, calls_shared.c: not about one exchange (or
 * hardly) */
void call_error_at(weir_error *error, const char *path, const char *format, ...)
    WEIR_PRINTF_ARGS(3, 4);
void call_log(const weir_host *host, weir_request *request, uint32_t level, const char *format, ...)
    WEIR_PRINTF_ARGS(4, 5);
void *call_request_alloc(weir_request *request, size_t size);
void *call_policy_alloc(const void *self, size_t size);
weir_str call_policy_text(const void *self, uint32_t what);
const void *call_ext(const weir_host *host, const char *id);
weir_header_id call_header_intern(const weir_host *host, weir_str name);
const weir_credential *call_credential_find(const void *self, uint32_t kind, weir_str key);
const void *call_credential_data(const weir_credential *credential);
const weir_consumer *call_credential_consumer(const weir_credential *credential);
weir_str call_credential_id(const weir_credential *credential);
const weir_consumer *call_consumer_find(const void *self, weir_str username_or_id);
weir_str call_consumer_text(const weir_consumer *consumer, uint32_t what);
const weir_template *call_template_compile(weir_error *error, const void *self, const char *path,
                                           weir_str text);
weir_timer *call_timer_start(const void *self, uint32_t delay_ms, uint32_t repeat_ms,
                             weir_timer_hook *hook, void *user);
void call_timer_stop(weir_timer *timer);
weir_io *call_io_add(const void *self, int fd, uint32_t events, weir_io_hook *hook, void *user);
weir_status call_io_set(weir_io *io, uint32_t events);
void call_io_remove(weir_io *io);
weir_dict *call_dict_open(weir_error *error, const void *self, weir_str name, uint32_t layout,
                          uint32_t entries, uint32_t value_size);
weir_status call_dict_get(weir_dict *dict, weir_str key, void *out_value, size_t size);
weir_status call_dict_set(weir_dict *dict, weir_str key, const void *value, size_t size,
                          int64_t ttl_ms);
weir_status call_dict_remove(weir_dict *dict, weir_str key);
weir_status call_dict_add(weir_dict *dict, weir_str key, int64_t delta, int64_t ttl_ms,
                          int64_t *out_value);
weir_status call_dict_swap(weir_dict *dict, weir_str key, int64_t expected, int64_t value);
weir_status call_dict_take(weir_dict *dict, weir_take *counters, size_t count, size_t stride);
weir_metric *call_metric_open(weir_error *error, const void *self, uint32_t kind, weir_str name,
                              weir_str help, const char *const *labels, const double *buckets,
                              size_t bucket_count);
weir_metric *call_metric_limit(weir_error *error, const void *self, weir_metric *metric,
                               uint32_t series);
void call_metric_add(weir_metric *metric, const weir_str *label_values, double amount);
void call_metric_set(weir_metric *metric, const weir_str *label_values, double value);
/* calls_peers.c */
weir_stream *call_stream_open(const void *self, const weir_peer *peer,
                              const weir_stream_events *events, void *user);
weir_status call_stream_write(weir_stream *stream, weir_str bytes);
void call_stream_close(weir_stream *stream);
weir_fetch *call_fetch_start(const void *self, const weir_fetch_request *request,
                             weir_fetch_hook *done, void *user);
void call_fetch_cancel(weir_fetch *fetch);
/* Structs of plugins begin with their size. One that is shorter than ours (of an older minor; never
 * than `least`, what 1.0 had) is filled with zeros; a longer one may not use what we do not know.
 * False: neither, or no size. */
bool copy_sized(void *out, size_t size, size_t least, const void *from);
#define SIZE_UP_TO(type_, member_) (offsetof(type_, member_) + sizeof(((type_ *)0)->member_))

/* calls_files.c */
weir_file *call_file_open(const void *self, weir_str path, const weir_file_options *options);
weir_status call_file_append(weir_file *file, weir_str line);
int64_t call_file_number(weir_file *file, uint32_t what);
void call_file_close(weir_file *file);

int64_t call_now_ms(const weir_host *host);
int64_t call_mono_us(const weir_host *host);
void call_random(const weir_host *host, void *out, size_t size);
void call_uuid(const weir_host *host, char out[36]);

/* calls_request.c, calls_body.c, calls_identity.c, calls_wait.c: about an exchange */
weir_str call_request_text(weir_request *request, uint32_t what);
int64_t call_request_number(weir_request *request, uint32_t what);
weir_str call_capture(weir_request *request, weir_str name);
weir_str call_query_get(weir_request *request, weir_str name, size_t nth);
weir_status call_query_set(weir_request *request, weir_str name, weir_str value);
weir_status call_query_remove(weir_request *request, weir_str name);
weir_status call_query_replace(weir_request *request, weir_str raw);
weir_str call_header_get(weir_request *request, uint32_t side, weir_header_id id, size_t nth);
weir_status call_header_set(weir_request *request, uint32_t side, weir_header_id id,
                            weir_str value);
weir_status call_header_add(weir_request *request, uint32_t side, weir_header_id id,
                            weir_str value);
weir_status call_header_remove(weir_request *request, uint32_t side, weir_header_id id);
void call_header_each(weir_request *request, uint32_t side, weir_header_visit *visit, void *user);
weir_status call_method_set(weir_request *request, weir_str method);
weir_status call_path_set(weir_request *request, weir_str path);
weir_status call_host_set(weir_request *request, weir_str host);
weir_status call_target_set(weir_request *request, weir_str host, uint16_t port);
weir_status call_status_set(weir_request *request, uint32_t status);
weir_status call_respond(weir_request *request, uint32_t status, weir_str content_type,
                         weir_str body);
weir_status call_respond_error(weir_request *request, uint32_t status, weir_str message);
weir_status call_body_read(weir_request *request, uint32_t deadline_ms, weir_wake_hook *on_wake);
weir_status call_body_emit(weir_request *request, uint32_t side, weir_str chunk);
weir_str call_body_get(weir_request *request, uint32_t side);
weir_status call_body_skip(weir_request *request, uint32_t side);
weir_status call_body_replace(weir_request *request, uint32_t side, weir_str body);
const weir_consumer *call_request_consumer(weir_request *request);
weir_status call_authenticate(weir_request *request, const weir_consumer *consumer,
                              const weir_credential *credential, weir_str identifier);
weir_status call_authenticate_anonymous(weir_request *request, weir_str username_or_id);
weir_status call_template_render(weir_request *request, const weir_template *compiled,
                                 weir_str *out_text);
weir_status call_shared_set(weir_request *request, weir_str name, weir_str value);
weir_str call_shared_get(weir_request *request, weir_str name);
weir_status call_log_set(weir_request *request, weir_str dotted_key, weir_str json);
weir_str call_log_document(weir_request *request);
weir_status call_correlate(weir_request *request, weir_str id, uint32_t flags);
weir_token call_park(weir_request *request, uint32_t deadline_ms, weir_wake_hook *on_wake);
weir_status call_wake(const weir_host *host, weir_token token);

weir_status call_state_set(weir_state *state, weir_str key, weir_str value);
weir_str call_state_get(const weir_state *state, weir_str key);
void call_state_each(const weir_state *state, weir_state_visit *visit, void *user);

#endif
