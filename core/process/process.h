/* Running a gateway: the master and its workers, reload as a transaction, signals, draining. */
#ifndef WEIR_PROCESS_PROCESS_H
#define WEIR_PROCESS_PROCESS_H

#include "base/buf.h"
#include "config/settings.h"

struct gateway;
struct loop;
struct shared;
struct tls_server;

/* What a worker serves beside traffic, handed in by the caller because the room that does it
 * (core/admin) lies above this one. */
enum side_kind { SIDE_STATUS, SIDE_ADMIN };
struct side_options { /* all borrowed for as long as the service is there */
    struct loop *loop;
    struct gateway *gateway;
    struct shared *shared;
    uint32_t worker;
    const char *control;     /* the control socket, see process_ask() */
    const char *plugin_path; /* directories joined by ':' */
    bool single_process;     /* who is asked there is no master: nothing is swapped */
};
struct side_service {
    void *(*create)(const struct side_options *options); /* NULL without memory */
    enum weir_err (*listen)(void *side, int fd, enum side_kind kind, struct tls_server *tls);
    void (*destroy)(void *side);
};

struct run_options {
    const char *file; /* the YAML */
    const struct settings_flag *flags;
    size_t flag_count;
    const char *plugin_path; /* used when the settings name none: beside the program */
    bool single_process;     /* the worker's code in this process, no master: for debuggers */
    const struct side_service *side; /* NULL: no status and admin listeners */
};

/* Serve until a signal ends it; the answer is the exit code: 0, 1 (could not start), 3 (bad
 * configuration, already printed to stderr). */
int process_run(const struct run_options *options);

/* What process_run() listens on for the command line: PREFIX/weir.sock. One line is asked
 * ("reload", "stop", "status"), the answer is text until the end; its first line is "ok" or "failed
 * CODE", CODE being the exit code to end with. WEIR_ERR_REFUSED: nobody listens there. */
WEIR_MUST_USE enum weir_err process_ask(const char *prefix, const char *question,
                                        uint32_t timeout_ms, struct buf *out_answer);
/* Where run-time files are when the settings do not say: made when missing. */
const char *process_default_prefix(void);

#endif
