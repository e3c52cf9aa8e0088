/* Rings: members become peers (one per address), and the smooth weighted round robin over them.
 *
 * Smooth: each turn every peer gains its weight, the richest is chosen and pays the sum of all
 * weights. Over one round a peer is chosen as often as its weight says, and its turns are spread:
 * 3 to 1 gives A A B A, never A A A B B. */
#include <stdlib.h>

#include "base/buf.h"
#include "upstream/checks.h"

static void put_u32(struct buf *key, size_t value)
{
    uint32_t number = (uint32_t)value;
    buf_append(key, &number, sizeof number);
}

static void put_text(struct buf *key, struct span text)
{
    put_u32(key, text.size);
    buf_span(key, text);
}

/* Sizes go before texts, so no two plans have one key. */
static void make_key(struct buf *key, const struct ring_plan *plan)
{
    put_text(key, plan->server_name);
    put_text(key, plan->id);
    for (size_t i = 0; i < plan->count; i++) {
        put_u32(key, plan->members[i].port);
        put_u32(key, plan->members[i].weight);
        put_text(key, plan->members[i].host);
    }
    if (plan->upstream == NULL)
        return;
    put_u32(key, plan->upstream->algorithm);
    put_u32(key, (size_t)plan->upstream->slots);
    if (checks_wanted(plan->upstream))
        checks_key(key, plan->upstream);
}

/* The plan again, its texts now in the ring's own key, which outlives the configuration. */
static void read_plan(struct ring *ring, const struct ring_plan *plan)
{
    const char *at = ring->key + sizeof(uint32_t);
    ring->server_name = span_of(at, plan->server_name.size);
    at += plan->server_name.size + sizeof(uint32_t);
    ring->id = span_of(at, plan->id.size);
    at += plan->id.size;
    for (size_t i = 0; i < plan->count; i++) {
        struct ring_member *member = &ring->members[i];
        at += 3 * sizeof(uint32_t);
        member->ring = ring;
        member->plan = plan->members[i];
        member->plan.host.data = at;
        member->recheck_ms = UINT64_MAX;
        at += member->plan.host.size;
    }
}

/* Literals never change: they are peers at once, all with one allocation. The names follow. */
static bool add_literals(struct ring *ring)
{
    ring->peers = calloc(ring->member_count + 1, sizeof *ring->peers);
    if (ring->peers == NULL)
        return false;
    for (size_t i = 0; i < ring->member_count; i++) {
        struct ring_member *member = &ring->members[i];
        struct peer *peer = &ring->peers[ring->peer_count];
        if (member->plan.weight == 0)
            continue;
        if (address_parse_ip(member->plan.host, member->plan.port, &peer->address) != WEIR_OK) {
            member->recheck_ms = ring->refresh_ms = 0;
            continue;
        }
        if (ring->special && (peer->record = record_create(ring, member, &peer->address)) == NULL)
            return false;
        peer->weight = member->plan.weight;
        peer->member = (uint32_t)i;
        ring->total += peer->weight;
        ring->peer_count++;
    }
    return true;
}

static bool add_algorithm(struct ring *ring, const struct upstream *upstream)
{
    enum { SLOTS_MIN = 1000, SLOTS_MAX = 65536 };
    if (upstream == NULL)
        return true;
    ring->algorithm = upstream->algorithm;
    ring->special = ring->algorithm != BALANCE_ROUND_ROBIN || checks_wanted(upstream);
    if (ring->algorithm == BALANCE_CONSISTENT_HASHING) {
        ring->slot_count = upstream->slots < SLOTS_MIN   ? SLOTS_MIN
                           : upstream->slots > SLOTS_MAX ? SLOTS_MAX
                                                         : (uint32_t)upstream->slots;
        ring->slots = calloc(ring->slot_count, sizeof *ring->slots);
        if (ring->slots == NULL)
            return false;
    }
    return !checks_wanted(upstream) || (ring->checks = checks_create(ring, upstream)) != NULL;
}

static void free_ring(struct ring *ring)
{
    checks_destroy(ring->checks);
    for (size_t i = 0; i < ring->peer_count; i++) {
        pool_release(ring->peers[i].pool);
        record_release(ring->peers[i].record);
    }
    free(ring->slots);
    free(ring->peers);
    free(ring->members);
    free(ring);
}

static struct ring *create_ring(struct upstreams *upstreams, const struct ring_plan *plan,
                                struct span key)
{
    struct ring *ring = calloc(1, sizeof *ring + key.size);
    if (ring == NULL)
        return NULL;
    ring->upstreams = upstreams;
    ring->refs = 1;
    ring->refresh_ms = UINT64_MAX;
    ring->key_size = key.size;
    memcpy(ring->key, key.data, key.size);
    list_init(&ring->waiting);
    ring->members = calloc(plan->count + 1, sizeof *ring->members);
    if (ring->members != NULL) {
        ring->member_count = plan->count;
        read_plan(ring, plan);
        if (add_algorithm(ring, plan->upstream) && add_literals(ring) &&
            map_add(upstreams->rings, span_of(ring->key, ring->key_size), ring) == WEIR_OK) {
            ring_forget_choices(ring);
            if (ring->checks != NULL)
                checks_plan(ring->checks);
            return ring;
        }
    }
    free_ring(ring);
    return NULL;
}

struct ring *ring_acquire(struct upstreams *upstreams, const struct ring_plan *plan, bool create)
{
    AUTO_BUF key = BUF_INIT;
    make_key(&key, plan);
    if (key.failed)
        return NULL;
    struct ring *ring = map_find(upstreams->rings, buf_view(&key));
    if (ring == NULL)
        return create ? create_ring(upstreams, plan, buf_view(&key)) : NULL;
    ring->refs++;
    return ring;
}

void ring_release(struct ring *ring)
{
    if (ring == NULL || --ring->refs > 0)
        return;
    CHECK_THAT(list_is_empty(&ring->waiting));
    for (size_t i = 0; i < ring->member_count; i++)
        lookup_cancel(ring->members[i].lookup);
    (void)map_remove(ring->upstreams->rings, span_of(ring->key, ring->key_size));
    free_ring(ring);
}

void ring_scatter(struct ring *ring)
{
    if (ring->scattered || ring->peer_count < 2)
        return;
    ring->scattered = true;
    for (size_t turns = ring->upstreams->scatter++ % ring->peer_count; turns > 0; turns--) {
        uint64_t none = 0;
        (void)ring_choose(ring, &none);
    }
}

static bool was_tried(uint64_t tried, size_t index)
{
    return (tried >> (index & 63) & 1) != 0;
}

static struct peer *richest(struct ring *ring, uint64_t tried)
{
    struct peer *best = NULL;
    for (size_t i = 0; i < ring->peer_count; i++) {
        struct peer *peer = &ring->peers[i];
        if (!peer->down && !was_tried(tried, i) && (best == NULL || peer->current > best->current))
            best = peer;
    }
    return best;
}

struct peer *ring_choose(struct ring *ring, uint64_t *tried)
{
    struct peer *best = NULL;
    int64_t gained = 0;
    for (size_t i = 0; i < ring->peer_count; i++) {
        struct peer *peer = &ring->peers[i];
        if (UNLIKELY(peer->down))
            continue;
        gained += peer->weight;
        peer->current += peer->weight;
        if (!was_tried(*tried, i) && (best == NULL || peer->current > best->current))
            best = peer;
    }
    if (best == NULL) { /* all were tried */
        *tried = 0;
        best = richest(ring, 0);
    }
    CHECK_THAT(best != NULL);
    best->current -= gained;
    *tried |= UINT64_C(1) << ((size_t)(best - ring->peers) & 63);
    return best;
}

/* Of a literal without its brackets: it is no SNI then, but the address the certificate names. */
static struct span server_name_of(const struct ring *ring, const struct peer *peer)
{
    struct span host = ring->members[peer->member].plan.host;
    if (ring->server_name.size > 0)
        host = ring->server_name;
    if (span_starts_with(host, SPAN("[")) && span_ends_with(host, SPAN("]")))
        host = span_of(host.data + 1, host.size - 2);
    return host;
}

struct target_pool *ring_pool(struct ring *ring, struct peer *peer, struct tls_client *tls)
{
    struct span name = tls == NULL ? SPAN_NONE : server_name_of(ring, peer);
    struct target_pool *pool = pool_acquire(ring->upstreams, &peer->address, tls, name);
    if (pool == NULL)
        return NULL;
    pool_release(peer->pool);
    peer->pool = pool;
    return pool;
}
