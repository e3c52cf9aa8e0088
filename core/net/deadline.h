/* Deadlines in O(1): a timing wheel over one timer of the loop. Moving a deadline to a later time,
 * what every read does, is one store; the slot looks again when its turn comes. They never fire
 * early and at most 10 ms late (plus what the loop is busy with). The loop wakes only when a slot
 * with deadlines in it is due, never when none is set. */
#ifndef WEIR_NET_DEADLINE_H
#define WEIR_NET_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct loop;

/* Embedded in its owner, 48 bytes. Clear it before the owner is freed. */
struct deadline {
    struct list link; /* in a slot of the wheel while set */
    uint64_t at_ms;   /* monotonic; 0: not set */
    uint64_t slot_ms; /* when its slot is looked at, never after at_ms rounded up */
    struct loop *loop;
    void (*expired)(struct deadline *deadline);
};

void deadline_init(struct deadline *deadline, void (*expired)(struct deadline *deadline));
/* `expired` is called once, `ms` from now; it may set the deadline again or free its owner. */
void deadline_set(struct loop *loop, struct deadline *deadline, uint32_t ms);
void deadline_clear(struct deadline *deadline); /* fine when it is not set */
static inline bool deadline_is_set(const struct deadline *deadline)
{
    return deadline->at_ms != 0;
}

#endif
