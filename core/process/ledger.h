/* What the master knows of plugin builds beyond what plugin_path holds: which build a swap chose,
 * which one a rollback goes back to, which one is in quarantine, and how often it ended a worker.
 * Builds are named by their hash; their files are images/NAME.<hash>.so (prefix.h). [master] */
#ifndef WEIR_PROCESS_LEDGER_H
#define WEIR_PROCESS_LEDGER_H

#include <stdint.h>

#include "base/span.h"
#include "plugin_host/image.h"

enum { LEDGER_MAX = 64, LEDGER_NAME_MAX = 64, LEDGER_DEATHS_MAX = 16 };

struct build_hash {
    char text[IMAGE_HASH_TEXT + 1]; /* "": none */
};
static inline bool hash_is_set(const struct build_hash *hash)
{
    return hash->text[0] != '\0';
}
static inline bool hash_equal(const struct build_hash *a, const struct build_hash *b)
{
    return memcmp(a->text, b->text, sizeof(a->text)) == 0;
}

struct plugin_record {
    char name[LEDGER_NAME_MAX];
    struct build_hash pinned;   /* runs whatever plugin_path holds */
    struct build_hash previous; /* ran before it */
    uint64_t previous_until_ms; /* monotonic: kept until then */
    struct build_hash quarantined;
    char why[256]; /* of the last rollback or quarantine that nobody asked for */
    struct {
        struct build_hash build;
        uint64_t at_ms[LEDGER_DEATHS_MAX]; /* a ring */
        uint32_t count;
    } deaths;
};

struct ledger { /* zero it before first use */
    struct plugin_record *records;
    size_t count;
};

/* NULL: no record, or with `create` no room for one more. Valid until the next call. */
struct plugin_record *ledger_find(struct ledger *ledger, const char *name, bool create);
/* The build a rollback of the plugin goes to, NULL: none is kept (any more). */
const struct build_hash *ledger_previous(const struct ledger *ledger, const char *name,
                                         uint64_t now_ms);
/* `build` of the plugin ended a worker: how often within `window_ms` until now. */
uint32_t ledger_death(struct plugin_record *record, const struct build_hash *build, uint64_t now_ms,
                      uint32_t window_ms);
void ledger_free(struct ledger *ledger);

#endif
