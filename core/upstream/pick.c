/* Attempts. The usual one, a ring with peers, is a walk through a few pointers: no hash, no name,
 * no allocation. What a target's health or an algorithm wants to know of an attempt is kept in a
 * record, which usual ones do not have. */
#include "upstream/pick.h"

#include "base/clock.h"
#include "upstream/checks.h"

/* `host` of a policy has a ring of its own, which the exchange holds. */
static struct ring *find_ring(struct pick *pick, struct way *way)
{
    const struct service *service = pick->service;
    struct upstreams *upstreams = pick->balancers->upstreams;
    if (LIKELY(!span_is_set(pick->host))) {
        if (UNLIKELY(way->ring == NULL))
            way->ring = host_ring(upstreams, service->host, (uint16_t)service->port, true);
        return way->ring;
    }
    if (pick->ring == NULL)
        pick->ring = host_ring(upstreams, pick->host, pick->port, true);
    return pick->ring;
}

/* Out of line, as what follows: the usual way shall not pay for it. */
static __attribute__((noinline)) struct peer *choose_special(struct ring *ring, struct pick *pick)
{
    struct peer *peer = ring_choose_special(ring, pick);
    if (peer == NULL)
        return NULL;
    peer->record->refs++;
    peer->record->active++;
    pick->record = peer->record;
    pick->begun_us = clock_mono_us();
    return peer;
}

static __attribute__((noinline)) void let_go(struct pick *pick)
{
    struct peer_record *record = TAKE(pick->record);
    record->active--;
    record_release(record);
}

static enum weir_err fill(struct pick *pick, struct way *way, struct ring *ring)
{
    struct tls_client *tls = way->tls == NULL ? NULL : way->tls->client;
    struct peer *peer = ring->peers;
    if (UNLIKELY(ring->special)) {
        peer = choose_special(ring, pick);
        if (peer == NULL)
            return WEIR_ERR_NO_TARGET;
    } else if (ring->peer_count > 1) {
        peer = ring_choose(ring, &pick->tried);
    }
    struct target_pool *pool = peer->pool;
    if (UNLIKELY(!pool_is_for(pool, tls))) {
        pool = ring_pool(ring, peer, tls);
        if (pool == NULL)
            return WEIR_ERR_NO_MEMORY;
    }
    pool->refs++;
    pick->pool = pool;
    pick->address = peer->address;
    pick->target_port = peer->address.port;
    pick->upstream = NULL;
    pick->target = NULL;
    pick->host_name = pick->service->host;
    if (UNLIKELY(span_is_set(pick->host))) {
        pick->host_name = pick->host;
    } else if (way->upstream != NULL) {
        pick->upstream = way->upstream;
        pick->target = way->upstream->targets[peer->member];
        pick->host_name = pick->target->host;
    }
    pick->attempts++;
    return WEIR_OK;
}

static enum weir_err attempt(struct pick *pick)
{
    struct way *way = &pick->balancers->ways[pick->service->index];
    struct ring *ring = find_ring(pick, way);
    if (UNLIKELY(ring == NULL))
        return WEIR_ERR_NO_MEMORY;
    if (UNLIKELY(clock_mono_ms() >= ring->refresh_ms))
        ring_refresh(ring);
    if (UNLIKELY(ring->peer_count == 0)) {
        if (ring->lookups == 0)
            return ring_error(ring);
        list_push_back(&ring->waiting, &pick->waiting);
        return WEIR_ERR_AGAIN;
    }
    if (UNLIKELY(pick->ring != NULL))
        ring_scatter(ring);
    return fill(pick, way, ring);
}

enum weir_err pick_next(struct pick *pick)
{
    list_remove(&pick->waiting);
    if (UNLIKELY(pick->record != NULL))
        let_go(pick);
    pool_release(TAKE(pick->pool));
    return attempt(pick);
}

void pick_resume(struct list *waiting)
{
    struct pick *pick = LIST_ENTRY(waiting, struct pick, waiting);
    enum weir_err err = attempt(pick);
    if (err != WEIR_ERR_AGAIN)
        pick->done(pick, err);
}

void pick_end(struct pick *pick)
{
    list_remove(&pick->waiting);
    if (UNLIKELY(pick->record != NULL))
        let_go(pick);
    pool_release(TAKE(pick->pool));
    ring_release(TAKE(pick->ring));
}

void pick_report_now(struct pick *pick, enum pick_outcome outcome, unsigned status)
{
    enum { FAILURE_US = 1000000 };
    const struct ring *ring = pick->balancers->ways[pick->service->index].ring;
    uint64_t took_us = clock_mono_us() - pick->begun_us;
    /* A refusal comes quickly: it must not look like a good answer. */
    if (ring->algorithm == BALANCE_LATENCY)
        record_observe(pick->record, outcome == PICK_ANSWERED ? took_us : took_us + FAILURE_US);
    if (ring->checks != NULL)
        checks_report(ring->checks, pick->record, false, outcome, status);
}
