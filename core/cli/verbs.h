/* The command line: one table of verbs, one file for each verb. */
#ifndef WEIR_CLI_VERBS_H
#define WEIR_CLI_VERBS_H

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_BAD_CONFIG = 3 };

/* argv[0] is the verb; the answer is the exit code. */
int cli_check(int argc, char **argv);
int cli_plugin(int argc, char **argv);

/* argv as main() got it. */
int cli_main(int argc, char **argv);

/* Where plugins are: WEIR_PLUGIN_PATH, else lib/weir/plugins beside the folder of this binary. Static
 * storage. */
const char *cli_plugin_folder(void);
/* A private folder for the images of this call, removed by cli_copies_remove(); NULL: none could be
 * made, and it was said why. */
const char *cli_copies_make(void);
void cli_copies_remove(void);

#endif
