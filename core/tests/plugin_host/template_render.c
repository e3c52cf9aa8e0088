/* What $(…) renders to, and what is refused when it is compiled. Recorded answers of a real Kong
 * are marked. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "plugin_host/template.h"

static struct arena *arena;
static struct http_header items[32];
static struct weir_request request;
static struct consumer ann = {.username = SPAN("ann"), .id = SPAN("c-1")};
static const struct span capture_names[] = {SPAN_NONE, SPAN("uid"), SPAN_NONE};
static const struct span captures[] = {SPAN("/u/42/x"), SPAN("42"), SPAN("x")};

static void header(const char *name, const char *value)
{
    cr_assert_eq(http_headers_add(&request.head.headers, HTTP_HEADER_UNKNOWN, span_text(name),
                                  span_text(value)),
                 WEIR_OK);
}

static void set_up(void)
{
    arena = arena_create(NULL);
    cr_assert_not_null(arena);
    clock_freeze(5000000, 1795490050661000);
    request_begin(&request, NULL, NULL, arena, NULL);
    http_headers_init(&request.head.headers, items, COUNT_OF(items));
    request.head.method = SPAN("GET");
    request.head.target = SPAN("/u/42/x?q=v%20w&two=1&two=2&flag&n=4");
    request.head.path = SPAN("/u/42/x");
    request.path = SPAN("/u/42/x");
    request.head.query = request.query = SPAN("q=v%20w&two=1&two=2&flag&n=4");
    memcpy(request.id, "0123456789abcdef0123456789abcdef", 32);
    request.capture_names = capture_names;
    request.captures = captures;
    request.capture_count = COUNT_OF(captures);
    request.consumer = &ann;
    request.client_ip = SPAN("192.0.2.7");
    request.correlation = SPAN("abc-1");
    request.started_us = 4990000;
    header("Host", "GW.test:8000");
    header("X-In", "in");
    header("X-Two", "a");
    header("X-Two", "b");
    cr_assert_eq(shared_value_set(&request, SPAN("x"), SPAN("old")), WEIR_OK);
    cr_assert_eq(shared_value_set(&request, SPAN("x"), SPAN("published")), WEIR_OK);
}

static void tear_down(void)
{
    arena_destroy(arena);
}

TestSuite(template, .init = set_up, .fini = tear_down, .timeout = 60);

static const weir_template *compile(const char *text)
{
    char why[256] = "";
    const weir_template *compiled = template_compile(arena, span_text(text), why, sizeof(why));
    cr_assert_not_null(compiled, "%s: %s", text, why);
    return compiled;
}

struct row {
    const char *reason, *text, *rendered; /* NULL: INVALID */
};

static void expect_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct span out = SPAN("untouched");
        enum weir_err err = template_render(&request, compile(rows[i].text), &out);
        if (rows[i].rendered == NULL) {
            cr_expect_eq(err, WEIR_ERR_INVALID, "%s", rows[i].reason);
            cr_expect(span_equal(out, SPAN("untouched")), "%s", rows[i].reason);
            continue;
        }
        cr_expect_eq(err, WEIR_OK, "%s: %s", rows[i].reason, weir_err_text(err));
        cr_expect(span_equal(out, span_text(rows[i].rendered)), "%s: got '%.*s'", rows[i].reason,
                  SPAN_ARG(out));
    }
}

Test(template, names)
{
    static const struct row rows[] = {
        {"no template at all", "plain $ text (", "plain $ text ("},
        {"the empty text", "", ""},
        {"a header, '_' for '-' (Kong)", "$(headers.x_in)", "in"},
        {"a header by its name in any case (Kong)", "$(headers[\"X-In\"])", "in"},
        {"with text around it (Kong)", "a-$(query_params.two[2])-b", "a-2-b"},
        {"an argument is decoded", "$(query_params['q'])", "v w"},
        {"an argument without value is empty", "[$(query_params.flag)]", "[]"},
        {"argument names know case", "$(query_params.Q)", ""},
        {"an absent argument renders as nothing (Kong)", "$(query_params.none)", ""},
        {"a capture by name and by number (Kong)", "/req/$(uri_captures['uid'])/$(uri_captures[1])",
         "/req/42/42"},
        {"the whole match", "/r$(uri_captures[0])", "/r/u/42/x"},
        {"no such capture", "$(uri_captures[9])$(uri_captures.no)", ""},
        {"a published value, the newest", "$(shared.x)", "published"},
        {"nothing published (Kong)", "$(shared.y)", ""},
        {"who it is", "$(consumer.username) $(consumer.id) $(consumer.custom_id)", "ann c-1 "},
        {"facts of the request", "$(method) $(path) $(host)", "GET /u/42/x gw.test"},
        {"the client", "$(client_ip)", "192.0.2.7"},
        {"its own id of the request", "$(correlation_id)", "abc-1"},
        {"the id", "$(request_id)", "0123456789abcdef0123456789abcdef"},
        {"the time, in seconds", "$(now)", "1795490050.661"},
        {"the time since the start, in ms", "$(latency)", "10"},
        {"an unknown plain name is empty (Kong)", "$(nothing)", ""},
        {"an unknown nested name fails (Kong: 500)", "$(no.such.thing)", NULL},
        {"also with brackets", "$(no['such'])", NULL},
        {"members of an absent value fail", "$(headers.none.x)", NULL},
    };
    expect_rows(rows, COUNT_OF(rows));
}

Test(template, operators)
{
    static const struct row rows[] = {
        {"a default (Kong)", "$(query_params.none or \"dflt\")", "dflt"},
        {"the default is not needed", "$(headers.x_in or 'dflt')", "in"},
        {"and binds stronger than or", "$(false and 1 or 2)", "2"},
        {"or keeps the first", "$(1 or nil and 2)", "1"},
        {"upper case (Kong)", "$(headers.x_in:upper())", "IN"},
        {"a repeated header cannot be text", "$(headers.x_two)", NULL},
        {"but each of its values can", "$(headers.x_two[1])$(headers.x_two[2])", "ab"},
        {"there is no third", "$(headers.x_two[3])", ""},
        {"the way files write it",
         "$(type(headers.x_two)==\"table\" and headers.x_two[1] or headers.x_two)", "a"},
        {"the same with one value",
         "$(type(headers.x_in)=='table' and headers.x_in[1] or headers.x_in)", "in"},
        {"arithmetic with text", "$(10 * query_params.n)", "40"},
        {"precedence", "$(1 + 2 * 3 - 4 / 2)", "5"},
        {"parentheses", "$((1 + 2) * 3)", "9"},
        {"fractions as Lua prints them", "$(1 / 3)", "0.33333333333333"},
        {"division by zero has no value", "$(1 / 0)", NULL},
        {"text plus number is no number", "$(headers.x_in + 1)", NULL},
        {"joining", "$('a' .. 1 .. headers.x_in)", "a1in"},
        {"nil cannot be joined", "$('a' .. headers.none)", NULL},
        {"quoting escapes a template", "$('$(not.evaluated)')", "$(not.evaluated)"},
        {"a quote in quotes", "$('it\\'s')", "it's"},
        {"comparison", "$(query_params.n == '4' and 'yes' or 'no')", "yes"},
        {"kinds differ", "$(query_params.n == 4 and 'yes' or 'no')", "no"},
        {"unequal", "$(headers.x_in ~= nil and 'set')", "set"},
        {"order of text", "$('a' < 'b' and 'less')", "less"},
        {"order of numbers", "$(10 >= 9 and 'more')", "more"},
        {"nothing is less than nil", "$(1 < headers.none)", NULL},
        {"not", "$(not headers.none and 'absent')", "absent"},
        {"minus", "$(-3 + 1)", "-2"},
        {"false renders as nothing", "$(1 == 2)", ""},
        {"conversion", "$(tonumber('12') + 1)$(tostring(nil))", "13nil"},
        {"length", "$(headers.x_in:len())", "2"},
        {"methods of nil fail", "$(headers.none:upper())", NULL},
        {"a table is no text", "$(headers)", NULL},
    };
    expect_rows(rows, COUNT_OF(rows));
}

Test(template, absent_facts)
{
    static const struct row rows[] = {
        {"nobody authenticated", "[$(consumer.username)]", "[]"},
        {"no route with captures", "[$(uri_captures.uid)]", "[]"},
        {"no query", "[$(query_params.q)]", "[]"},
        {"no correlation id", "[$(correlation_id)]", "[]"},
    };
    request.consumer = NULL;
    request.captures = request.capture_names = NULL;
    request.capture_count = 0;
    request.query = request.correlation = SPAN_NONE;
    expect_rows(rows, COUNT_OF(rows));
}

Test(template, refused)
{
    static const struct {
        const char *reason, *text, *why;
    } rows[] = {
        {"never closed", "x$(headers.a", "expected ')' before 'the end'"},
        {"nothing inside", "$()", "expected a name, text or number before ')'"},
        {"a statement", "$(return 1)", "'return' cannot stand here"},
        {"an unknown function", "$(os.execute('x'))", "functions of a table are not supported"},
        {"another one", "$(print('x'))",
         "'print()' is not supported (type, tostring and tonumber are)"},
        {"an unknown method", "$(headers.x:rep(9))",
         "':rep' is not supported (upper, lower and len are)"},
        {"text without end", "$('abc)", "quoted text never ends"},
        {"an odd escape", "$('\\q')", "the escape '\\q' is not supported"},
        {"an odd number", "$(1.2.3)", "'1.2.3' is not a number"},
        {"assignment", "$(a = 1)", "expected ')' before '= 1)'"},
        {"a table that is not Kong's has fixed members", "$(consumer.name)",
         "consumer has no 'name' (username, id, custom_id)"},
        {"an operator alone", "$(1 +)", "expected a name, text or number before ')'"},
        {"a dot alone", "$(headers.)", "expected a name before ')'"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char why[256] = "";
        const weir_template *compiled =
            template_compile(arena, span_text(rows[i].text), why, sizeof(why));
        cr_expect_null(compiled, "%s", rows[i].reason);
        cr_expect_str_eq(why, rows[i].why, "%s: %s", rows[i].reason, why);
    }
}

/* `text`, `times` times, between the other two. */
static struct span repeat(const char *before, const char *text, size_t times, const char *after)
{
    AUTO_BUF buf = BUF_INIT;
    buf_text(&buf, before);
    for (size_t i = 0; i < times; i++)
        buf_text(&buf, text);
    buf_text(&buf, after);
    cr_assert(!buf.failed);
    return arena_copy(arena, buf_view(&buf));
}

Test(template, bounds)
{
    const struct {
        const char *reason;
        struct span text;
        const char *why; /* NULL: compiles */
    } rows[] = {
        {"32 parentheses", repeat("$(", "(", 31, repeat("1", ")", 31, ")").data), NULL},
        {"a thousand are too deep", repeat("$(", "(", 1000, "1)"),
         "nested too deep, at most 32 levels"},
        {"so are a thousand nots", repeat("$(", "not ", 1000, "1)"),
         "nested too deep, at most 32 levels"},
        {"many operations", repeat("$(1", " .. 1", 1000, ")"), "too many operations, at most 256"},
        {"many parts", repeat("", "a$(1)", 65, ""), "too many parts, at most 128"},
        {"a long text", repeat("", "x", 20000, ""), "too long, at most 16384 bytes"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char why[256] = "";
        const weir_template *compiled = template_compile(arena, rows[i].text, why, sizeof(why));
        cr_expect_eq(compiled == NULL, rows[i].why != NULL, "%s: %s", rows[i].reason, why);
        cr_expect_str_eq(why, rows[i].why == NULL ? "" : rows[i].why, "%s: %s", rows[i].reason,
                         why);
    }
}

Test(template, a_client_cannot_make_it_grow)
{
    struct span out;
    header("X-Long", repeat("", "x", 8000, "").data);
    cr_expect_eq(template_render(&request, compile("$(headers.x_long .. headers.x_long)"), &out),
                 WEIR_OK);
    cr_expect_eq(out.size, 16000);
    struct span many = repeat("$(headers.x_long", " .. headers.x_long", 60, ")");
    cr_expect_eq(template_render(&request, compile(many.data), &out), WEIR_ERR_LIMIT);
    many = repeat("", "$(headers.x_long)", 9, "");
    cr_expect_eq(template_render(&request, compile(many.data), &out), WEIR_ERR_LIMIT);
}

Test(template, shared_values_are_bounded)
{
    char name[16];
    enum weir_err err = WEIR_OK;
    for (int i = 0; i < 1000 && err == WEIR_OK; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i);
        err = shared_value_set(&request, span_text(name), SPAN("v"));
    }
    cr_expect_eq(err, WEIR_ERR_LIMIT);
    cr_expect_eq(shared_value_set(&request, SPAN("x"), SPAN("again")), WEIR_OK,
                 "a known name still takes a value");
    cr_expect_eq(shared_value_set(&request, SPAN("x"), SPAN_NONE), WEIR_OK);
    cr_expect(!span_is_set(shared_value_get(&request, SPAN("x"))), "removed");
    cr_expect_eq(shared_value_set(&request, SPAN(""), SPAN("v")), WEIR_ERR_LIMIT);
}
