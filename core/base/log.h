/* The log of the gateway itself (not access logs: those are policies). One line per event on stderr
 * or a file, written with one write(2). Secrets never get here: callers pass names, not values.
 *   2026-11-24T04:10:31.123Z notice worker 0: … */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include "base/error.h"
#include "base/span.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARN, LOG_ERROR, LOG_CRIT, LOG_LEVELS };

/* `path` NULL: stderr. The old file stays open when the new one cannot be opened. [main] */
WEIR_MUST_USE enum weir_err log_open(const char *path);
/* Open the same path again (SIGUSR1). */
void log_reopen(void);
void log_set_level(enum log_level level);
bool log_level_parse(struct span name,
                     enum log_level *out_level); /* debug info notice warn error crit */
/* Who speaks: "master", "worker 3". Copied. */
void log_set_role(const char *role);
bool log_enabled(enum log_level level);
/* Lines longer than 4 KiB are cut, control bytes become "?". */
void log_line(enum log_level level, const char *format, ...) WEIR_PRINTF(2, 3);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_crit(...) log_line(LOG_CRIT, __VA_ARGS__)

#endif
