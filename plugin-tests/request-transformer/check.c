#include "check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char *yaml_of(const char *config)
{
    static char text[8192];
    int size = snprintf(
        text, sizeof(text),
        "_format_version: '3.0'\n"
        "services: [{name: s, url: 'http://127.0.0.1:9001', routes: [{name: r, paths: [/a]}]}]\n"
        "plugins: [{name: request-transformer, config: %s}]\n",
        config);
    cr_assert(size > 0 && (size_t)size < sizeof(text));
    return text;
}

struct kit *check_open(const char *config)
{
    struct kit *kit = kit_open(yaml_of(config));
    cr_assert_not_null(kit, "%s: %s", config, kit_error());
    return kit;
}

void check_refused(const char *config, const char *message)
{
    struct kit *kit = kit_open(yaml_of(config));
    cr_expect_null(kit, "%s is taken", config);
    cr_expect(strstr(kit_error(), message) != NULL, "%s: '%s' has no '%s'", config, kit_error(),
              message);
    kit_close(kit);
}

bool check_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

const char *check_values(kit_request *r, const char *name)
{
    static char text[4096];
    size_t count = kit_upstream_header_count(r, name), size = 0;
    (void)snprintf(text, sizeof(text), "-");
    for (size_t i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s", i == 0 ? "" : "|",
                                 kit_upstream_header_nth(r, name, i));
    return text;
}

static void expect(const char *reason, const char *what, const char *want, const char *have)
{
    cr_expect(want == NULL || check_same(want, have), "%s: %s is '%s', not '%s'", reason, what,
              have == NULL ? "(none)" : have, want);
}

static void check_row(const struct row *row)
{
    struct kit *kit = check_open(row->config);
    kit_request *r = kit_request_new(kit, row->method == NULL ? "GET" : row->method,
                                     row->target == NULL ? "/a" : row->target);
    for (size_t i = 0; i < 6 && row->headers[i][0] != NULL; i++)
        kit_request_header(r, row->headers[i][0], row->headers[i][1]);
    if (row->body != NULL)
        kit_request_body(r, row->body);
    int status = kit_run(r), wanted = row->status == 0 ? 200 : row->status;
    cr_expect_eq(status, wanted, "%s: status %d: %s", row->reason, status, kit_log_lines(kit));
    cr_expect_eq(kit_was_proxied(r), wanted == 200, "%s", row->reason);
    expect(row->reason, "method", row->want_method, kit_upstream_method(r));
    expect(row->reason, "path", row->want_path, kit_upstream_path(r));
    expect(row->reason, "host", row->want_host, kit_upstream_host(r));
    const char *query = kit_upstream_query(r);
    expect(row->reason, "query", row->want_query, query == NULL ? "(none)" : query);
    const char *body = kit_upstream_body(r);
    expect(row->reason, "body", row->want_body, body == NULL ? "(none)" : body);
    for (size_t i = 0; i < 6 && row->want_headers[i][0] != NULL; i++)
        expect(row->reason, row->want_headers[i][0], row->want_headers[i][1],
               check_values(r, row->want_headers[i][0]));
    kit_close(kit);
}

void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_row(&rows[i]);
}
