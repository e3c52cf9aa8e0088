/* Credentials by key: one table with a keyed hash for each kind, so that a million of them cost one
 * probe and nobody outside can make keys collide. */
#include "base/clock.h"
#include "plugin_host/calls.h"
#include "plugin_host/policies.h"
#include "plugin_host/table.h"

/* The table a schema's credentials belong to; NULL: no policy of its plugin is in use. */
static struct map **find_table(struct policies *policies, const struct credential_schema *schema)
{
    for (uint32_t i = 0; i < policies->group_count; i++) {
        struct plugin_group *group = &policies->groups[i];
        if (!span_equal(group->name, schema->plugin))
            continue;
        for (uint32_t kind = 0; kind < group->plugin->credential_count; kind++)
            if (span_equal(span_text(catalog_credential_kind(group->plugin, kind)->collection),
                           schema->collection))
                return &group->credentials[kind];
    }
    return NULL;
}

static enum weir_err make_tables(struct policies *policies)
{
    for (uint32_t i = 0; i < policies->group_count; i++) {
        struct plugin_group *group = &policies->groups[i];
        uint32_t kinds = group->plugin->credential_count;
        if (kinds > 0 &&
            (group->credentials = arena_array(policies->arena, struct map *, kinds)) == NULL)
            return WEIR_ERR_NO_MEMORY;
        group->kind_count = kinds;
    }
    return WEIR_OK;
}

/* Rows of one kind mostly stand together: how many follow. */
static size_t count_run(const struct config *config, size_t at)
{
    const struct credential_schema *schema = config->credentials[at]->schema;
    size_t count = 0;
    while (at + count < config->credential_count &&
           config->credentials[at + count]->schema == schema)
        count++;
    return count;
}

static enum weir_err add_run(struct map **table, struct credential *const *rows, size_t count)
{
    if (*table == NULL && (*table = map_create(count)) == NULL)
        return WEIR_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (!span_is_set(rows[i]->key))
            continue;
        enum weir_err err = map_add(*table, rows[i]->key, rows[i]);
        if (err != WEIR_OK && err != WEIR_ERR_EXISTS) /* config has told of doubles */
            return err;
    }
    return WEIR_OK;
}

enum weir_err credentials_index(struct policies *policies)
{
    const struct config *config = policies->config;
    TRY(make_tables(policies));
    for (size_t at = 0; at < config->credential_count;) {
        size_t count = count_run(config, at);
        struct map **table = find_table(policies, config->credentials[at]->schema);
        if (table != NULL)
            TRY(add_run(table, &config->credentials[at], count));
        at += count;
    }
    return WEIR_OK;
}

static void check(const struct credential *credential, struct problems *problems)
{
    struct weir_error error = {.problems = problems, .credential = credential};
    if (credential->schema->check == NULL || credential->data == NULL ||
        credential->schema->check(credential->data, &error) == 0 || error.count > 0)
        return;
    call_error_at(&error, "", "plugin '%.*s' refuses it",
                  SPAN_ARG(span_first(credential->schema->plugin, 64)));
}

enum weir_err policies_check(struct policies *policies, const struct slice *slice,
                             struct problems *problems)
{
    const struct config *config = policies->config;
    while (policies->checked < config->credential_count) {
        check(config->credentials[policies->checked++], problems);
        if (slice_is_over(slice))
            return WEIR_ERR_AGAIN;
    }
    return WEIR_OK;
}

void credentials_free(struct policies *policies)
{
    for (uint32_t i = 0; i < policies->group_count; i++) {
        struct plugin_group *group = &policies->groups[i];
        for (uint32_t kind = 0; kind < group->kind_count; kind++)
            map_destroy(TAKE(group->credentials[kind]));
    }
}

const struct credential *policies_credential(const struct running_policy *policy, uint32_t kind,
                                             struct span key)
{
    const struct plugin_group *group = &policy->policies->groups[built_of(policy)->group];
    if (group->credentials == NULL || kind >= group->plugin->credential_count ||
        group->credentials[kind] == NULL || !span_is_set(key))
        return NULL;
    /* The probe compares hashes with a secret of this process, and bytes only where all 64 bits of
     * two are equal: its time says nothing of the keys that are there. */
    const struct credential *credential = map_find(group->credentials[kind], key);
    if (credential == NULL || !span_equal_secret(credential->key, key))
        return NULL;
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    return credential->ttl != 0 && credential->ttl <= now ? NULL : credential;
}
