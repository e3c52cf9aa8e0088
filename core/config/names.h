/* Text -> pointer in an arena: the names and ids of a configuration live and die with it. The keys
 * come from the operator's file, so the hash needs no secret. Private to this room. */
#ifndef WEIR_CONFIG_NAMES_H
#define WEIR_CONFIG_NAMES_H

#include "base/arena.h"
#include "base/error.h"
#include "config/entities.h"

struct names {
    struct name_slot *slots;
    size_t count, capacity;
};

/* Keys are borrowed. EXISTS leaves the old one. */
WEIR_MUST_USE enum weir_err names_add(struct names *names, struct arena *arena, struct span key,
                                      void *value);
/* Move to `arena`, no larger than needed, for look-ups alone. */
WEIR_MUST_USE enum weir_err names_keep(struct names *names, struct arena *arena);
void *names_find(const struct names *names, struct span key);
/* The key closest to `wanted`. */
void names_guess(const struct names *names, struct guess *guess);

enum kind {
    KIND_VAULT,
    KIND_CA_CERTIFICATE,
    KIND_CERTIFICATE,
    KIND_SERVICE,
    KIND_ROUTE,
    KIND_CONSUMER,
    KIND_UPSTREAM,
    KIND_TARGET,
    KIND_SNI,
    KIND_POLICY,
    KIND_COUNT
};

struct config_names {
    struct names by_name[KIND_COUNT], by_id[KIND_COUNT];
    struct names custom_ids;
    struct names credential_ids, credential_keys; /* of all collections */
};

void *names_reference(const struct config_names *names, enum kind kind, struct span name_or_id);

#endif
