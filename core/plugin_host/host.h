/* The host table's home in a process that runs plugin code: a worker, the probe child, `weir
 * check`, the test kit. Holds what all images share: interned header names, parked work, shared
 * memory, and the services the process lends. One per process. */
#ifndef WEIR_PLUGIN_HOST_HOST_H
#define WEIR_PLUGIN_HOST_HOST_H

#include <weir/weir.h>

#include "base/auto.h"
#include "base/span.h"
#include "plugin_host/shared.h"

struct image;
struct plugin_host;

/* What happens to a stream the process lends, from its loop. After `closed` the stream is gone. */
struct stream_reports {
    void (*opened)(void *arg);
    void (*data)(void *arg, weir_str bytes);
    void (*closed)(void *arg, weir_str why);
};

/* What the process lends: its loop, or the test kit's virtual time. With a NULL member the call
 * that needs it answers that there is none (as in `weir check`). Callbacks come from the loop,
 * never from inside the call. */
struct host_services {
    void *user;
    void *(*timer_start)(void *user, uint32_t delay_ms, uint32_t repeat_ms, void (*fire)(void *arg),
                         void *arg);
    void (*timer_stop)(void *user, void *timer);
    void *(*io_add)(void *user, int fd, uint32_t events, /* WEIR_IO_… */
                    void (*ready)(void *arg, uint32_t events), void *arg);
    void (*io_set)(void *user, void *io, uint32_t events);
    void (*io_remove)(void *user, void *io);
    /* Have plugin_host_turn() called from the loop soon. [any thread] */
    void (*turn_soon)(void *user);

    /* Peers, as <weir/host.h> describes them; NULL: refused. What is given is borrowed for the call
     * but `reports` (static). Closing and cancelling are fine inside a callback of the same. */
    void *(*stream_open)(void *user, const weir_peer *peer, const struct stream_reports *reports,
                         void *arg);
    weir_status (*stream_write)(void *user, void *stream, weir_str bytes);
    void (*stream_close)(void *user, void *stream);
    /* `done` is called once, and the fetch is gone then. */
    void *(*fetch_start)(void *user, const weir_fetch_request *request,
                         void (*done)(void *arg, const weir_fetch_answer *answer), void *arg);
    void (*fetch_cancel)(void *user, void *fetch);

    /* Files that are appended to, as <weir/calls.h> describes them; NULL: refused. `report` is
     * called about once a second while the numbers change; with `ended` for the last time, after
     * which the file is gone. That follows file_close() within a few seconds, or comes within
     * files_end(), which ends all of them. */
    void *(*file_open)(void *user, weir_str path, const weir_file_options *options,
                       void (*report)(void *arg, bool ended), void *arg);
    weir_status (*file_append)(void *user, void *file, weir_str line);
    int64_t (*file_number)(void *user, void *file, uint32_t what);
    void (*file_close)(void *user, void *file);
    void (*files_end)(void *user);
};

/* `services` and `shared` are borrowed and must outlive it; `services` may be NULL. `worker` is the
 * slot in shared memory whose cells and blame record this process writes. */
WEIR_MUST_USE struct plugin_host *plugin_host_create(const struct host_services *services,
                                                     struct shared *shared, uint32_t worker);
void plugin_host_destroy(struct plugin_host *host);
AUTO_DEFINE(struct plugin_host, plugin_host_destroy)

/* Run what is due: wakes of parked work. From the loop, never from a hook. */
void plugin_host_turn(struct plugin_host *host);

/* A table for one plugin, with refusing stubs in the slots of capabilities it did not declare (set
 * by plugin_table_grant once the descriptor is known). Lives until plugin_table_destroy(). */
WEIR_MUST_USE weir_host *plugin_table_create(struct plugin_host *host, struct span plugin_name);
void plugin_table_grant(weir_host *table, uint64_t capabilities);
void plugin_table_destroy(weir_host *table);

struct shared *plugin_host_shared(const struct plugin_host *host);
uint32_t plugin_host_worker(const struct plugin_host *host);
/* Policies made from now on are of configuration `number`. */
void plugin_host_set_building(struct plugin_host *host, uint64_t number);

/* The name of an interned header id, as it was spelled; absent when unknown. */
struct span plugin_host_header_name(const struct plugin_host *host, weir_header_id id);

/* Where log lines of policies go beside the log, for tests; NULL: nowhere. */
void plugin_host_watch_log(struct plugin_host *host,
                           void (*line)(void *user, uint32_t level, struct span text), void *user);

/* For the author's tool: told of each image that was loaded, before anything of it but its entry
 * has run. What it changes in the descriptor (functions, not sizes) and in the table of that image
 * is what the process calls and what the plugin calls. Both live as long as the image. NULL:
 * nobody. */
typedef void image_watcher(void *user, weir_plugin *plugin, weir_host *table);
void plugin_host_watch_images(struct plugin_host *host, image_watcher *loaded, void *user);

#endif
