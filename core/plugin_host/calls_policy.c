/* Calls about a policy and what its configuration knows: complaints, memory, consumers,
 * credentials. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "config/schema.h"
#include "plugin_host/calls.h"
#include "plugin_host/phases.h"
#include "plugin_host/policies.h"
#include "plugin_host/template.h"

enum { COMPLAINT_SIZE = 512 };

/* Of the field when it is there, else of the nearest part that is. */
static struct position position_of(const struct policy *policy, const char *path)
{
    return policy->config == NULL || policy->config->kind != NODE_MAP
               ? schema_find_position(policy->node, "config")
               : schema_find_position(policy->config, path);
}

void call_error_at(weir_error *error, const char *path, const char *format, ...)
{
    char text[COMPLAINT_SIZE], place[COMPLAINT_SIZE];
    if (error == NULL)
        return;
    bool has_path = path != NULL && path[0] != '\0';
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (error->credential != NULL) {
        const struct credential *about = error->credential;
        (void)snprintf(place, sizeof(place), "%.*s[%" PRIu32 "]%s%s", SPAN_ARG(about->collection),
                       about->index, has_path ? "." : "", has_path ? path : "");
        problem_add(error->problems, PROBLEM_ERROR,
                    schema_find_position(about->node, has_path ? path : ""), place, "%s", text);
        error->count++;
        return;
    }
    (void)snprintf(place, sizeof(place), "%.*s.config%s%s", SPAN_ARG(error->policy->path),
                   has_path && path[0] != '[' ? "." : "", has_path ? path : "");
    problem_add(error->problems, PROBLEM_ERROR, position_of(error->policy, path), place, "%s",
                text);
    error->count++;
}

void *call_request_alloc(weir_request *request, size_t size)
{
    const struct walk *walk = request_running(request);
    if (ACCOUNTING && LIKELY(walk != NULL))
        walk->entry->policy->row->arena_bytes += size;
    return arena_zalloc(request->arena, size);
}

void *call_policy_alloc(const void *self, size_t size)
{
    return arena_zalloc(policies_of_self(self)->arena, size);
}

weir_str call_policy_text(const void *self, uint32_t what)
{
    const struct policy *policy = policy_of_self(self)->policy;
    struct span text = SPAN_NONE;
    if (what == WEIR_POLICY_ID)
        text = policy->id;
    else if (what == WEIR_POLICY_INSTANCE_NAME)
        text = policy->instance_name;
    else if (what == WEIR_POLICY_ROUTE_ID && policy->route != NULL)
        text = policy->route->id;
    else if (what == WEIR_POLICY_SERVICE_ID && policy->service != NULL)
        text = policy->service->id;
    else if (what == WEIR_POLICY_CONSUMER_ID && policy->consumer != NULL)
        text = policy->consumer->id;
    return str_of(text);
}

/* The opaque types of the ABI are the entities of the configuration. */
static const struct credential *credential_of(const weir_credential *credential)
{
    return (const void *)credential;
}
static const struct consumer *consumer_of(const weir_consumer *consumer)
{
    return (const void *)consumer;
}

const weir_credential *call_credential_find(const void *self, uint32_t kind, weir_str key)
{
    return (const void *)policies_credential(policy_of_self(self), kind, span_of_str(key));
}

const void *call_credential_data(const weir_credential *credential)
{
    return credential == NULL ? NULL : credential_of(credential)->data;
}

const weir_consumer *call_credential_consumer(const weir_credential *credential)
{
    return credential == NULL ? NULL : (const void *)credential_of(credential)->consumer;
}

weir_str call_credential_id(const weir_credential *credential)
{
    return credential == NULL ? (weir_str){NULL, 0} : str_of(credential_of(credential)->id);
}

const weir_consumer *call_consumer_find(const void *self, weir_str username_or_id)
{
    struct span name = span_of_str(username_or_id);
    if (span_is_empty(name))
        return NULL;
    return (const void *)config_consumer(policies_of_self(self)->config, name);
}

weir_str call_consumer_text(const weir_consumer *consumer, uint32_t what)
{
    struct span text = SPAN_NONE;
    if (consumer == NULL)
        return str_of(text);
    if (what == WEIR_CONSUMER_ID)
        text = consumer_of(consumer)->id;
    else if (what == WEIR_CONSUMER_USERNAME)
        text = consumer_of(consumer)->username;
    else if (what == WEIR_CONSUMER_CUSTOM_ID)
        text = consumer_of(consumer)->custom_id;
    return str_of(text);
}

const weir_template *call_template_compile(weir_error *error, const void *self, const char *path,
                                           weir_str text)
{
    char why[256] = "";
    const weir_template *compiled =
        template_compile(policies_of_self(self)->arena, span_of_str(text), why, sizeof(why));
    if (compiled == NULL)
        call_error_at(error, path, "%s", why);
    return compiled;
}
