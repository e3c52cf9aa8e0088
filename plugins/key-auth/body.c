#include "body.h"

#include "json.h"
#include "multipart.h"
#include "text.h"

/* Of a key name: the host interns no longer ones. */
#define NAME_BYTES_MAX 256

/* A piece of a form or of a JSON object: what stands between two separators. */
typedef struct piece {
    weir_str raw;
    weir_str name, value; /* raw as well */
    bool has_value;
} piece;

/* Where the pieces of a body are. */
typedef struct pieces {
    weir_str inside; /* without the braces of an object */
    char separator;
    size_t at;
    bool done;
} pieces;

/* %XX and '+'; broken escapes stay as they are. Never more than raw.size bytes. */
static size_t form_decode(weir_str raw, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < raw.size; i++) {
        char c = raw.data[i];
        int high = c == '%' && i + 2 < raw.size ? hex_digit(raw.data[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(raw.data[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[size++] = c;
    }
    return size;
}

/* ---- pieces of both */

static bool pieces_of(const body *from, pieces *out)
{
    *out = (pieces){.inside = from->text, .separator = '&'};
    if (from->kind == BODY_FORM)
        return true;
    if (!json_is_object(from->text))
        return false;
    weir_str object = text_trim(from->text);
    *out = (pieces){.inside = text_part(object, 1, object.size - 1), .separator = ','};
    return true;
}

static bool next_piece(pieces *walk, piece *out)
{
    if (walk->done)
        return false;
    weir_str inside = walk->inside;
    bool json = walk->separator == ',';
    size_t end = json ? json_find_comma(inside, walk->at) : text_find(inside, walk->at, '&');
    weir_str raw = text_part(inside, walk->at, end);
    size_t name_end = text_find(raw, 0, '=');
    if (json) {
        weir_str start = text_trim(raw);
        size_t lead = (size_t)(start.data - raw.data);
        name_end = start.size == 0 ? raw.size : text_find(raw, json_skip_string(raw, lead), ':');
    }
    *out = (piece){.raw = raw,
                   .name = text_part(raw, 0, name_end),
                   .value = text_part(raw, name_end < raw.size ? name_end + 1 : raw.size, raw.size),
                   .has_value = name_end < raw.size};
    if (json) {
        out->name = text_trim(out->name);
        out->value = text_trim(out->value);
    }
    walk->done = end >= inside.size;
    walk->at = end + 1;
    return true;
}

static size_t decode(const pieces *walk, weir_str raw, char *out)
{
    return walk->separator == '&' ? form_decode(raw, out) : json_decode(raw, out);
}

static bool is_named(const pieces *walk, const piece *item, weir_str name)
{
    /* The longest way to write a byte is \u0061. */
    char text[6 * NAME_BYTES_MAX + 2];
    if (item->name.size > sizeof(text))
        return false;
    return text_equal((weir_str){text, decode(walk, item->name, text)}, name);
}

static key_found value_of(weir_request *request, const pieces *walk, const piece *item,
                          weir_str *out_value)
{
    if (walk->separator == '&' && !item->has_value)
        return KEY_ABSENT; /* a name alone is no text */
    char first = item->value.size == 0 ? '\0' : item->value.data[0];
    if (walk->separator == ',' && (first == '{' || first == '['))
        return KEY_REPEATED;
    if (walk->separator == ',' && first != '"')
        return KEY_ABSENT;
    char *text = weir_request_alloc(request, item->value.size + 1);
    if (text == NULL)
        return KEY_NO_MEMORY;
    *out_value = (weir_str){text, decode(walk, item->value, text)};
    return KEY_FOUND;
}

/* ---- the three kinds */

body body_of_type(weir_request *request, weir_str content_type)
{
    body made = {.kind = BODY_OTHER};
    weir_str type = content_type;
    if (type.data == NULL)
        return made;
    type.size = text_find(type, 0, ';');
    type = text_trim(type);
    if (type.size == 33 && text_starts_nocase(type, WEIR_LIT("application/x-www-form-urlencoded")))
        made.kind = BODY_FORM;
    else if (type.size == 16 && text_starts_nocase(type, WEIR_LIT("application/json")))
        made.kind = BODY_JSON;
    else if (type.size == 19 && text_starts_nocase(type, WEIR_LIT("multipart/form-data")) &&
             multipart_delimiter(request, content_type, &made.delimiter))
        made.kind = BODY_MULTIPART;
    return made;
}

static key_found find_piece(weir_request *request, const body *from, weir_str name,
                            weir_str *out_value)
{
    pieces walk;
    piece item;
    key_found found = KEY_ABSENT;
    size_t count = 0;
    if (!pieces_of(from, &walk))
        return KEY_ABSENT;
    while (next_piece(&walk, &item)) {
        if (!is_named(&walk, &item, name))
            continue;
        /* Of a JSON member written twice the last one holds; a form argument written twice is one
         * key too many. */
        if (++count > 1 && from->kind == BODY_FORM)
            return KEY_REPEATED;
        found = value_of(request, &walk, &item, out_value);
        if (found == KEY_NO_MEMORY)
            return found;
    }
    return found;
}

key_found body_find(weir_request *request, const body *from, weir_str name, weir_str *out_value)
{
    switch (from->kind) {
    case BODY_FORM:
    case BODY_JSON:
        return find_piece(request, from, name, out_value);
    case BODY_MULTIPART: {
        multipart_part part;
        size_t count = multipart_find(from->text, from->delimiter, name, &part);
        if (count == 1)
            *out_value = part.content;
        return count == 0 ? KEY_ABSENT : count == 1 ? KEY_FOUND : KEY_REPEATED;
    }
    case BODY_OTHER:
        break;
    }
    return KEY_ABSENT;
}

static void put(char *out, size_t *size, weir_str text)
{
    if (text.size > 0)
        memcpy(out + *size, text.data, text.size);
    *size += text.size;
}

static bool pieces_without(weir_request *request, const body *from, weir_str name,
                           weir_str *out_text)
{
    pieces walk;
    piece item;
    size_t size = 0, kept = 0, dropped = 0;
    *out_text = from->text;
    if (!pieces_of(from, &walk))
        return true;
    char *text = weir_request_alloc(request, from->text.size + 1);
    if (text == NULL)
        return false;
    put(text, &size, text_part(from->text, 0, (size_t)(walk.inside.data - from->text.data)));
    while (next_piece(&walk, &item)) {
        if (is_named(&walk, &item, name)) {
            dropped++;
            continue;
        }
        if (kept++ > 0)
            text[size++] = walk.separator;
        put(text, &size, item.raw);
    }
    if (dropped == 0)
        return true;
    size_t rest = (size_t)(walk.inside.data - from->text.data) + walk.inside.size;
    put(text, &size, text_part(from->text, rest, from->text.size));
    *out_text = (weir_str){text, size};
    return true;
}

bool body_without(weir_request *request, const body *from, weir_str name, weir_str *out_text)
{
    switch (from->kind) {
    case BODY_FORM:
    case BODY_JSON:
        return pieces_without(request, from, name, out_text);
    case BODY_MULTIPART:
        return multipart_without(request, from->text, from->delimiter, name, out_text);
    case BODY_OTHER:
        break;
    }
    *out_text = from->text;
    return true;
}
