/* Everything wrong with a configuration, collected and shown at once: an operator fixes ten lines
 * in one go, not in ten reloads. Texts never hold the value of a secret field; schema.h sees to
 * that. Next: document.h (text -> tree), schema.h (tree -> structs), build.h (the whole
 * configuration). */
#ifndef WEIR_CONFIG_PROBLEMS_H
#define WEIR_CONFIG_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"

#define PROBLEMS_MAX 1000 /* further ones are only counted */

/* 1-based; line 0: nowhere in the file (an environment variable, a flag). Columns count characters.
 */
struct position {
    uint32_t line, column;
};

enum problem_level { PROBLEM_ERROR, PROBLEM_WARNING };

struct problem {
    enum problem_level level;
    struct position position;
    struct span path; /* "services[0].routes[1].paths[0]"; empty when there is none */
    struct span text;
    bool hide_source; /* the line holds a secret: print it without source line */
    uint32_t order;   /* as found: ties of position keep it */
};

struct problems;

/* `arena` holds the texts and must outlive it. NULL without memory. Dies with the arena. */
WEIR_MUST_USE struct problems *problems_create(struct arena *arena);
/* For messages: the file's name and its text (both borrowed), source may be absent. */
void problems_set_source(struct problems *problems, const char *file, struct span source);

void problem_add(struct problems *problems, enum problem_level level, struct position position,
                 const char *path, const char *format, ...) WEIR_PRINTF(5, 6);
/* The same, and the source line is not shown: the value at `position` is secret. */
void problem_add_secret(struct problems *problems, enum problem_level level,
                        struct position position, const char *path, const char *format, ...)
    WEIR_PRINTF(5, 6);

/* The text from `start` up to `end` is secret: stars in every source line that is shown. */
void problems_hide(struct problems *problems, struct position start, struct position end);

/* `text` came from outside the file (borrowed): stars instead of it in messages added from now on.
 * Short ones are left, they would make every message unreadable. */
void problems_hide_text(struct problems *problems, struct span text);

size_t problems_errors(const struct problems *problems);
size_t problems_warnings(const struct problems *problems);
/* Stored ones, sorted by position. */
size_t problems_count(struct problems *problems);
const struct problem *problems_at(struct problems *problems, size_t index);

/* "kong.yml:3:5: services[0].port: value should be between 0 and 65535", no newline; warnings have
 * "warning: " after the position. */
void problem_print_line(struct problems *problems, const struct problem *problem, struct buf *out);
/* All of them sorted, each followed by its source line and a caret line. */
void problems_print(struct problems *problems, struct buf *out, bool colour);
/* To a stream; colour only when it is a terminal. */
void problems_write(struct problems *problems, FILE *stream);

/* Did-you-mean: the name closest to `wanted`, at most 2 edits away (3 for long names). */
struct guess {
    struct span wanted, best;
    unsigned distance;
};
struct guess guess_start(struct span wanted);
void guess_offer(struct guess *guess, struct span name);
bool guess_found(const struct guess *guess);

#endif
