/* kong_upstream_target_health: for each address of each target one series per state, one of which
 * is 1. Targets are not checked yet, so a target is what its name is. */
#include <inttypes.h>

#include <weir/weir.h>

#include "admin/node.h"
#include "net/resolve.h"
#include "upstream/pick.h"

enum { TARGETS_AT_ONCE = 16 };

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
                       const struct address *address, const char *now)
{
    static const char *const states[] = {"dns_error", "healthchecks_off", "healthy", "unhealthy"};
    struct address at = address == NULL ? (struct address){0} : *address;
    char text[ADDRESS_TEXT] = "";
    if (address != NULL) {
        address_set_port(&at, (uint16_t)target->port);
        (void)address_text(&at, text);
    }
    bool brackets = span_find(target->host, ':') < target->host.size;
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        buf_printf(out, "%s{upstream=\"", name);
        put_text(out, target->upstream->name);
        buf_text(out, brackets ? "\",target=\"[" : "\",target=\"");
        put_text(out, target->host);
        buf_printf(out, "%s:%" PRId64 "\",address=\"%s\",state=\"%s\",subsystem=\"http\"} %d\n",
                   brackets ? "]" : "", target->port, text, states[i], strcmp(states[i], now) == 0);
    }
}

static void put_target(struct buf *out, const char *name, const struct balancers *balancers,
                       const struct target *target)
{
    const struct resolution *known =
        balancers == NULL ? NULL : balancers_known(balancers, target->host);
    if (known == NULL) /* no request went there yet */
        put_states(out, name, target, NULL, "healthchecks_off");
    else if (known->error != WEIR_OK)
        put_states(out, name, target, NULL, "dns_error");
    for (size_t i = 0; known != NULL && known->error == WEIR_OK && i < known->count; i++)
        put_states(out, name, target, &known->addresses[i], "healthchecks_off");
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
