#include "outbound/url.h"

#include "base/text.h"
#include "http/uri.h"

static bool cut_scheme(struct span *rest, bool *out_tls)
{
    static const struct {
        struct span scheme;
        bool tls;
    } schemes[] = {{{"http://", 7}, false}, {{"https://", 8}, true}};
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        if (!span_starts_with_nocase(*rest, schemes[i].scheme))
            continue;
        *rest = span_from(*rest, schemes[i].scheme.size);
        *out_tls = schemes[i].tls;
        return true;
    }
    return false;
}

static bool is_visible(struct span text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 127)
            return false;
    return true;
}

/* Up to the first of the bytes at which an authority ends. */
static struct span cut_authority(struct span *rest)
{
    size_t size = 0;
    while (size < rest->size && rest->data[size] != '/' && rest->data[size] != '?')
        size++;
    struct span authority = span_first(*rest, size);
    *rest = span_from(*rest, size);
    return authority;
}

static bool read_port(struct span text, bool tls, uint16_t *out_port)
{
    uint64_t port = tls ? 443 : 80;
    if (span_is_set(text) && (!text_to_u64(text, &port) || port == 0 || port > UINT16_MAX))
        return false;
    *out_port = (uint16_t)port;
    return true;
}

bool url_parse(struct span text, struct url *out)
{
    struct span rest = span_first(text, span_find(text, '#')), port = SPAN_NONE;
    *out = (struct url){0};
    if (text.size > URL_SIZE_MAX || !is_visible(text) || !cut_scheme(&rest, &out->tls))
        return false;
    out->authority = cut_authority(&rest);
    /* A user part would be a secret in a place where nobody looks for one. */
    if (span_find(out->authority, '@') < out->authority.size ||
        !http_authority_split(out->authority, &out->host, &port) ||
        !read_port(port, out->tls, &out->port))
        return false;
    size_t mark = span_find(rest, '?');
    out->path = span_first(rest, mark);
    out->query = span_from(rest, mark);
    return true;
}
