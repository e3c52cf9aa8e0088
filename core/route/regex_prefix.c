/* What a regex surely begins with, so that it is tried only for paths below that. The rules err on
 * the short side: whatever looks unusual ends the prefix, and an alternative outside of all groups
 * means there is none. */
#include "route/regex.h"

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Past the class that opens at `at`; p.size + 1 when it is too clever for us. */
static size_t skip_class(struct span p, size_t at)
{
    at++;
    if (at < p.size && p.data[at] == '^')
        at++;
    if (at < p.size && p.data[at] == ']')
        at++;
    for (; at < p.size; at++) {
        if (p.data[at] == '[')
            break;
        if (p.data[at] == ']')
            return at + 1;
        if (p.data[at] == '\\' && at + 1 < p.size && is_one_of(p.data[++at], "QE"))
            break;
    }
    return p.size + 1;
}

/* Comments, and options that change what blanks and '#' mean, make counting brackets unsafe. */
static bool is_odd_group(struct span p, size_t at)
{
    if (at + 2 >= p.size || p.data[at + 1] != '?')
        return false;
    if (p.data[at + 2] == '#')
        return true;
    for (at += 2; at < p.size && (is_word(p.data[at]) || is_one_of(p.data[at], "-^")); at++) {
        if (p.data[at] == 'x')
            return true;
    }
    return false;
}

static bool may_have_alternative(struct span p)
{
    size_t depth = 0, at = 0;
    while (at < p.size) {
        char c = p.data[at];
        if (c == '|' && depth == 0)
            return true;
        if (c == '\\') {
            if (at + 1 < p.size && is_one_of(p.data[at + 1], "QE"))
                return true;
            at += 2;
        } else if (c == '[') {
            at = skip_class(p, at);
            if (at > p.size)
                return true;
        } else {
            if (c == '(' && is_odd_group(p, at))
                return true;
            if (c == '(')
                depth++;
            else if (c == ')' && depth > 0)
                depth--;
            at++;
        }
    }
    return false;
}

size_t regex_literal_prefix(struct span pattern, char *out)
{
    size_t size = 0, at = 0;
    if (may_have_alternative(pattern))
        return 0;
    while (at < pattern.size) {
        char c = pattern.data[at];
        size_t next = at + 1;
        if (c == '\\' && next < pattern.size && !is_word(pattern.data[next]))
            c = pattern.data[next++];
        else if (is_one_of(c, "\\^$.[]|()?*+{}#"))
            break;
        /* Of a longer UTF-8 sequence a quantifier would take more than the last byte. */
        if ((unsigned char)c >= 0x80 || c <= ' ')
            break;
        if (next < pattern.size && is_one_of(pattern.data[next], "?*+{"))
            break;
        out[size++] = c;
        at = next;
    }
    return size;
}
