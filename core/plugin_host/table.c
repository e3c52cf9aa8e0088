/* The slots of the table and the stubs that refuse what a plugin did not declare. */
#include "plugin_host/table.h"

#include <stdlib.h>

#include "plugin_host/calls.h"
#include "plugin_host/deprecated.h"

/* clang-format off */
static const weir_host every_call = {
    .size = (uint32_t)sizeof(weir_host),
    .major = WEIR_MAJOR,
    .minor = WEIR_MINOR,
    .error_at = call_error_at,
    .log = call_log,
    .request_alloc = call_request_alloc,
    .policy_alloc = call_policy_alloc,
    .policy_text = call_policy_text,
    .ext = call_ext,
    .request_text = call_request_text,
    .request_number = call_request_number,
    .capture = call_capture,
    .query_get = call_query_get,
    .query_set = call_query_set,
    .query_remove = call_query_remove,
    .header_intern = call_header_intern,
    .header_get = call_header_get,
    .header_set = call_header_set,
    .header_add = call_header_add,
    .header_remove = call_header_remove,
    .header_each = call_header_each,
    .method_set = call_method_set,
    .path_set = call_path_set,
    .host_set = call_host_set,
    .target_set = call_target_set,
    .status_set = call_status_set,
    .respond = call_respond,
    .respond_error = call_respond_error,
    .body_read = call_body_read,
    .body_emit = call_body_emit,
    .body_get = call_body_get,
    .body_replace = call_body_replace,
    .credential_find = call_credential_find,
    .credential_data = call_credential_data,
    .credential_consumer = call_credential_consumer,
    .consumer_find = call_consumer_find,
    .consumer_text = call_consumer_text,
    .request_consumer = call_request_consumer,
    .authenticate = call_authenticate,
    .authenticate_anonymous = call_authenticate_anonymous,
    .template_compile = call_template_compile,
    .template_render = call_template_render,
    .shared_set = call_shared_set,
    .shared_get = call_shared_get,
    .log_set = call_log_set,
    .log_document = call_log_document,
    .park = call_park,
    .wake = call_wake,
    .timer_start = call_timer_start,
    .timer_stop = call_timer_stop,
    .io_add = call_io_add,
    .io_set = call_io_set,
    .io_remove = call_io_remove,
    .dict_open = call_dict_open,
    .dict_get = call_dict_get,
    .dict_set = call_dict_set,
    .dict_remove = call_dict_remove,
    .dict_add = call_dict_add,
    .dict_swap = call_dict_swap,
    .dict_take = call_dict_take,
    .metric_open = call_metric_open,
    .metric_add = call_metric_add,
    .metric_set = call_metric_set,
    .metric_limit = call_metric_limit,
    .now_ms = call_now_ms,
    .mono_us = call_mono_us,
    .random = call_random,
    .uuid = call_uuid,
    .query_replace = call_query_replace,
    .body_skip = call_body_skip,
    .credential_id = call_credential_id,
    .correlate = call_correlate,
    .stream_open = call_stream_open,
    .stream_write = call_stream_write,
    .stream_close = call_stream_close,
    .fetch_start = call_fetch_start,
    .fetch_cancel = call_fetch_cancel,
    .file_open = call_file_open,
    .file_append = call_file_append,
    .file_number = call_file_number,
    .file_close = call_file_close,
    .state_set = call_state_set,
    .state_get = call_state_get,
    .state_each = call_state_each,
};
/* clang-format on */

/* None in 1.0. */
static const struct deprecated_call deprecated_calls[] = {{.name = NULL}};

/* ---- refusing stubs */

static weir_dict *refuse_dict_open(weir_error *error, const void *self, weir_str name,
                                   uint32_t layout, uint32_t entries, uint32_t value_size)
{
    (void)self, (void)name, (void)layout, (void)entries, (void)value_size;
    call_error_at(error, NULL, "the plugin did not declare WEIR_CAP_SHARED_MEMORY");
    return NULL;
}
static weir_status refuse_dict_get(weir_dict *dict, weir_str key, void *out_value, size_t size)
{
    (void)dict, (void)key, (void)out_value, (void)size;
    return WEIR_DENIED;
}
static weir_status refuse_dict_set(weir_dict *dict, weir_str key, const void *value, size_t size,
                                   int64_t ttl_ms)
{
    (void)dict, (void)key, (void)value, (void)size, (void)ttl_ms;
    return WEIR_DENIED;
}
static weir_status refuse_dict_remove(weir_dict *dict, weir_str key)
{
    (void)dict, (void)key;
    return WEIR_DENIED;
}
static weir_status refuse_dict_add(weir_dict *dict, weir_str key, int64_t delta, int64_t ttl_ms,
                                   int64_t *out_value)
{
    (void)dict, (void)key, (void)delta, (void)ttl_ms, (void)out_value;
    return WEIR_DENIED;
}
static weir_status refuse_dict_swap(weir_dict *dict, weir_str key, int64_t expected, int64_t value)
{
    (void)dict, (void)key, (void)expected, (void)value;
    return WEIR_DENIED;
}
static weir_status refuse_dict_take(weir_dict *dict, weir_take *counters, size_t count,
                                    size_t stride)
{
    (void)dict, (void)counters, (void)count, (void)stride;
    return WEIR_DENIED;
}

static weir_io *refuse_io_add(const void *self, int fd, uint32_t events, weir_io_hook *hook,
                              void *user)
{
    (void)self, (void)fd, (void)events, (void)hook, (void)user;
    return NULL;
}
static weir_status refuse_io_set(weir_io *io, uint32_t events)
{
    (void)io, (void)events;
    return WEIR_DENIED;
}
static void refuse_io_remove(weir_io *io)
{
    (void)io;
}

static weir_stream *refuse_stream_open(const void *self, const weir_peer *peer,
                                       const weir_stream_events *events, void *user)
{
    (void)self, (void)peer, (void)events, (void)user;
    return NULL;
}
static weir_status refuse_stream_write(weir_stream *stream, weir_str bytes)
{
    (void)stream, (void)bytes;
    return WEIR_DENIED;
}
static void refuse_stream_close(weir_stream *stream)
{
    (void)stream;
}
static weir_fetch *refuse_fetch_start(const void *self, const weir_fetch_request *request,
                                      weir_fetch_hook *done, void *user)
{
    (void)self, (void)request, (void)done, (void)user;
    return NULL;
}
static void refuse_fetch_cancel(weir_fetch *fetch)
{
    (void)fetch;
}

static weir_file *refuse_file_open(const void *self, weir_str path,
                                   const weir_file_options *options)
{
    (void)self, (void)path, (void)options;
    return NULL;
}
static weir_status refuse_file_append(weir_file *file, weir_str line)
{
    (void)file, (void)line;
    return WEIR_DENIED;
}
static int64_t refuse_file_number(weir_file *file, uint32_t what)
{
    (void)file, (void)what;
    return WEIR_UNSET;
}
static void refuse_file_close(weir_file *file)
{
    (void)file;
}

static weir_status refuse_body_read(weir_request *request, uint32_t deadline_ms,
                                    weir_wake_hook *on_wake)
{
    (void)request, (void)deadline_ms, (void)on_wake;
    return WEIR_DENIED;
}
static weir_status refuse_body_write(weir_request *request, uint32_t side, weir_str bytes)
{
    (void)request, (void)side, (void)bytes;
    return WEIR_DENIED;
}
static weir_str refuse_body_get(weir_request *request, uint32_t side)
{
    (void)request, (void)side;
    return (weir_str){0};
}

/* ---- tables */

weir_host *plugin_table_create(struct plugin_host *host, struct span plugin_name)
{
    struct plugin_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->table = every_call;
    deprecated_calls_put(&table->table, deprecated_calls);
    table->host = host;
    struct span name = span_first(plugin_name, sizeof(table->name) - 1);
    memcpy(table->name, name.data, name.size);
    return &table->table;
}

void plugin_table_grant(weir_host *table, uint64_t capabilities)
{
    if ((capabilities & WEIR_CAP_SHARED_MEMORY) == 0) {
        table->dict_open = refuse_dict_open;
        table->dict_get = refuse_dict_get;
        table->dict_set = refuse_dict_set;
        table->dict_remove = refuse_dict_remove;
        table->dict_add = refuse_dict_add;
        table->dict_swap = refuse_dict_swap;
        table->dict_take = refuse_dict_take;
    }
    if ((capabilities & WEIR_CAP_NETWORK) == 0) {
        table->io_add = refuse_io_add;
        table->io_set = refuse_io_set;
        table->io_remove = refuse_io_remove;
        table->stream_open = refuse_stream_open;
        table->stream_write = refuse_stream_write;
        table->stream_close = refuse_stream_close;
        table->fetch_start = refuse_fetch_start;
        table->fetch_cancel = refuse_fetch_cancel;
    }
    if ((capabilities & WEIR_CAP_FILES) == 0) {
        table->file_open = refuse_file_open;
        table->file_append = refuse_file_append;
        table->file_number = refuse_file_number;
        table->file_close = refuse_file_close;
    }
    if ((capabilities & WEIR_CAP_BODY) == 0) {
        table->body_read = refuse_body_read;
        table->body_emit = refuse_body_write;
        table->body_replace = refuse_body_write;
        table->body_get = refuse_body_get;
    }
}

void plugin_table_destroy(weir_host *table)
{
    free(table);
}
