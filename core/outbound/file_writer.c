/* The thread that writes files: takes whole lines out of a queue, one file after the other, and
 * does every call that a disk may hold up. It reads neither the loop's clock nor its lists and logs
 * nothing: what there is to say lies in the file's counts until the loop looks. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "outbound/files_internal.h"

enum {
    WRITE_BYTES = 65536,  /* in one call; a longer line goes alone */
    KEEP_BYTES = 1 << 20, /* of room for a copy */
    BEHIND_RETRY_MS = 10, /* a pipe whose reader is behind */
    FAILED_RETRY_MS = 1000,
    GATHER_MS = 5, /* after a write: lines come together, and nobody is woken for each */
};

struct writer {
    struct files *files;
    char *copy;
    size_t room;
    bool wrote; /* since it waited last */
};

static void enter_call(struct files *files, const struct file *file)
{
    files->current = file;
    files->since_ms = files_now_ms();
    (void)pthread_mutex_unlock(&files->lock);
}

static void leave_call(struct files *files)
{
    (void)pthread_mutex_lock(&files->lock);
    files->current = NULL;
}

/* ---- lines */

static uint64_t count_lines(const char *bytes, size_t size)
{
    uint64_t count = 0;
    const char *end = bytes + size;
    while (bytes < end && (bytes = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL) {
        count++;
        bytes++;
    }
    return count;
}

void file_lose_lines(struct file *file)
{
    if (file_waiting(file) > 0)
        file->lost += count_lines(file->bytes + file->from, file_waiting(file));
    free(file->bytes);
    file->bytes = NULL;
    file->from = file->end = file->capacity = file->sent = file->busy = 0;
    file->anew = true;
}

/* Whole lines for one call: as many as are small, or one. More than PIPE_BUF bytes may be taken in
 * part by a pipe, and another worker's line would come between. */
static size_t next_lines(const struct file *file)
{
    const char *first = file->bytes + file->from;
    size_t waiting = file_waiting(file), most = file->target.is_regular ? WRITE_BYTES : PIPE_BUF;
    if (waiting <= most)
        return waiting;
    const char *last = memrchr(first, '\n', most);
    if (last == NULL)
        last = memchr(first + most, '\n', waiting - most);
    return last == NULL ? waiting : (size_t)(last - first) + 1;
}

/* So many bytes from the first line's beginning are out. */
static void take_out(struct file *file, size_t size)
{
    const char *first = file->bytes + file->from;
    const char *last = size == 0 ? NULL : memrchr(first, '\n', size);
    size_t whole = last == NULL ? 0 : (size_t)(last - first) + 1;
    file->written += whole == 0 ? 0 : count_lines(first, whole);
    file->from += whole;
    /* In a regular file another worker's line may come next: ours is begun anew. */
    file->sent = file->target.is_regular ? 0 : size - whole;
    if (file_waiting(file) > 0)
        return;
    file->from = file->end = 0;
    if (file->capacity > WRITE_BYTES) { /* what was a jam is over */
        free(file->bytes);
        file->bytes = NULL;
        file->capacity = 0;
    }
}

/* ---- one piece of one file */

static void settle(struct file *file, size_t written, int failure)
{
    bool is_behind = failure == EAGAIN;
    file->failure = is_behind ? 0 : failure;
    if (failure == 0 || (is_behind && written > 0))
        file->retry_ms = 0;
    else
        file->retry_ms = files_now_ms() + (is_behind ? BEHIND_RETRY_MS : FAILED_RETRY_MS);
    if (file->failure != 0 && file->files->ending)
        file_lose_lines(file);
}

/* The first lines, less what is sent; 0 without memory. */
static size_t copy_lines(struct writer *writer, struct file *file)
{
    size_t size = next_lines(file), left = size - file->sent;
    if (left > writer->room || writer->room > KEEP_BYTES) {
        size_t room = left < WRITE_BYTES ? WRITE_BYTES : left;
        free(writer->copy);
        writer->copy = malloc(room);
        writer->room = writer->copy == NULL ? 0 : room;
    }
    if (writer->copy == NULL)
        return 0;
    memcpy(writer->copy, file->bytes + file->from + file->sent, left);
    file->busy = size;
    return left;
}

static void write_piece(struct writer *writer, struct file *file)
{
    struct files *files = writer->files;
    bool is_other = false;
    if (file->anew) /* what was cut is not what comes next */
        file->target.cut_bytes = 0;
    file->anew = false;
    enter_call(files, file);
    int failure = line_file_prepare(&file->target, clock_precise_us(), &is_other);
    leave_call(files);
    if (is_other)
        file->sent = 0;
    if (file_waiting(file) == 0) /* the loop gave them up meanwhile */
        return;
    size_t written = 0, size = failure == 0 ? copy_lines(writer, file) : 0;
    if (size > 0) {
        enter_call(files, file);
        written = line_file_write(&file->target, writer->copy, size, &failure);
        leave_call(files);
        if (file->busy > 0 && written > 0)
            take_out(file, file->sent + written);
        if (file->busy == 0)
            file->target.cut_bytes = 0;
        file->busy = 0;
        writer->wrote = true;
    } else if (failure == 0) {
        failure = ENOMEM;
    }
    settle(file, written, failure);
}

/* Closed, and nothing waits: close() itself may hang, too. */
static void finish(struct files *files, struct file *file)
{
    enter_call(files, file);
    line_file_close(&file->target);
    leave_call(files);
    if (file->abandoned) {
        list_remove(&file->work);
        file_free(file);
    } else {
        file->finished = true;
    }
    (void)pthread_cond_signal(&files->less);
}

/* ---- whose turn it is */

/* When it wants a turn; UINT64_MAX: not before something happens. */
static uint64_t turn_of(const struct file *file)
{
    if (file->finished)
        return UINT64_MAX;
    if (file_waiting(file) == 0)
        return file->closed ? 0 : UINT64_MAX;
    return file->closed && file->deadline_ms < file->retry_ms ? file->deadline_ms : file->retry_ms;
}

/* NULL: nobody's now, *out_next says when. */
static struct file *next_file(struct files *files, uint64_t now_ms, uint64_t *out_next)
{
    *out_next = UINT64_MAX;
    LIST_FOREACH (node, &files->work) {
        struct file *file = LIST_ENTRY(node, struct file, work);
        uint64_t turn = turn_of(file);
        if (turn <= now_ms)
            return file;
        *out_next = turn < *out_next ? turn : *out_next;
    }
    return NULL;
}

static void wait_until(struct writer *writer, uint64_t until_ms, uint64_t now_ms)
{
    struct files *files = writer->files;
    bool gathers = writer->wrote && !files->ending;
    if (gathers && until_ms > now_ms + GATHER_MS)
        until_ms = now_ms + GATHER_MS;
    writer->wrote = false;
    files->idle = !gathers;
    if (until_ms == UINT64_MAX) {
        (void)pthread_cond_wait(&files->more, &files->lock);
    } else {
        struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                                 .tv_nsec = (long)(until_ms % 1000) * 1000000};
        (void)pthread_cond_timedwait(&files->more, &files->lock, &until);
    }
    files->idle = false;
}

static void serve(struct writer *writer, struct file *file, uint64_t now_ms)
{
    struct files *files = writer->files;
    /* Behind the others: all have a turn. */
    list_remove(&file->work);
    list_push_back(&files->work, &file->work);
    if (file->closed && file_waiting(file) > 0 && now_ms >= file->deadline_ms)
        file_lose_lines(file);
    if (file_waiting(file) > 0)
        write_piece(writer, file);
    else
        finish(files, file);
}

void *files_write(void *arg)
{
    struct writer writer = {.files = arg};
    struct files *files = writer.files;
    (void)pthread_mutex_lock(&files->lock);
    while (!files->ending || !files_are_finished(files)) {
        uint64_t now_ms = files_now_ms(), next_ms;
        struct file *file = next_file(files, now_ms, &next_ms);
        if (file != NULL)
            serve(&writer, file, now_ms);
        else
            wait_until(&writer, next_ms, now_ms);
    }
    bool is_ours = files->left_behind;
    (void)pthread_mutex_unlock(&files->lock);
    if (is_ours)
        files_free(files);
    free(writer.copy);
    return NULL;
}
