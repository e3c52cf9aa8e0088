/* One text of the configuration file with its number: read once, kept in memory that is handed to
 * every worker as a descriptor, so all of them (and later replacements) compile the same bytes. */
#ifndef WEIR_PROCESS_REVISION_H
#define WEIR_PROCESS_REVISION_H

#include <stdint.h>

#include "base/auto.h"
#include "base/span.h"

struct revision {
    uint64_t number;
    int fd;           /* sealed memory */
    uint32_t step_ms; /* the longest that one step of a start or a reload with it may take */
};

/* WEIR_ERR_SYSTEM with errno, LIMIT: larger than 64 MiB. */
WEIR_MUST_USE enum weir_err revision_read(const char *file, uint64_t number,
                                          struct revision **out_revision);
/* The same text under a new number. */
WEIR_MUST_USE enum weir_err revision_again(const struct revision *revision, uint64_t number,
                                           struct revision **out_revision);
void revision_destroy(struct revision *revision); /* NULL is fine */
AUTO_DEFINE(struct revision, revision_destroy)

/* The bytes behind a revision's descriptor, as long as they are mapped. */
struct mapped_text {
    struct span text;
    void *memory; /* NULL: empty */
};
WEIR_MUST_USE enum weir_err mapped_text_open(int fd, struct mapped_text *out_mapped);
void mapped_text_close(struct mapped_text *mapped);

#endif
