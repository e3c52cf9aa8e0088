/* The first opinion of smuggle.c: what a stream of a client means, by the RFCs and by the rules
 * that weir documents, and what weir may write of it. Written line by line from the grammar,
 * without any of weir's parsers. The second opinion is llhttp: second.h. */
#ifndef WEIR_TEST_REFERENCE_H
#define WEIR_TEST_REFERENCE_H

#include "base/span.h"

#define STREAM_MAX 32768U
#define FIELDS_MAX 100U /* that a client may send */
#define FIELDS_ROOM 120U
#define PLAN_MAX 24U /* requests of one stream; the generator makes fewer */

enum verdict { WHOLE, CUT, REFUSED };
enum body { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

struct field {
    struct span name, value;
};

/* A request. Every span points into the text it was read from but `payload`. */
struct message {
    enum verdict head, body; /* `body` once the head is WHOLE */
    const char *reason;      /* REFUSED */
    struct span method, target, authority, path, query;
    unsigned minor;
    struct field fields[FIELDS_ROOM];
    size_t count;
    enum body kind;
    bool sized; /* has Content-Length */
    uint64_t length;
    bool keep_alive;
    size_t body_at, end;
    struct span payload; /* decoded, as far as it is there: in `bytes` */
    char bytes[STREAM_MAX];
};

/* RULES_CLIENT: what RFC 9112 lets a client send and weir takes. RULES_TARGET: the one spelling in
 * which weir may send it on. */
enum rules { RULES_CLIENT, RULES_TARGET };
void message_read(struct span text, enum rules rules, struct message *out);

/* The value of the first field of that name; unset without one. */
struct span message_field(const struct message *m, const char *name);

/* What becomes of a request. */
enum fate {
    FATE_PASSED,  /* goes to the upstream, once, and is answered by it */
    FATE_LOCAL,   /* weir answers it */
    FATE_REFUSED, /* weir says so, or closes; nothing that follows is a request */
    FATE_OPEN,    /* its end is missing */
};

struct planned {
    uint32_t at; /* in the stream */
    enum fate fate;
    uint16_t status;   /* LOCAL */
    bool may_begin;    /* REFUSED, OPEN: its head is good, so a part of it may reach the upstream */
    bool closes;       /* the connection ends behind its answer */
    bool may_close;    /* it may */
    bool is_head;      /* its answer has no body */
    bool is_old;       /* HTTP/1.0: an answer without a length ends with the connection */
    bool may_continue; /* an interim 100 may come */
};

struct plan {
    struct planned requests[PLAN_MAX];
    unsigned count;
    unsigned answers; /* that must come: PASSED and LOCAL */
};

/* `m` is room to work in. False: more requests than a plan holds. */
bool plan_make(struct span stream, struct message *m, struct plan *out);

/* How weir calls itself and what it knows of a connection. */
struct edge {
    uint16_t proxy_port, target_port;
    char client_ip[16];
};

/* Is `sent` what weir may make of `asked`? Else *out_why. `part`: the connection ended within it.
 */
bool passed_rightly(const struct message *asked, const struct message *sent, bool part,
                    const struct edge *edge, const char **out_why);

/* path.c: what RFC 3986 6.2.2 and weir make of a path, escaped again for the upstream. False when
 * it is refused. `out` has room for 3 times the size of `raw`. */
bool path_normal(struct span raw, char *out, size_t *out_size);

/* list.c: RFC 9110 5.6.1, quoted strings included. */
bool list_item(struct span *rest, struct span *out_item);
bool list_has(struct span list, const char *item);
/* Is `text` one of the texts of this NULL-terminated list, in any case? */
bool is_one_of(struct span text, const char *const *list);
bool is_token(struct span text);

#endif
