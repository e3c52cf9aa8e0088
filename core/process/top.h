/* "top": what `weir top` shows, as numbers since the start; it asks twice and makes rates of the
 * difference. One line each, words between single spaces:
 *
 *   time US                                      monotonic, when this was read
 *   gateway REQUESTS ACTIVE RUNNING WORKERS      of the last two: processes now, and as configured
 *   build PLUGIN HASH LOADED PINNED POLICIES IN_FLIGHT SUSPENDED EXCHANGES SERVER_ERRORS LATENCY_US
 *         VERSION
 *   phase NAME NEXT DONE WAIT FAIL TIME_NS       of the build above; phases never called are left
 *                                                out
 *
 * Words may be added behind the last, and lines of other kinds: skip what you do not know. */
#ifndef WEIR_PROCESS_TOP_H
#define WEIR_PROCESS_TOP_H

#include "plugin_host/shared.h"
#include "process/control.h"

void top_report(struct shared *shared, struct control_client *client);

#endif
