/* Whose requests are counted together. */
#include "policy.h"

static const weir_str none = {NULL, 0};

const char *const limit_by_names[] = {"consumer", "credential", "ip", "service",
                                      "header",   "path",       NULL};

static weir_str by_credential(weir_request *request, const void *self)
{
    (void)self;
    return weir_request_text(request, WEIR_TEXT_CREDENTIAL_ID);
}

static weir_str by_consumer(weir_request *request, const void *self)
{
    const weir_consumer *consumer = weir_request_consumer(request);
    return consumer != NULL ? weir_consumer_text(consumer, WEIR_CONSUMER_ID)
                            : by_credential(request, self);
}

static weir_str by_ip(weir_request *request, const void *self)
{
    (void)request;
    (void)self;
    return none;
}

static weir_str by_service(weir_request *request, const void *self)
{
    (void)self;
    return weir_request_text(request, WEIR_TEXT_SERVICE_ID);
}

static weir_str by_header(weir_request *request, const void *self)
{
    const rate_limiting *policy = self;
    return weir_header_get(request, WEIR_SIDE_REQUEST, policy->header, 0);
}

static weir_str by_path(weir_request *request, const void *self)
{
    const rate_limiting *policy = self;
    return equal(weir_request_text(request, WEIR_TEXT_PATH), policy->path) ? policy->path : none;
}

static const struct {
    const char *name;
    find_identifier *find;
} identifiers[] = {
    {"consumer", by_consumer}, {"credential", by_credential}, {"ip", by_ip},
    {"service", by_service},   {"header", by_header},         {"path", by_path},
};

/* The client's address stands in for whatever is not there. */
weir_str identify(weir_request *request, const rate_limiting *policy)
{
    weir_str identifier = policy->identifier(request, policy);
    return identifier.data != NULL ? identifier : weir_request_text(request, WEIR_TEXT_CLIENT_IP);
}

find_identifier *identifier_named(weir_str name)
{
    for (size_t i = 0; i < sizeof(identifiers) / sizeof(identifiers[0]); i++) {
        weir_str known = {identifiers[i].name, strlen(identifiers[i].name)};
        if (equal(name, known))
            return identifiers[i].find;
    }
    return NULL;
}
