/* Reading a node: members of maps, and scalars as YAML 1.1 types them. */
#include <math.h>

#include "base/text.h"
#include "config/document.h"

const struct member *node_find_member(const struct node *node, struct span key)
{
    if (node == NULL || node->kind != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < node->count; i++) {
        if (span_equal(node->members[i].key->text, key))
            return &node->members[i];
    }
    return NULL;
}

const struct node *node_find(const struct node *node, struct span key)
{
    const struct member *member = node_find_member(node, key);
    return member == NULL ? NULL : member->value;
}

static bool is_plain(const struct node *node)
{
    return node != NULL && node->kind == NODE_SCALAR && !node->quoted;
}

bool node_to_boolean(const struct node *node, bool *out_value)
{
    static const struct {
        struct span word;
        bool value;
    } words[] = {
        {{"true", 4}, true},   {{"yes", 3}, true}, {{"on", 2}, true},
        {{"false", 5}, false}, {{"no", 2}, false}, {{"off", 3}, false},
    };
    if (!is_plain(node))
        return false;
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (span_equal_nocase(node->text, words[i].word)) {
            *out_value = words[i].value;
            return true;
        }
    }
    return false;
}

/* Digits of `base` with underscores between them, fitting an int64_t. */
static bool read_digits(struct span digits, unsigned base, bool negative, int64_t *out_value)
{
    uint64_t value = 0, limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    bool any = false;
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] == '_' && any)
            continue;
        int digit = text_hex_digit(digits.data[i]);
        if (digit < 0 || (unsigned)digit >= base || value > (limit - (unsigned)digit) / base)
            return false;
        value = value * base + (unsigned)digit;
        any = true;
    }
    if (any)
        *out_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return any;
}

static bool read_integer(struct span text, int64_t *out_value)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    if (text.size > 0 && (text.data[0] == '-' || text.data[0] == '+'))
        text = span_from(text, 1);
    if (span_starts_with(text, SPAN("0x")))
        return read_digits(span_from(text, 2), 16, negative, out_value);
    if (span_starts_with(text, SPAN("0b")))
        return read_digits(span_from(text, 2), 2, negative, out_value);
    if (span_starts_with(text, SPAN("0o")))
        return read_digits(span_from(text, 2), 8, negative, out_value);
    if (text.size > 1 && text.data[0] == '0' &&
        read_digits(span_from(text, 1), 8, negative, out_value))
        return true;
    return read_digits(text, 10, negative, out_value);
}

static bool read_number(struct span text, double *out_value)
{
    char plain[64];
    size_t size = 0;
    bool any = false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '_' && any)
            continue;
        bool is_digit = c >= '0' && c <= '9';
        any = any || is_digit;
        if ((!is_digit && strchr("+-.eE", c) == NULL) || size == sizeof(plain))
            return false;
        plain[size++] = c;
    }
    struct span number = span_of(plain, size);
    if (span_starts_with(number, SPAN("+")))
        number = span_from(number, 1);
    return any && text_to_double(number, out_value);
}

bool node_to_number(const struct node *node, double *out_value)
{
    int64_t integer = 0;
    if (!is_plain(node))
        return false;
    if (read_integer(node->text, &integer)) {
        *out_value = (double)integer;
        return true;
    }
    return read_number(node->text, out_value);
}

bool node_to_integer(const struct node *node, int64_t *out_value)
{
    double number = 0;
    if (!is_plain(node))
        return false;
    if (read_integer(node->text, out_value))
        return true;
    /* 5.0 is an integer as well; beyond 2^53 a double no longer knows */
    if (!read_number(node->text, &number) || fabs(number) > 9007199254740992.0 ||
        floor(number) != number)
        return false;
    *out_value = (int64_t)number;
    return true;
}

bool node_is_string(const struct node *node)
{
    bool boolean = false;
    double number = 0;
    if (node == NULL || node->kind != NODE_SCALAR)
        return false;
    return node->quoted || (!node_to_boolean(node, &boolean) && !node_to_number(node, &number));
}
