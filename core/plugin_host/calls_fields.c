/* Header fields of both messages as plugins read and edit them. Fields for a response that does not
 * exist yet are kept aside and added to whatever response comes. What frames a message is the
 * gateway's own: a plugin that could edit it could smuggle. */
#include "plugin_host/calls.h"
#include "plugin_host/host_internal.h"
#include "plugin_host/phases.h"
#include "plugin_host/recorder.h"
#include "plugin_host/table.h"

enum { EARLY_FIELDS = 16, EARLY_FIELDS_MAX = 256 };

/* In http_header.flags while an answer is offered in place of a response. */
#define FIELD_REPLACED 0x8000U

#define PHASES_BODY (PHASE_BIT(PHASE_REQUEST_BODY) | PHASE_BIT(PHASE_RESPONSE_BODY))

/* clang-format off */
static const struct http_name bare_names[HTTP_HEADER_COUNT] = {
#define X(id, name, flags) [HTTP_HEADER_##id] = {HTTP_HEADER_##id, {name, sizeof(name) - 1}},
    HTTP_HEADER_TABLE(X)
#undef X
};
/* clang-format on */

/* Interned names keep the spelling of the plugin that asked; a bare well-known id has the table's.
 * NULL: no name has that id. */
static inline const struct http_name *name_of(const struct weir_request *request, weir_header_id id)
{
    if (LIKELY(id >= HTTP_HEADER_COUNT))
        return host_header_name(request->host, id);
    return id == HTTP_HEADER_UNKNOWN ? NULL : &bare_names[id];
}

static bool is_framing(enum http_header_id id)
{
    return id == HTTP_HEADER_CONTENT_LENGTH || (http_header_flags(id) & HTTP_HEADER_HOP) != 0;
}

/* ---- which fields */

static struct http_headers *readable(struct weir_request *request, uint32_t side)
{
    if (side == WEIR_SIDE_REQUEST)
        return &request->head.headers;
    if (side != WEIR_SIDE_RESPONSE)
        return NULL;
    return request->has_response ? &request->response.headers : request->early_fields;
}

/* Is the head of that side not on its way yet? */
static inline bool may_edit(struct weir_request *request, uint32_t side)
{
    const struct walk *walk = request_running(request);
    if (walk == NULL || walk->phase == PHASE_LOG)
        return false;
    enum direction direction = walk == &request->walks[TO_TARGET] ? TO_TARGET : TO_CLIENT;
    if ((PHASE_BIT(walk->phase) & PHASES_BODY) != 0 && body_need(walk) != WEIR_BODY_BUFFER)
        return false;
    if (side == WEIR_SIDE_REQUEST)
        return direction == TO_TARGET;
    return side == WEIR_SIDE_RESPONSE && (direction == TO_CLIENT || !request->has_response);
}

static enum weir_err early_fields_grow(struct weir_request *request)
{
    const struct http_headers *old = request->early_fields;
    uint16_t capacity = (uint16_t)(old == NULL ? EARLY_FIELDS : old->capacity * 2);
    if (capacity > EARLY_FIELDS_MAX)
        return WEIR_ERR_LIMIT;
    struct http_headers *fields = arena_alloc(request->arena, sizeof(*fields));
    struct http_header *items = arena_alloc(request->arena, capacity * sizeof(*items));
    if (fields == NULL || items == NULL)
        return WEIR_ERR_NO_MEMORY;
    if (old == NULL) {
        http_headers_init(fields, items, capacity);
    } else {
        *fields = *old;
        memcpy(items, old->items, old->count * sizeof(*items));
        fields->items = items;
        fields->capacity = capacity;
    }
    request->early_fields = fields;
    return WEIR_OK;
}

static enum weir_err editable(struct weir_request *request, uint32_t side,
                              struct http_headers **out)
{
    if (side == WEIR_SIDE_REQUEST) {
        *out = &request->head.headers;
    } else if (request->has_response) {
        *out = &request->response.headers;
    } else {
        if (request->early_fields == NULL ||
            request->early_fields->count == request->early_fields->capacity)
            TRY(early_fields_grow(request));
        *out = request->early_fields;
    }
    return WEIR_OK;
}

/* ---- reading */

/* By the bytes of a name that is none of the well-known ones: those are not even looked at. */
static struct span find_interned(const struct http_headers *headers, struct span name, size_t nth)
{
    for (size_t at = 0; at < headers->count; at++) {
        const struct http_header *item = &headers->items[at];
        if (item->id == HTTP_HEADER_UNKNOWN && item->name.size == name.size &&
            span_equal_nocase(item->name, name) && nth-- == 0)
            return item->value;
    }
    return SPAN_NONE;
}

weir_str call_header_get(weir_request *request, uint32_t side, weir_header_id id, size_t nth)
{
    const struct http_headers *headers = readable(request, side);
    const struct http_name *field = name_of(request, id);
    if (headers == NULL || field == NULL)
        return (weir_str){NULL, 0};
    if (field->id == HTTP_HEADER_UNKNOWN)
        return str_of(find_interned(headers, field->text, nth));
    size_t at = headers->first[field->id];
    if (at == 0)
        return (weir_str){NULL, 0};
    for (at--; at < headers->count; at++)
        if (headers->items[at].id == field->id && nth-- == 0)
            return str_of(headers->items[at].value);
    return (weir_str){NULL, 0};
}

void call_header_each(weir_request *request, uint32_t side, weir_header_visit *visit, void *user)
{
    const struct http_headers *headers = readable(request, side);
    if (headers == NULL || visit == NULL)
        return;
    for (size_t at = 0; at < headers->count; at++)
        if (!visit(user, str_of(headers->items[at].name), str_of(headers->items[at].value)))
            return;
}

/* ---- editing */

enum edit { EDIT_SET, EDIT_ADD };

/* Values end with their exchange and need no terminating byte: cheaper than arena_copy(). */
static inline struct span keep_value(struct weir_request *request, weir_str value)
{
    if (value.size == 0)
        return SPAN("");
    char *copy = value.data == NULL ? NULL : arena_bytes(request->arena, value.size);
    if (copy == NULL)
        return SPAN_NONE;
    memcpy(copy, value.data, value.size);
    return span_of(copy, value.size);
}

static weir_status edit(struct weir_request *request, uint32_t side, weir_header_id id,
                        weir_str value, enum edit how)
{
    if (!may_edit(request, side))
        return WEIR_PHASE;
    const struct http_name *field = name_of(request, id);
    if (field == NULL || is_framing(field->id))
        return WEIR_INVALID;
    /* What the target is told of the host is not the client's field: it depends on the service. */
    if (field->id == HTTP_HEADER_HOST && side == WEIR_SIDE_REQUEST)
        return how == EDIT_SET ? call_host_set(request, value) : WEIR_INVALID;
    struct span copy = keep_value(request, value);
    if (!span_is_set(copy))
        return WEIR_NO_MEMORY;
    struct http_headers *headers = NULL;
    enum weir_err err = editable(request, side, &headers);
    if (err != WEIR_OK)
        return status_of(err);
    if (how == EDIT_ADD)
        return status_of(http_headers_add_name(headers, *field, copy));
    err = http_headers_set_name(headers, *field, copy);
    if (err == WEIR_OK && field->id != HTTP_HEADER_UNKNOWN)
        headers->items[headers->first[field->id] - 1].flags &= (uint16_t)~FIELD_REPLACED;
    return status_of(err);
}

weir_status call_header_set(weir_request *request, uint32_t side, weir_header_id id, weir_str value)
{
    return edit(request, side, id, value, EDIT_SET);
}

weir_status call_header_add(weir_request *request, uint32_t side, weir_header_id id, weir_str value)
{
    return edit(request, side, id, value, EDIT_ADD);
}

weir_status call_header_remove(weir_request *request, uint32_t side, weir_header_id id)
{
    if (!may_edit(request, side))
        return WEIR_PHASE;
    const struct http_name *field = name_of(request, id);
    if (field == NULL || is_framing(field->id) ||
        (field->id == HTTP_HEADER_HOST && side == WEIR_SIDE_REQUEST))
        return WEIR_INVALID;
    struct http_headers *headers = readable(request, side);
    if (headers == NULL || http_headers_remove(headers, field->id, field->text) == 0)
        return WEIR_NOT_FOUND;
    return WEIR_SUCCESS;
}

/* ---- the response comes, or another one takes its place */

/* Of these a message has one, and who made the response knows best. */
static bool is_single(enum http_header_id id)
{
    static const enum http_header_id single[] = {
        HTTP_HEADER_CONTENT_TYPE, HTTP_HEADER_CONTENT_RANGE, HTTP_HEADER_DATE,
        HTTP_HEADER_ETAG,         HTTP_HEADER_LAST_MODIFIED, HTTP_HEADER_LOCATION,
        HTTP_HEADER_SERVER,       HTTP_HEADER_RETRY_AFTER,   HTTP_HEADER_EXPIRES,
        HTTP_HEADER_AGE,
    };
    for (size_t i = 0; i < COUNT_OF(single); i++)
        if (single[i] == id)
            return true;
    return false;
}

enum weir_err request_response_started(struct weir_request *request)
{
    const struct http_headers *early = request->early_fields;
    struct http_headers *headers = &request->response.headers;
    enum weir_err err = WEIR_OK;
    if (UNLIKELY(request->recording != NULL))
        recorder_response(request);
    for (size_t i = 0; early != NULL && i < early->count && err == WEIR_OK; i++) {
        const struct http_header *item = &early->items[i];
        if (headers->first[item->id] == 0 || !is_single((enum http_header_id)item->id))
            err = http_headers_add(headers, (enum http_header_id)item->id, item->name, item->value);
    }
    return err;
}

/* Fields that describe the body of a response, or what its status asks for (426), not the answer as
 * a whole. */
static bool goes_with_body(enum http_header_id id)
{
    static const enum http_header_id body[] = {
        HTTP_HEADER_CONTENT_TYPE,     HTTP_HEADER_CONTENT_LENGTH,
        HTTP_HEADER_CONTENT_ENCODING, HTTP_HEADER_CONTENT_LANGUAGE,
        HTTP_HEADER_CONTENT_LOCATION, HTTP_HEADER_CONTENT_DISPOSITION,
        HTTP_HEADER_CONTENT_RANGE,    HTTP_HEADER_TRANSFER_ENCODING,
        HTTP_HEADER_TRAILER,          HTTP_HEADER_ETAG,
        HTTP_HEADER_LAST_MODIFIED,    HTTP_HEADER_ACCEPT_RANGES,
        HTTP_HEADER_UPGRADE,          HTTP_HEADER_CONNECTION,
    };
    for (size_t i = 0; i < COUNT_OF(body); i++)
        if (body[i] == id)
            return true;
    return false;
}

void response_offer(struct weir_request *request)
{
    struct http_headers *headers = &request->response.headers;
    for (size_t i = 0; request->has_response && i < headers->count; i++)
        if (goes_with_body((enum http_header_id)headers->items[i].id))
            headers->items[i].flags |= FIELD_REPLACED;
}

void response_replace(struct weir_request *request)
{
    struct http_headers *headers = &request->response.headers;
    for (size_t i = headers->count; i > 0; i--)
        if ((headers->items[i - 1].flags & FIELD_REPLACED) != 0)
            http_headers_remove_at(headers, i - 1);
    request->response.status = request->reply.status;
    request->response.reason = SPAN_NONE;
    request->from_target = false;
}

void response_keep(struct weir_request *request)
{
    struct http_headers *headers = &request->response.headers;
    for (size_t i = 0; request->has_response && i < headers->count; i++)
        headers->items[i].flags &= (uint16_t)~FIELD_REPLACED;
}
