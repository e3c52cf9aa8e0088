/* Bodies in any pieces, slow ones, and such that never end. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "built.h"

#define SHOUT yaml_with("[{name: shout}]")

static const char long_text[] = "the quick brown fox jumps over the lazy dog, again and again and "
                                "again, until the evening comes";

Test(testkit_body, pieces_of_exactly_these_sizes)
{
    struct kit *kit = open_built(SHOUT);
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_body(r, "one two three");
    kit_target_response(r, 200, "hello world");
    kit_split_list(r, WEIR_SIDE_REQUEST, (const size_t[]){1, 2, 3}, 3);
    kit_split_list(r, WEIR_SIDE_RESPONSE, (const size_t[]){11}, 1);
    kit_last_full(r, WEIR_SIDE_RESPONSE);
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_trace(r), "request_body shout 1 NEXT\n"
                                   "request_body shout 2 NEXT\n"
                                   "request_body shout 3 NEXT\n"
                                   "request_body shout 7 NEXT\n"
                                   "request_body shout 0 last NEXT\n"
                                   "response_body shout 11 last NEXT\n");
    cr_expect_str_eq(kit_upstream_body(r), "ONE TWO THREE");
    kit_close(kit);
}

static char *trace_of_seed(struct kit *kit, uint64_t seed, char *out, size_t size)
{
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_body(r, long_text);
    kit_target_response(r, 200, long_text);
    kit_split_random(r, WEIR_SIDE_REQUEST, seed);
    kit_split_random(r, WEIR_SIDE_RESPONSE, seed + 1);
    cr_expect_eq(kit_run(r), 200);
    cr_expect_eq(kit_upstream_body_size(r), strlen(long_text));
    cr_expect_eq(kit_response_body_size(r), strlen(long_text));
    cr_expect_str_eq(kit_upstream_body(r), kit_response_body(r), "seed %d", (int)seed);
    (void)snprintf(out, size, "%s", kit_trace(r));
    return out;
}

Test(testkit_body, random_pieces_are_the_same_for_the_same_seed)
{
    char first[4096], again[4096];
    struct kit *kit = open_built(SHOUT);
    bool full = false, empty = false;
    for (uint64_t seed = 0; seed < 50; seed++) {
        (void)trace_of_seed(kit, seed, first, sizeof(first));
        cr_expect_str_eq(trace_of_seed(kit, seed, again, sizeof(again)), first);
        bool is_empty = strstr(first, "request_body shout 0 last") != NULL;
        empty = empty || is_empty;
        full = full || !is_empty;
        cr_expect_null(strstr(first, "shout 0 NEXT"), "only the last may be empty");
    }
    cr_expect(full && empty, "both kinds of ends come");
    kit_close(kit);
}

Test(testkit_body, pieces_come_slowly)
{
    struct kit *kit = open_built(SHOUT);
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_body(r, "ab");
    kit_split(r, 1);
    kit_slow_body(r, WEIR_SIDE_REQUEST, 100);
    cr_expect_eq(kit_run(r), 0);
    cr_expect_not(kit_is_waiting(r), "it is the client that is slow");
    cr_expect_str_eq(kit_trace(r), "request_body shout 1 NEXT\n");
    kit_advance_ms(kit, 100);
    cr_expect_not_null(strstr(kit_trace(r), "shout 1 NEXT\nrequest_body shout 1 NEXT\n"));
    cr_expect_eq(kit_status(r), 0);
    kit_advance_ms(kit, 100);
    cr_expect_eq(kit_status(r), 200);
    cr_expect_str_eq(kit_upstream_body(r), "AB");

    kit_request *gone = kit_request_new(kit, "GET", "/");
    kit_split(gone, 1);
    kit_slow_body(gone, WEIR_SIDE_RESPONSE, 100);
    cr_expect_eq(kit_run(gone), 0);
    kit_abort(gone);
    cr_expect(kit_was_cut_off(gone));
    cr_expect_eq(kit_timer_count(kit), 0, "nothing comes after the end");
    kit_close(kit);
}

Test(testkit_body, a_slow_body_and_a_hook_that_waits)
{
    struct kit *kit = open_built(yaml_with("[{name: shout, config: {wait: true}}]"));
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_split(r, 2);
    kit_slow_body(r, WEIR_SIDE_RESPONSE, 100);
    cr_expect_eq(kit_run(r), 0);
    cr_expect(kit_is_waiting(r));
    kit_advance_ms(kit, 50);
    cr_expect_not(kit_is_waiting(r), "the next piece has not come");
    kit_advance_ms(kit, 200);
    cr_expect_eq(kit_status(r), 200);
    cr_expect_str_eq(kit_response_body(r), "HE|LLO");
    kit_close(kit);
}

Test(testkit_body, one_that_is_read_whole_is_as_slow)
{
    static const struct {
        const char *reason;
        int64_t ms;
        int status;
    } rows[] = {
        {"in time", 499, 200},
        {"too late", 600, 504},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_built(yaml_with("[{name: probe, config: {act: body, "
                                               "deadline: 1s}}]"));
        kit_request *r = kit_request_new(kit, "POST", "/");
        kit_request_body(r, "ab");
        kit_split(r, 1);
        kit_slow_body(r, WEIR_SIDE_REQUEST, (uint32_t)rows[i].ms);
        cr_expect_eq(kit_run(r), 0, "%s", rows[i].reason);
        kit_advance_ms(kit, 2 * rows[i].ms - 1 < 1000 ? 2 * rows[i].ms - 1 : 999);
        cr_expect(kit_is_waiting(r), "%s", rows[i].reason);
        kit_advance_ms(kit, 1);
        cr_expect_eq(kit_status(r), rows[i].status, "%s", rows[i].reason);
        kit_advance_ms(kit, 1000);
        kit_close(kit);
    }
}

Test(testkit_body, those_that_break_off)
{
    static const struct {
        const char *reason, *plugins, *method;
        uint32_t side;
        size_t after;
        int status;
        const char *sent, *trace;
    } rows[] = {
        {"the client is gone: no last piece, and the log hook runs", "[{name: steps}]", "POST",
         WEIR_SIDE_REQUEST, 3, 0, NULL,
         "request_body steps 2 NEXT\nrequest_body steps 1 NEXT\nlog steps\n"},
        {"gone before a byte", "[{name: steps}]", "POST", WEIR_SIDE_REQUEST, 0, 0, NULL,
         "upstream steps NEXT\nlog steps\n"},
        {"gone while a policy waits for it", "[{name: probe, config: {act: body}}]", "POST",
         WEIR_SIDE_REQUEST, 3, 0, NULL, "access probe WAIT\nlog probe\n"},
        {"nobody looks at it, it is gone all the same", "[{name: probe}]", "POST",
         WEIR_SIDE_REQUEST, 3, 0, NULL, "access probe NEXT\nlog probe\n"},
        {"the target is gone: what there was is sent", "[{name: steps}]", "GET", WEIR_SIDE_RESPONSE,
         3, 200, "hel", "response_body steps 2 NEXT\nresponse_body steps 1 NEXT\nlog steps\n"},
        {"and without a hook", "[{name: probe}]", "GET", WEIR_SIDE_RESPONSE, 3, 200, "hel", "log"},
        {"an answer of a policy is whole", "[{name: probe, config: {act: answer}}]", "GET",
         WEIR_SIDE_RESPONSE, 3, 299, "instead", "log"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_built(yaml_with(rows[i].plugins));
        kit_request *r = kit_request_new(kit, rows[i].method, "/");
        if (strcmp(rows[i].method, "POST") == 0)
            kit_request_body(r, "body");
        kit_split(r, 2);
        kit_body_breaks(r, rows[i].side, rows[i].after);
        cr_expect_eq(kit_run(r), rows[i].status, "%s: %d", rows[i].reason, kit_status(r));
        cr_expect(kit_is_over(r), "%s", rows[i].reason);
        cr_expect_eq(kit_was_cut_off(r), rows[i].status != 299, "%s", rows[i].reason);
        if (rows[i].sent != NULL)
            cr_expect_str_eq(kit_response_body(r), rows[i].sent, "%s", rows[i].reason);
        cr_expect_not_null(strstr(kit_trace(r), rows[i].trace), "%s: %s", rows[i].reason,
                           kit_trace(r));
        cr_expect_null(strstr(kit_trace(r), "last"), "%s: %s", rows[i].reason, kit_trace(r));
        kit_close(kit);
    }
}

Test(testkit_body, without_a_length)
{
    struct kit *kit = open_built(SHOUT);
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_no_length(r, WEIR_SIDE_REQUEST);
    kit_no_length(r, WEIR_SIDE_RESPONSE);
    kit_request_body(r, "ab");
    kit_target_response(r, 200, "cd");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_null(kit_upstream_header(r, "Content-Length"));
    cr_expect_str_eq(kit_upstream_header(r, "Transfer-Encoding"), "chunked");
    cr_expect_null(kit_response_header(r, "Content-Length"));
    cr_expect_str_eq(kit_response_body(r), "CD");
    kit_close(kit);
}
