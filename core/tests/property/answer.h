/* What a client of smuggle.c reads: an answer, byte by byte as RFC 9112 has it. */
#ifndef WEIR_TEST_ANSWER_H
#define WEIR_TEST_ANSWER_H

#include "reference.h"

struct answer {
    enum verdict verdict; /* CUT: more bytes are needed */
    const char *reason;   /* REFUSED */
    unsigned status;
    struct span id; /* X-Id: whose the upstream says it is; unset: weir's own */
    struct span body;
    size_t size; /* of all of it */
    bool until_close;
    char bytes[STREAM_MAX];
};

/* `to_head`: it answers HEAD. `ended`: no more bytes come. */
void answer_read(struct span text, bool to_head, bool ended, struct answer *out);

#endif
