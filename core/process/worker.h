/* What serves traffic in one process: loop services, resolver, pools, plugin host, gateway, side
 * listeners, and at most one configuration that is prepared but not yet current. Driven by the
 * control channel (worker_process.c) or, in --single-process, directly. [worker] */
#ifndef WEIR_PROCESS_WORKER_H
#define WEIR_PROCESS_WORKER_H

#include "process/instance.h"

struct loop;
struct worker;

/* `instance` and `loop` are borrowed; `index` is its place in shared memory. NULL with a sentence
 * in `why`. */
WEIR_MUST_USE struct worker *worker_create(struct instance *instance, struct loop *loop,
                                           uint32_t index, char *why, size_t why_size);
/* Cuts what runs. NULL is fine. */
void worker_destroy(struct worker *worker);

/* Build and start configuration `number` from `text`, beside the current one (a candidate that was
 * there goes), at once: nothing is served meanwhile. `folder`: where its plugins are whatever the
 * settings say, NULL: as they say. What is wrong with it, warnings included, is appended to
 * `out_text`. CONFIG, or why it was refused. */
WEIR_MUST_USE enum weir_err worker_prepare(struct worker *worker, struct span text, uint64_t number,
                                           const char *folder, struct buf *out_text);
/* The same while requests are served: `prepared` is called later from the loop, unless
 * worker_abort() or the next preparation comes before. `fd` is a revision's (not kept). What it
 * returns is about `prepared`: OK, it comes; else it does not. */
typedef void worker_prepared(void *user, uint64_t number, enum weir_err err, struct span text);
WEIR_MUST_USE enum weir_err worker_prepare_beside(struct worker *worker, int fd, uint64_t number,
                                                  const char *folder, worker_prepared *prepared,
                                                  void *user);
/* The candidate `number` becomes current; the first one opens the listeners. NOT_FOUND: there is no
 * such candidate. */
WEIR_MUST_USE enum weir_err worker_commit(struct worker *worker, uint64_t number, char *why,
                                          size_t why_size);
/* Forget the candidate, finished or not; does not wait for what is under way. */
void worker_abort(struct worker *worker);
/* The current configuration, NULL before the first commit. */
const struct generation *worker_generation(const struct worker *worker);

/* See recording.h. `fd` is the text of the current configuration. */
struct recording_reports;
void worker_record(struct worker *worker, int fd, uint64_t number, struct span words,
                   const struct recording_reports *reports);
void worker_record_end(struct worker *worker);

/* No new connections; `drained` is called once, from the loop, when the last exchange is over.
 * Asking again changes nothing. */
void worker_drain(struct worker *worker, void (*drained)(void *user), void *user);
bool worker_is_draining(const struct worker *worker);
/* Name what is under way in the log: a heading, then a line for each exchange, 20 at most. Nothing
 * when nothing is. */
void worker_log_active(const struct worker *worker, enum log_level level, const char *heading);
/* Status and admin end: somebody else may want their addresses. */
void worker_end_side(struct worker *worker);

/* A worker in a process of its own, until it is told to end or the master is gone; the exit code.
 * Takes `channel` over. */
int worker_process_run(struct instance *instance, uint32_t index, int channel);

#endif
