/* A compiled template: pieces of text and expressions, the latter a small part of Lua (Kong's
 * language inside $(…)). template_compile.c makes it, template.c renders it. Never included outside
 * the room. */
#ifndef WEIR_PLUGIN_HOST_TEMPLATE_INTERNAL_H
#define WEIR_PLUGIN_HOST_TEMPLATE_INTERNAL_H

#include "plugin_host/template.h"

enum {
    TEMPLATE_BYTES_MAX = 16384, /* of the text */
    TEMPLATE_PARTS_MAX = 128,   /* pieces of text and expressions */
    TEMPLATE_NODES_MAX = 256,   /* of all expressions of one text */
    TEMPLATE_DEPTH_MAX = 32,    /* of nesting, so compiling and rendering need little stack */
    TEMPLATE_RESULT_MAX = 65536 /* bytes that rendering once may write, steps between included */
};

/* What can be looked up in. Names of single values are in enum fact. */
enum table {
    TABLE_HEADERS,
    TABLE_QUERY_PARAMS,
    TABLE_URI_CAPTURES,
    TABLE_SHARED,
    TABLE_CONSUMER,
    TABLE_COUNT
};

enum fact {
    FACT_REQUEST_ID,
    FACT_NOW,     /* seconds since 1970 with milliseconds: what readers of X-Request-Start expect */
    FACT_LATENCY, /* milliseconds since the request began */
    FACT_HOST,    /* lower case, without port */
    FACT_PATH,
    FACT_METHOD,
    FACT_CLIENT_IP,      /* after trusted_ips */
    FACT_CORRELATION_ID, /* what weir_correlate() said */
    FACT_UNKNOWN,        /* a name Kong's sandbox does not have either: it is nil */
    FACT_COUNT
};

enum function {
    FUNCTION_TYPE,
    FUNCTION_TOSTRING,
    FUNCTION_TONUMBER,
    FUNCTION_UPPER,
    FUNCTION_LOWER,
    FUNCTION_LEN,
    FUNCTION_COUNT
};

enum value_kind { VALUE_NIL, VALUE_BOOLEAN, VALUE_NUMBER, VALUE_TEXT, VALUE_TABLE, VALUE_REPEATED };

struct value {
    enum value_kind kind;
    bool boolean;
    double number;
    struct span text; /* TEXT; REPEATED: the name, as found */
    enum table table; /* TABLE; REPEATED: HEADERS or QUERY_PARAMS */
};

enum operation {
    OPERATION_CONSTANT,
    OPERATION_FACT,
    OPERATION_TABLE,
    OPERATION_INDEX, /* left[right], left.name */
    OPERATION_CALL,  /* function(left) */
    OPERATION_OR,
    OPERATION_AND,
    OPERATION_NOT,
    OPERATION_NEGATE,
    OPERATION_EQUAL,
    OPERATION_UNEQUAL,
    OPERATION_LESS,
    OPERATION_LESS_EQUAL,
    OPERATION_GREATER,
    OPERATION_GREATER_EQUAL,
    OPERATION_CONCAT,
    OPERATION_ADD,
    OPERATION_SUBTRACT,
    OPERATION_MULTIPLY,
    OPERATION_DIVIDE,
    OPERATION_MODULO,
    OPERATION_COUNT
};

struct expression {
    enum operation operation;
    struct value constant; /* CONSTANT */
    enum fact fact;
    enum table table;
    enum function function;
    const struct expression *left, *right; /* NULL where the operation has fewer */
};

struct template_part {
    struct span text;                    /* when there is no expression */
    const struct expression *expression; /* NULL: text */
};

struct weir_template {
    const struct template_part *parts;
    size_t part_count;
};

#endif
