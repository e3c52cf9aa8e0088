/* Masks the digits of payment card numbers in responses, all but the last four, while the body
 * streams by. Shows a STREAM hook: pieces come as the network cut them, so a number may lie across
 * two or more of them. What could still become a number is held back, never more than its longest
 * form: memory does not grow with the body.
 *
 * Content-Length is the host's business: what a STREAM policy emits may have another length, so the
 * response goes out chunked. */
#include <string.h>
#include <strings.h>

#include <weir/weir.h>

enum {
    DIGITS_LEAST = 13,
    DIGITS_MOST = 19,
    LAST_SHOWN = 4,
    HELD_MOST = 2 * DIGITS_MOST, /* digits, one space or dash between each, one behind */
    OUT_SIZE = 4096,
};

typedef struct {
    weir_list content_types; /* of weir_str */
    weir_str mask;

    weir_header_id content_type, content_encoding, accept_encoding, etag;
} stream_filter;

/* Zero when the request begins. */
typedef struct {
    char held[HELD_MOST];
    uint8_t size;   /* of what is held */
    uint8_t digits; /* among them */
    bool too_long;  /* inside a run of digits that is longer than any card number */
} per_request;

static const weir_field fields[] = {
    WEIR_LIST(stream_filter, content_types, WEIR_TYPE_STRING, .def = "[text/, application/json]",
              .help = "types of responses that are looked into; each is how the type begins"),
    WEIR_STRING(stream_filter, mask, .def = "'*'", .help = "the character in place of a digit"),
};

static int configure(void *self, weir_error *error)
{
    stream_filter *policy = self;
    policy->content_type = weir_header_intern(WEIR_LIT("Content-Type"));
    policy->content_encoding = weir_header_intern(WEIR_LIT("Content-Encoding"));
    policy->accept_encoding = weir_header_intern(WEIR_LIT("Accept-Encoding"));
    policy->etag = weir_header_intern(WEIR_LIT("ETag"));
    if (policy->content_type == 0 || policy->content_encoding == 0 ||
        policy->accept_encoding == 0 || policy->etag == 0) {
        weir_error_at(error, NULL, "no memory");
        return 1;
    }
    if (policy->mask.size != 1) {
        weir_error_at(error, "mask", "must be one character");
        return 1;
    }
    return 0;
}

/* ---- the heads */

/* A compressed body shows no digits: the target is not told that the client would take one. */
static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const stream_filter *policy = self;
    (void)context;
    weir_status status = weir_header_remove(request, WEIR_SIDE_REQUEST, policy->accept_encoding);
    return status == WEIR_SUCCESS || status == WEIR_NOT_FOUND ? WEIR_NEXT : WEIR_FAIL;
}

static bool is_listed(const stream_filter *policy, weir_str type)
{
    const weir_str *items = policy->content_types.items;
    for (size_t i = 0; i < policy->content_types.count; i++)
        if (type.size >= items[i].size && strncasecmp(type.data, items[i].data, items[i].size) == 0)
            return true;
    return false;
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    const stream_filter *policy = self;
    (void)context;
    weir_str type = weir_header_get(request, WEIR_SIDE_RESPONSE, policy->content_type, 0);
    weir_str coding = weir_header_get(request, WEIR_SIDE_RESPONSE, policy->content_encoding, 0);
    if (type.data != NULL && is_listed(policy, type) && coding.data == NULL) {
        /* The tag names the bytes that the target sent, not those that the client gets. */
        (void)weir_header_remove(request, WEIR_SIDE_RESPONSE, policy->etag);
        return WEIR_NEXT;
    }
    if (type.data != NULL && is_listed(policy, type))
        weir_log(request, WEIR_LOG_WARN, "the body is not looked into: it is compressed");
    (void)weir_body_skip(request, WEIR_SIDE_RESPONSE); /* relayed untouched, with its length */
    return WEIR_NEXT;
}

/* ---- the body */

/* What goes on, gathered so that not every byte is a call to the host. */
struct out {
    weir_request *request;
    weir_status status;
    size_t size;
    char bytes[OUT_SIZE];
};

static void out_flush(struct out *out)
{
    if (out->size > 0 && out->status == WEIR_SUCCESS)
        out->status =
            weir_body_emit(out->request, WEIR_SIDE_RESPONSE, (weir_str){out->bytes, out->size});
    out->size = 0;
}

static void out_put(struct out *out, char byte)
{
    if (out->size == sizeof(out->bytes))
        out_flush(out);
    out->bytes[out->size++] = byte;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The check digit of ISO/IEC 7812, so that few other numbers are masked. */
static bool passes_luhn(const per_request *mine)
{
    int sum = 0;
    bool twice = false;
    for (size_t i = mine->size; i > 0; i--) {
        if (!is_digit(mine->held[i - 1]))
            continue;
        int digit = mine->held[i - 1] - '0';
        if (twice)
            digit = digit > 4 ? 2 * digit - 9 : 2 * digit;
        sum += digit;
        twice = !twice;
    }
    return sum % 10 == 0;
}

/* What is held is over: it was a number, or it was not. */
static void let_go(const stream_filter *policy, per_request *mine, struct out *out)
{
    bool is_card = mine->digits >= DIGITS_LEAST && !mine->too_long && passes_luhn(mine);
    int hide = is_card ? mine->digits - LAST_SHOWN : 0;
    for (size_t i = 0; i < mine->size; i++) {
        bool hidden = is_digit(mine->held[i]) && hide-- > 0;
        out_put(out, hidden ? policy->mask.data[0] : mine->held[i]);
    }
    mine->size = mine->digits = 0;
}

static void hold(per_request *mine, char byte)
{
    mine->held[mine->size++] = byte;
    mine->digits = (uint8_t)(mine->digits + is_digit(byte));
}

static void take(const stream_filter *policy, per_request *mine, struct out *out, char byte)
{
    bool separates =
        (byte == ' ' || byte == '-') && mine->size > 0 && is_digit(mine->held[mine->size - 1]);
    if (is_digit(byte) && mine->digits == DIGITS_MOST)
        mine->too_long = true;
    if (is_digit(byte) && mine->too_long) {
        let_go(policy, mine, out);
        out_put(out, byte);
        return;
    }
    if (is_digit(byte) || (separates && !mine->too_long)) {
        hold(mine, byte);
        return;
    }
    let_go(policy, mine, out);
    mine->too_long = false;
    out_put(out, byte);
}

static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str chunk, bool last)
{
    const stream_filter *policy = self;
    per_request *mine = context;
    struct out out;
    out.request = request;
    out.status = WEIR_SUCCESS;
    out.size = 0;
    for (size_t i = 0; i < chunk.size; i++)
        take(policy, mine, &out, chunk.data[i]);
    if (last) /* nothing more can come, so the end is an end of a number, too */
        let_go(policy, mine, &out);
    out_flush(&out);
    return out.status == WEIR_SUCCESS ? WEIR_NEXT : WEIR_FAIL;
}

WEIR_PLUGIN("stream-filter", "1.0.0", WEIR_CAP_BODY, .priority = 780, WEIR_SELF(stream_filter),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .response_body_need = WEIR_BODY_STREAM,
            .configure = configure, .access = on_access, .response_headers = on_response_headers,
            .response_body = on_response_body);
