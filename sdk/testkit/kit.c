/* Workers of the test kit: what a worker process of the gateway sets up before its first request,
 * without the process. Its configurations are in generations.c. */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "kit_internal.h"

enum { KIT_SHARED_BYTES = 64 << 20, KIT_MARKDOWN_MAX = 1 << 20 };

_Noreturn void kit_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("test kit: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    abort();
}

void *kit_need(void *memory)
{
    if (memory == NULL)
        kit_die("no memory");
    return memory;
}

/* ---- workers */

static void copies_make(struct kit *kit)
{
    const char *folder = getenv("TMPDIR");
    int size = snprintf(kit->copies, sizeof(kit->copies), "%s/weir-testkit-XXXXXX",
                        folder != NULL && strlen(folder) < 32 ? folder : "/tmp");
    if (size < 0 || mkdtemp(kit->copies) == NULL)
        kit_die("no temporary folder %s: %s", kit->copies, strerror(errno));
}

static void copies_remove(const struct kit *kit)
{
    DIR *folder = opendir(kit->copies);
    if (folder == NULL)
        return;
    const struct dirent *file;
    while ((file = readdir(folder)) != NULL)
        if (strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0)
            (void)unlinkat(dirfd(folder), file->d_name, 0);
    (void)closedir(folder);
    (void)rmdir(kit->copies);
}

static void on_log_line(void *user, uint32_t level, struct span text)
{
    static const char *const names[] = {"debug", "info", "notice", "warn", "error"};
    struct kit *kit = user;
    buf_printf(&kit->log, "%s: %.*s\n", level < COUNT_OF(names) ? names[level] : "?",
               SPAN_ARG(text));
}

static struct kit *worker_create(struct shared *shared, uint32_t index, const char *folder)
{
    struct kit *kit = kit_need(calloc(1, sizeof(*kit)));
    kit->magic = KIT_MAGIC;
    kit->index = index;
    kit->shared = shared;
    kit->folder = kit_need(strdup(folder));
    list_init(&kit->timers);
    list_init(&kit->watches);
    list_init(&kit->swaps);
    list_init(&kit->image_list);
    list_init(&kit->streams);
    list_init(&kit->fetches);
    list_init(&kit->scripts);
    list_init(&kit->files);
    list_init(&kit->faults);
    list_init(&kit->requests);
    copies_make(kit);
    struct host_services services = kit_services;
    services.user = kit;
    kit->host = kit_need(plugin_host_create(&services, shared, index));
    kit->images = kit_need(images_create(kit->host, kit->copies));
    plugin_host_watch_log(kit->host, on_log_line, kit);
    kit_watch_begin(kit);
    return kit;
}

struct kit *kit_open_folder(const char *yaml, const char *plugin_folder)
{
    kit_clock_begin();
    struct shared *shared = kit_need(shared_create(KIT_SHARED_BYTES, KIT_WORKERS));
    struct kit *kit = worker_create(shared, 0, plugin_folder);
    kit->first = kit;
    kit->workers[0] = kit;
    if (kit_load(kit, yaml))
        return kit;
    kit_close(kit);
    return NULL;
}

struct kit *kit_open(const char *yaml)
{
    const char *folder = getenv("WEIR_PLUGIN_DIR");
    if (folder == NULL)
        kit_die("WEIR_PLUGIN_DIR names no folder with plugins");
    return kit_open_folder(yaml, folder);
}

struct kit *kit_open_markdown(const char *path)
{
    static const struct span fence = {"```yaml\n", 8}, end = {"\n```", 4};
    const char *tree = path[0] == '/' ? NULL : getenv("WEIR_SOURCE_DIR");
    char place[4096];
    int size = snprintf(place, sizeof(place), "%s%s%s", tree == NULL ? "" : tree,
                        tree == NULL ? "" : "/", path);
    AUTO_BUF file = BUF_INIT;
    if (size < 0 || (size_t)size >= sizeof(place) ||
        buf_read_file(&file, place, KIT_MARKDOWN_MAX) != WEIR_OK)
        kit_die("cannot read %s: %s", place, strerror(errno));
    struct span text = buf_view(&file);
    size_t from = span_search(text, fence);
    if (from == text.size)
        kit_die("%s has no ```yaml block", place);
    text = span_from(text, from + fence.size);
    char *yaml = kit_need(strndup(text.data, span_search(text, end) + 1));
    struct kit *kit = kit_open(yaml);
    free(yaml);
    return kit;
}

struct kit *kit_second_worker(struct kit *kit)
{
    CHECK(kit, KIT);
    struct kit *first = kit->first;
    uint32_t index = 1;
    while (index < KIT_WORKERS && first->workers[index] != NULL)
        index++;
    if (index == KIT_WORKERS)
        kit_die("no more than %d workers", KIT_WORKERS);
    struct kit *worker = worker_create(first->shared, index, first->folder);
    worker->first = first;
    first->workers[index] = worker;
    kit_swaps_copy(worker, first);
    if (!kit_load(worker, first->yaml))
        kit_die("the second worker refuses what the first took: %s", kit_error());
    return worker;
}

static void end_requests(struct kit *kit)
{
    LIST_FOREACH (node, &kit->requests)
        kit_request_free(LIST_ENTRY(node, kit_request, link));
}

void kit_close(struct kit *kit)
{
    if (kit == NULL)
        return;
    CHECK(kit, KIT);
    bool is_first = kit->first == kit;
    for (uint32_t i = 1; is_first && i < KIT_WORKERS; i++)
        if (kit->workers[i] != NULL)
            kit_die("close worker %u first", (unsigned)i);
    end_requests(kit);
    if (kit->generation != NULL)
        kit_generation_unpin(kit, kit->generation);
    images_destroy(kit->images);
    plugin_host_destroy(kit->host);
    kit_handles_end(kit);
    kit_scripts_free(kit);
    kit_faults_free(kit);
    kit_swaps_free(kit);
    kit_image_list_free(kit);
    if (is_first) {
        shared_destroy(kit->shared);
        kit_clock_begin(); /* of a Redis that is there before the next kit */
    } else {
        kit->first->workers[kit->index] = NULL;
    }
    copies_remove(kit);
    buf_free(&kit->log);
    buf_free(&kit->metrics);
    free(kit->folder);
    free(kit->yaml);
    kit->magic = 0;
    free(kit);
}
