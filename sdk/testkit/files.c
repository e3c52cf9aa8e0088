/* Files of policies in the kit: written within the call, without a thread, so that a test finds the
 * lines at once. Bounds, reports and the end are those of the gateway; a disk that is full or hangs
 * is what the test says it is. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "kit_internal.h"

enum { HANGS = -1, STALL_MS = 1000, CLOSE_MS = 2000, DEFAULT_MODE = 0644 };

struct kit_fault {
    struct list link;
    int error; /* errno of every write, or HANGS; 0: none */
    char path[];
};

struct kit_file {
    struct list link;
    struct kit *kit;
    char *path;
    weir_file_options options;
    void (*report)(void *arg, bool ended);
    void *arg;
    struct buf queue;
    int64_t written, lost;
    int error;
    uint64_t stalled_since_ms; /* 0: it does not hang */
    bool closed, changed;
    uint64_t deadline_ms; /* once closed */
};

/* ---- what the test says */

static struct kit_fault *fault_of(struct kit *kit, const char *path)
{
    LIST_FOREACH (node, &kit->first->faults) {
        struct kit_fault *fault = LIST_ENTRY(node, struct kit_fault, link);
        if (strcmp(fault->path, path) == 0)
            return fault;
    }
    return NULL;
}

static void set_fault(struct kit *kit, const char *path, int error)
{
    CHECK(kit, KIT);
    struct kit_fault *fault = fault_of(kit, path);
    if (fault == NULL) {
        size_t size = strlen(path) + 1;
        fault = kit_need(calloc(1, sizeof(*fault) + size));
        memcpy(fault->path, path, size);
        list_push_back(&kit->first->faults, &fault->link);
    }
    fault->error = error;
}

void kit_file_fail(struct kit *kit, const char *path, int error)
{
    if (error < 0)
        kit_die("kit_file_fail: %d is no errno", error);
    set_fault(kit, path, error);
}

void kit_file_hang(struct kit *kit, const char *path)
{
    set_fault(kit, path, HANGS);
}

void kit_faults_free(struct kit *kit)
{
    LIST_FOREACH (node, &kit->faults) {
        list_remove(node);
        free(LIST_ENTRY(node, struct kit_fault, link));
    }
}

/* ---- lines */

static size_t first_line(const struct kit_file *file)
{
    const char *end = memchr(file->queue.data, '\n', file->queue.size);
    return (size_t)(end - file->queue.data) + 1;
}

static void take_out(struct kit_file *file, size_t size)
{
    file->queue.size -= size;
    memmove(file->queue.data, file->queue.data + size, file->queue.size);
}

static void lose_lines(struct kit_file *file)
{
    while (file->queue.size > 0) {
        take_out(file, first_line(file));
        file->lost++;
        file->changed = true;
    }
}

/* 0, or errno; EAGAIN: a pipe that takes no more. */
static int write_lines(struct kit_file *file)
{
    unsigned mode = file->options.mode == 0 ? DEFAULT_MODE : file->options.mode;
    int fd = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, mode);
    if (fd < 0)
        return errno;
    int failure = 0;
    while (file->queue.size > 0 && failure == 0) {
        size_t size = first_line(file);
        ssize_t put = write(fd, file->queue.data, size);
        if (put < 0) {
            failure = errno;
            break;
        }
        take_out(file, (size_t)put);
        file->written += (size_t)put == size;
    }
    (void)close(fd);
    return failure;
}

static void try_lines(struct kit_file *file)
{
    const struct kit_fault *fault = fault_of(file->kit, file->path);
    if (file->queue.size == 0)
        return;
    file->changed = true;
    if (fault != NULL && fault->error == HANGS) {
        if (file->stalled_since_ms == 0)
            file->stalled_since_ms = clock_mono_ms();
        return;
    }
    file->stalled_since_ms = 0;
    int failure = fault != NULL && fault->error != 0 ? fault->error : write_lines(file);
    file->error = failure == EAGAIN ? 0 : failure;
}

static weir_status keep_line(struct kit_file *file, weir_str line)
{
    size_t size = line.size + 1, limit = file->options.queue_bytes;
    bool drops_oldest = (file->options.flags & WEIR_FILE_DROP_OLDEST) != 0;
    while (file->queue.size > 0 && file->queue.size + size > limit) {
        if (size > limit || !drops_oldest)
            return WEIR_FULL;
        take_out(file, first_line(file));
        file->lost++;
    }
    buf_append(&file->queue, line.data, line.size);
    buf_byte(&file->queue, '\n');
    if (file->queue.failed)
        kit_die("no memory");
    return WEIR_SUCCESS;
}

/* ---- services */

void *kit_file_open(void *user, weir_str path, const weir_file_options *options,
                    void (*report)(void *arg, bool ended), void *arg)
{
    struct kit *kit = user;
    struct kit_file *file = kit_need(calloc(1, sizeof(*file)));
    file->kit = kit;
    file->path = kit_need(strndup(path.data, path.size));
    file->options = *options;
    file->report = report;
    file->arg = arg;
    list_push_back(&kit->files, &file->link);
    return file;
}

weir_status kit_file_append(void *user, void *handle, weir_str line)
{
    struct kit_file *file = handle;
    (void)user;
    try_lines(file); /* the gateway's thread would have been here */
    weir_status status = line.data == NULL || memchr(line.data, '\n', line.size) != NULL
                             ? WEIR_INVALID
                             : keep_line(file, line);
    file->lost += status != WEIR_SUCCESS;
    file->changed = true;
    try_lines(file);
    return status;
}

int64_t kit_file_number(void *user, void *handle, uint32_t what)
{
    const struct kit_file *file = handle;
    uint64_t now_ms = clock_mono_ms(), since_ms = file->stalled_since_ms;
    (void)user;
    switch (what) {
    case WEIR_FILE_WRITTEN:
        return file->written;
    case WEIR_FILE_LOST:
        return file->lost;
    case WEIR_FILE_WAITING_BYTES:
        return (int64_t)file->queue.size;
    case WEIR_FILE_ERROR:
        return file->error;
    case WEIR_FILE_STALLED_MS:
        return since_ms == 0 || now_ms < since_ms + STALL_MS ? 0 : (int64_t)(now_ms - since_ms);
    default:
        return WEIR_UNSET;
    }
}

void kit_file_close(void *user, void *handle)
{
    struct kit_file *file = handle;
    (void)user;
    file->closed = true;
    file->deadline_ms = clock_mono_ms() + CLOSE_MS;
}

static void end_file(struct kit_file *file)
{
    lose_lines(file);
    file->report(file->arg, true);
    list_remove(&file->link);
    buf_free(&file->queue);
    free(file->path);
    free(file);
}

void kit_files_turn(struct kit *kit)
{
    LIST_FOREACH (node, &kit->files) {
        struct kit_file *file = LIST_ENTRY(node, struct kit_file, link);
        try_lines(file);
        if (file->closed && (file->queue.size == 0 || clock_mono_ms() >= file->deadline_ms)) {
            end_file(file);
        } else if (file->changed) {
            file->changed = false;
            file->report(file->arg, false);
        }
    }
}

void kit_files_end(void *user)
{
    const struct kit *kit = user;
    LIST_FOREACH (node, &kit->files) {
        struct kit_file *file = LIST_ENTRY(node, struct kit_file, link);
        try_lines(file);
        end_file(file);
    }
}
