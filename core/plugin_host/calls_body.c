/* Bodies as plugins see them. Next: body.c, where they run through the hooks. */
#include "plugin_host/calls.h"
#include "plugin_host/parks.h"
#include "plugin_host/phases.h"
#include "plugin_host/table.h"

static weir_status status_of_read(enum weir_err err)
{
    if (err == WEIR_ERR_NO_MEMORY)
        return WEIR_NO_MEMORY;
    return err == WEIR_ERR_LIMIT || err == WEIR_ERR_BODY_TOO_LARGE ? WEIR_FULL : WEIR_INVALID;
}

weir_status call_body_read(weir_request *request, uint32_t deadline_ms, weir_wake_hook *on_wake)
{
    struct walk *walk = request_running(request);
    if (walk == NULL || walk->phase != PHASE_ACCESS || walk->park != NULL)
        return WEIR_PHASE;
    if (on_wake == NULL)
        return WEIR_INVALID;
    if (request->body_error != WEIR_OK)
        return status_of_read(request->body_error);
    struct parks *parks = host_parks(request->host);
    struct park *park = parks_take(parks, request, TO_TARGET, deadline_ms, on_wake);
    if (park == NULL)
        return WEIR_NO_MEMORY;
    request->body_token = park_token(park);
    if (request->bodies[TO_TARGET].complete)
        return parks_wake(parks, request->body_token);
    /* One that gave up waiting leaves the reading to go on. */
    if (request->body_reading)
        return WEIR_SUCCESS;
    request->body_reading = true;
    enum weir_err err =
        request->ops->read_body == NULL ? WEIR_ERR_INVALID : request->ops->read_body(request);
    if (err == WEIR_OK)
        return WEIR_SUCCESS;
    request->body_reading = false;
    parks_drop(parks, park);
    return status_of_read(err);
}

/* What the client is told when its body could not be read. */
static enum weir_err client_error(enum weir_err err)
{
    if (err == WEIR_ERR_LIMIT)
        return WEIR_ERR_BODY_TOO_LARGE;
    if (err == WEIR_ERR_TIMEOUT)
        return WEIR_ERR_REQUEST_TIMEOUT;
    return weir_err_status(err) == 0 ? WEIR_ERR_BAD_REQUEST : err;
}

void request_body_ready(struct weir_request *request, enum weir_err err, struct span body)
{
    struct parks *parks = host_parks(request->host);
    request->body_reading = false;
    request->body_error = err;
    if (err == WEIR_OK) {
        request->bodies[TO_TARGET] =
            (struct whole_body){span_is_set(body) ? body : SPAN(""), true, false};
        (void)parks_wake(parks, request->body_token);
        return;
    }
    if (!parks_fail(parks, request->body_token))
        return;
    enum weir_err told = client_error(err);
    request->reply = (struct reply){.status = (uint16_t)weir_err_status(told),
                                    .negotiated = true,
                                    .engine = true,
                                    .body = span_text(weir_err_text(told))};
}

weir_status call_body_emit(weir_request *request, uint32_t side, weir_str chunk)
{
    const struct walk *walk = request_running(request);
    enum phase phase = side == WEIR_SIDE_REQUEST ? PHASE_REQUEST_BODY : PHASE_RESPONSE_BODY;
    if (walk == NULL || side > WEIR_SIDE_RESPONSE || walk->phase != phase)
        return WEIR_PHASE;
    struct buf *emission = body_emission(request, phase_direction(phase));
    if (emission == NULL)
        return WEIR_PHASE;
    if (chunk.size > BODY_EMIT_MAX)
        return WEIR_FULL;
    buf_append(emission, chunk.data, chunk.size);
    return emission->failed ? WEIR_NO_MEMORY : WEIR_SUCCESS;
}

weir_str call_body_get(weir_request *request, uint32_t side)
{
    if (side > WEIR_SIDE_RESPONSE)
        return (weir_str){NULL, 0};
    const struct whole_body *body =
        &request->bodies[side == WEIR_SIDE_REQUEST ? TO_TARGET : TO_CLIENT];
    return body->complete ? str_of(body->bytes) : (weir_str){NULL, 0};
}

weir_status call_body_skip(weir_request *request, uint32_t side)
{
    const struct walk *walk = request_running(request);
    if (walk == NULL || side > WEIR_SIDE_RESPONSE)
        return WEIR_PHASE;
    enum direction direction = side == WEIR_SIDE_REQUEST ? TO_TARGET : TO_CLIENT;
    unsigned too_late = PHASE_BIT(PHASE_LOG) | PHASE_BIT(PHASE_RESPONSE_BODY);
    if (direction == TO_TARGET)
        too_late |= PHASE_BIT(PHASE_REQUEST_BODY) | PHASE_BIT(PHASE_RESPONSE_HEADERS);
    if ((PHASE_BIT(walk->phase) & too_late) != 0 || request->pipes[direction] != NULL)
        return WEIR_PHASE;
    struct skipped_body *by = arena_new(request->arena, struct skipped_body);
    if (by == NULL)
        return WEIR_NO_MEMORY;
    *by = (struct skipped_body){request->skipped[direction], walk->entry->policy};
    request->skipped[direction] = by;
    return WEIR_SUCCESS;
}

static bool may_replace(struct weir_request *request, enum direction direction)
{
    const struct walk *walk = request_running(request);
    if (walk == NULL || phase_direction(walk->phase) != direction ||
        !request->bodies[direction].complete)
        return false;
    return walk->phase == PHASE_ACCESS ||
           (phase_is_body(walk->phase) && body_need(walk) == WEIR_BODY_BUFFER);
}

weir_status call_body_replace(weir_request *request, uint32_t side, weir_str body)
{
    enum direction direction = side == WEIR_SIDE_REQUEST ? TO_TARGET : TO_CLIENT;
    if (side > WEIR_SIDE_RESPONSE || !may_replace(request, direction))
        return WEIR_PHASE;
    struct span copy = SPAN("");
    if (body.size > BODY_WHOLE_MAX)
        return WEIR_FULL;
    if (body.size > 0)
        copy = arena_copy(request->arena, span_of_str(body));
    if (!span_is_set(copy))
        return WEIR_NO_MEMORY;
    request->bodies[direction].bytes = copy;
    request->bodies[direction].replaced = true;
    return WEIR_SUCCESS;
}
