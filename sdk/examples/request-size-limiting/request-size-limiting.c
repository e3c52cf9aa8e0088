/* Refuses requests whose body is too large: Kong's request-size-limiting. Shows the request's body
 * as a stream. A body whose length is known is decided by its head and passes this policy by; one
 * whose length nobody knows is counted as it flows, so none is ever held in memory. */
#include <string.h>
#include <strings.h>

#include <weir/weir.h>

typedef struct {
    int64_t allowed_payload_size;
    weir_str size_unit;
    bool require_content_length;

    int64_t limit; /* the first two, in bytes */
    weir_header_id content_length, transfer_encoding, expect;
} size_limiting;

typedef struct {
    int64_t seen; /* bytes of the body so far; zero when the request begins */
} per_request;

static const char *const units[] = {"megabytes", "kilobytes", "bytes", NULL};
static const weir_field fields[] = {
    WEIR_INTEGER(size_limiting, allowed_payload_size, .def = "128", .min = 0, .max = 1e12,
                 .flags = WEIR_NOT_NEGATIVE, .help = "the most a body may have"),
    WEIR_ENUM(size_limiting, size_unit, .def = "megabytes", .choices = units,
              .help = "what allowed_payload_size counts"),
    WEIR_BOOLEAN(size_limiting, require_content_length, .def = "false",
                 .help = "refuse requests that do not say how long they are"),
};

static int configure(void *self, weir_error *error)
{
    size_limiting *policy = self;
    policy->limit = policy->allowed_payload_size;
    if (policy->size_unit.data[0] == 'm') /* one of `units`: the host has checked it */
        policy->limit *= 1 << 20;
    else if (policy->size_unit.data[0] == 'k')
        policy->limit *= 1 << 10;
    policy->content_length = weir_header_intern(WEIR_LIT("Content-Length"));
    policy->transfer_encoding = weir_header_intern(WEIR_LIT("Transfer-Encoding"));
    policy->expect = weir_header_intern(WEIR_LIT("Expect"));
    if (policy->content_length != 0 && policy->transfer_encoding != 0 && policy->expect != 0)
        return 0;
    weir_error_at(error, NULL, "no memory");
    return 1;
}

static weir_verdict refuse(weir_request *request, uint32_t status, weir_str message)
{
    return weir_respond_error(request, status, message) == WEIR_SUCCESS ? WEIR_DONE : WEIR_FAIL;
}

static weir_verdict refuse_size(weir_request *request, const size_limiting *policy)
{
    /* A client that asked first has sent nothing yet: 417 lets it keep its connection. */
    weir_str expect = weir_header_get(request, WEIR_SIDE_REQUEST, policy->expect, 0);
    bool asked = expect.size == 12 && strncasecmp(expect.data, "100-continue", 12) == 0;
    return refuse(request, asked ? 417 : 413, WEIR_LIT("Request size limit exceeded"));
}

/* The gateway has refused lengths that are no number. Beyond 18 digits all are too large. */
static int64_t number_of(weir_str digits)
{
    int64_t value = 0;
    if (digits.size > 18)
        return INT64_MAX;
    for (size_t i = 0; i < digits.size; i++)
        value = value * 10 + (digits.data[i] - '0');
    return value;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const size_limiting *policy = self;
    weir_str length = weir_header_get(request, WEIR_SIDE_REQUEST, policy->content_length, 0);
    weir_str coding = weir_header_get(request, WEIR_SIDE_REQUEST, policy->transfer_encoding, 0);
    (void)context;
    if (length.data != NULL) {
        if (number_of(length) > policy->limit)
            return refuse_size(request, policy);
        /* It will not be longer than it says, so there is nothing to count. */
        (void)weir_body_skip(request, WEIR_SIDE_REQUEST);
        return WEIR_NEXT;
    }
    if (policy->require_content_length && coding.data == NULL)
        return refuse(request, 411, WEIR_LIT("A valid Content-Length header is required"));
    return WEIR_NEXT;
}

static weir_verdict on_request_body(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last)
{
    const size_limiting *policy = self;
    per_request *mine = context;
    (void)last;
    mine->seen += (int64_t)chunk.size;
    if (mine->seen > policy->limit)
        return refuse_size(request, policy);
    return weir_body_emit(request, WEIR_SIDE_REQUEST, chunk) == WEIR_SUCCESS ? WEIR_NEXT
                                                                             : WEIR_FAIL;
}

WEIR_PLUGIN("request-size-limiting", "1.0.0", WEIR_CAP_BODY, .priority = 951,
            WEIR_SELF(size_limiting), WEIR_CONTEXT(per_request), WEIR_FIELDS(fields),
            .request_body_need = WEIR_BODY_STREAM, .configure = configure, .access = on_access,
            .request_body = on_request_body);
