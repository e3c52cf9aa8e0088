#include "process/steps.h"

#include "base/log.h"

size_t steps_run(const struct start_step *steps, size_t count, void *user)
{
    size_t done = 0;
    while (done < count && steps[done].run(user)) {
        log_debug("start: %s: done", steps[done].name);
        done++;
    }
    return done;
}

void steps_undo(const struct start_step *steps, size_t done, void *user)
{
    while (done-- > 0)
        if (steps[done].undo != NULL)
            steps[done].undo(user);
}
