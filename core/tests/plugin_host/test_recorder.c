/* The lines of `weir record`: what is in them, and when there is none. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "plugin_host/phases.h"
#include "plugin_host/policies.h"
#include "plugin_host/recorder.h"
#include "plugin_host/redact.h"
#include "run_support.h"

static const unsigned char key[REDACT_KEY] = "0123456789abcdef0123456789abcdef";

struct sink {
    struct buf lines;
    int full;
    bool refuses;
};

static bool take_line(void *user, struct span line)
{
    struct sink *sink = user;
    if (sink->refuses)
        return false;
    buf_span(&sink->lines, line);
    buf_byte(&sink->lines, '\n');
    return true;
}

static void note_full(void *user)
{
    struct sink *sink = user;
    sink->full++;
}

struct stage {
    struct rig rig;
    struct policies policies;
    struct actor first, second;
    struct route route;
    struct sink sink;
    struct recorder *recorder;
};

/* Two policies, a request of configuration 7. */
static void open_stage(struct stage *stage, struct recorder_options options)
{
    *stage = (struct stage){.policies = {.number = 7},
                            .first = {.name = "first"},
                            .second = {.name = "second"},
                            .route = {.name = {"orders", 6}}};
    rig_open(&stage->rig);
    rig_add(&stage->rig, &stage->first);
    rig_add(&stage->rig, &stage->second);
    rig_begin(&stage->rig);
    options.redaction = redaction_create(key);
    options.configuration = 7;
    options.bytes_max = options.bytes_max == 0 ? 1 << 20 : options.bytes_max;
    options.write = take_line;
    options.full = note_full;
    options.user = &stage->sink;
    stage->recorder = recorder_create(stage->rig.host, &options);
    cr_assert_not_null(stage->recorder);

    weir_request *request = &stage->rig.request;
    request->policies = &stage->policies;
    request->started_wall_ms = 1700000000000;
    memcpy(request->id, "0123456789abcdef0123456789abcdef", 32);
    request->head.method = SPAN("POST");
    request->scheme = SPAN("http");
    request->port = 8000;
    request->path = SPAN("/orders");
    request->route = &stage->route;
}

static void close_stage(struct stage *stage)
{
    recorder_destroy(stage->recorder);
    rig_close(&stage->rig);
    buf_free(&stage->sink.lines);
}

static void add(struct http_headers *headers, const char *name, const char *value)
{
    cr_assert_eq(http_headers_add(headers, HTTP_HEADER_UNKNOWN, span_text(name), span_text(value)),
                 WEIR_OK);
}

/* From its head to its end; `body` is what the client sends. */
static void run(struct stage *stage, const char *body)
{
    weir_request *request = &stage->rig.request;
    size_t size = strlen(body);
    recorder_begin(request);
    if (request->recording == NULL)
        return;
    recorder_request(request);
    (void)phase_run(request, PHASE_ACCESS);
    recorder_body(request, RECORDED_UP, 0, span_of(body, size / 2));
    recorder_body(request, RECORDED_UP, 0, span_of(body, size / 2)); /* another try */
    recorder_body(request, RECORDED_UP, size / 2, span_of(body + size / 2, size - size / 2));
    request->response.status = 200;
    request->has_response = request->from_target = true;
    (void)request_response_started(request);
    recorder_body(request, RECORDED_DOWN, 0, SPAN("hello"));
    (void)phase_run(request, PHASE_LOG);
    request->finished_us = 1;
    request_end(request);
}

Test(recorder, a_line_says_what_policies_saw_and_did)
{
    struct stage stage;
    open_stage(&stage,
               (struct recorder_options){.count_max = 9, .body_bytes = 100, .bodies = true});
    weir_request *request = &stage.rig.request;
    add(&request->head.headers, "Content-Type", "application/json");
    add(&request->head.headers, "X-Trace", "a");
    run(&stage, "{\"a\": 1}");
    expect_text("a whole line", buf_view(&stage.sink.lines),
                "{\"number\": 1, \"worker\": 0, \"time\": 1700000000000, \"id\": "
                "\"0123456789abcdef0123456789abcdef\", \"request\": {\"method\": \"POST\", "
                "\"scheme\": \"http\", \"port\": 8000, \"path\": \"/orders\", \"headers\": "
                "[[\"Content-Type\", \"application/json\"], [\"X-Trace\", \"a\"]], \"body\": "
                "{\"size\": 8, \"text\": \"{\\\"a\\\": 1}\"}}, \"route\": \"orders\", \"builds\": "
                "{}, \"verdicts\": [\"access first NEXT\", \"access second NEXT\", \"log first\", "
                "\"log second\"], \"log\": [], \"target\": {\"status\": 200, \"ms\": 0, "
                "\"headers\": [], \"body\": {\"size\": 5}}, \"answer\": {\"status\": 200, "
                "\"headers\": [], \"body\": {\"size\": 5}}}\n");
    close_stage(&stage);
}

Test(recorder, what_is_recorded_and_when_it_ends)
{
    static const struct {
        const char *why;
        struct recorder_options options;
        uint64_t number; /* of the request's configuration */
        uint64_t written, left_out;
        int full;
    } rows[] = {
        {"nothing in its way", {.count_max = 9}, 7, 1, 0, 0},
        {"the last one", {.count_max = 1}, 7, 1, 0, 1},
        {"too many bytes", {.count_max = 9, .bytes_max = 10}, 7, 1, 0, 1},
        {"its route", {.count_max = 9, .route = {"orders", 6}}, 7, 1, 0, 0},
        {"another route", {.count_max = 9, .route = {"order", 5}}, 7, 0, 0, 0},
        {"a policy of its chain", {.count_max = 9, .plugin = {"second", 6}}, 7, 1, 0, 0},
        {"none of its chain", {.count_max = 9, .plugin = {"third", 5}}, 7, 0, 0, 0},
        {"another configuration than the file's", {.count_max = 9}, 8, 0, 1, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct stage stage;
        open_stage(&stage, rows[i].options);
        stage.policies.number = rows[i].number;
        run(&stage, "");
        struct recorder_numbers numbers = recorder_numbers(stage.recorder);
        cr_expect_eq(numbers.written, rows[i].written, "%s", rows[i].why);
        cr_expect_eq(numbers.left_out, rows[i].left_out, "%s", rows[i].why);
        cr_expect_eq(stage.sink.full, rows[i].full, "%s", rows[i].why);
        cr_expect_eq(stage.sink.lines.size > 0, rows[i].written > 0, "%s", rows[i].why);
        close_stage(&stage);
    }
}

Test(recorder, a_policy_that_waits_is_in_the_line_twice)
{
    struct stage stage;
    open_stage(&stage, (struct recorder_options){.count_max = 9});
    weir_request *request = &stage.rig.request;
    stage.first.waits = 1;
    stage.second.verdict = WEIR_DONE; /* without an answer */
    recorder_begin(request);
    recorder_request(request);
    cr_assert_eq(phase_run(request, PHASE_ACCESS), PHASE_WAIT);
    cr_assert_eq(call_wake(stage.rig.table, stage.first.token), WEIR_SUCCESS);
    rig_settle(&stage.rig);
    request->finished_us = 1;
    request_end(request);
    struct span line = buf_view(&stage.sink.lines);
    struct span want = SPAN("\"verdicts\": [\"access first WAIT\", \"access first woken NEXT\", "
                            "\"access second FAIL (DONE without an answer)\"]");
    cr_expect(span_search(line, want) < line.size, "%.*s", SPAN_ARG(line));
    close_stage(&stage);
}

Test(recorder, what_cannot_be_written_is_lost_and_counts)
{
    struct stage stage;
    open_stage(&stage, (struct recorder_options){.count_max = 1});
    stage.sink.refuses = true;
    run(&stage, "");
    struct recorder_numbers numbers = recorder_numbers(stage.recorder);
    cr_expect_eq(numbers.written, 0U);
    cr_expect_eq(numbers.lost, 1U);
    cr_expect_eq(stage.sink.full, 1, "a file that takes nothing is no reason to go on for ever");
    close_stage(&stage);
}

Test(recorder, the_end_of_the_recorder_lets_requests_go_on)
{
    struct stage stage;
    open_stage(&stage, (struct recorder_options){.count_max = 9});
    weir_request *request = &stage.rig.request;
    recorder_begin(request);
    recorder_request(request);
    recorder_destroy(TAKE(stage.recorder));
    cr_expect_null(request->recording);
    cr_expect_eq(phase_run(request, PHASE_ACCESS), PHASE_NEXT);
    close_stage(&stage);
}

Test(recorder, secrets_are_taken_out_of_every_place)
{
    struct stage stage;
    open_stage(&stage,
               (struct recorder_options){.count_max = 9, .body_bytes = 1000, .bodies = true});
    weir_request *request = &stage.rig.request;
    add(&request->head.headers, "X-Before", "says secret-of-ann");
    add(&request->head.headers, "apikey", "secret-of-ann");
    add(&request->head.headers, "Content-Type", "application/x-www-form-urlencoded");
    request->path = SPAN("/of/secret-of-ann");
    request->query = SPAN("token=secret-of-bob&x=secret-of-ann");
    request->client_ip = SPAN("192.0.2.7");
    add(&request->response.headers, "X-Echo", "secret-of-bob");
    run(&stage, "password=secret-of-eve&note=secret-of-eve");
    static const char *const secrets[] = {"secret-of-ann", "secret-of-bob", "secret-of-eve",
                                          "192.0.2.7"};
    struct span line = buf_view(&stage.sink.lines);
    for (size_t i = 0; i < COUNT_OF(secrets); i++)
        cr_expect_eq(span_search(line, span_text(secrets[i])), line.size, "%s is in %.*s",
                     secrets[i], SPAN_ARG(line));
    close_stage(&stage);
}
