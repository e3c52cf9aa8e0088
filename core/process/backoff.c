#include "process/backoff.h"

uint32_t backoff_after_death(struct backoff *backoff, uint64_t now_ms)
{
    uint64_t oldest = backoff->deaths_ms[backoff->next];
    uint64_t latest = backoff->deaths_ms[(backoff->next + BACKOFF_DEATHS - 1) % BACKOFF_DEATHS];
    backoff->deaths_ms[backoff->next] = now_ms;
    backoff->next = (backoff->next + 1) % BACKOFF_DEATHS;
    bool calm = latest == 0 || now_ms - latest > BACKOFF_WINDOW_MS;
    if (backoff->pause_ms > 0 && !calm) {
        /* The pauses themselves stretch five deaths over more than the window: once slowed down, a
         * place speeds up again only after a window without a death. */
        backoff->pause_ms *= 2;
        if (backoff->pause_ms > BACKOFF_LAST_MS)
            backoff->pause_ms = BACKOFF_LAST_MS;
        return backoff->pause_ms;
    }
    backoff->pause_ms = oldest != 0 && now_ms - oldest <= BACKOFF_WINDOW_MS ? BACKOFF_FIRST_MS : 0;
    return backoff->pause_ms;
}
