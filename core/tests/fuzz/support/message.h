/* A second reader of HTTP/1 messages, written from RFC 9112 alone: it shares no code with core/http
 * and takes a text whole, with no thought of speed. Of what weir sends it takes only what weir may
 * spell; of what a target sends, what weir may take for an answer and nothing else. */
#ifndef WEIR_TESTS_FUZZ_MESSAGE_H
#define WEIR_TESTS_FUZZ_MESSAGE_H

#include "base/buf.h"

enum { MESSAGE_FIELDS = 160 };

enum reading { READ_WHOLE, READ_PART, READ_BAD };

enum body { BODY_NONE, BODY_SIZED, BODY_CHUNKED, BODY_UNTIL_CLOSE };

struct message_field {
    struct span name, value;
};

/* Spans point into the text. */
struct message {
    struct span method, target; /* of a request */
    unsigned status;            /* of a response */
    bool old;                   /* HTTP/1.0 */
    struct message_field fields[MESSAGE_FIELDS];
    size_t count;
    enum body framing;
    uint64_t length; /* SIZED */
    size_t head;     /* its bytes; 0: not all there */
    size_t size;     /* the bytes of the whole message, once READ_WHOLE */
    struct buf body; /* payload, as far as it is there: the caller's, emptied at the start */
    const char *why; /* READ_BAD */
};

struct message_how {
    bool response;
    bool to_head; /* it answers HEAD */
    bool ended;   /* no more bytes will come */
    bool ours;    /* weir wrote it */
};

enum reading message_read(struct span text, struct message_how how, struct message *out);
/* The value of the first field of that name, any case; unset: none. */
struct span message_get(const struct message *message, const char *name);
size_t message_count(const struct message *message, const char *name);

#endif
