/* The second opinion of smuggle.c: llhttp in its strict mode. */
#ifndef WEIR_TEST_SECOND_H
#define WEIR_TEST_SECOND_H

#include "reference.h"

enum opinion {
    OPINION_SAME,  /* it reads the same message, which ends at the same byte */
    OPINION_WIDER, /* it refuses, for a reason that is listed: *out_row */
    OPINION_OTHER, /* it refuses without one, or reads something else: *out_why */
};

/* `text` is what `m` was read from, up to its end. */
enum opinion second_opinion(struct span text, const struct message *m, unsigned *out_row,
                            const char **out_why);

/* Does llhttp take the beginning of `text` for a whole request? */
bool second_accepts(struct span text);

/* The rows of the list of reasons: NULL behind the last. Those up to SECOND_LAST_OF_TARGET hold for
 * what the upstream gets as well. */
enum { SECOND_LAST_OF_TARGET = 1 };
const char *second_row(unsigned row);

#endif
