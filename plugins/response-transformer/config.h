/* What the YAML says, shared by the files of this plugin. */
#ifndef RESPONSE_TRANSFORMER_CONFIG_H
#define RESPONSE_TRANSFORMER_CONFIG_H

#include <weir/weir.h>

struct removals {
    weir_list headers, json;
};

struct renames {
    weir_list headers, json;         /* "old:new" */
    weir_list headers_map, json_map; /* weir_pair */
};

struct values { /* of replace, add and append */
    weir_list headers, json;
    weir_list json_types;
};

struct config {
    struct removals remove;
    struct renames rename;
    struct values replace, add, append;
    bool deep, envelope, pagination;
    weir_str api_version;
};

#endif
