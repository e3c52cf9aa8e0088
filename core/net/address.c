/* Addresses as values and as text. */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/text.h"

_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) <= sizeof(((struct address *)0)->text),
               "a unix path fits");

/* Every accept formats its peer: inet_ntop goes through printf, this does not. */
static size_t format_v4(char *out, const unsigned char ip[4])
{
    size_t size = 0;
    for (int i = 0; i < 4; i++) {
        size += text_from_u64(out + size, ip[i]);
        out[size++] = '.';
    }
    out[size - 1] = '\0';
    return size - 1;
}

static void set_ip(struct address *address, const unsigned char *ip, bool v6)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (v6 && memcmp(ip, mapped, sizeof mapped) == 0) {
        v6 = false;
        ip += sizeof mapped;
    }
    address->family = v6 ? ADDRESS_V6 : ADDRESS_V4;
    memcpy(address->ip, ip, v6 ? 16 : 4);
    if (!v6)
        address->text_size = (uint8_t)format_v4(address->text, address->ip);
    else if (inet_ntop(AF_INET6, address->ip, address->text, sizeof address->text) != NULL)
        address->text_size = (uint8_t)strlen(address->text);
}

enum weir_err address_parse_ip(struct span text, uint16_t port, struct address *out_address)
{
    char copy[INET6_ADDRSTRLEN + 1];
    unsigned char ip[16];
    bool v6;
    if (text.size >= 2 && text.data[0] == '[' && text.data[text.size - 1] == ']') {
        text = (struct span){text.data + 1, text.size - 2};
        if (span_find(text, ':') == text.size)
            return WEIR_ERR_INVALID;
    }
    if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, '\0', text.size) != NULL)
        return WEIR_ERR_INVALID;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    v6 = span_find(text, ':') < text.size;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, copy, ip) != 1)
        return WEIR_ERR_INVALID;
    *out_address = (struct address){.port = port};
    set_ip(out_address, ip, v6);
    return WEIR_OK;
}

static enum weir_err parse_unix(struct span path, struct address *out_address)
{
    if (path.size == 0 || path.size >= sizeof out_address->text ||
        memchr(path.data, '\0', path.size) != NULL)
        return WEIR_ERR_INVALID;
    *out_address = (struct address){.family = ADDRESS_UNIX, .text_size = (uint8_t)path.size};
    memcpy(out_address->text, path.data, path.size);
    return WEIR_OK;
}

enum weir_err address_parse(struct span text, struct address *out_address)
{
    uint64_t port;
    size_t colon = text.size;
    if (span_starts_with(text, SPAN("unix:")))
        return parse_unix(span_from(text, 5), out_address);
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon == 0 || !text_to_u64(span_from(text, colon), &port) || port > 65535)
        return WEIR_ERR_INVALID;
    struct span host = span_first(text, colon - 1);
    if (host.size == 0 || (host.data[0] != '[' && span_find(host, ':') < host.size))
        return WEIR_ERR_INVALID; /* "::1:80" could be read in two ways */
    return address_parse_ip(host, (uint16_t)port, out_address);
}

void address_from_sockaddr(struct address *address, const struct sockaddr *from, socklen_t size)
{
    *address = (struct address){0};
    if (size < sizeof from->sa_family)
        return;
    if (from->sa_family == AF_INET && size >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        address->port = ntohs(in.sin_port);
        set_ip(address, (const unsigned char *)&in.sin_addr, false);
    } else if (from->sa_family == AF_INET6 && size >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof in6);
        address->port = ntohs(in6.sin6_port);
        address->scope = in6.sin6_scope_id;
        set_ip(address, in6.sin6_addr.s6_addr, true);
    } else if (from->sa_family == AF_UNIX) {
        size_t room = size - offsetof(struct sockaddr_un, sun_path);
        const char *path = (const char *)from + offsetof(struct sockaddr_un, sun_path);
        address->family = ADDRESS_UNIX;
        /* An unnamed client has no path; an abstract name starts with a NUL and is shown as none.
         */
        if (size > offsetof(struct sockaddr_un, sun_path)) {
            size_t length = strnlen(path, room);
            if (length >= sizeof address->text)
                length = sizeof address->text - 1;
            memcpy(address->text, path, length);
            address->text_size = (uint8_t)length;
        }
    }
}

socklen_t address_to_sockaddr(const struct address *address, struct sockaddr_storage *to)
{
    memset(to, 0, sizeof *to);
    if (address->family == ADDRESS_V4) {
        struct sockaddr_in *in = (struct sockaddr_in *)to;
        in->sin_family = AF_INET;
        in->sin_port = htons(address->port);
        memcpy(&in->sin_addr, address->ip, 4);
        return sizeof *in;
    }
    if (address->family == ADDRESS_V6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(address->port);
        in6->sin6_scope_id = address->scope;
        memcpy(&in6->sin6_addr, address->ip, 16);
        return sizeof *in6;
    }
    if (address->family == ADDRESS_UNIX) {
        struct sockaddr_un *un = (struct sockaddr_un *)to;
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, address->text, address->text_size);
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + address->text_size + 1U);
    }
    return 0;
}

void address_set_port(struct address *address, uint16_t port)
{
    address->port = port;
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (a->family != b->family || a->port != b->port || a->scope != b->scope)
        return false;
    if (a->family == ADDRESS_UNIX)
        return span_equal(address_ip_text(a), address_ip_text(b));
    return memcmp(a->ip, b->ip, a->family == ADDRESS_V6 ? 16 : 4) == 0;
}

struct span address_text(const struct address *address, char out[ADDRESS_TEXT])
{
    int size = 0;
    if (address->family == ADDRESS_UNIX)
        size = snprintf(out, ADDRESS_TEXT, "unix:%s", address->text);
    else if (address->family == ADDRESS_V6)
        size = snprintf(out, ADDRESS_TEXT, "[%s]:%u", address->text, (unsigned)address->port);
    else
        size = snprintf(out, ADDRESS_TEXT, "%s:%u", address->text, (unsigned)address->port);
    return (struct span){out, size < 0 ? 0 : (size_t)size};
}
