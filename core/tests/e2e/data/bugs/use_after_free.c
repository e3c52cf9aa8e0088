/* Keeps what belongs to a request for the next one. */
#include <string.h>

#include <weir/weir.h>

typedef struct {
    char *last_path; /* from weir_request_alloc() */
    weir_header_id id;
} policy;

static int configure(void *self, weir_error *error)
{
    (void)error;
    ((policy *)self)->id = weir_header_intern(WEIR_LIT("X-Again"));
    return 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    policy *mine = self;
    (void)context;
    weir_str path = weir_request_text(request, WEIR_TEXT_PATH);
    if (mine->last_path != NULL && strlen(mine->last_path) == path.size)
        (void)weir_header_set(request, WEIR_SIDE_REQUEST, mine->id, WEIR_LIT("perhaps"));
    mine->last_path = weir_request_alloc(request, path.size + 1);
    if (mine->last_path == NULL)
        return WEIR_FAIL;
    memcpy(mine->last_path, path.data, path.size);
    mine->last_path[path.size] = '\0';
    return WEIR_NEXT;
}

WEIR_PLUGIN("use_after_free", "1.0.0", 0, .priority = 100, WEIR_SELF(policy),
            .configure = configure, .access = on_access);
