#include "admin/upstreams.h"

#include <inttypes.h>

#include "admin/node.h"
#include "admin/views.h"
#include "http/uri.h"
#include "upstream/health.h"

enum { PATH_PARTS = 6, ADDRESSES_MAX = 64 };

struct place { /* what a path names */
    struct balancers *balancers;
    const struct config *config;
    const struct upstream *upstream;
    struct span parts[PATH_PARTS]; /* decoded */
    size_t count;
    struct arena *arena;
};

static const char *const health_words[] = {
    [TARGET_UNCHECKED] = "HEALTHCHECKS_OFF",
    [TARGET_HEALTHY] = "HEALTHY",
    [TARGET_UNHEALTHY] = "UNHEALTHY",
    [TARGET_DNS_ERROR] = "DNS_ERROR",
};

/* --- documents */

static void put_target_name(struct buf *out, const struct target *target)
{
    bool bare_v6 = span_find(target->host, ':') < target->host.size;
    buf_printf(out, bare_v6 ? "\"[%.*s]:%" PRId64 "\"" : "\"%.*s:%" PRId64 "\"",
               SPAN_ARG(target->host), target->port);
}

static void put_tags(struct buf *out, const struct span_list *tags)
{
    if (tags->count == 0) {
        buf_text(out, "null");
        return;
    }
    for (size_t i = 0; i < tags->count; i++) {
        buf_byte(out, i == 0 ? '[' : ',');
        buf_json(out, tags->items[i]);
    }
    buf_byte(out, ']');
}

static void put_weights(struct buf *out, int64_t total, int64_t unavailable)
{
    buf_printf(out,
               "\"weight\":{\"total\":%" PRId64 ",\"available\":%" PRId64
               ",\"unavailable\":%" PRId64 "}",
               total, total - unavailable, unavailable);
}

/* {"host", "port", "dns", "nodeWeight", "weight", "addresses"}; what an address says of its health
 * is a word, or in the document of a balancer a boolean. */
static void put_host(struct buf *out, const struct target *target,
                     const struct target_address *addresses, size_t count, bool words)
{
    int64_t down = 0;
    buf_text(out, "{\"host\":");
    buf_json(out, target->host);
    buf_printf(out,
               ",\"port\":%" PRId64 ",\"dns\":\"A\",\"nodeWeight\":%" PRId64 ",\"addresses\":[",
               target->port, target->weight);
    for (size_t i = 0; i < count; i++) {
        const struct address *address = &addresses[i].address;
        enum target_health health = addresses[i].health;
        down += health == TARGET_UNHEALTHY;
        buf_printf(out, "%s{\"ip\":", i == 0 ? "" : ",");
        buf_json(out, address_ip_text(address));
        buf_printf(out, ",\"port\":%u,\"weight\":%" PRId64, address->port, target->weight);
        if (words)
            buf_printf(out, ",\"health\":\"%s\"}", health_words[health]);
        else
            buf_printf(out, ",\"healthy\":%s}", health == TARGET_UNHEALTHY ? "false" : "true");
    }
    buf_text(out, "],");
    put_weights(out, (int64_t)count * target->weight, down * target->weight);
    buf_byte(out, '}');
}

static void put_target(struct buf *out, const struct place *place, const struct target *target)
{
    struct target_address addresses[ADDRESSES_MAX];
    size_t count;
    enum target_health health =
        balancers_health(place->balancers, target, addresses, ADDRESSES_MAX, &count);
    buf_text(out, "{\"id\":");
    buf_json(out, target->id);
    buf_text(out, ",\"target\":");
    put_target_name(out, target);
    buf_text(out, ",\"upstream\":{\"id\":");
    buf_json(out, target->upstream->id);
    buf_printf(out, "},\"weight\":%" PRId64 ",\"created_at\":%.3f,\"updated_at\":%.3f,\"tags\":",
               target->weight, target->created_at, target->updated_at);
    put_tags(out, &target->tags);
    buf_printf(out, ",\"health\":\"%s\",\"data\":", health_words[health]);
    put_host(out, target, addresses, count, true);
    buf_byte(out, '}');
}

static void put_targets(struct buf *out, const struct place *place)
{
    buf_text(out, "[");
    for (size_t i = 0; i < place->upstream->target_count; i++) {
        if (i > 0)
            buf_byte(out, ',');
        put_target(out, place, place->upstream->targets[i]);
    }
    buf_byte(out, ']');
}

static void put_hosts(struct buf *out, const struct place *place)
{
    struct target_address addresses[ADDRESSES_MAX];
    bool first = true;
    for (size_t i = 0; i < place->upstream->target_count; i++) {
        const struct target *target = place->upstream->targets[i];
        size_t count;
        if (target->weight == 0)
            continue;
        (void)balancers_health(place->balancers, target, addresses, ADDRESSES_MAX, &count);
        buf_text(out, first ? "" : ",");
        put_host(out, target, addresses, count, false);
        first = false;
    }
}

static void put_balancer(struct buf *out, const struct place *place)
{
    const struct balance_facts facts = balancers_facts(place->balancers, place->upstream);
    const char *health = health_words[facts.healthy ? TARGET_HEALTHY : TARGET_UNHEALTHY];
    buf_text(out, "{\"id\":");
    buf_json(out, place->upstream->id);
    buf_printf(out, ",\"health\":\"%s\",\"balancer_health\":\"%s\",\"details\":{\"healthy\":%s,",
               facts.checked ? health : health_words[TARGET_UNCHECKED], health,
               facts.healthy ? "true" : "false");
    put_weights(out, facts.total, facts.unavailable);
    buf_text(out, ",\"hosts\":[");
    put_hosts(out, place);
    buf_text(out, "]}}");
}

static bool wants_balancer(struct span query)
{
    struct span name, value;
    bool has_value;
    while (http_query_next(&query, &name, &value, &has_value)) {
        if (span_equal(name, SPAN("balancer_health")))
            return span_equal(value, SPAN("1"));
    }
    return false;
}

static void show_health(const struct place *place, const struct server_request *request,
                        struct server_reply *reply)
{
    char id[UUID_TEXT];
    node_id(id);
    buf_text(&reply->body, "{\"data\":");
    if (wants_balancer(request->head->query))
        put_balancer(&reply->body, place);
    else
        put_targets(&reply->body, place);
    buf_printf(&reply->body, ",\"next\":null,\"node_id\":\"%.*s\"}", UUID_TEXT, id);
}

/* --- orders */

static bool is_named(const struct target *target, struct span text)
{
    AUTO_BUF name = BUF_INIT;
    if (span_equal(text, target->id) || span_equal(text, target->target))
        return true;
    put_target_name(&name, target);
    return name.size > 2 && span_equal(text, span_of(name.data + 1, name.size - 2));
}

static const struct target *find_target(const struct upstream *upstream, struct span text)
{
    for (size_t i = 0; i < upstream->target_count; i++) {
        if (is_named(upstream->targets[i], text))
            return upstream->targets[i];
    }
    return NULL;
}

static void say(struct server_reply *reply, unsigned status, const char *message)
{
    reply->status = status;
    view_message(message, &reply->body);
}

static void refuse_unchecked(const struct place *place, struct server_reply *reply)
{
    reply->status = 400;
    buf_text(&reply->body, "{\"message\":");
    struct span sentence = arena_printf(place->arena, "no healthchecker found for %.*s",
                                        SPAN_ARG(place->upstream->name));
    buf_json(&reply->body, sentence);
    buf_byte(&reply->body, '}');
}

/* /upstreams/U/targets/T[/ADDRESS]/(un)healthy */
static void set_health(const struct place *place, struct server_reply *reply)
{
    const struct target *target = find_target(place->upstream, place->parts[3]);
    bool healthy = span_equal(place->parts[place->count - 1], SPAN("healthy"));
    struct address address;
    bool one = place->count == PATH_PARTS;
    if (target == NULL || (one && address_parse(place->parts[4], &address) != WEIR_OK)) {
        say(reply, 404, "Not found");
        return;
    }
    if (!balancers_facts(place->balancers, place->upstream).checked) {
        refuse_unchecked(place, reply);
        return;
    }
    if (balancers_set_health(place->balancers, target, one ? &address : NULL, healthy))
        reply->status = 204;
    else
        say(reply, 404, "Not found");
}

/* --- paths */

static bool split(struct place *place, struct span path)
{
    path = span_from(path, 1);
    while (path.size > 0 && place->count < PATH_PARTS) {
        size_t end = span_find(path, '/');
        place->parts[place->count++] =
            text_percent_decode(place->arena, span_first(path, end), false);
        path = span_from(path, end + 1);
    }
    return path.size == 0;
}

static bool is_health(const struct place *place)
{
    return place->count == 3 && span_equal(place->parts[2], SPAN("health"));
}

static bool is_order(const struct place *place)
{
    struct span last = place->count < 5 ? SPAN_NONE : place->parts[place->count - 1];
    return span_equal(place->parts[2], SPAN("targets")) &&
           (span_equal(last, SPAN("healthy")) || span_equal(last, SPAN("unhealthy")));
}

static void answer(struct place *place, const struct server_request *request,
                   struct server_reply *reply)
{
    unsigned method = request->head->method_id;
    bool reads = method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD;
    bool allowed = is_health(place) ? reads : method == HTTP_METHOD_PUT;
    place->upstream =
        place->config == NULL ? NULL : config_upstream(place->config, place->parts[1]);
    if (!allowed) {
        reply->allow = is_health(place) ? SPAN("GET, HEAD") : SPAN("PUT");
        say(reply, 405, "Method not allowed");
    } else if (place->upstream == NULL || place->balancers == NULL) {
        say(reply, 404, "Not found");
    } else if (is_health(place)) {
        show_health(place, request, reply);
    } else {
        set_health(place, reply);
    }
}

bool upstreams_answer(const struct admin_options *node, const struct server_request *request,
                      struct server_reply *reply)
{
    struct generation *now = node->gateway == NULL ? NULL : gateway_current(node->gateway);
    AUTO(arena_destroy) struct arena *arena = NULL;
    if (!span_starts_with(request->head->path, SPAN("/upstreams/")))
        return false;
    arena = arena_create(NULL);
    if (arena == NULL) {
        reply->body.failed = true;
        return true;
    }
    struct place place = {.balancers = now == NULL ? NULL : now->balancers,
                          .config = now == NULL ? NULL : now->config,
                          .arena = arena};
    if (!split(&place, request->head->path) || (!is_health(&place) && !is_order(&place)))
        return false;
    answer(&place, request, reply);
    return true;
}
