/* correlation-id against the recorded answers of a real Kong; rows name their case. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weir_testkit.h>

static const char *yaml_of(const char *plugins)
{
    static char text[2048];
    int size = snprintf(
        text, sizeof(text),
        "_format_version: '3.0'\n"
        "services: [{name: s, url: 'http://127.0.0.1:9001', routes: [{name: r, paths: [/a]}]}]\n"
        "plugins: %s\n",
        plugins);
    cr_assert(size > 0 && (size_t)size < sizeof(text));
    return text;
}

static struct kit *open_kit(const char *plugins)
{
    struct kit *kit = kit_open(yaml_of(plugins));
    cr_assert_not_null(kit, "%s: %s", plugins, kit_error());
    return kit;
}

/* '*' stands for a made-up id in a known shape. */
static bool is_uuid(const char *text)
{
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : strchr("0123456789abcdef", text[i]) == NULL || !text[i])
            return false;
    }
    return text[14] == '4';
}

enum shape { NONE, UUID, COUNTED, TRACKER, EXACT };

static bool has_shape(const char *value, enum shape shape, const char *exact)
{
    if (shape == NONE || value == NULL)
        return shape == NONE && value == NULL;
    unsigned port, pid, connection, requests, millis;
    char address[64];
    unsigned long long seconds;
    int used = 0;
    switch (shape) {
    case UUID:
        return is_uuid(value) && value[36] == '\0';
    case COUNTED:
        return is_uuid(value) && value[36] == '#' && strtoul(value + 37, NULL, 10) > 0;
    case TRACKER: /* the kit has no sockets, so no address */
        return sscanf(value, "%63[^-]-%u-%u-%u-%u-%llu.%3u%n", address, &port, &pid, &connection,
                      &requests, &seconds, &millis, &used) == 7 &&
               value[used] == '\0' && port == 8000 && pid == (unsigned)getpid() &&
               seconds == 1767225600;
    case EXACT:
        return strcmp(value, exact) == 0;
    case NONE:
        break;
    }
    return false;
}

#define ECHO_UUID "{generator: uuid, header_name: X-Request-ID, echo_downstream: true}"
#define PLUGIN(config) "[{name: correlation-id, config: " config "}]"

static const struct row {
    const char *reason, *plugins, *header;
    const char *sent[2];       /* by the client under `header` */
    const char *of_target;     /* what the target answers with under `header` */
    enum shape target, client; /* what the two get */
    const char *exact;
    int status;
} rows[] = {
    {"default: made, not echoed", PLUGIN("{}"), "Kong-Request-ID", .target = COUNTED},
    {"default: no config at all", "[{name: correlation-id}]", "Kong-Request-ID", .target = COUNTED},
    {"uuid-echo: made", PLUGIN(ECHO_UUID), "X-Request-ID", .target = UUID, .client = UUID},
    {"uuid-echo: the client's is kept",
     PLUGIN(ECHO_UUID),
     "X-Request-ID",
     {"mine"},
     .target = EXACT,
     .client = EXACT,
     .exact = "mine"},
    {"uuid-echo: an empty one is replaced",
     PLUGIN(ECHO_UUID),
     "X-Request-ID",
     {""},
     .target = UUID,
     .client = UUID},
    {"uuid-echo: of two the first is echoed",
     PLUGIN(ECHO_UUID),
     "X-Request-ID",
     {"m1", "m2"},
     .target = EXACT,
     .client = EXACT,
     .exact = "m1"},
    {"tracker", PLUGIN("{generator: tracker, echo_downstream: true}"), "Kong-Request-ID",
     .target = TRACKER, .client = TRACKER},
    {"upstream-also-sends: ours replaces it", PLUGIN("{echo_downstream: true}"), "Kong-Request-ID",
     .of_target = "from-upstream", .target = COUNTED, .client = COUNTED},
    {"upstream-also-sends, not echoed: it passes", PLUGIN("{}"), "Kong-Request-ID",
     .of_target = "from-upstream", .target = COUNTED, .client = EXACT, .exact = "from-upstream"},
    {"on-502: the gateway's own answer has it", PLUGIN("{echo_downstream: true}"),
     "Kong-Request-ID", .target = COUNTED, .client = COUNTED, .status = 502},
    {"on-401: made before the refusal",
     "[{name: correlation-id, config: {echo_downstream: true}}, {name: key-auth}]",
     "Kong-Request-ID", .target = COUNTED, .client = COUNTED, .status = 401},
    {"on-401: the client's",
     "[{name: correlation-id, config: {echo_downstream: true}}, {name: key-auth}]",
     "Kong-Request-ID",
     {"mine"},
     .target = EXACT,
     .client = EXACT,
     .exact = "mine",
     .status = 401},
    {"no-route-runs-global-plugins: made in the response phase", PLUGIN("{echo_downstream: true}"),
     "Kong-Request-ID", .client = COUNTED, .status = 404},
    {"no-route-runs-global-plugins: not echoed, not made", PLUGIN("{}"), "Kong-Request-ID",
     .status = 404},
};

static void run_row(const struct row *row)
{
    struct kit *kit = open_kit(row->plugins);
    kit_request *r = kit_request_new(kit, "GET", "/a");
    for (size_t i = 0; i < 2 && row->sent[i] != NULL; i++)
        kit_request_header(r, row->header, row->sent[i]);
    if (row->of_target != NULL)
        kit_target_header(r, row->header, row->of_target);
    if (row->status == 502)
        kit_target_fails(r, 502);
    if (row->status == 404)
        kit_request_route(r, NULL);
    int status = kit_run(r), wanted = row->status == 0 ? 200 : row->status;
    cr_expect_eq(status, wanted, "%s: %d", row->reason, status);
    const char *target = kit_upstream_header(r, row->header);
    const char *client = kit_response_header(r, row->header);
    cr_expect(has_shape(target, row->target, row->exact), "%s: target got %s", row->reason, target);
    cr_expect(has_shape(client, row->client, row->exact), "%s: client got %s", row->reason, client);
    if (row->target != NONE && row->client == row->target)
        cr_expect_str_eq(client, target, "%s", row->reason);
    cr_expect_leq(kit_response_header_count(r, row->header), 1, "%s", row->reason);
    kit_close(kit);
}

Test(correlation_id, answers_as_recorded)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        run_row(&rows[i]);
}

/* uuid-echo, last step: both of the client's headers reach the target. */
Test(correlation_id, the_clients_headers_reach_the_target_as_sent)
{
    struct kit *kit = open_kit(PLUGIN(ECHO_UUID));
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "X-Request-ID", "m1");
    kit_request_header(r, "X-Request-ID", "m2");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_eq(kit_upstream_header_count(r, "X-Request-ID"), 2);
    cr_expect_str_eq(kit_upstream_header_nth(r, "X-Request-ID", 1), "m2");
    kit_close(kit);
}

static void run_for_id(struct kit *kit, char out[64])
{
    kit_request *r = kit_request_new(kit, "GET", "/a");
    cr_assert_eq(kit_run(r), 200);
    const char *id = kit_upstream_header(r, "Kong-Request-ID");
    cr_assert(id != NULL && strlen(id) < 64);
    (void)snprintf(out, 64, "%s", id);
    kit_request_free(r);
}

/* default: #1, #2, #3 of one uuid; the recorded group goes on counting over changes of the
 * configuration. */
Test(correlation_id, a_worker_counts_on_over_policies_and_reloads)
{
    char ids[4][64];
    struct kit *kit = open_kit("[{name: correlation-id}]");
    for (size_t i = 0; i < 2; i++)
        run_for_id(kit, ids[i]);
    cr_assert(kit_reload(kit, yaml_of(PLUGIN("{echo_downstream: true}"))), "%s", kit_error());
    run_for_id(kit, ids[2]);
    for (unsigned long i = 0; i < 3; i++) {
        cr_expect_eq(strncmp(ids[i], ids[0], 37), 0, "%s, %s", ids[0], ids[i]);
        cr_expect_eq(strtoul(ids[i] + 37, NULL, 10), i + 1, "%s", ids[i]);
    }
    struct kit *other = kit_second_worker(kit);
    run_for_id(other, ids[3]);
    cr_expect_neq(strncmp(ids[3], ids[0], 36), 0, "another worker has another uuid: %s", ids[3]);
    kit_close(other);
    kit_close(kit);
}

Test(correlation_id, uuids_differ)
{
    char one[64], two[64];
    struct kit *kit = open_kit(PLUGIN("{generator: uuid}"));
    run_for_id(kit, one);
    run_for_id(kit, two);
    cr_expect_str_neq(one, two);
    kit_close(kit);
}

#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define LONG_ID FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY

Test(correlation_id, the_log_document_has_the_id)
{
    static const struct {
        const char *reason, *sent, *member;
    } ids[] = {
        {"plain", "mine", "\"correlation_id\":\"mine\""},
        {"quoted for JSON", "a\"b\\c", "\"correlation_id\":\"a\\\"b\\\\c\""},
        {"bytes above ASCII", "\xe9", "\"correlation_id\":\"\\u00e9\""},
        {"a tab in it", "a\tb", "\"correlation_id\":\"a\\u0009b\""},
        {"longer than the host keeps", LONG_ID, "\"correlation_id\":\"" LONG_ID "\""},
    };
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct kit *kit = open_kit("[{name: correlation-id}]");
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_header(r, "Kong-Request-ID", ids[i].sent);
        cr_expect_eq(kit_run(r), 200);
        cr_expect_not_null(strstr(kit_log_document(r), ids[i].member), "%s: %s", ids[i].reason,
                           kit_log_document(r));
        kit_close(kit);
    }
}

/* Which of our own bodies show it. */
static const struct {
    const char *reason, *plugins, *sent, *member;
    int status;
} bodies[] = {
    {"Kong's clients see no such member", PLUGIN("{}"), "mine", NULL, 502},
    {"asked for", PLUGIN("{in_error_bodies: true}"), "mine", "\"correlation_id\":\"mine\"", 502},
    {"made here", PLUGIN("{in_error_bodies: true}"), NULL, "\"correlation_id\":\"", 502},
    {"asked for, of a policy's refusal",
     "[{name: correlation-id, config: {in_error_bodies: true}}, {name: key-auth}]", "mine",
     "\"correlation_id\":\"mine\"", 401},
    {"not asked for, of a policy's refusal", "[{name: correlation-id}, {name: key-auth}]", "mine",
     NULL, 401},
    {"what could be no JSON by itself stays out", PLUGIN("{in_error_bodies: true}"), "\xe9", NULL,
     502},
};

Test(correlation_id, error_bodies_show_the_id_when_asked)
{
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct kit *kit = open_kit(bodies[i].plugins);
        kit_request *r = kit_request_new(kit, "GET", "/a");
        if (bodies[i].sent != NULL)
            kit_request_header(r, "Kong-Request-ID", bodies[i].sent);
        if (bodies[i].status == 502)
            kit_target_fails(r, 502);
        cr_expect_eq(kit_run(r), bodies[i].status, "%s", bodies[i].reason);
        const char *body = kit_response_body(r);
        if (bodies[i].member != NULL)
            cr_expect_not_null(strstr(body, bodies[i].member), "%s: %s", bodies[i].reason, body);
        else
            cr_expect_null(strstr(body, "correlation_id"), "%s: %s", bodies[i].reason, body);
        kit_close(kit);
    }
}

Test(correlation_id, an_upstreams_body_is_left_alone)
{
    struct kit *kit = open_kit(PLUGIN("{in_error_bodies: true}"));
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_target_response(r, 500, "{}");
    cr_expect_eq(kit_run(r), 500);
    cr_expect_str_eq(kit_response_body(r), "{}");
    kit_close(kit);
}

Test(correlation_id, lines_of_the_log_name_the_id)
{
    char plugins[256];
    (void)snprintf(plugins, sizeof(plugins), "%s",
                   "[{name: correlation-id}, {name: key-auth, config: {anonymous: nobody}}]");
    struct kit *kit = open_kit(plugins);
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "Kong-Request-ID", "mine-77");
    cr_expect_eq(kit_run(r), 500);
    cr_expect_not_null(strstr(kit_log_lines(kit), "correlation mine-77"), "%s", kit_log_lines(kit));
    kit_close(kit);
}

/* The policy of the narrower scope is the one that runs, with its own header. */
Test(correlation_id, one_policy_for_a_request)
{
    struct kit *kit =
        open_kit("[{name: correlation-id, config: {header_name: X-Global}},\n"
                 "  {name: correlation-id, route: r, config: {header_name: X-Mine}}]");
    kit_request *r = kit_request_new(kit, "GET", "/a");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_null(kit_upstream_header(r, "X-Global"));
    cr_expect(has_shape(kit_upstream_header(r, "X-Mine"), COUNTED, NULL));
    kit_close(kit);
}

Test(correlation_id, wrong_configurations_are_refused_where_they_are_wrong)
{
    static const struct {
        const char *reason, *config;
    } wrong[] = {
        {"an explicit null is an error in 3.x", "{generator: null}"},
        {"unknown generator", "{generator: guid}"},
        {"not a header name", "{header_name: 'a b'}"},
        {"no header name", "{header_name: null}"},
        {"no such field", "{echo: true}"},
        {"not a boolean", "{echo_downstream: 7}"},
        {"not a boolean either", "{in_error_bodies: id}"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char plugins[128];
        (void)snprintf(plugins, sizeof(plugins), "[{name: correlation-id, config: %s}]",
                       wrong[i].config);
        struct kit *kit = kit_open(yaml_of(plugins));
        cr_expect_null(kit, "%s", wrong[i].reason);
        cr_expect_not_null(strstr(kit_error(), "kong.yml:3:"), "%s: %s", wrong[i].reason,
                           kit_error());
        kit_close(kit);
    }
}

Test(correlation_id, the_example_of_the_readme_works)
{
    struct kit *kit = kit_open_markdown("plugins/correlation-id/README.md");
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/orders");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_header(r, "X-Request-ID"),
                     kit_upstream_header(r, "X-Request-ID"));
    kit_close(kit);
}
