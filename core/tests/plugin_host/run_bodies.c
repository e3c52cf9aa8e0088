/* Bodies through hooks: whatever the pieces and whoever waits, the bytes are the same afterwards.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdlib.h>

#include "run_support.h"

TestSuite(run_bodies, .timeout = 60);

static const char body_text[] = "The quick brown fox";

/* ---- hooks */

static uint32_t side_of(weir_request *request)
{
    return request->walks[TO_TARGET].running ? WEIR_SIDE_REQUEST : WEIR_SIDE_RESPONSE;
}

static weir_verdict wait_or_go_on(weir_request *request, struct actor *actor);

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)context, (void)why;
    struct actor *actor = self;
    actor->wakes++;
    if (actor->status == 1) /* emits what it kept when it is woken */
        cr_expect_eq(call_body_emit(request, side_of(request),
                                    (weir_str){actor->input.data, actor->input.size}),
                     WEIR_SUCCESS);
    return wait_or_go_on(request, actor);
}

static weir_verdict wait_or_go_on(weir_request *request, struct actor *actor)
{
    if (actor->waited++ >= actor->waits)
        return actor->verdict;
    actor->token = call_park(request, 0, on_wake);
    cr_expect_neq(actor->token, 0U);
    return WEIR_WAIT;
}

/* STREAM: every byte in upper case, and a "." at the end. */
static weir_verdict upper(weir_request *request, void *self, void *context, weir_str chunk,
                          bool last)
{
    (void)context;
    for (size_t i = 0; i < chunk.size; i++) {
        char byte = (char)toupper((unsigned char)chunk.data[i]);
        cr_expect_eq(call_body_emit(request, side_of(request), (weir_str){&byte, 1}), WEIR_SUCCESS);
    }
    if (last)
        cr_expect_eq(call_body_emit(request, side_of(request), WEIR_LIT(".")), WEIR_SUCCESS);
    struct actor *actor = self;
    actor->waited = 0;
    return wait_or_go_on(request, actor);
}

/* STREAM: every byte twice. */
static weir_verdict twice(weir_request *request, void *self, void *context, weir_str chunk,
                          bool last)
{
    (void)context, (void)last;
    for (size_t i = 0; i < chunk.size; i++)
        for (int times = 0; times < 2; times++)
            cr_expect_eq(call_body_emit(request, side_of(request), (weir_str){chunk.data + i, 1}),
                         WEIR_SUCCESS);
    struct actor *actor = self;
    actor->waited = 0;
    return wait_or_go_on(request, actor);
}

/* STREAM: keeps the chunk, emits it when it is woken. */
static weir_verdict later(weir_request *request, void *self, void *context, weir_str chunk,
                          bool last)
{
    (void)context, (void)last;
    struct actor *actor = self;
    actor->input.size = 0;
    buf_append(&actor->input, chunk.data, chunk.size);
    actor->status = 1;
    actor->waited = 0;
    return wait_or_go_on(request, actor);
}

/* BUFFER: the whole body backwards. */
static weir_verdict backwards(weir_request *request, void *self, void *context, weir_str chunk,
                              bool last)
{
    (void)context;
    struct actor *actor = self;
    char reversed[256];
    cr_expect(last, "a whole body is the last");
    cr_expect_eq(call_body_emit(request, side_of(request), chunk), WEIR_PHASE);
    weir_str whole = call_body_get(request, side_of(request));
    cr_expect(span_equal(rig_span(whole), rig_span(chunk)));
    for (size_t i = 0; i < whole.size; i++)
        reversed[i] = whole.data[whole.size - 1 - i];
    cr_expect_eq(call_body_replace(request, side_of(request), (weir_str){reversed, whole.size}),
                 WEIR_SUCCESS);
    actor->waited = 0;
    return wait_or_go_on(request, actor);
}

/* TEE: looks, and has no say. */
static weir_verdict look(weir_request *request, void *self, void *context, weir_str chunk,
                         bool last)
{
    (void)context;
    struct actor *actor = self;
    buf_append(&actor->input, chunk.data, chunk.size);
    if (last)
        buf_byte(&actor->input, '$');
    cr_expect_eq(call_park(request, 0, on_wake), 0U, "a copy never delays");
    cr_expect_eq(call_body_emit(request, side_of(request), WEIR_LIT("!")), WEIR_PHASE);
    return WEIR_NEXT;
}

/* ---- the pipeline */

struct row {
    const char *why;
    weir_body_hook *hooks[4];
    uint32_t needs[4];
    const char *want;
    const char *seen; /* by the TEE stage */
};

#define STREAM WEIR_BODY_STREAM
#define BUFFER WEIR_BODY_BUFFER
#define TEE WEIR_BODY_TEE

static const struct row rows[] = {
    {"one stream", {upper}, {STREAM}, "THE QUICK BROWN FOX.", NULL},
    {"one whole", {backwards}, {BUFFER}, "xof nworb kciuq ehT", NULL},
    {"one copy", {look}, {TEE}, "The quick brown fox", "The quick brown fox$"},
    {"two streams: the second sees what the first made",
     {upper, twice},
     {STREAM, STREAM},
     "TTHHEE  QQUUIICCKK  BBRROOWWNN  FFOOXX..",
     NULL},
    {"a copy between streams",
     {twice, look, upper},
     {STREAM, TEE, STREAM},
     "TTHHEE  QQUUIICCKK  BBRROOWWNN  FFOOXX.",
     "TThhee  qquuiicckk  bbrroowwnn  ffooxx$"},
    {"a whole between streams",
     {upper, backwards, twice},
     {STREAM, BUFFER, STREAM},
     "..XXOOFF  NNWWOORRBB  KKCCIIUUQQ  EEHHTT",
     NULL},
    {"two wholes and a copy",
     {backwards, look, backwards},
     {BUFFER, TEE, BUFFER},
     "The quick brown fox",
     "xof nworb kciuq ehT$"},
    {"four streams",
     {upper, later, twice, later},
     {STREAM, STREAM, STREAM, STREAM},
     "TTHHEE  QQUUIICCKK  BBRROOWWNN  FFOOXX..",
     NULL},
    {"a whole first, a copy last",
     {backwards, upper, look},
     {BUFFER, STREAM, TEE},
     "XOF NWORB KCIUQ EHT.",
     "XOF NWORB KCIUQ EHT.$"},
    {"who needs nothing sees nothing",
     {upper, look, later},
     {STREAM, WEIR_BODY_NONE, STREAM},
     "THE QUICK BROWN FOX.",
     ""},
};

/* Give one chunk, and wake whoever waits until it has come out. */
static void give(struct rig *rig, const struct row *row, enum direction direction,
                 struct span chunk, bool last, struct buf *got)
{
    enum weir_err err;
    rig->resumes = 0;
    enum phase_result result = phase_body(&rig->request, direction, chunk, last, got, &err);
    for (int guard = 0; result == PHASE_WAIT && rig->resumes == 0; guard++) {
        cr_assert_lt(guard, 100, "%s", row->why);
        for (uint16_t i = 0; i < rig->count; i++)
            (void)call_wake(rig->table, rig->actors[i]->token);
        rig_settle(rig);
    }
    if (result == PHASE_WAIT) {
        cr_expect_eq(rig->resumed_direction, direction, "%s", row->why);
        result = rig->resumed;
        buf_span(got, request_body_output(&rig->request, direction));
    }
    cr_assert_eq(result, PHASE_NEXT, "%s", row->why);
    cr_assert_eq(err, WEIR_OK);
}

static uint32_t waits_of(const struct row *row, size_t stage, uint32_t waits)
{
    if (row->hooks[stage] == later)
        return 1;
    return row->needs[stage] == TEE ? 0 : waits;
}

/* `waits`: how often every stage that may does so at each call. `trailing`: the end comes alone. */
static void check(const struct row *row, enum direction direction, size_t piece, uint32_t waits,
                  bool trailing)
{
    struct rig rig;
    struct actor actors[4];
    rig_open(&rig);
    size_t count = 0;
    for (; count < 4 && row->hooks[count] != NULL; count++) {
        actors[count] = (struct actor){.name = "stage",
                                       .body = row->hooks[count],
                                       .body_need = row->needs[count],
                                       .waits = waits_of(row, count, waits)};
        rig_add(&rig, &actors[count]);
    }
    rig_begin(&rig);
    AUTO_BUF got = BUF_INIT;
    struct span rest = span_text(body_text);
    while (rest.size > 0) {
        /* A copy of its own for each chunk: keeping a pointer into it is found. */
        size_t size = piece < rest.size ? piece : rest.size;
        char *chunk = malloc(size);
        cr_assert_not_null(chunk);
        memcpy(chunk, rest.data, size);
        rest = span_from(rest, size);
        give(&rig, row, direction, span_of(chunk, size), rest.size == 0 && !trailing, &got);
        free(chunk);
    }
    cr_expect_eq(request_body_ended(&rig.request, direction), !trailing, "%s", row->why);
    if (trailing)
        give(&rig, row, direction, SPAN_NONE, true, &got);
    cr_expect(request_body_ended(&rig.request, direction), "%s", row->why);
    cr_expect(span_equal(buf_view(&got), span_text(row->want)),
              "%s (pieces of %zu, %u waits%s): have '%.*s', want '%s'", row->why, piece, waits,
              trailing ? ", trailing" : "", SPAN_ARG(buf_view(&got)), row->want);
    for (size_t i = 0; i < count; i++)
        if (row->hooks[i] == look)
            cr_expect(span_equal(buf_view(&actors[i].input), span_text(row->seen)),
                      "%s: seen '%.*s'", row->why, SPAN_ARG(buf_view(&actors[i].input)));
    rig_close(&rig);
}

Test(run_bodies, every_split_and_every_wait)
{
    static const size_t pieces[] = {1, 3, sizeof(body_text) - 1};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (size_t p = 0; p < COUNT_OF(pieces); p++)
            for (uint32_t waits = 0; waits <= 2; waits++)
                for (int direction = 0; direction < DIRECTIONS; direction++)
                    for (int trailing = 0; trailing < 2; trailing++)
                        check(&rows[i], (enum direction)direction, pieces[p], waits, trailing != 0);
}

Test(run_bodies, an_empty_body_is_still_a_body)
{
    static const struct {
        const char *why;
        weir_body_hook *hook;
        uint32_t need;
        const char *want;
    } empty[] = {
        {"stream", upper, STREAM, "."}, {"whole", backwards, BUFFER, ""}, {"copy", look, TEE, ""}};
    for (size_t i = 0; i < COUNT_OF(empty); i++) {
        struct rig rig;
        struct actor actor = {.name = "a", .body = empty[i].hook, .body_need = empty[i].need};
        AUTO_BUF got = BUF_INIT;
        enum weir_err err;
        rig_open(&rig);
        rig_add(&rig, &actor);
        rig_begin(&rig);
        cr_expect_eq(phase_body(&rig.request, TO_CLIENT, SPAN_NONE, true, &got, &err), PHASE_NEXT);
        cr_expect_eq(build_calls(&actor.row), 1U, "%s", empty[i].why);
        cr_expect(span_equal(buf_view(&got), span_text(empty[i].want)), "%s", empty[i].why);
        rig_close(&rig);
    }
}

/* ---- failures */

/* STREAM: emits a bit of nonsense, then fails at the second chunk. */
static weir_verdict breaks(weir_request *request, void *self, void *context, weir_str chunk,
                           bool last)
{
    (void)context, (void)last;
    struct actor *actor = self;
    bool broken = build_verdicts(&actor->row, BUILD_NEXT) == 1; /* its second call */
    cr_expect_eq(call_body_emit(request, side_of(request), broken ? WEIR_LIT("?") : chunk),
                 WEIR_SUCCESS);
    actor->verdict = broken ? WEIR_FAIL : WEIR_NEXT;
    actor->waited = 0;
    return wait_or_go_on(request, actor);
}

Test(run_bodies, a_stage_that_fails)
{
    for (int open = 0; open < 2; open++)
        for (uint32_t waits = 0; waits < 2; waits++)
            for (int place = 0; place < 4; place++) {
                struct rig rig;
                struct actor actors[4];
                AUTO_BUF got = BUF_INIT;
                enum weir_err err;
                rig_open(&rig);
                for (int i = 0; i < 4; i++) {
                    actors[i] = (struct actor){.name = "s",
                                               .body_need = STREAM,
                                               .waits = i == place ? waits : 0,
                                               .fails_open = open != 0,
                                               .body = i == place ? breaks : twice};
                    rig_add(&rig, &actors[i]);
                }
                rig_begin(&rig);
                enum phase_result result = PHASE_NEXT;
                for (int chunk = 0; chunk < 3 && result == PHASE_NEXT; chunk++) {
                    static const char letters[] = "abcdef";
                    char pair[2];
                    memcpy(pair, letters + (size_t)chunk * 2, sizeof(pair));
                    rig.resumes = 0;
                    result = phase_body(&rig.request, TO_TARGET, span_of(pair, sizeof(pair)),
                                        chunk == 2, &got, &err);
                    memset(pair, '#', sizeof(pair)); /* the chunk is gone when the call is over */
                    if (result == PHASE_WAIT) {
                        cr_expect_eq(call_wake(rig.table, actors[place].token), WEIR_SUCCESS);
                        rig_settle(&rig);
                        result = rig.resumed;
                        buf_span(&got, request_body_output(&rig.request, TO_TARGET));
                    }
                }
                cr_expect_eq(result, open ? PHASE_NEXT : PHASE_FAILED);
                if (open)
                    expect_text("passed by, what it made of that chunk taken back", buf_view(&got),
                                "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff");
                cr_expect_eq(build_verdicts(&actors[place].row, BUILD_NEXT), 1U,
                             "not called again");
                cr_expect_eq(build_verdicts(&actors[place].row, BUILD_WAIT), 2U * waits);
                cr_expect_eq(build_verdicts(&actors[place].row, BUILD_FAIL), 1U);
                rig_close(&rig);
            }
}

Test(run_bodies, a_whole_body_is_bounded)
{
    struct rig rig;
    struct actor actor = {.name = "a", .body = backwards, .body_need = BUFFER};
    AUTO_BUF got = BUF_INIT;
    enum weir_err err;
    rig_open(&rig);
    rig_add(&rig, &actor);
    rig_begin(&rig);
    char *megabyte = calloc(1, 1 << 20);
    cr_assert_not_null(megabyte);
    struct span chunk = span_of(megabyte, 1 << 20);
    for (int i = 0; i < BODY_WHOLE_MAX >> 20; i++)
        cr_expect_eq(phase_body(&rig.request, TO_TARGET, chunk, false, &got, &err), PHASE_NEXT);
    cr_expect_eq(phase_body(&rig.request, TO_TARGET, span_of("x", 1), false, &got, &err),
                 PHASE_FAILED);
    cr_expect_eq(err, WEIR_ERR_BODY_TOO_LARGE);
    cr_expect_eq(got.size, 0U, "nothing of it was passed on");
    free(megabyte);
    rig_close(&rig);
}

static weir_verdict refuse(weir_request *request, void *self, void *context, weir_str chunk,
                           bool last)
{
    (void)self, (void)context, (void)chunk, (void)last;
    weir_status status = call_respond_error(request, 422, WEIR_LIT("no"));
    cr_expect_eq(status, request->walks[TO_TARGET].running ? WEIR_SUCCESS : WEIR_PHASE);
    return WEIR_DONE;
}

Test(run_bodies, answering_from_a_body_hook)
{
    for (int direction = 0; direction < DIRECTIONS; direction++) {
        struct rig rig;
        struct actor a = {.name = "a", .body = refuse, .body_need = STREAM};
        AUTO_BUF got = BUF_INIT;
        enum weir_err err;
        rig_open(&rig);
        rig_add(&rig, &a);
        rig_begin(&rig);
        rig.request.has_response = direction == TO_CLIENT;
        cr_expect_eq(
            phase_body(&rig.request, (enum direction)direction, SPAN("x"), true, &got, &err),
            direction == TO_TARGET ? PHASE_DONE : PHASE_FAILED,
            "a response whose head is sent cannot be answered again");
        cr_expect_eq(rig.request.reply.status, direction == TO_TARGET ? 422 : 0);
        rig_close(&rig);
    }
}

/* ---- body_read() */

static weir_verdict read_woken(weir_request *request, void *self, void *context, uint32_t why)
{
    (void)context;
    struct actor *actor = self;
    actor->wakes++;
    actor->why = why;
    weir_str body = call_body_get(request, WEIR_SIDE_REQUEST);
    cr_expect_eq(body.data != NULL, why == WEIR_WOKEN);
    buf_append(&actor->input, body.data, body.size);
    if (why == WEIR_WOKEN)
        cr_expect_eq(call_body_replace(request, WEIR_SIDE_REQUEST, WEIR_LIT("other")),
                     WEIR_SUCCESS);
    return WEIR_NEXT;
}

static weir_verdict reads(weir_request *request, struct actor *actor)
{
    cr_expect_eq(call_body_replace(request, WEIR_SIDE_REQUEST, WEIR_LIT("x")),
                 request->bodies[TO_TARGET].complete ? WEIR_SUCCESS : WEIR_PHASE);
    actor->status = call_body_read(request, actor->deadline_ms, read_woken);
    return actor->status == WEIR_SUCCESS ? WEIR_WAIT : WEIR_NEXT;
}

static void begin_reading(struct rig *rig, struct actor *a, struct actor *b)
{
    rig_open(rig);
    rig_add(rig, a);
    rig_add(rig, b);
    rig_begin(rig);
}

Test(run_bodies, read_once_for_all)
{
    struct rig rig;
    struct actor a = {.name = "a", .act = reads}, b = {.name = "b", .act = reads};
    begin_reading(&rig, &a, &b);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    cr_expect_eq(rig.body_reads, 1);
    request_body_ready(&rig.request, WEIR_OK, SPAN("body"));
    cr_expect_eq(a.wakes, 0U, "from the loop, not inside the call");
    rig_settle(&rig);
    cr_expect_eq(rig.resumed, PHASE_NEXT);
    cr_expect_eq(rig.body_reads, 1, "the second finds it there");
    expect_text("the first", buf_view(&a.input), "body");
    /* `reads` of b replaced it by "x" first. */
    expect_text("the second sees what became of it", buf_view(&b.input), "x");
    expect_text("the target too", rig.request.bodies[TO_TARGET].bytes, "other");
    cr_expect(rig.request.bodies[TO_TARGET].replaced);
    rig_close(&rig);
}

Test(run_bodies, no_body_wakes_too)
{
    struct rig rig;
    struct actor a = {.name = "a", .act = reads}, b = {.name = "b"};
    begin_reading(&rig, &a, &b);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    request_body_ready(&rig.request, WEIR_OK, SPAN_NONE);
    rig_settle(&rig);
    cr_expect_eq(a.wakes, 1U);
    cr_expect_eq(a.why, WEIR_WOKEN);
    rig_close(&rig);
}

Test(run_bodies, a_body_that_cannot_be_read)
{
    static const struct {
        const char *why;
        enum weir_err at_once, err;
        weir_status status;
        uint16_t reply;
    } failures[] = {
        {"above the cap", WEIR_OK, WEIR_ERR_LIMIT, WEIR_SUCCESS, 413},
        {"too slow", WEIR_OK, WEIR_ERR_TIMEOUT, WEIR_SUCCESS, 408},
        {"broken", WEIR_OK, WEIR_ERR_INVALID, WEIR_SUCCESS, 400},
        {"known to be above the cap", WEIR_ERR_LIMIT, WEIR_OK, WEIR_FULL, 0},
        {"not possible here", WEIR_ERR_INVALID, WEIR_OK, WEIR_INVALID, 0},
    };
    for (size_t i = 0; i < COUNT_OF(failures); i++) {
        struct rig rig;
        struct actor a = {.name = "a", .act = reads}, b = {.name = "b"};
        begin_reading(&rig, &a, &b);
        rig.body_read_error = failures[i].at_once;
        enum phase_result result = phase_run(&rig.request, PHASE_ACCESS);
        cr_expect_eq(a.status, failures[i].status, "%s", failures[i].why);
        if (result == PHASE_WAIT) {
            request_body_ready(&rig.request, failures[i].err, SPAN_NONE);
            rig_settle(&rig);
            cr_expect_eq(rig.resumed, PHASE_FAILED, "%s", failures[i].why);
        } else {
            cr_expect_eq(result, PHASE_NEXT, "the policy knows and goes on");
        }
        cr_expect_eq(a.wakes, 0U, "%s", failures[i].why);
        cr_expect_eq(rig.request.reply.status, failures[i].reply, "%s", failures[i].why);
        cr_expect_eq(rig.request.park_count, 0U);
        rig_close(&rig);
    }
}

Test(run_bodies, a_body_that_comes_after_the_deadline)
{
    struct rig rig;
    struct actor a = {.name = "a", .act = reads, .deadline_ms = 10};
    struct actor b = {.name = "b", .act = reads};
    begin_reading(&rig, &a, &b);
    cr_expect_eq(phase_run(&rig.request, PHASE_ACCESS), PHASE_WAIT);
    rig_advance(&rig, 10);
    cr_expect_eq(a.why, WEIR_DEADLINE);
    cr_expect_eq(rig.body_reads, 1, "the reading goes on, for the next one");
    request_body_ready(&rig.request, WEIR_OK, SPAN("late"));
    rig_settle(&rig);
    expect_text("the next one gets it", buf_view(&b.input), "late");
    cr_expect_eq(rig.resumed, PHASE_NEXT);
    rig_close(&rig);
}
