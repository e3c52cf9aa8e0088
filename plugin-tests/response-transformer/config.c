/* What a file may say, and what is refused, where and with which words. */
#include <criterion/criterion.h>
#include <string.h>

#include "kits.h"

struct row {
    const char *reason, *config;
    const char *says[2]; /* of the refusal; NULL: it loads */
};

/* clang-format off */
static const struct row rows[] = {
    {"nothing at all", "{}", {NULL}},
    {"empty lists", "{remove: {headers: [], json: []}, rename: {}, add: {json_types: []}}", {NULL}},
    {"a value may hold nothing", "{add: {headers: ['X-A:'], json: ['a:']}}", {NULL}},
    {"a name to remove needs no colon and may be odd", "{remove: {headers: ['x y', ':x'], json: [a b]}}", {NULL}},
    {"types beyond the entries", "{add: {json_types: [number]}}", {NULL}},

    {"an empty entry", "{remove: {headers: ['']}}", {"remove.headers[0]", "length must be at least 1"}},
    {"add: no colon", "{add: {headers: [X-A]}}", {"add.headers[0]", "'X-A' has no value"}},
    {"replace: no colon", "{replace: {headers: ['X-A:1', X-B]}}", {"replace.headers[1]", "'X-B' has no value"}},
    {"append: no colon", "{append: {json: [a]}}", {"append.json[0]", "'a' has no value"}},
    {"add: no header's name", "{add: {headers: ['x y:1']}}", {"add.headers[0]", "'x y' is not a valid header"}},
    {"rename: no new name", "{rename: {headers: ['X-A:']}}", {"rename.headers[0]", "'' is not a valid header"}},
    {"rename: no colon", "{rename: {headers: [X-A]}}", {"rename.headers[0]", "'' is not a valid header"}},
    {"rename: the new name is none", "{rename: {headers: ['X-A:a b']}}", {"rename.headers[0]", "'a b' is not a valid header"}},
    {"rename: the old name is none", "{rename: {headers: ['a b:X-A']}}", {"rename.headers[0]", "'a b' is not a valid header"}},
    {"rename by map: the new name is none", "{rename: {headers_map: {X-A: a b}}}", {"rename.headers_map", "'a b' is not a valid header"}},
    {"rename json: no colon", "{rename: {json: [a]}}", {"rename.json[0]", "'a' has no value"}},
    {"an unknown type", "{add: {json: ['a:1'], json_types: [integer]}}", {"add.json_types", "boolean, number, string"}},
    {"an unknown field", "{add: {querystring: ['a:1']}}", {"querystring", "unknown"}},
    {"if_status is Enterprise", "{add: {if_status: ['200']}}", {"if_status", "unknown"}},
    {"a path that ends early", "{remove: {json: ['$.a.']}}", {"remove.json[0]", "'$.a.'"}},
    {"a path in a rule that puts in", "{add: {json: ['$.a[:1']}}", {"add.json[0]", "'$.a["}},
    {"a template that does not compile", "{add: {headers: ['X-A:$(latency']}}", {"add.headers[0]", "expected ')'"}},
    {"nor one in JSON", "{replace: {json: ['a:$(os.exit())']}}", {"replace.json[0]", "functions"}},
    {"pages without envelope", "{pagination: true}", {"pagination", "needs envelope: true"}},
};
/* clang-format on */

Test(response_transformer_config, rows)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *why = refusal(rows[i].config);
        if (rows[i].says[0] == NULL) {
            cr_expect_null(why, "%s: %s", rows[i].reason, why);
            continue;
        }
        for (size_t j = 0; j < 2; j++)
            cr_expect(why != NULL && strstr(why, rows[i].says[j]) != NULL, "%s: no '%s' in '%s'",
                      rows[i].reason, rows[i].says[j], why == NULL ? "it loads" : why);
    }
}

Test(response_transformer_config, the_example_of_the_readme_loads_and_works)
{
    struct kit *kit = kit_open_markdown("plugins/response-transformer/README.md");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_str_empty(kit_warnings(), "%s", kit_warnings());
    kit_request *r = ask(kit, "/orders", 200, "application/json", "{\"a\":{\"_id\":1}}");
    kit_target_header(r, "X-Backend-Server", "b1");
    cr_assert_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_response_header(r, "X-Served-By"), "b1");
    cr_expect_not_null(strstr(kit_response_body(r), "\"data\":{\"a\":{},\"region\":\"eu\","
                                                    "\"retries\":0},\"meta\":"),
                       "%s", kit_response_body(r));
    kit_close(kit);
}
