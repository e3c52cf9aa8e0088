/* Policies for the conversations, steered by words in the path of a request: so an input chooses
 * what happens to it. All of them leave bodies as they are. What each request was and what became
 * of it is written down by connection, for those who judge the answers. */
#ifndef WEIR_TESTS_FUZZ_POLICIES_H
#define WEIR_TESTS_FUZZ_POLICIES_H

#include <weir/weir.h>

#include "world.h"

enum { POLICIES = 3, RECORD_CLIENTS = 4, RECORD_REQUESTS = 128 };

/* Access hooks: "deny" 401, "reply" 200 at once, "wait" parks for a while, "size" wants the whole
 * body, "swap" puts another in its place, "edit" changes fields, method and query, "fail" fails.
 * Bodies: "up" and "down" stream them, "whole" has the answer whole, "tee" watches, "park" makes
 * the streaming ones wait. Answers: "late" parks, "change" another status, "instead" another
 * answer. */
extern const weir_plugin *const policies[POLICIES];

/* The answer to one request as the gateway made it, seen when its head was made. */
struct record {
    bool answered, to_head, old, from_target;
    unsigned status;
};

struct records {
    uint64_t first; /* the number of the first client of this round */
    struct record of[RECORD_CLIENTS][RECORD_REQUESTS];
    unsigned count[RECORD_CLIENTS];
};
extern struct records records;

/* From now on the next client is number 0. `table` is the world's. */
void records_begin(const struct world *world);

/* The mark that each request gets for its target and each answer for its client: connection and
 * number on it, both from 0. */
#define MARK_REQUEST "x-asks"
#define MARK_ANSWER "x-answers"
enum { MARK_MAX = 32 };
struct span mark_of(char out[MARK_MAX], unsigned client, unsigned number);

#endif
