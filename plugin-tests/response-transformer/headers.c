/* Headers: a row for each rule and for each answer that a real Kong was recorded to give. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kits.h"

enum { FIELDS = 4 };

struct row {
    const char *reason, *config;
    const char *sent[FIELDS][2]; /* what the service says */
    const char
        *got[FIELDS][2]; /* the nth row of a name is its nth field; NULL: there are no more */
};

/* clang-format off */
static const struct row rows[] = {
    {"remove", "{remove: {headers: [X-A]}}", {{"X-A", "1"}, {"X-B", "2"}}, {{"X-A", NULL}, {"X-B", "2"}}},
    {"remove: names have no case", "{remove: {headers: [x-a]}}", {{"X-A", "1"}}, {{"X-A", NULL}}},
    {"remove: all fields of the name", "{remove: {headers: [X-A]}}", {{"X-A", "1"}, {"X-A", "2"}}, {{"X-A", NULL}}},
    {"remove-by-value: the value is not looked at", "{remove: {headers: ['Set-Cookie:/a=/', 'X-V:x']}}",
     {{"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2"}, {"X-V", "x, y, z"}}, {{"Set-Cookie", NULL}, {"X-V", NULL}}},
    {"remove: what is no name removes nothing", "{remove: {headers: ['x y', ':x']}}", {{"X-A", "1"}}, {{"X-A", "1"}}},
    {"remove-gateway-headers: Content-Type goes, what frames the message stays",
     "{remove: {headers: [Content-Type, Connection, Date, Content-Length]}}", {{"Date", "x"}},
     {{"Content-Type", NULL}, {"Date", NULL}}},

    {"rename", "{rename: {headers: ['X-A:X-B']}}", {{"X-A", "1"}}, {{"X-A", NULL}, {"X-B", "1"}}},
    {"rename: all values go along", "{rename: {headers: ['X-A:X-B']}}", {{"X-A", "1"}, {"X-A", "2"}},
     {{"X-A", NULL}, {"X-B", "1"}, {"X-B", "2"}, {"X-B", NULL}}},
    {"rename: what has the new name gives way", "{rename: {headers: ['X-A:X-B']}}", {{"X-A", "1"}, {"X-B", "0"}, {"X-B", "00"}},
     {{"X-B", "1"}, {"X-B", NULL}}},
    {"rename: absent", "{rename: {headers: ['X-A:X-B']}}", {{"X-B", "0"}}, {{"X-B", "0"}}},
    {"rename: the case of letters alone", "{rename: {headers: ['X-A:x-a']}}", {{"X-A", "1"}}, {{"X-A", "1"}}},
    {"rename: a removed one was there when the answer came", "{remove: {headers: [X-A]}, rename: {headers: ['X-A:X-B']}}",
     {{"X-A", "1"}}, {{"X-A", NULL}, {"X-B", "1"}}},
    {"rename by map", "{rename: {headers_map: {X-A: X-B, X-C: X-D}}}", {{"X-A", "1"}, {"X-C", "2"}},
     {{"X-A", NULL}, {"X-B", "1"}, {"X-C", NULL}, {"X-D", "2"}}},

    {"replace", "{replace: {headers: ['X-A:9']}}", {{"X-A", "1"}}, {{"X-A", "9"}, {"X-A", NULL}}},
    {"replace: one field for all", "{replace: {headers: ['X-A:9']}}", {{"X-A", "1"}, {"X-A", "2"}}, {{"X-A", "9"}, {"X-A", NULL}}},
    {"replace: absent", "{replace: {headers: ['X-A:9']}}", {{NULL}}, {{"X-A", NULL}}},
    {"replace: no value does nothing", "{replace: {headers: ['X-A:']}}", {{"X-A", "1"}}, {{"X-A", "1"}}},
    {"replace: a value may hold colons", "{replace: {headers: ['X-A:http://x:1/']}}", {{"X-A", "1"}}, {{"X-A", "http://x:1/"}}},
    {"replace: a run of colons is one", "{replace: {headers: ['X-A::9']}}", {{"X-A", "1"}}, {{"X-A", "9"}}},
    {"replace: a value of spaces around it", "{replace: {headers: ['X-A: 9']}}", {{"X-A", "1"}}, {{"X-A", "9"}}},

    {"add", "{add: {headers: ['X-A:1', 'X-B:2']}}", {{NULL}}, {{"X-A", "1"}, {"X-B", "2"}}},
    {"add: there already", "{add: {headers: ['X-A:9']}}", {{"X-A", "1"}}, {{"X-A", "1"}, {"X-A", NULL}}},
    {"add: what is empty is there", "{add: {headers: ['X-A:9']}}", {{"X-A", ""}}, {{"X-A", ""}, {"X-A", NULL}}},
    {"add: what was removed is not put back", "{remove: {headers: [X-A]}, add: {headers: ['X-A:9']}}", {{"X-A", "1"}}, {{"X-A", NULL}}},
    {"add: the last of two of a name stands", "{add: {headers: ['X-A:1', 'X-A:2']}}", {{NULL}}, {{"X-A", "2"}, {"X-A", NULL}}},
    {"add: no value does nothing", "{add: {headers: ['X-A:']}}", {{NULL}}, {{"X-A", NULL}}},

    {"append", "{append: {headers: ['X-A:2']}}", {{"X-A", "1"}}, {{"X-A", "1"}, {"X-A", "2"}, {"X-A", NULL}}},
    {"append: absent", "{append: {headers: ['X-A:2', 'X-A:3']}}", {{NULL}}, {{"X-A", "2"}, {"X-A", "3"}, {"X-A", NULL}}},
    {"append: no value does nothing", "{append: {headers: ['X-A:']}}", {{NULL}}, {{"X-A", NULL}}},

    {"order: the appended one comes behind what replace made",
     "{append: {headers: ['X-A:3']}, replace: {headers: ['X-A:2']}}", {{"X-A", "1"}}, {{"X-A", "2"}, {"X-A", "3"}, {"X-A", NULL}}},
    {"what frames the message is not a policy's", "{add: {headers: ['Transfer-Encoding:x', 'Connection:close', 'X-A:1']}}", {{NULL}},
     {{"X-A", "1"}, {"Transfer-Encoding", NULL}, {"Connection", NULL}}},
};
/* clang-format on */

static void check_fields(const struct row *row, kit_request *r)
{
    for (size_t i = 0; i < FIELDS && row->got[i][0] != NULL; i++) {
        size_t nth = 0;
        for (size_t j = 0; j < i; j++)
            nth += strcmp(row->got[j][0], row->got[i][0]) == 0;
        const char *value = kit_response_header_nth(r, row->got[i][0], nth);
        const char *want = row->got[i][1];
        cr_expect(want == NULL ? value == NULL : value != NULL && strcmp(value, want) == 0,
                  "%s: %s is %s", row->reason, row->got[i][0], value == NULL ? "absent" : value);
    }
}

Test(response_transformer_headers, rows)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit *kit = open_kit(rows[i].config, "");
        kit_request *r = kit_request_new(kit, "GET", "/a");
        for (size_t j = 0; j < FIELDS && rows[i].sent[j][0] != NULL; j++)
            kit_target_header(r, rows[i].sent[j][0], rows[i].sent[j][1]);
        cr_expect_eq(kit_run(r), 200, "%s", rows[i].reason);
        cr_expect_str_eq(kit_response_body(r), "hello", "%s", rows[i].reason);
        check_fields(&rows[i], r);
        kit_close(kit);
    }
}

struct template
{
    const char *reason, *value, *want; /* `want` NULL: the header is not there */
};

static const struct template templates[] = {
    {"milliseconds since the request began", "$(latency)", "250"},
    {"time of day", "$(now)", "1767225600.250"},
    {"the request's id", "$(request_id)", "0123456789abcdef0123456789abcdef"},
    {"headers are the request's", "$(headers.x_name)", "ann"},
    {"arguments are the request's", "$(query_params.q)", "v"},
    {"captures are the route's", "$(uri_captures.id)", "7"},
    {"who was authenticated", "$(consumer.username)", "alice"},
    {"what another policy said", "$(shared.nothing or 'none')", "none"},
    {"text around it", "a $(query_params.q) b", "a v b"},
    {"a quoted one is text", "$('$(x)')", "$(x)"},
    {"absent is nothing, and a header still", "$(headers.absent)", ""},
    {"a line break cannot stand in a header", "$(query_params.crlf)", NULL},
    {"a header that came twice has no text", "$(headers.twice)", NULL},
};

Test(response_transformer_headers, templates)
{
    for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++) {
        char config[256];
        (void)snprintf(config, sizeof(config), "{add: {headers: [\"X-T:%s\"]}}",
                       templates[i].value);
        struct kit *kit = open_kit(config, ", {name: key-auth}");
        kit_request *r = kit_request_new(kit, "GET", "/a?q=v&crlf=a%0d%0ab");
        kit_request_id(r, "0123456789abcdef0123456789abcdef");
        kit_request_header(r, "apikey", "alice-key");
        kit_request_header(r, "X-Name", "ann");
        kit_request_header(r, "Twice", "1");
        kit_request_header(r, "Twice", "2");
        kit_request_capture(r, "id", "7");
        kit_target_takes(r, 250);
        cr_expect_eq(kit_run(r), 200, "%s", templates[i].reason);
        const char *value = kit_response_header(r, "X-T");
        if (templates[i].want == NULL)
            cr_expect_null(value, "%s: %s", templates[i].reason, value);
        else
            cr_expect(value != NULL && strcmp(value, templates[i].want) == 0, "%s: %s",
                      templates[i].reason, value == NULL ? "absent" : value);
        bool warned = strstr(kit_log_lines(kit), "warn:") != NULL;
        cr_expect_eq(warned, templates[i].want == NULL, "%s: %s", templates[i].reason,
                     kit_log_lines(kit));
        kit_close(kit);
    }
}
