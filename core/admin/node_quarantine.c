#include <inttypes.h>

#include "admin/node.h"
#include "base/auto.h"

struct node_quarantine node_quarantine(struct shared *shared)
{
    const struct gateway_facts *facts = shared_facts(shared);
    struct node_quarantine now = {.count = __atomic_load_n(&facts->quarantined, __ATOMIC_RELAXED)};
    _Static_assert(sizeof(now.builds) == sizeof(facts->quarantine), "the same rows");
    memcpy(now.builds, facts->quarantine, sizeof(now.builds));
    now.known = now.count < COUNT_OF(now.builds) ? now.count : (uint32_t)COUNT_OF(now.builds);
    /* The master may be writing them. */
    for (size_t i = 0; i < COUNT_OF(now.builds); i++) {
        now.builds[i].plugin[sizeof(now.builds[i].plugin) - 1] = '\0';
        now.builds[i].version[sizeof(now.builds[i].version) - 1] = '\0';
        now.builds[i].hash[sizeof(now.builds[i].hash) - 1] = '\0';
        now.builds[i].why[sizeof(now.builds[i].why) - 1] = '\0';
    }
    return now;
}

bool node_quarantine_wanted(const struct node_scrape *scrape)
{
    return node_quarantine(scrape->shared).count > 0;
}

bool node_quarantine_render(struct node_scrape *scrape, const struct node_family *family,
                            struct buf *out)
{
    struct node_quarantine now = node_quarantine(scrape->shared);
    for (uint32_t i = 0; i < now.known; i++) {
        buf_printf(out, "%s{plugin=", family->name);
        buf_json(out, span_text(now.builds[i].plugin)); /* escaped as strings of JSON are */
        buf_text(out, ",build=");
        buf_json(out, span_text(now.builds[i].hash));
        buf_text(out, "} 1\n");
    }
    return false;
}
