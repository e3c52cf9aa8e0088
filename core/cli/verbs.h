/* The command line: one table of verbs, one file for each verb or pair of verbs. */
#ifndef WEIR_CLI_VERBS_H
#define WEIR_CLI_VERBS_H

#include <stdint.h>

#include "base/buf.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_BAD_CONFIG = 3 };

/* argv[0] is the verb; the answer is the exit code. */
int cli_run(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_stop(int argc, char **argv);
int cli_health(int argc, char **argv);
int cli_top(int argc, char **argv);
int cli_record(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_plugin(int argc, char **argv);
int cli_echo(int argc, char **argv);
int cli_version(int argc, char **argv);

/* What `weir VERB --help` says beyond the line of the table: whole lines. A line that begins with
 * two spaces is a term, and its meaning follows after two or more; the man page tells them apart by
 * that. */
extern const char cli_run_details[], cli_reload_details[], cli_stop_details[], cli_health_details[],
    cli_check_details[], cli_plugin_details[], cli_echo_details[], cli_top_details[],
    cli_record_details[];

/* argv as main() got it. */
int cli_main(int argc, char **argv);

/* The usage line of `verb`, after a sentence about what was wrong, to stderr; CLI_USAGE. */
int cli_usage(const char *verb, const char *format, ...) WEIR_PRINTF(2, 3);

/* swap.c: the words after the verb. */
int cli_plugin_swap(int argc, char **argv);
int cli_plugin_rollback(int argc, char **argv);
/* Prints what the gateway on `prefix` uses; false: `wanted`, and none answers. */
bool cli_plugin_running(const char *prefix, bool wanted);

/* What the option means, for the details of verbs that ask a running gateway. */
#define PREFIX_DETAILS                                                                   \
    "  --prefix DIRECTORY  that of the gateway; else WEIR_PREFIX, /run/weir for root,\n" \
    "                      $XDG_RUNTIME_DIR/weir or /tmp/weir-UID for others\n"

/* `--prefix P` and nothing else: P, WEIR_PREFIX or the default one; NULL: wrong usage, said so. */
const char *cli_prefix(int argc, char **argv);
/* Ask the gateway that runs on `prefix`; the answer goes to stdout, or to stderr when it failed.
 * The exit code to end with. */
int cli_ask(const char *prefix, const char *question, uint32_t timeout_ms);
/* The same, but a good answer is the caller's: *out_text, in the bytes of *out_answer. */
int cli_ask_for(const char *prefix, const char *question, uint32_t timeout_ms,
                struct buf *out_answer, struct span *out_text);

/* PREFIX of PREFIX/bin/weir, in a build tree and in an install prefix alike, and `rest` behind it.
 * false: it is too long. */
bool cli_beside(const char *rest, char *out, size_t size);
/* Where plugins are: WEIR_PLUGIN_PATH, else lib/weir/plugins beside the folder of this binary.
 * Static storage. */
const char *cli_plugin_folder(void);
/* A private folder for the images of this call, removed by cli_copies_remove(); NULL: none could be
 * made, and it was said why. */
const char *cli_copies_make(void);
void cli_copies_remove(void);

#endif
