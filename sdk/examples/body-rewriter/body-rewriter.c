/* Renames and removes members of JSON responses. Shows a body that is needed whole: the host
 * collects it (WEIR_BODY_BUFFER), calls the hook once, and sends what weir_body_replace() says
 * with its Content-Length. What cannot be edited is passed by before a byte of it is collected. */
#include <string.h>
#include <strings.h>

#include <weir/json.h>
#include <weir/weir.h>

struct rename {
    const weir_json_path *path;
    weir_str to;
};

typedef struct {
    weir_list rename; /* of weir_pair */
    weir_list remove; /* of weir_str */

    struct rename *renames; /* the same, compiled */
    const weir_json_path **removals;
    weir_header_id content_type, content_encoding, content_range, accept_encoding, etag;
} body_rewriter;

static const weir_field fields[] = {
    WEIR_MAP(body_rewriter, rename,
             .help = "old name or path ($.list[*].id) to new name of a member"),
    WEIR_LIST(body_rewriter, remove, WEIR_TYPE_STRING, .help = "names or paths of members to drop"),
};

/* ---- configuration */

static const weir_json_path *compile(void *self, weir_error *error, const char *where,
                                     weir_str text)
{
    const char *why = NULL;
    const weir_json_path *path =
        weir_json_path_compile(text, false, weir_alloc_of_policy, self, &why);
    if (path == NULL)
        weir_error_at(error, where, "'%.*s': %s", (int)text.size, text.data,
                      why == NULL ? "no memory" : why);
    return path;
}

static int compile_all(body_rewriter *policy, weir_error *error)
{
    const weir_pair *pairs = policy->rename.items;
    const weir_str *names = policy->remove.items;
    int faults = 0;
    policy->renames = weir_policy_alloc(policy, (policy->rename.count + 1) * sizeof(struct rename));
    policy->removals =
        weir_policy_alloc(policy, (policy->remove.count + 1) * sizeof(policy->removals[0]));
    if (policy->renames == NULL || policy->removals == NULL) {
        weir_error_at(error, NULL, "no memory");
        return 1;
    }
    for (size_t i = 0; i < policy->rename.count; i++) {
        policy->renames[i].path = compile(policy, error, "rename", pairs[i].key);
        policy->renames[i].to = pairs[i].value;
        faults += policy->renames[i].path == NULL;
    }
    for (size_t i = 0; i < policy->remove.count; i++) {
        policy->removals[i] = compile(policy, error, "remove", names[i]);
        faults += policy->removals[i] == NULL;
    }
    return faults;
}

static int configure(void *self, weir_error *error)
{
    body_rewriter *policy = self;
    policy->content_type = weir_header_intern(WEIR_LIT("Content-Type"));
    policy->content_encoding = weir_header_intern(WEIR_LIT("Content-Encoding"));
    policy->content_range = weir_header_intern(WEIR_LIT("Content-Range"));
    policy->accept_encoding = weir_header_intern(WEIR_LIT("Accept-Encoding"));
    policy->etag = weir_header_intern(WEIR_LIT("ETag"));
    /* 0 would be a header that no response has: every body would pass unedited. */
    if (policy->content_type == 0 || policy->content_encoding == 0 || policy->content_range == 0 ||
        policy->accept_encoding == 0 || policy->etag == 0) {
        weir_error_at(error, NULL, "no memory");
        return 1;
    }
    if (policy->rename.count == 0 && policy->remove.count == 0) {
        weir_error_at(error, NULL,
                      "at least one of these fields must be non-empty: 'config.rename', "
                      "'config.remove'");
        return 1;
    }
    return compile_all(policy, error);
}

/* ---- the heads */

/* The target must not compress what is to be edited. */
static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const body_rewriter *policy = self;
    (void)context;
    weir_status status = weir_header_remove(request, WEIR_SIDE_REQUEST, policy->accept_encoding);
    return status == WEIR_SUCCESS || status == WEIR_NOT_FOUND ? WEIR_NEXT : WEIR_FAIL;
}

static bool is_there(weir_request *request, weir_header_id id)
{
    return weir_header_get(request, WEIR_SIDE_RESPONSE, id, 0).data != NULL;
}

/* "application/json", or anything "+json" as in application/problem+json; then perhaps "; charset".
 */
static bool is_json(weir_str type)
{
    size_t size = 0;
    while (size < type.size && type.data[size] != ';' && type.data[size] != ' ')
        size++;
    return (size == 16 && strncasecmp(type.data, "application/json", 16) == 0) ||
           (size > 5 && strncasecmp(type.data + size - 5, "+json", 5) == 0);
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    const body_rewriter *policy = self;
    (void)context;
    weir_str type = weir_header_get(request, WEIR_SIDE_RESPONSE, policy->content_type, 0);
    if (!is_json(type) || is_there(request, policy->content_encoding) ||
        is_there(request, policy->content_range))          /* a part of a document is none */
        (void)weir_body_skip(request, WEIR_SIDE_RESPONSE); /* it streams by */
    else /* the tag names the bytes that the target sent */
        (void)weir_header_remove(request, WEIR_SIDE_RESPONSE, policy->etag);
    return WEIR_NEXT;
}

/* ---- the body */

static weir_status remove_member(void *user, weir_json *json, weir_json_value *object,
                                 weir_str name)
{
    (void)user;
    weir_status status = weir_json_remove(json, object, name);
    return status == WEIR_NOT_FOUND ? WEIR_SUCCESS : status;
}

static weir_status rename_member(void *user, weir_json *json, weir_json_value *object,
                                 weir_str name)
{
    const struct rename *rule = user;
    weir_status status = weir_json_rename(json, object, name, rule->to);
    return status == WEIR_NOT_FOUND ? WEIR_SUCCESS : status;
}

static weir_status edit(const body_rewriter *policy, weir_json *json)
{
    weir_status status = WEIR_SUCCESS;
    for (size_t i = 0; i < policy->remove.count && status == WEIR_SUCCESS; i++)
        status = weir_json_path_each(json, policy->removals[i], true, false, remove_member, NULL);
    for (size_t i = 0; i < policy->rename.count && status == WEIR_SUCCESS; i++)
        status = weir_json_path_each(json, policy->renames[i].path, true, false, rename_member,
                                     &policy->renames[i]);
    return status;
}

static weir_verdict on_response_body(weir_request *request, void *self, void *context,
                                     weir_str body, bool last)
{
    const body_rewriter *policy = self;
    weir_json *json = NULL;
    weir_str text;
    (void)context;
    (void)last; /* BUFFER: there is one call, with all of it */
    weir_status status = weir_json_parse(body, weir_alloc_of_request, request, &json, NULL);
    if (status == WEIR_INVALID || status == WEIR_FULL) { /* no JSON, or absurdly deep */
        weir_log(request, WEIR_LOG_WARN, "the body is no JSON that can be edited: it stays");
        return WEIR_NEXT; /* without weir_body_replace() the body is what it was */
    }
    if (status == WEIR_SUCCESS)
        status = edit(policy, json);
    if (status == WEIR_SUCCESS)
        status = weir_json_print(json, &text);
    if (status == WEIR_SUCCESS)
        status = weir_body_replace(request, WEIR_SIDE_RESPONSE, text);
    return status == WEIR_SUCCESS ? WEIR_NEXT : WEIR_FAIL; /* FAIL: 502, nothing was sent yet */
}

WEIR_PLUGIN("body-rewriter", "1.0.0", WEIR_CAP_BODY, .priority = 790, WEIR_SELF(body_rewriter),
            WEIR_FIELDS(fields), .response_body_need = WEIR_BODY_BUFFER, .configure = configure,
            .access = on_access, .response_headers = on_response_headers,
            .response_body = on_response_body);
