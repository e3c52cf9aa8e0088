/* The control channel between the master and one worker: a SOCK_SEQPACKET pair, so a message is
 * whole or not there. A configuration (up to 64 MiB) travels as a descriptor to read-only memory,
 * never as bytes, so neither side waits for the other. */
#ifndef WEIR_PROCESS_CHANNEL_H
#define WEIR_PROCESS_CHANNEL_H

#include <stdint.h>

#include "base/error.h"
#include "base/span.h"

enum message_type {
    /* From the master. */
    MESSAGE_PREPARE, /* number, descriptor, text: the file's name */
    MESSAGE_COMMIT,  /* number */
    MESSAGE_ABORT,   /* number */
    MESSAGE_DRAIN,
    MESSAGE_REOPEN_LOG,
    MESSAGE_QUIT,
    MESSAGE_RECORD,     /* number, descriptor, text: see recording.h */
    MESSAGE_RECORD_END, /* number */
    /* From the worker. */
    MESSAGE_PREPARED,  /* number */
    MESSAGE_REFUSED,   /* number, text: why */
    MESSAGE_COMMITTED, /* number */
    MESSAGE_READY,     /* number: serves for the first time */
    MESSAGE_DRAINED,
    MESSAGE_RECORDING, /* number, text: why not; empty: it has begun */
    MESSAGE_RECORDED,  /* number, text: what came of it */
    MESSAGE_TYPES
};

enum { CHANNEL_TEXT_MAX = 32 * 1024 };

struct message {
    enum message_type type;
    uint64_t number;  /* of the configuration, or of the recording */
    struct span text; /* cut at CHANNEL_TEXT_MAX when sent */
    int fd;           /* -1: none */
};

/* Where a received message's text lies. */
struct channel_buffer {
    _Alignas(8) char bytes[CHANNEL_TEXT_MAX + 64];
};

/* Both ends are non-blocking and close-on-exec. SYSTEM: errno tells. */
WEIR_MUST_USE enum weir_err channel_pair(int out_ends[2]);
/* The descriptor stays the caller's. AGAIN: the other side does not read; CLOSED: it is gone. */
WEIR_MUST_USE enum weir_err channel_send(int end, const struct message *message);
/* The text lives in `buffer`; the descriptor, when there is one, is the caller's. AGAIN: nothing is
 * there; CLOSED: the other side is gone; INVALID: no message of ours (its descriptors are closed).
 */
WEIR_MUST_USE enum weir_err channel_receive(int end, struct channel_buffer *buffer,
                                            struct message *out_message);
/* "PREPARE", for the log. */
const char *message_name(enum message_type type);

#endif
