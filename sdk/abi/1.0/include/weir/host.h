/* What the host offers a plugin: a table of functions, append-only, one table per plugin. Do not
 * call through the table; call the wrappers of <weir/calls.h>, where the contracts are. Included by
 * <weir/weir.h>, never alone. A capability that was not declared has a stub in its slots that
 * answers WEIR_DENIED. */
#ifndef WEIR_HOST_H
#define WEIR_HOST_H

#ifndef WEIR_WEIR_H
#error "include <weir/weir.h>"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WEIR_PRINTF_ARGS(text, first) __attribute__((format(printf, text, first)))
#else
#define WEIR_PRINTF_ARGS(text, first)
#endif

/* Facts of an exchange as text: weir_request_text(). An id a host does not know answers absent. */
#define WEIR_TEXT_METHOD 1U
#define WEIR_TEXT_SCHEME 2U     /* of the client's connection: "http" or "https" */
#define WEIR_TEXT_HOST 3U       /* without port, lower case */
#define WEIR_TEXT_PATH 4U       /* normalised: what routing saw */
#define WEIR_TEXT_RAW_TARGET 5U /* as sent, with the query */
#define WEIR_TEXT_QUERY 6U      /* after '?', undecoded; absent without '?' */
#define WEIR_TEXT_CLIENT_IP 7U  /* after trusted_ips */
#define WEIR_TEXT_PEER_IP 8U    /* of the socket */
#define WEIR_TEXT_REQUEST_ID 9U /* 32 hex digits */
#define WEIR_TEXT_ROUTE_ID 10U
#define WEIR_TEXT_ROUTE_NAME 11U
#define WEIR_TEXT_SERVICE_ID 12U
#define WEIR_TEXT_SERVICE_NAME 13U
#define WEIR_TEXT_CREDENTIAL_ID 14U
#define WEIR_TEXT_TARGET_IP 15U /* of the last attempt */
#define WEIR_TEXT_UPSTREAM_PATH 16U
#define WEIR_TEXT_SERVICE_HOST 17U
#define WEIR_TEXT_SERVER_IP 18U      /* the address the client connected to */
#define WEIR_TEXT_CORRELATION_ID 19U /* what weir_correlate() said; absent without */
#define WEIR_TEXT_TLS_VERSION 20U    /* of the client's connection, "TLSv1.3"; absent without TLS */
#define WEIR_TEXT_TLS_CIPHER 21U     /* the cipher's name; absent without TLS */

/* Facts as numbers: weir_request_number(). An unknown id answers WEIR_UNSET. */
#define WEIR_NUMBER_PORT 1U         /* of the listener, after port_maps */
#define WEIR_NUMBER_HTTP_VERSION 2U /* 10, 11, 20 */
#define WEIR_NUMBER_STARTED_MS 3U   /* wall clock */
#define WEIR_NUMBER_STATUS 4U       /* of the response, once there is one */
#define WEIR_NUMBER_SOURCE 5U       /* WEIR_SOURCE_… */
#define WEIR_NUMBER_BYTES_IN 6U     /* so far, head included */
#define WEIR_NUMBER_BYTES_OUT 7U
#define WEIR_NUMBER_GATEWAY_MS 8U     /* latencies.kong */
#define WEIR_NUMBER_TARGET_MS 9U      /* latencies.proxy; -1 when nothing was proxied */
#define WEIR_NUMBER_TOTAL_MS 10U      /* latencies.request */
#define WEIR_NUMBER_AUTHENTICATED 11U /* 1 once a policy set an identity */
#define WEIR_NUMBER_CONNECTION 12U    /* serial number of the client's connection in its worker */
#define WEIR_NUMBER_CONNECTION_REQUESTS 13U /* on that connection so far, this one included */
#define WEIR_SOURCE_SERVICE 1
#define WEIR_SOURCE_PLUGIN 2
#define WEIR_SOURCE_GATEWAY 3

/* Of a consumer: weir_consumer_text(). Of the running policy: weir_policy_text(). */
#define WEIR_CONSUMER_ID 1U
#define WEIR_CONSUMER_USERNAME 2U
#define WEIR_CONSUMER_CUSTOM_ID 3U
#define WEIR_POLICY_ID 1U
#define WEIR_POLICY_INSTANCE_NAME 2U
#define WEIR_POLICY_ROUTE_ID 3U /* of its scope; absent when it has none */
#define WEIR_POLICY_SERVICE_ID 4U
#define WEIR_POLICY_CONSUMER_ID 5U

/* Which message of the exchange. The response exists from weir_respond() or the response phases on.
 */
#define WEIR_SIDE_REQUEST 0U
#define WEIR_SIDE_RESPONSE 1U

#define WEIR_LOG_DEBUG 0U
#define WEIR_LOG_INFO 1U
#define WEIR_LOG_NOTICE 2U
#define WEIR_LOG_WARN 3U
#define WEIR_LOG_ERROR 4U

#define WEIR_METRIC_COUNTER 1U
#define WEIR_METRIC_GAUGE 2U
#define WEIR_METRIC_HISTOGRAM 3U

/* Of a watched descriptor: what to wait for and what came. Bits that you do not know mean nothing.
 */
#define WEIR_IO_READ 1U
#define WEIR_IO_WRITE 2U

/* weir_correlate(): show the id in the gateway's own JSON error bodies, too. */
#define WEIR_CORRELATE_ERRORS (1U << 0)

/* Of a connection to a peer. */
#define WEIR_PEER_TLS (1U << 0)
#define WEIR_PEER_NO_VERIFY (1U << 1) /* any certificate will do */

/* How a file is appended to. */
#define WEIR_FILE_REOPEN (1U << 0) /* open it by name for each write: follows a rename at once */
#define WEIR_FILE_DROP_OLDEST (1U << 1) /* when it is full; else the new line is lost */

/* Of a file that is appended to: weir_file_number(). An unknown id answers WEIR_UNSET. */
#define WEIR_FILE_WRITTEN 1U       /* lines so far */
#define WEIR_FILE_LOST 2U          /* lines so far */
#define WEIR_FILE_WAITING_BYTES 3U /* of lines that are not written yet */
#define WEIR_FILE_ERROR 4U         /* errno of the last attempt; 0: it went well, or hangs */
#define WEIR_FILE_STALLED_MS 5U    /* its lines wait so long for one call to come back; 0: none */

/* Why a wake hook is called. Take one that you do not know as WEIR_DEADLINE. */
#define WEIR_WOKEN 0U    /* somebody called weir_wake() */
#define WEIR_DEADLINE 1U /* nobody did in time */

/* One counter of an all-or-nothing weir_dict_take(). */
typedef struct weir_take {
    weir_str key;
    int64_t limit;  /* the most the counter may reach */
    int64_t ttl_ms; /* of a counter that is made now */
    int64_t value;  /* out: after the call */
} weir_take;

/* Ends a park: its verdict is that of the hook which waited; it may park again and WAIT. [the phase
 * of that hook] */
typedef weir_verdict weir_wake_hook(weir_request *request, void *self, void *context, uint32_t why);
/* `user` is what was given; keep what it points to until the timer, watch, stream or fetch is gone.
 * [worker] */
typedef void weir_timer_hook(void *self, void *user);
/* `events` of `fd` have come: WEIR_IO_…; errors and hang-ups count as ready. [worker] */
typedef void weir_io_hook(void *self, void *user, int fd, uint32_t events);
/* false ends the walk. The strings live as long as the request. [exchange] */
typedef bool weir_header_visit(void *user, weir_str name, weir_str value);

/* Whom to connect to. `size` is sizeof(weir_peer). */
typedef struct weir_peer {
    uint32_t size;
    uint32_t flags;       /* WEIR_PEER_… */
    weir_str host;        /* a name or an address */
    weir_str server_name; /* of the TLS certificate; absent: `host` */
    uint16_t port;
    uint32_t deadline_ms; /* to resolve, connect and shake hands; > 0 */
} weir_peer;

/* What happens to a stream, always from the loop. After `closed` the stream is gone. `bytes` and
 * `why` live as long as the call. NULL members are fine. [worker] */
typedef struct weir_stream_events {
    uint32_t size;
    void (*opened)(void *self, void *user);
    void (*data)(void *self, void *user, weir_str bytes);
    void (*closed)(void *self, void *user, weir_str why); /* never opened, or ended */
} weir_stream_events;

/* An HTTP/1.1 request that the policy itself makes. `size` is sizeof(weir_fetch_request). */
typedef struct weir_fetch_request {
    uint32_t size;
    uint32_t flags;       /* WEIR_PEER_NO_VERIFY */
    weir_str method, url; /* "http://…" or "https://…" */
    const weir_pair *headers;
    size_t header_count;
    weir_str body;
    uint32_t deadline_ms; /* for all of it; > 0 */
    uint32_t body_limit;  /* of the answer's body: longer ones fail */
} weir_fetch_request;
/* What came of it; all of it lives as long as the call. The host's size. */
typedef struct weir_fetch_answer {
    uint32_t size;
    uint32_t status; /* 0: none came whole, `why` says what went wrong */
    weir_str why;
    const weir_pair *headers;
    size_t header_count;
    weir_str body;
} weir_fetch_answer;
/* Once for each fetch that was not cancelled. [worker] */
typedef void weir_fetch_hook(void *self, void *user, const weir_fetch_answer *answer);

/* A file that lines are appended to. `size` is sizeof(weir_file_options). */
typedef struct weir_file_options {
    uint32_t size;
    uint32_t flags;       /* WEIR_FILE_… */
    uint32_t mode;        /* of a file that is made, less the umask; 0: 0644 */
    uint32_t queue_bytes; /* of lines that may wait; a single line always may */
} weir_file_options;

typedef struct weir_host weir_host;
/* One value that was handed over; false ends the walk. The strings live as long as import_state().
 */
typedef bool weir_state_visit(void *user, weir_str key, weir_str value);

struct weir_host {
    uint32_t size;
    uint16_t major, minor;

    /* text, memory, errors */
    void (*error_at)(weir_error *error, const char *path, const char *format, ...)
        WEIR_PRINTF_ARGS(3, 4);
    void (*log)(const weir_host *host, weir_request *request, uint32_t level, const char *format,
                ...) WEIR_PRINTF_ARGS(4, 5);
    void *(*request_alloc)(weir_request *request, size_t size);
    void *(*policy_alloc)(const void *self, size_t size);
    weir_str (*policy_text)(const void *self, uint32_t what);
    const void *(*ext)(const weir_host *host, const char *id);

    /* request and response */
    weir_str (*request_text)(weir_request *request, uint32_t what);
    int64_t (*request_number)(weir_request *request, uint32_t what);
    weir_str (*capture)(weir_request *request, weir_str name);
    weir_str (*query_get)(weir_request *request, weir_str name, size_t nth);
    weir_status (*query_set)(weir_request *request, weir_str name, weir_str value);
    weir_status (*query_remove)(weir_request *request, weir_str name);
    weir_status (*query_replace)(weir_request *request, weir_str raw);
    weir_header_id (*header_intern)(const weir_host *host, weir_str name);
    weir_str (*header_get)(weir_request *request, uint32_t side, weir_header_id id, size_t nth);
    weir_status (*header_set)(weir_request *request, uint32_t side, weir_header_id id,
                              weir_str value);
    weir_status (*header_add)(weir_request *request, uint32_t side, weir_header_id id,
                              weir_str value);
    weir_status (*header_remove)(weir_request *request, uint32_t side, weir_header_id id);
    void (*header_each)(weir_request *request, uint32_t side, weir_header_visit *visit, void *user);
    weir_status (*method_set)(weir_request *request, weir_str method);
    weir_status (*path_set)(weir_request *request, weir_str path);
    weir_status (*host_set)(weir_request *request, weir_str host);
    weir_status (*target_set)(weir_request *request, weir_str host, uint16_t port);
    weir_status (*status_set)(weir_request *request, uint32_t status);
    weir_status (*respond)(weir_request *request, uint32_t status, weir_str content_type,
                           weir_str body);
    weir_status (*respond_error)(weir_request *request, uint32_t status, weir_str message);

    /* bodies */
    weir_status (*body_read)(weir_request *request, uint32_t deadline_ms, weir_wake_hook *on_wake);
    weir_status (*body_emit)(weir_request *request, uint32_t side, weir_str chunk);
    weir_str (*body_get)(weir_request *request, uint32_t side);
    weir_status (*body_replace)(weir_request *request, uint32_t side, weir_str body);
    weir_status (*body_skip)(weir_request *request, uint32_t side);

    /* consumers and credentials */
    const weir_credential *(*credential_find)(const void *self, uint32_t kind, weir_str key);
    const void *(*credential_data)(const weir_credential *credential);
    const weir_consumer *(*credential_consumer)(const weir_credential *credential);
    weir_str (*credential_id)(const weir_credential *credential);
    const weir_consumer *(*consumer_find)(const void *self, weir_str username_or_id);
    weir_str (*consumer_text)(const weir_consumer *consumer, uint32_t what);
    const weir_consumer *(*request_consumer)(weir_request *request);
    weir_status (*authenticate)(weir_request *request, const weir_consumer *consumer,
                                const weir_credential *credential, weir_str identifier);
    weir_status (*authenticate_anonymous)(weir_request *request, weir_str username_or_id);

    /* templates, shared values, log document */
    const weir_template *(*template_compile)(weir_error *error, const void *self, const char *path,
                                             weir_str text);
    weir_status (*template_render)(weir_request *request, const weir_template *compiled,
                                   weir_str *out_text);
    weir_status (*shared_set)(weir_request *request, weir_str name, weir_str value);
    weir_str (*shared_get)(weir_request *request, weir_str name);
    weir_status (*log_set)(weir_request *request, weir_str dotted_key, weir_str json);
    weir_str (*log_document)(weir_request *request);
    weir_status (*correlate)(weir_request *request, weir_str id, uint32_t flags);

    /* waiting */
    weir_token (*park)(weir_request *request, uint32_t deadline_ms, weir_wake_hook *on_wake);
    weir_status (*wake)(const weir_host *host, weir_token token);
    weir_timer *(*timer_start)(const void *self, uint32_t delay_ms, uint32_t repeat_ms,
                               weir_timer_hook *hook, void *user);
    void (*timer_stop)(weir_timer *timer);
    weir_io *(*io_add)(const void *self, int fd, uint32_t events, weir_io_hook *hook, void *user);
    weir_status (*io_set)(weir_io *io, uint32_t events);
    void (*io_remove)(weir_io *io);

    /* shared memory */
    weir_dict *(*dict_open)(weir_error *error, const void *self, weir_str name, uint32_t layout,
                            uint32_t entries, uint32_t value_size);
    weir_status (*dict_get)(weir_dict *dict, weir_str key, void *out_value, size_t size);
    weir_status (*dict_set)(weir_dict *dict, weir_str key, const void *value, size_t size,
                            int64_t ttl_ms);
    weir_status (*dict_remove)(weir_dict *dict, weir_str key);
    weir_status (*dict_add)(weir_dict *dict, weir_str key, int64_t delta, int64_t ttl_ms,
                            int64_t *out_value);
    weir_status (*dict_swap)(weir_dict *dict, weir_str key, int64_t expected, int64_t value);
    weir_status (*dict_take)(weir_dict *dict, weir_take *counters, size_t count, size_t stride);

    /* metrics, clock, random */
    weir_metric *(*metric_open)(weir_error *error, const void *self, uint32_t kind, weir_str name,
                                weir_str help, const char *const *labels, const double *buckets,
                                size_t bucket_count);
    weir_metric *(*metric_limit)(weir_error *error, const void *self, weir_metric *metric,
                                 uint32_t series);
    void (*metric_add)(weir_metric *metric, const weir_str *label_values, double amount);
    void (*metric_set)(weir_metric *metric, const weir_str *label_values, double value);
    int64_t (*now_ms)(const weir_host *host);
    int64_t (*mono_us)(const weir_host *host);
    void (*random)(const weir_host *host, void *out, size_t size);
    void (*uuid)(const weir_host *host, char out[36]);

    /* peers */
    weir_stream *(*stream_open)(const void *self, const weir_peer *peer,
                                const weir_stream_events *events, void *user);
    weir_status (*stream_write)(weir_stream *stream, weir_str bytes);
    void (*stream_close)(weir_stream *stream);
    weir_fetch *(*fetch_start)(const void *self, const weir_fetch_request *request,
                               weir_fetch_hook *done, void *user);
    void (*fetch_cancel)(weir_fetch *fetch);

    /* files */
    weir_file *(*file_open)(const void *self, weir_str path, const weir_file_options *options);
    weir_status (*file_append)(weir_file *file, weir_str line);
    int64_t (*file_number)(weir_file *file, uint32_t what);
    void (*file_close)(weir_file *file);

    /* state handed over */
    weir_status (*state_set)(weir_state *state, weir_str key, weir_str value);
    weir_str (*state_get)(const weir_state *state, weir_str key);
    void (*state_each)(const weir_state *state, weir_state_visit *visit, void *user);
};

#ifdef __cplusplus
}
#endif

#include <weir/calls.h>

#endif
