/* What policies tell each other and the log: templates, shared values, members of the log document.
 */
#include "plugin_host/calls.h"
#include "plugin_host/log_document.h"
#include "plugin_host/table.h"
#include "plugin_host/template.h"

weir_status call_template_render(weir_request *request, const weir_template *compiled,
                                 weir_str *out_text)
{
    struct span text = SPAN_NONE;
    enum weir_err err = template_render(request, compiled, &text);
    *out_text = str_of(text);
    return status_of(err);
}

weir_status call_shared_set(weir_request *request, weir_str name, weir_str value)
{
    return status_of(shared_value_set(request, span_of_str(name), span_of_str(value)));
}

weir_str call_shared_get(weir_request *request, weir_str name)
{
    return str_of(shared_value_get(request, span_of_str(name)));
}

weir_status call_log_set(weir_request *request, weir_str dotted_key, weir_str json)
{
    return status_of(log_document_edit(request, span_of_str(dotted_key), span_of_str(json)));
}

weir_str call_log_document(weir_request *request)
{
    return str_of(log_document(request));
}
