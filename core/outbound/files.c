/* The loop's side of files: queues, reports, the end. The lock is held for a copy of some lines at
 * most, never around a call that a disk may hold up. Next: file_writer.c. */
#include "outbound/files.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "outbound/files_internal.h"

enum {
    QUEUE_FIRST = 4096,
    DEFAULT_MODE = 0644,
    STACK_BYTES = 256 << 10,
    STALL_MS = 1000, /* a call that takes so long counts as one that hangs */
    CLOSED_LOOK_MS = 20,
    HANG_SLACK_MS = 250 /* the writer ends a file itself, unless it hangs */
};

/* Numbers that a report is about. */
static const uint32_t told_numbers[] = {WEIR_FILE_LOST, WEIR_FILE_WAITING_BYTES, WEIR_FILE_ERROR,
                                        WEIR_FILE_STALLED_MS};

uint64_t files_now_ms(void)
{
    return clock_precise_us() / 1000;
}

/* ---- the queue: the lock is held */

static size_t line_size(const char *first, size_t waiting)
{
    const char *end = memchr(first, '\n', waiting);
    return end == NULL ? waiting : (size_t)(end - first) + 1;
}

/* The first line, but for those under way. False: there is no other. */
static bool drop_oldest(struct file *file)
{
    char *first = file->bytes + file->from;
    size_t waiting = file_waiting(file), begun = file->busy;
    if (begun == 0 && file->sent > 0)
        begun = line_size(first, waiting);
    if (begun >= waiting)
        return false;
    size_t size = line_size(first + begun, waiting - begun);
    memmove(first + size, first, begun);
    file->from += size;
    file->lost++;
    return true;
}

static bool grow(struct file *file, size_t size)
{
    if (file->end + size <= file->capacity)
        return true;
    if (file->from > 0 && file->from >= file_waiting(file)) { /* each byte is moved once at most */
        memmove(file->bytes, file->bytes + file->from, file_waiting(file));
        file->end -= file->from;
        file->from = 0;
    }
    size_t capacity = file->capacity == 0 ? QUEUE_FIRST : file->capacity;
    while (capacity < file->end + size)
        capacity *= 2;
    char *bytes = capacity == file->capacity ? file->bytes : realloc(file->bytes, capacity);
    if (bytes == NULL)
        return false;
    file->bytes = bytes;
    file->capacity = capacity;
    return true;
}

static weir_status keep_line(struct file *file, weir_str line)
{
    size_t size = line.size + 1;
    while (file_waiting(file) > 0 && file_waiting(file) + size > file->limit)
        if (size > file->limit || !file->drops_oldest || !drop_oldest(file))
            return WEIR_FULL;
    if (!grow(file, size))
        return WEIR_NO_MEMORY;
    memcpy(file->bytes + file->end, line.data, line.size);
    file->end += size;
    file->bytes[file->end - 1] = '\n';
    return WEIR_SUCCESS;
}

/* ---- the thread: the lock is held */

static bool run_writer(struct files *files)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    if (files->runs)
        return true;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    files->runs = pthread_create(&files->writer, &attributes, files_write, files) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    if (files->runs)
        (void)pthread_setname_np(files->writer, "weir-files");
    return files->runs;
}

/* ---- one file */

void file_free(struct file *file)
{
    free(file->bytes);
    free(file->path);
    free(file);
}

struct file *file_open(struct files *files, weir_str path, const weir_file_options *options,
                       void (*report)(void *user, bool ended), void *user)
{
    struct file *file = calloc(1, sizeof(*file));
    char *copy = strndup(path.data, path.size);
    if (file == NULL || copy == NULL) {
        free(file);
        free(copy);
        return NULL;
    }
    file->files = files;
    file->path = copy;
    file->limit = options->queue_bytes;
    file->drops_oldest = (options->flags & WEIR_FILE_DROP_OLDEST) != 0;
    file->report = report;
    file->user = user;
    line_file_init(&file->target, copy, options->mode == 0 ? DEFAULT_MODE : options->mode,
                   (options->flags & WEIR_FILE_REOPEN) != 0);
    list_push_back(&files->all, &file->link);
    (void)pthread_mutex_lock(&files->lock);
    list_push_back(&files->work, &file->work);
    (void)pthread_mutex_unlock(&files->lock);
    return file;
}

static void look_soon(struct files *files)
{
    if (!deadline_is_set(&files->look))
        deadline_set(files->loop, &files->look, FILES_REPORT_MS);
}

weir_status file_append(struct file *file, weir_str line)
{
    struct files *files = file->files;
    weir_status status = WEIR_INVALID;
    bool whole = line.data != NULL && memchr(line.data, '\n', line.size) == NULL;
    (void)pthread_mutex_lock(&files->lock);
    if (whole)
        status = run_writer(files) ? keep_line(file, line) : WEIR_NO_MEMORY;
    if (status != WEIR_SUCCESS)
        file->lost++;
    bool wakes = status == WEIR_SUCCESS && file->retry_ms == 0 &&
                 (files->idle || file_waiting(file) > file->limit / 2);
    (void)pthread_mutex_unlock(&files->lock);
    if (wakes)
        (void)pthread_cond_signal(&files->more);
    look_soon(files);
    return status;
}

/* The lock is held. */
static int64_t number_of(const struct file *file, uint32_t what, uint64_t now_ms)
{
    const struct files *files = file->files;
    switch (what) {
    case WEIR_FILE_WRITTEN:
        return (int64_t)file->written;
    case WEIR_FILE_LOST:
        return (int64_t)file->lost;
    case WEIR_FILE_WAITING_BYTES:
        return (int64_t)file_waiting(file);
    case WEIR_FILE_ERROR:
        return file->failure;
    case WEIR_FILE_STALLED_MS:
        return files->current == NULL || file_waiting(file) == 0 ||
                       now_ms < files->since_ms + STALL_MS
                   ? 0
                   : (int64_t)(now_ms - files->since_ms);
    default:
        return WEIR_UNSET;
    }
}

int64_t file_number(struct file *file, uint32_t what)
{
    struct files *files = file->files;
    (void)pthread_mutex_lock(&files->lock);
    int64_t number = number_of(file, what, files_now_ms());
    (void)pthread_mutex_unlock(&files->lock);
    return number;
}

void file_close(struct file *file)
{
    struct files *files = file->files;
    (void)pthread_mutex_lock(&files->lock);
    file->closed = true;
    file->deadline_ms = files_now_ms() + FILES_CLOSE_MS;
    (void)pthread_mutex_unlock(&files->lock);
    (void)pthread_cond_signal(&files->more);
    deadline_set(files->loop, &files->look, CLOSED_LOOK_MS); /* mostly it is all written by then */
}

/* ---- reports */

/* The last report, and nothing of it is the loop's any more. */
static void end_file(struct file *file)
{
    struct files *files = file->files;
    (void)pthread_mutex_lock(&files->lock);
    if (!file->finished)
        file_lose_lines(file);
    (void)pthread_mutex_unlock(&files->lock);
    file->report(file->user, true);
    list_remove(&file->link);
    (void)pthread_mutex_lock(&files->lock);
    bool is_free = file->finished || !files->runs;
    if (is_free)
        list_remove(&file->work);
    else
        file->abandoned = true;
    (void)pthread_mutex_unlock(&files->lock);
    if (is_free)
        file_free(file);
}

/* True: there may be more to say a second later. */
static bool look_at(struct file *file)
{
    struct files *files = file->files;
    uint64_t now_ms = files_now_ms();
    bool has_changed = false;
    (void)pthread_mutex_lock(&files->lock);
    bool ends = file->closed &&
                (file->finished || !files->runs || now_ms >= file->deadline_ms + HANG_SLACK_MS);
    bool is_open = file_waiting(file) > 0 || file->closed;
    for (size_t i = 0; i < COUNT_OF(told_numbers); i++) {
        int64_t number = number_of(file, told_numbers[i], now_ms);
        has_changed |= number != file->told[i];
        file->told[i] = number;
    }
    (void)pthread_mutex_unlock(&files->lock);
    if (ends)
        end_file(file);
    else if (has_changed)
        file->report(file->user, false);
    return !ends && (is_open || has_changed);
}

static void on_look(struct deadline *deadline)
{
    struct files *files = CONTAINER_OF(deadline, struct files, look);
    bool goes_on = false;
    LIST_FOREACH (node, &files->all)
        goes_on |= look_at(LIST_ENTRY(node, struct file, link));
    if (goes_on)
        look_soon(files);
}

/* ---- the whole */

struct files *files_create(struct loop *loop)
{
    struct files *files = calloc(1, sizeof(*files));
    pthread_condattr_t attributes;
    if (files == NULL || pthread_condattr_init(&attributes) != 0) {
        free(files);
        return NULL;
    }
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&files->lock, NULL);
    (void)pthread_cond_init(&files->more, &attributes);
    (void)pthread_cond_init(&files->less, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    files->loop = loop;
    list_init(&files->all);
    list_init(&files->work);
    deadline_init(&files->look, on_look);
    return files;
}

void files_free(struct files *files)
{
    (void)pthread_mutex_destroy(&files->lock);
    (void)pthread_cond_destroy(&files->more);
    (void)pthread_cond_destroy(&files->less);
    free(files);
}

bool files_are_finished(const struct files *files)
{
    LIST_FOREACH (node, &files->work)
        if (!LIST_ENTRY(node, const struct file, work)->finished)
            return false;
    return true;
}

static void wait_for_writer(struct files *files)
{
    uint64_t until_ms = files_now_ms() + FILES_END_MS;
    (void)pthread_mutex_lock(&files->lock);
    files->ending = true;
    LIST_FOREACH (node, &files->work) {
        struct file *file = LIST_ENTRY(node, struct file, work);
        if (!file->closed || file->deadline_ms > until_ms)
            file->deadline_ms = until_ms;
        file->closed = true;
        file->retry_ms = 0;
    }
    (void)pthread_cond_signal(&files->more);
    until_ms += HANG_SLACK_MS;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int err = 0;
    while (files->runs && !files_are_finished(files) && err == 0)
        err = pthread_cond_timedwait(&files->less, &files->lock, &until);
    (void)pthread_mutex_unlock(&files->lock);
}

/* False: the writer hangs, and all is its own now. */
static bool take_back(struct files *files)
{
    pthread_t writer = files->writer;
    (void)pthread_mutex_lock(&files->lock);
    bool runs = files->runs, hangs = runs && !files_are_finished(files);
    files->left_behind = hangs;
    (void)pthread_mutex_unlock(&files->lock);
    if (hangs)
        (void)pthread_detach(writer);
    else if (runs)
        (void)pthread_join(writer, NULL);
    return !hangs;
}

void files_destroy(struct files *files)
{
    if (files == NULL)
        return;
    deadline_clear(&files->look);
    wait_for_writer(files);
    LIST_FOREACH (node, &files->all)
        end_file(LIST_ENTRY(node, struct file, link));
    if (take_back(files))
        files_free(files);
    else
        log_warn("a write to a file does not come back, its thread is left behind");
}
