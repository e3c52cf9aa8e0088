#include "process/ledger.h"

#include <stdio.h>
#include <stdlib.h>

struct plugin_record *ledger_find(struct ledger *ledger, const char *name, bool create)
{
    for (size_t i = 0; i < ledger->count; i++)
        if (strcmp(ledger->records[i].name, name) == 0)
            return &ledger->records[i];
    if (!create || ledger->count == LEDGER_MAX || strlen(name) >= LEDGER_NAME_MAX)
        return NULL;
    if (ledger->records == NULL)
        ledger->records = calloc(LEDGER_MAX, sizeof(*ledger->records));
    if (ledger->records == NULL)
        return NULL;
    struct plugin_record *record = &ledger->records[ledger->count++];
    (void)snprintf(record->name, sizeof(record->name), "%s", name);
    return record;
}

const struct build_hash *ledger_previous(const struct ledger *ledger, const char *name,
                                         uint64_t now_ms)
{
    for (size_t i = 0; i < ledger->count; i++) {
        const struct plugin_record *record = &ledger->records[i];
        if (strcmp(record->name, name) == 0)
            return hash_is_set(&record->previous) && now_ms < record->previous_until_ms
                       ? &record->previous
                       : NULL;
    }
    return NULL;
}

uint32_t ledger_death(struct plugin_record *record, const struct build_hash *build, uint64_t now_ms,
                      uint32_t window_ms)
{
    if (!hash_equal(&record->deaths.build, build)) {
        memset(&record->deaths, 0, sizeof(record->deaths));
        record->deaths.build = *build;
    }
    record->deaths.at_ms[record->deaths.count++ % LEDGER_DEATHS_MAX] = now_ms;
    uint32_t kept = record->deaths.count < LEDGER_DEATHS_MAX ? record->deaths.count
                                                             : (uint32_t)LEDGER_DEATHS_MAX;
    uint32_t recent = 0;
    for (uint32_t i = 0; i < kept; i++)
        recent += now_ms - record->deaths.at_ms[i] <= window_ms;
    return recent;
}

void ledger_free(struct ledger *ledger)
{
    free(ledger->records);
    *ledger = (struct ledger){0};
}
