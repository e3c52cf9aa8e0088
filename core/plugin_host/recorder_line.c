/* A recorded request as a line of JSON, with secrets taken out. */
#include <inttypes.h>

#include "plugin_host/image.h"
#include "plugin_host/recorder_internal.h"

static struct redaction *redaction_of(const struct recording *recording)
{
    return recording->recorder->options.redaction;
}

/* ---- pieces */

static void put_key(struct buf *out, const char *key)
{
    char last = out->size == 0 ? '{' : out->data[out->size - 1];
    buf_printf(out, "%s\"%s\": ", last == '{' || last == '[' ? "" : ", ", key);
}

static void put_text(struct recording *recording, struct buf *out, struct span text)
{
    AUTO_BUF clean = BUF_INIT;
    redact_text(redaction_of(recording), &clean, text);
    buf_json(out, buf_view(&clean));
    out->failed = out->failed || clean.failed;
}

static void put_member(struct recording *recording, struct buf *out, const char *key,
                       struct span text)
{
    if (!span_is_set(text))
        return;
    put_key(out, key);
    put_text(recording, out, text);
}

/* A name of the configuration, or a word of ours. */
static void put_name(struct buf *out, const char *key, struct span name)
{
    if (!span_is_set(name))
        return;
    put_key(out, key);
    buf_json(out, name);
}

static void put_query(struct recording *recording, struct buf *out, struct span query)
{
    AUTO_BUF clean = BUF_INIT;
    redact_query(redaction_of(recording), &clean, query);
    put_key(out, "query");
    buf_json(out, buf_view(&clean));
    out->failed = out->failed || clean.failed;
}

static void put_address(struct recording *recording, struct buf *out, const char *key,
                        struct span address)
{
    AUTO_BUF clean = BUF_INIT;
    if (!span_is_set(address))
        return;
    redact_address(redaction_of(recording), &clean, address);
    put_key(out, key);
    buf_json(out, buf_view(&clean));
    out->failed = out->failed || clean.failed;
}

static bool next_field(struct span *rest, struct span *out_name, struct span *out_value)
{
    uint32_t sizes[2];
    if (rest->size < sizeof(sizes))
        return false;
    memcpy(sizes, rest->data, sizeof(sizes));
    *rest = span_from(*rest, sizeof(sizes));
    *out_name = span_first(*rest, sizes[0]);
    *out_value = span_first(span_from(*rest, sizes[0]), sizes[1]);
    *rest = span_from(*rest, (size_t)sizes[0] + sizes[1]);
    return true;
}

static void put_fields(struct recording *recording, struct buf *out, enum recorded_fields which)
{
    struct span rest = buf_view(&recording->fields[which]), name, value;
    put_key(out, "headers");
    buf_byte(out, '[');
    for (bool first = true; next_field(&rest, &name, &value); first = false) {
        AUTO_BUF clean = BUF_INIT;
        redact_header(redaction_of(recording), &clean, name, value);
        buf_text(out, first ? "[" : ", [");
        buf_json(out, name);
        buf_text(out, ", ");
        buf_json(out, buf_view(&clean));
        buf_byte(out, ']');
        out->failed = out->failed || clean.failed;
    }
    buf_byte(out, ']');
    out->failed = out->failed || recording->fields[which].failed;
}

/* Its size, and what may be said of its bytes. */
static void put_body(struct recording *recording, struct buf *out, enum recorded_body which)
{
    const struct recorded *body = &recording->bodies[which];
    enum body_kind kind = recording->kinds[which];
    if (body->size == 0)
        return;
    put_key(out, "body");
    buf_printf(out, "{\"size\": %" PRIu64, body->size);
    if (kind != BODY_OTHER && body->bytes.size > 0) {
        AUTO_BUF clean = BUF_INIT;
        (kind == BODY_JSON ? redact_json : redact_query)(redaction_of(recording), &clean,
                                                         buf_view(&body->bytes));
        put_key(out, "text");
        buf_json(out, buf_view(&clean));
        if (body->bytes.size < body->size)
            buf_text(out, ", \"cut\": true");
        out->failed = out->failed || clean.failed;
    }
    buf_byte(out, '}');
}

static void put_lines(struct recording *recording, struct buf *out, const char *key,
                      enum recorded_text which)
{
    bool of_policies = which == TEXT_LOG; /* else of ours */
    struct span rest = buf_view(&recording->texts[which]), line;
    put_key(out, key);
    buf_byte(out, '[');
    for (bool first = true; span_split(&rest, '\n', &line); first = false) {
        if (line.size == 0)
            break;
        buf_text(out, first ? "" : ", ");
        if (of_policies)
            put_text(recording, out, line);
        else
            buf_json(out, line);
    }
    buf_byte(out, ']');
}

/* ---- parts of the line */

static void put_request(struct recording *recording, struct buf *out)
{
    const struct weir_request *request = recording->request;
    put_key(out, "request");
    buf_byte(out, '{');
    put_name(out, "method", request->head.method);
    put_name(out, "scheme", request->scheme);
    put_key(out, "port");
    buf_printf(out, "%u", (unsigned)request->port);
    put_address(recording, out, "client_ip", request->client_ip);
    put_address(recording, out, "peer_ip", request->peer_ip);
    put_member(recording, out, "path", buf_view(&recording->texts[TEXT_PATH]));
    if (recording->has_query)
        put_query(recording, out, buf_view(&recording->texts[TEXT_QUERY]));
    put_fields(recording, out, FIELDS_REQUEST);
    put_body(recording, out, RECORDED_UP);
    buf_byte(out, '}');
}

static void put_entities(struct recording *recording, struct buf *out)
{
    const struct weir_request *request = recording->request;
    if (request->route != NULL) {
        const struct route *route = request->route;
        put_name(out, "route", span_is_set(route->name) ? route->name : route->id);
    }
    if (request->service != NULL) {
        const struct service *service = request->service;
        put_name(out, "service", span_is_set(service->name) ? service->name : service->id);
    }
    if (request->consumer != NULL) {
        const struct consumer *consumer = request->consumer;
        put_name(out, "consumer",
                 span_is_set(consumer->username) ? consumer->username : consumer->id);
    }
    bool any = false;
    for (size_t i = 0; i < request->capture_count; i++) {
        if (request->capture_names == NULL || !span_is_set(request->capture_names[i]))
            continue;
        if (!any) {
            put_key(out, "captures");
            buf_byte(out, '[');
        }
        buf_text(out, any ? ", [" : "[");
        buf_json(out, request->capture_names[i]);
        buf_text(out, ", ");
        put_text(recording, out,
                 span_is_set(request->captures[i]) ? request->captures[i] : SPAN(""));
        buf_byte(out, ']');
        any = true;
    }
    buf_text(out, any ? "]" : "");
}

/* Which builds they were. */
static void put_builds(struct recording *recording, struct buf *out)
{
    const struct chain_set *set = recording->request->set;
    put_key(out, "builds");
    buf_byte(out, '{');
    for (uint16_t i = 0; set != NULL && i < set->member_count; i++) {
        const struct running_policy *policy = set->members[i];
        if (policy->image == NULL)
            continue;
        buf_text(out, out->data[out->size - 1] == '{' ? "" : ", ");
        buf_json(out, policy->policy->name);
        buf_printf(out, ": \"%.12s\"", image_hash(policy->image).data);
    }
    buf_byte(out, '}');
}

static void put_sent(struct recording *recording, struct buf *out)
{
    const struct weir_request *request = recording->request;
    bool overridden = span_is_set(request->path_override);
    if (!span_is_set(request->upstream_path)) /* nothing was */
        return;
    put_key(out, "sent");
    buf_byte(out, '{');
    put_name(out, "method",
             span_is_set(request->method_override) ? request->method_override
                                                   : request->head.method);
    put_member(recording, out, "path", overridden ? request->path_override : request->path);
    if (span_is_set(request->query))
        put_query(recording, out, request->query);
    put_fields(recording, out, FIELDS_SENT);
    buf_byte(out, '}');
}

static void put_target(struct recording *recording, struct buf *out)
{
    int64_t ms = request_target_ms(recording->request);
    if (recording->target_status == 0)
        return;
    put_key(out, "target");
    buf_printf(out, "{\"status\": %u, \"ms\": %" PRId64, (unsigned)recording->target_status,
               ms < 0 ? 0 : ms);
    put_fields(recording, out, FIELDS_TARGET);
    if (recording->request->from_target)
        put_body(recording, out, RECORDED_DOWN);
    buf_byte(out, '}');
}

static void put_answer(struct recording *recording, struct buf *out)
{
    const struct weir_request *request = recording->request;
    bool hooked = recording->bodies[RECORDED_HOOKED].size > 0;
    put_key(out, "answer");
    buf_printf(out, "{\"status\": %u",
               request->has_response ? (unsigned)request->response.status : 0);
    put_fields(recording, out, FIELDS_ANSWER);
    put_body(recording, out, hooked ? RECORDED_HOOKED : RECORDED_DOWN);
    buf_byte(out, '}');
}

/* Everything that is a secret by its place, before anything is written: it may turn up elsewhere,
 * and earlier. */
static void note_secrets(struct recording *recording)
{
    AUTO_BUF waste = BUF_INIT;
    const struct weir_request *request = recording->request;
    redaction_begin(redaction_of(recording));
    if (request->credential != NULL)
        redaction_note(redaction_of(recording), request->credential->key);
    put_query(recording, &waste, buf_view(&recording->texts[TEXT_QUERY]));
    put_query(recording, &waste, request->query);
    for (int which = 0; which < RECORDED_FIELDS; which++)
        put_fields(recording, &waste, (enum recorded_fields)which);
    put_address(recording, &waste, "client_ip", request->client_ip);
    put_address(recording, &waste, "peer_ip", request->peer_ip);
    for (int which = 0; which < RECORDED_BODIES; which++)
        put_body(recording, &waste, (enum recorded_body)which);
}

void recorder_line(struct recording *recording, uint64_t number, struct buf *out)
{
    const struct weir_request *request = recording->request;
    note_secrets(recording);
    buf_printf(out,
               "{\"number\": %" PRIu64 ", \"worker\": %" PRIu32 ", \"time\": %" PRIu64
               ", \"id\": \"%.*s\"",
               number, recording->recorder->host->worker, request->started_wall_ms,
               (int)sizeof(request->id), request->id);
    put_request(recording, out);
    put_entities(recording, out);
    put_builds(recording, out);
    put_lines(recording, out, "verdicts", TEXT_VERDICTS);
    put_lines(recording, out, "log", TEXT_LOG);
    put_sent(recording, out);
    put_target(recording, out);
    put_answer(recording, out);
    buf_byte(out, '}');
    redaction_begin(redaction_of(recording));
}

void recorder_header(struct buf *out, uint64_t number, uint64_t wall_ms, bool bodies,
                     struct span configuration)
{
    buf_printf(out,
               "{\"weir_record\": %d, \"weir\": \"" WEIR_VERSION "\", \"abi\": \"%d.%d\""
               ", \"time\": %" PRIu64 ", \"number\": %" PRIu64 ", \"bodies\": %s"
               ", \"configuration\": ",
               RECORD_VERSION, WEIR_MAJOR, WEIR_MINOR, wall_ms, number, bodies ? "true" : "false");
    buf_json(out, configuration);
    buf_byte(out, '}');
}
