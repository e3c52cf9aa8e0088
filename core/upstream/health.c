#include "upstream/health.h"

#include "upstream/checks.h"

static struct ring *ring_of(const struct balancers *balancers, const struct upstream *upstream)
{
    return balancers->rings[upstream->index];
}

static enum target_health health_of(const struct ring *ring, const struct peer *peer)
{
    if (ring->checks == NULL || peer->record->cell == NULL)
        return TARGET_UNCHECKED;
    return cell_is_up(peer->record->cell) ? TARGET_HEALTHY : TARGET_UNHEALTHY;
}

/* No ring, or a target without a part in it: what the resolver knows. */
static enum target_health known_health(const struct balancers *balancers,
                                       const struct target *target, struct target_address *out,
                                       size_t max, size_t *out_count)
{
    const struct resolution *known = balancers_known(balancers, target->host);
    if (known == NULL)
        return TARGET_UNCHECKED;
    if (known->error != WEIR_OK)
        return TARGET_DNS_ERROR;
    for (size_t i = 0; i < known->count && *out_count < max; i++) {
        struct target_address *to = &out[(*out_count)++];
        to->address = known->addresses[i];
        address_set_port(&to->address, (uint16_t)target->port);
        to->health = TARGET_UNCHECKED;
    }
    return TARGET_UNCHECKED;
}

static bool is_of(const struct peer *peer, const struct target *target)
{
    return target->upstream->targets[peer->member] == target;
}

enum target_health balancers_health(const struct balancers *balancers, const struct target *target,
                                    struct target_address *out, size_t max, size_t *out_count)
{
    const struct ring *ring = ring_of(balancers, target->upstream);
    enum target_health health = TARGET_UNCHECKED;
    *out_count = 0;
    if (ring == NULL || ring->checks == NULL || target->weight == 0)
        return known_health(balancers, target, out, max, out_count);
    for (size_t i = 0; i < ring->peer_count; i++) {
        const struct peer *peer = &ring->peers[i];
        if (!is_of(peer, target))
            continue;
        enum target_health one = health_of(ring, peer);
        if (health == TARGET_UNCHECKED || one == TARGET_HEALTHY)
            health = one;
        if (*out_count < max)
            out[(*out_count)++] = (struct target_address){peer->address, one};
    }
    return *out_count > 0 ? health : known_health(balancers, target, out, max, out_count);
}

struct balance_facts balancers_facts(const struct balancers *balancers,
                                     const struct upstream *upstream)
{
    struct balance_facts facts = {0};
    struct ring *ring = ring_of(balancers, upstream);
    if (ring == NULL)
        return facts;
    facts.total = ring->total;
    facts.healthy = ring->total > 0;
    if (ring->checks == NULL)
        return facts;
    ring_see_health(ring);
    facts.checked = true;
    facts.healthy = facts.healthy && !ring->below;
    for (size_t i = 0; i < ring->peer_count; i++)
        facts.unavailable += ring->peers[i].down ? (int64_t)ring->peers[i].weight : 0;
    return facts;
}

bool balancers_set_health(struct balancers *balancers, const struct target *target,
                          const struct address *address, bool healthy)
{
    const struct ring *ring = ring_of(balancers, target->upstream);
    bool found = false;
    for (size_t i = 0; ring != NULL && ring->checks != NULL && i < ring->peer_count; i++) {
        const struct peer *peer = &ring->peers[i];
        if (!is_of(peer, target) || (address != NULL && !address_equal(address, &peer->address)))
            continue;
        checks_force(ring->checks, peer->record, healthy);
        found = true;
    }
    return found;
}
