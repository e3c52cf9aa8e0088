/* Settings of the node: kong.conf's names, from the gateway: block, WEIR_<NAME> in the environment
 * and
 * --name flags, in rising precedence. One table in settings.c holds names, defaults and help. */
#ifndef WEIR_CONFIG_SETTINGS_H
#define WEIR_CONFIG_SETTINGS_H

#include "base/log.h"
#include "config/document.h"
#include "config/entities.h"
#include "config/problems.h"

struct listen {
    struct span address; /* "0.0.0.0:8000", "[::]:8000" or "unix:/path", without the flags */
    struct span host;    /* "0.0.0.0", "::", or the path of the socket */
    uint16_t port;       /* 0 for a socket path */
    bool unix_socket, ssl, http2, proxy_protocol, reuseport, ipv6only;
    int backlog; /* 0: the system's */
};
struct listen_list {
    const struct listen *items; /* "off" is an empty list */
    size_t count;
};
struct port_map {
    uint16_t outside, inside; /* 80:8000 */
};
struct port_map_list {
    const struct port_map *items;
    size_t count;
};

struct settings {
    struct listen_list proxy_listen, admin_listen, status_listen;
    struct port_map_list port_maps;
    int64_t workers;         /* 0: one per processor */
    struct span plugin_path; /* directories joined by ':'; unset: beside the program */
    struct span prefix;      /* directory for run-time files */
    struct span log_level;
    enum log_level level;  /* log_level as the log knows it */
    struct span error_log; /* a path, unset: stderr */
    struct span_list ssl_cert, ssl_cert_key;
    struct span_list lua_ssl_trusted_certificate; /* paths, "system" among them */
    struct span_list trusted_ips;
    struct span real_ip_header;
    bool real_ip_recursive;
    struct span_list headers, headers_upstream;
    int64_t client_max_body_size; /* bytes, 0: no bound */
    int64_t upstream_keepalive_pool_size, upstream_keepalive_max_requests;
    int64_t upstream_keepalive_idle_timeout_ms;
    struct span error_default_type;
    bool allow_debug_header;
    struct span_list dns_resolver; /* empty: as the system does */
    struct span router_flavor;
    int64_t max_connections, max_head_bytes, max_uri_bytes, max_header_count;
    int64_t max_memory;                            /* bytes, 0: no bound */
    int64_t client_min_rate, client_min_read_rate; /* bytes per second, 0: any */
    int64_t request_timeout_ms;                    /* 0: none */
    int64_t keepalive_requests;
    int64_t client_header_timeout_ms, client_body_timeout_ms, keepalive_timeout_ms;
    int64_t expect_timeout_ms; /* 0: targets are not asked */
    int64_t drain_delay_ms, drain_timeout_ms;
    int64_t watchdog_ms;        /* 0: off */
    int64_t shared_memory_size; /* bytes */
    bool server_timing;
    bool plugin_watch;
    int64_t swap_watch_ms, keep_previous_ms;
    int64_t quarantine_crashes, quarantine_window_ms;
};

/* A flag as given: `--proxy-listen VALUE` is {"proxy-listen", "VALUE"}. Dashes are underscores. */
struct settings_flag {
    struct span name, value;
};

/* Fill all of `out`. `block` (the gateway: map), `environment` and `flags` may be NULL. Texts are
 * copied to `arena`. WEIR_ERR_CONFIG: see `problems`. Environment variables WEIR_<NAME> that name
 * no setting are warnings, in block and flags they are errors. */
WEIR_MUST_USE enum weir_err settings_load(struct settings *out, struct arena *arena,
                                          const struct node *block, char **environment,
                                          const struct settings_flag *flags, size_t flag_count,
                                          struct problems *problems);
/* True when `name` (dashes or underscores) is a setting: the command line asks. */
bool settings_known(struct span name);
/* Name, default and meaning of each, for --help. */
void settings_help(struct buf *out);
/* "60s" "500ms" "2m" "1h" "1d", or plain seconds "1.5" -> milliseconds. */
bool settings_parse_duration(struct span text, int64_t *out_ms);
/* "64k" "10m" "1g" or plain bytes. */
bool settings_parse_bytes(struct span text, int64_t *out_bytes);

#endif
