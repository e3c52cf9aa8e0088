/* The rules of one upstream's health checks, and what reports do to its targets. */
#include "upstream/checks.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/headers.h"

static bool is_probed(const struct health_checks *checks)
{
    return checks->active_healthy.interval_s > 0 || checks->active_unhealthy.interval_s > 0;
}

bool checks_wanted(const struct upstream *upstream)
{
    const struct health_checks *checks = &upstream->checks;
    const struct check_limits *passive = &checks->passive_unhealthy;
    return is_probed(checks) || passive->tcp_failures != 0 || passive->timeouts != 0 ||
           passive->http_failures != 0;
}

/* --- the key */

static void put_number(struct buf *key, int64_t number)
{
    buf_append(key, &number, sizeof number);
}

static void put_text(struct buf *key, struct span text)
{
    put_number(key, (int64_t)text.size);
    buf_span(key, text);
}

static void put_limits(struct buf *key, const struct check_limits *limits)
{
    buf_append(key, &limits->interval_s, sizeof limits->interval_s);
    put_number(key, limits->successes);
    put_number(key, limits->tcp_failures);
    put_number(key, limits->timeouts);
    put_number(key, limits->http_failures);
    put_number(key, (int64_t)limits->http_statuses.count);
    for (size_t i = 0; i < limits->http_statuses.count; i++)
        put_number(key, limits->http_statuses.items[i]);
}

void checks_key(struct buf *key, const struct upstream *upstream)
{
    const struct health_checks *checks = &upstream->checks;
    put_text(key, upstream->name);
    put_text(key, upstream->host_header);
    put_number(key, checks->active_type);
    put_number(key, checks->concurrency);
    put_number(key, checks->https_verify_certificate);
    buf_append(key, &checks->timeout_s, sizeof checks->timeout_s);
    buf_append(key, &checks->threshold, sizeof checks->threshold);
    put_text(key, checks->http_path);
    put_text(key, checks->https_sni);
    put_limits(key, &checks->active_healthy);
    put_limits(key, &checks->active_unhealthy);
    put_limits(key, &checks->passive_healthy);
    put_limits(key, &checks->passive_unhealthy);
    for (size_t i = 0; i < checks->header_count; i++) {
        put_text(key, checks->headers[i].name);
        for (size_t j = 0; j < checks->headers[i].values.count; j++)
            put_text(key, checks->headers[i].values.items[j]);
    }
}

/* --- the rules */

static void mark(unsigned char *bits, const struct int_list *statuses)
{
    for (size_t i = 0; i < statuses->count; i++) {
        int64_t status = statuses->items[i];
        if (status >= 0 && status < CHECK_STATUSES)
            bits[status / 8] |= (unsigned char)(1U << (status % 8));
    }
}

static bool has(const unsigned char *bits, unsigned status)
{
    return status < CHECK_STATUSES && (bits[status / 8] >> (status % 8) & 1) != 0;
}

static unsigned char limit_of(int64_t limit)
{
    return (unsigned char)(limit < 0 ? 0 : limit > UINT8_MAX ? UINT8_MAX : limit);
}

static void copy_rules(struct check_rules *rules, const struct check_limits *healthy,
                       const struct check_limits *unhealthy)
{
    rules->limits[CELL_SUCCESS] = limit_of(healthy->successes);
    rules->limits[CELL_TCP_FAILURE] = limit_of(unhealthy->tcp_failures);
    rules->limits[CELL_HTTP_FAILURE] = limit_of(unhealthy->http_failures);
    rules->limits[CELL_TIMEOUT] = limit_of(unhealthy->timeouts);
    mark(rules->good, &healthy->http_statuses);
    mark(rules->bad, &unhealthy->http_statuses);
}

static uint32_t milliseconds(double seconds)
{
    double ms = seconds * 1000;
    return ms <= 0 ? 0 : ms < 1 ? 1 : ms > INT32_MAX ? INT32_MAX : (uint32_t)ms;
}

/* As the file has it, but what would end it early. */
static void put_path(struct buf *head, struct span path)
{
    for (size_t i = 0; i < path.size; i++) {
        unsigned char byte = (unsigned char)path.data[i];
        if (byte <= ' ' || byte == 0x7f)
            buf_printf(head, "%%%02X", byte);
        else
            buf_byte(head, (char)byte);
    }
}

/* "GET /path HTTP/1.1\r\nName: value\r\n": what is the same for all targets. */
static struct span make_head(struct checks *checks, const struct health_checks *from)
{
    AUTO_BUF head = BUF_INIT;
    buf_text(&head, "GET ");
    put_path(&head, from->http_path);
    buf_text(&head, " HTTP/1.1\r\n");
    for (size_t i = 0; i < from->header_count; i++) {
        const struct named_list *header = &from->headers[i];
        if (!http_name_is_valid(header->name))
            continue;
        checks->has_host |= span_equal_nocase(header->name, SPAN("host"));
        for (size_t j = 0; j < header->values.count; j++)
            if (http_value_is_valid(header->values.items[j]))
                buf_printf(&head, "%.*s: %.*s\r\n", SPAN_ARG(header->name),
                           SPAN_ARG(header->values.items[j]));
    }
    return head.failed ? SPAN_NONE : arena_copy(checks->arena, buf_view(&head));
}

static bool copy_texts(struct checks *checks, const struct upstream *upstream)
{
    const struct health_checks *from = &upstream->checks;
    struct span sni = span_is_set(from->https_sni) ? from->https_sni : checks->ring->server_name;
    checks->upstream = arena_copy(checks->arena, upstream->name);
    checks->request_head = make_head(checks, from);
    checks->host_header = arena_copy(checks->arena, upstream->host_header);
    checks->sni = arena_copy(checks->arena, sni);
    return span_is_set(checks->upstream) && span_is_set(checks->request_head) &&
           span_is_set(checks->host_header) == span_is_set(upstream->host_header) &&
           span_is_set(checks->sni) == span_is_set(sni);
}

static bool take_tls(struct checks *checks, const struct health_checks *from)
{
    char why[320] = "";
    bool wanted = from->active_type == CHECK_HTTPS || from->active_type == CHECK_GRPCS;
    if (!wanted || !is_probed(from))
        return true;
    enum weir_err err = tls_acquire_for_probes(
        checks->ring->upstreams, from->https_verify_certificate, &checks->tls, why, sizeof why);
    if (err != WEIR_OK)
        log_error("upstream '%.*s': no TLS for probes: %s", SPAN_ARG(checks->upstream), why);
    return err == WEIR_OK;
}

/* What is shared with other workers, or when nobody gave anything, our own. */
static struct health_table *table_of(struct upstreams *upstreams)
{
    if (upstreams->health == NULL)
        upstreams->health = upstreams->own = calloc(1, sizeof *upstreams->own);
    return upstreams->health;
}

void upstreams_set_health(struct upstreams *upstreams, struct health_table *table)
{
    upstreams->health = table;
}

/* The newest of an upstream probes; older ones live as long as exchanges that began with them. */
static void choose_newest(struct upstreams *upstreams, struct span id)
{
    bool retired = false;
    LIST_FOREACH (node, &upstreams->checks) {
        struct checks *checks = LIST_ENTRY(node, struct checks, link);
        if (!span_equal(checks->ring->id, id))
            continue;
        checks->retired = retired;
        retired = true;
    }
}

struct checks *checks_create(struct ring *ring, const struct upstream *upstream)
{
    const struct health_checks *from = &upstream->checks;
    struct health_table *table = table_of(ring->upstreams);
    struct arena *arena = table == NULL ? NULL : arena_create(NULL);
    struct checks *checks = arena == NULL ? NULL : arena_new(arena, struct checks);
    if (checks == NULL) {
        arena_destroy(arena);
        return NULL;
    }
    checks->ring = ring;
    checks->table = table;
    checks->arena = arena;
    checks->threshold = from->threshold;
    checks->type = from->active_type;
    checks->interval_ms[true] = milliseconds(from->active_healthy.interval_s);
    checks->interval_ms[false] = milliseconds(from->active_unhealthy.interval_s);
    checks->timeout_ms = from->timeout_s > 0 ? milliseconds(from->timeout_s) : 1000;
    checks->concurrency =
        (uint32_t)(from->concurrency > CHECK_CONCURRENCY_MAX ? CHECK_CONCURRENCY_MAX
                                                             : from->concurrency);
    copy_rules(&checks->passive, &from->passive_healthy, &from->passive_unhealthy);
    copy_rules(&checks->active, &from->active_healthy, &from->active_unhealthy);
    list_init(&checks->probes);
    deadline_init(&checks->tick, checks_look);
    list_push_front(&ring->upstreams->checks, &checks->link);
    choose_newest(ring->upstreams, ring->id);
    if (copy_texts(checks, upstream) && take_tls(checks, from))
        return checks;
    checks_destroy(checks);
    return NULL;
}

void checks_destroy(struct checks *checks)
{
    if (checks == NULL)
        return;
    deadline_clear(&checks->tick);
    probes_cancel(checks);
    list_remove(&checks->link);
    choose_newest(checks->ring->upstreams, checks->ring->id);
    tls_release(checks->ring->upstreams, checks->tls);
    arena_destroy(checks->arena);
}

/* --- reports */

struct health_cell *checks_cell(const struct checks *checks, struct peer_record *record)
{
    uint64_t now = clock_mono_ms();
    if (record->cell == NULL || !cell_hold(record->cell, record->cell_key, now))
        record->cell = cell_take(checks->table, record->cell_key, now);
    return record->cell;
}

/* "10.0.0.1:80", "api.test (10.0.0.1:80)". */
static const char *name_of(const struct peer_record *record, char *out, size_t size)
{
    char text[ADDRESS_TEXT];
    struct span address = address_text(&record->address, text);
    if (span_equal(record->host, address_ip_text(&record->address)))
        (void)snprintf(out, size, "%.*s", SPAN_ARG(address));
    else
        (void)snprintf(out, size, "%.*s (%.*s)", SPAN_ARG(record->host), SPAN_ARG(address));
    return out;
}

static void tell(const struct checks *checks, const struct peer_record *record,
                 const struct cell_change *change, const char *why)
{
    char name[ADDRESS_TEXT + 300];
    if (change->up)
        log_notice("upstream '%.*s': target %s is healthy again: %s", SPAN_ARG(checks->upstream),
                   name_of(record, name, sizeof name), why);
    else
        log_warn("upstream '%.*s': target %s is unhealthy: %s", SPAN_ARG(checks->upstream),
                 name_of(record, name, sizeof name), why);
}

/* False: it is nobody's business. */
static bool event_of(const struct check_rules *rules, enum pick_outcome outcome, unsigned status,
                     enum cell_event *out_event)
{
    switch (outcome) {
    case PICK_UNREACHABLE:
        *out_event = CELL_TCP_FAILURE;
        return true;
    case PICK_LATE:
        *out_event = CELL_TIMEOUT;
        return true;
    case PICK_ANSWERED:
        break;
    }
    bool good = status == CHECK_CONNECTED || (status != 0 && has(rules->good, status));
    *out_event = good ? CELL_SUCCESS : CELL_HTTP_FAILURE;
    return good || status == 0 || has(rules->bad, status);
}

void checks_report(struct checks *checks, struct peer_record *record, bool active,
                   enum pick_outcome outcome, unsigned status)
{
    static const char *const words[2][CELL_EVENTS] = {
        {[CELL_SUCCESS] = "good answers",
         [CELL_TCP_FAILURE] = "failed connections",
         [CELL_HTTP_FAILURE] = "bad answers",
         [CELL_TIMEOUT] = "timeouts"},
        {[CELL_SUCCESS] = "good probes",
         [CELL_TCP_FAILURE] = "probes without a connection",
         [CELL_HTTP_FAILURE] = "probes with a bad answer",
         [CELL_TIMEOUT] = "late probes"},
    };
    const struct check_rules *rules = active ? &checks->active : &checks->passive;
    enum cell_event event;
    if (!event_of(rules, outcome, status, &event) || rules->limits[event] == 0)
        return;
    struct health_cell *cell = checks_cell(checks, record);
    if (cell == NULL)
        return;
    struct cell_change change = cell_report(checks->table, cell, event, rules->limits[event]);
    if (!change.turned)
        return;
    char why[128];
    int size = snprintf(why, sizeof why, "%u %s", change.count, words[active][event]);
    if (outcome == PICK_ANSWERED && event == CELL_HTTP_FAILURE)
        (void)snprintf(why + size, sizeof why - (size_t)size, ", the last with status %u", status);
    tell(checks, record, &change, why);
    checks_plan(checks);
}

void checks_force(struct checks *checks, struct peer_record *record, bool up)
{
    struct health_cell *cell = checks_cell(checks, record);
    if (cell == NULL)
        return;
    struct cell_change change = cell_force(checks->table, cell, up);
    if (!change.turned)
        return;
    tell(checks, record, &change, "the admin API says so");
    checks_plan(checks);
}
