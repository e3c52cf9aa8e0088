/* What a run of the fuzzer tries: each plan makes kits, sends requests into them and lets the watch
 * look; what it compares itself are answers. */
#ifndef WEIR_FUZZ_PLANS_H
#define WEIR_FUZZ_PLANS_H

#include "fuzz_scenario.h"
#include "fuzz_subject.h"
#include "fuzz_watch.h"

struct lab {
    struct subject *subject;
    struct dice dice;
    uint64_t seed;               /* of this run */
    int steps;                   /* at most so many requests of the first ones, or of a crowd */
    size_t threads, descriptors; /* before the run */
};

/* How often a plan comes: in runs 0, 1, 2, … in the order of its table. */
void plan_run(struct lab *lab, uint32_t run);
/* It minds lab.steps. */
bool plan_can_be_shorter(uint32_t run);
/* A few requests to learn which words the plugin asks for; false: the configuration is refused. */
bool plan_warm_up(struct lab *lab);

/* ---- for the files of the plans */

/* The run is over when there is none. */
struct kit *lab_kit(struct lab *lab);
/* Close it, and look at what is left. */
void lab_close(struct lab *lab, struct kit *kit);
/* Run, and go on until it is over, however long it waits. Its answer is in the kit_request. */
kit_request *lab_finish(struct kit *kit, const struct ask *ask);
/* All of an answer and of what the target was sent, a line each; free() it. */
char *lab_signature(kit_request *r);
/* Lives no longer: tell the watch, then free it. */
void lab_free(kit_request *r);
/* For watch_fetches(). */
void lab_answer_fetch(struct kit *kit, const char *url);

/* fuzz_compare.c */
void plan_splits(struct lab *lab);
void plan_repeat(struct lab *lab);
void plan_swap(struct lab *lab);
/* fuzz_growth.c */
void plan_growth(struct lab *lab);
void plan_body_growth(struct lab *lab);

#endif
