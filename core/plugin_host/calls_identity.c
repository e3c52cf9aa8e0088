/* Who the client is: the consumer of the exchange and the fields that tell the target. Whatever a
 * client sent under these names is overwritten or removed, or it could claim to be somebody else.
 */
#include "plugin_host/calls.h"
#include "plugin_host/phases.h"
#include "plugin_host/table.h"

/* clang-format off */
static const struct http_name fields[] = { /* as targets know them */
    {HTTP_HEADER_X_CONSUMER_ID,           {"X-Consumer-ID", 13}},
    {HTTP_HEADER_X_CONSUMER_USERNAME,     {"X-Consumer-Username", 19}},
    {HTTP_HEADER_X_CONSUMER_CUSTOM_ID,    {"X-Consumer-Custom-ID", 20}},
    {HTTP_HEADER_X_CREDENTIAL_IDENTIFIER, {"X-Credential-Identifier", 23}},
    {HTTP_HEADER_X_ANONYMOUS_CONSUMER,    {"X-Anonymous-Consumer", 20}},
};
/* clang-format on */

const weir_consumer *call_request_consumer(weir_request *request)
{
    return (const weir_consumer *)(const void *)request->consumer;
}

static enum weir_err tell(struct http_headers *headers, struct http_name field, struct span value)
{
    if (span_is_set(value))
        return http_headers_set_name(headers, field, value);
    if (http_headers_first(headers, field.id) != NULL)
        (void)http_headers_remove(headers, field.id, field.text);
    return WEIR_OK;
}

/* `identifier` lies in the arena or is unset. */
static weir_status identify(struct weir_request *request, const struct consumer *consumer,
                            const struct credential *credential, struct span identifier,
                            bool anonymous)
{
    struct http_headers *headers = &request->head.headers;
    const struct span values[COUNT_OF(fields)] = {
        consumer == NULL ? SPAN_NONE : consumer->id,
        consumer == NULL ? SPAN_NONE : consumer->username,
        consumer == NULL ? SPAN_NONE : consumer->custom_id,
        identifier,
        anonymous ? SPAN("true") : SPAN_NONE,
    };
    enum weir_err err = WEIR_OK;
    for (size_t i = 0; i < COUNT_OF(fields) && err == WEIR_OK; i++)
        err = tell(headers, fields[i], values[i]);
    if (err != WEIR_OK) { /* half an identity is worse than none */
        for (size_t i = 0; i < COUNT_OF(fields); i++)
            (void)http_headers_remove(headers, fields[i].id, fields[i].text);
        return status_of(err);
    }
    if (consumer != request->consumer)
        request->consumer_changed = true;
    request->consumer = consumer;
    request->credential = credential;
    request->authenticated = true;
    return WEIR_SUCCESS;
}

weir_status call_authenticate(weir_request *request, const weir_consumer *consumer,
                              const weir_credential *credential, weir_str identifier)
{
    if (!request_in_phases(request, PHASE_BIT(PHASE_ACCESS)))
        return WEIR_PHASE;
    const struct credential *known = (const struct credential *)(const void *)credential;
    struct span copy = known == NULL ? SPAN_NONE : known->id;
    if (identifier.data != NULL) {
        copy =
            identifier.size == 0 ? SPAN("") : arena_copy(request->arena, span_of_str(identifier));
        if (!span_is_set(copy))
            return WEIR_NO_MEMORY;
    }
    return identify(request, (const struct consumer *)(const void *)consumer, known, copy, false);
}

weir_status call_authenticate_anonymous(weir_request *request, weir_str username_or_id)
{
    if (!request_in_phases(request, PHASE_BIT(PHASE_ACCESS)))
        return WEIR_PHASE;
    const struct consumer *consumer =
        request->policies == NULL || username_or_id.data == NULL
            ? NULL
            : config_consumer(policies_config(request->policies), span_of_str(username_or_id));
    if (consumer == NULL)
        return WEIR_NOT_FOUND;
    return identify(request, consumer, NULL, SPAN_NONE, true);
}
