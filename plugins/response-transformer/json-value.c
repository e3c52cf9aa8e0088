/* Text to JSON values. */
#include "json-value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_LONGEST = 64 }; /* as text; longer ones are kept only as JSON spells them */

static bool equals(weir_str text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

enum value_type value_type_of(weir_str word)
{
    if (equals(word, "number"))
        return VALUE_NUMBER;
    return equals(word, "boolean") ? VALUE_BOOLEAN : VALUE_STRING;
}

weir_status value_unescape(weir_str text, weir_alloc *alloc, void *user, weir_str *out_text)
{
    *out_text = text;
    if (text.size == 0 || memchr(text.data, '\\', text.size) == NULL)
        return WEIR_SUCCESS;
    char *room = alloc(user, text.size);
    if (room == NULL)
        return WEIR_NO_MEMORY;
    size_t size = 0;
    for (size_t at = 0; at < text.size; at++) {
        bool is_escape = text.data[at] == '\\' && at + 1 < text.size &&
                         (text.data[at + 1] == '/' || text.data[at + 1] == '"');
        if (is_escape)
            at++;
        room[size++] = text.data[at];
    }
    *out_text = (weir_str){room, size};
    return WEIR_SUCCESS;
}

static size_t digits(weir_str text, size_t at)
{
    while (at < text.size && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    return at;
}

/* RFC 8259, section 6. */
static bool is_json_number(weir_str text)
{
    size_t at = text.size > 0 && text.data[0] == '-';
    size_t end = digits(text, at);
    if (end == at || (text.data[at] == '0' && end > at + 1))
        return false;
    at = end;
    if (at < text.size && text.data[at] == '.') {
        end = digits(text, at + 1);
        if (end == at + 1)
            return false;
        at = end;
    }
    if (at < text.size && (text.data[at] == 'e' || text.data[at] == 'E')) {
        at++;
        if (at < text.size && (text.data[at] == '+' || text.data[at] == '-'))
            at++;
        end = digits(text, at);
        if (end == at)
            return false;
        at = end;
    }
    return at == text.size;
}

static weir_str trimmed(weir_str text)
{
    static const char space[] = " \t\r\n\v\f";
    while (text.size > 0 && memchr(space, *text.data, sizeof(space) - 1) != NULL) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && memchr(space, text.data[text.size - 1], sizeof(space) - 1) != NULL)
        text.size--;
    return text;
}

static weir_status copy(weir_str text, weir_alloc *alloc, void *user, weir_str *out_copy)
{
    char *room = alloc(user, text.size + 1);
    if (room == NULL)
        return WEIR_NO_MEMORY;
    memcpy(room, text.data, text.size);
    *out_copy = (weir_str){room, text.size};
    return WEIR_SUCCESS;
}

/* What Lua takes for a number. The spelling is kept where JSON allows it, so that no digit of a
 * long one is lost. */
static weir_status number_as_json(weir_str text, weir_alloc *alloc, void *user, weir_str *out_json)
{
    text = trimmed(text);
    if (is_json_number(text))
        return copy(text, alloc, user, out_json);
    char spelled[NUMBER_LONGEST], *end;
    if (text.size == 0 || text.size >= sizeof(spelled) ||
        memchr(text.data, '\0', text.size) != NULL)
        return WEIR_NOT_FOUND;
    memcpy(spelled, text.data, text.size);
    spelled[text.size] = '\0';
    double number = strtod(spelled, &end);
    if (*end != '\0' || !isfinite(number))
        return WEIR_NOT_FOUND;
    int size = snprintf(spelled, sizeof(spelled), "%.17g", number);
    return copy((weir_str){spelled, (size_t)size}, alloc, user, out_json);
}

weir_status value_as_json(weir_str text, enum value_type type, weir_alloc *alloc, void *user,
                          weir_str *out_json)
{
    switch (type) {
    case VALUE_STRING:
        return weir_json_quote(text, alloc, user, out_json);
    case VALUE_NUMBER:
        return number_as_json(text, alloc, user, out_json);
    case VALUE_BOOLEAN:
        *out_json = equals(text, "true") ? WEIR_LIT("true") : WEIR_LIT("false");
        return WEIR_SUCCESS;
    }
    return WEIR_INVALID;
}
