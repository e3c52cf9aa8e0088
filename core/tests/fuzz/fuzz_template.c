/* Any bytes as a template, and as what a client sends for it to render. The input is the template,
 * then, behind a line end, a header value and, behind another, a query. What compiles renders, or
 * fails with an error that is listed, twice the same; what is written stays below its bound; what
 * does not compile says why; and a client's text is never read as a template: what "$(headers.x)"
 * renders to is the value itself, whatever it holds. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fuzz.h"
#include "plugin_host/template.h"

#define RESULT_MAX 65536
#define TEXT_MAX 20000

static struct consumer ann = {.username = SPAN("ann"), .id = SPAN("c-1")};
static const struct span capture_names[] = {SPAN_NONE, SPAN("uid"), SPAN_NONE};
static const struct span captures[] = {SPAN("/u/42/x"), SPAN("42"), SPAN("x")};
static struct http_header items[8];

static void add(struct weir_request *request, const char *name, struct span value)
{
    /* A value that no client can send does not come. */
    (void)!http_headers_add(&request->head.headers, HTTP_HEADER_UNKNOWN, span_text(name), value);
}

static void begin(struct weir_request *request, struct arena *arena, struct span value,
                  struct span query)
{
    clock_freeze(5000000, 1795490050661000);
    request_begin(request, NULL, NULL, arena, NULL);
    http_headers_init(&request->head.headers, items, COUNT_OF(items));
    request->head.method = SPAN("GET");
    request->head.target = request->head.path = request->path = SPAN("/u/42/x");
    request->head.query = request->query = query;
    memcpy(request->id, "0123456789abcdef0123456789abcdef", 32);
    request->capture_names = capture_names;
    request->captures = captures;
    request->capture_count = COUNT_OF(captures);
    request->consumer = &ann;
    request->client_ip = SPAN("192.0.2.7");
    request->started_us = 4990000;
    add(request, "Host", SPAN("GW.test:8000"));
    add(request, "X", value);
    add(request, "X-Two", SPAN("a"));
    add(request, "X-Two", value);
}

static enum weir_err render(struct weir_request *request, struct span text, struct span *out,
                            bool *out_compiles)
{
    char why[256] = "";
    const weir_template *compiled = template_compile(request->arena, text, why, sizeof(why));
    *out_compiles = compiled != NULL;
    CHECK_THAT((compiled == NULL) == (why[0] != '\0') && strlen(why) < sizeof(why));
    if (compiled == NULL)
        return WEIR_OK;
    *out = SPAN("untouched");
    enum weir_err error = template_render(request, compiled, out);
    CHECK_THAT(error == WEIR_OK || error == WEIR_ERR_INVALID || error == WEIR_ERR_LIMIT);
    CHECK_THAT(error == WEIR_OK ? out->size <= RESULT_MAX : span_equal(*out, SPAN("untouched")));
    return error;
}

static void check(struct weir_request *request, struct span text, struct span value)
{
    struct span once, twice;
    bool compiles, again;
    enum weir_err error = render(request, text, &once, &compiles);
    if (compiles) {
        CHECK_THAT(render(request, text, &twice, &again) == error && again);
        CHECK_THAT(span_equal(once, twice));
        if (span_find(text, '$') == text.size)
            CHECK_THAT(error == WEIR_OK && span_equal(once, text));
    }
    /* A value is data. */
    const struct http_header *x = http_headers_find(&request->head.headers, SPAN("X"), 0);
    if (x != NULL) {
        CHECK_THAT(render(request, SPAN("$(headers.x)"), &once, &compiles) == WEIR_OK && compiles);
        CHECK_THAT(span_equal(once, value));
        CHECK_THAT(render(request, SPAN("<$(headers['X'])>"), &once, &compiles) == WEIR_OK);
        CHECK_THAT(once.size == value.size + 2);
    }
    /* A published one, too. */
    enum weir_err kept = shared_value_set(request, SPAN("s"), value);
    CHECK_THAT(kept == WEIR_OK || kept == WEIR_ERR_LIMIT);
    if (kept == WEIR_OK && span_is_set(value)) {
        CHECK_THAT(render(request, SPAN("$(shared.s)"), &once, &compiles) == WEIR_OK && compiles);
        CHECK_THAT(span_equal(once, value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > TEXT_MAX)
        return 0;
    struct span rest = span_of((const char *)bytes, size), text, value = SPAN(""), query = SPAN("");
    if (!span_split(&rest, '\n', &text))
        text = SPAN("");
    if (!span_split(&rest, '\n', &value))
        value = SPAN("");
    if (!span_split(&rest, '\n', &query))
        query = SPAN("");
    struct arena *arena = arena_create(NULL);
    if (arena == NULL)
        return 0;
    static struct weir_request request;
    begin(&request, arena, value, query);
    check(&request, text, value);
    arena_destroy(arena);
    return 0;
}
