/* Plans that measure: does what the plugin holds grow with the requests it has seen, or with the
 * size of a body it said it would not keep? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_plans.h"
#include "fuzz_report.h"

enum {
    FIRST = 256,    /* requests before the first look; each look is after as many again */
    MOST = 16384,   /* a cache may have that many entries, and no more */
    GROWTH_MIN = 4, /* bytes for a request */
    BODY_SMALL = 64 << 10,
    BODY_LARGE = 512 << 10,
    PIECE = 4096,
};

/* Everything that tells clients apart differs from all before. */
static void make_different(struct ask *ask, uint32_t number)
{
    for (size_t i = 0; i < ask->header_count; i++)
        if ((number + i) % 3 != 0)
            (void)snprintf(ask->headers[i].value, sizeof(ask->headers[i].value), "client-%u-%zu",
                           (unsigned)number, i);
    (void)snprintf(ask->client_ip, sizeof(ask->client_ip), "10.%u.%u.%u",
                   (unsigned)(number >> 16 & 255), (unsigned)(number >> 8 & 255),
                   (unsigned)(number & 255));
    (void)snprintf(ask->target, sizeof(ask->target), "/item/%u?word=%u", (unsigned)number,
                   (unsigned)number);
    for (size_t i = 0; i < watch_words(); i++) {
        size_t at = strlen(ask->target);
        if (strpbrk(watch_word(i), " %&=#?+") == NULL && at + 96 < sizeof(ask->target))
            (void)snprintf(ask->target + at, sizeof(ask->target) - at, "&%s=w%u", watch_word(i),
                           (unsigned)number);
    }
}

static void send_many(struct lab *lab, struct kit *kit, uint32_t from, uint32_t count)
{
    static struct ask ask;
    for (uint32_t i = from; i < from + count; i++) {
        if (i % 16 == 0)
            ask_make(&ask, &lab->dice, true);
        make_different(&ask, i);
        lab_free(lab_finish(kit, &ask));
        if (i % 8 == 0) /* entries may run out, as they would */
            kit_advance_ms(kit, 500);
    }
}

void plan_growth(struct lab *lab)
{
    uint64_t before = 0, now = 0;
    uint32_t sent = FIRST;
    bool grows = true;
    struct kit *kit = lab_kit(lab);
    report_scenario("%d and more requests, no two of the same client", FIRST);
    if (kit != NULL)
        send_many(lab, kit, 0, FIRST);
    /* Doubled each time, as tables of entries are. */
    for (; kit != NULL && grows && sent < MOST; sent *= 2) {
        before = watch_bytes_held();
        send_many(lab, kit, sent, sent);
        now = watch_bytes_held();
        grows = now > before + (uint64_t)sent * GROWTH_MIN;
    }
    if (grows && kit != NULL)
        report_find("unbounded memory", "access",
                    "about %llu bytes more for each request with other values: %llu KiB after "
                    "%u requests, and no end",
                    (unsigned long long)((now - before) / (sent / 2)),
                    (unsigned long long)(now >> 10), (unsigned)sent);
    lab_close(lab, kit);
}

/* ---- bodies */

/* The most it held while a body of that size passed. */
static uint64_t peak_of(struct kit *kit, const struct ask *ask, char *body, size_t size)
{
    kit_request *r = ask_request(kit, ask);
    kit_request_body_bytes(r, body, size);
    kit_target_response_bytes(r, 200, body, size);
    kit_split(r, PIECE);
    (void)watch_bytes_peak();
    uint64_t before = watch_bytes_held();
    watch_request_begins(r);
    report_of()->requests++;
    if (kit_run(r) == 0)
        kit_advance_ms(kit, 1000);
    uint64_t most = watch_bytes_peak();
    lab_free(r);
    return most > before ? most - before : 0;
}

static bool passes_by(uint32_t need)
{
    return need == WEIR_BODY_STREAM || need == WEIR_BODY_TEE;
}

static void judge_body(struct kit *kit, struct ask *ask, const char *type, char *body)
{
    (void)snprintf(ask->body.type, sizeof(ask->body.type), "%s", type);
    (void)snprintf(ask->answer.type, sizeof(ask->answer.type), "%s", type);
    uint64_t small = peak_of(kit, ask, body, BODY_SMALL);
    uint64_t large = peak_of(kit, ask, body, BODY_LARGE);
    if (large > small + (BODY_LARGE - BODY_SMALL) / 2)
        report_find("unbounded memory",
                    watch_plugin()->request_body != NULL ? "request_body" : "response_body",
                    "%llu KiB held for a body of %d KiB, %llu KiB for one of %d KiB, though the "
                    "body is declared to pass by",
                    (unsigned long long)(small >> 10), BODY_SMALL >> 10,
                    (unsigned long long)(large >> 10), BODY_LARGE >> 10);
}

void plan_body_growth(struct lab *lab)
{
    static struct ask ask;
    const weir_plugin *plugin = watch_plugin();
    if (plugin == NULL ||
        (!passes_by(plugin->request_body_need) && !passes_by(plugin->response_body_need)))
        return;
    struct kit *kit = lab_kit(lab);
    char *body = malloc(BODY_LARGE);
    report_scenario("bodies of %d and of %d KiB, both ways", BODY_SMALL >> 10, BODY_LARGE >> 10);
    if (kit != NULL && body != NULL) {
        memset(body, 'x', BODY_LARGE);
        ask_make(&ask, &lab->dice, true);
        (void)snprintf(ask.method, sizeof(ask.method), "POST");
        ask.body = (struct ask_body){.there = true};
        judge_body(kit, &ask, "text/plain", body);
        judge_body(kit, &ask, "application/json", body);
    }
    free(body);
    lab_close(lab, kit);
}
