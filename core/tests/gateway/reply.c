/* The body of weir's own answers by what the client accepts: kong-format 4.4. */
#include "gateway/reply.h"

#include <criterion/criterion.h>

#define MESSAGE "no Route matched with those values"
#define ID "0123456789abcdef0123456789abcdef"

static const struct {
    const char *why, *accept, *otherwise, *type;
} rows[] = {
    {"nothing said, core", NULL, "application/json", "application/json; charset=utf-8"},
    {"nothing said, engine", NULL, "text/plain", "text/plain; charset=utf-8"},
    {"anything", "*/*", "text/plain", "application/json; charset=utf-8"},
    {"unknown type", "image/png", "text/plain", "application/json; charset=utf-8"},
    {"any application type", "application/*", "text/plain", "application/json; charset=utf-8"},
    {"any text type", "text/*", "application/json", "text/plain; charset=utf-8"},
    {"html", "text/html", "application/json", "text/html; charset=utf-8"},
    {"xml", "application/xml", "application/json", "application/xml; charset=utf-8"},
    {"any case", "TEXT/HTML", "application/json", "text/html; charset=utf-8"},
    {"the first of equals", "text/plain, text/html", "application/json",
     "text/plain; charset=utf-8"},
    {"the highest quality", "text/plain;q=0.3, text/html;q=0.9", "application/json",
     "text/html; charset=utf-8"},
    {"no quality is 1", "text/plain;q=0.9, application/xml", "application/json",
     "application/xml; charset=utf-8"},
    {"spaces around", " text/html ; q=1 ", "application/json", "text/html; charset=utf-8"},
    {"a quality of 0 is a refusal", "text/html;q=0, text/plain;q=0.1", "application/json",
     "text/plain; charset=utf-8"},
};

Test(reply, type_follows_accept)
{
    struct arena *arena = arena_create(NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct reply_text text =
            reply_render(arena, span_text(rows[i].accept), span_text(rows[i].otherwise),
                         SPAN(MESSAGE), SPAN(ID), SPAN_NONE);
        cr_expect(span_equal(text.content_type, span_text(rows[i].type)), "%s: got %.*s",
                  rows[i].why, SPAN_ARG(text.content_type));
        cr_expect(span_search(text.body, SPAN(MESSAGE)) < text.body.size, "%s", rows[i].why);
        cr_expect(span_search(text.body, SPAN(ID)) < text.body.size, "%s", rows[i].why);
    }
    arena_destroy(arena);
}

Test(reply, json_is_spelled_as_clients_know_it)
{
    struct arena *arena = arena_create(NULL);
    struct reply_text text = reply_render(arena, SPAN_NONE, SPAN("application/json"),
                                          SPAN("Unauthorized"), SPAN(ID), SPAN_NONE);
    cr_expect(
        span_equal(text.body,
                   SPAN("{\n  \"message\":\"Unauthorized\",\n  \"request_id\":\"" ID "\"\n}")),
        "got %.*s", SPAN_ARG(text.body));
    arena_destroy(arena);
}

Test(reply, a_message_cannot_break_out_of_its_body)
{
    struct arena *arena = arena_create(NULL);
    struct reply_text json = reply_render(arena, SPAN("application/json"), SPAN_NONE,
                                          SPAN("say \"no\"\n"), SPAN(ID), SPAN_NONE);
    cr_expect(span_search(json.body, SPAN("say \\\"no\\\"\\n")) < json.body.size, "got %.*s",
              SPAN_ARG(json.body));
    struct reply_text html =
        reply_render(arena, SPAN("text/html"), SPAN_NONE, SPAN("<script>"), SPAN(ID), SPAN_NONE);
    cr_expect(span_search(html.body, SPAN("<script>")) == html.body.size);
    arena_destroy(arena);
}
