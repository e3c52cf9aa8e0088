/* What is kept of a request while it runs, raw and in memory. Only what recorder_line.c makes of it
 * at the end, with secrets taken out, leaves the process. */
#include "plugin_host/recorder.h"

#include <stdlib.h>

#include "plugin_host/phases.h"
#include "plugin_host/recorder_internal.h"

struct recorder *recorder_create(struct plugin_host *host, const struct recorder_options *options)
{
    struct recorder *recorder = calloc(1, sizeof(*recorder));
    struct arena *texts = arena_create(NULL);
    if (recorder == NULL || texts == NULL) {
        free(recorder);
        arena_destroy(texts);
        redaction_destroy(options->redaction);
        return NULL;
    }
    recorder->host = host;
    recorder->options = *options;
    recorder->texts = texts;
    recorder->options.plugin = arena_copy(texts, options->plugin);
    recorder->options.route = arena_copy(texts, options->route);
    list_init(&recorder->recordings);
    host->recorder = recorder;
    return recorder;
}

static void recording_free(struct recording *recording)
{
    list_remove(&recording->link);
    recording->recorder->count--;
    for (int i = 0; i < RECORDED_FIELDS; i++)
        buf_free(&recording->fields[i]);
    for (int i = 0; i < RECORDED_TEXTS; i++)
        buf_free(&recording->texts[i]);
    for (int i = 0; i < RECORDED_BODIES; i++)
        buf_free(&recording->bodies[i].bytes);
    free(recording);
}

void recorder_destroy(struct recorder *recorder)
{
    if (recorder == NULL)
        return;
    if (recorder->host->recorder == recorder)
        recorder->host->recorder = NULL;
    LIST_FOREACH (node, &recorder->recordings) {
        struct recording *recording = LIST_ENTRY(node, struct recording, link);
        recording->request->recording = NULL;
        recording_free(recording);
    }
    redaction_destroy(recorder->options.redaction);
    arena_destroy(recorder->texts);
    free(recorder);
}

struct recorder_numbers recorder_numbers(const struct recorder *recorder)
{
    return recorder->numbers;
}

/* ---- of one request */

void recorder_begin(struct weir_request *request)
{
    struct recorder *recorder = request->host->recorder;
    struct recording *recording =
        recorder->count < RECORDINGS_MAX ? calloc(1, sizeof(*recording)) : NULL;
    if (recording == NULL) {
        recorder->numbers.left_out++;
        return;
    }
    recording->recorder = recorder;
    recording->request = request;
    recording->left_out = policies_number(request->policies) != recorder->options.configuration;
    for (int i = 0; i < RECORDED_FIELDS; i++)
        recording->fields[i].limit = RECORD_PART_MAX;
    for (int i = 0; i < RECORDED_TEXTS; i++)
        recording->texts[i].limit = RECORD_PART_MAX;
    list_push_back(&recorder->recordings, &recording->link);
    recorder->count++;
    request->recording = recording;
    request->timed = true; /* hooks are looked at */
}

/* Copies: the buffers they lie in may be used again before the end. */
static void keep_fields(struct buf *out, const struct http_headers *headers)
{
    out->size = 0;
    for (size_t i = 0; i < headers->count; i++) {
        struct span name = headers->items[i].name, value = headers->items[i].value;
        uint32_t sizes[2] = {(uint32_t)name.size, (uint32_t)value.size};
        buf_append(out, sizes, sizeof(sizes));
        buf_span(out, name);
        buf_span(out, value);
    }
}

static enum body_kind kind_of(const struct http_headers *headers)
{
    struct span type = http_headers_get(headers, HTTP_HEADER_CONTENT_TYPE);
    if (http_headers_first(headers, HTTP_HEADER_CONTENT_ENCODING) != NULL)
        return BODY_OTHER;
    type = span_trim(span_first(type, span_find(type, ';')));
    if (span_equal_nocase(type, SPAN("application/json")) || span_ends_with(type, SPAN("+json")))
        return BODY_JSON;
    return span_equal_nocase(type, SPAN("application/x-www-form-urlencoded")) ? BODY_FORM
                                                                              : BODY_OTHER;
}

static void keep_text(struct recording *recording, enum recorded_text which, struct span text)
{
    struct buf *out = &recording->texts[which];
    out->size = 0;
    buf_span(out, text);
}

void recorder_request(struct weir_request *request)
{
    struct recording *recording = request->recording;
    keep_fields(&recording->fields[FIELDS_REQUEST], &request->head.headers);
    keep_text(recording, TEXT_PATH, request->path);
    keep_text(recording, TEXT_QUERY, request->query);
    recording->has_query = span_is_set(request->query);
    recording->kinds[RECORDED_UP] = kind_of(&request->head.headers);
    recording->begun = true;
}

void recorder_body(struct weir_request *request, enum recorded_body which, uint64_t offset,
                   struct span bytes)
{
    struct recording *recording = request->recording;
    struct recorded *body = &recording->bodies[which];
    const struct recorder_options *options = &recording->recorder->options;
    if (which == RECORDED_DOWN && offset == 0 && bytes.size > 0 && body->size > 0) {
        body->size = 0; /* an answer of our own in place of one that was begun */
        body->bytes.size = 0;
    }
    if (which == RECORDED_HOOKED)
        offset = body->size;
    if (offset != body->size)
        return;
    body->size += bytes.size;
    if (options->bodies && body->bytes.size < options->body_bytes)
        buf_span(&body->bytes, span_first(bytes, options->body_bytes - body->bytes.size));
}

void recorder_response(struct weir_request *request)
{
    struct recording *recording = request->recording;
    if (!request->from_target)
        return;
    keep_fields(&recording->fields[FIELDS_TARGET], &request->response.headers);
    recording->kinds[RECORDED_DOWN] = kind_of(&request->response.headers);
    recording->target_status = request->response.status;
}

/* ---- verdicts, in the words of the test kit: kit_trace() */

static void put_hook(struct buf *out, const struct walk *walk)
{
    const struct policy *policy = walk->entry->policy->policy;
    buf_printf(out, "%s %.*s", phase_name(walk->phase), SPAN_ARG(policy->name));
    if (span_is_set(policy->instance_name))
        buf_printf(out, "/%.*s", SPAN_ARG(policy->instance_name));
}

void recorder_verdict(struct weir_request *request, const struct walk *walk,
                      const struct recorded_piece *piece, const char *woken, weir_verdict verdict)
{
    struct buf *out = &request->recording->texts[TEXT_VERDICTS];
    put_hook(out, walk);
    if (piece != NULL)
        buf_printf(out, " %zu%s", piece->size, piece->last ? " last" : "");
    if (woken != NULL)
        buf_printf(out, " %s", woken);
    buf_printf(out, " %s\n", verdict_word(request, walk, verdict));
}

void recorder_log_hook(struct weir_request *request, const struct walk *walk)
{
    struct buf *out = &request->recording->texts[TEXT_VERDICTS];
    put_hook(out, walk);
    buf_byte(out, '\n');
}

void recorder_log(struct weir_request *request, const char *plugin, uint32_t level,
                  const char *text)
{
    static const char *const names[] = {"debug", "info", "notice", "warn", "error"};
    struct buf *out = &request->recording->texts[TEXT_LOG];
    buf_printf(out, "%s: plugin %s: ", level < COUNT_OF(names) ? names[level] : "?", plugin);
    for (; *text != '\0'; text++)
        buf_byte(out, *text == '\n' ? ' ' : *text);
    buf_byte(out, '\n');
}

/* ---- the end */

static bool has_plugin(const struct weir_request *request, struct span name)
{
    for (uint16_t i = 0; request->set != NULL && i < request->set->member_count; i++)
        if (span_equal(request->set->members[i]->policy->name, name))
            return true;
    return false;
}

static bool is_wanted(const struct weir_request *request, const struct recorder_options *options)
{
    if (span_is_set(options->route) &&
        (request->route == NULL || (!span_equal(request->route->name, options->route) &&
                                    !span_equal(request->route->id, options->route))))
        return false;
    return !span_is_set(options->plugin) || has_plugin(request, options->plugin);
}

static bool write_line(struct recorder *recorder, struct recording *recording)
{
    AUTO_BUF line = BUF_INIT;
    struct weir_request *request = recording->request;
    keep_fields(&recording->fields[FIELDS_ANSWER], &request->response.headers);
    keep_fields(&recording->fields[FIELDS_SENT], &request->head.headers);
    recording->kinds[RECORDED_HOOKED] = kind_of(&request->response.headers);
    if (!request->from_target) /* weir's own */
        recording->kinds[RECORDED_DOWN] = recording->kinds[RECORDED_HOOKED];
    recorder_line(recording, recorder->numbers.written + 1, &line);
    if (line.failed || !recorder->options.write(recorder->options.user, buf_view(&line)))
        return false;
    recorder->numbers.bytes += line.size + 1;
    return true;
}

void recorder_end(struct weir_request *request)
{
    struct recording *recording = TAKE(request->recording);
    struct recorder *recorder = recording->recorder;
    const struct recorder_options *options = &recorder->options;
    bool ended = recorder->host->recorder != recorder; /* it was full before */
    if (!ended && recording->begun && request->finished_us != 0 && is_wanted(request, options)) {
        if (recording->left_out)
            recorder->numbers.left_out++;
        else if (write_line(recorder, recording))
            recorder->numbers.written++;
        else
            recorder->numbers.lost++;
    }
    recording_free(recording);
    if (!ended && (recorder->numbers.written + recorder->numbers.lost >= options->count_max ||
                   recorder->numbers.bytes >= options->bytes_max)) {
        recorder->host->recorder = NULL;
        options->full(options->user);
    }
}
