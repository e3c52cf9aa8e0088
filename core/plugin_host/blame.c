#include "plugin_host/blame.h"

#include "plugin_host/phases.h"
#include "plugin_host/policies.h"

const char *blame_place_name(uint32_t place)
{
    static const char *const names[] = {
        [BLAME_CALLBACK - PHASE_COUNT] = "a callback",
        [BLAME_TIMER - PHASE_COUNT] = "a timer",
        [BLAME_DESCRIPTOR - PHASE_COUNT] = "a descriptor",
        [BLAME_LOAD - PHASE_COUNT] = "load",
        [BLAME_CONFIGURE - PHASE_COUNT] = "configure",
        [BLAME_START - PHASE_COUNT] = "start",
        [BLAME_STOP - PHASE_COUNT] = "stop",
        [BLAME_EXPORT - PHASE_COUNT] = "export_state",
        [BLAME_IMPORT - PHASE_COUNT] = "import_state",
        [BLAME_THREAD - PHASE_COUNT] = "a thread of its own",
    };
    if (place < PHASE_COUNT)
        return phase_name((enum phase)place);
    return place < BLAME_PLACES ? names[place - PHASE_COUNT] : NULL;
}

/* What does not fit is cut; `out` was zero. */
static void copy_span(char *out, size_t size, struct span text)
{
    if (text.data != NULL)
        memcpy(out, text.data, text.size < size ? text.size : size - 1);
}

static void copy_text(char *out, size_t size, const char *text)
{
    if (text != NULL)
        copy_span(out, size, span_of(text, strnlen(text, size)));
}

/* "name/hash", see images.c */
static void blame_loading(const char *key, struct blame_facts *out)
{
    const char *end = strchr(key, '/');
    out->place = BLAME_LOAD;
    copy_span(out->plugin, sizeof(out->plugin), span_of(key, (size_t)(end - key)));
    copy_span(out->hash, sizeof(out->hash), span_of(end + 1, IMAGE_HASH_TEXT));
}

static void blame_request(const struct weir_request *request, struct blame_facts *out)
{
    const struct route *route = request->route;
    copy_span(out->request, sizeof(out->request), span_of(request->id, sizeof(request->id)));
    if (route != NULL)
        copy_span(out->route, sizeof(out->route),
                  span_is_set(route->name) ? route->name : route->id);
}

static const struct running_policy *policy_of(const struct weir_request *request)
{
    for (int direction = 0; direction < DIRECTIONS; direction++)
        if (request->walks[direction].running)
            return request->walks[direction].entry->policy;
    return NULL;
}

void plugin_host_blame(const struct plugin_host *host, struct blame_facts *out)
{
    *out = (struct blame_facts){0};
    if (host == NULL)
        return;
    if (host->blame->policy_plus_one == 0) {
        if (host->loading != NULL)
            blame_loading(host->loading, out);
        return;
    }
    bool in_exchange = host->blame->phase < PHASE_COUNT;
    const struct running_policy *policy =
        in_exchange ? policy_of(host->running_request) : host->running;
    out->policy_plus_one = host->blame->policy_plus_one;
    out->place = host->blame->phase;
    if (policy != NULL) {
        out->generation = policy->policies == NULL ? 0 : policy->policies->number;
        copy_text(out->plugin, sizeof(out->plugin), policy->plugin->name);
        copy_text(out->version, sizeof(out->version), policy->plugin->version);
        if (policy->image != NULL)
            copy_span(out->hash, sizeof(out->hash), image_hash(policy->image));
    }
    if (in_exchange)
        blame_request(host->running_request, out);
}
