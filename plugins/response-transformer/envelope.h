/* {"success": …, "data": the body, "meta": {…}} around a JSON body. */
#ifndef RESPONSE_TRANSFORMER_ENVELOPE_H
#define RESPONSE_TRANSFORMER_ENVELOPE_H

#include <weir/json.h>

struct envelope {
    weir_str version; /* meta.version, as JSON text */
    bool pagination;  /* of a list: meta.pagination */
};

enum { NO_LIST = -1 };
/* `data` is JSON text. `total`: how many elements the list has that it is; NO_LIST: it is none. */
weir_status envelope_wrap(const struct envelope *envelope, weir_request *request, weir_str data,
                          int64_t total, weir_str *out_text);

#endif
