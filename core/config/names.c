/* Open addressing, at most half full. */
#include "config/names.h"

#include "base/hash.h"

struct name_slot {
    struct span key;
    void *value;
    uint64_t hash; /* names are alike: most others are told apart without reading them */
};

static const struct hash_key fixed_key = {0x776569722d636f6eULL, 0x6669672d6e616d65ULL};

static struct name_slot *find_slot(const struct names *names, struct span key, uint64_t hash)
{
    size_t at = (size_t)hash & (names->capacity - 1);
    const struct name_slot *slot = &names->slots[at];
    while (slot->value != NULL && !(slot->hash == hash && span_equal(slot->key, key))) {
        at = (at + 1) & (names->capacity - 1);
        slot = &names->slots[at];
    }
    return &names->slots[at];
}

/* All of one table into a larger one, where each has a place of its own. */
static void move_all(const struct names *from, const struct names *to)
{
    for (size_t i = 0; i < from->capacity; i++) {
        const struct name_slot *slot = &from->slots[i];
        size_t at = (size_t)slot->hash & (to->capacity - 1);
        if (slot->value == NULL)
            continue;
        while (to->slots[at].value != NULL)
            at = (at + 1) & (to->capacity - 1);
        to->slots[at] = *slot;
    }
}

static enum weir_err widen(struct names *names, struct arena *arena)
{
    struct names wider = {.capacity = names->capacity == 0 ? 16 : names->capacity * 4};
    wider.slots = arena_array(arena, struct name_slot, wider.capacity);
    if (wider.slots == NULL)
        return WEIR_ERR_NO_MEMORY;
    move_all(names, &wider);
    wider.count = names->count;
    *names = wider;
    return WEIR_OK;
}

enum weir_err names_add(struct names *names, struct arena *arena, struct span key, void *value)
{
    if (names->count * 2 >= names->capacity)
        TRY(widen(names, arena));
    uint64_t hash = hash_span(&fixed_key, key);
    struct name_slot *slot = find_slot(names, key, hash);
    if (slot->value != NULL)
        return WEIR_ERR_EXISTS;
    *slot = (struct name_slot){key, value, hash};
    names->count++;
    return WEIR_OK;
}

enum weir_err names_keep(struct names *names, struct arena *arena)
{
    struct names kept = {.count = names->count, .capacity = names->count == 0 ? 0 : 2};
    while (kept.capacity * 3 < kept.count * 4)
        kept.capacity *= 2;
    kept.slots = arena_array(arena, struct name_slot, kept.capacity + 1);
    if (kept.slots == NULL)
        return WEIR_ERR_NO_MEMORY;
    move_all(names, &kept);
    *names = kept;
    return WEIR_OK;
}

void *names_find(const struct names *names, struct span key)
{
    return names->capacity == 0 || key.data == NULL
               ? NULL
               : find_slot(names, key, hash_span(&fixed_key, key))->value;
}

void names_guess(const struct names *names, struct guess *guess)
{
    for (size_t i = 0; i < names->capacity; i++) {
        if (names->slots[i].value != NULL)
            guess_offer(guess, names->slots[i].key);
    }
}

void *names_reference(const struct config_names *names, enum kind kind, struct span name_or_id)
{
    void *found = names_find(&names->by_name[kind], name_or_id);
    return found != NULL ? found : names_find(&names->by_id[kind], name_or_id);
}

struct service *config_service(const struct config *config, struct span name_or_id)
{
    return names_reference(config->names, KIND_SERVICE, name_or_id);
}

struct route *config_route(const struct config *config, struct span name_or_id)
{
    return names_reference(config->names, KIND_ROUTE, name_or_id);
}

struct consumer *config_consumer(const struct config *config, struct span name_or_id)
{
    return names_reference(config->names, KIND_CONSUMER, name_or_id);
}

struct consumer *config_consumer_by_custom_id(const struct config *config, struct span custom_id)
{
    return names_find(&config->names->custom_ids, custom_id);
}

struct upstream *config_upstream(const struct config *config, struct span name_or_id)
{
    return names_reference(config->names, KIND_UPSTREAM, name_or_id);
}

struct certificate *config_certificate(const struct config *config, struct span id)
{
    return names_find(&config->names->by_id[KIND_CERTIFICATE], id);
}
