/* `weir plugin lint`: what a gateway would refuse about a built plugin, or be sorry for later.
 * Reads files only; none of the plugin's code runs. */
#ifndef WEIR_CLI_LINT_H
#define WEIR_CLI_LINT_H

/* The words after the verb: [--strict] [FILE…]; without a file those of build/ here. */
int cli_plugin_lint(int argc, char **argv);

#endif
