/* Fields behind a body do not undo what a policy did before it. */
#include <criterion/criterion.h>

#include "world.h"

static const char yaml[] = "_format_version: \"3.0\"\n"
                           "services:\n- name: s\n  url: http://@1\n  routes:\n  - paths: [/]\n";

/* Takes x-role out of the head of a request whose path says so, whether it is there or not. */
static weir_verdict take_role(weir_request *request, void *self, void *context)
{
    (void)self;
    (void)context;
    if (span_equal(request->head.target, SPAN("/take")))
        (void)http_headers_remove(&request->head.headers, HTTP_HEADER_UNKNOWN, SPAN("x-role"));
    return WEIR_NEXT;
}
static const weir_plugin taking = {.size = sizeof(weir_plugin),
                                   .major = WEIR_MAJOR,
                                   .name = "taking",
                                   .version = "1",
                                   .access = take_role};

static const struct row {
    const char *path, *fields, *body, *why;
} rows[] = {
    {"/", "", "1\r\nx\r\n0\r\nX-Role: 2\r\n\r\n", "announced, and nobody minds"},
    {"/take", "", "x", "a policy does not want that name"},
    {"/take", "X-Role: 1\r\n", "x", "and has taken it out of the head"},
    {"/", "X-Role: 1\r\n", "1\r\nx\r\n0\r\n\r\n",
     "the head has it: policies have looked at that one"},
};

static void expect_body(struct world *world, const struct row *row)
{
    AUTO_BUF ask = BUF_INIT, seen = BUF_INIT;
    buf_printf(
        &ask,
        "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Role\r\n%s\r\n"
        "1\r\nx\r\n0\r\nX-Role: 2\r\n\r\n",
        row->path, row->fields);
    int client = world_pair(world);
    cr_assert_eq(world_send(client, buf_view(&ask)), (ssize_t)ask.size);
    int target = world_accept(world, 0);
    world_settle(world);
    (void)world_read(target, &seen);
    size_t head = span_search(buf_view(&seen), SPAN("\r\n\r\n"));
    cr_assert(head < seen.size);
    struct span body = span_from(buf_view(&seen), head + 4);
    cr_expect(span_equal(body, span_text(row->body)), "%s: %.*s", row->why, SPAN_ARG(body));
    world_clear(world);
    cr_expect(world_fault(world) == NULL);
}

Test(trailers, of_a_request)
{
    static const weir_plugin *const plugins[] = {&taking};
    struct world world;
    world_open(&world, &(struct world_options){
                           .yaml = yaml, .targets = 1, .plugins = plugins, .plugin_count = 1});
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_body(&world, &rows[i]);
    world_close(&world);
}
