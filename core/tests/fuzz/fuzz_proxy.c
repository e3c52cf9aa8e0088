/* Any bytes as the beginning of a connection that a PROXY header is expected on. Given piece by
 * piece the answer must be the one that the whole gets: a good beginning is one until the header
 * ends, a refusal is final, and no byte behind the header changes what it says. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "net/proxy_protocol.h"

/* In memory of its own size: a read too far is seen. */
static enum proxy_result parse(const uint8_t *bytes, size_t size, struct proxy_header *header,
                               const char **why)
{
    char *copy = malloc(size + 1);
    CHECK_THAT(copy != NULL);
    char *end_aligned = copy + 1; /* `size` bytes up to the end */
    if (size > 0)
        memcpy(end_aligned, bytes, size);
    enum proxy_result result = proxy_header_parse(span_of(end_aligned, size), header, why);
    free(copy);
    return result;
}

static void check_address(const struct address *address, bool announced)
{
    char text[ADDRESS_TEXT];
    struct address again;
    CHECK_THAT((address->family != ADDRESS_NONE) == announced);
    CHECK_THAT(address->text_size < sizeof(address->text));
    CHECK_THAT(address->text[address->text_size] == '\0');
    if (address->family != ADDRESS_V4 && address->family != ADDRESS_V6)
        return;
    CHECK_THAT(address_parse(address_text(address, text), &again) == WEIR_OK);
    CHECK_THAT(address_equal(address, &again));
}

static void check_accepted(const uint8_t *bytes, const struct proxy_header *header)
{
    CHECK_THAT(header->size >= 15 && header->size <= PROXY_HEADER_MAX);
    check_address(&header->source, header->announced);
    check_address(&header->destination, header->announced);
    if (bytes[0] == 'P') {
        CHECK_THAT(header->size <= 107);
        CHECK_THAT(memcmp(bytes + header->size - 2, "\r\n", 2) == 0);
        CHECK_THAT(memchr(bytes, '\n', header->size) == bytes + header->size - 1);
    } else {
        CHECK_THAT(header->size == 16U + (size_t)(bytes[14] << 8 | bytes[15]));
        CHECK_THAT(bytes[12] == 0x20 || bytes[12] == 0x21);
        CHECK_THAT(!header->announced || bytes[12] == 0x21);
    }
}

static void expect_same(const struct proxy_header *a, const struct proxy_header *b)
{
    CHECK_THAT(a->size == b->size && a->announced == b->announced);
    CHECK_THAT(address_equal(&a->source, &b->source));
    CHECK_THAT(address_equal(&a->destination, &b->destination));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct proxy_header whole = {0};
    const char *why = NULL;
    uint32_t seed = fuzz_seed(bytes, size);
    if (size > 8192)
        return 0;
    enum proxy_result result = parse(bytes, size, &whole, &why);
    CHECK_THAT((result == PROXY_REFUSED) == (why != NULL));
    CHECK_THAT(result == PROXY_ACCEPTED || (whole.size == 0 && !whole.announced));
    CHECK_THAT(result != PROXY_MORE || size < PROXY_HEADER_MAX);
    if (result == PROXY_ACCEPTED) {
        CHECK_THAT(whole.size <= size);
        check_accepted(bytes, &whole);
    }
    enum proxy_result before = PROXY_MORE;
    for (size_t at = 0; at < size; at += fuzz_piece(&seed, size - at)) {
        struct proxy_header part = {0};
        enum proxy_result now = parse(bytes, at, &part, &why);
        CHECK_THAT(before == PROXY_MORE || now == before);
        CHECK_THAT(now != PROXY_ACCEPTED || part.size <= at);
        CHECK_THAT(now == PROXY_MORE || now == result);
        if (now == PROXY_ACCEPTED)
            expect_same(&part, &whole);
        if (result == PROXY_ACCEPTED)
            CHECK_THAT((now == PROXY_MORE) == (at < whole.size));
        before = now;
    }
    return 0;
}
