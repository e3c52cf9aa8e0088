/* Edits responses on their way to the client: header fields, and JSON bodies, which are collected
 * whole for it. What a response has no rule for streams by. It sees every answer, also those that
 * the gateway or another policy makes. Next: headers.c, json-rules.c, envelope.c. */
#include <weir/inflate.h>
#include <weir/weir.h>

#include "config.h"
#include "content.h"
#include "envelope.h"
#include "headers.h"
#include "json-rules.h"

enum { INFLATED_MAX = 8 << 20 }; /* as much as the host collects of a body that is not compressed */

typedef struct {
    struct config config;

    const struct header_rules *header_rules;
    const struct json_rules *json_rules;
    struct envelope envelope;
    struct content_names names;
} response_transformer;

typedef struct {
    bool edits_body; /* decided when the head came */
} per_request;

static const char *const type_names[] = {"boolean", "number", "string", NULL};

static const weir_field remove_fields[] = {
    WEIR_LIST(struct removals, headers, WEIR_TYPE_STRING, .def = "[]",
              .help = "names of headers to remove; what stands behind a colon is ignored"),
    WEIR_LIST(struct removals, json, WEIR_TYPE_STRING, .def = "[]",
              .help = "names or paths of members to remove"),
};
static const weir_field rename_fields[] = {
    WEIR_LIST(struct renames, headers, WEIR_TYPE_STRING, .def = "[]",
              .help = "old:new, headers that get another name, with all their values"),
    WEIR_LIST(struct renames, json, WEIR_TYPE_STRING, .def = "[]",
              .help = "old:new, members that get another name; one of that name gives way"),
    WEIR_MAP(struct renames, headers_map, .help = "the same for headers, as a map of old to new"),
    WEIR_MAP(struct renames, json_map, .help = "the same for members, as a map of old to new"),
};

#define VALUES(headers_help_, json_help_)                                                        \
    WEIR_LIST(struct values, headers, WEIR_TYPE_STRING, .def = "[]", .help = (headers_help_)),   \
        WEIR_LIST(struct values, json, WEIR_TYPE_STRING, .def = "[]", .help = (json_help_)),     \
        WEIR_LIST(struct values, json_types, WEIR_TYPE_ENUM, .choices = type_names, .def = "[]", \
                  .help = "type of each entry of json, in its order; string where none is said")
static const weir_field replace_fields[] = {
    VALUES("name:value, a new value where the header is there",
           "name:value, a new value where the member is there and not false"),
};
static const weir_field add_fields[] = {
    VALUES("name:value, put in where the header is not there",
           "name:value, put in where the member is absent or false"),
};
static const weir_field append_fields[] = {
    VALUES("name:value, one more header of that name",
           "name:value, text becomes [it, new], a list one longer, anything else [new]"),
};

static const weir_field fields[] = {
    WEIR_RECORD(struct config, remove, struct removals, remove_fields,
                .help = "what is taken away, first of all"),
    WEIR_RECORD(struct config, rename, struct renames, rename_fields,
                .help = "what gets another name, second"),
    WEIR_RECORD(struct config, replace, struct values, replace_fields,
                .help = "new values for what is there, third"),
    WEIR_RECORD(struct config, add, struct values, add_fields,
                .help = "what is put in where it is not there, fourth"),
    WEIR_RECORD(struct config, append, struct values, append_fields,
                .help = "what is put to what is there, last"),
    WEIR_BOOLEAN(struct config, deep, .def = "false",
                 .help = "names of remove.json, rename.json and rename.json_map mean members at "
                         "any depth"),
    WEIR_BOOLEAN(struct config, envelope, .def = "false",
                 .help = "put JSON bodies into {success, data, meta}"),
    WEIR_STRING(struct config, api_version, .def = "v1", .help = "meta.version of the envelope"),
    WEIR_BOOLEAN(struct config, pagination, .def = "false",
                 .help = "say total, page and perPage of lists in the envelope"),
};
_Static_assert(offsetof(response_transformer, config) == 0, "the field table fills it in place");

static int configure(void *self, weir_error *error)
{
    response_transformer *policy = self;
    const struct config *config = &policy->config;
    content_names_fill(&policy->names);
    if (config->pagination && !config->envelope) {
        weir_error_at(error, "pagination", "needs envelope: true, whose meta it goes to");
        return 1;
    }
    policy->envelope.pagination = config->pagination;
    if (weir_json_quote(config->api_version, weir_alloc_of_policy, self,
                        &policy->envelope.version) != WEIR_SUCCESS) {
        weir_error_at(error, "", "no memory");
        return 1;
    }
    policy->header_rules = header_rules_compile(self, config, error);
    if (policy->header_rules == NULL)
        return 1;
    policy->json_rules = json_rules_compile(self, config, error);
    return policy->json_rules == NULL;
}

/* ---- the head */

static bool wants_body(const response_transformer *policy, weir_request *request)
{
    weir_str coding;
    if (!policy->config.envelope && !json_rules_exist(policy->json_rules))
        return false;
    if (!content_is_json(&policy->names, request))
        return false;
    /* A part of a document is none, and an edit would move the rest of it. */
    if (weir_request_number(request, WEIR_NUMBER_STATUS) == 206 ||
        weir_header_get(request, WEIR_SIDE_RESPONSE, policy->names.range, 0).data != NULL)
        return false;
    if (content_is_readable(&policy->names, request, &coding))
        return true;
    weir_log(request, WEIR_LOG_WARN,
             "the body stays as it is: its Content-Encoding '%.*s' cannot be undone",
             (int)coding.size, coding.data);
    return false;
}

static weir_verdict response_headers(weir_request *request, void *self, void *context)
{
    const response_transformer *policy = self;
    per_request *state = context;
    if (!header_rules_apply(policy->header_rules, request)) {
        weir_log(request, WEIR_LOG_ERROR, "no memory for the headers");
        return WEIR_FAIL;
    }
    state->edits_body = wants_body(policy, request);
    if (!state->edits_body)
        (void)weir_body_skip(request, WEIR_SIDE_RESPONSE); /* else it is collected for nothing */
    return WEIR_NEXT;
}

/* ---- the body */

struct body {
    weir_str sent;  /* as it came */
    weir_str plain; /* without its coding */
    weir_json *json;
    bool inflated;
};

/* WEIR_INVALID: no JSON that can be edited. */
static weir_status parse(weir_request *request, struct body *body)
{
    size_t at = 0;
    weir_status status =
        weir_json_parse(body->plain, weir_alloc_of_request, request, &body->json, &at);
    if (status == WEIR_INVALID)
        weir_log(request, WEIR_LOG_WARN, "the body stays as it is: no JSON at byte %zu", at);
    if (status != WEIR_FULL)
        return status;
    weir_log(request, WEIR_LOG_WARN, "the body stays as it is: its JSON is nested too deeply");
    return WEIR_INVALID;
}

/* WEIR_INVALID: the body passes as it is. WEIR_FULL: it would, but only because it is so big that
 * what the rules hide has not been looked for. */
static weir_status open_body(const response_transformer *policy, weir_request *request,
                             struct body *body)
{
    weir_str coding;
    if (!content_is_readable(&policy->names, request, &coding))
        return WEIR_INVALID; /* another policy changed it since */
    body->plain = body->sent;
    weir_status status = weir_inflate(body->sent, coding, INFLATED_MAX, weir_alloc_of_request,
                                      request, &body->plain);
    /* A service that names a coding and sends plain JSON is read as its clients read it. */
    if (status == WEIR_INVALID || status == WEIR_NOT_FOUND)
        body->plain = body->sent;
    else if (status != WEIR_SUCCESS)
        return status;
    body->inflated = body->plain.data != body->sent.data;
    return parse(request, body);
}

static int64_t count_list(const weir_json *json)
{
    const weir_json_value *root = weir_json_root(json);
    if (weir_json_kind(root) != WEIR_JSON_ARRAY)
        return NO_LIST;
    int64_t count = 0;
    for (const weir_json_value *value = weir_json_first(root); value != NULL;
         value = weir_json_next(value))
        count++;
    return count;
}

static weir_status edit(const response_transformer *policy, weir_request *request,
                        struct body *body, weir_str *out_text)
{
    int64_t total = policy->config.pagination ? count_list(body->json) : NO_LIST;
    weir_status status = json_rules_apply(policy->json_rules, request, body->json);
    if (status == WEIR_SUCCESS)
        status = weir_json_print(body->json, out_text);
    if (status == WEIR_SUCCESS && policy->config.envelope)
        status = envelope_wrap(&policy->envelope, request, *out_text, total, out_text);
    return status;
}

static weir_status transform(const response_transformer *policy, weir_request *request,
                             weir_str sent)
{
    struct body body = {.sent = sent};
    weir_str text;
    weir_status status = open_body(policy, request, &body);
    if (status == WEIR_INVALID)
        return WEIR_SUCCESS;
    if (status == WEIR_SUCCESS)
        status = edit(policy, request, &body, &text);
    if (status != WEIR_SUCCESS)
        return status;
    if (text.data == body.plain.data) /* nothing was there to edit */
        return WEIR_SUCCESS;
    if (!content_was_edited(&policy->names, request, body.inflated))
        return WEIR_NO_MEMORY;
    return weir_body_replace(request, WEIR_SIDE_RESPONSE, text);
}

static weir_verdict response_body(weir_request *request, void *self, void *context, weir_str chunk,
                                  bool last)
{
    const per_request *state = context;
    (void)last; /* the body comes whole */
    if (!state->edits_body || chunk.size == 0)
        return WEIR_NEXT;
    weir_status status = transform(self, request, chunk);
    if (status == WEIR_SUCCESS)
        return WEIR_NEXT;
    weir_log(request, WEIR_LOG_ERROR, "the body cannot be edited: %s",
             status == WEIR_FULL ? "it is bigger than 8 MiB" : "no memory");
    return WEIR_FAIL;
}

WEIR_PLUGIN("response-transformer", "1.0.0", WEIR_CAP_BODY, .priority = 800,
            .response_body_need = WEIR_BODY_BUFFER, WEIR_SELF(response_transformer),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .configure = configure,
            .response_headers = response_headers, .response_body = response_body);
