#include "jwk_set.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include <weir/json.h>

#include "base64.h"
#include "text.h"

enum { KEYS_MAX = 256, KID_BYTES_MAX = 256, PART_BYTES_MAX = 2048 };

typedef struct jwk {
    char *kid; /* NULL: it has none */
    size_t kid_size;
    const struct algorithm *algorithm; /* NULL: whatever suits the key */
    struct key *key;
} jwk;

struct jwk_set {
    size_t count;
    unsigned char digest[EVP_MAX_MD_SIZE]; /* of its text */
    jwk keys[KEYS_MAX];
};

/* ---- memory that goes all at once, for the parser */

typedef struct block {
    struct block *next;
    max_align_t bytes[];
} block;

static void *take(void *user, size_t size)
{
    block **blocks = user;
    block *made = size > 16U * JWK_SET_BYTES_MAX ? NULL : malloc(sizeof(*made) + size);
    if (made == NULL)
        return NULL;
    made->next = *blocks;
    *blocks = made;
    return made->bytes;
}

static void free_blocks(block *blocks)
{
    while (blocks != NULL) {
        block *next = blocks->next;
        free(blocks);
        blocks = next;
    }
}

/* ---- one key */

typedef struct reading {
    weir_json *json;
    weir_json_value *at; /* the key's object */
    block *blocks;
    bool secrets;
} reading;

static weir_str member(reading *from, const char *name)
{
    weir_str text = TEXT_NONE;
    const weir_json_value *value = weir_json_member(from->json, from->at, text_of(name));
    if (value == NULL || weir_json_text(from->json, value, &text) != WEIR_SUCCESS)
        return TEXT_NONE;
    return text;
}

static weir_str bytes_of(reading *from, const char *name)
{
    weir_str text = member(from, name);
    size_t size = 0;
    if (text.data == NULL || text.size == 0 || text.size > PART_BYTES_MAX)
        return TEXT_NONE;
    unsigned char *bytes = take(&from->blocks, BASE64_ROOM(text.size));
    if (bytes == NULL || !base64url_decode(text, bytes, &size))
        return TEXT_NONE;
    return (weir_str){(const char *)bytes, size};
}

static struct key *point_of(reading *from)
{
    static const struct {
        const char *curve, *algorithm;
    } curves[] = {{"P-256", "ES256"}, {"P-384", "ES384"}, {"P-521", "ES512"}};
    weir_str curve = member(from, "crv"), x = bytes_of(from, "x"), y = bytes_of(from, "y");
    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        const struct algorithm *algorithm = algorithm_find(text_of(curves[i].algorithm));
        if (!text_equal(curve, text_of(curves[i].curve)) || algorithm == NULL)
            continue;
        return x.size == algorithm->half && y.size == algorithm->half
                   ? key_of_point(algorithm->group, x, y)
                   : NULL;
    }
    return NULL;
}

static struct key *edwards_of(reading *from)
{
    weir_str curve = member(from, "crv"), x = bytes_of(from, "x");
    if (x.data == NULL)
        return NULL;
    if (text_equal(curve, WEIR_LIT("Ed25519")))
        return key_of_edwards("ED25519", x);
    return text_equal(curve, WEIR_LIT("Ed448")) ? key_of_edwards("ED448", x) : NULL;
}

static struct key *key_of_type(reading *from, const struct algorithm *algorithm)
{
    weir_str type = member(from, "kty");
    if (text_equal(type, WEIR_LIT("RSA")))
        return key_of_rsa(bytes_of(from, "n"), bytes_of(from, "e"));
    if (text_equal(type, WEIR_LIT("EC")))
        return point_of(from);
    if (text_equal(type, WEIR_LIT("OKP")))
        return edwards_of(from);
    if (!text_equal(type, WEIR_LIT("oct")) || !from->secrets || algorithm == NULL ||
        algorithm->family != FAMILY_HS)
        return NULL;
    weir_str secret = bytes_of(from, "k");
    return secret.data == NULL ? NULL : key_of_secret(algorithm, secret.data, secret.size);
}

static bool is_for_signatures(reading *from)
{
    weir_str use = member(from, "use");
    const weir_json_value *operations = weir_json_member(from->json, from->at, WEIR_LIT("key_ops"));
    if (use.data != NULL && !text_equal(use, WEIR_LIT("sig")))
        return false;
    if (operations == NULL)
        return true;
    for (const weir_json_value *at = weir_json_first(operations); at != NULL;
         at = weir_json_next(at)) {
        weir_str text;
        if (weir_json_text(from->json, at, &text) == WEIR_SUCCESS &&
            text_equal(text, WEIR_LIT("verify")))
            return true;
    }
    return false;
}

/* Whether a key fits what it says of itself; without "alg" any algorithm of its kind. */
static bool suits(const struct key *key, const struct algorithm *algorithm)
{
    if (algorithm != NULL)
        return key_suits(key, algorithm, true);
    for (size_t i = 0; algorithm_names[i] != NULL; i++)
        if (key_suits(key, algorithm_find(text_of(algorithm_names[i])), true))
            return true;
    return false;
}

static void read_key(jwk_set *set, reading *from)
{
    const weir_json_value *claimed = weir_json_member(from->json, from->at, WEIR_LIT("alg"));
    const weir_json_value *named = weir_json_member(from->json, from->at, WEIR_LIT("kid"));
    weir_str kid = member(from, "kid");
    jwk made = {.algorithm = algorithm_find(member(from, "alg")), .kid_size = kid.size};
    if (set->count == KEYS_MAX || weir_json_kind(from->at) != WEIR_JSON_OBJECT ||
        (claimed != NULL && made.algorithm == NULL) || (named != NULL && kid.data == NULL) ||
        kid.size > KID_BYTES_MAX || !is_for_signatures(from))
        return;
    made.key = key_of_type(from, made.algorithm);
    if (kid.data != NULL && (made.kid = malloc(kid.size + 1)) != NULL)
        memcpy(made.kid, kid.data, kid.size);
    if (made.key == NULL || !suits(made.key, made.algorithm) ||
        (kid.data != NULL && made.kid == NULL)) {
        key_free(made.key);
        free(made.kid);
        return;
    }
    set->keys[set->count++] = made;
}

/* ---- the set */

static bool digest_of(weir_str text, unsigned char *out)
{
    return EVP_Digest(text.data, text.size, out, NULL, EVP_sha256(), NULL) == 1;
}

static const char *read_set(jwk_set *set, weir_str text, reading *from)
{
    if (text.size > JWK_SET_BYTES_MAX)
        return "longer than 1 MiB";
    if (weir_json_parse(text, take, &from->blocks, &from->json, NULL) != WEIR_SUCCESS)
        return "not JSON";
    weir_json_value *root = weir_json_root(from->json);
    const weir_json_value *keys = weir_json_member(from->json, root, WEIR_LIT("keys"));
    if (keys == NULL || weir_json_kind(keys) != WEIR_JSON_ARRAY)
        return "no array \"keys\" in it";
    for (from->at = weir_json_first(keys); from->at != NULL; from->at = weir_json_next(from->at))
        read_key(set, from);
    if (set->count == 0)
        return "no key in it that can verify a signature";
    return digest_of(text, set->digest) ? NULL : "no memory";
}

jwk_set *jwk_set_read(weir_str text, bool secrets, const char **out_why)
{
    reading from = {.secrets = secrets};
    jwk_set *set = calloc(1, sizeof(*set));
    const char *why = set == NULL ? "no memory" : read_set(set, text, &from);
    free_blocks(from.blocks);
    if (why == NULL)
        return set;
    jwk_set_free(set);
    *out_why = why;
    return NULL;
}

void jwk_set_free(jwk_set *set)
{
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        key_free(set->keys[i].key);
        free(set->keys[i].kid);
    }
    free(set);
}

size_t jwk_set_count(const jwk_set *set)
{
    return set == NULL ? 0 : set->count;
}

bool jwk_set_is(const jwk_set *set, weir_str text)
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    return set != NULL && digest_of(text, digest) &&
           memcmp(digest, set->digest, sizeof(digest)) == 0;
}

static bool takes(const jwk *candidate, const struct algorithm *algorithm)
{
    return candidate->algorithm != NULL ? candidate->algorithm == algorithm
                                        : key_suits(candidate->key, algorithm, true);
}

jwk_found jwk_set_find(const jwk_set *set, weir_str kid, const struct algorithm *algorithm,
                       struct key **out_key)
{
    bool named = false;
    size_t suited = 0;
    struct key *found = NULL;
    for (size_t i = 0; i < jwk_set_count(set); i++) {
        const jwk *at = &set->keys[i];
        if (kid.data != NULL &&
            (at->kid == NULL || !text_equal((weir_str){at->kid, at->kid_size}, kid)))
            continue;
        named = true;
        if (takes(at, algorithm) && suited++ == 0)
            found = at->key;
    }
    if (suited == 1 || (suited > 1 && kid.data != NULL)) {
        *out_key = found;
        return JWK_FOUND;
    }
    return kid.data != NULL && named ? JWK_UNSUITED : JWK_UNKNOWN;
}
