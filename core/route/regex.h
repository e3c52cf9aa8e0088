/* The regexes of a router: compiled once per distinct text, matched without allocating, bounded in
 * steps so that no client can make one run away. */
#ifndef WEIR_ROUTE_REGEX_H
#define WEIR_ROUTE_REGEX_H

#include "base/arena.h"
#include "route/router.h"

struct regex;
struct regex_set;

enum regex_use {
    REGEX_PATH,  /* "^" is put in front, nothing else is anchored */
    REGEX_HEADER /* unanchored, letter case does not count */
};

/* `arena` holds the set, which has memory of the engine's as well: destroy it first. */
WEIR_MUST_USE struct regex_set *regex_set_create(struct arena *arena);
void regex_set_destroy(struct regex_set *set); /* NULL is fine */

/* WEIR_ERR_INVALID: `why` (of why_size bytes) says what the engine did not like. */
WEIR_MUST_USE enum weir_err regex_compile(struct regex_set *set, enum regex_use use,
                                          struct span pattern, char *why, size_t why_size,
                                          const struct regex **out_regex);

/* A subject that exceeds the bound of steps does not match; that is logged, a few times. */
bool regex_matches(struct regex_set *set, const struct regex *regex, struct span subject);
/* The same, and fills matched_path, capture_count, captures and names. */
bool regex_capture(struct regex_set *set, const struct regex *regex, struct span subject,
                   struct route_match *out_match);

/* Bytes with which every match of REGEX_PATH `pattern` begins; too short is fine, wrong is not.
 * Written to `out` (pattern.size bytes of room); returns how many. */
size_t regex_literal_prefix(struct span pattern, char *out);

#endif
