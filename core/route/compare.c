/* Two routes' conditions against each other, for warnings about routes that tie or are never
 * reached. */
#include "route/condition.h"

static bool lists_share(const struct span_list *a, const struct span_list *b)
{
    for (size_t i = 0; i < b->count; i++) {
        for (size_t j = 0; j < a->count; j++) {
            if (span_equal(a->items[j], b->items[i]))
                return true;
        }
    }
    return false;
}

static bool list_covers(const struct span_list *a, const struct span_list *b)
{
    if (a->count == 0)
        return true;
    for (size_t i = 0; i < b->count; i++) {
        struct span_list one = {&b->items[i], 1};
        if (!lists_share(a, &one))
            return false;
    }
    return b->count != 0;
}

static bool has_value(const struct header_condition *header, const struct value_condition *value)
{
    for (uint32_t i = 0; i < header->value_count; i++) {
        const struct value_condition *mine = &header->values[i];
        if (mine->regex == value->regex && span_equal_nocase(mine->text, value->text))
            return true;
    }
    return false;
}

static const struct header_condition *find_header(const struct conditions *in, struct span name)
{
    for (uint32_t i = 0; i < in->header_count; i++) {
        if (span_equal_nocase(in->headers[i].name, name))
            return &in->headers[i];
    }
    return NULL;
}

/* Each header `a` asks for is asked for by `b` as well, with no value that would not do for `a`. */
static bool headers_cover(const struct conditions *a, const struct conditions *b)
{
    for (uint32_t i = 0; i < a->header_count; i++) {
        const struct header_condition *other = find_header(b, a->headers[i].name);
        if (other == NULL)
            return false;
        for (uint32_t j = 0; j < other->value_count; j++) {
            if (!has_value(&a->headers[i], &other->values[j]))
                return false;
        }
    }
    return true;
}

static bool names_cover(const struct name_pattern *a, uint32_t a_count,
                        const struct name_pattern *b, uint32_t b_count)
{
    for (uint32_t i = 0; i < b_count; i++) {
        bool found = false;
        for (uint32_t j = 0; j < a_count && !found; j++)
            found = a[j].kind == b[i].kind && a[j].port == b[i].port &&
                    span_equal_nocase(a[j].text, b[i].text);
        if (!found)
            return false;
    }
    return a_count == 0 || b_count != 0;
}

bool conditions_cover(const struct conditions *a, const struct conditions *b)
{
    static const struct conditions none;
    a = a == NULL ? &none : a;
    b = b == NULL ? &none : b;
    /* Host names are the index's business; ports are compared only when both lists are here. */
    return list_covers(&a->methods, &b->methods) && headers_cover(a, b) &&
           names_cover(a->hosts, a->host_count, b->hosts, b->host_count) &&
           names_cover(a->snis, a->sni_count, b->snis, b->sni_count);
}

/* Both ask for this header, and no value does for both. A request may still send it twice; that is
 * too far-fetched to warn about. */
static bool headers_differ(const struct conditions *a, const struct conditions *b)
{
    for (uint32_t i = 0; i < a->header_count; i++) {
        const struct header_condition *other = find_header(b, a->headers[i].name);
        bool shared = other == NULL;
        for (uint32_t j = 0; !shared && j < other->value_count; j++)
            shared = has_value(&a->headers[i], &other->values[j]);
        if (!shared)
            return true;
    }
    return false;
}

bool conditions_overlap(const struct conditions *a, const struct conditions *b)
{
    if (a == NULL || b == NULL)
        return true;
    if (a->methods.count != 0 && b->methods.count != 0 && !lists_share(&a->methods, &b->methods))
        return false;
    if (a->host_count != 0 && b->host_count != 0 &&
        !names_cover(a->hosts, a->host_count, b->hosts, b->host_count))
        return false;
    if (a->sni_count != 0 && b->sni_count != 0 &&
        !names_cover(a->snis, a->sni_count, b->snis, b->sni_count))
        return false;
    return !headers_differ(a, b);
}
