/* Who holds a key may pass: the key is looked for under a few names in headers, in the query and in
 * the body, and belongs to a consumer. Where a key lies in a body: body.h. */
#include <string.h>

#include "body.h"

typedef struct {
    weir_list key_names; /* weir_str */
    bool hide_credentials, key_in_header, key_in_query, key_in_body, run_on_preflight;
    weir_str anonymous, realm;
    /* Ours, after the configuration. */
    const weir_header_id *headers; /* of the key names */
    weir_header_id www_authenticate, content_type, anonymous_consumer;
    weir_str challenge;
} key_auth;

typedef struct {
    body body;      /* kind BODY_OTHER: there is none to look in */
    bool body_read; /* and taken */
} per_request;

static const weir_field fields[] = {
    WEIR_LIST(key_auth, key_names, WEIR_TYPE_STRING, .def = "[apikey]",
              .flags = WEIR_REQUIRED | WEIR_HEADER_NAME,
              .help = "names a key is looked for under, in this order"),
    WEIR_BOOLEAN(key_auth, hide_credentials, .def = "false", .flags = WEIR_REQUIRED,
                 .help = "the target does not see the key"),
    WEIR_STRING(key_auth, anonymous,
                .help = "consumer (username or id) for requests without a good key"),
    WEIR_BOOLEAN(key_auth, key_in_header, .def = "true", .flags = WEIR_REQUIRED,
                 .help = "look in headers"),
    WEIR_BOOLEAN(key_auth, key_in_query, .def = "true", .flags = WEIR_REQUIRED,
                 .help = "look in the query"),
    WEIR_BOOLEAN(key_auth, key_in_body, .def = "false", .flags = WEIR_REQUIRED,
                 .help = "look in form, multipart and JSON bodies, which are read whole then"),
    WEIR_BOOLEAN(key_auth, run_on_preflight, .def = "true", .flags = WEIR_REQUIRED,
                 .help = "false: OPTIONS requests need no key"),
    WEIR_STRING(key_auth, realm, .help = "realm in WWW-Authenticate"),
};

typedef struct {
    weir_str key;
} credential;
static const weir_field credential_fields[] = {
    WEIR_STRING(credential, key, .flags = WEIR_SECRET | WEIR_UNIQUE,
                .help = "the key; a random one when absent"),
};
static const weir_credential_kind kinds[] = {
    {
        .collection = "keyauth_credentials",
        .fields = credential_fields,
        .field_count = 1,
        .field_stride = (uint32_t)sizeof(credential_fields[0]),
        .unique_key = "key",
        .data_size = (uint32_t)sizeof(credential),
        .flags = WEIR_RANDOM_KEY,
    },
};

/* ---- configuration */

static int make_challenge(key_auth *policy, weir_error *error)
{
    policy->challenge = WEIR_LIT("Key");
    if (policy->realm.data == NULL)
        return 0;
    for (size_t i = 0; i < policy->realm.size; i++) {
        unsigned char c = (unsigned char)policy->realm.data[i];
        if (c < 0x20 || c == 0x7f) {
            weir_error_at(error, "realm", "control characters cannot be sent in a header");
            return -1;
        }
    }
    static const char start[] = "Key realm=\"";
    size_t size = sizeof(start) - 1 + policy->realm.size + 1;
    char *text = weir_policy_alloc(policy, size);
    if (text == NULL) {
        weir_error_at(error, "realm", "no memory");
        return -1;
    }
    memcpy(text, start, sizeof(start) - 1);
    memcpy(text + sizeof(start) - 1, policy->realm.data, policy->realm.size);
    text[size - 1] = '"';
    policy->challenge = (weir_str){text, size};
    return 0;
}

static int configure(void *self, weir_error *error)
{
    key_auth *policy = self;
    const weir_str *names = policy->key_names.items;
    size_t count = policy->key_names.count;
    weir_header_id *headers = weir_policy_alloc(self, (count + 1) * sizeof(*headers));
    if (headers == NULL) {
        weir_error_at(error, "key_names", "no memory");
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        headers[i] = weir_header_intern(names[i]);
        if (headers[i] == 0) {
            weir_error_at(error, "key_names", "'%.*s' cannot be a header name", (int)names[i].size,
                          names[i].data);
            return -1;
        }
    }
    policy->headers = headers;
    policy->www_authenticate = weir_header_intern(WEIR_LIT("WWW-Authenticate"));
    policy->anonymous_consumer = weir_header_intern(WEIR_LIT("X-Anonymous-Consumer"));
    policy->content_type = weir_header_intern(WEIR_LIT("Content-Type"));
    return make_challenge(policy, error);
}

/* Kong loads such a file and answers 500 later; say so now. */
static int start(void *self)
{
    const key_auth *policy = self;
    if (policy->anonymous.data != NULL && weir_consumer_find(self, policy->anonymous) == NULL)
        weir_log(NULL, WEIR_LOG_WARN,
                 "anonymous consumer %.*s is configured but doesn't exist: requests without a good "
                 "key get 500",
                 (int)policy->anonymous.size, policy->anonymous.data);
    return 0;
}

/* ---- where the key is */

typedef enum search {
    SEARCH_KEY,
    SEARCH_NOTHING,
    SEARCH_REPEATED,
    SEARCH_BODY,
    SEARCH_FAILED
} search;

/* Under one name: header, then query, then body. SEARCH_NOTHING: go on with the next name. */
static search look_under(weir_request *request, const key_auth *policy, per_request *mine,
                         size_t index, weir_str *out_key)
{
    weir_str name = ((const weir_str *)policy->key_names.items)[index];
    weir_header_id id = policy->headers[index];
    if (policy->key_in_header) {
        *out_key = weir_header_get(request, WEIR_SIDE_REQUEST, id, 0);
        if (out_key->data != NULL)
            return weir_header_get(request, WEIR_SIDE_REQUEST, id, 1).data == NULL
                       ? SEARCH_KEY
                       : SEARCH_REPEATED;
    }
    if (policy->key_in_query) {
        *out_key = weir_query_get(request, name, 0);
        if (out_key->data != NULL && weir_query_get(request, name, 1).data != NULL)
            return SEARCH_REPEATED;
        if (out_key->size > 0)
            return SEARCH_KEY;
    }
    if (mine->body.kind == BODY_OTHER)
        return SEARCH_NOTHING;
    if (!mine->body_read)
        return SEARCH_BODY;
    switch (body_find(&mine->body, name, out_key)) {
    case KEY_FOUND:
        return SEARCH_KEY;
    case KEY_REPEATED:
        return SEARCH_REPEATED;
    case KEY_NO_MEMORY:
        return SEARCH_FAILED;
    case KEY_ABSENT:
        break;
    }
    return SEARCH_NOTHING;
}

static search look(weir_request *request, const key_auth *policy, per_request *mine,
                   weir_str *out_key, size_t *out_index)
{
    for (size_t i = 0; i < policy->key_names.count; i++) {
        search result = look_under(request, policy, mine, i, out_key);
        *out_index = i;
        if (result != SEARCH_NOTHING)
            return result;
    }
    return SEARCH_NOTHING;
}

/* The key's name goes from everywhere, wherever the key was found. */
static bool hide(weir_request *request, const key_auth *policy, per_request *mine, size_t index)
{
    weir_str name = ((const weir_str *)policy->key_names.items)[index];
    weir_status status = weir_header_remove(request, WEIR_SIDE_REQUEST, policy->headers[index]);
    if (status != WEIR_SUCCESS && status != WEIR_NOT_FOUND)
        return false;
    status = weir_query_remove(request, name);
    if (status != WEIR_SUCCESS && status != WEIR_NOT_FOUND)
        return false;
    if (!mine->body_read)
        return true;
    weir_str left;
    status = body_without(request, &mine->body, name, &left);
    if (status == WEIR_SUCCESS)
        status = weir_body_replace(request, WEIR_SIDE_REQUEST, left);
    return status == WEIR_SUCCESS || status == WEIR_NOT_FOUND;
}

/* ---- answers */

static weir_verdict refuse(weir_request *request, const key_auth *policy, weir_str message)
{
    if (weir_respond_error(request, 401, message) != WEIR_SUCCESS ||
        weir_header_set(request, WEIR_SIDE_RESPONSE, policy->www_authenticate, policy->challenge) !=
            WEIR_SUCCESS)
        return WEIR_FAIL;
    return WEIR_DONE;
}

static weir_verdict without_key(weir_request *request, const key_auth *policy, weir_str message)
{
    if (policy->anonymous.data == NULL)
        return refuse(request, policy, message);
    weir_status status = weir_authenticate_anonymous(request, policy->anonymous);
    if (status == WEIR_SUCCESS)
        return WEIR_NEXT;
    if (status != WEIR_NOT_FOUND)
        return WEIR_FAIL;
    weir_log(request, WEIR_LOG_ERROR, "anonymous consumer %.*s is configured but doesn't exist",
             (int)policy->anonymous.size, policy->anonymous.data);
    return weir_respond_error(request, 500, WEIR_LIT("An unexpected error occurred")) ==
                   WEIR_SUCCESS
               ? WEIR_DONE
               : WEIR_FAIL;
}

/* How long the look-up takes tells nothing about keys: it is one probe of a table by a hash with a
 * secret of this process, and the key that is found is compared in constant time. One that has
 * ended is not found. */
static weir_verdict with_key(weir_request *request, const key_auth *policy, weir_str key)
{
    const weir_credential *found = weir_credential_find(policy, 0, key);
    if (found == NULL)
        return without_key(request, policy, WEIR_LIT("Unauthorized"));
    return weir_authenticate(request, weir_credential_consumer(found), found,
                             (weir_str){NULL, 0}) == WEIR_SUCCESS
               ? WEIR_NEXT
               : WEIR_FAIL;
}

static weir_wake_hook on_body;

static weir_verdict check(weir_request *request, const key_auth *policy, per_request *mine)
{
    weir_str key = {NULL, 0};
    size_t index = 0;
    /* What is to be cut out of the body must be there before the request goes on. */
    bool read_first = policy->hide_credentials && mine->body.kind != BODY_OTHER && !mine->body_read;
    search result = read_first ? SEARCH_BODY : look(request, policy, mine, &key, &index);
    switch (result) {
    case SEARCH_BODY:
        return weir_body_read(request, 0, on_body) == WEIR_SUCCESS ? WEIR_WAIT : WEIR_FAIL;
    case SEARCH_NOTHING:
        break;
    case SEARCH_REPEATED:
        return without_key(request, policy, WEIR_LIT("Duplicate API key found"));
    case SEARCH_FAILED:
        return WEIR_FAIL;
    case SEARCH_KEY:
        /* Looked up before it is hidden: what was found may lie where it is cut out. */
        if (key.size == 0)
            break;
        weir_verdict verdict = with_key(request, policy, key);
        if (verdict == WEIR_NEXT && policy->hide_credentials && !hide(request, policy, mine, index))
            return WEIR_FAIL;
        return verdict;
    }
    return without_key(request, policy, WEIR_LIT("No API key found in request"));
}

static weir_verdict on_body(weir_request *request, void *self, void *context, uint32_t why)
{
    per_request *mine = context;
    if (why == WEIR_DEADLINE)
        return weir_respond_error(request, 408, WEIR_LIT("Request timeout")) == WEIR_SUCCESS
                   ? WEIR_DONE
                   : WEIR_FAIL;
    const key_auth *policy = self;
    weir_str text = weir_body_get(request, WEIR_SIDE_REQUEST);
    weir_str type = weir_header_get(request, WEIR_SIDE_REQUEST, policy->content_type, 0);
    mine->body_read = true;
    return body_take(request, &mine->body, text.data == NULL ? WEIR_LIT("") : text, type)
               ? check(request, policy, mine)
               : WEIR_FAIL;
}

static bool is_options(weir_str method)
{
    return method.size == 7 && memcmp(method.data, "OPTIONS", 7) == 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const key_auth *policy = self;
    per_request *mine = context;
    if (!policy->run_on_preflight && is_options(weir_request_text(request, WEIR_TEXT_METHOD)))
        return WEIR_NEXT;
    /* With `anonymous` one good credential of any kind is enough; the anonymous consumer that an
     * earlier policy set is none. */
    if (policy->anonymous.data != NULL &&
        weir_request_number(request, WEIR_NUMBER_AUTHENTICATED) == 1 &&
        weir_header_get(request, WEIR_SIDE_REQUEST, policy->anonymous_consumer, 0).data == NULL)
        return WEIR_NEXT;
    if (policy->key_in_body)
        mine->body.kind =
            body_kind_of(weir_header_get(request, WEIR_SIDE_REQUEST, policy->content_type, 0));
    return check(request, policy, mine);
}

WEIR_PLUGIN("key-auth", "1.0.0", WEIR_CAP_BODY, .priority = 1250,
            .flags = WEIR_PLUGIN_AUTHENTICATES, WEIR_SELF(key_auth), WEIR_CONTEXT(per_request),
            WEIR_FIELDS(fields), WEIR_CREDENTIALS(kinds), .configure = configure, .start = start,
            .access = on_access);
