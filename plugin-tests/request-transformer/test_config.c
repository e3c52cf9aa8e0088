/* What loads and what does not, and the templates of values. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define COUNT_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

Test(config, refusals)
{
    static const char *const rows[][2] = {
        /* Kong's words */
        {"{add: {headers: ['bad name:1']}}", "'bad name' is not a valid header"},
        {"{remove: {headers: ['a b']}}", "'a b' is not a valid header"},
        {"{replace: {headers: ['a b:1']}}", "'a b' is not a valid header"},
        {"{append: {headers: [':1']}}", "'' is not a valid header"},
        {"{rename: {headers: ['X-A:b c']}}", "'b c' is not a valid header"},
        {"{rename: {headers: [X-A]}}", "'' is not a valid header"},
        {"{rename: {headers_map: {X-A: 'b c'}}}", "'b c' is not a valid header"},
        {"{add: {querystring: ['gateway:']}}", "key 'gateway' has no value"},
        {"{add: {querystring: [gateway]}}", "key 'gateway' has no value"},
        {"{add: {querystring: ['gateway=']}}", "key 'gateway' has no value"},
        {"{replace: {querystring: [x]}}", "key 'x' has no value"},
        {"{append: {querystring: [x]}}", "key 'x' has no value"},
        {"{rename: {querystring: [x]}}", "key 'x' has no value"},
        {"{add: {body: [x]}}", "key 'x' has no value"},
        {"{add: {body: ['x=1']}}", "key 'x=1' has no value"},
        {"{replace: {body: ['x:']}}", "key 'x' has no value"},
        {"{append: {body: [x]}}", "key 'x' has no value"},
        {"{rename: {body: [x]}}", "key 'x' has no value"},
        {"{http_method: get}", "http_method: invalid value: get"},
        {"{http_method: 'GE T'}", "http_method: invalid value: GE T"},
        /* ours */
        {"{add: {querystring: [':x']}}", "an entry starts with a name"},
        {"{replace: {uri: fixed/path}}", "replace.uri: should start with: /"},
        {"{add: {querystring: ['x:$(if']}}", "'if' cannot stand here"},
        {"{add: {headers: ['X-A:$(os.exit())']}}", "add.headers[0]"},
        {"{add: {body: ['a:1', 'x:$(']}}", "add.body[1]"},
        {"{replace: {uri: '/$(1 +)'}}", "replace.uri: expected a name, text or number before ')'"},
        {"{remove: {body: ['$.']}}", "remove.body[0]: '$.': "},
        {"{add: {body: ['$.a[:1']}}", "add.body[0]"},
        {"{add: {body: ['a:1'], body_types: [number, string]}}",
         "add.body_types: 2 types for 1 entries of body"},
        {"{add: {body: ['a:1'], body_types: [text]}}", "body_types"},
        {"{add: {uri: /x}}", "uri"},
        {"{remove: {headers_map: {a: b}}}", "headers_map"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_refused(rows[i][0], rows[i][1]);
}

Test(config, each_bad_entry_is_told)
{
    check_refused("{add: {headers: ['a b:1', 'X:1', 'c d:1']}}", "add.headers[0]: 'a b' is");
    cr_expect(strstr(kit_error(), "add.headers[2]: 'c d' is") != NULL, "%s", kit_error());
}

Test(config, what_loads)
{
    static const char *const rows[][2] = {
        {"{}", ""},
        {"{http_method: PATCH}", ""},
        {"{add: {headers: ['X:']}}", ""}, /* Kong */
        {"{add: {querystring: ['gateway=true']}}",
         "notice: plugin request-transformer: 1 querystring entries written name=value are taken "
         "for name:value"},
        {"{add: {headers: ['Connection:close', 'X-A:1']}, remove: {headers: [te]}}",
         "warn: plugin request-transformer: 2 header entries do nothing"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct kit *kit = check_open(rows[i][0]);
        cr_expect_str_eq(kit_warnings(), "", "%s", rows[i][0]);
        const char *log = kit_log_lines(kit);
        cr_expect(rows[i][1][0] == '\0' ? log[0] == '\0' : strstr(log, rows[i][1]) != NULL,
                  "%s: %s", rows[i][0], log);
        kit_close(kit);
    }
}

Test(config, the_example_of_the_readme)
{
    struct kit *kit = kit_open_markdown("plugins/request-transformer/README.md");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_str_eq(kit_warnings(), "");
    kit_request *r = kit_request_new(kit, "POST", "/orders?debug=1");
    kit_request_header(r, "Content-Type", JSON);
    kit_request_header(r, "X-Internal-Token", "t");
    kit_request_body(r, "{\"user\": {\"ssn\": \"1\", \"id\": 12345678901234567890}}");
    cr_assert_eq(kit_run(r), 200, "%s", kit_log_lines(kit));
    cr_expect_str_eq(check_values(r, "X-Internal-Token"), "-");
    cr_expect_str_eq(kit_upstream_query(r), "gateway=true");
    cr_expect_str_eq(kit_upstream_body(r),
                     "{\"user\": { \"id\": 12345678901234567890},\"channel\":\"web\"}");
    kit_close(kit);
}

Test(config, priority_and_order_in_a_chain)
{
    struct kit *kit = kit_open(
        "_format_version: '3.0'\n"
        "services: [{name: s, url: 'http://127.0.0.1:9001', routes: [{name: r, paths: [/a]}]}]\n"
        "plugins:\n"
        "- {name: request-transformer, config: {remove: {headers: [apikey]}, add: {headers: "
        "['X-Who:$(consumer.username)',"
        "   'X-Kong:$(headers[\"x-consumer-username\"])', 'X-Custom:$(consumer.custom_id)']}}}\n"
        "- {name: key-auth}\n"
        "consumers: [{username: alice, custom_id: cid, keyauth_credentials: [{key: k}]}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/a");
    kit_request_header(r, "apikey", "k");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(check_values(r, "apikey"), "-", "removed after it was used");
    cr_expect_str_eq(check_values(r, "X-Who"), "alice");
    cr_expect_str_eq(check_values(r, "X-Kong"), "alice");
    cr_expect_str_eq(check_values(r, "X-Custom"), "cid");
    kit_request *refused = kit_request_new(kit, "GET", "/a");
    cr_expect_eq(kit_run(refused), 401);
    kit_close(kit);
}

/* One value in a request with headers, arguments and a clock. NULL: 500. */
Test(templates, every_kind_of_expression)
{
    static const char *const rows[][3] = {
        {"Kong: a header by _", "$(headers.x_in)", "in"},
        {"Kong: by its name", "$(headers[\"X-In\"])", "in"},
        {"single quotes", "$(headers[''x-in''])", "in"},
        {"Kong: an argument", "$(query_params.q)", "v"},
        {"by index", "$(query_params[\"q\"])", "v"},
        {"Kong: text around", "a-$(query_params.q)-b", "a-v-b"},
        {"two in one value", "$(headers.x_in)/$(query_params.q)", "in/v"},
        {"Kong: a default", "$(query_params.none or \"dflt\")", "dflt"},
        {"Kong: nothing", "$(query_params.none)", ""},
        {"Kong: a method of text", "$(query_params.q:upper())", "V"},
        {"Kong: what was not shared", "$(shared.x)", ""},
        {"repeated, the way files write it",
         "$(type(headers.x_two)==\"table\" and headers.x_two[1] or headers.x_two)", "a"},
        {"repeated arguments", "$(query_params.two[2])", "2"},
        {"a quoted literal escapes", "$(''$(not.evaluated)'')", "$(not.evaluated)"},
        {"joining", "$(headers.x_in .. ''-'' .. query_params.q)", "in-v"},
        {"arithmetic", "$(10 * query_params.two[2])", "20"},
        {"comparison", "$(query_params.q == ''v'' and ''yes'' or ''no'')", "yes"},
        {"parentheses", "$((query_params.none or headers.x_in) .. 1)", "in1"},
        {"the time", "$(now)", "1767225600.000"},
        {"the time that it took", "$(latency)", "0"},
        {"the id", "$(request_id)", "0123456789abcdef0123456789abcdef"},
        {"nobody", "$(consumer.username)", ""},
        {"facts", "$(method) $(path) $(host)", "GET /a gw.test"},
        {"the client", "$(client_ip)", "192.0.2.7"},
        {"no correlation id", "$(correlation_id)", ""},
        {"Kong: an unknown name", "$(nothing)", ""},
        {"a lone $(", "a$b", "a$b"},
        {"Kong: an unknown nested name", "$(no.such.thing)", NULL},
        {"a repeated header is no text", "$(headers.x_two)", NULL},
        {"a member of nothing", "$(headers.none.x)", NULL},
        {"nothing joined", "$(''a'' .. headers.none)", NULL},
        {"a value that is no header value", "$(query_params.crlf)", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char config[256];
        (void)snprintf(config, sizeof(config),
                       "{add: {headers: ['X-Ok:1', 'X-Out:%s']}, remove: {headers: [X-In]}}",
                       rows[i][1]);
        struct kit *kit = check_open(config);
        kit_request *r = kit_request_new(kit, "GET", "/a?q=v&two=1&two=2&crlf=a%0d%0aX:1");
        kit_request_id(r, "0123456789abcdef0123456789abcdef");
        kit_request_client_ip(r, "192.0.2.7");
        kit_request_header(r, "X-In", "in");
        kit_request_header(r, "X-Two", "a");
        kit_request_header(r, "X-Two", "b");
        int status = kit_run(r);
        cr_expect_eq(status, rows[i][2] == NULL ? 500 : 200, "%s: %d", rows[i][0], status);
        if (rows[i][2] != NULL) {
            cr_expect_str_eq(check_values(r, "X-Out"), rows[i][2], "%s", rows[i][0]);
        } else {
            cr_expect(strstr(kit_response_body(r),
                             "\"message\":\"An unexpected error occurred\"") != NULL,
                      "%s", rows[i][0]);
            cr_expect_not(kit_was_proxied(r), "%s", rows[i][0]);
            cr_expect(strstr(kit_log_lines(kit), "error: ") != NULL, "%s: nothing is logged",
                      rows[i][0]);
        }
        kit_close(kit);
    }
}

Test(templates, values_are_those_of_the_request_as_it_came)
{
    static const struct row rows[] = {
        {"removed, renamed, replaced before they are used",
         "{remove: {headers: [X-A]}, rename: {headers: ['X-B:X-C']}, replace: {headers: "
         "['X-D:new']},"
         " add: {headers: ['X-Out:$(headers.x_a)$(headers.x_b)$(headers.x_c)$(headers.x_d)'], "
         "querystring: ['h:$(headers.x_a)']}}",
         .headers = {{"X-A", "a"}, {"X-B", "b"}, {"X-D", "d"}}, .want_query = "h=a",
         .want_headers = {{"X-Out", "abd"}, {"X-A", "-"}, {"X-C", "b"}, {"X-D", "new"}}},
        {"arguments, too",
         "{remove: {querystring: [q]}, add: {querystring: ['p:$(query_params.q)']},"
         " replace: {uri: '/$(query_params.q)'}}",
         .target = "/a?q=v", .want_query = "p=v", .want_path = "/v"},
        {"the method and the path",
         "{http_method: PUT, replace: {uri: /p}, add: {headers: ['X-Out:$(method) $(path)']}}",
         .want_headers = {{"X-Out", "GET /a"}}, .want_method = "PUT", .want_path = "/p"},
        {"new names of arguments and fields are templates, as in Kong",
         "{rename: {querystring: ['q:$(headers.x_a)'], body: ['f:$(headers.x_a)']}}",
         "POST",
         "/a?q=1",
         {{"X-A", "n"}, {"Content-Type", FORM}},
         "f=1",
         .want_query = "n=1",
         .want_body = "n=1"},
        {"names are not", "{add: {querystring: ['$(method):1']}}",
         .want_query = "%24%28method%29=1"},
    };
    check_rows(rows, COUNT_OF(rows));
}

Test(templates, an_error_changes_nothing)
{
    struct kit *kit = kit_open(
        "_format_version: '3.0'\n"
        "services: [{name: s, url: 'http://127.0.0.1:9001', routes: [{name: r, paths: [/a]}]}]\n"
        "plugins: [{name: request-transformer, on_error: open, config: {http_method: PUT, remove: "
        "{headers: [X-A]},"
        " add: {querystring: ['b:$(no.such)']}}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/a?z&a");
    kit_request_header(r, "X-A", "1");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_upstream_method(r), "GET");
    cr_expect_str_eq(check_values(r, "X-A"), "1");
    cr_expect_str_eq(kit_upstream_query(r), "z&a");
    kit_close(kit);
}

Test(templates, of_body_rules_count_only_with_a_body_they_fit)
{
    static const struct row rows[] = {
        {"no body", "{add: {body: ['b:$(no.such)']}}", .want_body = "(none)"},
        {"another type", "{add: {body: ['b:$(no.such)']}}", "POST",
         .headers = {{"Content-Type", "text/plain"}}, .body = "x", .want_body = "x"},
        {"a body", "{add: {body: ['b:$(no.such)']}}", "POST", .headers = {{"Content-Type", JSON}},
         .body = "{}", .status = 500},
    };
    check_rows(rows, COUNT_OF(rows));
}
