/* What the files of core/plugin_host share about the process's host: never included outside the
 * room. Next: table.h (from a table to here), policies.h (from a policy's `self` to here). */
#ifndef WEIR_PLUGIN_HOST_HOST_INTERNAL_H
#define WEIR_PLUGIN_HOST_HOST_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "http/headers.h"
#include "plugin_host/host.h"

struct parks;
struct recorder;
struct running_policy;
struct weir_request;

enum {
    HOST_NAMES_MAX = 4096,    /* interned header names beside the well-known ones */
    HOST_NAME_BYTES_MAX = 256 /* of one of them */
};

/* Interned names get the ids from HTTP_HEADER_COUNT on, one for each spelling, and keep them as
 * long as the process: a field goes out as its plugin spelled it. */
struct header_names {
    struct map *by_spelling; /* -> struct http_name * in `items` */
    struct http_name *items; /* HOST_NAMES_MAX of them, each text from malloc() */
    uint32_t count;
};

struct plugin_host {
    struct host_services services; /* a copy: all NULL without any */
    struct shared *shared;         /* borrowed; NULL: calls that need it refuse */
    uint32_t worker;
    struct worker_slot *blame; /* of this worker in `shared`, else `nobody`: who runs right now */
    struct worker_slot nobody;
    /* What a signal handler makes names of, see blame.h: read only while `blame` tells. */
    const struct weir_request *running_request; /* inside a hook of an exchange */
    const struct running_policy *running;       /* inside any other call */
    const char *loading;                        /* "name/hash" while an image is loaded */
    uint64_t building;                          /* number of the configuration that is built */
    struct parks *parks;                        /* ours */
    uint64_t requests;                          /* begun: of BUILD_SAMPLE the last is timed */
    uint64_t hook_began_ns;                     /* of a timed request */
    struct recorder *recorder;                  /* NULL: none */
    struct header_names names;
    struct map *dicts;   /* open handles by owner, name and shape: see calls_shared.c */
    struct map *metrics; /* open handles by name, kind, labels and buckets */
    struct list files;   /* all that have not ended yet, see calls_files.c */
    weir_metric *files_lost, *files_waiting; /* ours, once a file was opened */
    struct map *deprecated;                  /* what was told, see deprecated.c; NULL: nothing */
    weir_metric *deprecated_calls;           /* ours, once there was one */
    void (*log_line)(void *user, uint32_t level, struct span text);
    void *log_user;
    image_watcher *image_loaded;
    void *image_user;
};

static inline const struct host_services *host_services(const struct plugin_host *host)
{
    return &host->services;
}
static inline struct parks *host_parks(const struct plugin_host *host)
{
    return host->parks;
}

/* calls_process.c: id of an interned name, 0 when it is none or the table is full. */
weir_header_id host_intern(struct plugin_host *host, struct span name);
/* NULL: `id` is none of an interned name. */
static inline const struct http_name *host_header_name(const struct plugin_host *host,
                                                       weir_header_id id)
{
    return id < HTTP_HEADER_COUNT || id - HTTP_HEADER_COUNT >= host->names.count
               ? NULL
               : &host->names.items[id - HTTP_HEADER_COUNT];
}
void host_names_free(struct plugin_host *host);
/* calls_files.c: every file ends, within seconds. */
void host_files_end(struct plugin_host *host);
/* calls_process.c: a line in the log that names the plugin. `tag` NULL: it is about no request. */
void host_log(const struct plugin_host *host, const char *plugin, uint32_t level, const char *tag,
              const char *text);
/* calls_shared.c: closes what was opened for policies of this process. */
void host_handles_free(struct plugin_host *host);

#endif
