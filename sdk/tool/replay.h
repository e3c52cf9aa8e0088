/* weir plugin replay: what `weir record` wrote, run in the test kit through two builds of one
 * plugin. replay_file.c reads the recording, replay_run.c runs it, replay_compare.c says what is
 * different; replay.c is the verb. */
#ifndef WEIR_REPLAY_H
#define WEIR_REPLAY_H

#include <weir_testkit.h>

#include "base/arena.h"
#include "base/buf.h"
#include "config/document.h"

enum { REPLAY_BYTES_MAX = 1 << 30 };

/* ---- replay_file.c */

struct record {
    uint64_t time_ms, worker, number;
    const struct node *node; /* the whole line */
};

struct traffic {
    struct arena *arena;
    struct buf text;
    const char *configuration;
    struct record *records; /* in the order in which they began */
    size_t count;
};

/* TOOL_OK, or said why not on stderr. traffic_close() in any case. */
int traffic_open(struct traffic *traffic, const char *file);
void traffic_close(struct traffic *traffic);

/* Text of a member, NULL: there is none. */
const char *record_text(const struct node *node, const char *key);
uint64_t record_number(const struct node *node, const char *key, uint64_t otherwise);
const struct node *record_member(const struct node *node, const char *key);

/* ---- replay_run.c */

/* "NAME: VALUE" lines, and what else there is to compare; all terminated. */
struct outcome {
    int status; /* 0: it never came to an answer */
    bool skipped, proxied;
    struct buf verdicts, log;          /* lines */
    struct buf answer_fields, answer;  /* headers and body that the client gets */
    struct buf sent_fields, sent_body; /* and the target */
    struct buf method, path, query, host, target;
};

struct run {
    struct outcome *outcomes; /* traffic->count */
    size_t count;
    struct buf metrics;
};

/* Every request through the plugin build `image` (named `plugin`), the others from `folders`.
 * TOOL_OK, TOOL_BAD_CONFIG: the configuration does not load with it, said so. run_free() in any
 * case. */
int run_recording(const struct traffic *traffic, const char *plugin, const char *image,
                  const char *folders, struct run *out);
void run_free(struct run *run);

/* ---- replay_compare.c */

struct report {
    bool json;
    size_t differences, requests; /* requests with at least one */
    size_t from_recorded;         /* differences from what was recorded */
};
void compare_runs(const struct traffic *traffic, const struct run *old, const struct run *new,
                  struct report *report);
/* What happened then, and what `run` makes of it. */
void compare_recorded(const struct traffic *traffic, const struct run *run, struct report *report);

#endif
