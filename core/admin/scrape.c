#include "admin/scrape.h"

#include <stdlib.h>

#include "admin/node.h"
#include "base/clock.h"
#include "plugin_host/metrics.h"

/* A turn of the loop may take so much longer while somebody scrapes. */
enum { SLICE_US = 100, SLICE_BYTES = 32768, SERIES_AT_ONCE = 8 };

struct scrape {
    struct node_scrape node;
    struct metrics_cursor *cursor;
    const struct node_family *families;
    size_t family_count, family;
    bool begun; /* of node family `family`: its head is written */
};

struct scrape *scrape_create(struct shared *shared, struct generation *generation)
{
    struct scrape *scrape = calloc(1, sizeof(*scrape));
    if (scrape == NULL)
        return NULL;
    scrape->cursor = metrics_cursor_create(shared);
    scrape->node.workers = calloc(shared_workers(shared), sizeof(struct node_process));
    if (scrape->cursor == NULL || scrape->node.workers == NULL) {
        scrape_destroy(scrape);
        return NULL;
    }
    scrape->node.shared = shared;
    scrape->node.generation = generation;
    if (generation != NULL)
        generation_pin(generation);
    node_id(scrape->node.id);
    scrape->node.totals = node_totals(shared);
    scrape->node.usage = shared_usage(shared);
    scrape->families = node_families(&scrape->family_count);
    return scrape;
}

void scrape_destroy(struct scrape *scrape)
{
    if (scrape == NULL)
        return;
    generation_unpin(scrape->node.generation);
    metrics_cursor_destroy(scrape->cursor);
    free(scrape->node.workers);
    free(scrape);
}

static void next_family(struct scrape *scrape)
{
    scrape->family++;
    scrape->begun = false;
}

static void render_node(struct scrape *scrape, struct buf *out)
{
    const struct node_family *family = &scrape->families[scrape->family];
    if (!scrape->begun && family->wanted != NULL && !family->wanted(&scrape->node)) {
        next_family(scrape);
        return;
    }
    if (!scrape->begun)
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                   family->type);
    scrape->begun = true;
    if (!family->render(&scrape->node, family, out))
        next_family(scrape);
}

/* Whose family comes next by name? One of the node's hides a policy's of the same name: a name
 * twice would make Prometheus refuse the whole. */
static bool step(struct scrape *scrape, struct buf *out)
{
    struct span policys = metrics_cursor_family(scrape->cursor);
    if (scrape->family == scrape->family_count) {
        if (span_is_set(policys))
            (void)metrics_cursor_render(scrape->cursor, SERIES_AT_ONCE, out);
        return span_is_set(policys);
    }
    struct span nodes = span_text(scrape->families[scrape->family].name);
    int order = span_is_set(policys) ? span_compare(policys, nodes) : 1;
    if (order == 0)
        metrics_cursor_skip(scrape->cursor);
    else if (order < 0)
        (void)metrics_cursor_render(scrape->cursor, SERIES_AT_ONCE, out);
    else
        render_node(scrape, out);
    return true;
}

bool scrape_next(struct scrape *scrape, struct buf *out)
{
    uint64_t end_us = clock_precise_us() + SLICE_US;
    size_t begun = out->size;
    do {
        if (!node_gather(&scrape->node) && !step(scrape, out))
            return false;
    } while (!out->failed && out->size - begun < SLICE_BYTES && clock_precise_us() < end_us);
    return true;
}
