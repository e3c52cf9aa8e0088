/* A recording through the test kit: the same requests at the same moments of its clock, the same
 * answers of the target, the same chance. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "kit_internal.h"
#include "replay.h"
#include "tool.h"

enum { WAIT_STEPS = 60, WAIT_STEP_MS = 1000, BODY_MAX = 8 << 20 };

/* ---- a folder in which the plugin is this build */

struct place {
    char folder[64], link[160];
};

static bool make_place(struct place *place, const char *plugin, const char *image)
{
    char path[PATH_MAX];
    (void)snprintf(place->folder, sizeof(place->folder), "/tmp/weir-replay-XXXXXX");
    if (realpath(image, path) == NULL || mkdtemp(place->folder) == NULL) {
        place->folder[0] = '\0';
        return false;
    }
    (void)snprintf(place->link, sizeof(place->link), "%s/%.64s.so", place->folder, plugin);
    return symlink(path, place->link) == 0;
}

static void remove_place(const struct place *place)
{
    if (place->folder[0] == '\0')
        return;
    (void)unlink(place->link);
    (void)rmdir(place->folder);
}

/* ---- the request */

/* Those that the kit sets from the body, and those of one connection. */
static bool is_left_out(const char *name)
{
    static const char *const names[] = {"content-length", "transfer-encoding", "connection",
                                        "keep-alive"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_equal_nocase(span_text(name), span_text(names[i])))
            return true;
    return false;
}

typedef void add_field(kit_request *r, const char *name, const char *value);

/* [["Name", "value"], …]; true: Content-Type was among them. */
static bool add_fields(kit_request *r, const struct node *list, add_field *add)
{
    bool has_type = false;
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct node *pair = list->items[i];
        if (pair->kind != NODE_LIST || pair->count != 2 || pair->items[0]->kind != NODE_SCALAR ||
            node_is_null(pair->items[1]) || is_left_out(pair->items[0]->text.data))
            continue;
        const char *name = pair->items[0]->text.data;
        has_type = has_type || span_equal_nocase(span_text(name), SPAN("content-type"));
        add(r, name, pair->items[1]->text.data);
    }
    return has_type;
}

/* What was not recorded of it is as long. */
static void make_body(const struct node *body, struct buf *out)
{
    const struct node *text = record_member(body, "text");
    uint64_t size = record_number(body, "size", 0);
    if (text != NULL)
        buf_span(out, text->text);
    if (text != NULL && record_member(body, "cut") == NULL)
        return;
    while (out->size < size && out->size < BODY_MAX && !out->failed)
        buf_byte(out, 'x');
}

static void describe_target(kit_request *r, const struct node *node)
{
    const struct node *target = record_member(node, "target");
    uint64_t answered = record_number(record_member(node, "answer"), "status", 0);
    if (target == NULL) {
        /* It was asked and did not answer. */
        if (record_member(node, "sent") != NULL && answered >= 502 && answered <= 504)
            kit_target_fails(r, (int)answered);
        return;
    }
    AUTO_BUF body = BUF_INIT;
    make_body(record_member(target, "body"), &body);
    kit_target_response_bytes(r, (int)record_number(target, "status", 200),
                              body.size == 0 ? "" : body.data, body.size);
    if (!add_fields(r, record_member(target, "headers"), kit_target_header))
        kit_target_header(r, "Content-Type", "");
    uint64_t ms = record_number(target, "ms", 0);
    kit_target_takes(r, (int64_t)(ms < 600000 ? ms : 600000));
}

static void describe_captures(kit_request *r, const struct node *list)
{
    for (size_t i = 0; list != NULL && i < list->count && i < KIT_CAPTURES; i++)
        if (list->items[i]->kind == NODE_LIST && list->items[i]->count == 2 &&
            !node_is_null(list->items[i]->items[1]))
            kit_request_capture(r, list->items[i]->items[0]->text.data,
                                list->items[i]->items[1]->text.data);
}

static kit_request *describe(struct kit *kit, const struct node *node)
{
    AUTO_BUF target = BUF_INIT;
    AUTO_BUF body = BUF_INIT;
    const struct node *request = record_member(node, "request");
    const struct node *query = node_find(request, SPAN("query"));
    const char *scheme = record_text(request, "scheme");
    buf_text(&target, record_text(request, "path"));
    if (query != NULL)
        buf_printf(&target, "?%.*s", SPAN_ARG(query->text));
    buf_byte(&target, '\0');
    kit_request *r = kit_request_new(kit, record_text(request, "method"), target.data);
    kit_request_id(r, record_text(node, "id"));
    kit_request_route(r, record_text(node, "route"));
    if (record_text(request, "client_ip") != NULL)
        kit_request_client_ip(r, record_text(request, "client_ip"));
    if (record_text(request, "peer_ip") != NULL)
        kit_request_peer_ip(r, record_text(request, "peer_ip"));
    if (scheme != NULL && strcmp(scheme, "https") == 0)
        kit_request_tls(r);
    (void)add_fields(r, record_member(request, "headers"), kit_request_header);
    describe_captures(r, record_member(node, "captures"));
    make_body(record_member(request, "body"), &body);
    if (body.size > 0)
        kit_request_body_bytes(r, body.data, body.size);
    describe_target(r, node);
    return r;
}

/* ---- what came of it */

static void keep_fields(struct buf *out, const struct http_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++)
        buf_printf(out, "%.*s: %.*s\n", SPAN_ARG(headers->items[i].name),
                   SPAN_ARG(headers->items[i].value));
}

static void keep_text(struct buf *out, const char *text)
{
    if (text != NULL)
        buf_text(out, text);
}

/* Without whom the line is about, which it ends with: "text (request ID, route NAME)". */
static void keep_log(struct buf *out, const char *lines)
{
    struct span rest = span_text(lines), line;
    while (span_split(&rest, '\n', &line)) {
        size_t tag = line.size;
        while (tag > 0 && !span_starts_with(span_from(line, tag), SPAN(" (request ")))
            tag--;
        buf_span(out, tag == 0 ? line : span_first(line, tag));
        if (line.size > 0)
            buf_byte(out, '\n');
    }
}

static void keep_outcome(struct kit *kit, kit_request *r, struct outcome *out)
{
    out->status = kit_status(r);
    out->proxied = kit_was_proxied(r);
    keep_text(&out->verdicts, kit_trace(r));
    keep_log(&out->log, kit_log_lines(kit));
    if (out->status != 0)
        keep_fields(&out->answer_fields, &r->request.response.headers);
    buf_append(&out->answer, kit_response_body(r), kit_response_body_size(r));
    if (!out->proxied)
        return;
    keep_fields(&out->sent_fields, &r->request.head.headers);
    buf_append(&out->sent_body, kit_upstream_body(r), kit_upstream_body_size(r));
    keep_text(&out->method, kit_upstream_method(r));
    keep_text(&out->path, kit_upstream_path(r));
    keep_text(&out->query, kit_upstream_query(r));
    keep_text(&out->host, kit_upstream_host(r));
    keep_text(&out->target, kit_upstream_target(r));
}

static void run_one(struct kit *kit, const struct record *record, uint64_t seed,
                    struct outcome *out)
{
    const struct node *target = record_member(record->node, "target");
    if (record_number(target, "status", 200) < 200) { /* a tunnel: the kit has none */
        out->skipped = true;
        return;
    }
    int64_t pause_ms = (int64_t)record->time_ms - kit_time(kit);
    kit_seed(kit, seed);
    if (pause_ms > 0)
        kit_advance_ms(kit, pause_ms);
    kit_request *r = describe(kit, record->node);
    kit_seed(kit, seed + 1); /* whatever the timers took */
    (void)kit_run(r);
    for (int i = 0; i < WAIT_STEPS && !kit_is_over(r); i++)
        kit_advance_ms(kit, WAIT_STEP_MS);
    keep_outcome(kit, r, out);
    kit_log_clear(kit);
    kit_request_free(r);
}

static int run_all(const struct traffic *traffic, const char *image, const char *folders,
                   struct run *out)
{
    random_seed(0);
    log_set_level(LOG_CRIT); /* what policies log is compared, not shown */
    struct kit *kit = kit_open_folder(traffic->configuration, folders);
    if (kit == NULL) {
        (void)tool_fail("replay", "the recorded configuration does not load with %s:\n%s", image,
                        kit_error());
        return TOOL_BAD_CONFIG;
    }
    if (traffic->count > 0)
        kit_set_time(kit, (int64_t)traffic->records[0].time_ms);
    kit_log_clear(kit);
    for (size_t i = 0; i < traffic->count; i++)
        run_one(kit, &traffic->records[i], 2 * i + 1, &out->outcomes[i]);
    buf_text(&out->metrics, kit_metrics(kit));
    kit_close(kit);
    return TOOL_OK;
}

int run_recording(const struct traffic *traffic, const char *plugin, const char *image,
                  const char *folders, struct run *out)
{
    struct place place = {0};
    AUTO_BUF search = BUF_INIT;
    int code = TOOL_FAILED;
    out->count = traffic->count;
    out->outcomes = calloc(traffic->count + 1, sizeof(struct outcome));
    if (out->outcomes == NULL)
        return tool_fail("replay", "out of memory");
    if (make_place(&place, plugin, image)) {
        buf_printf(&search, "%s:%s", place.folder, folders);
        buf_byte(&search, '\0');
        code = search.failed ? tool_fail("replay", "out of memory")
                             : run_all(traffic, image, search.data, out);
    } else {
        (void)tool_fail("replay", "%s: %s", image, strerror(errno));
    }
    remove_place(&place);
    return code;
}

static void outcome_free(struct outcome *outcome)
{
    struct buf *const bufs[] = {&outcome->verdicts, &outcome->log,       &outcome->answer_fields,
                                &outcome->answer,   &outcome->sent_body, &outcome->sent_fields,
                                &outcome->method,   &outcome->path,      &outcome->query,
                                &outcome->host,     &outcome->target};
    for (size_t i = 0; i < COUNT_OF(bufs); i++)
        buf_free(bufs[i]);
}

void run_free(struct run *run)
{
    for (size_t i = 0; run->outcomes != NULL && i < run->count; i++)
        outcome_free(&run->outcomes[i]);
    free(run->outcomes);
    buf_free(&run->metrics);
}
