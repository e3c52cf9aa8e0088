/* The log line's members, types and omissions, compared as text. The values are those of recorded
 * answers of a real Kong where there are such. */
#include "plugin_host/log_document.h"

#include <criterion/criterion.h>

#include "base/clock.h"

static struct arena *arena;
static struct http_header items[32], response_items[32];
static struct weir_request request;

static uint64_t bytes(const struct weir_request *of, enum direction direction)
{
    (void)of;
    return direction == TO_TARGET ? 93 : 316;
}
static const struct request_ops ops = {.bytes = bytes};

static const struct span tags[] = {SPAN("st")}, paths[] = {SPAN("/a")},
                         protocols[] = {SPAN("https"), SPAN("http")};
static struct service service = {
    .id = SPAN("s-id"),
    .name = SPAN("logsvc"),
    .protocol = PROTOCOL_HTTP,
    .host = SPAN("127.0.0.1"),
    .port = 9001,
    .retries = 5,
    .connect_timeout_ms = 60000,
    .write_timeout_ms = 60000,
    .read_timeout_ms = 150,
    .tls_verify_depth = -1,
    .enabled = true,
    .tags = {tags, 1},
    .created_at = 11,
    .updated_at = 12,
};
static struct route route = {
    .id = SPAN("r-id"),
    .name = SPAN("logrt"),
    .protocols = PROTOCOL_BIT(PROTOCOL_HTTP) | PROTOCOL_BIT(PROTOCOL_HTTPS),
    .paths = {paths, 1},
    .https_redirect_status_code = 426,
    .strip_path = true,
    .request_buffering = true,
    .response_buffering = true,
    .path_handling_text = SPAN("v0"),
    .service = &service,
    .created_at = 21,
    .updated_at = 22,
};
static struct consumer consumer = {
    .id = SPAN("c-id"), .username = SPAN("alice"), .created_at = 31, .updated_at = 32};
static struct credential credential = {.id = SPAN("k-id"), .key = SPAN("alice-key")};

static void add(struct http_headers *headers, const char *name, const char *value)
{
    cr_assert_eq(http_headers_add(headers, HTTP_HEADER_UNKNOWN, span_text(name), span_text(value)),
                 WEIR_OK);
}

static void set_up(void)
{
    arena = arena_create(NULL);
    cr_assert_not_null(arena);
    clock_freeze(5000000, 1795490050661000);
    request_begin(&request, NULL, &ops, arena, NULL);
    http_headers_init(&request.head.headers, items, COUNT_OF(items));
    http_headers_init(&request.response.headers, response_items, COUNT_OF(response_items));
    request.head.method = SPAN("GET");
    request.head.target = SPAN("/a?q=1");
    request.head.path = request.path = SPAN("/a");
    request.head.query = request.query = SPAN("q=1");
    request.scheme = SPAN("http");
    request.port = 8000;
    request.client_ip = SPAN("127.0.0.1");
    memcpy(request.id, "0123456789abcdef0123456789abcdef", 32);
    request.started_wall_ms = 1795490050661;
    request.started_us = 4990000;
    request.finished_us = 5000000;
    add(&request.head.headers, "Host", "GW.test:8000");
}

static void tear_down(void)
{
    arena_destroy(arena);
}

TestSuite(log_document, .init = set_up, .fini = tear_down, .timeout = 60);

static struct span line(void)
{
    struct span text = log_document(&request);
    cr_assert(span_is_set(text));
    cr_assert_eq(span_find(text, '\n'), text.size, "one line");
    return text;
}

static bool has(const char *part)
{
    struct span text = line();
    return span_search(text, span_text(part)) < text.size;
}

#define EXPECT_HAS(part) cr_expect(has(part), "no %s in %.*s", part, SPAN_ARG(line()))
#define EXPECT_NOT(part) cr_expect(!has(part), "%s in %.*s", part, SPAN_ARG(line()))

static void proxied(void)
{
    request.route = &route;
    request.service = &service;
    request.has_response = request.from_target = true;
    request.response.status = 200;
    request.upstream_path = SPAN("/?q=1");
    request.attempts[0] = (struct attempt_record){.ip = SPAN("127.0.0.1"),
                                                  .port = 9001,
                                                  .status = 200,
                                                  .started_ms = 1795490050663,
                                                  .pick_us = 1023};
    request.attempt_count = 1;
    request.picked_us = 4993000;
    request.answered_us = 4998000;
}

Test(log_document, no_route)
{
    request.has_response = true;
    request.response.status = 404;
    add(&request.response.headers, "Content-Length", "103");
    struct span expected = SPAN(
        "{\"request\":{\"id\":\"0123456789abcdef0123456789abcdef\",\"method\":\"GET\","
        "\"uri\":\"/a?q=1\",\"url\":\"http://gw.test:8000/a?q=1\",\"size\":93,"
        "\"querystring\":{\"q\":\"1\"},\"headers\":{\"host\":\"GW.test:8000\"}},"
        "\"response\":{\"status\":404,\"size\":316,\"headers\":{\"content-length\":\"103\"}},"
        "\"upstream_uri\":\"\",\"upstream_status\":\"\","
        "\"latencies\":{\"request\":10,\"kong\":10,\"proxy\":-1,\"receive\":0},"
        "\"client_ip\":\"127.0.0.1\",\"started_at\":1795490050661,\"source\":\"kong\","
        "\"workspace\":\"0dc6f45b-8f8d-40d2-a504-473544ee190b\",\"workspace_name\":\"default\"}");
    cr_expect(span_equal(line(), expected), "%.*s", SPAN_ARG(line()));
}

Test(log_document, proxied)
{
    proxied();
    EXPECT_HAS("\"upstream_uri\":\"/?q=1\",\"upstream_status\":\"200\"");
    EXPECT_HAS("\"tries\":[{\"ip\":\"127.0.0.1\",\"port\":9001,\"balancer_start\":1795490050663,"
               "\"balancer_start_ns\":1795490050663000000,\"balancer_latency\":1,"
               "\"balancer_latency_ns\":1023000}]");
    EXPECT_HAS("\"latencies\":{\"request\":10,\"kong\":3,\"proxy\":5,\"receive\":2}");
    EXPECT_HAS("\"source\":\"upstream\"");
    EXPECT_HAS("\"route\":{\"id\":\"r-id\",\"name\":\"logrt\","
               "\"ws_id\":\"0dc6f45b-8f8d-40d2-a504-473544ee190b\","
               "\"protocols\":[\"http\",\"https\"],\"paths\":[\"/a\"],\"regex_priority\":0,"
               "\"path_handling\":\"v0\",\"https_redirect_status_code\":426,\"strip_path\":true,"
               "\"preserve_host\":false,\"request_buffering\":true,\"response_buffering\":true,"
               "\"service\":{\"id\":\"s-id\"},\"created_at\":21,\"updated_at\":22}");
    EXPECT_HAS("\"service\":{\"id\":\"s-id\",\"name\":\"logsvc\","
               "\"ws_id\":\"0dc6f45b-8f8d-40d2-a504-473544ee190b\",\"protocol\":\"http\","
               "\"host\":\"127.0.0.1\",\"port\":9001,\"retries\":5,\"connect_timeout\":60000,"
               "\"write_timeout\":60000,\"read_timeout\":150,\"enabled\":true,\"tags\":[\"st\"],"
               "\"created_at\":11,\"updated_at\":12}");
    route.protocols_text = (struct span_list){protocols, 2};
    EXPECT_HAS("\"protocols\":[\"https\",\"http\"]");
    EXPECT_NOT("\"consumer\"");
    EXPECT_NOT("\"authenticated_entity\"");
    EXPECT_NOT("\"tls\"");
}

Test(log_document, identity_shows_no_key)
{
    proxied();
    request.consumer = &consumer;
    request.credential = &credential;
    EXPECT_HAS("\"authenticated_entity\":{\"id\":\"k-id\"}");
    EXPECT_HAS("\"consumer\":{\"id\":\"c-id\",\"username\":\"alice\",\"created_at\":31,"
               "\"updated_at\":32}");
    EXPECT_NOT("alice-key");
}

Test(log_document, every_attempt_failed)
{
    proxied();
    request.from_target = false;
    request.response.status = 502;
    for (unsigned i = 0; i < 3; i++)
        request.attempts[i] = (struct attempt_record){
            .ip = SPAN("127.0.0.1"), .port = 9009, .error = WEIR_ERR_TARGET_BAD};
    request.attempt_count = 3;
    EXPECT_HAS("\"upstream_status\":\"502, 502, 502\"");
    EXPECT_HAS("\"port\":9009,\"balancer_start\":0,\"balancer_start_ns\":0,\"balancer_latency\":0,"
               "\"balancer_latency_ns\":0,\"state\":\"failed\",\"code\":502}");
    EXPECT_HAS("\"source\":\"kong\"");
    EXPECT_HAS("\"receive\":0");
    request.attempts[1].error = WEIR_ERR_TARGET_TIMEOUT;
    request.attempts[2] = (struct attempt_record){.error = WEIR_ERR_NO_NAME};
    EXPECT_HAS("\"upstream_status\":\"502, 504\"");
}

Test(log_document, answered_by_a_policy)
{
    request.route = &route;
    request.reply.status = 429;
    EXPECT_HAS("\"response\":{\"status\":429,");
    EXPECT_HAS("\"upstream_status\":\"\",\"tries\":[],");
}

Test(log_document, headers)
{
    add(&request.head.headers, "Authorization", "Basic c2VjcmV0");
    add(&request.head.headers, "authorization", "Basic c2VjcmV0");
    add(&request.head.headers, "Proxy-Authorization", "Basic c2VjcmV0");
    add(&request.head.headers, "X-Own", "1");
    add(&request.head.headers, "x-own", "2");
    add(&request.head.headers, "Cookie", "a=\"1\"");
    add(&request.response.headers, "Set-Cookie", "a=1");
    add(&request.response.headers, "Set-Cookie", "b=2");
    EXPECT_HAS("\"headers\":{\"host\":\"GW.test:8000\",\"authorization\":\"REDACTED\","
               "\"proxy-authorization\":\"REDACTED\",\"x-own\":[\"1\",\"2\"],"
               "\"cookie\":\"a=\\\"1\\\"\"}");
    EXPECT_HAS("\"headers\":{\"set-cookie\":[\"a=1\",\"b=2\"]}");
    EXPECT_NOT("c2VjcmV0");
}

Test(log_document, request_forms)
{
    request.query = SPAN("a=1&b&a=%20x&=no&a&c=&d%2e=e+f");
    EXPECT_HAS("\"querystring\":{\"a\":[\"1\",\" x\",true],\"b\":true,\"c\":\"\",\"d.\":\"e f\"}");
    request.query = SPAN_NONE;
    EXPECT_HAS("\"querystring\":{}");

    request.head.target = SPAN("http://other.test/p?x");
    request.head.scheme = SPAN("http");
    request.head.authority = SPAN("other.test");
    request.head.path = SPAN("/p");
    request.head.query = SPAN("x");
    EXPECT_HAS("\"uri\":\"/p?x\",\"url\":\"http://other.test:8000/p?x\"");

    request.tls = true;
    request.tls_version = SPAN("TLSv1.3");
    request.tls_cipher = SPAN("TLS_AES_256_GCM_SHA384");
    EXPECT_HAS("\"tls\":{\"version\":\"TLSv1.3\",\"cipher\":\"TLS_AES_256_GCM_SHA384\","
               "\"client_verify\":\"NONE\"}");
}

Test(log_document, nothing_was_understood)
{
    memset(&request.head, 0, sizeof(request.head));
    http_headers_init(&request.head.headers, items, COUNT_OF(items));
    request.query = SPAN_NONE;
    EXPECT_HAS("\"method\":\"\",\"uri\":\"\",\"url\":\"http://kong:8000\"");
    EXPECT_HAS("\"querystring\":{},\"headers\":{}}");
    EXPECT_HAS("\"status\":499");
}

/* ---- log_set */

static enum weir_err set(const char *key, const char *json)
{
    return log_document_edit(&request, span_text(key), span_text(json));
}

Test(log_document, members_are_set_replaced_and_removed)
{
    add(&request.head.headers, "X.Dot", "v");
    proxied();
    cr_expect_eq(set("env", "'prod'"), WEIR_ERR_INVALID);
    cr_expect_eq(set("env", " \"prod\" "), WEIR_OK);
    cr_expect_eq(set("route", ""), WEIR_OK);
    cr_expect_eq(set("started_at", "1"), WEIR_OK);
    cr_expect_eq(set("request.headers.host", ""), WEIR_OK);
    cr_expect_eq(set("request.headers.x\\.dot", "null"), WEIR_OK);
    cr_expect_eq(set("request.headers.more", "[ 1 , 2 ]"), WEIR_OK);
    cr_expect_eq(set("a.b\\.c.d", "{ \"x\" :\n1 }"), WEIR_OK);
    cr_expect_eq(set("a.gone", ""), WEIR_OK);
    cr_expect_eq(set("nothing.gone", ""), WEIR_OK);
    EXPECT_HAS("\"env\":\"prod\"");
    EXPECT_NOT("\"route\"");
    EXPECT_NOT("\"nothing\"");
    EXPECT_HAS("\"started_at\":1,");
    EXPECT_HAS("\"headers\":{\"x.dot\":null,\"more\":[1,2]}");
    EXPECT_HAS("\"a\":{\"b.c\":{\"d\":{\"x\":1}}}");
}

Test(log_document, the_first_member_can_be_removed)
{
    cr_expect_eq(set("request", ""), WEIR_OK);
    cr_expect(span_starts_with(line(), SPAN("{\"response\":")), "%.*s", SPAN_ARG(line()));
    cr_expect_eq(set("response.status", ""), WEIR_OK);
    EXPECT_HAS("{\"response\":{\"size\":");
}

Test(log_document, later_changes_win)
{
    static const struct {
        const char *reason, *keys[3], *values[3], *has;
    } rows[] = {
        {"the same member", {"m", "m"}, {"1", "2"}, "\"m\":2"},
        {"set after removed", {"m", "m"}, {"", "2"}, "\"m\":2"},
        {"within an object that was set",
         {"m", "m.b"},
         {"{\"a\":1,\"b\":2}", "3"},
         "\"m\":{\"a\":1,\"b\":3}"},
        {"added to it",
         {"m", "m.c.d"},
         {"{\"a\":[{}],\"q\\\"\":\",}\"}", "3"},
         "\"m\":{\"a\":[{}],\"q\\\"\":\",}\",\"c\":{\"d\":3}}"},
        {"removed from it", {"m", "m.a"}, {"{\"a\":1,\"b\":2}", ""}, "\"m\":{\"b\":2}"},
        {"the object replaces what was within", {"m.a", "m"}, {"1", "{}"}, "\"m\":{}"},
        {"within a plain value: an object in its place",
         {"m", "m.a"},
         {"1", "2"},
         "\"m\":{\"a\":2}"},
        {"two in one", {"m.a", "m.b"}, {"1", "2"}, "\"m\":{\"b\":2,\"a\":1}"},
        {"a longer name is another one", {"m.a", "m.ab"}, {"1", ""}, "\"m\":{\"a\":1}"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        request.log_edits = NULL;
        for (size_t k = 0; k < 3 && rows[i].keys[k] != NULL; k++)
            cr_expect_eq(set(rows[i].keys[k], rows[i].values[k]), WEIR_OK, "%s", rows[i].reason);
        cr_expect(has(rows[i].has), "%s: %.*s", rows[i].reason, SPAN_ARG(line()));
    }
}

Test(log_document, below_a_plain_value_nothing_is_set)
{
    cr_expect_eq(set("client_ip.x", "1"), WEIR_OK);
    EXPECT_HAS("\"client_ip\":\"127.0.0.1\"");
    EXPECT_NOT("\"x\":1");
}

Test(log_document, refused)
{
    static const struct {
        const char *reason, *key, *json;
        enum weir_err err;
    } rows[] = {
        {"no key", "", "1", WEIR_ERR_INVALID},
        {"an empty name", "a..b", "1", WEIR_ERR_INVALID},
        {"a dot at the end", "a.", "1", WEIR_ERR_INVALID},
        {"no JSON", "a", "x", WEIR_ERR_INVALID},
        {"two values", "a", "1 2", WEIR_ERR_INVALID},
        {"an object cut short", "a", "{\"b\":1", WEIR_ERR_INVALID},
        {"a comma too many", "a", "[1,]", WEIR_ERR_INVALID},
        {"a bare name", "a", "{b:1}", WEIR_ERR_INVALID},
        {"a raw newline in text would split the line", "a", "\"x\ny\"", WEIR_ERR_INVALID},
        {"an odd escape", "a", "\"\\x\"", WEIR_ERR_INVALID},
        {"half an escape", "a", "\"\\u00\"", WEIR_ERR_INVALID},
        {"invalid UTF-8", "a", "\"\xff\"", WEIR_ERR_INVALID},
        {"a leading zero", "a", "01", WEIR_ERR_INVALID},
        {"no digits", "a", "-", WEIR_ERR_INVALID},
        {"only white space", "a", "  ", WEIR_ERR_INVALID},
        {"too deep a value", "a", "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", WEIR_ERR_INVALID},
        {"too deep a key", "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a", "1", WEIR_ERR_LIMIT},
        {"numbers of all kinds", "a", "[-0.5e+10, 0, 12E3, 1.5]", WEIR_OK},
        {"all escapes", "a", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"", WEIR_OK},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        cr_expect_eq(set(rows[i].key, rows[i].json), rows[i].err, "%s", rows[i].reason);
}

/* Texts are judged eight bytes at a time. */
Test(log_document, every_byte_at_every_place_of_a_text)
{
    for (unsigned byte = 0; byte < 256; byte++)
        for (size_t at = 1; at < 20; at++) {
            char json[22];
            memset(json, 'a', sizeof(json));
            json[0] = json[21] = '"';
            json[at] = (char)byte;
            bool good = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
            enum weir_err err = log_document_edit(&request, SPAN("a"), span_of(json, sizeof(json)));
            cr_expect_eq(err, good ? WEIR_OK : WEIR_ERR_INVALID, "byte %u at %zu", byte, at);
        }
}

Test(log_document, edits_are_bounded)
{
    enum weir_err err = WEIR_OK;
    unsigned count = 0;
    for (; count < 1000 && err == WEIR_OK; count++)
        err = log_document_edit(&request, arena_printf(arena, "n%u", count), SPAN("1"));
    cr_expect_eq(err, WEIR_ERR_LIMIT);
    EXPECT_HAS("\"n63\":1");
    cr_expect_eq(count, 65);
}
