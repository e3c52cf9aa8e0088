#include "process/plugin_watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "process/candidate.h"
#include "process/master.h"

/* Asked for rather than told (inotify): works on every file system, and a file has to be still for
 * one period anyhow. */
enum { LOOK_MS = 500 };

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static struct watched_file *file_of(struct plugin_watch *watch, const char *plugin)
{
    for (size_t i = 0; i < watch->count; i++)
        if (strcmp(watch->files[i].plugin, plugin) == 0)
            return &watch->files[i];
    if (watch->count == LEDGER_MAX || strlen(plugin) >= LEDGER_NAME_MAX)
        return NULL;
    struct watched_file *file = &watch->files[watch->count++];
    *file = (struct watched_file){0};
    (void)snprintf(file->plugin, sizeof(file->plugin), "%s", plugin);
    return file;
}

static void swap(struct master *master, const char *plugin)
{
    struct order *order = orders_add(&master->orders, ORDER_SWAP);
    if (order == NULL) {
        log_error("plugin '%s': its file has changed, but too much is asked for already", plugin);
        return;
    }
    log_notice("plugin '%s': its file has changed", plugin);
    order->watch_ms = (uint32_t)master->instance->settings.swap_watch_ms;
    (void)snprintf(order->plugin, sizeof(order->plugin), "%s", plugin);
}

/* A file is taken when it looks as it did a moment ago, and not as when it was last taken. */
static void look(struct master *master, const char *plugin)
{
    char path[ORDER_PATH_MAX];
    struct stat status;
    struct watched_file *file = file_of(&master->plugin_watch, plugin);
    if (file == NULL || !candidate_find_file(master->instance, plugin, path, sizeof(path)) ||
        stat(path, &status) != 0)
        return;
    bool first = file->inode == 0;
    bool still = is_same_time(&file->seen, &status.st_mtim) && file->size == status.st_size &&
                 file->inode == status.st_ino;
    bool taken = is_same_time(&file->changed, &status.st_mtim);
    file->seen = status.st_mtim;
    file->size = status.st_size;
    /* Replaced by one with the same time: `changed` cannot tell. */
    if (!first && file->inode != status.st_ino)
        file->changed = (struct timespec){0};
    file->inode = status.st_ino;
    if (first) {
        file->changed = status.st_mtim;
    } else if (still && !taken) {
        file->changed = status.st_mtim;
        swap(master, plugin);
    }
}

static void on_tick(struct deadline *deadline)
{
    struct master *master = LIST_ENTRY(deadline, struct master, plugin_watch.tick);
    for (uint32_t i = 0; i < master->manifest.build_count; i++)
        look(master, master->manifest.builds[i].name);
    deadline_set(master->loop, &master->plugin_watch.tick, LOOK_MS);
    transaction_next(master);
}

void plugin_watch_begin(struct master *master)
{
    struct plugin_watch *watch = &master->plugin_watch;
    deadline_init(&watch->tick, on_tick);
    if (!master->instance->settings.plugin_watch)
        return;
    watch->files = calloc(LEDGER_MAX, sizeof(*watch->files));
    if (watch->files == NULL)
        log_error("no memory to watch plugin files");
    else
        on_tick(&watch->tick);
}

void plugin_watch_end(struct master *master)
{
    deadline_clear(&master->plugin_watch.tick);
    free(master->plugin_watch.files);
    master->plugin_watch.files = NULL;
    master->plugin_watch.count = 0;
}
