/* What recorder.c keeps of a request and recorder_line.c writes. Internal. */
#ifndef WEIR_PLUGIN_HOST_RECORDER_INTERNAL_H
#define WEIR_PLUGIN_HOST_RECORDER_INTERNAL_H

#include "plugin_host/host_internal.h"
#include "plugin_host/recorder.h"
#include "plugin_host/redact.h"

struct recorder {
    struct plugin_host *host;
    struct recorder_options options;
    struct arena *texts; /* of the options */
    struct recorder_numbers numbers;
    struct list recordings;
    size_t count;
};

enum body_kind { BODY_OTHER, BODY_JSON, BODY_FORM };
enum recorded_fields { FIELDS_REQUEST, FIELDS_SENT, FIELDS_TARGET, FIELDS_ANSWER, RECORDED_FIELDS };
enum recorded_text { TEXT_PATH, TEXT_QUERY, TEXT_VERDICTS, TEXT_LOG, RECORDED_TEXTS };

struct recorded {
    struct buf bytes; /* the first of it */
    uint64_t size;
};

struct recording {
    struct list link;
    struct recorder *recorder;
    struct weir_request *request;
    struct buf fields[RECORDED_FIELDS]; /* for each: two uint32_t sizes, name, value */
    struct buf texts[RECORDED_TEXTS];
    struct recorded bodies[RECORDED_BODIES];
    enum body_kind kinds[RECORDED_BODIES];
    uint16_t target_status; /* 0: it did not answer */
    bool begun, has_query;
    bool left_out; /* it is of another configuration */
};

/* The line, without its newline. */
void recorder_line(struct recording *recording, uint64_t number, struct buf *out);

#endif
