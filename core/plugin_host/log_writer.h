/* Writes the log document member by member and lays what policies changed (log_set) over it while
 * it does so: no tree is ever built. A member is known by its dotted path from the root, in which a
 * dot of a name is written "\.". Internal to core/plugin_host. Used by log_document.c. */
#ifndef WEIR_PLUGIN_HOST_LOG_WRITER_H
#define WEIR_PLUGIN_HOST_LOG_WRITER_H

#include "base/buf.h"
#include "plugin_host/log_document.h"

enum {
    LOG_EDITS_MAX = 64,    /* of one request: as many as a word has bits */
    LOG_KEY_MAX = 256,     /* bytes of a dotted key */
    LOG_VALUE_MAX = 65536, /* bytes of one value */
    LOG_VALUE_DEPTH = 16,  /* of its objects and arrays */
    LOG_LINE_MAX = 1024 * 1024
};

struct log_writer {
    struct buf *out;
    const struct log_edit *edits; /* none lies below an older one: log_document_edit() sees to it */
    uint64_t done;                /* edits that are written or do not apply, by their place */
    size_t path_size;
    char path[LOG_KEY_MAX]; /* of the member being written */
    unsigned hidden;        /* levels that no edit can name: too long, or within an array */
    bool first;             /* no member of this object is written yet */
};

/* What log_member_end() goes back to. */
struct log_place {
    size_t path_size;
    unsigned hidden;
};

/* False: a policy set or removed this member, so there is nothing to write and nothing to end. */
bool log_member_begin(struct log_writer *writer, struct span name, struct log_place *out_place);
void log_member_end(struct log_writer *writer, const struct log_place *place);
/* The value of the member that has begun, or the document. end adds what policies added. */
void log_object_begin(struct log_writer *writer);
void log_object_end(struct log_writer *writer);

/* A whole member; absent text is no member. */
void log_text(struct log_writer *writer, struct span name, struct span value);
void log_number(struct log_writer *writer, struct span name, int64_t value);
void log_boolean(struct log_writer *writer, struct span name, bool value);

/* `json` is one valid value, written at `out` (json.size bytes of room) without white space between
 * its tokens: how many bytes that is, 0 when it is not valid or nested too deep. */
size_t log_json_compact(struct span json, char *out);
/* The next member of an object that log_json_compact() made, cut off *rest, which first begins with
 * '{'; its name with quotes and escapes. False at the end. */
bool log_json_member(struct span *rest, struct span *out_name, struct span *out_value);

#endif
