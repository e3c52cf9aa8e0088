/* The header fields of one message: a flat list in the order they came, plus the place of the first
 * field of every well-known name, filled while parsing, so that asking for one costs a load.
 * Nothing is copied: names and values point into the buffer or arena they came from. */
#ifndef WEIR_HTTP_HEADERS_H
#define WEIR_HTTP_HEADERS_H

#include "base/error.h"
#include "base/span.h"

/* Flags of a well-known name, copied to each of its fields (struct http_header.flags). */
#define HTTP_HEADER_HOP 1U  /* belongs to one connection, never forwarded (RFC 9110 7.6.1) */
#define HTTP_HEADER_KEPT 2U /* a Connection option may not make us drop it */

/* clang-format off */
#define HTTP_HEADER_TABLE(X)                                                                       \
    X(CONNECTION, "connection", HTTP_HEADER_HOP)                                                   \
    X(TRANSFER_ENCODING, "transfer-encoding", HTTP_HEADER_HOP)                                     \
    X(TE, "te", HTTP_HEADER_HOP)                                                                   \
    X(TRAILER, "trailer", HTTP_HEADER_HOP)                                                         \
    X(UPGRADE, "upgrade", HTTP_HEADER_HOP)                                                         \
    X(KEEP_ALIVE, "keep-alive", HTTP_HEADER_HOP)                                                   \
    X(PROXY_CONNECTION, "proxy-connection", HTTP_HEADER_HOP)                                       \
    X(HTTP2_SETTINGS, "http2-settings", HTTP_HEADER_HOP)                                           \
    X(EXPECT, "expect", 0)                                                                         \
    X(PROXY, "proxy", 0)                                                                           \
    X(SERVER, "server", 0)                                                                         \
    X(CONTENT_LANGUAGE, "content-language", 0)                                                     \
    X(CONTENT_LOCATION, "content-location", 0)                                                     \
    X(CONTENT_DISPOSITION, "content-disposition", 0)                                               \
    X(ACCEPT, "accept", 0)                                                                         \
    X(ACCEPT_ENCODING, "accept-encoding", 0)                                                       \
    X(ACCEPT_LANGUAGE, "accept-language", 0)                                                       \
    X(ACCEPT_CHARSET, "accept-charset", 0)                                                         \
    X(ACCEPT_RANGES, "accept-ranges", 0)                                                           \
    X(ALLOW, "allow", 0)                                                                           \
    X(PROXY_AUTHORIZATION, "proxy-authorization", 0)                                               \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", 0)                                                 \
    X(PRAGMA, "pragma", 0)                                                                         \
    X(EXPIRES, "expires", 0)                                                                       \
    X(ETAG, "etag", 0)                                                                             \
    X(LAST_MODIFIED, "last-modified", 0)                                                           \
    X(IF_MATCH, "if-match", 0)                                                                     \
    X(IF_NONE_MATCH, "if-none-match", 0)                                                           \
    X(IF_MODIFIED_SINCE, "if-modified-since", 0)                                                   \
    X(IF_UNMODIFIED_SINCE, "if-unmodified-since", 0)                                               \
    X(IF_RANGE, "if-range", 0)                                                                     \
    X(RANGE, "range", 0)                                                                           \
    X(REFERER, "referer", 0)                                                                       \
    X(LINK, "link", 0)                                                                             \
    X(RETRY_AFTER, "retry-after", 0)                                                               \
    X(USER_AGENT, "user-agent", 0)                                                                 \
    X(FROM, "from", 0)                                                                             \
    X(DNT, "dnt", 0)                                                                               \
    X(UPGRADE_INSECURE_REQUESTS, "upgrade-insecure-requests", 0)                                   \
    X(SEC_FETCH_MODE, "sec-fetch-mode", 0)                                                         \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key", 0)                                                   \
    X(SEC_WEBSOCKET_VERSION, "sec-websocket-version", 0)                                           \
    X(SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol", 0)                                         \
    X(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept", 0)                                             \
    X(X_HTTP_METHOD_OVERRIDE, "x-http-method-override", 0)                                         \
    X(HOST, "host", HTTP_HEADER_KEPT)                                                              \
    X(CONTENT_LENGTH, "content-length", HTTP_HEADER_KEPT)                                          \
    X(VIA, "via", HTTP_HEADER_KEPT)                                                                \
    X(DATE, "date", HTTP_HEADER_KEPT)                                                              \
    X(CONTENT_TYPE, "content-type", HTTP_HEADER_KEPT)                                              \
    X(CONTENT_ENCODING, "content-encoding", HTTP_HEADER_KEPT)                                      \
    X(CONTENT_RANGE, "content-range", HTTP_HEADER_KEPT)                                            \
    X(CONTENT_SECURITY_POLICY, "content-security-policy", HTTP_HEADER_KEPT)                        \
    X(AGE, "age", HTTP_HEADER_KEPT)                                                                \
    X(AUTHORIZATION, "authorization", HTTP_HEADER_KEPT)                                            \
    X(WWW_AUTHENTICATE, "www-authenticate", HTTP_HEADER_KEPT)                                      \
    X(CACHE_CONTROL, "cache-control", HTTP_HEADER_KEPT)                                            \
    X(COOKIE, "cookie", HTTP_HEADER_KEPT)                                                          \
    X(SET_COOKIE, "set-cookie", HTTP_HEADER_KEPT)                                                  \
    X(ORIGIN, "origin", HTTP_HEADER_KEPT)                                                          \
    X(VARY, "vary", HTTP_HEADER_KEPT)                                                              \
    X(LOCATION, "location", HTTP_HEADER_KEPT)                                                      \
    X(MAX_FORWARDS, "max-forwards", HTTP_HEADER_KEPT)                                              \
    X(STRICT_TRANSPORT_SECURITY, "strict-transport-security", HTTP_HEADER_KEPT)                    \
    X(FORWARDED, "forwarded", HTTP_HEADER_KEPT)                                                    \
    X(X_FORWARDED_FOR, "x-forwarded-for", HTTP_HEADER_KEPT)                                        \
    X(X_FORWARDED_PROTO, "x-forwarded-proto", HTTP_HEADER_KEPT)                                    \
    X(X_FORWARDED_HOST, "x-forwarded-host", HTTP_HEADER_KEPT)                                      \
    X(X_FORWARDED_PORT, "x-forwarded-port", HTTP_HEADER_KEPT)                                      \
    X(X_FORWARDED_PATH, "x-forwarded-path", HTTP_HEADER_KEPT)                                      \
    X(X_FORWARDED_PREFIX, "x-forwarded-prefix", HTTP_HEADER_KEPT)                                  \
    X(X_REAL_IP, "x-real-ip", HTTP_HEADER_KEPT)                                                    \
    X(ACCESS_CONTROL_ALLOW_ORIGIN, "access-control-allow-origin", HTTP_HEADER_KEPT)                \
    X(ACCESS_CONTROL_ALLOW_METHODS, "access-control-allow-methods", HTTP_HEADER_KEPT)              \
    X(ACCESS_CONTROL_ALLOW_HEADERS, "access-control-allow-headers", HTTP_HEADER_KEPT)              \
    X(ACCESS_CONTROL_ALLOW_CREDENTIALS, "access-control-allow-credentials", HTTP_HEADER_KEPT)      \
    X(ACCESS_CONTROL_EXPOSE_HEADERS, "access-control-expose-headers", HTTP_HEADER_KEPT)            \
    X(ACCESS_CONTROL_MAX_AGE, "access-control-max-age", HTTP_HEADER_KEPT)                          \
    X(ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method", HTTP_HEADER_KEPT)            \
    X(ACCESS_CONTROL_REQUEST_HEADERS, "access-control-request-headers", HTTP_HEADER_KEPT)          \
    X(ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK,                                                      \
      "access-control-request-private-network", HTTP_HEADER_KEPT)                                  \
    X(ACCESS_CONTROL_ALLOW_PRIVATE_NETWORK,                                                        \
      "access-control-allow-private-network", HTTP_HEADER_KEPT)                                    \
    X(X_CONSUMER_ID, "x-consumer-id", HTTP_HEADER_KEPT)                                            \
    X(X_CONSUMER_USERNAME, "x-consumer-username", HTTP_HEADER_KEPT)                                \
    X(X_CONSUMER_CUSTOM_ID, "x-consumer-custom-id", HTTP_HEADER_KEPT)                              \
    X(X_CONSUMER_GROUPS, "x-consumer-groups", HTTP_HEADER_KEPT)                                    \
    X(X_CREDENTIAL_IDENTIFIER, "x-credential-identifier", HTTP_HEADER_KEPT)                        \
    X(X_ANONYMOUS_CONSUMER, "x-anonymous-consumer", HTTP_HEADER_KEPT)                              \
    X(X_AUTHENTICATED_GROUPS, "x-authenticated-groups", HTTP_HEADER_KEPT)                          \
    X(X_KONG_REQUEST_ID, "x-kong-request-id", HTTP_HEADER_KEPT)                                    \
    X(X_KONG_UPSTREAM_LATENCY, "x-kong-upstream-latency", HTTP_HEADER_KEPT)                        \
    X(X_KONG_PROXY_LATENCY, "x-kong-proxy-latency", HTTP_HEADER_KEPT)                              \
    X(X_KONG_RESPONSE_LATENCY, "x-kong-response-latency", HTTP_HEADER_KEPT)                        \
    X(X_KONG_UPSTREAM_STATUS, "x-kong-upstream-status", HTTP_HEADER_KEPT)                          \
    X(KONG_REQUEST_ID, "kong-request-id", HTTP_HEADER_KEPT)                                        \
    X(X_REQUEST_ID, "x-request-id", HTTP_HEADER_KEPT)                                              \
    X(X_CORRELATION_ID, "x-correlation-id", HTTP_HEADER_KEPT)                                      \
    X(APIKEY, "apikey", HTTP_HEADER_KEPT)                                                          \
    X(RATELIMIT_LIMIT, "ratelimit-limit", HTTP_HEADER_KEPT)                                        \
    X(RATELIMIT_REMAINING, "ratelimit-remaining", HTTP_HEADER_KEPT)                                \
    X(RATELIMIT_RESET, "ratelimit-reset", HTTP_HEADER_KEPT)                                        \
    X(TRACEPARENT, "traceparent", HTTP_HEADER_KEPT)                                                \
    X(TRACESTATE, "tracestate", HTTP_HEADER_KEPT)
/* clang-format on */

enum http_header_id {
    HTTP_HEADER_UNKNOWN,
#define X(id, name, flags) HTTP_HEADER_##id,
    HTTP_HEADER_TABLE(X)
#undef X
        HTTP_HEADER_COUNT
};

struct http_header {
    struct span name, value; /* the value without the spaces around it */
    uint16_t id;             /* enum http_header_id */
    uint16_t flags;          /* HTTP_HEADER_HOP, HTTP_HEADER_KEPT */
};

struct http_headers {
    struct http_header *items; /* borrowed: `capacity` of them */
    uint16_t count, capacity;
    uint16_t first[HTTP_HEADER_COUNT]; /* index + 1 of the first field of that name, 0: none */
    bool thinned; /* a field was removed, or would have been: that name is not wanted */
};

/* Empty, over `capacity` items of the caller's (which must outlive it). */
void http_headers_init(struct http_headers *h, struct http_header *items, uint16_t capacity);
/* Forget all fields, keep the items. */
void http_headers_clear(struct http_headers *h);

/* The well-known id of `name` (any case), or HTTP_HEADER_UNKNOWN. */
enum http_header_id http_header_id_of(struct span name);
/* Lower case, static storage; empty for UNKNOWN. */
struct span http_header_name(enum http_header_id id);
/* The flags of a well-known name, 0 for UNKNOWN. */
uint16_t http_header_flags(enum http_header_id id);

/* The first field of a well-known name, or NULL. */
static inline const struct http_header *http_headers_first(const struct http_headers *h,
                                                           enum http_header_id id)
{
    return h->first[id] == 0 ? NULL : &h->items[h->first[id] - 1];
}
/* The value of the first field of that name; absent (not empty) when there is none. */
static inline struct span http_headers_get(const struct http_headers *h, enum http_header_id id)
{
    const struct http_header *item = http_headers_first(h, id);
    return item == NULL ? SPAN_NONE : item->value;
}
/* The nth field (from 0) of that name, any case; NULL when there are fewer. */
const struct http_header *http_headers_find(const struct http_headers *h, struct span name,
                                            size_t nth);
/* How many fields of that name. `name` is read only when `id` is UNKNOWN. */
size_t http_headers_count(const struct http_headers *h, enum http_header_id id, struct span name);

/* `id` says which name when it is a known one; with HTTP_HEADER_UNKNOWN the name is looked up. An
 * absent `name` is spelled as the table does. Name and value are borrowed and must be valid
 * (below): INVALID otherwise. LIMIT when full. Order is kept. */
WEIR_MUST_USE enum weir_err http_headers_add(struct http_headers *h, enum http_header_id id,
                                             struct span name, struct span value);
/* The first field of that name gets the value, the others go; added when there was none. */
WEIR_MUST_USE enum weir_err http_headers_set(struct http_headers *h, enum http_header_id id,
                                             struct span name, struct span value);
/* The same for a name that was looked up and found valid before: only the value is checked. */
struct http_name {
    enum http_header_id id; /* UNKNOWN: none of the well-known ones */
    struct span text;       /* as it is to be spelled */
};
WEIR_MUST_USE enum weir_err http_headers_add_name(struct http_headers *h, struct http_name name,
                                                  struct span value);
WEIR_MUST_USE enum weir_err http_headers_set_name(struct http_headers *h, struct http_name name,
                                                  struct span value);
/* All fields of that name; returns how many went. */
size_t http_headers_remove(struct http_headers *h, enum http_header_id id, struct span name);
/* The one field at `index`. */
void http_headers_remove_at(struct http_headers *h, size_t index);

/* Flag (HTTP_HEADER_HOP) the fields that Connection names, unless they are KEPT: with those a
 * client could make us drop what the gateway relies on (RFC 9110 7.6.1). */
void http_headers_mark_hop(struct http_headers *h);

/* A token (RFC 9110 5.1). */
bool http_name_is_valid(struct span name);
/* No CR, LF, NUL or other control byte but HT (RFC 9110 5.5). Empty is valid. */
bool http_value_is_valid(struct span value);

#endif
