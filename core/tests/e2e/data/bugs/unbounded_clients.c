/* Remembers every client it ever saw. */
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

struct client {
    struct client *next;
    size_t size;
    char ip[64];
};
typedef struct {
    struct client *clients[1024];
} policy;

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    policy *mine = self;
    (void)context;
    weir_str ip = weir_request_text(request, WEIR_TEXT_CLIENT_IP);
    size_t hash = 5381;
    for (size_t i = 0; i < ip.size; i++)
        hash = hash * 33 + (unsigned char)ip.data[i];
    struct client **slot = &mine->clients[hash % 1024];
    for (; *slot != NULL; slot = &(*slot)->next)
        if ((*slot)->size == ip.size && memcmp((*slot)->ip, ip.data, ip.size) == 0)
            return WEIR_NEXT;
    if (ip.size > sizeof((*slot)->ip) || (*slot = calloc(1, sizeof(**slot))) == NULL)
        return WEIR_FAIL;
    memcpy((*slot)->ip, ip.data, ip.size);
    (*slot)->size = ip.size;
    return WEIR_NEXT;
}

static void stop(void *self)
{
    policy *mine = self;
    for (size_t i = 0; i < 1024; i++)
        while (mine->clients[i] != NULL) {
            struct client *next = mine->clients[i]->next;
            free(mine->clients[i]);
            mine->clients[i] = next;
        }
}

WEIR_PLUGIN("unbounded_clients", "1.0.0", 0, .priority = 100, WEIR_SELF(policy), .stop = stop,
            .access = on_access);
