#include "find.h"

#include "text.h"

enum { ARGUMENTS_MAX = 100, COOKIE_LINES_MAX = 100 };

/* What was found so far. */
typedef struct search {
    weir_str token;
    bool several;
} search;

static void take(search *so_far, weir_str candidate)
{
    if (candidate.size == 0)
        return;
    if (so_far->token.data == NULL)
        so_far->token = candidate;
    else if (!text_equal(so_far->token, candidate))
        so_far->several = true;
}

static void search_query(weir_request *request, const jwt_policy *policy, search *so_far)
{
    const weir_str *names = policy->uri_param_names.items;
    if (weir_request_text(request, WEIR_TEXT_QUERY).size == 0)
        return;
    for (size_t i = 0; i < policy->uri_param_names.count; i++)
        for (size_t nth = 0; nth < ARGUMENTS_MAX; nth++) {
            weir_str value = weir_query_get(request, names[i], nth);
            if (value.data == NULL)
                break;
            take(so_far, value);
        }
}

/* The first cookie of that name. Names have no case here, as they have none in Kong. */
static bool take_cookie(search *so_far, weir_str line, weir_str name)
{
    for (size_t at = 0; at < line.size;) {
        size_t end = text_find(line, at, ';');
        weir_str item = text_trim(text_part(line, at, end));
        size_t equals = text_find(item, 0, '=');
        at = end + 1;
        if (equals == item.size || !text_equal_nocase(text_trim(text_part(item, 0, equals)), name))
            continue;
        take(so_far, text_trim(text_part(item, equals + 1, item.size)));
        return true;
    }
    return false;
}

static void search_cookies(weir_request *request, const jwt_policy *policy, search *so_far)
{
    const weir_str *names = policy->cookie_names.items;
    for (size_t i = 0; i < policy->cookie_names.count; i++)
        for (size_t nth = 0; nth < COOKIE_LINES_MAX; nth++) {
            weir_str line = weir_header_get(request, WEIR_SIDE_REQUEST, policy->cookie, nth);
            if (line.data == NULL || take_cookie(so_far, line, names[i]))
                break;
        }
}

/* "Bearer TOKEN" or "bearer TOKEN"; no other way to write it counts. */
static weir_str bearer_of(weir_str value)
{
    value = text_trim(value);
    if (value.size < 8 || (value.data[0] != 'B' && value.data[0] != 'b') ||
        memcmp(value.data + 1, "earer", 5) != 0 || !is_blank(value.data[6]))
        return TEXT_NONE;
    return text_trim(text_part(value, 7, value.size));
}

enum found find_token(weir_request *request, const jwt_policy *policy, weir_str *out_token)
{
    search so_far = {.token = TEXT_NONE};
    if (policy->uri_param_names.count > 0)
        search_query(request, policy, &so_far);
    search_cookies(request, policy, &so_far);
    for (size_t i = 0; i < policy->header_names.count; i++)
        take(&so_far,
             bearer_of(weir_header_get(request, WEIR_SIDE_REQUEST, policy->headers[i], 0)));
    if (so_far.token.data == NULL)
        return FOUND_NONE;
    *out_token = so_far.token;
    return so_far.several ? FOUND_SEVERAL : FOUND_ONE;
}
