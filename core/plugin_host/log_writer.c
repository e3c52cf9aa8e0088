/* Members of the log document, and policies' changes laid over them. */
#include "plugin_host/log_writer.h"

#include <inttypes.h>

static void write_value(struct log_writer *writer, struct span json);

/* ---- paths */

static struct span path_of(const struct log_writer *writer)
{
    return span_of(writer->path, writer->path_size);
}

/* Bytes of the first name of a dotted key. */
static size_t segment_size(struct span key)
{
    size_t at = 0;
    while (at < key.size && key.data[at] != '.')
        at += key.data[at] == '\\' && at + 1 < key.size ? 2 : 1;
    return at;
}

/* How many segments, 0 when one is empty. */
static size_t count_segments(struct span key)
{
    size_t count = 0;
    if (key.size > 0 && span_find(key, '.') == key.size)
        return 1;
    for (;;) {
        size_t size = segment_size(key);
        if (size == 0)
            return 0;
        count++;
        if (size == key.size)
            return count;
        key = span_from(key, size + 1);
        if (key.size == 0)
            return 0;
    }
}

static bool is_below(struct span key, struct span path)
{
    return path.size == 0 ||
           (key.size > path.size && span_starts_with(key, path) && key.data[path.size] == '.');
}

static bool is_at_or_below(struct span key, struct span path)
{
    return is_below(key, path) || span_equal(key, path);
}

/* One level down. `name` has its dots escaped already when `escaped`. */
static struct log_place push(struct log_writer *writer, struct span name, bool escaped)
{
    struct log_place place = {writer->path_size, writer->hidden};
    if (writer->edits == NULL || writer->hidden > 0)
        return place;
    size_t at = writer->path_size;
    if (2 * name.size + 1 > sizeof(writer->path) - at) {
        writer->hidden++;
        return place;
    }
    if (at > 0)
        writer->path[at++] = '.';
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '.' && !escaped)
            writer->path[at++] = '\\';
        writer->path[at++] = name.data[i];
    }
    writer->path_size = at;
    return place;
}

static void pop(struct log_writer *writer, const struct log_place *place)
{
    writer->path_size = place->path_size;
    writer->hidden = place->hidden;
}

/* ---- edits */

static bool edits_apply(const struct log_writer *writer)
{
    return writer->edits != NULL && writer->hidden == 0;
}

static const struct log_edit *edit_here(const struct log_writer *writer)
{
    const struct log_edit *edit = edits_apply(writer) ? writer->edits : NULL;
    while (edit != NULL && !span_equal(edit->key, path_of(writer)))
        edit = edit->next;
    return edit;
}

/* Something is to be written below this path, at it too when `at`. */
static bool edits_add(const struct log_writer *writer, bool at)
{
    const struct log_edit *edit = edits_apply(writer) ? writer->edits : NULL;
    for (; edit != NULL; edit = edit->next)
        if (edit->json.size > 0 && (is_below(edit->key, path_of(writer)) ||
                                    (at && span_equal(edit->key, path_of(writer)))))
            return true;
    return false;
}

static bool edits_are_below(const struct log_writer *writer)
{
    const struct log_edit *edit = edits_apply(writer) ? writer->edits : NULL;
    while (edit != NULL && !is_below(edit->key, path_of(writer)))
        edit = edit->next;
    return edit != NULL;
}

static void mark_done(struct log_writer *writer)
{
    if (!edits_apply(writer))
        return;
    uint64_t bit = 1;
    for (const struct log_edit *edit = writer->edits; edit != NULL; edit = edit->next, bit <<= 1)
        if (is_at_or_below(edit->key, path_of(writer)))
            writer->done |= bit;
}

static void write_separator(struct log_writer *writer)
{
    if (!writer->first)
        buf_byte(writer->out, ',');
    writer->first = false;
}

/* A name out of a dotted key. */
static void write_key_segment(struct log_writer *writer, struct span segment)
{
    char name[LOG_KEY_MAX];
    size_t size = 0;
    for (size_t i = 0; i < segment.size && size < sizeof(name); i++) {
        if (segment.data[i] == '\\' && i + 1 < segment.size && segment.data[i + 1] == '.')
            i++;
        name[size++] = segment.data[i];
    }
    write_separator(writer);
    buf_json(writer->out, span_of(name, size));
    buf_byte(writer->out, ':');
}

/* NOLINTBEGIN(misc-no-recursion): as deep as a key and a value may be, LOG_VALUE_DEPTH each */

/* The value of the member at this path, which `edit` (NULL: edits below it alone) makes. */
static void write_edited(struct log_writer *writer, const struct log_edit *edit)
{
    if (edit != NULL && edit->json.size > 0) {
        write_value(writer, edit->json);
    } else {
        log_object_begin(writer);
        log_object_end(writer);
    }
    mark_done(writer);
}

/* A value of a policy, and over it what was set later within it. */
static void write_value(struct log_writer *writer, struct span json)
{
    if (!edits_are_below(writer)) {
        buf_span(writer->out, json);
        return;
    }
    bool is_object = json.data[0] == '{';
    struct span name, value;
    log_object_begin(writer);
    while (is_object && log_json_member(&json, &name, &value)) {
        struct span bare = span_first(span_from(name, 1), name.size - 2);
        struct log_place place;
        if (span_find(bare, '\\') < bare.size) { /* no key of an edit has escapes */
            write_separator(writer);
            buf_span(writer->out, name);
            buf_byte(writer->out, ':');
            buf_span(writer->out, value);
        } else if (log_member_begin(writer, bare, &place)) {
            write_value(writer, value);
            log_member_end(writer, &place);
        }
    }
    log_object_end(writer);
}

/* ---- members */

bool log_member_begin(struct log_writer *writer, struct span name, struct log_place *out_place)
{
    *out_place = push(writer, name, false);
    const struct log_edit *edit = edit_here(writer);
    bool wanted = edit == NULL || edits_add(writer, true);
    if (wanted) {
        write_separator(writer);
        buf_json(writer->out, name);
        buf_byte(writer->out, ':');
    }
    if (edit == NULL)
        return true;
    if (wanted)
        write_edited(writer, edit);
    log_member_end(writer, out_place);
    return false;
}

void log_member_end(struct log_writer *writer, const struct log_place *place)
{
    /* What lies below a plain value does not apply, and must not be added a second time. */
    mark_done(writer);
    pop(writer, place);
}

void log_object_begin(struct log_writer *writer)
{
    buf_byte(writer->out, '{');
    writer->first = true;
}

void log_object_end(struct log_writer *writer)
{
    uint64_t bit = 1;
    const struct log_edit *edit = edits_apply(writer) ? writer->edits : NULL;
    for (; edit != NULL; edit = edit->next, bit <<= 1) {
        struct span path = path_of(writer);
        if ((writer->done & bit) != 0 || !is_below(edit->key, path))
            continue;
        struct span below = span_from(edit->key, path.size == 0 ? 0 : path.size + 1);
        struct span segment = span_first(below, segment_size(below));
        struct log_place place = push(writer, segment, true);
        if (writer->hidden == 0 && edits_add(writer, true)) {
            write_key_segment(writer, segment);
            write_edited(writer, edit_here(writer));
        }
        log_member_end(writer, &place);
    }
    buf_byte(writer->out, '}');
    writer->first = false;
}

/* NOLINTEND(misc-no-recursion) */

void log_text(struct log_writer *writer, struct span name, struct span value)
{
    struct log_place place;
    if (!span_is_set(value) || !log_member_begin(writer, name, &place))
        return;
    buf_json(writer->out, value);
    log_member_end(writer, &place);
}

void log_number(struct log_writer *writer, struct span name, int64_t value)
{
    struct log_place place;
    if (!log_member_begin(writer, name, &place))
        return;
    buf_printf(writer->out, "%" PRId64, value);
    log_member_end(writer, &place);
}

void log_boolean(struct log_writer *writer, struct span name, bool value)
{
    struct log_place place;
    if (!log_member_begin(writer, name, &place))
        return;
    buf_text(writer->out, value ? "true" : "false");
    log_member_end(writer, &place);
}

/* ---- what policies ask for */

enum weir_err log_document_edit(struct weir_request *request, struct span dotted_key,
                                struct span json)
{
    if (dotted_key.size > LOG_KEY_MAX / 2 || json.size > LOG_VALUE_MAX)
        return WEIR_ERR_LIMIT;
    size_t segments = count_segments(dotted_key);
    if (segments == 0)
        return WEIR_ERR_INVALID;
    if (segments > LOG_VALUE_DEPTH)
        return WEIR_ERR_LIMIT;

    struct span value = SPAN_NONE;
    if (json.size > 0) {
        char *compact = arena_bytes(request->arena, json.size);
        if (compact == NULL)
            return WEIR_ERR_NO_MEMORY;
        value = span_of(compact, log_json_compact(json, compact));
        if (value.size == 0)
            return WEIR_ERR_INVALID;
    }
    struct log_edit *edit = arena_alloc(request->arena, sizeof(*edit));
    struct span key = arena_copy(request->arena, dotted_key);
    if (edit == NULL || !span_is_set(key))
        return WEIR_ERR_NO_MEMORY;

    /* Whatever was set at or below the key is gone now: no edit lies below an older one. */
    size_t count = 0;
    struct log_edit **slot = &request->log_edits;
    while (*slot != NULL) {
        if (is_at_or_below((*slot)->key, key)) {
            *slot = (*slot)->next;
        } else {
            slot = &(*slot)->next;
            count++;
        }
    }
    if (count >= LOG_EDITS_MAX)
        return WEIR_ERR_LIMIT;
    *edit = (struct log_edit){request->log_edits, key, value};
    request->log_edits = edit;
    return WEIR_OK;
}
