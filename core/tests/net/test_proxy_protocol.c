/* Headers of the PROXY protocol as a table: each is given whole, with a request behind it, and cut
 * at every byte. Numbers in brackets are sections of its specification. */
#include <stdio.h>

#include "net/proxy_protocol.h"
#include "support.h"

TestSuite(net_proxy_protocol, .timeout = 60);

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4_ADDRESSES "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"
#define V4_TEXT "192.0.2.1:56324", "198.51.100.2:443"
#define V6_SOURCE "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define V6_DESTINATION "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
#define V6_ADDRESSES V6_SOURCE V6_DESTINATION "\xdc\x04\x01\xbb"
#define V6_TEXT "[2001:db8::1]:56324", "[2001:db8::2]:443"
#define V4_MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
#define NINES "999999999999999999999999999999999999999999"

#define HEADER(literal) "" literal, sizeof(literal) - 1
/* LENGTH is that of what follows, two bytes. */
#define V2(command_family, length, rest) HEADER(SIGNATURE command_family length rest)

static const struct good_case {
    const char *why;
    const char *bytes;
    size_t size;
    const char *source, *destination; /* NULL: the socket's hold */
} good[] = {
    {"version 1, IPv4 (2.1)", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"), V4_TEXT},
    {"the longest of IPv4", HEADER("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
     "255.255.255.255:65535", "255.255.255.255:65535"},
    {"the shortest of IPv4, port 0 is in the range", HEADER("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"),
     "0.0.0.0:0", "0.0.0.0:0"},
    {"IPv6", HEADER("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"), V6_TEXT},
    {"upper and lower case, with zeros",
     HEADER("PROXY TCP6 2001:0DB8::0001 2001:dB8:0:0:0:0:0:2 "
            "56324 443\r\n"),
     V6_TEXT},
    {"the longest of IPv6",
     HEADER("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    {"IPv4 on a socket of IPv6, as haproxy writes it, is IPv4",
     HEADER("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 56324 443\r\n"), V4_TEXT},
    {"unknown, nothing behind it", HEADER("PROXY UNKNOWN\r\n"), NULL, NULL},
    {"unknown, what follows is ignored", HEADER("PROXY UNKNOWN 192.0.2.1 x\0 -1\r\n"), NULL, NULL},
    {"unknown, the worst case of 107 bytes",
     HEADER("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     NULL, NULL},

    {"version 2, IPv4 (2.2)", V2("\x21\x11", "\0\x0c", V4_ADDRESSES), V4_TEXT},
    {"IPv6", V2("\x21\x21", "\0\x24", V6_ADDRESSES), V6_TEXT},
    {"IPv4 in an address of IPv6 is IPv4",
     V2("\x21\x21", "\0\x24", V4_MAPPED V4_MAPPED "\xdc\x04\x01\xbb"), "192.0.2.1:56324",
     "192.0.2.1:443"},
    {"LOCAL without addresses", V2("\x20\x00", "\0\0", ""), NULL, NULL},
    {"LOCAL with some: skipped", V2("\x20\x11", "\0\x0c", V4_ADDRESSES), NULL, NULL},
    {"LOCAL of no known family: ignored", V2("\x20\xff", "\0\x03", "abc"), NULL, NULL},
    {"LOCAL of datagrams: ignored", V2("\x20\x12", "\0\x01", "a"), NULL, NULL},
    {"PROXY without a family", V2("\x21\x00", "\0\0", ""), NULL, NULL},
    {"PROXY without a family, with bytes that are skipped", V2("\x21\x00", "\0\x02", "ab"), NULL,
     NULL},
    {"PROXY of a stream without a family", V2("\x21\x01", "\0\0", ""), NULL, NULL},
    {"PROXY of IPv4 without a transport", V2("\x21\x10", "\0\x0c", V4_ADDRESSES), NULL, NULL},

    {"a TLV that nobody knows", V2("\x21\x11", "\0\x11", V4_ADDRESSES "\xea\0\x02zz"), V4_TEXT},
    {"an empty TLV at the end", V2("\x21\x11", "\0\x0f", V4_ADDRESSES "\x04\0\0"), V4_TEXT},
    {"an authority, then a NOOP",
     V2("\x21\x11", "\0\x1a",
        V4_ADDRESSES "\x02\0\x04shop"
                     "\x04\0\x04\0\0\0\0"),
     V4_TEXT},
    {"TLS and its parts are skipped as one, whatever is in them",
     V2("\x21\x11", "\0\x17", V4_ADDRESSES "\x20\0\x08\x01\0\0\0\0\x21\xff\xff"), V4_TEXT},
    {"a checksum (2.2.3)", V2("\x21\x11", "\0\x13", V4_ADDRESSES "\x03\0\x04\x20\xec\x95\x49"),
     V4_TEXT},
    {"a checksum before another TLV",
     V2("\x21\x11", "\0\x17",
        V4_ADDRESSES "\x03\0\x04\x0a\xc1\x5c\xc8"
                     "\x04\0\x01\0"),
     V4_TEXT},
};

static const struct bad_case {
    const char *why;
    const char *bytes;
    size_t size;
    const char *reason; /* part of it */
} bad[] = {
    {"HTTP", HEADER("GET / HTTP/1.1\r\n"), "no PROXY header"},
    {"a method that begins alike", HEADER("PROPFIND / HTTP/1.1\r\n"), "no PROXY header"},
    {"lower case", HEADER("proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n"), "no PROXY header"},
    {"a hello of TLS", HEADER("\x16\x03\x01\x02\0\x01"), "no PROXY header"},
    {"an empty line before HTTP", HEADER("\r\nGET / HTTP/1.1\r\n"), "no PROXY header"},
    {"two of them", HEADER("\r\n\r\nGET /"), "no PROXY header"},
    {"a signature that ends otherwise", HEADER("\r\n\r\n\0\r\nQUIT\r"), "no PROXY header"},
    {"no space", HEADER("PROXY\r\n"), "no PROXY header"},
    {"a tab", HEADER("PROXY\tTCP4 192.0.2.1 198.51.100.2 1 2\r\n"), "no PROXY header"},
    {"a space before it", HEADER(" PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n"), "no PROXY header"},

    {"no protocol", HEADER("PROXY \r\n"), "none of TCP4"},
    {"two spaces", HEADER("PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n"), "none of TCP4"},
    {"a protocol of no version 1", HEADER("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n"),
     "none of TCP4"},
    {"a protocol in lower case", HEADER("PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n"),
     "none of TCP4"},
    {"UNKNOWN with something behind it", HEADER("PROXY UNKNOWNS\r\n"), "none of TCP4"},
    {"TCP4 with something behind it", HEADER("PROXY TCP46 192.0.2.1 198.51.100.2 1 2\r\n"),
     "none of TCP4"},
    {"a protocol alone", HEADER("PROXY TCP4\r\n"), "two addresses"},
    {"a port is missing", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n"), "two addresses"},
    {"a field too many", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n"), "two addresses"},
    {"a space at the end", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n"), "two addresses"},
    {"two spaces between addresses", HEADER("PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n"),
     "two addresses"},
    {"IPv6 in TCP4", HEADER("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"), "not of its protocol"},
    {"IPv4 in TCP6", HEADER("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n"), "not of its protocol"},
    {"one of each", HEADER("PROXY TCP6 2001:db8::1 198.51.100.2 1 2\r\n"), "not of its protocol"},
    {"a leading zero: octal to some", HEADER("PROXY TCP4 192.0.02.1 198.51.100.2 1 2\r\n"),
     "not of its protocol"},
    {"three numbers", HEADER("PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n"), "not of its protocol"},
    {"five numbers", HEADER("PROXY TCP4 192.0.2.1.1 198.51.100.2 1 2\r\n"), "not of its protocol"},
    {"a number above 255", HEADER("PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n"),
     "not of its protocol"},
    {"hexadecimal", HEADER("PROXY TCP4 0xc0.0.2.1 198.51.100.2 1 2\r\n"), "not of its protocol"},
    {"a name", HEADER("PROXY TCP4 localhost 198.51.100.2 1 2\r\n"), "not of its protocol"},
    {"a NUL in an address", HEADER("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n"),
     "not of its protocol"},
    {"a tab behind an address", HEADER("PROXY TCP4 192.0.2.1\t 198.51.100.2 1 2\r\n"),
     "not of its protocol"},
    {"brackets", HEADER("PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n"), "not of its protocol"},
    {"two runs of zeros", HEADER("PROXY TCP6 2001::db8::1 2001:db8::2 1 2\r\n"),
     "not of its protocol"},
    {"more than 128 bits", HEADER("PROXY TCP6 1:2:3:4:5:6:7:8:9 2001:db8::2 1 2\r\n"),
     "not of its protocol"},
    {"five digits", HEADER("PROXY TCP6 2001:00db8::1 2001:db8::2 1 2\r\n"), "not of its protocol"},
    {"a zone", HEADER("PROXY TCP6 fe80::1%lo 2001:db8::2 1 2\r\n"), "not of its protocol"},
    {"a port above 65535", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n"), "a port"},
    {"a port with a leading zero", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 080 2\r\n"), "a port"},
    {"two zeros", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 1 00\r\n"), "a port"},
    {"a sign", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n"), "a port"},
    {"a negative port", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 1 -2\r\n"), "a port"},
    {"hexadecimal port", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 0x1 2\r\n"), "a port"},
    {"an empty port", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n"), "a port"},
    {"a port that does not fit 64 bits",
     HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 1 "
            "18446744073709551617\r\n"),
     "a port"},
    {"LF alone", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n"), "CR LF"},
    {"CR alone", HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\rGET"), "CR LF"},
    {"LF alone in what is ignored", HEADER("PROXY UNKNOWN a\nb\r\n"), "CR LF"},
    {"CR alone in what is ignored", HEADER("PROXY UNKNOWN a\rb\r\n"), "CR LF"},
    {"two CR", HEADER("PROXY UNKNOWN\r\r\n"), "CR LF"},
    {"the LF is byte 108",
     HEADER("PROXY UNKNOWN " NINES NINES "99999999"
            "\r\n"),
     "longer than 107"},
    {"no end", HEADER("PROXY UNKNOWN " NINES NINES NINES), "longer than 107"},

    {"version 1 in the binary form", V2("\x11\x11", "\0\x0c", V4_ADDRESSES), "version"},
    {"version 3", V2("\x31\x11", "\0\x0c", V4_ADDRESSES), "version"},
    {"an unassigned command", V2("\x22\x11", "\0\x0c", V4_ADDRESSES), "command"},
    {"the last one", V2("\x2f\x11", "\0\x0c", V4_ADDRESSES), "command"},
    {"an unassigned family", V2("\x21\x41", "\0\x0c", V4_ADDRESSES), "family"},
    {"an unassigned transport", V2("\x21\x13", "\0\x0c", V4_ADDRESSES), "family"},
    {"datagrams over IPv4", V2("\x21\x12", "\0\x0c", V4_ADDRESSES), "datagrams"},
    {"datagrams over IPv6", V2("\x21\x22", "\0\x24", V6_ADDRESSES), "datagrams"},
    {"datagrams of nothing", V2("\x21\x02", "\0\0", ""), "datagrams"},
    {"too short for IPv4", V2("\x21\x11", "\0\x0b", "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01"),
     "too short"},
    {"no addresses of IPv4", V2("\x21\x11", "\0\0", ""), "too short"},
    {"too short for IPv6", V2("\x21\x21", "\0\x0c", V4_ADDRESSES), "too short"},
    {"too short for paths", V2("\x21\x31", "\0\x24", V6_ADDRESSES), "too short"},
    {"longer than anything sensible", V2("\x21\x11", "\x0f\xf1", V4_ADDRESSES), "4096"},
    {"the longest that can be said", V2("\x20\x00", "\xff\xff", ""), "4096"},
    {"a TLV of one byte", V2("\x21\x11", "\0\x0d", V4_ADDRESSES "\x04"), "inside a TLV"},
    {"a TLV of two bytes", V2("\x21\x11", "\0\x0e", V4_ADDRESSES "\x04\0"), "inside a TLV"},
    {"one byte behind a TLV", V2("\x21\x11", "\0\x10", V4_ADDRESSES "\x04\0\0\0"), "inside a TLV"},
    {"a TLV longer than the header", V2("\x21\x11", "\0\x10", V4_ADDRESSES "\x04\0\x02\0"),
     "longer than the header"},
    {"the longest TLV", V2("\x21\x11", "\0\x0f", V4_ADDRESSES "\x02\xff\xff"),
     "longer than the header"},
    {"a wrong checksum", V2("\x21\x11", "\0\x13", V4_ADDRESSES "\x03\0\x04\x20\xec\x95\x48"),
     "checksum"},
    {"a right checksum twice",
     V2("\x21\x11", "\0\x1a",
        V4_ADDRESSES "\x03\0\x04\x2a\x68\xed\xaf"
                     "\x03\0\x04\0\0\0\0"),
     "checksum"},
    {"a checksum of three bytes", V2("\x21\x11", "\0\x12", V4_ADDRESSES "\x03\0\x03\x20\xec\x95"),
     "checksum"},
    {"a changed address under a checksum",
     V2("\x21\x11", "\0\x13",
        "\xc0\x00\x02\x02\xc6\x33\x64\x02\xdc\x04\x01\xbb"
        "\x03\0\x04\x20\xec\x95\x49"),
     "checksum"},
};

/* The bytes in memory of their size, so that a sanitizer sees a read too far. */
static enum proxy_result parse(const char *bytes, size_t size, struct proxy_header *header,
                               const char **why)
{
    char *copy = malloc(size + (size == 0));
    cr_assert_not_null(copy);
    if (size > 0)
        memcpy(copy, bytes, size);
    enum proxy_result result = proxy_header_parse(span_of(copy, size), header, why);
    free(copy);
    return result;
}

static void expect_addresses(const char *why, const struct proxy_header *header, const char *source,
                             const char *destination)
{
    char text[ADDRESS_TEXT];
    cr_assert_eq(header->announced, source != NULL, "%s", why);
    if (source == NULL) {
        cr_assert_eq(header->source.family, ADDRESS_NONE, "%s", why);
        return;
    }
    cr_assert_str_eq(address_text(&header->source, text).data, source, "%s", why);
    cr_assert_str_eq(address_text(&header->destination, text).data, destination, "%s", why);
}

Test(net_proxy_protocol, good_headers_whole_and_cut_and_with_more_behind)
{
    static const char behind[] = "GET / HTTP/1.1\r\n\r\n";
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        const struct good_case *row = &good[i];
        struct proxy_header header = {.size = 77};
        const char *reason = "untouched";
        for (size_t cut = 0; cut < row->size; cut++)
            cr_assert_eq(parse(row->bytes, cut, &header, &reason), PROXY_MORE, "%s: cut at %zu",
                         row->why, cut);
        cr_assert_eq(header.size, 77, "%s: written before it was whole", row->why);
        cr_assert_eq(parse(row->bytes, row->size, &header, &reason), PROXY_ACCEPTED, "%s: %s",
                     row->why, reason);
        cr_assert_eq(header.size, row->size, "%s", row->why);
        expect_addresses(row->why, &header, row->source, row->destination);

        char longer[256];
        memcpy(longer, row->bytes, row->size);
        memcpy(longer + row->size, behind, sizeof behind);
        for (size_t more = 1; more < sizeof behind; more++) {
            struct proxy_header again = {0};
            cr_assert_eq(parse(longer, row->size + more, &again, &reason), PROXY_ACCEPTED, "%s",
                         row->why);
            cr_assert_eq(again.size, row->size, "%s: what is behind it counts", row->why);
            expect_addresses(row->why, &again, row->source, row->destination);
        }
        cr_assert_str_eq(reason, "untouched", "%s", row->why);
    }
}

Test(net_proxy_protocol, bad_headers_are_refused_and_stay_so)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const struct bad_case *row = &bad[i];
        struct proxy_header header = {.size = 77};
        const char *reason = "";
        enum proxy_result before = PROXY_MORE;
        for (size_t cut = 0; cut <= row->size; cut++) {
            enum proxy_result result = parse(row->bytes, cut, &header, &reason);
            cr_assert_neq(result, PROXY_ACCEPTED, "%s: taken after %zu bytes", row->why, cut);
            cr_assert(before == PROXY_MORE || result == PROXY_REFUSED, "%s: good again after %zu",
                      row->why, cut);
            before = result;
        }
        cr_assert_eq(before, PROXY_REFUSED, "%s", row->why);
        cr_assert_not_null(strstr(reason, row->reason), "%s: %s", row->why, reason);
        cr_assert_eq(header.size, 77, "%s: written", row->why);
    }
}

/* What a client that forgot the header says is known to be wrong at once, not after a line. */
Test(net_proxy_protocol, one_wrong_byte_is_enough)
{
    struct proxy_header header;
    const char *reason = "";
    for (int byte = 0; byte < 256; byte++) {
        char first = (char)byte;
        enum proxy_result want = byte == 'P' || byte == '\r' ? PROXY_MORE : PROXY_REFUSED;
        cr_assert_eq(parse(&first, 1, &header, &reason), want, "%d", byte);
    }
    char head[13];
    memcpy(head, SIGNATURE, 12);
    for (size_t i = 0; i < 12; i++) {
        head[i] ^= 1;
        cr_assert_eq(parse(head, i + 1, &header, &reason), PROXY_REFUSED, "%zu", i);
        head[i] ^= 1;
    }
    for (int byte = 0; byte < 256; byte++) {
        head[12] = (char)byte;
        enum proxy_result want = byte == 0x20 || byte == 0x21 ? PROXY_MORE : PROXY_REFUSED;
        cr_assert_eq(parse(head, 13, &header, &reason), want, "%d", byte);
    }
}

Test(net_proxy_protocol, unix_paths)
{
    static const struct {
        const char *why, *path;
        size_t size;
        const char *text;
    } rows[] = {
        {"a path", HEADER("/run/client.sock"), "/run/client.sock"},
        {"unnamed", HEADER(""), ""},
        {"abstract: it begins with a NUL", HEADER("\0abstract"), ""},
    };
    char bytes[16 + 216] = SIGNATURE "\x21\x31\0\xd8";
    struct proxy_header header;
    const char *reason = "";
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        memset(bytes + 16, 0, 216);
        memcpy(bytes + 16, rows[i].path, rows[i].size);
        memset(bytes + 16 + 108, 'd', 108); /* no NUL ends it */
        cr_assert_eq(parse(bytes, sizeof bytes - 1, &header, &reason), PROXY_MORE);
        cr_assert_eq(parse(bytes, sizeof bytes, &header, &reason), PROXY_ACCEPTED, "%s", reason);
        cr_assert(header.announced && header.size == sizeof bytes);
        cr_assert_eq(header.source.family, ADDRESS_UNIX);
        cr_assert_str_eq(header.source.text, rows[i].text, "%s", rows[i].why);
        cr_assert_eq(header.destination.text_size, 107);
    }
}

Test(net_proxy_protocol, the_longest_header)
{
    static char bytes[PROXY_HEADER_MAX] = SIGNATURE "\x21\x11\x0f\xf0" V4_ADDRESSES;
    size_t at = 16 + 12, left = sizeof bytes - at - 3;
    struct proxy_header header;
    const char *reason = "";
    bytes[at] = 0x02;
    bytes[at + 1] = (char)(left >> 8);
    bytes[at + 2] = (char)(left & 255);
    memset(bytes + at + 3, 'a', left);
    for (size_t size = 16; size < sizeof bytes; size += 255)
        cr_assert_eq(parse(bytes, size, &header, &reason), PROXY_MORE);
    cr_assert_eq(parse(bytes, sizeof bytes - 1, &header, &reason), PROXY_MORE);
    cr_assert_eq(parse(bytes, sizeof bytes, &header, &reason), PROXY_ACCEPTED, "%s", reason);
    cr_assert_eq(header.size, sizeof bytes);
}
