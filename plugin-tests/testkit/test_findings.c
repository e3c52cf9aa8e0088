/* Log lines, metrics, dictionaries; and fetches that are answered by more than one URL. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "built.h"

#define CLIENT WEIR_LIT("127.0.0.1")

static struct kit *ask_twice(void)
{
    struct kit *kit = open_built(yaml_with("[{name: steps}, {name: probe}]"));
    for (int i = 0; i < 2; i++)
        cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    return kit;
}

Test(testkit_findings, log_lines_are_counted)
{
    struct kit *kit = ask_twice();
    cr_expect_eq(kit_log_count(kit, NULL, NULL), 4);
    cr_expect_eq(kit_log_count(kit, "info", NULL), 4);
    cr_expect_eq(kit_log_count(kit, "error", NULL), 0);
    cr_expect_eq(kit_log_count(kit, "info", "build one, request 2"), 1);
    cr_expect_eq(kit_log_count(kit, NULL, "request"), 4, "each line has its request's id");
    kit_log_clear(kit);
    cr_expect_eq(kit_log_count(kit, NULL, NULL), 0);
    kit_close(kit);
}

Test(testkit_findings, a_metric_by_its_labels)
{
    struct kit *kit = ask_twice();
    cr_expect_eq(kit_metric(kit, "steps_seen{build=\"one\"}"), 2);
    cr_expect_eq(kit_metric(kit, "steps_seen{build=\"two\"}"), 0);
    cr_expect_eq(kit_metric(kit, "steps_seen"), 0, "without its label it is another series");
    cr_expect_eq(kit_metric(kit, "steps"), 0);
    cr_expect_eq(kit_metric(kit, "probe_seen{act=\"pass\"}"), 2);
    kit_close(kit);
}

Test(testkit_findings, a_dictionary_is_read_and_written)
{
    struct kit *kit = ask_twice();
    cr_expect_eq(kit_dict_count(kit, "steps", "counts"), 1);
    cr_expect_eq(kit_dict_counter(kit, "steps", "counts", CLIENT), 2);
    cr_expect_eq(kit_dict_counter(kit, "steps", "counts", WEIR_LIT("192.0.2.1")), 0);
    kit_dict_set_counter(kit, "steps", "counts", CLIENT, 40, 5000);
    kit_dict_set_counter(kit, "steps", "counts", WEIR_LIT("192.0.2.1"), 1, 0);
    cr_expect_eq(kit_dict_count(kit, "steps", "counts"), 2);
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    cr_expect_eq(kit_dict_counter(kit, "steps", "counts", CLIENT), 41);
    kit_advance_ms(kit, 5000);
    cr_expect_eq(kit_dict_count(kit, "steps", "counts"), 1, "one has run out");
    int64_t value = 0;
    cr_expect_not(kit_dict_get(kit, "steps", "counts", CLIENT, &value, sizeof(value)));
    value = 7;
    kit_dict_set(kit, "steps", "counts", CLIENT, &value, sizeof(value), 0);
    value = 0;
    cr_expect(kit_dict_get(kit, "steps", "counts", CLIENT, &value, sizeof(value)));
    cr_expect_eq(value, 7);
    cr_expect(kit_dict_remove(kit, "steps", "counts", CLIENT));
    cr_expect_not(kit_dict_remove(kit, "steps", "counts", CLIENT));
    kit_close(kit);
}

Test(testkit_findings, who_was_authenticated)
{
    struct kit *kit = open_built(yaml_with("[{name: probe, config: {act: identify}}]\n"
                                           "consumers: [{username: ann, probe_keys: [{key: sesame, "
                                           "id: 3f0e5a0e-4c0c-4f5e-9a39-0d6a3b6d2c11}]}]"));
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "X-Probe", "sesame");
    cr_expect_not(kit_is_authenticated(r));
    cr_expect_eq(kit_run(r), 200);
    cr_expect(kit_is_authenticated(r));
    cr_expect_str_eq(kit_consumer(r), "ann");
    cr_expect_str_eq(kit_credential(r), "3f0e5a0e-4c0c-4f5e-9a39-0d6a3b6d2c11");
    kit_request *stranger = kit_request_new(kit, "GET", "/");
    kit_request_header(stranger, "X-Probe", "guess");
    cr_expect_eq(kit_run(stranger), 500);
    cr_expect_not(kit_is_authenticated(stranger));
    cr_expect_null(kit_credential(stranger));
    kit_close(kit);
}

/* ---- fetches */

static struct kit *open_peers(void)
{
    return open_built(yaml_with("[{name: peers, config: {url: 'https://idp.test/judge'}}]"));
}

static kit_request *ask_peer(struct kit *kit, const char *key)
{
    kit_request *r = kit_request_new(kit, "GET", "/box");
    kit_request_header(r, "X-Act", "fetch");
    kit_request_header(r, "X-Key", key);
    (void)kit_run(r);
    return r;
}

Test(testkit_fetch, the_longest_beginning_answers)
{
    struct kit *kit = open_peers();
    kit_fetch_answer_prefix(kit, "", 401, NULL, "any");
    cr_expect_str_eq(kit_response_body(ask_peer(kit, "k")), "any");
    kit_fetch_answer_prefix(kit, "https://idp.test/", 401, NULL, "host");
    cr_expect_str_eq(kit_response_body(ask_peer(kit, "k")), "host");
    kit_fetch_answer(kit, "https://idp.test/judge", 401, NULL, "itself");
    cr_expect_str_eq(kit_response_body(ask_peer(kit, "k")), "itself");
    cr_expect_eq(kit_fetch_count(kit, "https://idp.test/judge"), 3);
    kit_close(kit);
}

static void judge(void *user, struct kit *kit, const char *url)
{
    ++*(int *)user;
    const char *key = kit_fetch_header(kit, url, "X-Key");
    if (strcmp(key, "sesame") == 0)
        kit_fetch_answer(kit, url, 200, "text/plain", "welcome");
    else if (strcmp(key, "other") == 0)
        kit_fetch_answer(kit, url, 403, NULL, key);
}

Test(testkit_fetch, a_function_makes_the_answer_from_the_request)
{
    int calls = 0;
    struct kit *kit = open_peers();
    kit_fetch_answer_by(kit, "https://", judge, &calls);
    cr_expect_eq(kit_status(ask_peer(kit, "sesame")), 200);
    cr_expect_str_eq(kit_response_body(ask_peer(kit, "other")), "other");
    cr_expect_str_eq(kit_response_body(ask_peer(kit, "nobody")), "no answer came");
    cr_expect_eq(kit_status(ask_peer(kit, "sesame")), 200);
    cr_expect_eq(calls, 4);
    kit_close(kit);
}

Test(testkit_fetch, answers_take_their_time)
{
    struct kit *kit = open_peers();
    kit_fetch_answer(kit, "https://idp.test/judge", 200, NULL, "ok");
    kit_fetch_delay(kit, "https://idp.test/", 200);
    kit_request *r = ask_peer(kit, "k");
    kit_advance_ms(kit, 199);
    cr_expect_eq(kit_status(r), 0);
    kit_advance_ms(kit, 1);
    cr_expect_eq(kit_status(r), 200);
    kit_fetch_delay(kit, "https://idp.test/", 60000);
    r = ask_peer(kit, "k");
    kit_advance_ms(kit, 5000);
    cr_expect_eq(kit_status(r), 403, "its deadline came first");
    cr_expect_eq(kit_timer_count(kit), 0);
    kit_close(kit);
}
