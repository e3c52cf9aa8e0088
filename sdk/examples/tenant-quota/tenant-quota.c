/* A quota for each tenant, counted over all workers: the whole of a policy in one file. */
#include <weir/weir.h>

typedef struct {
    weir_str header; /* filled by the host from the YAML */
    int64_t limit, window_ms;
    weir_header_id id, left; /* ours, after the configuration */
    weir_dict *hits;
} quota;

typedef struct {
    int64_t left;
} per_request;

static const weir_field fields[] = {
    WEIR_STRING(quota, header, .def = "X-Tenant", .flags = WEIR_HEADER_NAME,
                .help = "header that names the tenant"),
    WEIR_INTEGER(quota, limit, .min = 1, .flags = WEIR_REQUIRED, .help = "requests per window"),
    WEIR_DURATION(quota, window_ms, .key = "window", .def = "60s", .help = "length of the window"),
};

static int configure(void *self, weir_error *error)
{
    quota *policy = self;
    policy->id = weir_header_intern(policy->header);
    policy->left = weir_header_intern(WEIR_LIT("X-Quota-Left"));
    policy->hits = weir_dict_open(error, self, WEIR_LIT("hits"), 1, 100000, 8);
    return policy->hits == NULL ? -1 : 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const quota *policy = self;
    per_request *mine = context;
    weir_take hit = {
        .key = weir_header_get(request, WEIR_SIDE_REQUEST, policy->id, 0),
        .limit = policy->limit,
        .ttl_ms = policy->window_ms,
    };
    if (hit.key.data == NULL)
        return weir_respond_error(request, 400, WEIR_LIT("which tenant?")) ? WEIR_FAIL : WEIR_DONE;
    if (weir_dict_take(policy->hits, &hit, 1) == WEIR_FULL)
        return weir_respond_error(request, 429, WEIR_LIT("quota used up")) ? WEIR_FAIL : WEIR_DONE;
    mine->left = policy->limit - hit.value;
    return WEIR_NEXT;
}

static weir_verdict on_response(weir_request *request, void *self, void *context)
{
    const quota *policy = self;
    const per_request *mine = context;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, policy->left, mine->left)
               ? WEIR_FAIL
               : WEIR_NEXT;
}

WEIR_PLUGIN("tenant-quota", "1.0.0", WEIR_CAP_SHARED_MEMORY, .priority = 901, WEIR_SELF(quota),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .configure = configure,
            .access = on_access, .response_headers = on_response);
