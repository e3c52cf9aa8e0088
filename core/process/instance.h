/* What start-up has made before there is a worker: shared by the master, its children (after fork)
 * and --single-process. Internal to core/process. */
#ifndef WEIR_PROCESS_INSTANCE_H
#define WEIR_PROCESS_INSTANCE_H

#include "plugin_host/shared.h"
#include "process/crash.h"
#include "process/prefix.h"
#include "process/process.h"
#include "process/revision.h"
#include "process/sockets.h"
#include "process/steps.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_BAD_CONFIG = 3 };

struct instance {
    const struct run_options *options;
    struct arena *arena; /* of the settings */
    struct settings settings;
    struct revision *first; /* what it starts with; the one that runs takes it over */
    struct prefix prefix;
    uint32_t workers;
    struct shared *shared;
    struct crash_record *crashes; /* one for each worker */
    struct sockets sockets;
    struct tls_server *tls; /* NULL: no listener wants it */
    int code;               /* of the exit, set by the step that failed */
    bool ended;             /* a signal came before it was ready: not a failure */
};

/* The steps that both modes begin with. */
enum { COMMON_STEPS = 8 };
extern const struct start_step common_steps[COMMON_STEPS];

/* Why it does not start: to stderr, and to the log when that is a file. Returns false. */
bool instance_refuse(struct instance *instance, int code, const char *format, ...)
    WEIR_PRINTF(3, 4);
/* In a child, at its end: free, without touching what is the master's. */
void instance_forget(struct instance *instance);
/* "weir 0.1.0: 2 workers, proxy …, status …, admin …" */
void instance_announce(const struct instance *instance);
/* Settings that differ from those it started with and take effect at the next start only, as
 * warnings. */
void settings_compare(const struct settings *running, const struct settings *wanted,
                      const char *file, struct buf *out);

int single_run(struct instance *instance);
int master_run(struct instance *instance);

#endif
