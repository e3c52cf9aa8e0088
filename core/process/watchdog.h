/* The watchdog: a worker whose loop has not turned for the time of the setting `watchdog` hangs,
 * in a plugin or wherever, and is ended: first so that it can say where (SIGABRT), then for good.
 * A worker that is stopped (SIGSTOP, a debugger) hangs too. Starting and stopping have limits of
 * their own. */
#ifndef WEIR_PROCESS_WATCHDOG_H
#define WEIR_PROCESS_WATCHDOG_H

#include "process/master.h"

/* How often a worker tells that it lives, 0: never. */
uint32_t watchdog_beat_ms(const struct settings *settings);

/* [master] */
void watchdog_make(struct master *master);
void watchdog_start(struct master *master); /* nothing when the setting is 0 */
void watchdog_stop(struct master *master);

#endif
