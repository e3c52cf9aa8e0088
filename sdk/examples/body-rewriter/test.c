#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <weir_testkit.h>

#define CONFIGURATION(config)                                           \
    "_format_version: '3.0'\n"                                          \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n" \
    "plugins: [{name: body-rewriter, config: " config "}]\n"
#define RULES      \
    CONFIGURATION( \
        "{rename: {user_id: id, '$.orders[*].sum': total}, remove: [secret, $..internal]}")

static struct kit *kit;

static void set_up(void)
{
    kit = kit_open(RULES);
    cr_assert_not_null(kit, "%s", kit_error());
}

static void tear_down(void)
{
    kit_close(kit);
}

TestSuite(body_rewriter, .init = set_up, .fini = tear_down);

static kit_request *get(const char *type, const char *body, size_t piece)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_target_response(r, 200, body);
    kit_target_header(r, "Content-Type", type);
    kit_split(r, piece);
    (void)kit_run(r);
    return r;
}

Test(body_rewriter, bodies)
{
    static const struct {
        const char *reason, *sent, *want;
    } rows[] = {
        {"what is not touched keeps its bytes", "{ \"user_id\" : 1.50, \"a\":[ 1 ,2]}",
         "{ \"id\" : 1.50, \"a\":[ 1 ,2]}"},
        {"in a list", "{\"orders\":[{\"sum\":1},{\"sum\":2},3]}",
         "{\"orders\":[{\"total\":1},{\"total\":2},3]}"},
        {"removed at any depth", "{\"a\":{\"internal\":1,\"b\":[{\"internal\":2}]},\"secret\":0}",
         "{\"a\":{\"b\":[{}]}}"},
        {"a list at the top counts as its elements", "[{\"user_id\":1},{\"user_id\":2}]",
         "[{\"id\":1},{\"id\":2}]"},
        {"no member of those names", "{\"b\":1}", "{\"b\":1}"},
        {"no object", "17", "17"},
        {"no JSON: it stays", "{\"user_id\":", "{\"user_id\":"},
        {"nothing", "", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t piece = 0; piece < 8; piece++) {
            kit_request *r = get("application/json; charset=utf-8", rows[i].sent, piece);
            cr_expect_eq(kit_status(r), 200, "%s", rows[i].reason);
            cr_expect_str_eq(kit_response_body(r), rows[i].want, "%s, pieces of %zu: %s",
                             rows[i].reason, piece, kit_response_body(r));
            char length[24];
            (void)snprintf(length, sizeof(length), "%zu", strlen(rows[i].want));
            cr_expect_str_eq(kit_response_header(r, "Content-Length"), length);
            kit_request_free(r);
        }
}

Test(body_rewriter, what_is_no_json_by_its_head_passes_by)
{
    static const char body[] = "{\"user_id\":1}";
    cr_expect_str_eq(kit_response_body(get("text/plain", body, 0)), body);
    cr_expect_str_eq(kit_response_body(get("application/jsonx", body, 0)), body);
    cr_expect_str_eq(kit_response_body(get("application/problem+json", body, 0)), "{\"id\":1}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "Accept-Encoding", "gzip");
    kit_target_response(r, 206, body);
    kit_target_header(r, "Content-Type", "application/json");
    kit_target_header(r, "Content-Range", "bytes 0-12/100");
    cr_expect_eq(kit_run(r), 206);
    cr_expect_str_eq(kit_response_body(r), body, "a part of a document is none");
    cr_expect_null(kit_upstream_header(r, "Accept-Encoding"));
}

Test(body_rewriter, the_tag_of_other_bytes_goes)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_target_response(r, 200, "{\"user_id\":1}");
    kit_target_header(r, "Content-Type", "application/json");
    kit_target_header(r, "ETag", "\"1\"");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_null(kit_response_header(r, "ETag"));
}

static void one_request(void *user, size_t nth)
{
    (void)user;
    (void)nth;
    struct kit *own = kit_open(RULES);
    if (own == NULL)
        return;
    kit_request *r = kit_request_new(own, "GET", "/");
    kit_target_response(r, 200, "{\"user_id\":1,\"orders\":[{\"sum\":1}]}");
    kit_target_header(r, "Content-Type", "application/json");
    int status = kit_run(r);
    cr_expect(status == 200 || status >= 500, "%d", status);
    if (status == 200)
        cr_expect_str_eq(kit_response_body(r), "{\"id\":1,\"orders\":[{\"total\":1}]}");
    kit_close(own);
}

Test(body_rewriter, without_memory_nothing_half_edited_is_sent, .init = NULL, .fini = NULL)
{
    cr_expect_gt(kit_each_allocation(one_request, NULL, 1000), 5);
}

Test(body_rewriter, what_is_refused, .init = NULL, .fini = NULL)
{
    cr_expect_null(kit_open(CONFIGURATION("{}")));
    cr_expect(strstr(kit_error(), "at least one of these fields") != NULL, "%s", kit_error());
    cr_expect_null(kit_open(CONFIGURATION("{remove: ['$.a[']}")));
    cr_expect(strstr(kit_error(), "config.remove") != NULL, "%s", kit_error());
}
