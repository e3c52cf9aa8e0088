/* The names among a ring's members: asked for when their answer is due, while the addresses known
 * so far go on being used. Only a ring without any peer makes its exchanges wait. */
#include <stdlib.h>

#include "base/clock.h"
#include "upstream/internal.h"

enum {
    ERROR_RECHECK_MS = 30000, /* at the latest */
    STALE_RECHECK_MS = 1000,  /* the resolver fetches a fresh answer meanwhile */
    STALE_MAX_MS = 3600 * 1000,
};

/* Where the peers of a member begin and end: they lie in the order of the members. */
static void find_range(const struct ring *ring, uint32_t member, size_t *out_from, size_t *out_to)
{
    size_t from = 0;
    while (from < ring->peer_count && ring->peers[from].member < member)
        from++;
    *out_from = *out_to = from;
    while (*out_to < ring->peer_count && ring->peers[*out_to].member == member)
        (*out_to)++;
}

static struct peer *find_peer(struct peer *peers, size_t from, size_t to,
                              const struct address *address)
{
    for (size_t i = from; i < to; i++) {
        if (address_equal(&peers[i].address, address))
            return &peers[i];
    }
    return NULL;
}

/* Name servers turn the order of an answer around with every query: that changes nothing. */
static bool is_same_set(struct ring *ring, size_t from, size_t to, const struct address *addresses,
                        size_t count)
{
    if (to - from != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (find_peer(ring->peers, from, to, &addresses[i]) == NULL)
            return false;
    }
    return true;
}

/* The new list from the old one and what the member has now. False without memory. */
static bool fill(struct ring *ring, struct peer *peers, uint32_t member,
                 const struct address *addresses, size_t count)
{
    size_t from, to;
    find_range(ring, member, &from, &to);
    for (size_t i = 0; i < count; i++) {
        struct peer *peer = &peers[i];
        const struct peer *old = find_peer(ring->peers, from, to, &addresses[i]);
        peer->address = addresses[i];
        peer->member = member;
        peer->weight = ring->members[member].plan.weight;
        if (old == NULL && ring->special &&
            (peer->record = record_create(ring, &ring->members[member], &addresses[i])) == NULL)
            return false;
    }
    return true;
}

static void release(struct peer *peers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pool_release(peers[i].pool);
        record_release(peers[i].record);
    }
}

static void sum_weights(struct ring *ring)
{
    ring->total = 0;
    for (size_t i = 0; i < ring->peer_count; i++)
        ring->total += ring->peers[i].weight;
}

bool ring_set_addresses(struct ring *ring, uint32_t member, const struct address *addresses,
                        size_t count)
{
    size_t from, to;
    find_range(ring, member, &from, &to);
    if (is_same_set(ring, from, to, addresses, count))
        return true;
    size_t after = ring->peer_count - to;
    struct peer *peers = calloc(from + count + after + 1, sizeof *peers);
    if (peers == NULL)
        return false;
    if (!fill(ring, peers + from, member, addresses, count)) {
        release(peers + from, count);
        free(peers);
        return false;
    }
    memcpy(peers, ring->peers, from * sizeof *peers);
    memcpy(peers + from + count, ring->peers + to, after * sizeof *peers);
    for (size_t i = from; i < from + count; i++) {
        struct peer *old = find_peer(ring->peers, from, to, &peers[i].address);
        if (old == NULL)
            continue;
        peers[i].current = old->current;
        peers[i].pool = TAKE(old->pool);
        peers[i].record = TAKE(old->record);
    }
    release(ring->peers + from, to - from);
    free(ring->peers);
    ring->peers = peers;
    ring->peer_count = from + count + after;
    sum_weights(ring);
    ring_forget_choices(ring);
    return true;
}

static void apply(struct ring_member *member, const struct resolution *resolution)
{
    struct address addresses[NAME_ADDRESSES_MAX];
    struct ring *ring = member->ring;
    uint64_t now = clock_mono_ms();
    size_t count = 0;
    if (resolution->error == WEIR_OK) {
        for (; count < resolution->count && count < NAME_ADDRESSES_MAX; count++) {
            addresses[count] = resolution->addresses[count];
            address_set_port(&addresses[count], member->plan.port);
        }
        member->recheck_ms = resolution->expires_ms;
        if (resolution->expires_ms <= now)
            member->recheck_ms = now + STALE_RECHECK_MS;
    } else {
        member->recheck_ms = resolution->expires_ms < now + ERROR_RECHECK_MS
                                 ? resolution->expires_ms
                                 : now + ERROR_RECHECK_MS;
        if (member->recheck_ms <= now)
            member->recheck_ms = now + 1;
    }
    member->error = resolution->error;
    if (!ring_set_addresses(ring, (uint32_t)(member - ring->members), addresses, count)) {
        member->error = WEIR_ERR_NO_MEMORY;
        member->recheck_ms = now + STALE_RECHECK_MS;
    }
}

static void set_refresh(struct ring *ring)
{
    ring->refresh_ms = UINT64_MAX;
    for (size_t i = 0; i < ring->member_count; i++) {
        const struct ring_member *member = &ring->members[i];
        if (member->lookup == NULL && member->recheck_ms < ring->refresh_ms)
            ring->refresh_ms = member->recheck_ms;
    }
}

static void wake(struct ring *ring)
{
    struct list batch;
    list_init(&batch);
    ring->refs++; /* a pick that ends may hold the last one */
    while (!list_is_empty(&ring->waiting)) {
        struct list *node = ring->waiting.next;
        list_remove(node);
        list_push_back(&batch, node);
    }
    while (!list_is_empty(&batch)) {
        struct list *node = batch.next;
        list_remove(node);
        pick_resume(node);
    }
    ring_release(ring);
}

static void on_resolved(const struct resolution *resolution, void *user)
{
    struct ring_member *member = user;
    struct ring *ring = member->ring;
    member->lookup = NULL;
    ring->lookups--;
    apply(member, resolution);
    set_refresh(ring);
    if (ring->peer_count > 0 || ring->lookups == 0)
        wake(ring);
}

static void ask(struct ring_member *member)
{
    struct ring *ring = member->ring;
    struct resolver *resolver = ring->upstreams->resolver;
    const struct resolution *known = resolver_cached(resolver, member->plan.host);
    if (known != NULL) {
        apply(member, known);
        return;
    }
    /* Nobody asked for long: these addresses may be somebody else's by now. */
    if (clock_mono_ms() - member->recheck_ms > STALE_MAX_MS)
        (void)ring_set_addresses(ring, (uint32_t)(member - ring->members), NULL, 0);
    member->lookup = resolver_lookup(resolver, member->plan.host, on_resolved, member);
    if (member->lookup != NULL) {
        ring->lookups++;
        return;
    }
    member->error = WEIR_ERR_NO_MEMORY;
    member->recheck_ms = clock_mono_ms() + STALE_RECHECK_MS;
}

void ring_refresh(struct ring *ring)
{
    uint64_t now = clock_mono_ms();
    for (size_t i = 0; i < ring->member_count; i++) {
        struct ring_member *member = &ring->members[i];
        if (member->lookup == NULL && member->recheck_ms <= now)
            ask(member);
    }
    set_refresh(ring);
}

enum weir_err ring_error(const struct ring *ring)
{
    enum weir_err err = WEIR_ERR_NO_TARGET;
    for (size_t i = 0; i < ring->member_count; i++) {
        const struct ring_member *member = &ring->members[i];
        if (member->plan.weight == 0)
            continue;
        if (member->error != WEIR_ERR_NO_NAME)
            return WEIR_ERR_TARGET_BUSY;
        err = WEIR_ERR_NO_NAME;
    }
    return err;
}
