#include "jwks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "text.h"

enum { WAITING_MAX = 1024, FIRST_RETRY_MS = 5000 };

struct jwks {
    const jwt_policy *policy;
    jwk_set *file, *fetched; /* NULL: none */
    weir_fetch *under_way;
    bool tried;
    int64_t tried_us; /* when the last fetch began */
    uint32_t serial;
    size_t waiting_count;
    weir_token waiting[WAITING_MAX];
};

/* ---- the file */

static char *read_whole(weir_str path, size_t *out_size)
{
    char name[4096];
    if (path.size >= sizeof(name)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    memcpy(name, path.data, path.size);
    name[path.size] = '\0';
    FILE *file = fopen(name, "re");
    char *text = file == NULL ? NULL : malloc(JWK_SET_BYTES_MAX + 1);
    if (text != NULL) {
        *out_size = fread(text, 1, JWK_SET_BYTES_MAX + 1, file);
        if (ferror(file) != 0) {
            free(text);
            text = NULL;
        }
    }
    if (file != NULL)
        (void)fclose(file);
    return text;
}

static bool read_file(jwks *keys)
{
    const char *why = "";
    weir_str path = keys->policy->jwks_file;
    size_t size = 0;
    if (path.data == NULL)
        return true;
    char *text = read_whole(path, &size);
    if (text == NULL)
        why = strerror(errno);
    else
        keys->file = jwk_set_read((weir_str){text, size}, true, &why);
    free(text);
    if (keys->file == NULL)
        weir_log(NULL, WEIR_LOG_ERROR, "jwks_file %.*s: %s", TEXT_ARG(path), why);
    return keys->file != NULL;
}

/* ---- the URL */

static const char *take_answer(jwks *keys, const weir_fetch_answer *answer)
{
    const char *why = "";
    if (answer->status == 0)
        return "no answer";
    if (answer->status != 200)
        return "the answer is not 200";
    if (answer->body.data == NULL)
        return "the answer is empty";
    if (jwk_set_is(keys->fetched, answer->body))
        return NULL;
    jwk_set *set = jwk_set_read(answer->body, false, &why);
    if (set == NULL)
        return why;
    jwk_set_free(keys->fetched);
    keys->fetched = set;
    keys->serial++;
    return NULL;
}

static void on_answer(void *self, void *user, const weir_fetch_answer *answer)
{
    jwks *keys = user;
    (void)self;
    keys->under_way = NULL;
    const char *problem = take_answer(keys, answer);
    if (problem != NULL)
        weir_log(NULL, WEIR_LOG_WARN, "jwks_uri %.*s: %s (status %u)%s%.*s%s",
                 TEXT_ARG(keys->policy->jwks_uri), problem, (unsigned)answer->status,
                 answer->why.size > 0 ? ": " : "", TEXT_ARG(answer->why),
                 keys->fetched != NULL ? "; the keys it told before are kept" : "");
    /* A wake may let another request wait at once: it must not join those that are woken. */
    size_t count = keys->waiting_count;
    keys->waiting_count = 0;
    for (size_t i = 0; i < count; i++)
        (void)weir_wake(keys->waiting[i]);
}

static void fetch(jwks *keys)
{
    static const weir_pair headers[] = {
        {{"Accept", 6}, {"application/jwk-set+json, application/json", 42}}};
    const weir_fetch_request request = {
        .size = sizeof(request),
        .method = WEIR_LIT("GET"),
        .url = keys->policy->jwks_uri,
        .headers = headers,
        .header_count = 1,
        .deadline_ms = (uint32_t)keys->policy->jwks_timeout_ms,
        .body_limit = JWK_SET_BYTES_MAX,
    };
    keys->tried = true;
    keys->tried_us = weir_mono_us();
    keys->under_way = weir_fetch_start(keys->policy, &request, on_answer, keys);
    if (keys->under_way == NULL)
        weir_log(NULL, WEIR_LOG_WARN, "jwks_uri %.*s: the fetch cannot begin",
                 TEXT_ARG(keys->policy->jwks_uri));
}

static bool may_try(const jwks *keys)
{
    int64_t interval_ms = keys->policy->jwks_refresh_interval_ms;
    if (keys->policy->jwks_uri.data == NULL || keys->under_way != NULL)
        return false;
    if (keys->fetched == NULL && interval_ms > FIRST_RETRY_MS)
        interval_ms = FIRST_RETRY_MS;
    return !keys->tried || (weir_mono_us() - keys->tried_us) / 1000 >= interval_ms;
}

/* ---- */

jwks *jwks_create(const jwt_policy *policy)
{
    jwks *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    made->policy = policy;
    if (!read_file(made)) {
        free(made);
        return NULL;
    }
    if (policy->jwks_uri.data != NULL)
        fetch(made);
    return made;
}

void jwks_destroy(jwks *keys)
{
    if (keys == NULL)
        return;
    weir_fetch_cancel(keys->under_way);
    jwk_set_free(keys->file);
    jwk_set_free(keys->fetched);
    free(keys);
}

jwk_found jwks_find(jwks *keys, weir_str kid, const struct algorithm *algorithm,
                    struct key **out_key)
{
    jwk_found in_file = jwk_set_find(keys->file, kid, algorithm, out_key);
    if (in_file == JWK_FOUND)
        return in_file;
    jwk_found in_fetched = jwk_set_find(keys->fetched, kid, algorithm, out_key);
    return in_fetched == JWK_UNKNOWN ? in_file : in_fetched;
}

bool jwks_has_keys(const jwks *keys)
{
    return keys->file != NULL || keys->fetched != NULL;
}

uint32_t jwks_serial(const jwks *keys)
{
    return keys->serial;
}

bool jwks_is_coming(jwks *keys)
{
    if (may_try(keys))
        fetch(keys);
    return keys->under_way != NULL;
}

void jwks_refresh(jwks *keys)
{
    if (keys->fetched != NULL && may_try(keys))
        fetch(keys);
}

bool jwks_wait(jwks *keys, weir_request *request, weir_wake_hook *on_wake)
{
    if (keys->waiting_count == WAITING_MAX)
        return false;
    weir_token waiting = weir_park(request, (uint32_t)keys->policy->jwks_timeout_ms, on_wake);
    if (waiting == 0)
        return false;
    keys->waiting[keys->waiting_count++] = waiting;
    return true;
}
