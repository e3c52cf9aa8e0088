/* weir-plugin: what `weir plugin` starts for the work of an author (new, build, test, bench, fuzz,
 * replay). It comes with the package weir-dev and stands on the test kit, so that the gateway's own
 * program stays free of both. One table of verbs in main.c, one file for each verb. */
#ifndef WEIR_TOOL_H
#define WEIR_TOOL_H

#include <stdbool.h>
#include <stddef.h>

enum tool_exit { TOOL_OK = 0, TOOL_FAILED = 1, TOOL_USAGE = 2, TOOL_BAD_CONFIG = 3 };

/* argv[0] is the verb; the answer is the exit code. */
int tool_new(int argc, char **argv);
int tool_build(int argc, char **argv);
int tool_test(int argc, char **argv);
int tool_bench(int argc, char **argv);
int tool_fuzz(int argc, char **argv);
int tool_replay(int argc, char **argv);

/* The usage line of `verb`, after a sentence about what was wrong, to stderr; TOOL_USAGE. */
int tool_usage(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `weir plugin VERB: ` and the sentence, to stderr; TOOL_FAILED. */
int tool_fail(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A folder that `weir plugin new` made, or one of the same shape:
 *     CMakeLists.txt  NAME.c or NAME.cc  test.c  README.md  weir.yaml  build/NAME.so
 * weir.yaml is the example configuration: bench, fuzz and `weir run` take it as it stands. */
struct project {
    char name[64];
    char folder[3584]; /* absolute */
    char build[3600];  /* FOLDER/build, FOLDER/build/sanitized or FOLDER/build/valgrind */
    char image[3700];  /* the built .so */
    char config[3600]; /* FOLDER/weir.yaml */
    bool sanitized, valgrind;
};

/* The project that `folder` (NULL: the current one) is, by its CMakeLists.txt. false: it is none,
 * said so on stderr. */
bool project_open(const char *folder, bool sanitized, struct project *out);
/* Build it in a tree of its own, whose tests run under valgrind. Each process leaves what was found
 * in BUILD/VALGRIND_LOGS<pid>; an empty file: nothing. */
#define VALGRIND_LOGS "found-by-valgrind."
void project_use_valgrind(struct project *project);
/* Configure it when that was not done, and build it: with -fsanitize=address,undefined when it was
 * opened so. What the compiler says goes to stderr. */
bool project_build(const struct project *project);

/* Letters, digits, '-', '_' and '.', a letter first, at most 63: it becomes the name of a file, of
 * a target and of a policy in the YAML. */
bool project_name_is_valid(const char *name, size_t size);

/* run.c: other programs, without a shell. */

/* Start argv[0], found in PATH, and wait: its exit code, 128 + N after signal N, -1 when it could
 * not be started (errno). Its output goes to the file `log` (made or cut), NULL: to ours. `folder`:
 * where it runs; NULL: here. */
int tool_run(const char *const argv[], const char *folder, const char *log);
/* There is such a program in PATH. */
bool tool_exists(const char *program);
/* PREFIX of PREFIX/lib/weir/weir-plugin, in a build tree and in an install prefix alike, and `rest`
 * behind it. false: unknown or too long, said so on stderr. */
bool tool_beside(const char *rest, char *out, size_t size);
/* A file of text, at most `limit` bytes, terminated; NULL: errno says why. free() it. */
char *tool_read_file(const char *path, size_t limit, size_t *out_size);

#endif
