/* Who runs, in which order, and what each verdict means in each phase. */
#include <criterion/criterion.h>

#include "run_support.h"

TestSuite(run_verdicts, .timeout = 60);

#define BEFORE_RESPONSE (1U << PHASE_REWRITE | 1U << PHASE_ACCESS | 1U << PHASE_UPSTREAM)
#define RESPONSE (1U << PHASE_RESPONSE_HEADERS)
#define ANY (BEFORE_RESPONSE | RESPONSE)

struct row {
    const char *why;
    unsigned phases;
    weir_verdict verdict; /* of the second of three */
    uint32_t status;
    bool fails_open;
    enum phase_result want;
    const char *ran;
    uint64_t fails;
    uint16_t reply;
};

static const struct row rows[] = {
    {"NEXT: everybody runs, in order", ANY, WEIR_NEXT, 0, false, PHASE_NEXT, "a b c", 0, 0},
    {"DONE with an answer ends the phase at once", BEFORE_RESPONSE, WEIR_DONE, 403, false,
     PHASE_DONE, "a b", 0, 403},
    {"DONE in response_headers: the later ones see the answer as the response", RESPONSE, WEIR_DONE,
     403, false, PHASE_DONE, "a b c", 0, 403},
    {"DONE without an answer is a failure", ANY, WEIR_DONE, 0, false, PHASE_FAILED, "a b", 1, 0},
    {"... which on_error: open lets pass", ANY, WEIR_DONE, 0, true, PHASE_NEXT, "a b c", 1, 0},
    {"WAIT without a park is a failure: nobody could wake it", ANY, WEIR_WAIT, 0, false,
     PHASE_FAILED, "a b", 1, 0},
    {"... open", ANY, WEIR_WAIT, 0, true, PHASE_NEXT, "a b c", 1, 0},
    {"FAIL, closed", ANY, WEIR_FAIL, 0, false, PHASE_FAILED, "a b", 1, 0},
    {"FAIL, open", ANY, WEIR_FAIL, 0, true, PHASE_NEXT, "a b c", 1, 0},
    {"FAIL takes an answer back", ANY, WEIR_FAIL, 403, true, PHASE_NEXT, "a b c", 1, 0},
    {"NEXT takes an answer back", ANY, WEIR_NEXT, 403, false, PHASE_NEXT, "a b c", 0, 0},
    {"an unknown verdict is a failure", ANY, 4, 0, false, PHASE_FAILED, "a b", 1, 0},
    {"so is a huge one", ANY, UINT32_MAX, 0, false, PHASE_FAILED, "a b", 1, 0},
    {"... open", ANY, UINT32_MAX, 0, true, PHASE_NEXT, "a b c", 1, 0},
};

static void check(const struct row *row, enum phase phase)
{
    struct rig rig;
    struct actor a = {.name = "a"}, c = {.name = "c"};
    struct actor b = {
        .name = "b", .verdict = row->verdict, .status = row->status, .fails_open = row->fails_open};
    rig_open(&rig);
    rig_add(&rig, &a);
    rig_add(&rig, &b);
    rig_add(&rig, &c);
    rig_begin(&rig);
    if (phase == PHASE_RESPONSE_HEADERS) {
        rig.request.has_response = rig.request.from_target = true;
        rig.request.response.status = 200;
    }
    cr_expect_eq(phase_run(&rig.request, phase), row->want, "%s, %s", row->why, phase_name(phase));
    expect_text(row->why, span_text(rig.trace), row->ran);
    cr_expect_eq(b.row.phases[phase].verdicts[BUILD_FAIL], row->fails, "%s, %s", row->why,
                 phase_name(phase));
    cr_expect_eq(build_verdicts(&b.row, BUILD_FAIL), row->fails, "%s: in its own phase", row->why);
    cr_expect_eq(build_verdicts(&b.row, BUILD_DONE), row->reply != 0 ? 1U : 0U, "%s", row->why);
    cr_expect_eq(build_calls(&b.row), 1U, "%s", row->why);
    cr_expect_eq(rig.request.reply.status, row->reply, "%s, %s", row->why, phase_name(phase));
    cr_expect_eq(rig.request.reply.by_policy, row->reply != 0, "%s", row->why);
    if (phase == PHASE_RESPONSE_HEADERS) {
        cr_expect_eq(rig.request.response.status, row->reply != 0 ? row->reply : 200, "%s",
                     row->why);
        cr_expect_eq(rig.request.from_target, row->reply == 0, "%s", row->why);
    }
    cr_expect_eq(rig.resumes, 0, "%s: nothing waited", row->why);
    rig_close(&rig);
}

Test(run_verdicts, each_in_each_phase)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            if ((rows[i].phases & 1U << phase) != 0)
                check(&rows[i], (enum phase)phase);
}

Test(run_verdicts, an_empty_phase_is_next)
{
    struct rig rig;
    rig_open(&rig);
    rig_begin(&rig);
    cr_expect(phase_is_empty(&rig.request, PHASE_ACCESS));
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_NEXT);
    cr_expect_eq(arena_used(rig.arena), 0U, "and allocates nothing");
    rig_close(&rig);
}

Test(run_verdicts, log_runs_all_and_cannot_wait)
{
    struct rig rig;
    struct actor a = {.name = "a", .waits = 1}, b = {.name = "b"};
    rig_open(&rig);
    rig_add(&rig, &a);
    rig_add(&rig, &b);
    rig_begin(&rig);
    cr_expect_eq(phase_run(&rig.request, PHASE_LOG), PHASE_NEXT);
    expect_text("both", span_text(rig.trace), "a b");
    rig_close(&rig);
}

static weir_verdict look_at_blame(weir_request *request, struct actor *actor)
{
    (void)request;
    const struct worker_slot *slot = shared_worker(actor->rig->shared, 0);
    cr_expect_eq(slot->policy_plus_one, actor->running.index + 1);
    cr_expect_eq(slot->phase, (uint32_t)PHASE_ACCESS);
    return WEIR_NEXT;
}

Test(run_verdicts, blame_is_laid_while_a_hook_runs_and_no_longer)
{
    struct rig rig;
    struct actor a = {.name = "a", .act = look_at_blame}, b = {.name = "b", .act = look_at_blame};
    rig_open(&rig);
    rig_add(&rig, &a);
    rig_add(&rig, &b);
    rig_begin(&rig);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_NEXT);
    cr_expect_eq(shared_worker(rig.shared, 0)->policy_plus_one, 0U);
    rig_close(&rig);
}

static weir_verdict answer_with_type(weir_request *request, struct actor *actor)
{
    (void)actor;
    cr_expect_eq(call_respond(request, 503, WEIR_LIT("text/css"), WEIR_LIT("x")), WEIR_SUCCESS);
    cr_expect_eq(call_header_set(request, WEIR_SIDE_RESPONSE, HTTP_HEADER_ETAG, WEIR_LIT("new")),
                 WEIR_SUCCESS);
    return WEIR_DONE;
}

Test(run_verdicts, an_answer_replaces_what_described_the_old_body)
{
    struct rig rig;
    struct actor a = {.name = "a", .act = answer_with_type};
    rig_open(&rig);
    rig_add(&rig, &a);
    rig_begin(&rig);
    struct http_headers *headers = &rig.request.response.headers;
    rig.request.has_response = rig.request.from_target = true;
    static const enum http_header_id ids[] = {HTTP_HEADER_CONTENT_ENCODING, HTTP_HEADER_ETAG,
                                              HTTP_HEADER_VIA, HTTP_HEADER_CONTENT_LENGTH};
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        cr_assert_eq(http_headers_add(headers, ids[i], SPAN_NONE, SPAN("old")), WEIR_OK);
    cr_expect_eq(phase_run(&rig.request, PHASE_RESPONSE_HEADERS), PHASE_DONE);
    expect_text("gone", http_headers_get(headers, HTTP_HEADER_CONTENT_ENCODING), NULL);
    expect_text("gone", http_headers_get(headers, HTTP_HEADER_CONTENT_LENGTH), NULL);
    expect_text("not about the body", http_headers_get(headers, HTTP_HEADER_VIA), "old");
    expect_text("set after the answer", http_headers_get(headers, HTTP_HEADER_ETAG), "new");
    expect_text("its body", rig.request.reply.body, "x");
    expect_text("its type", rig.request.reply.content_type, "text/css");
    rig_close(&rig);
}
