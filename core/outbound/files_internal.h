/* What the loop's side (files.c) and the writer (file_writer.c) share. */
#ifndef WEIR_OUTBOUND_FILES_INTERNAL_H
#define WEIR_OUTBOUND_FILES_INTERNAL_H

#include <pthread.h>

#include "base/list.h"
#include "net/deadline.h"
#include "outbound/files.h"
#include "outbound/line_file.h"

struct file {
    struct files *files;
    char *path; /* ours */
    size_t limit;
    bool drops_oldest;

    /* The loop's alone. */
    struct list link; /* on files->all */
    void (*report)(void *user, bool ended);
    void *user;
    int64_t told[4]; /* numbers at the last report: see files.c */

    /* Under files->lock. The waiting lines, each with its newline, are bytes[from, end). */
    struct list work; /* on files->work */
    char *bytes;
    size_t from, end, capacity;
    size_t sent; /* of the first line, by a pipe */
    size_t busy; /* of the first lines: the writer has a copy under way */
    bool anew;   /* lines were dropped: what was cut in the file is not continued */
    uint64_t written, lost;
    int failure;       /* errno of the last attempt, but not that the reader is behind; 0: none */
    uint64_t retry_ms; /* not before; 0: at once */
    uint64_t deadline_ms; /* once closed: what waits then is lost */
    bool closed;
    bool finished;  /* closed, and the writer has done with it: the loop frees it */
    bool abandoned; /* the loop has done with it: the writer frees it */

    struct line_file target; /* the writer's alone */
};

struct files {
    struct loop *loop;
    struct list all;      /* of the loop: those that have not ended */
    struct deadline look; /* for reports; set while there may be some */

    pthread_mutex_t lock;
    pthread_cond_t more; /* to the writer */
    pthread_cond_t less; /* from the writer, in the end */
    pthread_t writer;
    bool runs;        /* a writer was started */
    bool idle;        /* it waits for somebody to signal */
    bool ending;      /* nothing is tried twice, then it returns */
    bool left_behind; /* and frees all this */
    struct list work;
    const struct file *current; /* in a call that may hang, since then: */
    uint64_t since_ms;
};

uint64_t files_now_ms(void); /* monotonic, for either thread */
static inline size_t file_waiting(const struct file *file)
{
    return file->end - file->from;
}
/* All that waits; the lock is held. */
void file_lose_lines(struct file *file);
void file_free(struct file *file);
bool files_are_finished(const struct files *files); /* the lock is held */
void files_free(struct files *files);

/* The thread. */
void *files_write(void *arg);

#endif
