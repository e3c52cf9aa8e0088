#include "process/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "base/write.h"
#include "config/document.h"
#include "gateway/background.h"
#include "gateway/generation.h"
#include "net/deadline.h"
#include "net/loop.h"
#include "plugin_host/recorder.h"
#include "plugin_host/redact.h"
#include "process/revision.h"

enum { QUEUE_BYTES = 8 << 20 };

/* What the thread beside the loop works on. Its own: nobody waits for it when the worker ends. */
struct record_job {
    struct job job;
    struct recording_run *run; /* NULL: nobody wants it any more */
    struct generation *generation;
    struct redaction *redaction;
    int fd;
    char *words;
    struct record_order order; /* points into `words` */
    char why[512];
};

struct recording_run {
    struct loop *loop;
    struct background *background;
    struct plugin_host *host;
    const struct host_services *services;
    struct recording_reports reports;
    uint64_t number;
    struct record_job *job;    /* that runs; NULL: none */
    struct recorder *recorder; /* NULL: nothing is recorded */
    void *file;                /* of the services; NULL: none */
    struct recorder_numbers numbers;
    struct deadline patience;
    struct loop_task end_later;
    bool abandoned;
};

/* ---- beside the loop */

static void free_job(struct record_job *job)
{
    if (job->fd >= 0)
        (void)close(job->fd);
    redaction_destroy(job->redaction);
    free(job->words);
    free(job);
}

/* A file that is there already stays as it is: it may be a recording somebody needs. */
static enum weir_err write_file(struct record_job *job, struct span line)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%.*s", SPAN_ARG(job->order.file));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        (void)snprintf(job->why, sizeof(job->why), "cannot make %.400s: %s", path,
                       strerrordesc_np(errno));
        return WEIR_ERR_SYSTEM;
    }
    enum weir_err err = write_all(fd, line);
    int reason = errno;
    if (close(fd) != 0 && err == WEIR_OK) {
        reason = errno;
        err = WEIR_ERR_SYSTEM;
    }
    if (err != WEIR_OK) {
        (void)unlink(path);
        (void)snprintf(job->why, sizeof(job->why), "cannot write %.400s: %s", path,
                       strerrordesc_np(reason));
    }
    return err;
}

static enum weir_err write_header(struct record_job *job, const struct node *root)
{
    AUTO_BUF configuration = BUF_INIT;
    AUTO_BUF line = BUF_INIT;
    enum weir_err err =
        redact_config(job->redaction, root, job->generation->config, &configuration);
    redaction_begin(job->redaction);
    if (err == WEIR_ERR_CONFIG)
        (void)snprintf(job->why, sizeof(job->why),
                       "a variable or file that the configuration names cannot be read any more");
    TRY(err);
    recorder_header(&line, job->generation->number, clock_wall_ms(), job->order.bodies,
                    buf_view(&configuration));
    buf_byte(&line, '\n');
    return line.failed ? WEIR_ERR_NO_MEMORY : write_file(job, buf_view(&line));
}

static enum weir_err read_document(struct record_job *job, struct span text)
{
    AUTO(arena_destroy) struct arena *arena = arena_create(NULL);
    struct problems *problems = arena == NULL ? NULL : problems_create(arena);
    struct node *root = NULL;
    if (problems == NULL)
        return WEIR_ERR_NO_MEMORY;
    TRY(document_parse(arena, text, "", problems, &root));
    if (redaction_learn(job->redaction, root) != WEIR_OK) {
        (void)snprintf(job->why, sizeof(job->why),
                       "the configuration has too many or too long names of credentials");
        return WEIR_ERR_LIMIT;
    }
    return job->order.header ? write_header(job, root) : WEIR_OK;
}

static enum weir_err prepare(struct job *base, const struct slice *slice)
{
    struct record_job *job = CONTAINER_OF(base, struct record_job, job);
    struct mapped_text mapped;
    (void)slice;
    TRY(mapped_text_open(job->fd, &mapped));
    enum weir_err err = read_document(job, mapped.text);
    mapped_text_close(&mapped);
    return err;
}

/* ---- on the loop */

static void tell_began(struct recording_run *run, const char *why)
{
    run->reports.began(run->reports.user, run->number, span_text(why));
}

static void on_file(void *arg, bool ended)
{
    struct recording_run *run = arg;
    char text[96];
    if (!ended)
        return;
    const struct host_services *services = run->services;
    int64_t lost = services->file_number(services->user, run->file, WEIR_FILE_LOST);
    run->file = NULL;
    (void)snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %" PRIu64, run->numbers.written,
                   run->numbers.lost + (lost > 0 ? (uint64_t)lost : 0), run->numbers.left_out);
    if (!run->abandoned)
        run->reports.ended(run->reports.user, run->number, span_text(text));
}

static bool write_line(void *user, struct span line)
{
    const struct recording_run *run = user;
    return run->services->file_append(run->services->user, run->file,
                                      (weir_str){line.data, line.size}) == WEIR_SUCCESS;
}

static void stop(struct recording_run *run)
{
    if (run->recorder == NULL)
        return;
    deadline_clear(&run->patience);
    run->numbers = recorder_numbers(run->recorder);
    recorder_destroy(TAKE(run->recorder));
    run->services->file_close(run->services->user, run->file); /* on_file() ends it */
}

static void on_full_later(struct loop_task *task)
{
    stop(CONTAINER_OF(task, struct recording_run, end_later));
}

/* Inside the end of a request, which the recorder still works on. */
static void on_full(void *user)
{
    struct recording_run *run = user;
    loop_after_turn(run->loop, &run->end_later);
}

static void on_patience(struct deadline *deadline)
{
    stop(CONTAINER_OF(deadline, struct recording_run, patience));
}

static const char *start(struct recording_run *run, struct record_job *job)
{
    const struct record_order *order = &job->order;
    const struct host_services *services = run->services;
    const weir_file_options how = {.size = sizeof(how), .mode = 0600, .queue_bytes = QUEUE_BYTES};
    weir_str path = {order->file.data, order->file.size};
    if (services->file_open == NULL)
        return "there is no writer of files";
    struct recorder_options options = {.redaction = TAKE(job->redaction),
                                       .configuration = job->generation->number,
                                       .count_max = order->count,
                                       .bytes_max = RECORD_BYTES,
                                       .body_bytes = order->body_bytes,
                                       .bodies = order->bodies,
                                       .plugin = order->plugin,
                                       .route = order->route,
                                       .write = write_line,
                                       .full = on_full,
                                       .user = run};
    run->recorder = recorder_create(run->host, &options);
    if (run->recorder == NULL)
        return "no memory";
    run->numbers = (struct recorder_numbers){0};
    run->file = services->file_open(services->user, path, &how, on_file, run);
    if (run->file == NULL) {
        recorder_destroy(TAKE(run->recorder));
        return "no memory for the file";
    }
    deadline_set(run->loop, &run->patience, (uint32_t)order->seconds * 1000);
    return "";
}

static void on_prepared(struct job *base, enum weir_err err)
{
    struct record_job *job = CONTAINER_OF(base, struct record_job, job);
    struct recording_run *run = job->run;
    if (run != NULL) {
        run->job = NULL;
        if (err == WEIR_OK)
            tell_began(run, start(run, job));
        else
            tell_began(run, job->why[0] != '\0' ? job->why : weir_err_text(err));
    }
    generation_unpin(job->generation);
    free_job(job);
}

static struct record_job *make_job(struct recording_run *run, int fd, struct span words)
{
    struct record_job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return NULL;
    job->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    job->words = strndup(words.size == 0 ? "" : words.data, words.size);
    if (job->fd < 0 || job->words == NULL) {
        free_job(job);
        return NULL;
    }
    job->run = run;
    return job;
}

/* What the job needs beside the text. */
static bool read_order(struct record_job *job)
{
    unsigned char key[REDACT_KEY];
    struct record_order *order = &job->order;
    if (!record_order_read(span_text(job->words), order, job->why, sizeof(job->why)))
        return false;
    bool good = order->key.size == 2 * REDACT_KEY;
    for (size_t i = 0; good && i < REDACT_KEY; i++)
        key[i] = (unsigned char)(text_hex_digit(order->key.data[2 * i]) * 16 +
                                 text_hex_digit(order->key.data[2 * i + 1]));
    job->redaction = good ? redaction_create(key) : NULL;
    explicit_bzero(key, sizeof(key));
    for (size_t i = 0; job->redaction != NULL && i < order->redact_count; i++)
        good = good && redaction_add_name(job->redaction, order->redacts[i]) == WEIR_OK;
    if (job->redaction == NULL || !good)
        (void)snprintf(job->why, sizeof(job->why), "no key, no memory or too many names");
    return job->redaction != NULL && good;
}

void recording_begin(struct recording_run *run, struct generation *generation, int fd,
                     uint64_t number, struct span words, const struct recording_reports *reports)
{
    static const struct job_step steps[] = {{prepare, JOB_BESIDE}};
    struct recording_reports refused = *reports;
    if (run->job != NULL || run->recorder != NULL || run->file != NULL) {
        refused.began(refused.user, number, SPAN("another recording is under way"));
        return;
    }
    run->reports = *reports;
    run->number = number;
    struct record_job *job = make_job(run, fd, words);
    if (job == NULL) {
        tell_began(run, "no memory");
        return;
    }
    if (!read_order(job)) {
        tell_began(run, job->why);
        free_job(job);
        return;
    }
    job->generation = generation;
    generation_pin(generation);
    run->job = job;
    job_init(&job->job, steps, COUNT_OF(steps), on_prepared);
    background_add(run->background, &job->job);
}

void recording_end(struct recording_run *run)
{
    stop(run);
}

/* ---- life */

struct recording_run *recording_create(struct loop *loop, struct background *background,
                                       struct plugin_host *host,
                                       const struct host_services *services)
{
    struct recording_run *run = calloc(1, sizeof(*run));
    if (run == NULL)
        return NULL;
    run->loop = loop;
    run->background = background;
    run->host = host;
    run->services = services;
    deadline_init(&run->patience, on_patience);
    run->end_later.run = on_full_later;
    return run;
}

void recording_abandon(struct recording_run *run)
{
    if (run == NULL)
        return;
    run->abandoned = true;
    if (run->job != NULL)
        run->job->run = NULL;
    run->job = NULL;
    loop_task_cancel(&run->end_later);
    stop(run);
}

void recording_destroy(struct recording_run *run)
{
    free(run);
}
