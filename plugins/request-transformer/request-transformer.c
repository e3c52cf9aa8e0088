/* Edits of what the service is sent: path, method, header fields, body and query. Values may be
 * templates; all are rendered before anything changes, so they see the request as it came. */
#include <weir/inflate.h>

#include "transformer.h"

enum { DECODED_MAX = 8 << 20 }; /* the host's own bound for bodies that came plain */

typedef struct {
    weir_str *values; /* of the rules, by slot */
    weir_str uri;
    request_body body;
    weir_str coding; /* its Content-Encoding; data NULL: none */
    bool reads_body;
} per_request;

/* ---- configuration */

#define LIST(member_, help_) \
    WEIR_LIST(edits, member_, WEIR_TYPE_STRING, .def = "[]", .help = (help_))
#define TYPES_FIELD                                                                              \
    WEIR_LIST(edits, body_types, WEIR_TYPE_ENUM, .choices = value_types, .def = "[]",            \
              .help = "JSON types of the values of body, in the same order; those left out are " \
                      "strings; not in Kong")
#define MAP(member_, list_) \
    WEIR_MAP(edits, member_, .help = "from old to new, after " list_ "; not in Kong")

static const weir_field remove_fields[] = {
    LIST(headers, "names"),
    LIST(querystring, "names"),
    LIST(body, "names, or paths in JSON"),
};
static const weir_field rename_fields[] = {
    LIST(headers, "old:new"),
    LIST(querystring, "old:new"),
    LIST(body, "old:new, the old one a name or a path in JSON"),
    MAP(headers_map, "headers"),
    MAP(querystring_map, "querystring"),
    MAP(body_map, "body"),
};
static const weir_field replace_fields[] = {
    LIST(headers, "name:value, for header fields that are there, and Host"),
    LIST(querystring, "name:value, for arguments that are there"),
    LIST(body, "name:value, for fields that are there"),
    TYPES_FIELD,
    WEIR_STRING(edits, uri, .help = "path that the service is sent, in place of all of it"),
};
static const weir_field add_fields[] = {
    LIST(headers, "name:value, for header fields that are not there"),
    LIST(querystring, "name:value, for arguments that are not there"),
    LIST(body, "name:value, for fields that are not there"),
    TYPES_FIELD,
};
static const weir_field append_fields[] = {
    LIST(headers, "name:value, one more of that name"),
    LIST(querystring, "name:value, one more of that name"),
    LIST(body, "name:value, one more of that name, in JSON of that array"),
    TYPES_FIELD,
};

static const weir_field fields[] = {
    WEIR_STRING(transformer, http_method, .help = "method that the service is sent, upper case"),
    WEIR_RECORD(transformer, remove, edits, remove_fields, .help = "what goes"),
    WEIR_RECORD(transformer, rename, edits, rename_fields, .help = "what gets another name"),
    WEIR_RECORD(transformer, replace, edits, replace_fields, .help = "what gets another value"),
    WEIR_RECORD(transformer, add, edits, add_fields, .help = "what is added when it is not there"),
    WEIR_RECORD(transformer, append, edits, append_fields, .help = "what is added in any case"),
    WEIR_BOOLEAN(transformer, deep, .def = "false",
                 .help = "plain names in remove, rename and replace mean any depth of a JSON body; "
                         "not in Kong"),
};

static bool check_method(transformer *policy, weir_error *error)
{
    static const weir_str queries[] = {{"GET", 3}, {"HEAD", 4}, {"TRACE", 5}};
    weir_str method = policy->http_method;
    for (size_t i = 0; i < method.size; i++) {
        if (method.data[i] < 'A' || method.data[i] > 'Z') {
            weir_error_at(error, "http_method", "invalid value: %.*s", (int)method.size,
                          method.data);
            return false;
        }
    }
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
        if (text_equal(method, queries[i]))
            policy->method_takes_query = true;
    return true;
}

static bool compile_uri(transformer *policy, weir_error *error)
{
    weir_str uri = policy->replace.uri;
    if (uri.data == NULL)
        return true;
    bool starts_with_template = uri.size > 1 && uri.data[0] == '$' && uri.data[1] == '(';
    if (uri.size == 0 || (uri.data[0] != '/' && !starts_with_template)) {
        weir_error_at(error, "replace.uri", "should start with: /");
        return false;
    }
    policy->uri = weir_template_compile(error, policy, "replace.uri", uri);
    return policy->uri != NULL;
}

static int configure(void *self, weir_error *error)
{
    transformer *policy = self;
    policy->content_type = weir_header_intern(WEIR_LIT("Content-Type"));
    policy->content_encoding = weir_header_intern(WEIR_LIT("Content-Encoding"));
    bool good = check_method(policy, error);
    good = compile_uri(policy, error) && good;
    good = rules_make(policy, error) && good;
    return good ? 0 : -1;
}

static int start(void *self)
{
    const transformer *policy = self;
    if (policy->with_equals > 0)
        weir_log(NULL, WEIR_LOG_NOTICE,
                 "%zu querystring entries written name=value are taken for name:value",
                 policy->with_equals);
    if (policy->of_framing > 0)
        weir_log(NULL, WEIR_LOG_WARN,
                 "%zu header entries do nothing: the gateway itself writes Connection, "
                 "Content-Length, Transfer-Encoding and the like",
                 policy->of_framing);
    return 0;
}

/* ---- the path */

/* Bytes of a path as RFC 3986 3.3 has them, "%" counted in. */
static bool is_path_byte(char c)
{
    static const char signs[] = "-._~!$&'()*+,;=:@/%";
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(signs, c) != NULL);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Escapes that are there stay; everything else that cannot stand in a path is escaped, so that no
 * value ends the path or the request line. */
static weir_status set_path(weir_request *request, weir_str uri)
{
    static const char digits[] = "0123456789ABCDEF";
    char *room = weir_request_alloc(request, 3 * uri.size + 1);
    size_t at = 0;
    if (room == NULL)
        return WEIR_NO_MEMORY;
    for (size_t i = 0; i < uri.size; i++) {
        char c = uri.data[i];
        bool keep = is_path_byte(c);
        if (c == '%')
            keep = i + 2 < uri.size && is_hex(uri.data[i + 1]) && is_hex(uri.data[i + 2]);
        if (keep) {
            room[at++] = c;
            continue;
        }
        room[at++] = '%';
        room[at++] = digits[(unsigned char)c >> 4];
        room[at++] = digits[(unsigned char)c & 15];
    }
    weir_status status = weir_path_set(request, (weir_str){room, at});
    if (status != WEIR_SUCCESS)
        weir_log(request, WEIR_LOG_ERROR, "replace.uri was rendered to no path");
    return status;
}

/* ---- the body */

static weir_verdict refuse(weir_request *request, uint32_t status, weir_str message)
{
    return weir_respond_error(request, status, message) == WEIR_SUCCESS ? WEIR_DONE : WEIR_FAIL;
}

static weir_verdict too_large(weir_request *request)
{
    return refuse(request, 413, WEIR_LIT("Payload too large"));
}

/* Undo its coding. What cannot be undone is passed on as it is. */
static weir_status decode(weir_request *request, per_request *mine, weir_str sent)
{
    request_body *body = &mine->body;
    body->text = sent;
    if (mine->coding.data == NULL || sent.size == 0)
        return WEIR_SUCCESS;
    weir_status status =
        weir_inflate(sent, mine->coding, DECODED_MAX, weir_alloc_of_request, request, &body->text);
    if (status != WEIR_NOT_FOUND && status != WEIR_INVALID)
        return status;
    body->text = (weir_str){NULL, 0};
    weir_log(request, WEIR_LOG_WARN, "the body passes unchanged: %s",
             status == WEIR_NOT_FOUND ? "its Content-Encoding is not known"
                                      : "it is not encoded as its Content-Encoding says");
    return WEIR_SUCCESS;
}

static weir_status edit_body(weir_request *request, const transformer *policy, per_request *mine)
{
    weir_str text;
    if (policy->part_counts[BODY] == 0 || mine->body.text.data == NULL)
        return WEIR_SUCCESS;
    weir_status status = body_edit(request, policy, mine->values, &mine->body, &text);
    if (status != WEIR_SUCCESS ||
        (text.data == mine->body.text.data && text.size == mine->body.text.size))
        return status;
    status = weir_body_replace(request, WEIR_SIDE_REQUEST, text);
    if (status == WEIR_SUCCESS && mine->coding.data != NULL) {
        status = weir_header_remove(request, WEIR_SIDE_REQUEST, policy->content_encoding);
        if (status == WEIR_NOT_FOUND)
            status = WEIR_SUCCESS;
    }
    return status;
}

/* ---- all of it */

static weir_verdict change(weir_request *request, const transformer *policy, per_request *mine)
{
    weir_status status = WEIR_SUCCESS;
    if (policy->uri != NULL)
        status = set_path(request, mine->uri);
    if (status == WEIR_SUCCESS && policy->http_method.data != NULL)
        status = weir_method_set(request, policy->http_method);
    if (status == WEIR_SUCCESS)
        status = headers_edit(request, policy, mine->values);
    if (status != WEIR_SUCCESS)
        return WEIR_FAIL;
    if (mine->reads_body)
        status = edit_body(request, policy, mine);
    if (status == WEIR_FULL)
        return too_large(request);
    if (status != WEIR_SUCCESS)
        return WEIR_FAIL;
    weir_str form = {NULL, 0};
    if (policy->method_takes_query && mine->body.kind == BODY_FORM)
        form = mine->body.text;
    status = query_edit(request, policy, mine->values, form);
    if (status == WEIR_FULL)
        return refuse(request, 414, WEIR_LIT("URI too long"));
    return status == WEIR_SUCCESS ? WEIR_NEXT : WEIR_FAIL;
}

static weir_verdict on_body(weir_request *request, void *self, void *context, uint32_t why)
{
    per_request *mine = context;
    if (why == WEIR_DEADLINE)
        return refuse(request, 408, WEIR_LIT("Request timeout"));
    weir_str sent = weir_body_get(request, WEIR_SIDE_REQUEST);
    weir_status status = decode(request, mine, sent.data == NULL ? WEIR_LIT("") : sent);
    if (status == WEIR_FULL)
        return too_large(request);
    return status == WEIR_SUCCESS ? change(request, self, mine) : WEIR_FAIL;
}

static bool render(weir_request *request, const transformer *policy, per_request *mine)
{
    mine->values = weir_request_alloc(request, (policy->slots + 1) * sizeof(*mine->values));
    if (mine->values == NULL)
        return false;
    if (policy->uri != NULL &&
        weir_template_render(request, policy->uri, &mine->uri) != WEIR_SUCCESS) {
        weir_log(request, WEIR_LOG_ERROR, "replace.uri cannot be rendered");
        return false;
    }
    return rules_render(request, policy, HEADERS, mine->values) &&
           rules_render(request, policy, QUERY, mine->values) &&
           (policy->part_counts[BODY] == 0 || mine->body.kind == BODY_NONE ||
            rules_render(request, policy, BODY, mine->values));
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const transformer *policy = self;
    per_request *mine = context;
    if (policy->part_counts[BODY] > 0 || policy->method_takes_query) {
        mine->body.content_type =
            weir_header_get(request, WEIR_SIDE_REQUEST, policy->content_type, 0);
        mine->body.kind = body_kind_of(mine->body.content_type);
        mine->reads_body = policy->part_counts[BODY] > 0 ? mine->body.kind != BODY_NONE
                                                         : mine->body.kind == BODY_FORM;
    }
    if (!render(request, policy, mine))
        return WEIR_FAIL;
    if (!mine->reads_body)
        return change(request, policy, mine);
    mine->coding = weir_header_get(request, WEIR_SIDE_REQUEST, policy->content_encoding, 0);
    if (weir_header_get(request, WEIR_SIDE_REQUEST, policy->content_encoding, 1).data != NULL)
        mine->coding = WEIR_LIT("several");
    weir_status status = weir_body_read(request, 0, on_body);
    if (status == WEIR_FULL)
        return too_large(request);
    return status == WEIR_SUCCESS ? WEIR_WAIT : WEIR_FAIL;
}

WEIR_PLUGIN("request-transformer", "1.0.0", WEIR_CAP_BODY, .priority = 801, WEIR_SELF(transformer),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .configure = configure, .start = start,
            .access = on_access);
