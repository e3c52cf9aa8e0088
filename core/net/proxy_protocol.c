/* Version 1 is a line of text, version 2 a binary block. Numbers in brackets are sections of the
 * specification. */
#include "net/proxy_protocol.h"

#include <netinet/in.h>
#include <sys/un.h>

#include "base/auto.h"
#include "base/text.h"

enum {
    V1_MAX = 107, /* with CRLF (2.1) */
    V2_FIXED = 16,
    V2_UNIX_PATH = 108,
    TLV_FIXED = 3,
    TLV_CRC32C = 0x03,
    CRC_SIZE = 4,
};
enum { COMMAND_LOCAL = 0, COMMAND_PROXY = 1 };
enum { FAMILY_NONE = 0, FAMILY_V4 = 1, FAMILY_V6 = 2, FAMILY_UNIX = 3 };
enum { TRANSPORT_NONE = 0, TRANSPORT_STREAM = 1, TRANSPORT_DATAGRAM = 2 };

#define V1_BEGIN SPAN("PROXY ")
#define V2_BEGIN SPAN("\r\n\r\n\0\r\nQUIT\n")

static enum proxy_result refuse(const char **out_why, const char *why)
{
    *out_why = why;
    return PROXY_REFUSED;
}

static enum proxy_result accept_local(size_t size, struct proxy_header *out)
{
    *out = (struct proxy_header){.size = size};
    return PROXY_ACCEPTED;
}

/* ---- version 1 */

/* Decimal and without leading zeros: "010" is eight to some (2.1). */
static bool parse_port(struct span text, uint16_t *out_port)
{
    uint64_t port;
    if (text.size == 0 || text.size > 5 || (text.data[0] == '0' && text.size > 1) ||
        !text_to_u64(text, &port) || port > 65535)
        return false;
    *out_port = (uint16_t)port;
    return true;
}

static bool parse_ip(struct span text, bool v6, struct address *out)
{
    if (text.size == 0 || text.data[0] == '[' || (span_find(text, ':') < text.size) != v6 ||
        address_parse_ip(text, 0, out) != WEIR_OK)
        return false;
    return v6 || span_equal(address_ip_text(out), text);
}

/* "TCP4 192.0.2.1 192.0.2.2 56324 443", one space between two fields and none elsewhere. */
static enum proxy_result parse_line(struct span line, struct proxy_header *out,
                                    const char **out_why)
{
    struct span fields[5], rest = line, item;
    size_t count = 0, size = out->size;
    while (count < COUNT_OF(fields) && span_split(&rest, ' ', &item))
        fields[count++] = item;
    if (count > 0 && span_equal(fields[0], SPAN("UNKNOWN")))
        return accept_local(size, out); /* the rest of the line is ignored (2.1) */
    if (count == 0 ||
        (!span_equal(fields[0], SPAN("TCP4")) && !span_equal(fields[0], SPAN("TCP6"))))
        return refuse(out_why, "the protocol of the PROXY line is none of TCP4, TCP6 and UNKNOWN");
    bool v6 = fields[0].data[3] == '6';
    if (count < COUNT_OF(fields) || fields[4].data + fields[4].size != line.data + line.size)
        return refuse(out_why, "the PROXY line has not two addresses and two ports");
    if (!parse_ip(fields[1], v6, &out->source) || !parse_ip(fields[2], v6, &out->destination))
        return refuse(out_why, "an address of the PROXY line is not of its protocol");
    if (!parse_port(fields[3], &out->source.port) || !parse_port(fields[4], &out->destination.port))
        return refuse(out_why, "a port of the PROXY line is no number up to 65535");
    out->announced = true;
    return PROXY_ACCEPTED;
}

static enum proxy_result parse_v1(struct span bytes, struct proxy_header *out, const char **out_why)
{
    struct span seen = span_first(bytes, V1_MAX);
    for (size_t i = V1_BEGIN.size; i < seen.size; i++) {
        bool cr = seen.data[i] == '\r';
        if (seen.data[i] == '\n' || (cr && i + 1 < seen.size && seen.data[i + 1] != '\n'))
            return refuse(out_why, "the PROXY line does not end in CR LF");
        if (!cr || i + 1 == seen.size)
            continue;
        out->size = i + 2;
        struct span line = span_first(seen, i);
        return parse_line(span_from(line, V1_BEGIN.size), out, out_why);
    }
    if (seen.size == V1_MAX)
        return refuse(out_why, "the PROXY line is longer than 107 bytes");
    return PROXY_MORE;
}

/* ---- version 2 */

static unsigned byte_at(struct span bytes, size_t at)
{
    return (unsigned char)bytes.data[at];
}

static size_t u16_at(struct span bytes, size_t at)
{
    return byte_at(bytes, at) << 8 | byte_at(bytes, at + 1);
}

/* CRC-32C (RFC 4960 appendix B), 4 bits a step: a header is small and seldom has one. */
static uint32_t crc32c(uint32_t crc, const char *data, size_t size)
{
    static const uint32_t steps[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned char)data[i];
        crc = crc >> 4 ^ steps[crc & 15];
        crc = crc >> 4 ^ steps[crc & 15];
    }
    return crc;
}

/* Of the whole header, with zeros where the sum stands (2.2.3). */
static bool has_sum(struct span header, size_t at)
{
    static const char zeros[CRC_SIZE];
    uint32_t crc = crc32c(UINT32_MAX, header.data, at);
    crc = crc32c(crc, zeros, CRC_SIZE);
    crc = ~crc32c(crc, header.data + at + CRC_SIZE, header.size - at - CRC_SIZE);
    return crc == (uint32_t)(u16_at(header, at) << 16 | u16_at(header, at + 2));
}

/* Type, length, value. The sum is the only one with a meaning here: the rest may say anything. */
static const char *walk_tlvs(struct span header, size_t at)
{
    bool summed = false;
    while (at < header.size) {
        if (header.size - at < TLV_FIXED)
            return "the PROXY header ends inside a TLV";
        size_t type = byte_at(header, at), size = u16_at(header, at + 1);
        at += TLV_FIXED;
        if (size > header.size - at)
            return "a TLV of the PROXY header is longer than the header";
        if (type == TLV_CRC32C) {
            if (size != CRC_SIZE || summed || !has_sum(header, at))
                return "the checksum of the PROXY header is wrong";
            summed = true;
        }
        at += size;
    }
    return NULL;
}

static struct address v4_of(struct span bytes, size_t ip, size_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct address address;
    memcpy(&in.sin_addr, bytes.data + ip, 4);
    memcpy(&in.sin_port, bytes.data + port, 2);
    address_from_sockaddr(&address, (const struct sockaddr *)&in, sizeof in);
    return address;
}

static struct address v6_of(struct span bytes, size_t ip, size_t port)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct address address;
    memcpy(&in6.sin6_addr, bytes.data + ip, 16);
    memcpy(&in6.sin6_port, bytes.data + port, 2);
    address_from_sockaddr(&address, (const struct sockaddr *)&in6, sizeof in6);
    return address;
}

static struct address unix_of(struct span bytes, size_t path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct address address;
    _Static_assert(sizeof un.sun_path == V2_UNIX_PATH, "a path of the header is one of Linux");
    memcpy(un.sun_path, bytes.data + path, V2_UNIX_PATH);
    address_from_sockaddr(&address, (const struct sockaddr *)&un, sizeof un);
    return address;
}

static const size_t address_sizes[] = {
    [FAMILY_NONE] = 0,
    [FAMILY_V4] = 12,
    [FAMILY_V6] = 36,
    [FAMILY_UNIX] = 2 * V2_UNIX_PATH,
};

static void read_addresses(struct span header, unsigned family, struct proxy_header *out)
{
    size_t at = V2_FIXED;
    if (family == FAMILY_V4) {
        out->source = v4_of(header, at, at + 8);
        out->destination = v4_of(header, at + 4, at + 10);
    } else if (family == FAMILY_V6) {
        out->source = v6_of(header, at, at + 32);
        out->destination = v6_of(header, at + 16, at + 34);
    } else {
        out->source = unix_of(header, at);
        out->destination = unix_of(header, at + V2_UNIX_PATH);
    }
    out->announced = true;
}

/* What can be refused of the bytes that are there. A LOCAL header's family means nothing (2.2). */
static const char *fault_of(struct span bytes, bool *out_addresses)
{
    if (bytes.size > 12 && byte_at(bytes, 12) >> 4 != 2)
        return "the version of the PROXY header is unknown";
    unsigned command = bytes.size > 12 ? byte_at(bytes, 12) & 15 : COMMAND_LOCAL;
    if (command > COMMAND_PROXY)
        return "the command of the PROXY header is unknown";
    unsigned family = bytes.size > 13 ? byte_at(bytes, 13) >> 4 : FAMILY_NONE;
    unsigned transport = bytes.size > 13 ? byte_at(bytes, 13) & 15 : TRANSPORT_NONE;
    size_t size = bytes.size >= V2_FIXED ? u16_at(bytes, 14) : 0;
    if (size > PROXY_HEADER_MAX - V2_FIXED)
        return "the PROXY header is longer than 4096 bytes";
    *out_addresses = command == COMMAND_PROXY && family != FAMILY_NONE &&
                     transport != TRANSPORT_NONE && bytes.size >= V2_FIXED;
    if (command == COMMAND_LOCAL)
        return NULL;
    if (family > FAMILY_UNIX || transport > TRANSPORT_DATAGRAM)
        return "the family of the PROXY header is unknown";
    if (transport == TRANSPORT_DATAGRAM)
        return "the PROXY header announces datagrams";
    if (*out_addresses && size < address_sizes[family])
        return "the PROXY header is too short for its addresses";
    return NULL;
}

static enum proxy_result parse_v2(struct span bytes, struct proxy_header *out, const char **out_why)
{
    bool addresses = false;
    const char *fault = fault_of(bytes, &addresses);
    if (fault != NULL)
        return refuse(out_why, fault);
    if (bytes.size < V2_FIXED || bytes.size - V2_FIXED < u16_at(bytes, 14))
        return PROXY_MORE;
    out->size = V2_FIXED + u16_at(bytes, 14);
    /* Where nothing is said of the addresses nobody can tell where they end and the TLVs begin. */
    if (!addresses)
        return accept_local(out->size, out);
    struct span header = span_first(bytes, out->size);
    unsigned family = byte_at(header, 13) >> 4;
    fault = walk_tlvs(header, V2_FIXED + address_sizes[family]);
    if (fault != NULL)
        return refuse(out_why, fault);
    read_addresses(header, family, out);
    return PROXY_ACCEPTED;
}

/* ---- either */

/* As far as both go. */
static bool begins_with(struct span bytes, struct span begin)
{
    return span_starts_with(begin, span_first(bytes, begin.size));
}

enum proxy_result proxy_header_parse(struct span bytes, struct proxy_header *out_header,
                                     const char **out_why)
{
    struct proxy_header header = {0};
    enum proxy_result result = PROXY_MORE;
    bool v1 = begins_with(bytes, V1_BEGIN), v2 = begins_with(bytes, V2_BEGIN);
    if (bytes.size == 0)
        return PROXY_MORE;
    if (!v1 && !v2)
        return refuse(out_why, "no PROXY header");
    if (v1 && bytes.size > V1_BEGIN.size)
        result = parse_v1(bytes, &header, out_why);
    else if (v2 && bytes.size > V2_BEGIN.size)
        result = parse_v2(bytes, &header, out_why);
    if (result == PROXY_ACCEPTED)
        *out_header = header;
    return result;
}
