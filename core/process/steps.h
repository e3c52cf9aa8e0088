/* Starting as a table: what is done is undone in reverse, whether start-up failed half way or the
 * end has come. */
#ifndef WEIR_PROCESS_STEPS_H
#define WEIR_PROCESS_STEPS_H

#include <stdbool.h>
#include <stddef.h>

struct start_step {
    const char *name;
    bool (*run)(void *user);  /* false: failed, and said why; cleaned up after itself */
    void (*undo)(void *user); /* NULL: nothing to undo */
};

/* From the first on; stops at the first that fails. How many are done: `count` when all are. */
size_t steps_run(const struct start_step *steps, size_t count, void *user);
/* The first `done` ones, backwards. */
void steps_undo(const struct start_step *steps, size_t done, void *user);

#endif
