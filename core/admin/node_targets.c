/* kong_upstream_target_health: for each address of each target one series per state, one of which
 * is 1. */
#include <inttypes.h>

#include <weir/weir.h>

#include "admin/node.h"
#include "upstream/health.h"

enum { TARGETS_AT_ONCE = 16, ADDRESSES_MAX = 64 };

static bool is_on(const struct policy *policy, const char *flag)
{
    for (size_t i = 0; policy->self != NULL && i < policy->schema->field_count; i++) {
        const weir_field *field = &policy->schema->fields[i];
        const char *key = field->key != NULL ? field->key : field->name;
        if (field->type == WEIR_TYPE_BOOLEAN && strcmp(key, flag) == 0)
            return *((const bool *)policy->self + field->offset);
    }
    return false;
}

bool node_has_policy(const struct node_scrape *scrape, struct span plugin, const char *flag)
{
    const struct config *config = scrape->generation == NULL ? NULL : scrape->generation->config;
    for (size_t i = 0; config != NULL && i < config->policy_count; i++) {
        const struct policy *policy = config->policies[i];
        if (policy->enabled && policy->schema != NULL && span_equal(policy->name, plugin) &&
            (flag == NULL || is_on(policy, flag)))
            return true;
    }
    return false;
}

bool node_targets_wanted(const struct node_scrape *scrape)
{
    return node_has_policy(scrape, SPAN("prometheus"), "upstream_health_metrics");
}

static void put_text(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            buf_byte(out, '\\');
        buf_byte(out, text.data[i]);
    }
}

static void put_states(struct buf *out, const char *name, const struct target *target,
                       const struct address *address, enum target_health now)
{
    static const struct {
        const char *name;
        enum target_health health;
    } states[] = {
        {"dns_error", TARGET_DNS_ERROR},
        {"healthchecks_off", TARGET_UNCHECKED},
        {"healthy", TARGET_HEALTHY},
        {"unhealthy", TARGET_UNHEALTHY},
    };
    char text[ADDRESS_TEXT] = "";
    if (address != NULL)
        (void)address_text(address, text);
    bool brackets = span_find(target->host, ':') < target->host.size;
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        buf_printf(out, "%s{upstream=\"", name);
        put_text(out, target->upstream->name);
        buf_text(out, brackets ? "\",target=\"[" : "\",target=\"");
        put_text(out, target->host);
        buf_printf(out, "%s:%" PRId64 "\",address=\"%s\",state=\"%s\",subsystem=\"http\"} %d\n",
                   brackets ? "]" : "", target->port, text, states[i].name,
                   states[i].health == now);
    }
}

static void put_target(struct buf *out, const char *name, const struct balancers *balancers,
                       const struct target *target)
{
    struct target_address addresses[ADDRESSES_MAX];
    enum target_health health = TARGET_UNCHECKED;
    size_t count = 0;
    if (balancers != NULL)
        health = balancers_health(balancers, target, addresses, ADDRESSES_MAX, &count);
    if (count == 0) /* no request went there yet, or its name leads nowhere */
        put_states(out, name, target, NULL, health);
    for (size_t i = 0; i < count; i++)
        put_states(out, name, target, &addresses[i].address, addresses[i].health);
}

bool node_targets_render(struct node_scrape *scrape, const struct node_family *family,
                         struct buf *out)
{
    const struct config *config = scrape->generation->config;
    for (size_t i = 0; i < TARGETS_AT_ONCE; i++) {
        if (scrape->upstream == config->upstream_count)
            return false;
        const struct upstream *upstream = config->upstreams[scrape->upstream];
        if (scrape->target < upstream->target_count) {
            put_target(out, family->name, scrape->generation->balancers,
                       upstream->targets[scrape->target++]);
        } else {
            scrape->upstream++;
            scrape->target = 0;
        }
    }
    return scrape->upstream < config->upstream_count;
}
