/* A build that ended workers again and again does not run any more. Its policies stay in the
 * chains: those of `on_quarantine: closed` refuse every request of their scope, those of `bypass`
 * let it pass. Fields and credentials of the plugin go on to be read, none of its code is called.
 */
#include "plugin_host/calls.h"
#include "plugin_host/policies.h"

enum { STATUS_UNAVAILABLE = 503 };

static weir_verdict refuse(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    (void)call_respond_error(request, STATUS_UNAVAILABLE, WEIR_LIT("Service unavailable"));
    return WEIR_DONE;
}

const weir_plugin *quarantine_plugin(struct policies *policies, const weir_plugin *plugin,
                                     const struct policy *policy)
{
    weir_plugin *stub = arena_new(policies->arena, weir_plugin);
    if (stub == NULL)
        return NULL;
    *stub = (weir_plugin){
        .size = plugin->size,
        .major = plugin->major,
        .minor = plugin->minor,
        .name = plugin->name,
        .version = plugin->version,
        .capabilities = plugin->capabilities,
        .priority = plugin->priority,
        .flags = plugin->flags,
        .self_size = plugin->self_size,
        .fields = plugin->fields,
        .field_count = plugin->field_count,
        .field_stride = plugin->field_stride,
        .credentials = plugin->credentials,
        .credential_count = plugin->credential_count,
        .credential_stride = plugin->credential_stride,
        .access = span_equal(policy->on_quarantine, SPAN("bypass")) ? NULL : refuse,
    };
    return stub;
}
