/* How slow a client may be: it has a credit of waiting time, each byte buys 1 / rate seconds of it
 * back, and only the time in which bytes waited for the client counts. So one that stops is late
 * when the credit is used up, one that trickles soon after, and one that makes the rate never. A
 * credit that is never more than full: what was sent fast long ago excuses no stop. Without a rate
 * every byte buys all of it back. Zeroed, it is new. */
#ifndef WEIR_GATEWAY_PACE_H
#define WEIR_GATEWAY_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
    uint64_t used_us;  /* of the credit */
    uint64_t since_us; /* the client is waited for since then; 0: it is not */
    uint64_t bytes;    /* that have moved, when last looked at */
};

static inline bool pace_is_idle(const struct pace *pace, bool awaited)
{
    return !awaited && pace->since_us == 0;
}
/* At each end of a wait: `bytes` so far (fewer than before: the count has begun anew), and whether
 * the client is waited for from now on. */
void pace_note(struct pace *pace, uint64_t now_us, uint64_t bytes, bool awaited, uint64_t rate);
/* What is left of a credit of `credit_ms`, 1 at least. */
uint64_t pace_left_ms(const struct pace *pace, int64_t credit_ms);

#endif
