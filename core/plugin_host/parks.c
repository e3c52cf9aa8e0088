/* The table of parked work. Places are made in blocks that never move and are never given back
 * before the end, so that a wake from another thread may look at any of them under the lock. What
 * belongs to a request is touched on the worker's thread alone. */
#include "plugin_host/parks.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/list.h"
#include "plugin_host/builds.h"
#include "plugin_host/host_internal.h"
#include "plugin_host/phases.h"

enum { BLOCK_PARKS = 256, BLOCKS_MAX = PARKS_MAX / BLOCK_PARKS };

enum park_state { PARK_FREE, PARK_WAITS, PARK_WOKEN };

struct park {
    struct list node; /* in parks.free or parks.woken */
    struct parks *parks;
    uint32_t index, generation; /* the token */
    enum park_state state;
    uint32_t why; /* WEIR_WOKEN or WEIR_DEADLINE */
    bool failed;  /* ends without a call of on_wake */
    enum direction direction;
    struct weir_request *request;
    weir_wake_hook *on_wake;
    void *deadline; /* timer of the process; NULL once it has fired */
};

struct parks {
    struct plugin_host *host;
    pthread_mutex_t lock; /* over states, generations and the two lists */
    struct park *blocks[BLOCKS_MAX];
    uint32_t block_count;
    struct list free, woken;
    size_t woken_count, taken_count;
};

struct parks *parks_create(struct plugin_host *host)
{
    struct parks *parks = calloc(1, sizeof(*parks));
    if (parks == NULL)
        return NULL;
    if (pthread_mutex_init(&parks->lock, NULL) != 0) {
        free(parks);
        return NULL;
    }
    parks->host = host;
    list_init(&parks->free);
    list_init(&parks->woken);
    return parks;
}

void parks_destroy(struct parks *parks)
{
    if (parks == NULL)
        return;
    for (uint32_t i = 0; i < parks->block_count; i++)
        free(parks->blocks[i]);
    (void)pthread_mutex_destroy(&parks->lock);
    free(parks);
}

static void lock(struct parks *parks)
{
    CHECK_THAT(pthread_mutex_lock(&parks->lock) == 0);
}

static void unlock(struct parks *parks)
{
    CHECK_THAT(pthread_mutex_unlock(&parks->lock) == 0);
}

size_t parks_count(const struct parks *parks)
{
    return parks->taken_count - parks->woken_count;
}

/* ---- taking a place */

/* Under the lock. */
static bool add_block(struct parks *parks)
{
    if (parks->block_count >= BLOCKS_MAX)
        return false;
    struct park *block = calloc(BLOCK_PARKS, sizeof(*block));
    if (block == NULL)
        return false;
    for (uint32_t i = 0; i < BLOCK_PARKS; i++) {
        block[i].parks = parks;
        block[i].index = parks->block_count * BLOCK_PARKS + i;
        block[i].generation = 1;
        list_push_back(&parks->free, &block[i].node);
    }
    parks->blocks[parks->block_count++] = block;
    return true;
}

static struct park *take_place(struct parks *parks)
{
    struct park *park = NULL;
    lock(parks);
    if (!list_is_empty(&parks->free) || add_block(parks)) {
        park = LIST_ENTRY(parks->free.next, struct park, node);
        list_remove(&park->node);
        parks->taken_count++;
    }
    unlock(parks);
    return park;
}

/* Its token is stale from here on. */
static void give_place(struct park *park)
{
    struct parks *parks = park->parks;
    lock(parks);
    if (park->state == PARK_WOKEN)
        parks->woken_count--;
    list_remove(&park->node);
    park->state = PARK_FREE;
    park->generation++;
    list_push_front(&parks->free, &park->node);
    parks->taken_count--;
    unlock(parks);
}

/* True when it waited and is in the queue now. Asks for a turn when the queue was empty. */
static bool enqueue(struct parks *parks, struct park *park, uint32_t generation, uint32_t why)
{
    lock(parks);
    bool waits = park->state == PARK_WAITS && park->generation == generation;
    bool ask = waits && list_is_empty(&parks->woken);
    if (waits) {
        park->state = PARK_WOKEN;
        park->why = why;
        list_push_back(&parks->woken, &park->node);
        parks->woken_count++;
    }
    unlock(parks);
    if (ask)
        parks->host->services.turn_soon(parks->host->services.user);
    return waits;
}

static void on_deadline(void *arg)
{
    struct park *park = arg;
    park->deadline = NULL;
    (void)enqueue(park->parks, park, park->generation, WEIR_DEADLINE);
}

struct park *parks_take(struct parks *parks, struct weir_request *request, enum direction direction,
                        uint32_t deadline_ms, weir_wake_hook *on_wake)
{
    const struct host_services *services = host_services(parks->host);
    if (services->timer_start == NULL || services->turn_soon == NULL)
        return NULL;
    struct park *park = take_place(parks);
    if (park == NULL)
        return NULL;
    park->request = request;
    park->direction = direction;
    park->on_wake = on_wake;
    park->failed = false;
    park->deadline = services->timer_start(
        services->user, deadline_ms == 0 ? PARK_DEADLINE_MS : deadline_ms, 0, on_deadline, park);
    if (park->deadline == NULL) {
        give_place(park);
        return NULL;
    }
    lock(parks);
    park->state = PARK_WAITS;
    unlock(parks);
    request->walks[direction].park = park;
    request->park_count++;
    return park;
}

weir_token park_token(const struct park *park)
{
    return (weir_token)park->generation << 32 | (park->index + 1);
}

/* ---- waking and ending */

void parks_drop(struct parks *parks, struct park *park)
{
    if (park->deadline != NULL)
        parks->host->services.timer_stop(parks->host->services.user, park->deadline);
    park->deadline = NULL;
    struct walk *walk = &park->request->walks[park->direction];
    if (walk->waiting)
        walk->entry->policy->row->suspended--;
    walk->park = NULL;
    park->request->park_count--;
    park->request = NULL;
    give_place(park);
}

/* The place a token names, whoever has it now. */
static struct park *place_of(struct parks *parks, weir_token token)
{
    uint32_t place = (uint32_t)token;
    if (place == 0 || place > PARKS_MAX)
        return NULL;
    lock(parks);
    struct park *block = parks->blocks[(place - 1) / BLOCK_PARKS];
    unlock(parks);
    return block == NULL ? NULL : &block[(place - 1) % BLOCK_PARKS];
}

weir_status parks_wake(struct parks *parks, weir_token token)
{
    struct park *park = place_of(parks, token);
    bool woken = park != NULL && enqueue(parks, park, (uint32_t)(token >> 32), WEIR_WOKEN);
    return woken ? WEIR_SUCCESS : WEIR_GONE;
}

bool parks_fail(struct parks *parks, weir_token token)
{
    struct park *park = place_of(parks, token);
    if (park == NULL || !enqueue(parks, park, (uint32_t)(token >> 32), WEIR_WOKEN))
        return false;
    park->failed = true;
    return true;
}

static struct park *first_woken(struct parks *parks)
{
    lock(parks);
    struct park *park =
        list_is_empty(&parks->woken) ? NULL : LIST_ENTRY(parks->woken.next, struct park, node);
    unlock(parks);
    return park;
}

void parks_turn(struct parks *parks)
{
    lock(parks);
    size_t due = parks->woken_count;
    unlock(parks);
    struct park *park = due == 0 ? NULL : first_woken(parks);
    for (; park != NULL && due > 0; due--, park = first_woken(parks)) {
        struct weir_request *request = park->request;
        enum direction direction = park->direction;
        weir_wake_hook *on_wake = park->failed ? NULL : park->on_wake;
        uint32_t why = park->why;
        parks_drop(parks, park);
        walk_woken(request, direction, on_wake, why);
    }
    /* Wakes that found the queue not empty asked for no turn of their own. */
    if (park != NULL)
        parks->host->services.turn_soon(parks->host->services.user);
}
