/* The value of a header from memory that was given back just before. */
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

typedef struct {
    weir_header_id id;
} policy;

static int configure(void *self, weir_error *error)
{
    (void)error;
    ((policy *)self)->id = weir_header_intern(WEIR_LIT("X-Freed"));
    return 0;
}

static weir_verdict on_response(weir_request *request, void *self, void *context)
{
    const policy *mine = self;
    (void)context;
    char *text = malloc(32);
    if (text == NULL)
        return WEIR_FAIL;
    memset(text, 'x', 32);
    weir_str value = {text, 32};
    free(text);
    return weir_header_set(request, WEIR_SIDE_RESPONSE, mine->id, value) ? WEIR_FAIL : WEIR_NEXT;
}

WEIR_PLUGIN("freed_header", "1.0.0", 0, .priority = 100, WEIR_SELF(policy), .configure = configure,
            .response_headers = on_response);
