/* Of the version matrix: every type of field, a record, lists, a credential kind, identity, headers
 * of both sides. What it read is what it answers. MISUSE asks for what only a later host knows. */
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

typedef struct {
    int64_t most;
    weir_str word;
} limits;

typedef struct {
    weir_str word, mode;
    int64_t number, window_ms, bytes;
    double share;
    bool strict;
    weir_list names, limits, pairs;
    limits nested;
    weir_header_id key, said, twice, gone;
} settings;

typedef struct {
    weir_str key;
    int64_t level;
} credential;

static const char *const modes[] = {"fast", "slow", NULL};
static const weir_field limit_fields[] = {
    WEIR_INTEGER(limits, most, .def = "3", .max = 9),
    WEIR_STRING(limits, word, .def = "deep"),
};
static const weir_field fields[] = {
    WEIR_STRING(settings, word, .flags = WEIR_REQUIRED),
    WEIR_ENUM(settings, mode, .def = "fast", .choices = modes),
    WEIR_INTEGER(settings, number, .min = 1, .max = 100),
    WEIR_DURATION(settings, window_ms, .key = "window", .def = "60s"),
    WEIR_BYTES(settings, bytes, .def = "64k"),
    WEIR_NUMBER(settings, share, .def = "0.5"),
    WEIR_BOOLEAN(settings, strict, .def = "true"),
    WEIR_LIST(settings, names, WEIR_TYPE_STRING, .def = "[]"),
    WEIR_LIST(settings, limits, WEIR_TYPE_RECORD, .fields = limit_fields, .field_count = 2,
              .size = (uint32_t)sizeof(limits)),
    WEIR_MAP(settings, pairs, .def = "{}"),
#if MISUSE == 1 /* the last row of a record of rows that are longer */
    WEIR_RECORD(settings, nested, limits, limit_fields, .later = {0, 1}),
#elif MISUSE == 2
    WEIR_RECORD(settings, nested, limits, limit_fields, .flags = WEIR_LATER),
#else
    WEIR_RECORD(settings, nested, limits, limit_fields),
#endif
};
static const weir_field credential_fields[] = {
    WEIR_STRING(credential, key, .flags = WEIR_REQUIRED | WEIR_SECRET | WEIR_UNIQUE),
    WEIR_INTEGER(credential, level, .def = "7"),
};
static const weir_credential_kind kinds[] = {{
    .collection = COLLECTION,
    .fields = credential_fields,
    .field_count = 2,
    .field_stride = (uint32_t)sizeof(credential_fields[0]),
    .unique_key = "key",
    .data_size = (uint32_t)sizeof(credential),
#if MISUSE == 3
    .later = {1},
#endif
}};

static int configure(void *self, weir_error *error)
{
    settings *policy = self;
    policy->key = weir_header_intern(WEIR_LIT("X-Key"));
    policy->said = weir_header_intern(WEIR_LIT("X-Said"));
    policy->twice = weir_header_intern(WEIR_LIT("X-Twice"));
    policy->gone = weir_header_intern(WEIR_LIT("X-Gone"));
    if (policy->word.size == 3)
        weir_error_at(error, "word", "not %s", "three bytes");
    return policy->word.size == 3 ? -1 : 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const settings *policy = self;
    (void)context;
    weir_str key = weir_header_get(request, WEIR_SIDE_REQUEST, policy->key, 0);
    const weir_credential *found = weir_credential_find(self, 0, key);
    if (found == NULL)
        return weir_respond_error(request, 401, WEIR_LIT("who?")) ? WEIR_FAIL : WEIR_DONE;
    const credential *row = weir_credential_data(found);
    weir_status failed =
        weir_authenticate(request, weir_credential_consumer(found), found, (weir_str){NULL, 0});
    const limits *inner = policy->limits.items;
    char text[256];
    weir_str name = weir_consumer_text(weir_request_consumer(request), WEIR_CONSUMER_USERNAME);
    int size = snprintf(
        text, sizeof(text), "%.*s %.*s %d %d %d %.2f %d %zu %d/%.*s %zu %d/%.*s %d %.*s",
        (int)policy->word.size, policy->word.data, (int)policy->mode.size, policy->mode.data,
        (int)policy->number, (int)policy->window_ms, (int)policy->bytes, policy->share,
        policy->strict, policy->names.count, policy->limits.count == 0 ? -1 : (int)inner[0].most,
        policy->limits.count == 0 ? 0 : (int)inner[0].word.size,
        policy->limits.count == 0 ? "" : inner[0].word.data, policy->pairs.count,
        (int)policy->nested.most, (int)policy->nested.word.size, policy->nested.word.data,
        (int)row->level, (int)name.size, name.data);
    failed |=
        weir_header_set(request, WEIR_SIDE_RESPONSE, policy->said, (weir_str){text, (size_t)size});
    failed |= weir_header_add(request, WEIR_SIDE_REQUEST, policy->twice, WEIR_LIT("1"));
    failed |= weir_header_add(request, WEIR_SIDE_REQUEST, policy->twice, WEIR_LIT("2"));
    failed |= weir_header_remove(request, WEIR_SIDE_REQUEST, policy->gone);
    return failed == WEIR_SUCCESS ? WEIR_NEXT : WEIR_FAIL;
}

#if MISUSE == 4
static weir_verdict on_trailers(weir_request *request, void *self, void *context)
{
    (void)request, (void)self, (void)context;
    return WEIR_NEXT;
}
#endif

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0",
            WEIR_CAP_SECRETS
#if MISUSE == 5
                | WEIR_CAP_TRAILERS
#endif
            ,
            .priority = 500, WEIR_SELF(settings), WEIR_FIELDS(fields), WEIR_CREDENTIALS(kinds),
            .configure = configure, .access = on_access,
#if MISUSE == 4
            .trailers = on_trailers,
#endif
);
