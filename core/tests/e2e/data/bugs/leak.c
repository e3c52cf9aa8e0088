/* A copy of the path for each request, which nobody frees. */
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    (void)self, (void)context;
    weir_str path = weir_request_text(request, WEIR_TEXT_PATH);
    char *copy = malloc(path.size + 1);
    if (copy == NULL)
        return WEIR_FAIL;
    memcpy(copy, path.data, path.size);
    copy[path.size] = '\0';
    return strstr(copy, "/admin/") == NULL ? WEIR_NEXT : WEIR_FAIL;
}

WEIR_PLUGIN("leak", "1.0.0", 0, .priority = 100, .access = on_access);
