#include "process/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/random.h"
#include "base/text.h"
#include "plugin_host/redact.h"
#include "process/master.h"
#include "process/recording.h"

/* ---- words */

void record_key(char out[RECORD_KEY_TEXT])
{
    unsigned char key[REDACT_KEY];
    random_secret(key, sizeof(key));
    text_hex(out, key, sizeof(key));
    out[2 * REDACT_KEY] = '\0';
    explicit_bzero(key, sizeof(key));
}

bool record_words(char *out, size_t size, const char key[], bool first, struct span words)
{
    int length = snprintf(out, size, "key=%s %s%.*s", key, first ? "header " : "", SPAN_ARG(words));
    return length > 0 && (size_t)length < size;
}

bool record_add(struct span numbers, uint64_t *written, uint64_t *lost, uint64_t *left_out)
{
    uint64_t *const sums[] = {written, lost, left_out};
    for (size_t i = 0; i < COUNT_OF(sums); i++) {
        struct span word;
        uint64_t number;
        if (!span_split(&numbers, ' ', &word) || !text_to_u64(word, &number))
            return false;
        *sums[i] += number;
    }
    return true;
}

void record_tell(struct buf *out, uint64_t written, uint32_t workers, uint64_t lost,
                 uint64_t left_out)
{
    buf_printf(out, "%" PRIu64 " requests of %" PRIu32 " workers are recorded\n", written, workers);
    if (lost > 0)
        buf_printf(out, "%" PRIu64 " are lost: the file took them too slowly or not at all\n",
                   lost);
    if (left_out > 0)
        buf_printf(out, "%" PRIu64 " were left out: too many at the same time, or after a reload\n",
                   left_out);
}

/* ---- the master's part */

static void finish(struct master *master, int code, struct span text)
{
    struct record *record = &master->record;
    record->active = false;
    explicit_bzero(record->words, sizeof(record->words));
    for (uint32_t i = 0; i < master->instance->workers; i++)
        master->seats[i].records = false;
    control_answer_all(master->control, EVENT_RECORD, code, text);
}

static bool is_over(const struct master *master)
{
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].records)
            return false;
    return true;
}

static void finish_if_over(struct master *master)
{
    const struct record *record = &master->record;
    AUTO_BUF text = BUF_INIT;
    if (!record->active || !is_over(master))
        return;
    record_tell(&text, record->written, record->workers, record->lost, record->left_out);
    if (record->gone > 0)
        buf_printf(&text,
                   "%" PRIu32 " of the workers ended meanwhile: what they recorded is in the file "
                   "and not counted\n",
                   record->gone);
    log_notice("a recording is over: %" PRIu64 " requests", record->written);
    finish(master, EXIT_FINE, buf_view(&text));
}

static bool tell_seat(struct seat *seat, struct span words)
{
    const struct master *master = seat->master;
    struct message message = {MESSAGE_RECORD, master->record.number, words, master->committed->fd};
    seat->records = crew_say(seat, &message);
    seat->master->record.told += seat->records;
    return seat->records;
}

/* As the first worker was told, but the file is there. */
static void tell_others(struct master *master)
{
    struct record *record = &master->record;
    struct span words = span_text(record->words), key;
    char text[RECORD_WORDS_MAX];
    (void)span_split(&words, ' ', &key);
    words = span_from(words, sizeof("header ") - 1);
    (void)snprintf(text, sizeof(text), "%.*s %.*s", SPAN_ARG(key), SPAN_ARG(words));
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (i != record->first && master->seats[i].state == SEAT_READY)
            (void)tell_seat(&master->seats[i], span_text(text));
    explicit_bzero(text, sizeof(text));
}

static struct seat *first_ready(const struct master *master)
{
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].state == SEAT_READY)
            return &master->seats[i];
    return NULL;
}

static const char *begin(struct master *master, struct span words, char *why, size_t why_size)
{
    struct record *record = &master->record;
    struct record_order order;
    char key[RECORD_KEY_TEXT];
    struct seat *seat = first_ready(master);
    if (master->starting || master->stop != STOP_NONE || seat == NULL)
        return "the gateway is starting or stopping";
    if (record->active)
        return "another recording is under way (weir record --stop ends it)";
    if (!record_order_read(words, &order, why, why_size))
        return why;
    *record = (struct record){.number = record->number + 1, .first = seat->index};
    record_key(key);
    bool fits = record_words(record->words, sizeof(record->words), key, true, words);
    explicit_bzero(key, sizeof(key));
    if (!fits)
        return "the order is too long";
    if (!tell_seat(seat, span_text(record->words)))
        return "a worker does not take the order";
    record->active = true;
    return NULL;
}

static void stop(struct master *master, struct control_client *client)
{
    if (!master->record.active) {
        control_answer(client, EXIT_FAILED, SPAN("nothing is recorded\n"));
        return;
    }
    control_wait(client, EVENT_RECORD);
    for (uint32_t i = 0; i < master->instance->workers; i++)
        if (master->seats[i].records)
            (void)crew_tell(&master->seats[i], MESSAGE_RECORD_END, master->record.number);
}

bool record_ask(struct master *master, struct control_client *client, struct span question)
{
    char why[256] = "";
    if (span_equal(question, SPAN("record stop"))) {
        stop(master, client);
        return true;
    }
    if (!span_starts_with(question, SPAN("record ")))
        return false;
    const char *refusal = begin(master, span_from(question, 7), why, sizeof(why));
    if (refusal == NULL) {
        control_wait(client, EVENT_RECORD);
    } else {
        AUTO_BUF text = BUF_INIT;
        buf_printf(&text, "%s\n", refusal);
        control_answer(client, EXIT_FAILED, buf_view(&text));
    }
    return true;
}

/* The last of them has said whether it does. */
static void tell_begun(const struct record *record)
{
    if (record->workers + record->refused == record->told)
        log_notice("%" PRIu32 " workers record requests", record->workers);
}

void record_on_began(struct seat *seat, uint64_t number, struct span why)
{
    struct master *master = seat->master;
    struct record *record = &master->record;
    if (!record->active || number != record->number || !seat->records)
        return;
    if (why.size == 0) {
        record->workers++;
        if (!record->begun && seat->index == record->first) {
            record->begun = true;
            tell_others(master);
        }
        tell_begun(record);
        return;
    }
    seat->records = false;
    log_warn("worker %" PRIu32 " does not record: %.*s", seat->index, SPAN_ARG(why));
    if (!record->begun) {
        AUTO_BUF text = BUF_INIT;
        buf_printf(&text, "%.*s\n", SPAN_ARG(why));
        finish(master, EXIT_FAILED, buf_view(&text));
    } else {
        record->refused++;
        tell_begun(record);
        finish_if_over(master);
    }
}

void record_on_ended(struct seat *seat, uint64_t number, struct span numbers)
{
    struct record *record = &seat->master->record;
    if (!record->active || number != record->number || !seat->records)
        return;
    seat->records = false;
    (void)record_add(numbers, &record->written, &record->lost, &record->left_out);
    finish_if_over(seat->master);
}

void record_on_death(struct seat *seat)
{
    struct master *master = seat->master;
    if (!master->record.active || !seat->records)
        return;
    seat->records = false;
    master->record.gone++;
    if (!master->record.begun)
        finish(master, EXIT_FAILED, SPAN("the worker that made the file has ended\n"));
    else
        finish_if_over(master);
}
