/* The envelope of standard answers. */
#include "envelope.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    PAGE_DEFAULT = 1,
    PER_PAGE_DEFAULT = 20,
    STAMP_SIZE = 48,
    PAGINATION_SIZE = 160,
    HEAD_SIZE = 64,
    TAIL_SIZE = 512, /* without request id and version */
};

/* As JavaScript's parseInt(): white space, a sign, "0x", then digits up to the first byte that is
 * none. What is no number, 0 or past all pages is `otherwise`. */
static int64_t parse_int(weir_str text, int64_t otherwise)
{
    static const char hex_digits[] = "0123456789abcdef", space[] = " \t\r\n\v\f";
    enum { BIGGEST = 1000000000 };
    size_t at = 0;
    while (at < text.size && memchr(space, text.data[at], sizeof(space) - 1) != NULL)
        at++;
    bool negative = at < text.size && text.data[at] == '-';
    at += at < text.size && (text.data[at] == '-' || text.data[at] == '+');
    int base = 10;
    if (text.size - at > 1 && text.data[at] == '0' && (text.data[at + 1] | 0x20) == 'x') {
        base = 16;
        at += 2;
    }
    int64_t number = 0;
    for (; at < text.size; at++) {
        bool is_letter = (text.data[at] | 0x20) >= 'a';
        int byte = is_letter ? text.data[at] | 0x20 : text.data[at];
        const char *digit = memchr(hex_digits, byte, (size_t)base);
        if (digit == NULL)
            break;
        number = number * base + (digit - hex_digits);
        if (number > BIGGEST)
            return otherwise;
    }
    return number == 0 ? otherwise : negative ? -number : number;
}

static void print_stamp(char out[STAMP_SIZE])
{
    int64_t now_ms = weir_now_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL)
        memset(&utc, 0, sizeof(utc));
    size_t size = strftime(out, STAMP_SIZE - 8, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(out + size, STAMP_SIZE - size, ".%03dZ", (int)(now_ms % 1000));
}

static void print_pagination(weir_request *request, int64_t total, char out[PAGINATION_SIZE])
{
    int64_t page = parse_int(weir_query_get(request, WEIR_LIT("page"), 0), PAGE_DEFAULT);
    int64_t per_page =
        parse_int(weir_query_get(request, WEIR_LIT("per_page"), 0), PER_PAGE_DEFAULT);
    (void)snprintf(out, PAGINATION_SIZE,
                   ",\"pagination\":{\"total\":%" PRId64 ",\"page\":%" PRId64
                   ",\"perPage\":%" PRId64 "}",
                   total, page, per_page);
}

/* The name under which the caller knows the request, else ours. */
static weir_status print_id(weir_request *request, weir_str *out_json)
{
    weir_str id = weir_request_text(request, WEIR_TEXT_CORRELATION_ID);
    if (id.data == NULL)
        id = weir_request_text(request, WEIR_TEXT_REQUEST_ID);
    return weir_json_quote(id, weir_alloc_of_request, request, out_json);
}

weir_status envelope_wrap(const struct envelope *envelope, weir_request *request, weir_str data,
                          int64_t total, weir_str *out_text)
{
    weir_str id;
    weir_status status = print_id(request, &id);
    if (status != WEIR_SUCCESS)
        return status;
    char stamp[STAMP_SIZE], pagination[PAGINATION_SIZE] = "";
    print_stamp(stamp);
    if (envelope->pagination && total != NO_LIST)
        print_pagination(request, total, pagination);

    size_t room = HEAD_SIZE + data.size + TAIL_SIZE + id.size + envelope->version.size;
    char *text = weir_request_alloc(request, room);
    if (text == NULL)
        return WEIR_NO_MEMORY;
    bool success = weir_request_number(request, WEIR_NUMBER_STATUS) < 400;
    size_t size =
        (size_t)snprintf(text, HEAD_SIZE, "{\"success\":%s,\"data\":", success ? "true" : "false");
    memcpy(text + size, data.data, data.size);
    size += data.size;
    size += (size_t)snprintf(
        text + size, room - size,
        ",\"meta\":{\"requestId\":%.*s,\"timestamp\":\"%s\",\"version\":%.*s%s}}", (int)id.size,
        id.data, stamp, (int)envelope->version.size, envelope->version.data, pagination);
    *out_text = (weir_str){text, size};
    return WEIR_SUCCESS;
}
