/* What the test kit promises a plugin's author, each promise once. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "built.h"

static struct kit *open_probe(const char *act)
{
    char plugins[256];
    (void)snprintf(plugins, sizeof(plugins), "[{name: probe, config: %s}]", act);
    return open_built(yaml_with(plugins));
}

static struct kit *open_shout(const char *config)
{
    char plugins[256];
    (void)snprintf(plugins, sizeof(plugins), "[{name: shout, config: %s}]", config);
    return open_built(yaml_with(plugins));
}

Test(testkit, a_request_passes_and_leaves_traces)
{
    struct kit *kit = open_probe("{}");
    kit_request *r = kit_request_new(kit, "GET", "/a/b?x=1");
    kit_request_header(r, "X-One", "1");
    kit_target_response(r, 201, "made");
    kit_target_header(r, "X-Target", "yes");
    kit_target_takes(r, 30);
    cr_expect_eq(kit_run(r), 201);
    cr_expect_str_eq(kit_response_body(r), "made");
    cr_expect_str_eq(kit_response_header(r, "x-target"), "yes");
    cr_expect_str_eq(kit_response_header(r, "X-Probe"), "was here");
    cr_expect_str_eq(kit_response_header(r, "Content-Length"), "4");
    cr_expect_str_eq(kit_upstream_method(r), "GET");
    cr_expect_str_eq(kit_upstream_path(r), "/a/b");
    cr_expect_str_eq(kit_upstream_query(r), "x=1");
    cr_expect_str_eq(kit_upstream_header(r, "x-one"), "1");
    cr_expect_str_eq(kit_upstream_header(r, "Host"), "gw.test");
    cr_expect_null(kit_upstream_host(r));
    cr_expect_null(kit_consumer(r));
    cr_expect(was_logged(kit, "info: "), "%s", kit_log_lines(kit));
    cr_expect(was_logged(kit, "probe: 201 in 30 ms"), "%s", kit_log_lines(kit));
    cr_expect_not_null(strstr(kit_metrics(kit), "probe_seen{act=\"pass\"} 1"), "%s",
                       kit_metrics(kit));
    cr_expect_not_null(strstr(kit_log_document(r), "\"status\":201"), "%s", kit_log_document(r));
    kit_close(kit);
}

Test(testkit, what_policies_ask_of_the_target_is_told)
{
    struct kit *kit = open_probe("{act: override}");
    kit_request *r = kit_request_new(kit, "GET", "/a?x=1");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_upstream_method(r), "PUT");
    cr_expect_str_eq(kit_upstream_path(r), "/other");
    cr_expect_str_eq(kit_upstream_query(r), "x=2");
    cr_expect_str_eq(kit_upstream_host(r), "host.test");
    cr_expect_str_eq(kit_upstream_target(r), "192.0.2.9:81");
    cr_expect_str_eq(kit_shared(r, "note"), "shared");
    kit_close(kit);
}

Test(testkit, answers_that_do_not_come_from_the_target)
{
    static const struct {
        const char *reason, *config;
        int fails; /* the target's failure; -1: no route */
        int status;
        bool proxied;
        const char *message;
    } rows[] = {
        {"refused connection", "{}", 502, 502, true,
         "An invalid response was received from the upstream server"},
        {"busy", "{}", 503, 503, true, "The upstream server is currently unavailable"},
        {"timeout", "{}", 504, 504, true, "The upstream server is timing out"},
        {"no route: access does not run", "{act: fail}", -1, 404, false,
         "no Route matched with those values"},
        {"a policy fails", "{act: fail}", 0, 500, false, "An unexpected error occurred"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_probe(rows[i].config);
        kit_request *r = kit_request_new(kit, "GET", "/");
        if (rows[i].fails > 0)
            kit_target_fails(r, rows[i].fails);
        else if (rows[i].fails < 0)
            kit_request_route(r, NULL);
        cr_expect_eq(kit_run(r), rows[i].status, "%s: %d", rows[i].reason, kit_status(r));
        cr_expect_eq(kit_was_proxied(r), rows[i].proxied, "%s", rows[i].reason);
        cr_expect_not_null(strstr(kit_response_body(r), rows[i].message), "%s: %s", rows[i].reason,
                           kit_response_body(r));
        const char *header = kit_response_header(r, "X-Probe");
        cr_expect(header != NULL && strcmp(header, "was here") == 0,
                  "%s: response phases run on every answer", rows[i].reason);
        kit_close(kit);
    }
}

Test(testkit, a_policy_that_fails_open_lets_pass)
{
    struct kit *kit = open_built(yaml_with("[{name: probe, on_error: open, config: {act: fail}}]"));
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 200);
    kit_close(kit);
}

Test(testkit, a_policy_may_answer_before_routing_and_in_the_response)
{
    struct kit *kit = open_probe("{act: rewrite}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_route(r, NULL);
    cr_expect_eq(kit_run(r), 418);
    cr_expect_str_eq(kit_response_body(r), "before routing");
    cr_expect_str_eq(kit_response_header(r, "Content-Type"), "text/plain");
    kit_close(kit);

    kit = open_probe("{act: answer}");
    r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 299);
    cr_expect(kit_was_proxied(r));
    cr_expect_str_eq(kit_response_body(r), "instead");
    cr_expect_str_eq(kit_response_header(r, "Content-Length"), "7");
    kit_close(kit);
}

Test(testkit, a_waiting_request_goes_on_when_time_passes)
{
    struct kit *kit = open_probe("{act: park, deadline: 500ms}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 0);
    cr_expect(kit_is_waiting(r));
    cr_expect_eq(kit_status(r), 0);
    cr_expect_null(kit_response_body(r));
    kit_advance_ms(kit, 499);
    cr_expect(kit_is_waiting(r));
    kit_advance_ms(kit, 1);
    cr_expect(!kit_is_waiting(r));
    cr_expect_eq(kit_status(r), 504);
    cr_expect_str_eq(kit_response_body(r), "nobody came");
    cr_expect(!kit_was_proxied(r));
    kit_close(kit);
}

Test(testkit, timers_fire_at_their_moment_and_wake)
{
    struct kit *kit = open_probe("{act: tick, deadline: 10s}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 0);
    kit_advance_ms(kit, 299);
    cr_expect(was_logged(kit, "tick 2") && !was_logged(kit, "tick 3"), "%s", kit_log_lines(kit));
    cr_expect(kit_is_waiting(r));
    kit_log_clear(kit);
    kit_advance_ms(kit, 300);
    cr_expect_eq(kit_status(r), 200);
    cr_expect(was_logged(kit, "tick 5") && !was_logged(kit, "tick 6"), "%s", kit_log_lines(kit));
    cr_expect(was_logged(kit, "probe: 200 in 300 ms"), "%s", kit_log_lines(kit));
    cr_expect_eq(kit_timer_count(kit), 1, "the deadline ended with the wait");
    kit_close(kit);
}

Test(testkit, waking_before_the_wait_is_legal)
{
    struct kit *kit = open_probe("{act: early}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 200);
    kit_close(kit);
}

Test(testkit, a_response_may_wait_too)
{
    struct kit *kit = open_probe("{act: late, deadline: 20ms}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 0);
    cr_expect(kit_was_proxied(r));
    kit_advance_ms(kit, 20);
    cr_expect_eq(kit_status(r), 504);
    cr_expect_str_eq(kit_response_body(r), "nobody came");
    kit_close(kit);
}

Test(testkit, watched_descriptors_are_served_by_a_turn)
{
    struct kit *kit = open_probe("{act: pipe}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 0);
    cr_expect_eq(kit_finish(r), 200);
    r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 0);
    cr_expect(kit_wait_ready(kit, 1000), "the byte is there, so this does not wait");
    cr_expect_eq(kit_status(r), 200);
    cr_expect(!kit_wait_ready(kit, 0), "nothing is left to read");
    kit_close(kit);
}

Test(testkit, a_reload_leaves_waiting_requests_alone)
{
    struct kit *kit = open_probe("{act: park, deadline: 500ms}");
    kit_request *waiting = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(waiting), 0);
    cr_expect(kit_reload(kit, yaml_with("[]")), "%s", kit_error());
    kit_request *fresh = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(fresh), 200);
    cr_expect_null(kit_response_header(fresh, "X-Probe"));
    kit_advance_ms(kit, 500);
    cr_expect_eq(kit_status(waiting), 504);
    cr_expect_str_eq(kit_response_header(waiting, "X-Probe"), "was here");
    kit_close(kit);
}

Test(testkit, log_hooks_run_when_the_client_goes_away)
{
    struct kit *kit = open_probe("{act: park}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 0);
    kit_abort(r);
    cr_expect(was_logged(kit, "probe: "), "%s", kit_log_lines(kit));
    cr_expect(!kit_is_waiting(r));
    cr_expect_eq(kit_status(r), 0);
    kit_advance_ms(kit, 60000);
    cr_expect_eq(kit_status(r), 0, "its deadline is gone");
    kit_close(kit);
}

Test(testkit, a_request_that_waits_for_a_body_has_a_deadline)
{
    struct kit *kit = open_probe("{act: body, deadline: 2s}");
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_body(r, "late");
    kit_hold_body(r);
    cr_expect_eq(kit_run(r), 0);
    kit_advance_ms(kit, 2000);
    cr_expect_eq(kit_status(r), 504);
    kit_close(kit);
}

Test(testkit, bodies_go_through_hooks_in_the_pieces_asked_for)
{
    static const struct {
        const char *reason, *method;
        size_t split;
        int status;
        const char *sent, *pieces;
    } rows[] = {
        {"whole", "POST", 0, 200, "HELLO WORLD", "pieces: 1"},
        {"four at a time, and an empty last one", "POST", 4, 200, "HELLO WORLD", "pieces: 4"},
        {"one at a time", "POST", 1, 200, "HELLO WORLD", "pieces: 12"},
        {"HEAD has no body", "HEAD", 0, 200, "", NULL},
        {"nor has 204", "POST", 0, 204, "", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_shout("{}");
        kit_request *r = kit_request_new(kit, rows[i].method, "/");
        kit_request_body(r, "one two");
        kit_split(r, rows[i].split);
        kit_target_response(r, rows[i].status, "hello world");
        cr_expect_eq(kit_run(r), rows[i].status, "%s", rows[i].reason);
        cr_expect_str_eq(kit_upstream_body(r), "ONE TWO", "%s", rows[i].reason);
        cr_expect_str_eq(kit_response_body(r), rows[i].sent, "%s", rows[i].reason);
        cr_expect_eq(was_logged(kit, "pieces: "), rows[i].pieces != NULL, "%s", rows[i].reason);
        if (rows[i].pieces != NULL)
            cr_expect(was_logged(kit, rows[i].pieces), "%s: %s", rows[i].reason,
                      kit_log_lines(kit));
        kit_close(kit);
    }
}

Test(testkit, a_body_hook_may_wait)
{
    struct kit *kit = open_shout("{wait: true}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_split(r, 2);
    cr_expect_eq(kit_run(r), 0);
    kit_advance_ms(kit, 50);
    cr_expect_eq(kit_status(r), 200);
    cr_expect_str_eq(kit_response_body(r), "HE|LLO");
    kit_close(kit);
}

Test(testkit, the_wall_clock_can_be_set_alone)
{
    struct kit *kit = open_probe("{act: park, deadline: 500ms}");
    cr_expect_eq(kit_time(kit), 1767225600000);
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 0);
    kit_set_time(kit, 1795487100000);
    kit_advance_ms(kit, 1);
    cr_expect_eq(kit_time(kit), 1795487100001);
    cr_expect(kit_is_waiting(r), "deadlines follow the other clock");
    kit_close(kit);
}

Test(testkit, what_is_refused_is_told_with_its_place)
{
    struct kit *kit = kit_open_folder(
        "_format_version: '3.0'\nservices:\n- {name: s, port: 70000}\n", "/nowhere");
    cr_expect_null(kit);
    cr_expect_not_null(strstr(kit_error(), "kong.yml:3:"), "%s", kit_error());
}
