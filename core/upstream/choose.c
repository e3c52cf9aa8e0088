/* Which peer is next where it is no plain turn: targets that are down are passed over, requests
 * that are alike go to one target, or the one with the least to do or the quickest answers is
 * taken.
 *
 * Consistent hashing is weighted rendezvous over slots: a slot belongs to the peer that draws the
 * best lot for it, and a lot depends on peer and slot alone. So a target that goes away gives up
 * its own slots and no others, to all that are left by their weights; one that comes takes its
 * share from all; every worker and every machine comes to the same. A slot's owner is found when it
 * is asked for first, and kept. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "upstream/checks.h"

#define LATENCY_DECAY_US 10e6

/* --- records */

/* The same in every process and on every machine. */
static const struct hash_key seed_key = {0x776569722d736565ULL, 0x642d6f662d706565ULL};
static const struct hash_key cell_key = {0x776569722d63656cULL, 0x6c2d6f662d686f73ULL};

struct peer_record *record_create(const struct ring *ring, const struct ring_member *member,
                                  const struct address *address)
{
    char name[ADDRESS_TEXT + 600];
    char text[ADDRESS_TEXT];
    struct peer_record *record = calloc(1, sizeof *record);
    if (record == NULL)
        return NULL;
    struct span where = address_text(address, text);
    record->refs = 1;
    record->address = *address;
    record->host = member->plan.host;
    record->seed = hash_span(&seed_key, where);
    /* A name has 253 bytes at most, an id 36: what is longer is no target's. */
    size_t size = 0;
    const struct span parts[] = {ring->id, where, span_first(member->plan.host, 300)};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        struct span part = span_first(parts[i], 300);
        if (size + part.size + 1 > sizeof name)
            break;
        memcpy(name + size, part.data, part.size);
        size += part.size;
        name[size++] = '\0';
    }
    record->cell_key = hash_span(&cell_key, span_of(name, size));
    if (ring->checks != NULL && checks_cell(ring->checks, record) == NULL)
        log_warn("upstream '%.*s': no room to remember the health of %.*s, it is not checked",
                 SPAN_ARG(ring->checks->upstream), SPAN_ARG(where));
    return record;
}

void record_release(struct peer_record *record)
{
    if (record != NULL && --record->refs == 0)
        free(record);
}

/* --- health */

void ring_forget_choices(struct ring *ring)
{
    if (ring->slots != NULL)
        memset(ring->slots, 0, ring->slot_count * sizeof *ring->slots);
    ring->seen_changes = UINT64_MAX;
}

static void judge(struct ring *ring)
{
    const struct checks *checks = ring->checks;
    int64_t up = 0;
    for (size_t i = 0; i < ring->peer_count; i++) {
        struct peer *peer = &ring->peers[i];
        peer->down = peer->record->cell != NULL && !cell_is_up(peer->record->cell);
        up += peer->down ? 0 : (int64_t)peer->weight;
    }
    bool below = up == 0 || (double)up * 100 <= checks->threshold * (double)ring->total;
    if (below != ring->below && ring->peer_count > 0)
        log_line(below ? LOG_WARN : LOG_NOTICE,
                 below ? "upstream '%.*s': too little of it is healthy, its requests get 503"
                       : "upstream '%.*s': enough of it is healthy again",
                 SPAN_ARG(checks->upstream));
    ring->below = below;
}

void ring_see_health(struct ring *ring)
{
    uint64_t changes = __atomic_load_n(&ring->checks->table->changes, __ATOMIC_ACQUIRE);
    if (LIKELY(changes == ring->seen_changes))
        return;
    ring->seen_changes = changes;
    judge(ring);
}

/* --- candidates */

static uint64_t bit_of(size_t index)
{
    return UINT64_C(1) << (index & 63);
}

static bool may_have(const struct ring *ring, size_t index, uint64_t tried)
{
    return !ring->peers[index].down && (tried & bit_of(index)) == 0;
}

/* --- hashing */

static double lot_of(const struct peer *peer, uint64_t slot)
{
    uint64_t x = peer->record->seed ^ ((slot + 1) * 0x9e3779b97f4a7c15ULL);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    x ^= x >> 31;
    double uniform = ((double)(x >> 11) + 0.5) * 0x1p-53; /* in (0, 1) */
    return -log(uniform) / peer->weight;
}

static struct peer *best_lot(struct ring *ring, uint64_t slot, bool any, uint64_t tried)
{
    struct peer *best = NULL;
    double best_lot = 0;
    for (size_t i = 0; i < ring->peer_count; i++) {
        if (!any && !may_have(ring, i, tried))
            continue;
        double lot = lot_of(&ring->peers[i], slot);
        if (best == NULL || lot < best_lot) {
            best = &ring->peers[i];
            best_lot = lot;
        }
    }
    return best;
}

static struct peer *by_hash(struct ring *ring, struct pick *pick)
{
    if (!pick->has_hash && pick->hash != NULL) {
        const struct way *way = &pick->balancers->ways[pick->service->index];
        pick->hashed = pick->hash(pick, way->upstream);
    }
    pick->has_hash = true;
    uint64_t slot = pick->hashed % ring->slot_count;
    uint32_t *owner = &ring->slots[slot];
    if (*owner == 0)
        *owner = (uint32_t)(best_lot(ring, slot, true, 0) - ring->peers) + 1;
    if (may_have(ring, *owner - 1, pick->tried))
        return &ring->peers[*owner - 1];
    return best_lot(ring, slot, false, pick->tried);
}

/* --- the least to do */

/* Of equals the next in turn: an idle pool is used evenly. */
static struct peer *by_connections(struct ring *ring, struct pick *pick)
{
    struct peer *best = NULL;
    size_t start = ring->turn++ % ring->peer_count;
    for (size_t i = 0; i < ring->peer_count; i++) {
        size_t at = (start + i) % ring->peer_count;
        struct peer *peer = &ring->peers[at];
        if (!may_have(ring, at, pick->tried))
            continue;
        if (best == NULL || (uint64_t)(peer->record->active + 1) * best->weight <
                                (uint64_t)(best->record->active + 1) * peer->weight)
            best = peer;
    }
    return best;
}

/* --- the quickest answers */

static double decayed(const struct peer_record *record, uint64_t now_us)
{
    return record->latency_us * exp(-(double)(now_us - record->scored_us) / LATENCY_DECAY_US);
}

void record_observe(struct peer_record *record, uint64_t us)
{
    uint64_t now = clock_mono_us();
    double old_part = exp(-(double)(now - record->scored_us) / LATENCY_DECAY_US);
    record->latency_us = record->scored_us == 0
                             ? (double)us
                             : record->latency_us * old_part + (double)us * (1 - old_part);
    record->scored_us = now;
}

/* Who has not answered yet counts as the average of the others. */
static double average(const struct ring *ring, uint64_t now_us)
{
    double sum = 0;
    size_t known = 0;
    for (size_t i = 0; i < ring->peer_count; i++) {
        const struct peer_record *record = ring->peers[i].record;
        if (record->scored_us == 0)
            continue;
        sum += decayed(record, now_us);
        known++;
    }
    return known == 0 ? 0 : sum / (double)known;
}

static double score_of(const struct ring *ring, const struct peer *peer, uint64_t now_us)
{
    double latency =
        peer->record->scored_us == 0 ? average(ring, now_us) : decayed(peer->record, now_us);
    return latency / peer->weight;
}

/* The candidate with `skip` candidates before it. */
static struct peer *candidate(struct ring *ring, uint64_t tried, size_t skip)
{
    for (size_t i = 0; i < ring->peer_count; i++) {
        if (may_have(ring, i, tried) && skip-- == 0)
            return &ring->peers[i];
    }
    return NULL;
}

/* The better of two drawn at random: all workers running to the one best target would make it the
 * worst. */
static struct peer *by_latency(struct ring *ring, struct pick *pick)
{
    size_t count = 0;
    uint64_t now = clock_mono_us();
    for (size_t i = 0; i < ring->peer_count; i++)
        count += may_have(ring, i, pick->tried);
    if (count < 2)
        return candidate(ring, pick->tried, 0);
    size_t first = random_u64() % count, second = random_u64() % (count - 1);
    second += second >= first;
    struct peer *a = candidate(ring, pick->tried, first);
    struct peer *b = candidate(ring, pick->tried, second);
    if (a == NULL || b == NULL)
        return a;
    double a_score = score_of(ring, a, now), b_score = score_of(ring, b, now);
    if (b->record->scored_us == 0) /* of equals the one that has yet to show what it can */
        return a_score < b_score ? a : b;
    return a_score <= b_score ? a : b;
}

/* --- */

static struct peer *by_turn(struct ring *ring, struct pick *pick)
{
    return ring_choose(ring, &pick->tried);
}

struct peer *ring_choose_special(struct ring *ring, struct pick *pick)
{
    static struct peer *(*const ways[])(struct ring * ring, struct pick * pick) = {
        [BALANCE_ROUND_ROBIN] = by_turn,
        [BALANCE_CONSISTENT_HASHING] = by_hash,
        [BALANCE_LEAST_CONNECTIONS] = by_connections,
        [BALANCE_LATENCY] = by_latency,
    };
    if (ring->checks != NULL) {
        ring_see_health(ring);
        if (ring->below)
            return NULL;
    }
    struct peer *peer = ways[ring->algorithm](ring, pick);
    if (peer == NULL) { /* all were tried: once more from the beginning */
        pick->tried = 0;
        peer = ways[ring->algorithm](ring, pick);
    }
    CHECK_THAT(peer != NULL);
    pick->tried |= bit_of((size_t)(peer - ring->peers));
    return peer;
}
