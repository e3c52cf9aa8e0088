#include "gateway/affinity.h"

#include "base/hash.h"
#include "base/text.h"
#include "gateway/exchange.h"
#include "http/uri.h"

enum { VALUES_MAX = 32 }; /* of one header or query argument, that count */

/* Absent: the request has no such thing, or there is no memory to say it. */
typedef struct span value_of(struct exchange *x, const struct upstream *upstream,
                             struct span argument);

static struct span of_nothing(struct exchange *x, const struct upstream *upstream,
                              struct span argument)
{
    (void)x, (void)upstream, (void)argument;
    return SPAN_NONE;
}

static struct span of_consumer(struct exchange *x, const struct upstream *upstream,
                               struct span argument)
{
    const struct weir_request *request = &x->request;
    (void)upstream, (void)argument;
    if (request->consumer != NULL)
        return request->consumer->id;
    return request->credential != NULL ? request->credential->id : SPAN_NONE;
}

static struct span of_ip(struct exchange *x, const struct upstream *upstream, struct span argument)
{
    (void)upstream, (void)argument;
    return x->request.client_ip;
}

static struct span join(struct arena *arena, const struct span *values, size_t count,
                        struct span between)
{
    size_t size = 0, at = 0;
    if (count < 2)
        return count == 0 ? SPAN_NONE : values[0];
    for (size_t i = 0; i < count; i++)
        size += values[i].size + between.size;
    char *text = arena_bytes(arena, size);
    for (size_t i = 0; text != NULL && i < count; i++) {
        if (values[i].size > 0)
            memcpy(text + at, values[i].data, values[i].size);
        at += values[i].size;
        memcpy(text + at, between.data, between.size);
        at += between.size;
    }
    return text == NULL ? SPAN_NONE : span_of(text, size - between.size);
}

static struct span of_header(struct exchange *x, const struct upstream *upstream,
                             struct span argument)
{
    const struct http_headers *headers = &x->request.head.headers;
    const struct http_header *field;
    struct span values[VALUES_MAX];
    size_t count = 0;
    (void)upstream;
    while (count < VALUES_MAX && (field = http_headers_find(headers, argument, count)) != NULL)
        values[count++] = field->value;
    return join(x->request.arena, values, count, SPAN(", "));
}

/* Of "a=1; b=2". */
static struct span cookie_in(struct span field, struct span name)
{
    while (field.size > 0) {
        size_t end = span_find(field, ';');
        struct span pair = span_trim(span_first(field, end));
        size_t equals = span_find(pair, '=');
        if (equals < pair.size && span_equal(span_first(pair, equals), name))
            return span_from(pair, equals + 1);
        field = span_from(field, end + 1);
    }
    return SPAN_NONE;
}

/* "Same-Site" is what Kong sends. */
static struct span make_cookie(struct exchange *x, const struct upstream *upstream)
{
    char *id = arena_bytes(x->request.arena, UUID_TEXT);
    if (id == NULL)
        return SPAN_NONE;
    uuid_v4(id);
    x->affinity_cookie = arena_printf(
        x->request.arena, "%.*s=%.*s; Path=%.*s; Same-Site=Lax; HttpOnly",
        SPAN_ARG(upstream->hash_on_cookie), UUID_TEXT, id, SPAN_ARG(upstream->hash_on_cookie_path));
    if (!http_value_is_valid(x->affinity_cookie)) /* the file's name or path of it is none */
        x->affinity_cookie = SPAN_NONE;
    return span_of(id, UUID_TEXT);
}

static struct span of_cookie(struct exchange *x, const struct upstream *upstream,
                             struct span argument)
{
    const struct http_headers *headers = &x->request.head.headers;
    const struct http_header *field;
    for (size_t i = 0; (field = http_headers_find(headers, SPAN("cookie"), i)) != NULL; i++) {
        struct span value = cookie_in(field->value, argument);
        if (value.size > 0)
            return value;
    }
    return make_cookie(x, upstream);
}

static struct span of_path(struct exchange *x, const struct upstream *upstream,
                           struct span argument)
{
    (void)upstream, (void)argument;
    return x->request.path;
}

/* In order, so that ?a=1&a=2 is like ?a=2&a=1. */
static size_t insert(struct span values[VALUES_MAX], size_t count, struct span value)
{
    size_t at = count;
    if (count == VALUES_MAX)
        return count;
    for (; at > 0 && span_compare(value, values[at - 1]) < 0; at--)
        values[at] = values[at - 1];
    values[at] = value;
    return count + 1;
}

static struct span of_query(struct exchange *x, const struct upstream *upstream,
                            struct span argument)
{
    struct span values[VALUES_MAX], rest = x->request.query, name, value;
    struct arena *arena = x->request.arena;
    size_t count = 0;
    bool has_value;
    (void)upstream;
    while (http_query_next(&rest, &name, &value, &has_value)) {
        if (!span_equal(text_percent_decode(arena, name, true), argument))
            continue;
        value = has_value ? text_percent_decode(arena, value, true) : SPAN("true");
        count = insert(values, count, value);
    }
    return join(arena, values, count, SPAN(","));
}

static struct span of_capture(struct exchange *x, const struct upstream *upstream,
                              struct span argument)
{
    const struct weir_request *request = &x->request;
    uint64_t number = UINT64_MAX;
    (void)upstream;
    (void)text_to_u64(argument, &number);
    for (size_t i = 0; i < request->capture_count; i++) {
        bool named = request->capture_names != NULL && span_is_set(request->capture_names[i]) &&
                     span_equal(request->capture_names[i], argument);
        if (named || i == number)
            return request->captures[i];
    }
    return SPAN_NONE;
}

uint64_t affinity_hash(struct pick *pick, const struct upstream *upstream)
{
    static value_of *const values[] = {
        [HASH_NONE] = of_nothing,    [HASH_CONSUMER] = of_consumer,   [HASH_IP] = of_ip,
        [HASH_HEADER] = of_header,   [HASH_COOKIE] = of_cookie,       [HASH_PATH] = of_path,
        [HASH_QUERY_ARG] = of_query, [HASH_URI_CAPTURE] = of_capture,
    };
    const struct span on[] = {[HASH_HEADER] = upstream->hash_on_header,
                              [HASH_COOKIE] = upstream->hash_on_cookie,
                              [HASH_QUERY_ARG] = upstream->hash_on_query_arg,
                              [HASH_URI_CAPTURE] = upstream->hash_on_uri_capture};
    const struct span fallback[] = {[HASH_HEADER] = upstream->hash_fallback_header,
                                    [HASH_COOKIE] = upstream->hash_on_cookie,
                                    [HASH_QUERY_ARG] = upstream->hash_fallback_query_arg,
                                    [HASH_URI_CAPTURE] = upstream->hash_fallback_uri_capture};
    /* The same in all workers and on all machines: what is alike meets the same target. */
    static const struct hash_key key = {0x776569722d616666ULL, 0x696e6974792d6b65ULL};
    struct exchange *x = pick->user;
    struct span value = values[upstream->hash_on](x, upstream, on[upstream->hash_on]);
    if (value.size == 0)
        value = values[upstream->hash_fallback](x, upstream, fallback[upstream->hash_fallback]);
    return hash_span(&key, value);
}
