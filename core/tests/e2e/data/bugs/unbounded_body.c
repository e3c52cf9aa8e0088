/* Says that bodies pass by, and collects the whole of each. */
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

typedef struct {
    char *bytes;
    size_t size;
} per_request;

static weir_verdict on_body(weir_request *request, void *self, void *context, weir_str chunk,
                            bool last)
{
    per_request *mine = context;
    (void)self;
    char *more = realloc(mine->bytes, mine->size + chunk.size + 1);
    if (more == NULL)
        return WEIR_FAIL;
    mine->bytes = more;
    memcpy(more + mine->size, chunk.data, chunk.size);
    mine->size += chunk.size;
    if (!last)
        return WEIR_NEXT;
    weir_str all = {mine->bytes, mine->size};
    return weir_body_emit(request, WEIR_SIDE_REQUEST, all) ? WEIR_FAIL : WEIR_NEXT;
}

static void on_log(weir_request *request, void *self, void *context)
{
    (void)request, (void)self;
    free(((per_request *)context)->bytes);
}

WEIR_PLUGIN("unbounded_body", "1.0.0", WEIR_CAP_BODY, .priority = 100, WEIR_CONTEXT(per_request),
            .request_body_need = WEIR_BODY_STREAM, .request_body = on_body, .log = on_log);
