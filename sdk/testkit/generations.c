/* Configurations of the test kit, and the builds of plugins they run: what a reload and a swap do
 * in a worker of the gateway. Requests under way keep the one they began with. */
#include <stdio.h>
#include <stdlib.h>

#include "kit_internal.h"

enum { KIT_SWAPS = 64 };

/* Of the last configuration that was tried. */
static struct buf last_error, last_warnings;

const char *kit_buf_text(struct buf *buf)
{
    if (buf->size == 0)
        return "";
    buf_byte(buf, '\0');
    if (buf->failed)
        kit_die("no memory");
    buf->size--;
    return buf->data;
}

const char *kit_error(void)
{
    return kit_buf_text(&last_error);
}

const char *kit_warnings(void)
{
    return kit_buf_text(&last_warnings);
}

static void tell_problems(struct problems *problems)
{
    for (size_t i = 0; i < problems_count(problems); i++) {
        const struct problem *problem = problems_at(problems, i);
        struct buf *out = problem->level == PROBLEM_ERROR ? &last_error : &last_warnings;
        if (out->size > 0)
            buf_byte(out, '\n');
        problem_print_line(problems, problem, out);
    }
}

/* ---- generations */

static void generation_free(struct kit_generation *generation)
{
    if (generation == NULL)
        return;
    policies_stop(generation->policies);
    catalog_destroy(generation->catalog);
    arena_destroy(generation->arena);
    free(generation);
}
AUTO_DEFINE(struct kit_generation, generation_free)

void kit_generation_unpin(struct kit *kit, struct kit_generation *generation)
{
    if (--generation->pins > 0)
        return;
    if (kit->generation == generation)
        kit->generation = NULL;
    kit->generation_count--;
    generation_free(generation);
}

static enum weir_err fill_generation(struct kit *kit, struct kit_generation *generation,
                                     struct span yaml, struct problems *problems)
{
    TRY(config_load(generation->arena, yaml, "kong.yml", catalog_view(generation->catalog),
                    problems, &generation->config));
    TRY(policies_build(generation->arena, kit->host, generation->config, generation->catalog,
                       problems, &generation->policies));
    char why[512] = "";
    enum weir_err err = policies_start(generation->policies, why, sizeof(why));
    if (err != WEIR_OK)
        buf_text(&last_error, why);
    return err;
}

static struct catalog *make_catalog(const struct kit *kit)
{
    struct plugin_source items[KIT_SWAPS];
    struct plugin_sources sources = {items, 0};
    LIST_FOREACH (node, &kit->swaps) {
        const struct kit_swap *swap = LIST_ENTRY(node, const struct kit_swap, link);
        items[sources.count++] = (struct plugin_source){.name = swap->plugin, .path = swap->path};
    }
    return catalog_create_from(kit->folder, &sources, kit->images);
}

/* NULL: refused, and last_error says why. */
static struct kit_generation *generation_of(struct kit *kit, const char *yaml)
{
    last_error.size = last_warnings.size = 0;
    AUTO(generation_free)
    struct kit_generation *generation = kit_need(calloc(1, sizeof(*generation)));
    generation->pins = 1;
    generation->arena = kit_need(arena_create(NULL));
    generation->catalog = kit_need(make_catalog(kit));
    AUTO(arena_destroy) struct arena *notes = kit_need(arena_create(NULL));
    struct problems *problems = kit_need(problems_create(notes));

    enum weir_err err = fill_generation(kit, generation, span_text(yaml), problems);
    tell_problems(problems);
    if (err == WEIR_OK)
        return TAKE(generation);
    if (last_error.size == 0)
        buf_text(&last_error, weir_err_text(err));
    return NULL;
}

bool kit_load(struct kit *kit, const char *yaml)
{
    struct kit_generation *generation = generation_of(kit, yaml);
    if (generation == NULL)
        return false;
    kit->generation_count++;
    struct kit_generation *old = kit->generation;
    if (old != NULL)
        policies_hand_over(old->policies, generation->policies);
    kit->generation = generation;
    if (old != NULL)
        kit_generation_unpin(kit, old);
    char *copy = kit_need(strdup(yaml));
    free(kit->yaml);
    kit->yaml = copy;
    return true;
}

bool kit_reload(struct kit *kit, const char *yaml)
{
    CHECK(kit, KIT);
    if (kit->running != NULL)
        kit_die("kit_reload() inside a hook");
    return kit_load(kit, yaml);
}

/* ---- builds */

static struct kit_swap *find_swap(struct kit *kit, const char *plugin)
{
    LIST_FOREACH (node, &kit->swaps) {
        struct kit_swap *swap = LIST_ENTRY(node, struct kit_swap, link);
        if (strcmp(swap->plugin, plugin) == 0)
            return swap;
    }
    return NULL;
}

static void drop_swap(struct kit_swap *swap)
{
    if (swap == NULL)
        return;
    list_remove(&swap->link);
    free(swap->plugin);
    free(swap->path);
    free(swap);
}

static void add_swap(struct kit *kit, const char *plugin, const char *path)
{
    size_t count = 0;
    LIST_FOREACH (node, &kit->swaps)
        count++;
    if (count == KIT_SWAPS)
        kit_die("kit_swap: more than %d plugins", KIT_SWAPS);
    struct kit_swap *swap = kit_need(calloc(1, sizeof(*swap)));
    swap->plugin = kit_need(strdup(plugin));
    swap->path = kit_need(strdup(path));
    list_push_back(&kit->swaps, &swap->link);
}

void kit_swaps_copy(struct kit *kit, const struct kit *from)
{
    LIST_FOREACH (node, &from->swaps) {
        const struct kit_swap *swap = LIST_ENTRY(node, const struct kit_swap, link);
        add_swap(kit, swap->plugin, swap->path);
    }
}

void kit_swaps_free(struct kit *kit)
{
    LIST_FOREACH (node, &kit->swaps)
        drop_swap(LIST_ENTRY(node, struct kit_swap, link));
}

bool kit_swap(struct kit *kit, const char *plugin, const char *so)
{
    CHECK(kit, KIT);
    if (kit->running != NULL)
        kit_die("kit_swap() inside a hook");
    struct kit_swap *former = find_swap(kit, plugin);
    if (former != NULL)
        list_remove(&former->link);
    char place[4096];
    int size = 0;
    if (so != NULL && strchr(so, '/') == NULL)
        size = snprintf(place, sizeof(place), "%.*s/%s", (int)strcspn(kit->folder, ":"),
                        kit->folder, so);
    else if (so != NULL)
        size = snprintf(place, sizeof(place), "%s", so);
    if (size < 0 || (size_t)size >= sizeof(place))
        kit_die("kit_swap: the path is too long: %s", so);
    if (so != NULL)
        add_swap(kit, plugin, place);
    if (kit_load(kit, kit->yaml)) {
        drop_swap(former);
        return true;
    }
    drop_swap(find_swap(kit, plugin));
    if (former != NULL)
        list_push_back(&kit->swaps, &former->link);
    return false;
}

size_t kit_generations(const struct kit *kit)
{
    CHECK(kit, KIT);
    return kit->generation_count;
}

size_t kit_images(const struct kit *kit)
{
    CHECK(kit, KIT);
    return images_count(kit->images);
}

size_t kit_free_finished(struct kit *kit)
{
    size_t count = 0;
    CHECK(kit, KIT);
    LIST_FOREACH (node, &kit->requests) {
        kit_request *r = LIST_ENTRY(node, kit_request, link);
        if (r->stage != STAGE_OVER)
            continue;
        kit_request_free(r);
        count++;
    }
    return count;
}
