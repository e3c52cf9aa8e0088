/* `weir record`: what the policies of a request see and what comes of it, as one line of JSON for
 * each request that begins while a recorder is there. Without one a request pays for a test of a
 * pointer. At most one for a process. The format is described in sdk/replay.md. [worker] */
#ifndef WEIR_PLUGIN_HOST_RECORDER_H
#define WEIR_PLUGIN_HOST_RECORDER_H

#include "plugin_host/request.h"

struct recorder;
struct recording; /* of one request, from its head to its end */
struct redaction;

enum {
    RECORD_VERSION = 1,
    RECORDINGS_MAX = 256, /* requests at the same time; others are left out */
    RECORD_BODY_MAX = 1 << 20,
    RECORD_PART_MAX = 256 * 1024, /* bytes of the headers of one side, of the log, of verdicts */
};

struct recorder_options {        /* texts are copied */
    struct redaction *redaction; /* the recorder's from now on, also when it cannot be made */
    uint64_t configuration;      /* requests of another one are left out */
    uint64_t count_max, bytes_max;
    size_t body_bytes;         /* kept of each body */
    bool bodies;               /* else their size alone */
    struct span plugin, route; /* only requests that pass one of that name; unset: any */
    /* A line without its newline; false: it is lost. */
    bool (*write)(void *user, struct span line);
    /* From the loop, once, inside the end of a request: `count_max` or `bytes_max` was reached, and
     * nothing more is recorded. */
    void (*full)(void *user);
    void *user;
};

/* NULL without memory. */
WEIR_MUST_USE struct recorder *recorder_create(struct plugin_host *host,
                                               const struct recorder_options *options);
/* What is under way is dropped. NULL is fine; not inside `full`. */
void recorder_destroy(struct recorder *recorder);
struct recorder_numbers {
    uint64_t written, bytes, lost, left_out; /* left out: of those that should have been recorded */
};
struct recorder_numbers recorder_numbers(const struct recorder *recorder);

/* The first line of a file: `configuration` is redact_config()'s text. Without a newline. */
void recorder_header(struct buf *out, uint64_t number, uint64_t wall_ms, bool bodies,
                     struct span configuration);

/* ---- what happens to a request. All but the first only when request->recording is set. */

/* In request_begin(), when the host has a recorder. */
void recorder_begin(struct weir_request *request);
/* The head is checked and no policy has seen it. */
void recorder_request(struct weir_request *request);
/* Bytes of a body, the first at `offset`; what was given already is passed over. HOOKED: they have
 * come out of the hooks on the response's body. */
enum recorded_body { RECORDED_UP, RECORDED_DOWN, RECORDED_HOOKED, RECORDED_BODIES };
void recorder_body(struct weir_request *request, enum recorded_body which, uint64_t offset,
                   struct span bytes);
/* A hook has returned, and is not settled yet. `piece` NULL: it is none of bodies. */
struct recorded_piece {
    size_t size;
    bool last;
};
void recorder_verdict(struct weir_request *request, const struct walk *walk,
                      const struct recorded_piece *piece, const char *woken, weir_verdict verdict);
void recorder_log_hook(struct weir_request *request, const struct walk *walk);
void recorder_log(struct weir_request *request, const char *plugin, uint32_t level,
                  const char *text);
/* There is a response; no policy has touched it. */
void recorder_response(struct weir_request *request);
/* In request_end(). */
void recorder_end(struct weir_request *request);

#endif
