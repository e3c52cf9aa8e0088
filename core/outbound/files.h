/* Files that policies append lines to, for one worker: the loop puts lines into a bounded queue of
 * each file, one thread writes them. A disk that hangs stops that thread, never the loop: queues
 * fill, lines are lost and counted. The thread is started by the first line (so after fork()), its
 * signals are blocked, and it touches nothing of a policy. */
#ifndef WEIR_OUTBOUND_FILES_H
#define WEIR_OUTBOUND_FILES_H

#include <weir/weir.h>

#include "base/auto.h"

struct file;
struct files;
struct loop;

enum {
    FILES_CLOSE_MS = 2000, /* what waits for a closed file is tried so long */
    FILES_END_MS = 1500,   /* the same at the end of the worker, which somebody waits for */
    FILES_REPORT_MS = 1000 /* between two looks at what has changed */
};

/* `loop` is borrowed. NULL without memory. [worker] */
WEIR_MUST_USE struct files *files_create(struct loop *loop);
/* Every file is closed and ends, within FILES_END_MS: at once when all is written, and what a
 * file refuses now is not tried again. A thread that hangs in a write then is left behind with what
 * it holds, for the end of the process. Not inside a report. NULL is fine. */
void files_destroy(struct files *files);
AUTO_DEFINE(struct files, files_destroy)

/* `path` and `options` (which are valid) are copied; nothing is opened before the first line.
 * `report` comes from the loop when the numbers have changed, and for the last time with `ended`
 * after file_close() or within files_destroy(); the file is gone when that call returns. NULL
 * without memory. */
WEIR_MUST_USE struct file *file_open(struct files *files, weir_str path,
                                     const weir_file_options *options,
                                     void (*report)(void *user, bool ended), void *user);
/* Of `line` and a newline. WEIR_FULL, WEIR_INVALID (absent, a newline inside), WEIR_NO_MEMORY: the
 * line is lost and counted. */
weir_status file_append(struct file *file, weir_str line);
/* WEIR_FILE_…; WEIR_UNSET for an unknown one. */
int64_t file_number(struct file *file, uint32_t what);
/* Once. What waits is written for FILES_CLOSE_MS more. */
void file_close(struct file *file);

#endif
