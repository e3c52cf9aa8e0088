#include "gateway/pace.h"

#define SECOND_US 1000000U
enum { MOST_BYTES = 1 << 30 }; /* in one look: more buys back any credit */

void pace_note(struct pace *pace, uint64_t now_us, uint64_t bytes, bool awaited, uint64_t rate)
{
    uint64_t moved = bytes >= pace->bytes ? bytes - pace->bytes : bytes;
    pace->bytes = bytes;
    if (pace->since_us != 0 && now_us > pace->since_us)
        pace->used_us += now_us - pace->since_us;
    pace->since_us = awaited ? now_us : 0;
    if (moved == 0)
        return;
    uint64_t bought = moved > MOST_BYTES || rate == 0 ? UINT64_MAX : moved * SECOND_US / rate;
    pace->used_us -= bought < pace->used_us ? bought : pace->used_us;
}

uint64_t pace_left_ms(const struct pace *pace, int64_t credit_ms)
{
    uint64_t credit = credit_ms < 1 ? 1 : (uint64_t)credit_ms, used = pace->used_us / 1000;
    return used < credit ? credit - used : 1;
}
