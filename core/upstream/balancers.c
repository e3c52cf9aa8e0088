/* One configuration's view of the worker's rings: where each service goes. A service whose host is
 * an upstream's name goes to that upstream and its own port means nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "upstream/checks.h"

static bool has_tls(enum protocol protocol)
{
    const unsigned tls =
        PROTOCOL_BIT(PROTOCOL_HTTPS) | PROTOCOL_BIT(PROTOCOL_GRPCS) | PROTOCOL_BIT(PROTOCOL_TLS);
    return (PROTOCOL_BIT(protocol) & tls) != 0;
}

/* A Host as the operator writes it may have a port; a certificate's name has none. */
static struct span without_port(struct span host)
{
    size_t colon = span_find(host, ':');
    struct span rest = span_from(host, colon + 1);
    if (span_starts_with(host, SPAN("[")))
        return span_first(host, span_find(host, ']') + 1);
    /* Two colons: an IPv6 address without brackets, which has no port. */
    return span_find(rest, ':') < rest.size ? host : span_first(host, colon);
}

struct ring *host_ring(struct upstreams *upstreams, struct span host, uint16_t port, bool create)
{
    const struct ring_host member = {host, port, 1};
    const struct ring_plan plan = {.members = &member, .count = 1};
    return ring_acquire(upstreams, &plan, create);
}

static struct ring *upstream_ring(struct balancers *balancers, const struct upstream *upstream)
{
    struct ring **ring = &balancers->rings[upstream->index];
    if (*ring != NULL)
        return *ring;
    struct ring_host *members = calloc(upstream->target_count + 1, sizeof *members);
    if (members == NULL)
        return NULL;
    for (size_t i = 0; i < upstream->target_count; i++) {
        const struct target *target = upstream->targets[i];
        members[i] =
            (struct ring_host){target->host, (uint16_t)target->port, (uint32_t)target->weight};
    }
    const struct ring_plan plan = {upstream->id, without_port(upstream->host_header), members,
                                   upstream->target_count, upstream};
    *ring = ring_acquire(balancers->upstreams, &plan, true);
    free(members);
    return *ring;
}

static struct span name_of(const struct service *service)
{
    return span_is_set(service->name) ? service->name : service->id;
}

static enum weir_err set_tls(struct balancers *balancers, const struct service *service, char *why,
                             size_t why_size)
{
    char sentence[320] = "";
    struct way *way = &balancers->ways[service->index];
    enum weir_err err =
        tls_acquire(balancers->upstreams, service, &way->tls, sentence, sizeof sentence);
    if (err == WEIR_ERR_CONFIG)
        (void)snprintf(why, why_size, "service '%.*s': %s", SPAN_ARG(name_of(service)), sentence);
    if (service->client_certificate != NULL)
        log_warn("service '%.*s': its client_certificate is not shown to targets yet",
                 SPAN_ARG(name_of(service)));
    return err;
}

static enum weir_err set_way(struct balancers *balancers, const struct config *config,
                             const struct service *service, char *why, size_t why_size)
{
    struct way *way = &balancers->ways[service->index];
    const struct upstream *upstream = config_upstream(config, service->host);
    if (has_tls(service->protocol))
        TRY(set_tls(balancers, service, why, why_size));
    if (upstream != NULL && span_equal(upstream->name, service->host)) { /* not by its id */
        way->upstream = upstream;
        way->ring = upstream_ring(balancers, upstream);
        return way->ring == NULL ? WEIR_ERR_NO_MEMORY : WEIR_OK;
    }
    /* Thousands of services may never be asked for: their rings are made by the first request. One
     * that lives already is held, so that its turn and its pools survive the old configuration. */
    way->ring = host_ring(balancers->upstreams, service->host, (uint16_t)service->port, false);
    return WEIR_OK;
}

enum weir_err balancers_begin(struct arena *arena, struct upstreams *upstreams,
                              const struct config *config, struct balancers **out_balancers)
{
    struct balancers *balancers = arena_new(arena, struct balancers);
    if (balancers == NULL)
        return WEIR_ERR_NO_MEMORY;
    balancers->upstreams = upstreams;
    balancers->ways = arena_array(arena, struct way, config->service_count + 1);
    balancers->rings = arena_array(arena, struct ring *, config->upstream_count + 1);
    if (balancers->ways == NULL || balancers->rings == NULL)
        return WEIR_ERR_NO_MEMORY;
    balancers->way_count = config->service_count;
    balancers->ring_count = config->upstream_count;
    *out_balancers = balancers;
    return WEIR_OK;
}

/* Those that no service names are checked too: whoever looks at their health wants to see it. */
static enum weir_err add_checked(struct balancers *balancers, const struct upstream *upstream)
{
    return checks_wanted(upstream) && upstream_ring(balancers, upstream) == NULL
               ? WEIR_ERR_NO_MEMORY
               : WEIR_OK;
}

enum weir_err balancers_more(struct balancers *balancers, const struct config *config,
                             const struct slice *slice, char *why, size_t why_size)
{
    size_t upstreams = config->upstream_count;
    while (balancers->made < upstreams + config->service_count) {
        size_t at = balancers->made++;
        if (at < upstreams)
            TRY(add_checked(balancers, config->upstreams[at]));
        else
            TRY(set_way(balancers, config, config->services[at - upstreams], why, why_size));
        if (slice_is_over(slice))
            return WEIR_ERR_AGAIN;
    }
    return WEIR_OK;
}

enum weir_err balancers_build(struct arena *arena, struct upstreams *upstreams,
                              const struct config *config, struct balancers **out_balancers,
                              char *why, size_t why_size)
{
    struct balancers *balancers = NULL;
    const struct slice endless = slice_endless();
    if (why_size > 0)
        why[0] = '\0';
    TRY(balancers_begin(arena, upstreams, config, &balancers));
    enum weir_err err = balancers_more(balancers, config, &endless, why, why_size);
    if (err == WEIR_OK)
        *out_balancers = balancers;
    else
        balancers_destroy(balancers);
    return err;
}

enum weir_err balancers_end(struct balancers *balancers, const struct slice *slice)
{
    while (balancers != NULL && balancers->ended < balancers->way_count) {
        struct way *way = &balancers->ways[balancers->ended++];
        if (way->upstream == NULL)
            ring_release(way->ring);
        tls_release(balancers->upstreams, way->tls);
        if (slice_is_over(slice))
            return WEIR_ERR_AGAIN;
    }
    for (size_t i = 0; balancers != NULL && i < balancers->ring_count; i++)
        ring_release(TAKE(balancers->rings[i]));
    return WEIR_OK;
}

void balancers_destroy(struct balancers *balancers)
{
    const struct slice endless = slice_endless();
    CHECK_THAT(balancers_end(balancers, &endless) == WEIR_OK);
}

const struct resolution *balancers_known(const struct balancers *balancers, struct span host)
{
    return resolver_cached(balancers->upstreams->resolver, host);
}
