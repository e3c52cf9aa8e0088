#include <string.h>

#include <weir/form.h>

#include "equal.h"

enum { FIELDS_MAX = 1000 };

/* ---- coding */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A '%' without two digits stands for itself, as browsers and Kong's engine have it. */
static weir_status decode(weir_form *form, weir_str raw, weir_str *out)
{
    *out = raw;
    if (raw.size == 0 ||
        (memchr(raw.data, '%', raw.size) == NULL && memchr(raw.data, '+', raw.size) == NULL))
        return WEIR_SUCCESS;
    char *text = form->alloc(form->user, raw.size);
    size_t size = 0;
    if (text == NULL)
        return WEIR_NO_MEMORY;
    for (size_t at = 0; at < raw.size; at++) {
        char c = raw.data[at];
        int high = -1, low = -1;
        if (c == '%' && raw.size - at > 2) {
            high = hex_value(raw.data[at + 1]);
            low = hex_value(raw.data[at + 2]);
        }
        if (high >= 0 && low >= 0) {
            c = (char)(high << 4 | low);
            at += 2;
        } else if (c == '+') {
            c = ' ';
        }
        text[size++] = c;
    }
    *out = (weir_str){text, size};
    return WEIR_SUCCESS;
}

static bool is_unreserved(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static char *encode(char *out, weir_str text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (is_unreserved(c)) {
            *out++ = (char)c;
        } else if (c == ' ') {
            *out++ = '+';
        } else {
            *out++ = '%';
            *out++ = digits[c >> 4];
            *out++ = digits[c & 15];
        }
    }
    return out;
}

/* ---- fields */

/* A place at `at`; those behind it move. */
static weir_form_field *insert(weir_form *form, size_t at)
{
    if (form->count == form->room) {
        size_t room = form->room == 0 ? 16 : form->room * 2;
        weir_form_field *fields = form->alloc(form->user, room * sizeof(*fields));
        if (fields == NULL)
            return NULL;
        if (form->count > 0)
            memcpy(fields, form->fields, form->count * sizeof(*fields));
        form->fields = fields;
        form->room = room;
    }
    memmove(form->fields + at + 1, form->fields + at, (form->count - at) * sizeof(*form->fields));
    form->count++;
    return &form->fields[at];
}

static weir_status parse_field(weir_form *form, weir_str piece)
{
    weir_str name = piece, value = {NULL, 0};
    const char *sign = memchr(piece.data, '=', piece.size);
    if (sign != NULL) {
        name.size = (size_t)(sign - piece.data);
        value = (weir_str){sign + 1, piece.size - name.size - 1};
    }
    if (form->count == FIELDS_MAX)
        return WEIR_FULL;
    weir_form_field *field = insert(form, form->count);
    if (field == NULL)
        return WEIR_NO_MEMORY;
    *field = (weir_form_field){.value = value, .raw = piece};
    weir_status status = decode(form, name, &field->name);
    return status == WEIR_SUCCESS && value.data != NULL ? decode(form, value, &field->value)
                                                        : status;
}

weir_status weir_form_parse(weir_form *form, weir_str text, weir_alloc *alloc, void *user)
{
    *form = (weir_form){.alloc = alloc, .user = user};
    weir_status status = WEIR_SUCCESS;
    for (size_t at = 0; at < text.size && status == WEIR_SUCCESS;) {
        const char *from = text.data + at;
        const char *end = memchr(from, '&', text.size - at);
        size_t size = end == NULL ? text.size - at : (size_t)(end - from);
        if (size > 0)
            status = parse_field(form, (weir_str){from, size});
        at += size + 1;
    }
    return status;
}

weir_form_field *weir_form_find(weir_form *form, weir_str name, size_t nth)
{
    for (size_t i = 0; i < form->count; i++)
        if (!form->fields[i].removed && text_equal(form->fields[i].name, name) && nth-- == 0)
            return &form->fields[i];
    return NULL;
}

weir_status weir_form_remove(weir_form *form, weir_str name)
{
    weir_status status = WEIR_NOT_FOUND;
    for (weir_form_field *field; (field = weir_form_find(form, name, 0)) != NULL;) {
        field->removed = true;
        status = WEIR_SUCCESS;
    }
    return status;
}

weir_status weir_form_rename(weir_form *form, weir_str name, weir_str new_name)
{
    if (weir_form_find(form, name, 0) == NULL)
        return WEIR_NOT_FOUND;
    if (text_equal(name, new_name))
        return WEIR_SUCCESS;
    (void)weir_form_remove(form, new_name);
    for (weir_form_field *field; (field = weir_form_find(form, name, 0)) != NULL;)
        field->name = new_name;
    return WEIR_SUCCESS;
}

weir_status weir_form_set(weir_form *form, weir_str name, weir_str value)
{
    weir_form_field *first = weir_form_find(form, name, 0);
    if (first == NULL)
        return weir_form_append(form, name, value);
    for (weir_form_field *more; (more = weir_form_find(form, name, 1)) != NULL;)
        more->removed = true;
    first->value = value;
    return WEIR_SUCCESS;
}

weir_status weir_form_append(weir_form *form, weir_str name, weir_str value)
{
    size_t at = form->count;
    for (size_t i = 0; i < form->count; i++)
        if (!form->fields[i].removed && text_equal(form->fields[i].name, name))
            at = i + 1;
    if (form->count == FIELDS_MAX)
        return WEIR_FULL;
    weir_form_field *field = insert(form, at);
    if (field == NULL)
        return WEIR_NO_MEMORY;
    *field = (weir_form_field){.name = name, .value = value};
    return WEIR_SUCCESS;
}

/* ---- print */

static bool is_before(weir_str a, weir_str b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order < 0 : a.size < b.size;
}

/* Merge sort from `fields` to `fields`, with as much room beside it: stable. */
static void sort(const weir_form_field **fields, const weir_form_field **room, size_t count)
{
    if (count < 2)
        return;
    size_t half = count / 2, a = 0, b = half;
    sort(fields, room, half);
    sort(fields + half, room, count - half);
    for (size_t i = 0; i < count; i++) {
        bool second = a == half || (b < count && is_before(fields[b]->name, fields[a]->name));
        room[i] = second ? fields[b++] : fields[a++];
    }
    memcpy(fields, room, count * sizeof(*fields));
}

weir_status weir_form_print(const weir_form *form, bool sorted, weir_str *out_text)
{
    size_t size = 1, count = 0;
    const weir_form_field **fields =
        form->alloc(form->user, (2 * form->count + 1) * sizeof(*fields));
    if (fields == NULL)
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < form->count; i++) {
        const weir_form_field *field = &form->fields[i];
        if (field->removed)
            continue;
        fields[count++] = field;
        size += 3 * (field->name.size + field->value.size) + 2;
    }
    if (sorted)
        sort(fields, fields + form->count, count);
    char *text = form->alloc(form->user, size), *out = text;
    if (text == NULL)
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *out++ = '&';
        out = encode(out, fields[i]->name);
        if (fields[i]->value.data == NULL)
            continue;
        *out++ = '=';
        out = encode(out, fields[i]->value);
    }
    *out_text = (weir_str){text, (size_t)(out - text)};
    return WEIR_SUCCESS;
}
