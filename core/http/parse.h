/* The pieces that the request head and the response head share. Internal to core/http. */
#ifndef WEIR_HTTP_PARSE_H
#define WEIR_HTTP_PARSE_H

#include "http/message.h"

struct parse {
    const char *at, *end; /* what is left to read */
    uint16_t most_fields;
    bool two_hosts;
    enum weir_err error; /* REFUSED: why */
    const char *reason;
};

static inline enum http_result parse_refuse(struct parse *p, enum weir_err error,
                                            const char *reason)
{
    p->error = error;
    p->reason = reason;
    return HTTP_REFUSED;
}

/* Could a parse say more than INCOMPLETE? False while the bytes that are new since the last call
 * hold neither the end of a head nor a line end that must be refused, and the head may still grow:
 * so a head that drips in is read twice at most, not once for every read. */
bool parse_is_due(const char *data, size_t size, size_t already_seen,
                  const struct http_limits *limits);

/* The fields up to and with the blank line. Host may come twice: p->two_hosts tells. */
enum http_result parse_fields(struct parse *p, struct http_headers *h);

/* How many of the first bytes at p->at agree with `pattern`, in which 'd' stands for a digit:
 * either all of the pattern, or less: then INCOMPLETE when the bytes end there, else REFUSED. */
enum http_result parse_shape(const struct parse *p, const char *pattern);

#endif
