/* Puts its library's counter into a header. */
#include <weir/weir.h>

#include "counting.h"

typedef struct {
    weir_header_id header;
} twin;

static int configure(void *self, weir_error *error)
{
    (void)error;
    ((twin *)self)->header = weir_header_intern(WEIR_LIT("X-" PLUGIN_NAME));
    return 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    (void)context;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, ((twin *)self)->header,
                                  counting_next())
               ? WEIR_FAIL
               : WEIR_NEXT;
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", 0, .priority = 500, WEIR_SELF(twin), .configure = configure,
            .access = on_access);
