/* @NAME@: counts the requests of each client, over all workers, and tells the client how many there were
 * in this window. Change it into what you need. */
#include <weir/weir.h>

typedef struct {
    weir_str header;               /* from the YAML, see `fields` */
    int64_t window_ms;             /* from the YAML too */
    weir_header_id client, number; /* ours, made in configure() */
    weir_dict *seen;               /* in shared memory: outlives crashes, reloads and swaps */
} policy;

typedef struct {
    int64_t number;
} per_request;

static const weir_field fields[] = {
    WEIR_STRING(policy, header, .flags = WEIR_HEADER_NAME, .def = "X-Client",
                .help = "header that names the client"),
    WEIR_DURATION(policy, window_ms, .key = "window", .def = "60s", .min = 1,
                  .help = "the count of a client starts anew after that long"),
};

static int configure(void *self, weir_error *error)
{
    policy *mine = self;
    mine->client = weir_header_intern(mine->header);
    mine->number = weir_header_intern(WEIR_LIT("X-Request-Number"));
    mine->seen = weir_dict_open(error, self, WEIR_LIT("seen"), 1, 10000, sizeof(int64_t));
    return mine->seen == NULL ? -1 : 0;
}

/* Before the request goes on to the service. */
static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const policy *mine = self;
    per_request *own = context;
    weir_str client = weir_header_get(request, WEIR_SIDE_REQUEST, mine->client, 0);
    if (client.data == NULL)
        return weir_respond_error(request, 400, WEIR_LIT("who are you?")) ? WEIR_FAIL : WEIR_DONE;
    return weir_dict_add(mine->seen, client, 1, mine->window_ms, &own->number) ? WEIR_FAIL
                                                                               : WEIR_NEXT;
}

/* Before the response goes on to the client; also when access answered. */
static weir_verdict on_response(weir_request *request, void *self, void *context)
{
    const policy *mine = self;
    const per_request *own = context;
    if (own->number == 0)
        return WEIR_NEXT;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, mine->number, own->number)
               ? WEIR_FAIL
               : WEIR_NEXT;
}

WEIR_PLUGIN("@NAME@", "0.1.0", WEIR_CAP_SHARED_MEMORY, .priority = 500, WEIR_SELF(policy),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .configure = configure,
            .access = on_access, .response_headers = on_response);
