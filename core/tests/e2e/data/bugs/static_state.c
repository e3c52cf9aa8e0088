/* Counts in a variable of its image: a swap to the next build begins at 1 again. */
#include <weir/weir.h>

static int64_t served;

typedef struct {
    weir_header_id id;
} policy;

static int configure(void *self, weir_error *error)
{
    (void)error;
    ((policy *)self)->id = weir_header_intern(WEIR_LIT("X-Served"));
    return 0;
}

static weir_verdict on_response(weir_request *request, void *self, void *context)
{
    const policy *mine = self;
    (void)context;
    served++;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, mine->id, served) ? WEIR_FAIL
                                                                                 : WEIR_NEXT;
}

WEIR_PLUGIN("static_state", "1.0.0", 0, .priority = 100, WEIR_SELF(policy), .configure = configure,
            .response_headers = on_response);
