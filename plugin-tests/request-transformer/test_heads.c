/* Header fields, arguments, path and method. Rows marked Kong were recorded from a running Kong. */
#include <criterion/criterion.h>
#include <string.h>

#include "check.h"

#define COUNT_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

#define KONG_HEADERS                                                                              \
    "{add: {headers: ['X-New:1', 'X-Have:added']}, append: {headers: ['X-Have:app', 'X-App:2']}," \
    " replace: {headers: ['X-Rep:r', 'X-RepAbsent:r']}, remove: {headers: [X-Gone, x-gone2]},"    \
    " rename: {headers: ['X-Old:X-Renamed', 'X-None:X-None2']}}"
#define KONG_ORDER                                                                                \
    "{remove: {headers: [X-1]}, rename: {headers: ['X-2:X-1']}, replace: {headers: ['X-1:rep']}," \
    " add: {headers: ['X-1:add', 'X-3:add']}, append: {headers: ['X-1:app', 'X-3:app']}}"

Test(headers, what_the_service_gets)
{
    static const struct row rows[] = {
        {"Kong: every operation", KONG_HEADERS,
         .headers = {{"X-Have", "orig"},
                     {"X-Rep", "o"},
                     {"X-Gone", "1"},
                     {"X-Gone2", "1"},
                     {"X-Old", "v"}},
         .want_headers = {{"X-Have", "orig|app"},
                          {"X-Rep", "r"},
                          {"X-New", "1"},
                          {"X-Renamed", "v"},
                          {"X-App", "2"},
                          {"X-RepAbsent", "-"}}},
        {"Kong: and what is gone is gone", KONG_HEADERS,
         .headers = {{"X-Gone", "1"}, {"X-Gone2", "1"}, {"X-Old", "v"}},
         .want_headers = {{"X-Gone", "-"},
                          {"X-Gone2", "-"},
                          {"X-Old", "-"},
                          {"X-None2", "-"},
                          {"X-Rep", "-"},
                          {"X-Have", "added|app"}}},
        {"Kong: the order of operations", KONG_ORDER, .headers = {{"X-1", "o1"}, {"X-2", "o2"}},
         .want_headers = {{"X-1", "rep|app"}, {"X-2", "-"}, {"X-3", "add|app"}}},
        {"names have no case", "{remove: {headers: [x-gone]}, replace: {headers: ['X-REP:r']}}",
         .headers = {{"X-Gone", "1"}, {"x-rep", "o"}},
         .want_headers = {{"X-Gone", "-"}, {"X-Rep", "r"}}},
        {"remove takes all values", "{remove: {headers: [X-M]}}",
         .headers = {{"X-M", "1"}, {"X-M", "2"}}, .want_headers = {{"X-M", "-"}}},
        {"rename moves all values, in order", "{rename: {headers: ['X-M:X-N']}}",
         .headers = {{"X-M", "1"}, {"X-M", "2"}}, .want_headers = {{"X-M", "-"}, {"X-N", "1|2"}}},
        {"rename replaces what is there", "{rename: {headers: ['X-M:X-N']}}",
         .headers = {{"X-N", "old"}, {"X-M", "1"}}, .want_headers = {{"X-M", "-"}, {"X-N", "1"}}},
        {"rename of what is not there changes nothing", "{rename: {headers: ['X-M:X-N']}}",
         .headers = {{"X-N", "old"}}, .want_headers = {{"X-N", "old"}}},
        {"renames follow each other", "{rename: {headers: ['X-A:X-B', 'X-B:X-C']}}",
         .headers = {{"X-A", "1"}}, .want_headers = {{"X-A", "-"}, {"X-B", "-"}, {"X-C", "1"}}},
        {"rename of the case alone keeps the value", "{rename: {headers: ['x-a:X-A']}}",
         .headers = {{"x-a", "1"}}, .want_headers = {{"X-A", "1"}}},
        {"rename keeps an empty value", "{rename: {headers: ['X-A:X-B']}}",
         .headers = {{"X-A", ""}}, .want_headers = {{"X-B", ""}}},
        {"replace makes one of several", "{replace: {headers: ['X-M:r']}}",
         .headers = {{"X-M", "1"}, {"X-M", "2"}}, .want_headers = {{"X-M", "r"}}},
        {"replace takes an empty field for one", "{replace: {headers: ['X-M:r']}}",
         .headers = {{"X-M", ""}}, .want_headers = {{"X-M", "r"}}},
        {"add leaves an empty field", "{add: {headers: ['X-M:r']}}", .headers = {{"X-M", ""}},
         .want_headers = {{"X-M", ""}}},
        {"the first of two adds wins", "{add: {headers: ['X-M:1', 'X-M:2']}}",
         .want_headers = {{"X-M", "1"}}},
        {"both of two appends count", "{append: {headers: ['X-M:1', 'X-M:2']}}",
         .want_headers = {{"X-M", "1|2"}}},
        {"Kong: a value may hold colons", "{add: {headers: ['X-Url:http://h:80/x']}}",
         .want_headers = {{"X-Url", "http://h:80/x"}}},
        {"Kong: blanks around a value go", "{add: {headers: ['X-Sp: padded ']}}",
         .want_headers = {{"X-Sp", "padded"}}},
        {"colons that follow each other are one", "{add: {headers: ['X-C:::v']}}",
         .want_headers = {{"X-C", "v"}}},
        {"Kong: an entry without a value loads and does nothing",
         "{add: {headers: ['X-N:']}, replace: {headers: ['X-M']}}", .headers = {{"X-M", "1"}},
         .want_headers = {{"X-N", "-"}, {"X-M", "1"}}},
        {"the map renames like the list, after it",
         "{rename: {headers: ['X-A:X-B'], headers_map: {X-B: X-C}}}", .headers = {{"X-A", "1"}},
         .want_headers = {{"X-B", "-"}, {"X-C", "1"}}},
        {"framing is the gateway's",
         "{remove: {headers: [Content-Length]}, add: {headers: ['Transfer-Encoding:chunked']},"
         " append: {headers: ['Connection:x']}, rename: {headers: ['X-A:Content-Length']}}",
         "POST", .body = "hello", .headers = {{"X-A", "9"}}, .want_body = "hello",
         .want_headers = {{"Transfer-Encoding", "-"}, {"Content-Length", "5"}, {"X-A", "9"}}},
        {"Content-Type is a field like others", "{replace: {headers: ['Content-Type:text/x']}}",
         "POST", .headers = {{"Content-Type", JSON}}, .body = "{}", .want_body = "{}",
         .want_headers = {{"Content-Type", "text/x"}}},
    };
    check_rows(rows, COUNT_OF(rows));
}

Test(headers, host)
{
    static const struct row rows[] = {
        {"Kong: replace sets it, with a port",
         "{replace: {headers: ['Host:internal-service.local:81']}}",
         .want_host = "internal-service.local:81"},
        {"its case does not matter", "{replace: {headers: ['hOST:h.test']}}",
         .want_host = "h.test"},
        {"from a template", "{replace: {headers: ['Host:$(headers.x_h)']}}",
         .headers = {{"X-H", "t.test"}}, .want_host = "t.test"},
        {"what cannot be a host is no host", "{replace: {headers: ['Host:$(headers.x_h)']}}",
         .headers = {{"X-H", "a b/c"}}, .status = 500},
    };
    static const char *const untouched[] = {
        "{add: {headers: ['Host:h.test']}}", "{append: {headers: ['Host:h.test']}}",
        "{remove: {headers: [Host]}}",       "{rename: {headers: ['Host:X-Host']}}",
        "{rename: {headers: ['X-A:Host']}}", "{replace: {headers: ['Host:']}}",
    };
    check_rows(rows, COUNT_OF(rows));
    for (size_t i = 0; i < COUNT_OF(untouched); i++) {
        struct kit *kit = check_open(untouched[i]);
        kit_request *r = kit_request_new(kit, "GET", "/a");
        kit_request_header(r, "X-A", "evil.test");
        cr_expect_eq(kit_run(r), 200, "%s", untouched[i]);
        cr_expect_null(kit_upstream_host(r), "%s", untouched[i]);
        cr_expect_str_eq(check_values(r, "X-Host"), "-", "%s", untouched[i]);
        kit_close(kit);
    }
}

#define KONG_QUERY                                                                             \
    "{add: {querystring: ['gateway:true', 'have:added']}, append: {querystring: ['have:app', " \
    "'ap:1']},"                                                                                \
    " replace: {querystring: ['rep:r', 'none:r']}, remove: {querystring: [gone]}, rename: "    \
    "{querystring: ['old:new']}}"

Test(querystring, what_the_service_gets)
{
    static const struct row rows[] = {
        {"Kong: every operation, sorted and encoded anew", KONG_QUERY,
         .target = "/a?have=o&rep=1&gone=1&old=v&z=%20x&flag&e=",
         .want_query = "ap=1&e=&flag&gateway=true&have=o&have=app&new=v&rep=r&z=%20x"},
        {"Kong: no query before", KONG_QUERY,
         .want_query = "ap=1&gateway=true&have=added&have=app"},
        {"Kong: repeated arguments", KONG_QUERY, .target = "/a?rep=1&rep=2&have=1&have=2",
         .want_query = "ap=1&gateway=true&have=1&have=2&have=app&rep=r"},
        {"Kong: no rule, no change", "{add: {headers: ['X-G:1']}}", .target = "/a?z=+x&a",
         .want_query = "z=+x&a"},
        {"a rule that finds nothing still sorts (Kong)", "{remove: {querystring: [nope]}}",
         .target = "/a?b=%7e+&a", .want_query = "a&b=~%20"},
        {"name=value, as the fragment has it", "{add: {querystring: ['gateway=true']}}",
         .target = "/a?x=1", .want_query = "gateway=true&x=1"},
        {"only the first = counts", "{add: {querystring: ['g=a=b']}}", .want_query = "g=a%3Db"},
        {"a value may start with =", "{add: {querystring: ['g==b']}}", .want_query = "g=%3Db"},
        {"with a colon the = is text", "{add: {querystring: ['a=b:c']}}", .want_query = "a%3Db=c"},
        {"in replace and append, too",
         "{replace: {querystring: ['x=2']}, append: {querystring: ['x=3']}}", .target = "/a?x=1",
         .want_query = "x=2&x=3"},
        {"names have case", "{remove: {querystring: [X]}}", .target = "/a?x=1&X=2",
         .want_query = "x=1"},
        {"names are compared decoded", "{remove: {querystring: ['a b']}}",
         .target = "/a?a%20b=1&a+b=2&c", .want_query = "c"},
        {"all of a name go", "{remove: {querystring: [x]}}", .target = "/a?x=1&y&x=2",
         .want_query = "y"},
        {"the mark stays when all go (Kong)", "{remove: {querystring: [x]}}", .target = "/a?x=1",
         .want_query = ""},
        {"without a mark there is none", "{remove: {querystring: [x]}}", .target = "/a",
         .want_query = "(none)"},
        {"rename replaces what is there", "{rename: {querystring: ['x:y']}}",
         .target = "/a?y=old&x=1", .want_query = "y=1"},
        {"rename moves all", "{rename: {querystring: ['x:y']}}", .target = "/a?x=1&x=2",
         .want_query = "y=1&y=2"},
        {"rename to itself", "{rename: {querystring: ['x:x']}}", .target = "/a?x=1",
         .want_query = "x=1"},
        {"the map, after the list", "{rename: {querystring: ['x:y'], querystring_map: {y: z}}}",
         .target = "/a?x=1", .want_query = "z=1"},
        {"a template", "{add: {querystring: ['from:$(headers.x_in)']}}", .target = "/a?q=v",
         .headers = {{"X-In", "in"}}, .want_query = "from=in&q=v"},
        {"what a template brings cannot leave its value",
         "{add: {querystring: ['from:$(headers.x_in)']}}", .target = "/a",
         .headers = {{"X-In", "1&admin=1#x"}}, .want_query = "from=1%26admin%3D1%23x"},
        {"an absent value is empty", "{add: {querystring: ['from:$(headers.no)']}}",
         .want_query = "from="},
        {"order of operations",
         "{remove: {querystring: [x]}, rename: {querystring: ['y:x']}, replace: {querystring: "
         "['x:rep']},"
         " add: {querystring: ['x:add', 'z:add']}, append: {querystring: ['x:app', 'z:app']}}",
         .target = "/a?x=1&y=2", .want_query = "x=rep&x=app&z=add&z=app"},
    };
    check_rows(rows, COUNT_OF(rows));
}

Test(uri, what_the_service_gets)
{
    static const struct row rows[] = {
        {"Kong: in place of the whole path, the query stays", "{replace: {uri: /fixed/path}}",
         .target = "/a/b?x=1", .want_path = "/fixed/path", .want_query = "x=1"},
        {"escapes stay", "{replace: {uri: /a%20b/%41}}", .want_path = "/a%20b/%41"},
        {"what cannot stand in a path is escaped", "{replace: {uri: '/a b?c#d%zz\"'}}",
         .want_path = "/a%20b%3Fc%23d%25zz%22"},
        {"also from a template", "{replace: {uri: '/u/$(query_params.u)'}}",
         .target = "/a?u=x%3Fy%20%C3%A9%0d%0az", .want_path = "/u/x%3Fy%20%C3%A9%0D%0Az"},
        {"a path out of a template alone", "{replace: {uri: '$(headers.x_path)'}}",
         .headers = {{"X-Path", "/p/q"}}, .want_path = "/p/q"},
        {"which must be one", "{replace: {uri: '$(headers.x_path)'}}",
         .headers = {{"X-Path", "p/q"}}, .status = 500},
        {"an error of the template", "{replace: {uri: '/$(no.such)'}}", .status = 500},
    };
    check_rows(rows, COUNT_OF(rows));
}

Test(uri, captures)
{
    struct kit *kit = check_open(
        "{replace: {uri: '/req/user/$(uri_captures[''uid''])/$(uri_captures[1])'},"
        " add: {headers: ['X-Uid:$(uri_captures.uid)', 'X-Ten:$(10 * uri_captures.uid)']}}");
    kit_request *r = kit_request_new(kit, "GET", "/u/42/x?q=1");
    kit_request_capture(r, "uid", "42");
    cr_assert_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_upstream_path(r), "/req/user/42/42");
    cr_expect_str_eq(kit_upstream_query(r), "q=1");
    cr_expect_str_eq(check_values(r, "X-Uid"), "42");
    cr_expect_str_eq(check_values(r, "X-Ten"), "420");
    kit_close(kit);
}

Test(http_method, what_the_service_gets)
{
    static const struct row rows[] = {
        {"Kong: another method", "{http_method: POST}", .target = "/a?x=1&y=2",
         .want_method = "POST", .want_query = "x=1&y=2"},
        {"Kong: the body stays", "{http_method: POST}", "PUT", .headers = {{"Content-Type", JSON}},
         .body = "{}", .want_method = "POST", .want_body = "{}"},
        {"Kong: GET gets the fields of a form, sorted with the rest",
         "{http_method: GET}",
         "POST",
         "/a?x=1",
         {{"Content-Type", FORM}},
         "b=2&c=3",
         .want_method = "GET",
         .want_query = "b=2&c=3&x=1",
         .want_body = "b=2&c=3"},
        {"Kong: but not members of JSON",
         "{http_method: GET}",
         "POST",
         "/a",
         {{"Content-Type", JSON}},
         "{\"q\":1}",
         .want_method = "GET",
         .want_query = "(none)",
         .want_body = "{\"q\":1}"},
        {"HEAD, too",
         "{http_method: HEAD}",
         "POST",
         "/a",
         {{"Content-Type", FORM}},
         "b=2",
         .want_method = "HEAD",
         .want_query = "b=2"},
        {"and TRACE",
         "{http_method: TRACE}",
         "POST",
         "/a",
         {{"Content-Type", FORM}},
         "b=2",
         .want_method = "TRACE",
         .want_query = "b=2"},
        {"but not DELETE",
         "{http_method: DELETE}",
         "POST",
         "/a",
         {{"Content-Type", FORM}},
         "b=2",
         .want_method = "DELETE",
         .want_query = "(none)"},
        {"a field beside the argument of its name",
         "{http_method: GET}",
         "POST",
         "/a?b=1",
         {{"Content-Type", FORM}},
         "b=2&f",
         .want_query = "b=1&b=2&f"},
        {"an empty form leaves the query as it is",
         "{http_method: GET}",
         "POST",
         "/a?z&a",
         {{"Content-Type", FORM}},
         "",
         .want_query = "z&a"},
        {"before the rules for the query",
         "{http_method: GET, remove: {querystring: [b]}}",
         "POST",
         "/a?a=1",
         {{"Content-Type", FORM}},
         "b=2&c=3",
         .want_query = "a=1&c=3"},
        {"the form as it came, whatever body rules do",
         "{http_method: GET, remove: {body: [b]}}",
         "POST",
         "/a",
         {{"Content-Type", FORM}},
         "b=2&c=3",
         .want_query = "b=2&c=3",
         .want_body = "c=3"},
    };
    check_rows(rows, COUNT_OF(rows));
}
