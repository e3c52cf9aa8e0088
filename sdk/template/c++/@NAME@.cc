/* @NAME@: counts the requests of each client, over all workers, and tells the client how many there were
 * in this window. Change it into what you need. No exception may leave a hook, and no object with a
 * destructor may be static or thread_local: the image could not be unloaded (weir plugin lint tells). */
#include <weir/weir.h>

namespace
{

struct policy {
    weir_str header;               // from the YAML, see `fields`
    int64_t window_ms;             // from the YAML too
    weir_header_id client, number; // ours, made in configure()
    weir_dict *seen;               // in shared memory: outlives crashes, reloads and swaps
};

struct per_request {
    int64_t number;
};

constexpr weir_field fields[] = {
    WEIR_STRING(policy, header, .flags = WEIR_HEADER_NAME, .def = "X-Client",
                .help = "header that names the client"),
    WEIR_DURATION(policy, window_ms, .key = "window", .def = "60s", .min = 1,
                  .help = "the count of a client starts anew after that long"),
};

int configure(void *self, weir_error *error)
{
    auto &mine = *static_cast<policy *>(self);
    mine.client = weir_header_intern(mine.header);
    mine.number = weir_header_intern(WEIR_LIT("X-Request-Number"));
    mine.seen = weir_dict_open(error, self, WEIR_LIT("seen"), 1, 10000, sizeof(int64_t));
    return mine.seen == nullptr ? -1 : 0;
}

// Before the request goes on to the service.
weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const auto &mine = *static_cast<const policy *>(self);
    auto &own = *static_cast<per_request *>(context);
    const weir_str client = weir_header_get(request, WEIR_SIDE_REQUEST, mine.client, 0);
    if (client.data == nullptr)
        return weir_respond_error(request, 400, WEIR_LIT("who are you?")) ? WEIR_FAIL : WEIR_DONE;
    return weir_dict_add(mine.seen, client, 1, mine.window_ms, &own.number) ? WEIR_FAIL : WEIR_NEXT;
}

// Before the response goes on to the client; also when access answered.
weir_verdict on_response(weir_request *request, void *self, void *context)
{
    const auto &mine = *static_cast<const policy *>(self);
    const auto &own = *static_cast<const per_request *>(context);
    if (own.number == 0)
        return WEIR_NEXT;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, mine.number, own.number) ? WEIR_FAIL
                                                                                       : WEIR_NEXT;
}

} // namespace

WEIR_PLUGIN("@NAME@", "0.1.0", WEIR_CAP_SHARED_MEMORY, .priority = 500, WEIR_SELF(policy),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .configure = configure,
            .access = on_access, .response_headers = on_response);
