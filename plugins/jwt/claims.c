#include "claims.h"

#include <math.h>
#include <stdlib.h>

#include "text.h"

enum { NUMBER_TEXT_MAX = 63, VALUE_BYTES_MAX = 4096 };

weir_json_value *claim_find(weir_json *claims, weir_str path)
{
    weir_json_value *at = weir_json_root(claims);
    weir_json_value *whole = weir_json_member(claims, at, path);
    if (whole != NULL || text_find(path, 0, '.') == path.size)
        return whole;
    for (size_t from = 0; at != NULL && from <= path.size;) {
        size_t end = text_find(path, from, '.');
        at = weir_json_kind(at) == WEIR_JSON_OBJECT
                 ? weir_json_member(claims, at, text_part(path, from, end))
                 : NULL;
        from = end + 1;
    }
    return at;
}

weir_str claim_text(weir_json *claims, const weir_json_value *value)
{
    weir_str text = TEXT_NONE;
    if (value == NULL || weir_json_text(claims, value, &text) != WEIR_SUCCESS)
        return TEXT_NONE;
    return text;
}

double claim_number(const weir_json_value *value)
{
    char text[NUMBER_TEXT_MAX + 1];
    if (value == NULL || weir_json_kind(value) != WEIR_JSON_NUMBER)
        return NAN;
    weir_str raw = weir_json_raw(value);
    if (raw.size > NUMBER_TEXT_MAX)
        return NAN;
    memcpy(text, raw.data, raw.size);
    text[raw.size] = '\0';
    double number = strtod(text, NULL);
    return isfinite(number) ? number : NAN;
}

/* ---- lists: an array of strings, one string, or (`words`) a string of several */

struct walk {
    weir_json *claims;
    const weir_json_value *element; /* of an array */
    weir_str rest;                  /* of a string */
    bool words;
};

static struct walk walk_of(weir_json *claims, const weir_json_value *value, bool words)
{
    struct walk begun = {.claims = claims, .words = words};
    if (value != NULL && weir_json_kind(value) == WEIR_JSON_ARRAY)
        begun.element = weir_json_first(value);
    else
        begun.rest = claim_text(claims, value);
    return begun;
}

static bool next_word(struct walk *at, weir_str *out)
{
    weir_str rest = text_trim(at->rest);
    if (rest.data == NULL || rest.size == 0)
        return false;
    size_t end = text_find(rest, 0, ' ');
    *out = text_part(rest, 0, end);
    at->rest = text_part(rest, end, rest.size);
    return true;
}

/* Elements that are no strings are passed over. */
static bool next_text(struct walk *at, weir_str *out)
{
    while (at->element != NULL) {
        *out = claim_text(at->claims, at->element);
        at->element = weir_json_next(at->element);
        if (out->data != NULL)
            return true;
    }
    if (at->words)
        return next_word(at, out);
    *out = at->rest;
    at->rest = TEXT_NONE;
    return out->data != NULL;
}

static bool has_any(struct walk walk, const weir_list *wanted)
{
    weir_str text;
    while (next_text(&walk, &text))
        if (text_is_listed(wanted, text))
            return true;
    return false;
}

static bool has(struct walk walk, weir_str wanted)
{
    weir_list one = {&wanted, 1};
    return has_any(walk, &one);
}

static bool has_all(struct walk begun, const weir_list *wanted)
{
    const weir_str *items = wanted->items;
    for (size_t i = 0; i < wanted->count; i++)
        if (!has(begun, items[i]))
            return false;
    return true;
}

/* ---- what is asked of them */

static const weir_json_value *scopes_of(const jwt_policy *policy, weir_json *claims)
{
    if (policy->scopes_claim.data != NULL)
        return claim_find(claims, policy->scopes_claim);
    const weir_json_value *found = claim_find(claims, WEIR_LIT("scope"));
    return found != NULL ? found : claim_find(claims, WEIR_LIT("scopes"));
}

refusal claims_check(const jwt_policy *policy, weir_json *claims)
{
    if (policy->allowed_iss.count > 0) {
        weir_str issuer = claim_text(claims, claim_find(claims, WEIR_LIT("iss")));
        if (issuer.data == NULL || !text_is_listed(&policy->allowed_iss, issuer))
            return WRONG_ISSUER;
    }
    if (policy->allowed_aud.count > 0 &&
        !has_any(walk_of(claims, claim_find(claims, WEIR_LIT("aud")), false), &policy->allowed_aud))
        return WRONG_AUDIENCE;
    if (policy->required_roles.count > 0 &&
        !has_any(walk_of(claims, claim_find(claims, policy->roles_claim), false),
                 &policy->required_roles))
        return LACKS_ROLE;
    if (policy->required_scopes.count > 0 &&
        !has_all(walk_of(claims, scopes_of(policy, claims), true), &policy->required_scopes))
        return LACKS_SCOPE;
    return PASSES;
}

/* ---- headers */

/* With commas between; an element that has one itself is left out, or it could pass for two. */
static weir_str joined(weir_request *request, weir_json *claims, const weir_json_value *array)
{
    char *text = weir_request_alloc(request, VALUE_BYTES_MAX);
    size_t size = 0;
    if (text == NULL)
        return TEXT_NONE;
    for (const weir_json_value *at = weir_json_first(array); at != NULL; at = weir_json_next(at)) {
        uint32_t kind = weir_json_kind(at);
        weir_str item = kind == WEIR_JSON_STRING ? claim_text(claims, at) : weir_json_raw(at);
        if (kind == WEIR_JSON_NULL || kind == WEIR_JSON_ARRAY || kind == WEIR_JSON_OBJECT ||
            item.data == NULL || text_find(item, 0, ',') < item.size)
            continue;
        if (size + item.size + 1 > VALUE_BYTES_MAX)
            return TEXT_NONE;
        if (size > 0)
            text[size++] = ',';
        memcpy(text + size, item.data, item.size);
        size += item.size;
    }
    return (weir_str){text, size};
}

static bool can_be_sent(weir_str text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if ((byte < ' ' && byte != '\t') || byte == 0x7f)
            return false;
    }
    return text.size <= VALUE_BYTES_MAX;
}

static weir_str value_of(weir_request *request, weir_json *claims, const weir_json_value *claim)
{
    weir_str value = TEXT_NONE;
    switch (claim == NULL ? WEIR_JSON_NULL : weir_json_kind(claim)) {
    case WEIR_JSON_NULL:
        break;
    case WEIR_JSON_STRING:
        value = claim_text(claims, claim);
        break;
    case WEIR_JSON_ARRAY:
        value = joined(request, claims, claim);
        break;
    default:
        value = weir_json_raw(claim);
    }
    return value.data != NULL && can_be_sent(value) ? value : TEXT_NONE;
}

const weir_str *claims_values(weir_request *request, const jwt_policy *policy, weir_json *claims)
{
    const weir_pair *pairs = policy->claims_to_headers.items;
    size_t count = policy->claims_to_headers.count;
    weir_str *values = weir_request_alloc(request, (count + 1) * sizeof(*values));
    for (size_t i = 0; values != NULL && i < count; i++)
        values[i] = value_of(request, claims, claim_find(claims, pairs[i].key));
    return values;
}
