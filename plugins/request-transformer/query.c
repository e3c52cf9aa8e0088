/* Rules at the arguments of the query. Any rule writes all of it anew, sorted by name, as Kong
 * does: caches and signatures behind the gateway rely on the order. */
#include "transformer.h"

/* The fields of a form that came as the body, each after those of its name. */
static weir_status take_form(weir_form *query, weir_request *request, weir_str text)
{
    weir_form form;
    weir_status status = weir_form_parse(&form, text, weir_alloc_of_request, request);
    for (size_t i = 0; status == WEIR_SUCCESS && i < form.count; i++)
        status = weir_form_append(query, form.fields[i].name, form.fields[i].value);
    return status;
}

weir_status query_edit(weir_request *request, const transformer *policy, const weir_str *values,
                       weir_str form)
{
    if (policy->part_counts[QUERY] == 0 && form.size == 0)
        return WEIR_SUCCESS;
    weir_str before = weir_request_text(request, WEIR_TEXT_QUERY), after;
    weir_form query;
    weir_status status = weir_form_parse(&query, before, weir_alloc_of_request, request);
    if (status == WEIR_SUCCESS && form.size > 0)
        status = take_form(&query, request, form);
    if (status == WEIR_SUCCESS)
        status = form_edit(&query, policy->rules[QUERY], values, NULL);
    if (status == WEIR_SUCCESS)
        status = form_print(&query, true, &after);
    if (status == WEIR_SUCCESS && (after.size > 0 || before.data != NULL))
        status = weir_query_replace(request, after.size > 0 ? after : (weir_str){"", 0});
    if (status != WEIR_SUCCESS)
        weir_log(request, WEIR_LOG_ERROR, "the query cannot be changed: %s",
                 status == WEIR_FULL ? "too many arguments, or too long" : "no memory");
    return status;
}
