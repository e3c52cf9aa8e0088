/* What is under way, in words: for the log when a drain takes long. */
#include <inttypes.h>

#include "gateway/exchange.h"

enum { PATH_SHOWN = 256, METHOD_SHOWN = 32 };

/* Decoded paths may hold anything, a line break too. */
static void put_visible(struct buf *out, struct span text, size_t most)
{
    struct span shown = span_first(text, most);
    for (size_t i = 0; i < shown.size; i++) {
        unsigned char byte = (unsigned char)shown.data[i];
        buf_byte(out, byte < ' ' || byte == 0x7f ? '?' : (char)byte);
    }
    if (shown.size < text.size)
        buf_text(out, "...");
}

static void put_request(struct buf *out, const struct weir_request *request, uint64_t now_us)
{
    buf_byte(out, ' ');
    put_visible(out, request->head.method, METHOD_SHOWN);
    buf_byte(out, ' ');
    put_visible(out, span_is_set(request->path) ? request->path : request->head.path, PATH_SHOWN);
    if (request->route != NULL && span_is_set(request->route->name)) {
        buf_text(out, ", route '");
        put_visible(out, request->route->name, PATH_SHOWN);
        buf_byte(out, '\'');
    }
    uint64_t age_us = now_us > request->started_us ? now_us - request->started_us : 0;
    buf_printf(out, ", for %.1f s, %" PRIu64 " bytes in, %" PRIu64 " out, request %.*s",
               (double)age_us / 1e6, request->ops->bytes(request, TO_TARGET),
               request->ops->bytes(request, TO_CLIENT), (int)sizeof(request->id), request->id);
}

static void put_exchange(struct buf *out, const struct exchange *x, uint64_t now_us)
{
    const struct weir_request *request = &x->request;
    struct span client = span_is_set(request->client_ip)
                             ? request->client_ip
                             : address_ip_text(conn_peer(x->client->conn));
    put_visible(out, client, ADDRESS_TEXT);
    if (x->state == STATE_READ_HEAD)
        buf_printf(out, ", %" PRIu32 " bytes of a head that has not ended", x->in_size);
    else
        put_request(out, request, now_us);
    buf_byte(out, '\n');
}

void gateway_describe_active(const struct gateway *gateway, size_t most, struct buf *out)
{
    uint64_t now_us = clock_mono_us();
    size_t shown = 0, seen = 0;
    LIST_FOREACH (node, &gateway->clients) {
        const struct client *client = LIST_ENTRY(node, struct client, link);
        if (client->exchange == NULL)
            continue;
        seen++;
        if (shown == most)
            continue;
        shown++;
        put_exchange(out, client->exchange, now_us);
    }
    if (seen > shown)
        buf_printf(out, "and %zu more\n", seen - shown);
}
