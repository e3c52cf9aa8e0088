#include "token.h"

#include "base64.h"
#include "text.h"

enum { MEMBERS_MAX = 256 };

static bool is_repeated(const weir_str *names, size_t count, weir_str name)
{
    for (size_t i = 0; i < count; i++)
        if (text_equal(names[i], name))
            return true;
    return false;
}

static bool members_are_single(weir_json *json, const weir_json_value *object, weir_alloc *alloc,
                               void *user)
{
    size_t count = 0, members = 0;
    for (weir_json_value *at = weir_json_first(object); at != NULL; at = weir_json_next(at))
        members++;
    if (members > MEMBERS_MAX)
        return false;
    weir_str *names = members < 2 ? NULL : alloc(user, members * sizeof(*names));
    if (names == NULL)
        return members < 2;
    for (weir_json_value *at = weir_json_first(object); at != NULL; at = weir_json_next(at)) {
        names[count] = weir_json_name(json, at);
        if (names[count].data == NULL || is_repeated(names, count, names[count]))
            return false;
        count++;
    }
    return true;
}

/* As deep as the parser goes. */
bool token_names_are_single(weir_json *json, weir_json_value *value, weir_alloc *alloc, void *user)
{
    uint32_t kind = weir_json_kind(value);
    if (kind != WEIR_JSON_OBJECT && kind != WEIR_JSON_ARRAY)
        return true;
    if (kind == WEIR_JSON_OBJECT && !members_are_single(json, value, alloc, user))
        return false;
    for (weir_json_value *at = weir_json_first(value); at != NULL; at = weir_json_next(at))
        if (!token_names_are_single(json, at, alloc, user))
            return false;
    return true;
}

/* ---- the parts */

static token_fault read_bytes(weir_request *request, weir_str text, weir_str *out,
                              token_fault fault)
{
    unsigned char *bytes = weir_request_alloc(request, BASE64_ROOM(text.size));
    size_t size = 0;
    if (bytes == NULL)
        return TOKEN_NO_MEMORY;
    if (!base64url_decode(text, bytes, &size))
        return fault;
    *out = (weir_str){(const char *)bytes, size};
    return TOKEN_FINE;
}

static token_fault read_json(weir_request *request, weir_str part, weir_str *out_text,
                             weir_json **out)
{
    token_fault fault = read_bytes(request, part, out_text, TOKEN_BAD_JSON);
    if (fault != TOKEN_FINE)
        return fault;
    weir_status status = weir_json_parse(*out_text, weir_alloc_of_request, request, out, NULL);
    if (status == WEIR_NO_MEMORY)
        return TOKEN_NO_MEMORY;
    return status == WEIR_SUCCESS && token_names_are_single(*out, weir_json_root(*out),
                                                            weir_alloc_of_request, request)
               ? TOKEN_FINE
               : TOKEN_BAD_JSON;
}

static const struct algorithm *algorithm_of(weir_json *header)
{
    weir_str name;
    const weir_json_value *value =
        weir_json_member(header, weir_json_root(header), WEIR_LIT("alg"));
    return value != NULL && weir_json_text(header, value, &name) == WEIR_SUCCESS
               ? algorithm_find(name)
               : NULL;
}

/* The two dots; what follows the second belongs to the signature, a third dot spoils it. */
static bool split(weir_str text, size_t *out_first, size_t *out_second)
{
    *out_first = text_find(text, 0, '.');
    *out_second = text_find(text, *out_first + 1, '.');
    return *out_first < text.size && *out_second < text.size;
}

token_fault token_read(weir_request *request, weir_str text, struct token *out)
{
    size_t first, second;
    weir_str header_text;
    if (text.size > TOKEN_BYTES_MAX)
        return TOKEN_TOO_LARGE;
    if (!split(text, &first, &second))
        return TOKEN_BAD_JSON;
    *out = (struct token){.text = text, .signed_text = text_part(text, 0, second)};
    token_fault fault = read_json(request, text_part(text, 0, first), &header_text, &out->header);
    if (fault == TOKEN_FINE)
        fault =
            read_json(request, text_part(text, first + 1, second), &out->claims_text, &out->claims);
    if (fault != TOKEN_FINE)
        return fault;
    out->algorithm = algorithm_of(out->header);
    if (out->algorithm == NULL)
        return TOKEN_BAD_ALGORITHM;
    if (weir_json_kind(weir_json_root(out->claims)) != WEIR_JSON_OBJECT)
        return TOKEN_BAD_CLAIMS;
    fault = read_bytes(request, text_part(text, second + 1, text.size), &out->signature,
                       TOKEN_BAD_SIGNATURE);
    if (fault != TOKEN_FINE)
        return fault;
    /* RFC 7515 4.1.11: refused unless understood, and no extension is. */
    return weir_json_member(out->header, weir_json_root(out->header), WEIR_LIT("crit")) == NULL
               ? TOKEN_FINE
               : TOKEN_CRITICAL;
}

weir_str token_claims_text(weir_request *request, weir_str text)
{
    size_t first, second;
    weir_str claims = {NULL, 0};
    if (split(text, &first, &second))
        (void)read_bytes(request, text_part(text, first + 1, second), &claims, TOKEN_BAD_JSON);
    return claims;
}
