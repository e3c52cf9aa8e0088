/* Where a message ends: all message-length rules in one table (framing.c), for requests and for
 * responses. A disagreement between us and a neighbour about this is request smuggling, so what is
 * ambiguous is refused (RFC 9112 6.3, 11.2). */
#ifndef WEIR_HTTP_FRAMING_H
#define WEIR_HTTP_FRAMING_H

#include "http/message.h"

enum http_body_kind {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH, /* `length` bytes, at least 1 */
    HTTP_BODY_CHUNKED,
    HTTP_BODY_UNTIL_CLOSE /* responses only */
};

struct http_framing {
    enum http_body_kind kind;
    uint64_t length; /* Content-Length as declared, also for a HEAD or 304 answer without a body */
    bool keep_alive; /* the sender can take another message on this connection afterwards */
};

/* On an error *reason says which rule (static storage) and the connection must be closed.
 * BAD_REQUEST or CODING_REFUSED. */
WEIR_MUST_USE enum weir_err http_frame_request(const struct http_request_head *head,
                                               struct http_framing *out, const char **reason);
/* `head_request`, `connect_request`: what the response answers. TARGET_BAD on an error. */
WEIR_MUST_USE enum weir_err http_frame_response(const struct http_response_head *head,
                                                bool head_request, bool connect_request,
                                                struct http_framing *out, const char **reason);

/* The next element of a comma-separated list, without spaces around it; empty elements are skipped
 * and a comma in a quoted string does not end one (RFC 9110 5.6.1). False at the end.
 *   while (http_list_next(&rest, &item)) … */
bool http_list_next(struct span *rest, struct span *out_item);
/* The list `value` has the element `token`, any case. */
bool http_connection_has(struct span value, struct span token);
/* The same of all fields of one name, which are one list (RFC 9110 5.3). */
bool http_headers_list_has(const struct http_headers *h, enum http_header_id id, struct span token);
/* The same over every Connection field of the message. */
bool http_headers_connection_has(const struct http_headers *h, struct span token);

#endif
