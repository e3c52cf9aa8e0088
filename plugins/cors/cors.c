/* Cross-origin resource sharing: answers preflights before any authentication sees them, and says
 * on every other answer, errors included, which origin may read it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <weir/weir.h>

enum {
    ORIGIN_LONGEST = 2048, /* of a request; a longer one matches nothing */
    MATCH_LIMIT = 20000,
    MATCH_DEPTH = 200,
    MATCH_HEAP_KIB = 256,
    NUMBER_SIZE = 32,
};

enum rule_kind { RULE_ANY, RULE_LITERAL, RULE_REGEX };

struct rule { /* one of `origins` */
    enum rule_kind kind;
    bool host_alone; /* REGEX: without ':' it is matched against the host */
    weir_str text;   /* LITERAL: as compared */
    pcre2_code *code;
};

struct names {
    weir_header_id origin, vary, request_method, request_headers, request_private_network;
    weir_header_id allow_origin, allow_credentials, allow_headers, allow_methods, max_age;
    weir_header_id expose_headers, allow_private_network;
};

typedef struct {
    weir_list origins, headers, exposed_headers, methods;
    double max_age;
    bool credentials, private_network, preflight_continue, allow_origin_absent;

    struct names names;
    struct rule *rules;
    size_t rule_count;
    weir_str headers_text, exposed_text, methods_text, max_age_text;
    pcre2_match_context *limits;
    pcre2_match_data *match; /* of this worker */
} cors;

typedef struct {
    bool answered; /* the response phase has nothing to add */
} per_request;

static const char *const method_names[] = {"GET",    "HEAD",    "PUT",   "PATCH",   "POST",
                                           "DELETE", "OPTIONS", "TRACE", "CONNECT", NULL};

static const weir_field fields[] = {
    WEIR_LIST(cors, origins, WEIR_TYPE_STRING,
              .help = "origins that may read answers: *, scheme://host[:port], or a regular "
                      "expression; none given: all"),
    WEIR_LIST(cors, headers, WEIR_TYPE_STRING,
              .help = "request headers allowed by a preflight; none given: those it asks for"),
    WEIR_LIST(cors, exposed_headers, WEIR_TYPE_STRING,
              .help = "response headers that scripts may read"),
    WEIR_LIST(cors, methods, WEIR_TYPE_ENUM, .choices = method_names,
              .def = "[GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS, TRACE, CONNECT]",
              .help = "methods allowed by a preflight"),
    WEIR_NUMBER(cors, max_age, .help = "seconds a browser may keep the answer to a preflight"),
    WEIR_BOOLEAN(cors, credentials, .def = "false", .flags = WEIR_REQUIRED,
                 .help = "requests may carry cookies and authorization"),
    WEIR_BOOLEAN(cors, private_network, .def = "false", .flags = WEIR_REQUIRED,
                 .help = "answer requests for access from public sites to this private network"),
    WEIR_BOOLEAN(cors, preflight_continue, .def = "false", .flags = WEIR_REQUIRED,
                 .help = "leave preflights to the service"),
    WEIR_BOOLEAN(cors, allow_origin_absent, .def = "true", .flags = WEIR_REQUIRED,
                 .help = "add the headers also for requests without Origin"),
};

static const weir_str none = {NULL, 0};

static bool equal(weir_str a, weir_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static size_t find(weir_str text, size_t from, const char *any)
{
    while (from < text.size && strchr(any, text.data[from]) == NULL)
        from++;
    return from;
}

static weir_str cut(weir_str text, size_t from, size_t to)
{
    return (weir_str){text.data + from, to - from};
}

/* ---- origins ----------------------------------------------------------------------------------
 */

struct origin {
    weir_str
        whole; /* scheme://host[:port] without the scheme's default port: a prefix of the text */
    weir_str host;
};

/* What has no scheme is its own host: only an entry spelt the same matches it. */
static struct origin read_origin(weir_str text)
{
    struct origin origin = {text, text};
    size_t colon = find(text, 0, ":");
    if (text.size - colon < 3 || memcmp(text.data + colon, "://", 3) != 0)
        return origin;
    size_t from = colon + 3, end = find(text, from, "/?#");
    size_t port = end;
    while (port > from && text.data[port - 1] >= '0' && text.data[port - 1] <= '9')
        port--;
    size_t host_end = port > from && text.data[port - 1] == ':' ? port - 1 : end;
    weir_str scheme = cut(text, 0, colon), digits = cut(text, port, end);
    bool is_default = (equal(scheme, WEIR_LIT("http")) && equal(digits, WEIR_LIT("80"))) ||
                      (equal(scheme, WEIR_LIT("https")) && equal(digits, WEIR_LIT("443")));
    origin.host = cut(text, from, host_end);
    origin.whole = cut(text, 0, host_end == end || is_default ? host_end : end);
    return origin;
}

static bool regex_matches(const cors *policy, const struct rule *rule, weir_str subject)
{
    if (subject.size > ORIGIN_LONGEST || policy->match == NULL)
        return false;
    /* An exceeded limit is no match: the browser then refuses, which is the safe side. */
    return pcre2_match(rule->code, (PCRE2_SPTR)subject.data, subject.size, 0, 0, policy->match,
                       policy->limits) >= 0;
}

/* What Access-Control-Allow-Origin says; absent when no entry matches. */
static weir_str match_origin(const cors *policy, weir_str text)
{
    struct origin origin = read_origin(text);
    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct rule *rule = &policy->rules[i];
        switch (rule->kind) {
        case RULE_ANY:
            return WEIR_LIT("*");
        case RULE_LITERAL:
            if (equal(rule->text, origin.whole))
                return origin.whole;
            break;
        case RULE_REGEX:
            if (regex_matches(policy, rule, rule->host_alone ? origin.host : origin.whole))
                return origin.whole;
            break;
        }
    }
    return none;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

struct answer {
    weir_request *request;
    weir_status failed;
};

static void set(struct answer *answer, weir_header_id id, weir_str value)
{
    answer->failed |= weir_header_set(answer->request, WEIR_SIDE_RESPONSE, id, value);
}

static void vary(struct answer *answer, const cors *policy)
{
    answer->failed |= weir_header_add(answer->request, WEIR_SIDE_RESPONSE, policy->names.vary,
                                      WEIR_LIT("Origin"));
}

/* Allow-Origin, Vary and Allow-Credentials. */
static void set_origin(struct answer *answer, const cors *policy, weir_str origin)
{
    const struct names *names = &policy->names;
    bool credentials = policy->credentials;
    bool any =
        policy->rule_count == 0 || (policy->rule_count == 1 && policy->rules[0].kind == RULE_ANY);
    bool fixed = policy->rule_count == 1 && policy->rules[0].kind == RULE_LITERAL;
    weir_str allowed = WEIR_LIT("*");
    if (any && credentials && origin.data != NULL)
        allowed = origin; /* browsers refuse * together with credentials */
    else if (any)
        credentials = false;
    else if (fixed)
        allowed = ((const weir_str *)policy->origins.items)[0]; /* whoever asks */
    else
        allowed = origin.data == NULL ? none : match_origin(policy, origin);

    if (!any || credentials)
        vary(answer, policy);
    if (allowed.data != NULL)
        set(answer, names->allow_origin, allowed);
    else /* one that the service set must not outlive our no */
        (void)weir_header_remove(answer->request, WEIR_SIDE_RESPONSE, names->allow_origin);
    if (credentials)
        set(answer, names->allow_credentials, WEIR_LIT("true"));
}

static weir_verdict answer_preflight(weir_request *request, const cors *policy, weir_str origin)
{
    const struct names *names = &policy->names;
    struct answer answer = {request, weir_respond(request, 200, none, WEIR_LIT(""))};
    set_origin(&answer, policy, origin);
    weir_str headers = policy->headers_text;
    if (headers.data == NULL)
        headers = weir_header_get(request, WEIR_SIDE_REQUEST, names->request_headers, 0);
    if (headers.data != NULL)
        set(&answer, names->allow_headers, headers);
    set(&answer, names->allow_methods, policy->methods_text);
    if (policy->max_age_text.data != NULL)
        set(&answer, names->max_age, policy->max_age_text);
    weir_str private_network =
        weir_header_get(request, WEIR_SIDE_REQUEST, names->request_private_network, 0);
    if (policy->private_network && equal(private_network, WEIR_LIT("true")))
        set(&answer, names->allow_private_network, WEIR_LIT("true"));
    return answer.failed != WEIR_SUCCESS ? WEIR_FAIL : WEIR_DONE;
}

/* ---- hooks ------------------------------------------------------------------------------------
 */

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const cors *policy = self;
    per_request *mine = context;
    if (!equal(weir_request_text(request, WEIR_TEXT_METHOD), WEIR_LIT("OPTIONS")))
        return WEIR_NEXT;
    weir_str origin = weir_header_get(request, WEIR_SIDE_REQUEST, policy->names.origin, 0);
    weir_str method = weir_header_get(request, WEIR_SIDE_REQUEST, policy->names.request_method, 0);
    if (origin.data == NULL || method.data == NULL)
        return WEIR_NEXT;
    mine->answered = true;
    return policy->preflight_continue ? WEIR_NEXT : answer_preflight(request, policy, origin);
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    const cors *policy = self;
    const per_request *mine = context;
    weir_str origin = weir_header_get(request, WEIR_SIDE_REQUEST, policy->names.origin, 0);
    if (mine->answered || (origin.data == NULL && !policy->allow_origin_absent))
        return WEIR_NEXT;
    struct answer answer = {request, WEIR_SUCCESS};
    set_origin(&answer, policy, origin);
    if (policy->exposed_text.data != NULL)
        set(&answer, policy->names.expose_headers, policy->exposed_text);
    return answer.failed != WEIR_SUCCESS ? WEIR_FAIL : WEIR_NEXT;
}

/* ---- configuration ----------------------------------------------------------------------------
 */

/* PCRE2's memory out of the policy's: it goes with the policy, whether it was started or not. */
static void *take_memory(size_t size, void *self)
{
    return weir_policy_alloc(self, size);
}

static void drop_memory(void *memory, void *self)
{
    (void)memory;
    (void)self;
}

static bool is_literal(weir_str text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (c == '\0' || strchr(".:/-", c) == NULL))
            return false;
    }
    return true;
}

static bool compile(cors *policy, size_t index, pcre2_compile_context *context, weir_error *error)
{
    weir_str text = ((const weir_str *)policy->origins.items)[index];
    struct rule *rule = &policy->rules[index];
    if (equal(text, WEIR_LIT("*"))) {
        rule->kind = RULE_ANY;
        return true;
    }
    if (is_literal(text)) {
        rule->kind = RULE_LITERAL;
        rule->text = read_origin(text).whole;
        return true;
    }
    int code = 0;
    PCRE2_SIZE at = 0;
    rule->kind = RULE_REGEX;
    rule->host_alone = find(text, 0, ":") == text.size;
    rule->code = pcre2_compile((PCRE2_SPTR)text.data, text.size,
                               PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C, &code,
                               &at, context);
    if (rule->code != NULL)
        return true;
    char path[32];
    (void)snprintf(path, sizeof(path), "origins[%zu]", index);
    weir_error_at(error, path, "'%.*s' is not a valid regex", (int)text.size, text.data);
    return false;
}

static bool compile_origins(cors *policy, weir_error *error)
{
    policy->rule_count = policy->origins.count;
    policy->rules = weir_policy_alloc(policy, sizeof(struct rule) * (policy->rule_count + 1));
    pcre2_general_context *memory = pcre2_general_context_create(take_memory, drop_memory, policy);
    if (policy->rules == NULL || memory == NULL)
        return false;
    pcre2_compile_context *context = pcre2_compile_context_create(memory);
    policy->limits = pcre2_match_context_create(memory);
    if (context == NULL || policy->limits == NULL)
        return false;
    (void)pcre2_set_match_limit(policy->limits, MATCH_LIMIT);
    (void)pcre2_set_depth_limit(policy->limits, MATCH_DEPTH);
    (void)pcre2_set_heap_limit(policy->limits, MATCH_HEAP_KIB);
    bool ok = true;
    for (size_t i = 0; i < policy->rule_count; i++)
        ok &= compile(policy, i, context, error);
    return ok;
}

/* The texts joined with commas; absent for an empty list. False without memory. */
static bool join(const cors *policy, const weir_list *list, weir_str *out_text)
{
    const weir_str *items = list->items;
    size_t size = 0;
    for (size_t i = 0; i < list->count; i++)
        size += items[i].size + 1;
    if (size == 0)
        return true;
    char *text = weir_policy_alloc(policy, size);
    if (text == NULL)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < list->count; i++) {
        memcpy(text + at, items[i].data, items[i].size);
        at += items[i].size;
        text[at++] = ',';
    }
    *out_text = (weir_str){text, size - 1};
    return true;
}

static bool print_max_age(cors *policy)
{
    if (isnan(policy->max_age))
        return true;
    char *text = weir_policy_alloc(policy, NUMBER_SIZE);
    if (text == NULL)
        return false;
    int size = snprintf(text, NUMBER_SIZE, "%.14g", policy->max_age);
    policy->max_age_text = (weir_str){text, (size_t)size};
    return true;
}

static void intern_names(struct names *names)
{
    const struct {
        weir_header_id *id;
        weir_str name;
    } rows[] = {
        {&names->origin, WEIR_LIT("Origin")},
        {&names->vary, WEIR_LIT("Vary")},
        {&names->request_method, WEIR_LIT("Access-Control-Request-Method")},
        {&names->request_headers, WEIR_LIT("Access-Control-Request-Headers")},
        {&names->request_private_network, WEIR_LIT("Access-Control-Request-Private-Network")},
        {&names->allow_origin, WEIR_LIT("Access-Control-Allow-Origin")},
        {&names->allow_credentials, WEIR_LIT("Access-Control-Allow-Credentials")},
        {&names->allow_headers, WEIR_LIT("Access-Control-Allow-Headers")},
        {&names->allow_methods, WEIR_LIT("Access-Control-Allow-Methods")},
        {&names->max_age, WEIR_LIT("Access-Control-Max-Age")},
        {&names->expose_headers, WEIR_LIT("Access-Control-Expose-Headers")},
        {&names->allow_private_network, WEIR_LIT("Access-Control-Allow-Private-Network")},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        *rows[i].id = weir_header_intern(rows[i].name);
}

static int configure(void *self, weir_error *error)
{
    cors *policy = self;
    intern_names(&policy->names);
    policy->methods_text = WEIR_LIT("");
    bool ok = compile_origins(policy, error);
    ok &= join(policy, &policy->headers, &policy->headers_text);
    ok &= join(policy, &policy->exposed_headers, &policy->exposed_text);
    ok &= join(policy, &policy->methods, &policy->methods_text);
    ok &= print_max_age(policy);
    return ok ? 0 : -1;
}

/* What a match needs grows with the subjects, so it is not of the policy's memory. */
static int start(void *self)
{
    cors *policy = self;
    policy->match = pcre2_match_data_create(1, NULL);
    return policy->match == NULL ? -1 : 0;
}

static void stop(void *self)
{
    cors *policy = self;
    pcre2_match_data_free(policy->match);
    policy->match = NULL;
}

WEIR_PLUGIN("cors", "1.0.0", 0, .priority = 2000, WEIR_SELF(cors), WEIR_CONTEXT(per_request),
            WEIR_FIELDS(fields), .configure = configure, .start = start, .stop = stop,
            .access = on_access, .response_headers = on_response_headers);
