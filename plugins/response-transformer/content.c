/* Fields that describe a body. */
#include "content.h"

#include <string.h>
#include <strings.h>

void content_names_fill(struct content_names *names)
{
    *names = (struct content_names){
        .type = weir_header_intern(WEIR_LIT("Content-Type")),
        .encoding = weir_header_intern(WEIR_LIT("Content-Encoding")),
        .etag = weir_header_intern(WEIR_LIT("ETag")),
        .range = weir_header_intern(WEIR_LIT("Content-Range")),
        .digests = {weir_header_intern(WEIR_LIT("Content-MD5")),
                    weir_header_intern(WEIR_LIT("Digest")),
                    weir_header_intern(WEIR_LIT("Content-Digest")),
                    weir_header_intern(WEIR_LIT("Repr-Digest"))},
    };
}

static bool equals(weir_str text, const char *word)
{
    return text.size == strlen(word) && strncasecmp(text.data, word, text.size) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static weir_str trim(weir_str text)
{
    while (text.size > 0 && is_space(*text.data)) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && is_space(text.data[text.size - 1]))
        text.size--;
    return text;
}

/* Cut off what stands before the first `sign`, and step over it. */
static weir_str take(weir_str *rest, char sign)
{
    const char *end = rest->size == 0 ? NULL : memchr(rest->data, sign, rest->size);
    size_t size = end == NULL ? rest->size : (size_t)(end - rest->data);
    weir_str first = {rest->data, size};
    size_t taken = end == NULL ? size : size + 1;
    rest->data += taken;
    rest->size -= taken;
    return trim(first);
}

static bool is_json(weir_str media_type)
{
    static const char prefix[] = "application/", suffix[] = "+json";
    const size_t prefix_size = sizeof(prefix) - 1, suffix_size = sizeof(suffix) - 1;
    weir_str name = take(&media_type, ';');
    if (name.size <= prefix_size || strncasecmp(name.data, prefix, prefix_size) != 0)
        return false;
    weir_str subtype = {name.data + prefix_size, name.size - prefix_size};
    if (equals(subtype, "json"))
        return true;
    return subtype.size > suffix_size &&
           strncasecmp(subtype.data + subtype.size - suffix_size, suffix, suffix_size) == 0;
}

bool content_is_json(const struct content_names *names, weir_request *request)
{
    weir_str types = weir_header_get(request, WEIR_SIDE_RESPONSE, names->type, 0);
    while (types.data != NULL && types.size > 0)
        if (is_json(take(&types, ',')))
            return true;
    return false;
}

bool content_is_readable(const struct content_names *names, weir_request *request,
                         weir_str *out_coding)
{
    static const char *const known[] = {"gzip", "x-gzip", "deflate", "identity"};
    weir_str coding = weir_header_get(request, WEIR_SIDE_RESPONSE, names->encoding, 0);
    *out_coding = coding;
    if (coding.data == NULL)
        return true;
    if (weir_header_get(request, WEIR_SIDE_RESPONSE, names->encoding, 1).data != NULL)
        return false;
    coding = *out_coding = trim(coding);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (equals(coding, known[i]))
            return true;
    return coding.size == 0;
}

/* The resource is the same one, its bytes are not: the tag is still good to ask whether it changed
 * (If-None-Match compares weakly), but no more to join byte ranges. */
static bool weaken_tag(const struct content_names *names, weir_request *request)
{
    weir_str tag = weir_header_get(request, WEIR_SIDE_RESPONSE, names->etag, 0);
    if (tag.size == 0 || *tag.data != '"')
        return true;
    char *weak = weir_request_alloc(request, tag.size + 2);
    if (weak == NULL)
        return false;
    memcpy(weak, "W/", 2);
    memcpy(weak + 2, tag.data, tag.size);
    return weir_header_set(request, WEIR_SIDE_RESPONSE, names->etag,
                           (weir_str){weak, tag.size + 2}) == WEIR_SUCCESS;
}

bool content_was_edited(const struct content_names *names, weir_request *request, bool inflated)
{
    for (size_t i = 0; i < sizeof(names->digests) / sizeof(names->digests[0]); i++)
        (void)weir_header_remove(request, WEIR_SIDE_RESPONSE, names->digests[i]);
    if (inflated)
        (void)weir_header_remove(request, WEIR_SIDE_RESPONSE, names->encoding);
    return weaken_tag(names, request);
}
