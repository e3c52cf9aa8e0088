#include <criterion/criterion.h>
#include <string.h>
#include <weir_testkit.h>

#define URL "http://auth.test/check"
#define CONFIGURATION(config)                                           \
    "_format_version: '3.0'\n"                                          \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n" \
    "plugins: [{name: http-authoriser, config: {url: '" URL "'" config "}}]\n"

static struct kit *kit;

static void open_with(const char *configuration)
{
    kit = kit_open(configuration);
    cr_assert_not_null(kit, "%s", kit_error());
}

static void tear_down(void)
{
    kit_close(kit);
}

TestSuite(authoriser, .fini = tear_down);

static kit_request *ask_of(struct kit *worker, const char *path, const char *token)
{
    kit_request *r = kit_request_new(worker, "GET", path);
    kit_request_header(r, "Authorization", token);
    kit_request_header(r, "X-User", "root");
    (void)kit_run(r);
    return r;
}

static kit_request *ask(const char *path, const char *token)
{
    return ask_of(kit, path, token);
}

Test(authoriser, an_allowed_request_goes_on_with_what_the_service_said)
{
    open_with(CONFIGURATION(", allowed_headers: [X-User, X-Groups]"));
    kit_fetch_answer(kit, URL, 204, NULL, NULL);
    kit_fetch_answer_header(kit, URL, "x-user", "ann");
    kit_request *r = ask("/orders?page=2", "Bearer a");
    cr_expect_eq(kit_status(r), 200);
    cr_expect_str_eq(kit_upstream_header(r, "X-User"), "ann");
    cr_expect_eq(kit_upstream_header_count(r, "X-User"), 1, "not what the client says");
    cr_expect_str_eq(kit_fetch_method(kit, URL), "GET");
    cr_expect_str_eq(kit_fetch_header(kit, URL, "Authorization"), "Bearer a");
    cr_expect_str_eq(kit_fetch_header(kit, URL, "X-Forwarded-Method"), "GET");
    cr_expect_str_eq(kit_fetch_header(kit, URL, "X-Forwarded-Uri"), "/orders?page=2");
    cr_expect_null(kit_fetch_header(kit, URL, "Cookie"), "there was none");
}

Test(authoriser, what_the_service_does_not_say_is_not_believed_of_the_client)
{
    open_with(CONFIGURATION(", allowed_headers: [X-User]"));
    kit_fetch_answer(kit, URL, 200, NULL, "fine");
    kit_request *r = ask("/", "Bearer a");
    cr_expect_eq(kit_status(r), 200);
    cr_expect_null(kit_upstream_header(r, "X-User"));
}

Test(authoriser, a_refusal_is_the_clients)
{
    open_with(CONFIGURATION(""));
    kit_fetch_answer(kit, URL, 401, NULL, NULL);
    kit_fetch_answer_header(kit, URL, "WWW-Authenticate", "Bearer realm=\"r\"");
    kit_request *r = ask("/", "Bearer a");
    cr_expect_eq(kit_status(r), 401);
    cr_expect_not(kit_was_proxied(r));
    cr_expect_str_eq(kit_response_header(r, "WWW-Authenticate"), "Bearer realm=\"r\"");
}

Test(authoriser, answers_are_remembered_for_what_the_service_was_shown)
{
    open_with(CONFIGURATION(", ttl: 10s"));
    kit_fetch_answer(kit, URL, 200, NULL, NULL);
    struct kit *other = kit_second_worker(kit);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(kit_status(ask("/a", "Bearer a")), 200);
    cr_expect_eq(kit_status(ask_of(other, "/a", "Bearer a")), 200);
    cr_expect_eq(kit_fetch_count(kit, URL), 1, "for all workers");
    (void)ask("/b", "Bearer a");
    (void)ask("/a", "Bearer b");
    cr_expect_eq(kit_fetch_count(kit, URL), 3, "another path, another token");
    kit_advance_ms(kit, 10000);
    (void)ask("/a", "Bearer a");
    cr_expect_eq(kit_fetch_count(kit, URL), 4, "its time is over");
    kit_close(other);
}

Test(authoriser, no_ttl_no_memory)
{
    open_with(CONFIGURATION(", ttl: 0"));
    kit_fetch_answer(kit, URL, 200, NULL, NULL);
    kit_fetch_answer(kit, URL, 403, NULL, NULL);
    cr_expect_eq(kit_status(ask("/a", "Bearer a")), 200);
    cr_expect_eq(kit_status(ask("/a", "Bearer a")), 403);
}

Test(authoriser, one_question_serves_all_who_wait_for_it)
{
    open_with(CONFIGURATION(", ttl: 0"));
    kit_fetch_answer(kit, URL, 200, NULL, NULL);
    kit_fetch_hold(kit);
    kit_request *waiting[8];
    for (size_t i = 0; i < 8; i++) {
        waiting[i] = ask("/a", "Bearer a");
        cr_expect(kit_is_waiting(waiting[i]));
    }
    cr_expect_eq(kit_fetch_waiting(kit), 1);
    kit_abort(waiting[0]); /* the one who asked goes: the others still get their answer */
    kit_abort(waiting[3]);
    kit_fetch_release(kit);
    for (size_t i = 0; i < 8; i++)
        cr_expect_eq(kit_status(waiting[i]), i == 0 || i == 3 ? 0 : 200, "%zu", i);
    cr_expect_eq(kit_fetch_count(kit, URL), 1);
}

Test(authoriser, a_service_that_hangs_ends_at_the_deadline)
{
    open_with(CONFIGURATION(", deadline: 2s"));
    kit_fetch_hold(kit);
    kit_request *r = ask("/a", "Bearer a");
    kit_advance_ms(kit, 1999);
    cr_expect(kit_is_waiting(r));
    kit_advance_ms(kit, 1);
    cr_expect_eq(kit_status(r), 503);
    cr_expect_eq(kit_fetch_waiting(kit), 0);
}

Test(authoriser, a_broken_service_is_no_answer)
{
    static const int broken[] = {0, 500, 503};
    for (size_t i = 0; i < 3; i++) {
        open_with(CONFIGURATION(""));
        kit_fetch_answer(kit, URL, broken[i], NULL, NULL);
        kit_fetch_answer(kit, URL, 200, NULL, NULL);
        cr_expect_eq(kit_status(ask("/a", "Bearer a")), 503, "%d", broken[i]);
        cr_expect_eq(kit_status(ask("/a", "Bearer a")), 200, "it was not remembered");
        kit_close(kit);
        open_with(CONFIGURATION(", fault_tolerant: true, allowed_headers: [X-User]"));
        kit_fetch_answer(kit, URL, broken[i], NULL, NULL);
        kit_request *r = ask("/a", "Bearer a");
        cr_expect_eq(kit_status(r), 200);
        cr_expect_null(kit_upstream_header(r, "X-User"));
        kit_close(kit);
        kit = NULL;
    }
}

Test(authoriser, the_policy_goes_while_a_question_is_under_way)
{
    open_with(CONFIGURATION(""));
    kit_fetch_hold(kit);
    kit_request *r = ask("/a", "Bearer a");
    cr_expect(kit_is_waiting(r));
    kit_abort(r);
    kit_request_free(r); /* the last one of its configuration */
    cr_expect(kit_reload(kit, CONFIGURATION(", ttl: 1s")), "%s", kit_error());
    kit_fetch_release(kit); /* under AddressSanitizer: nothing freed is touched, nothing is left */
}

Test(authoriser, what_is_refused)
{
    cr_expect_null(kit_open(CONFIGURATION(", send_headers: [a, b, c, d, e, f, g, h, i]")));
    cr_expect(strstr(kit_error(), "config.send_headers") != NULL, "%s", kit_error());
    cr_expect_null(kit_open(CONFIGURATION(", deadline: 0")));
    cr_expect(strstr(kit_error(), "config.deadline") != NULL, "%s", kit_error());
}
