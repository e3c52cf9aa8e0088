/* Lets a request pass by what its token claims. The policy jwt has verified the token and publishes
 * its claims as JSON under the shared name "jwt_claims"; this one runs after it (a lower priority)
 * and only reads them. Shows values that policies share, and the SDK's JSON reader. */
#include <string.h>

#include <weir/json.h>
#include <weir/weir.h>

typedef struct {
    weir_str claim;
    weir_list allow, deny; /* of weir_str */
    bool words;
    weir_str message;
} claims_acl;

static const weir_field fields[] = {
    WEIR_STRING(claims_acl, claim, .flags = WEIR_REQUIRED,
                .help = "claim to look at; dots go down into objects (realm_access.roles)"),
    WEIR_LIST(claims_acl, allow, WEIR_TYPE_STRING, .help = "one of these values is needed"),
    WEIR_LIST(claims_acl, deny, WEIR_TYPE_STRING, .help = "none of these may be there"),
    WEIR_BOOLEAN(claims_acl, words, .def = "false",
                 .help = "text is a list of words parted by spaces, as in scope"),
    WEIR_STRING(claims_acl, message, .def = "You cannot consume this service",
                .help = "message of a refusal"),
};

static int configure(void *self, weir_error *error)
{
    const claims_acl *policy = self;
    if (policy->allow.count > 0 || policy->deny.count > 0)
        return 0;
    weir_error_at(error, NULL,
                  "at least one of these fields must be non-empty: 'config.allow', 'config.deny'");
    return 1;
}

/* ---- what the claim says, against both lists */

struct finding {
    const claims_acl *policy;
    bool allowed, denied;
};

static bool is_in(const weir_list *list, weir_str value)
{
    const weir_str *items = list->items;
    for (size_t i = 0; i < list->count; i++)
        if (items[i].size == value.size && memcmp(items[i].data, value.data, value.size) == 0)
            return true;
    return false;
}

static void look_at(struct finding *finding, weir_str value)
{
    finding->allowed |= is_in(&finding->policy->allow, value);
    finding->denied |= is_in(&finding->policy->deny, value);
}

static void look_at_words(struct finding *finding, weir_str text)
{
    size_t at = 0;
    while (at < text.size) {
        size_t end = at;
        while (end < text.size && text.data[end] != ' ')
            end++;
        if (end > at)
            look_at(finding, (weir_str){text.data + at, end - at});
        at = end + 1;
    }
}

static weir_status look_at_value(struct finding *finding, weir_json *json,
                                 const weir_json_value *value)
{
    weir_str text;
    if (weir_json_kind(value) != WEIR_JSON_STRING) { /* 42, true: as they are written */
        look_at(finding, weir_json_raw(value));
        return WEIR_SUCCESS;
    }
    weir_status status = weir_json_text(json, value, &text);
    if (status != WEIR_SUCCESS)
        return status;
    if (finding->policy->words)
        look_at_words(finding, text);
    else
        look_at(finding, text);
    return WEIR_SUCCESS;
}

/* A claim of that very name first: URLs, the usual names of private claims, have dots in them. */
static weir_json_value *find_claim(weir_json *json, weir_str name)
{
    weir_json_value *at = weir_json_root(json);
    weir_json_value *whole = weir_json_member(json, at, name);
    if (whole != NULL)
        return whole;
    while (at != NULL && name.size > 0) {
        const char *dot = memchr(name.data, '.', name.size);
        size_t size = dot == NULL ? name.size : (size_t)(dot - name.data);
        at = weir_json_member(json, at, (weir_str){name.data, size});
        size_t used = dot == NULL ? size : size + 1;
        name = (weir_str){name.data + used, name.size - used};
    }
    return at;
}

static weir_status judge(weir_request *request, struct finding *finding, weir_str claims)
{
    weir_json *json = NULL;
    /* Its memory is the request's: nothing to free on any way out. */
    weir_status status = weir_json_parse(claims, weir_alloc_of_request, request, &json, NULL);
    if (status != WEIR_SUCCESS)
        return status;
    const weir_json_value *claim = find_claim(json, finding->policy->claim);
    if (claim == NULL)
        return WEIR_SUCCESS;
    if (weir_json_kind(claim) != WEIR_JSON_ARRAY)
        return look_at_value(finding, json, claim);
    for (const weir_json_value *item = weir_json_first(claim); item != NULL;
         item = weir_json_next(item)) {
        status = look_at_value(finding, json, item);
        if (status != WEIR_SUCCESS)
            return status;
    }
    return WEIR_SUCCESS;
}

static weir_verdict refuse(weir_request *request, uint32_t status, weir_str message)
{
    return weir_respond_error(request, status, message) == WEIR_SUCCESS ? WEIR_DONE : WEIR_FAIL;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const claims_acl *policy = self;
    struct finding finding = {.policy = policy};
    weir_str claims = weir_shared_get(request, WEIR_LIT("jwt_claims"));
    (void)context;
    if (claims.data == NULL) /* jwt is not configured here, or let somebody anonymous pass */
        return refuse(request, 401, WEIR_LIT("Unauthorized"));
    if (judge(request, &finding, claims) != WEIR_SUCCESS)
        return WEIR_FAIL;
    if (finding.denied || (policy->allow.count > 0 && !finding.allowed))
        return refuse(request, 403, policy->message);
    return WEIR_NEXT;
}

WEIR_PLUGIN("jwt-claims-acl", "1.0.0", 0, .priority = 940, WEIR_SELF(claims_acl),
            WEIR_FIELDS(fields), .configure = configure, .access = on_access);
