/* Arguments of the query as plugins read and edit them. An edit writes all of them anew, as Kong
 * does: decoded and encoded again, a space as '+', empty pieces gone; an argument without '=' stays
 * one. Removing the only argument leaves the bare '?'. */
#include "base/text.h"
#include "http/uri.h"
#include "plugin_host/calls.h"
#include "plugin_host/phases.h"
#include "plugin_host/table.h"

enum { QUERY_BYTES_MAX = 65536 };

/* Is the raw argument name the wanted one? */
static bool is_named(struct weir_request *request, struct span raw, struct span wanted)
{
    if (span_find(raw, '%') == raw.size && span_find(raw, '+') == raw.size)
        return span_equal(raw, wanted);
    struct span name = text_percent_decode(request->arena, raw, true);
    return span_is_set(name) && span_equal(name, wanted);
}

weir_str call_query_get(weir_request *request, weir_str name, size_t nth)
{
    struct span rest = request->query, raw_name, value;
    bool has_value;
    if (!span_is_set(rest) || name.data == NULL)
        return (weir_str){NULL, 0};
    while (http_query_next(&rest, &raw_name, &value, &has_value))
        if (is_named(request, raw_name, span_of_str(name)) && nth-- == 0)
            return str_of(has_value && value.size > 0
                              ? text_percent_decode(request->arena, value, true)
                              : SPAN(""));
    return (weir_str){NULL, 0};
}

/* The new query: bytes of the arena, with room for the longest it can become. */
struct rewriting {
    struct weir_request *request;
    char *start, *at;
    bool failed;
};

static void write_encoded(struct rewriting *query, struct span text)
{
    struct span encoded = text_percent_encode(query->request->arena, text);
    if (text.size > 0 && !span_is_set(encoded))
        query->failed = true;
    for (size_t i = 0; i < encoded.size; i++) {
        if (span_starts_with(span_from(encoded, i), SPAN("%20"))) {
            *query->at++ = '+';
            i += 2;
        } else {
            *query->at++ = encoded.data[i];
        }
    }
}

static void write_argument(struct rewriting *query, struct span name, struct span value,
                           bool has_value)
{
    if (query->at != query->start)
        *query->at++ = '&';
    write_encoded(query, name);
    if (!has_value)
        return;
    *query->at++ = '=';
    write_encoded(query, value);
}

static void write_raw(struct rewriting *query, struct span name, struct span value, bool has_value)
{
    struct arena *arena = query->request->arena;
    struct span plain_name = text_percent_decode(arena, name, true);
    struct span plain_value = has_value ? text_percent_decode(arena, value, true) : SPAN_NONE;
    if ((name.size > 0 && !span_is_set(plain_name)) ||
        (value.size > 0 && !span_is_set(plain_value)))
        query->failed = true;
    else
        write_argument(query, plain_name, plain_value, has_value);
}

/* `value` unset: all arguments of that name go, else the first one becomes it (or it is added). */
static weir_status rewrite(struct weir_request *request, struct span name, struct span value)
{
    struct span rest = request->query, raw_name, raw_value;
    bool has_value, found = false, written = !span_is_set(value);
    if (name.size > QUERY_BYTES_MAX || value.size > QUERY_BYTES_MAX ||
        rest.size + name.size + value.size > QUERY_BYTES_MAX)
        return WEIR_FULL;
    struct rewriting query = {.request = request};
    query.start = query.at =
        arena_bytes(request->arena, 3 * (rest.size + name.size + value.size) + sizeof("&="));
    if (query.start == NULL)
        return WEIR_NO_MEMORY;
    while (!query.failed && http_query_next(&rest, &raw_name, &raw_value, &has_value)) {
        if (!is_named(request, raw_name, name)) {
            write_raw(&query, raw_name, raw_value, has_value);
            continue;
        }
        found = true;
        if (!written)
            write_argument(&query, name, value, true);
        written = true;
    }
    if (!written)
        write_argument(&query, name, value, true);
    if (query.failed)
        return WEIR_NO_MEMORY;
    if (!span_is_set(value) && !found)
        return WEIR_NOT_FOUND;
    request->query = span_of(query.start, (size_t)(query.at - query.start));
    request->query_edited = true;
    return WEIR_SUCCESS;
}

weir_status call_query_set(weir_request *request, weir_str name, weir_str value)
{
    if (!request_in_phases(request, PHASES_BEFORE_TARGET))
        return WEIR_PHASE;
    if (name.data == NULL || name.size == 0)
        return WEIR_INVALID;
    return rewrite(request, span_of_str(name), value.data == NULL ? SPAN("") : span_of_str(value));
}

/* RFC 3986 3.4, and what clients send beside it: anything that cannot end the request line. */
static bool is_query(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte <= ' ' || byte == 0x7f || byte == '#')
            return false;
    }
    return true;
}

weir_status call_query_replace(weir_request *request, weir_str raw)
{
    if (!request_in_phases(request, PHASES_BEFORE_TARGET))
        return WEIR_PHASE;
    if (raw.size > QUERY_BYTES_MAX)
        return WEIR_FULL;
    if (!is_query(span_of_str(raw)))
        return WEIR_INVALID;
    struct span query = SPAN_NONE;
    if (raw.data != NULL) {
        query = raw.size == 0 ? SPAN("") : arena_copy(request->arena, span_of_str(raw));
        if (!span_is_set(query))
            return WEIR_NO_MEMORY;
    }
    request->query = query;
    request->query_edited = true;
    return WEIR_SUCCESS;
}

weir_status call_query_remove(weir_request *request, weir_str name)
{
    if (!request_in_phases(request, PHASES_BEFORE_TARGET))
        return WEIR_PHASE;
    if (name.data == NULL || !span_is_set(request->query))
        return WEIR_NOT_FOUND;
    return rewrite(request, span_of_str(name), SPAN_NONE);
}
