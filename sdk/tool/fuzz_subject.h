/* The plugin that bench and fuzz are about: which file, under which configuration, and a folder of
 * our own in which the kit finds it, so that another build can be put in its place. */
#ifndef WEIR_FUZZ_SUBJECT_H
#define WEIR_FUZZ_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "tool.h"

struct kit;

struct subject {
    char name[64];
    char image[4096];  /* the built .so, absolute */
    char config[4096]; /* file of the configuration; empty: made up */
    char *yaml;
    char folder[64];        /* ours; empty: none yet */
    char search[64 + 4200]; /* where the kit looks: `folder`, then what came with weir */
    unsigned swaps;
};

/* From FILE.so, or else from the project in the current folder, which is built (sanitized when
 * asked for). `config` NULL: the project's weir.yaml, or the plugin alone on one route. TOOL_OK, or
 * said why not on stderr. subject_close() in any case. */
int subject_open(struct subject *subject, const char *verb, const char *file, const char *config,
                 bool sanitized);
void subject_close(struct subject *subject);
/* Make the folder. false: said why on stderr. */
bool subject_place(struct subject *subject);
void subject_remove_folder(struct subject *subject);
/* From now on the folder holds another build: the same code, another hash. */
bool subject_swap(struct subject *subject);
/* NULL: refused, see kit_error(). */
struct kit *subject_kit(const struct subject *subject);
/* The file needs the runtime of AddressSanitizer: its name, such as "libasan.so.8"; else NULL. */
const char *subject_sanitizer(const struct subject *subject);

#endif
