/* What authors write with the macros, each at least once, in words that C and C++ share. check.sh
 * compiles it in every language the headers promise. */
#include <weir/weir.h>

typedef struct {
    int64_t most;
    weir_str word;
} limits;

typedef struct {
    weir_str header, mode;
    int64_t limit, window_ms, bytes;
    double share;
    bool strict;
    weir_list names, pairs, more;
    limits nested;
    weir_header_id id;
    weir_dict *hits;
} settings;

typedef struct {
    int64_t left;
} per_request;

typedef struct {
    weir_str key;
} credential;

static const char *const modes[] = {"fast", "slow", NULL};
static const weir_field limit_fields[] = {
    WEIR_INTEGER(limits, most, .flags = WEIR_POSITIVE, .def = "3", .max = 9, .help = "at most"),
    WEIR_STRING(limits, word, .key = "term", .alias = "nested_word"),
};
static const weir_field fields[] = {
    WEIR_STRING(settings, header, .flags = WEIR_HEADER_NAME, .def = "X-Tenant", .help = "whose"),
    WEIR_ENUM(settings, mode, .def = "fast", .choices = modes),
    WEIR_INTEGER(settings, limit, .flags = WEIR_REQUIRED, .min = 1, .max = 100),
    WEIR_DURATION(settings, window_ms, .key = "window", .def = "60s", .help = "how long"),
    WEIR_BYTES(settings, bytes, .def = "64k"),
    WEIR_NUMBER(settings, share, .min = 0, .max = 1),
    WEIR_BOOLEAN(settings, strict, .help = "no exception"),
    WEIR_LIST(settings, names, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE, .def = "[]"),
    WEIR_LIST(settings, more, WEIR_TYPE_INTEGER, .help = "numbers"),
    WEIR_MAP(settings, pairs, .help = "text to text"),
    WEIR_RECORD(settings, nested, limits, limit_fields, .help = "a record"),
};
static const weir_field credential_fields[] = {
    WEIR_STRING(credential, key, .flags = WEIR_SECRET | WEIR_UNIQUE),
};

static int check_credential(const void *data, weir_error *error)
{
    const credential *row = (const credential *)data;
    if (row->key.size > 0)
        return 0;
    weir_error_at(error, "key", "%s", "empty");
    return -1;
}

static const weir_credential_kind kinds[] = {{
    .collection = "sample_credentials",
    .fields = credential_fields,
    .field_count = 1,
    .field_stride = (uint32_t)sizeof(credential_fields[0]),
    .unique_key = "key",
    .data_size = (uint32_t)sizeof(credential),
    .check = check_credential,
}};

static int configure(void *self, weir_error *error)
{
    settings *policy = (settings *)self;
    policy->id = weir_header_intern(WEIR_LIT("X-Left"));
    policy->hits = weir_dict_open(error, self, WEIR_LIT("hits"), 1, 1000, 8);
    return policy->hits == NULL ? -1 : 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    settings *policy = (settings *)self;
    per_request *mine = (per_request *)context;
    weir_take hit = {.key = policy->header, .limit = policy->limit, .ttl_ms = policy->window_ms};
    if (weir_dict_take(policy->hits, &hit, 1) == WEIR_FULL)
        return weir_respond_error(request, 429, WEIR_LIT("used up")) ? WEIR_FAIL : WEIR_DONE;
    mine->left = policy->limit - hit.value;
    weir_log(request, WEIR_LOG_INFO, "%d left", (int)mine->left);
    return WEIR_NEXT;
}

static weir_verdict on_response(weir_request *request, void *self, void *context)
{
    settings *policy = (settings *)self;
    per_request *mine = (per_request *)context;
    return weir_header_set_number(request, WEIR_SIDE_RESPONSE, policy->id, mine->left) ? WEIR_FAIL
                                                                                       : WEIR_NEXT;
}

WEIR_PLUGIN("everything", "1.0.0", WEIR_CAP_SHARED_MEMORY | WEIR_CAP_BODY, .priority = 1,
            .flags = WEIR_PLUGIN_AUTHENTICATES, WEIR_SELF(settings), WEIR_CONTEXT(per_request),
            WEIR_FIELDS(fields), WEIR_CREDENTIALS(kinds), .request_body_need = WEIR_BODY_NONE,
            .configure = configure, .access = on_access, .response_headers = on_response);
