/* What goes to the target and what comes back in the gateway's own name: forwarding headers, Via,
 * Server, latency headers, whom to believe about the client's address (RFC 9110 7.6, Kong's rules).
 */
#ifndef WEIR_GATEWAY_FORWARD_H
#define WEIR_GATEWAY_FORWARD_H

#include "base/arena.h"
#include "config/settings.h"
#include "http/headers.h"
#include "net/address.h"
#include "plugin_host/request.h"

struct exchange;

#define WEIR_SERVER "weir/" WEIR_VERSION

struct network { /* an address and how many of its bits count */
    struct address address;
    uint8_t bits;
};

/* Compiled from the settings when a generation is built. */
struct forward_settings {
    struct network *trusted;
    size_t trusted_count;
    bool trust_unix;
    struct span real_ip_header; /* lower case */
    bool real_ip_announced; /* it is "proxy_protocol": no header, what the connection began with */
    bool real_ip_recursive;
    /* `headers` */
    bool server, via, upstream_latency, proxy_latency, response_latency, upstream_status,
        request_id;
    bool request_id_upstream; /* `headers_upstream` */
    bool debug_header;
    bool own_response[HTTP_HEADER_COUNT]; /* fields of a response that the above replace */
    struct span error_default_type;
};

WEIR_MUST_USE enum weir_err forward_compile(struct arena *arena, const struct settings *settings,
                                            struct forward_settings **out, char *why,
                                            size_t why_size);
bool forward_trusts(const struct forward_settings *settings, const struct address *address);

/* Facts of one exchange. */
struct forward_facts {
    bool trusted;      /* the peer of the socket is */
    struct span proto; /* http or https, as the outermost trusted proxy says */
    struct span host;  /* without port, lower case */
    struct span port;  /* text */
    char port_text[5];
};
/* Fills x->facts and the request's addresses, from the head as far as it was parsed. */
void forward_learn(struct exchange *x);

/* Whether trailer fields go on in that direction (RFC 9110 6.5.1): of a body that stays in chunks
 * and that no policy works on, to whom they mean something: a client says so by TE, and knows it of
 * the target when it announces them by Trailer. Not when a policy took a field out of the head: it
 * would come back at the end. Which: http_trailer_may_pass(), relay.c. */
bool forward_trailers(const struct exchange *x, enum direction direction);

/* The request head as the target gets it, in the exchange's arena. `body`: how it is framed. Absent
 * without memory. */
struct span forward_request_head(struct exchange *x);
/* The head of the answer, in the exchange's arena; absent without memory. */
struct span forward_response_head(struct exchange *x);
/* The same of an interim answer (1xx). */
struct span forward_interim_head(struct exchange *x);

#endif
