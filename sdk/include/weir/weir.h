/* weir plugin ABI, version 1.
 *
 * A policy is one shared object with one exported symbol, weir_plugin_v1(), made by WEIR_PLUGIN. It
 * reaches the gateway only through the table of functions it is handed, wrapped below so that calls
 * read as functions. Rules that hold everywhere:
 *
 *  - Every hook and callback runs on the worker's loop thread. Only weir_wake() may be called from
 * another.
 *  - The host copies every string it is given. Strings it gives live as long as the request (or the
 *    policy, for configuration); body chunks only as long as the call.
 *  - Neither side frees the other's memory. weir_request_alloc() and weir_policy_alloc() need no
 * free.
 *  - Functions that may fail return a weir_status; 0 is success.
 *  - Structs start with their size or come with a stride, so both sides may grow them at the end.
 *
 * Tags say when a call may be made: [configure], [worker], [exchange: phases], [any thread]. */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_MAJOR 1
#define WEIR_MINOR 0
/* The oldest host minor this plugin must run on: later wrappers and struct tails are hidden. */
#ifndef WEIR_TARGET_MINOR
#define WEIR_TARGET_MINOR WEIR_MINOR
#endif

/* Bytes somebody else owns; data is NULL when absent. Not terminated. */
typedef struct weir_str {
    const char *data;
    size_t size;
} weir_str;
#ifdef __cplusplus
#define WEIR_LIT(text) (weir_str{"" text, sizeof(text) - 1})
#else
#define WEIR_LIT(text) ((weir_str){"" text, sizeof(text) - 1})
#endif

typedef uint32_t weir_status;
#define WEIR_SUCCESS 0U
#define WEIR_NO_MEMORY 1U
#define WEIR_NOT_FOUND 2U
#define WEIR_INVALID 3U /* a value the host refuses: CR, LF or NUL in a header, a bad name … */
#define WEIR_FULL 4U    /* a bound was reached */
#define WEIR_PHASE 5U   /* not in this phase */
#define WEIR_DENIED 6U  /* the plugin did not declare the capability */
#define WEIR_GONE 7U    /* the request, token or handle is no more */

/* What a hook answers. Anything else counts as FAIL. */
typedef uint32_t weir_verdict;
#define WEIR_NEXT 0U /* go on */
#define WEIR_DONE 1U /* answered: skip to the response phases */
#define WEIR_WAIT 2U /* parked: this direction of the request stands still until weir_wake() */
#define WEIR_FAIL 3U /* the policy's on_error decides: closed (500) or open (go on) */

/* Opaque: the host's. */
typedef struct weir_request weir_request;
typedef struct weir_error weir_error;
typedef struct weir_consumer weir_consumer;
typedef struct weir_credential weir_credential;
typedef struct weir_dict weir_dict;
typedef struct weir_metric weir_metric;
typedef struct weir_template weir_template;
typedef struct weir_timer weir_timer;
typedef struct weir_io weir_io;
typedef struct weir_stream weir_stream; /* a connection to a peer */
typedef struct weir_fetch weir_fetch;   /* an HTTP request under way */
typedef struct weir_file weir_file;     /* what lines are appended to */
typedef struct weir_state weir_state;   /* what one build of a policy tells the next */
typedef uint32_t weir_header_id;        /* from weir_header_intern() */
typedef uint64_t weir_token;            /* parked work; a stale one answers WEIR_GONE */

/* ---- configuration -------------------------------------------------------------------------- */

/* Type of a field and of the C member it fills. */
#define WEIR_TYPE_BOOLEAN 1U /* bool */
#define WEIR_TYPE_INTEGER 2U /* int64_t; WEIR_UNSET when absent */
#define WEIR_TYPE_NUMBER 3U  /* double; NAN when absent */
#define WEIR_TYPE_STRING 4U  /* weir_str; data NULL when absent */
#define WEIR_TYPE_ENUM 5U    /* weir_str out of `choices` */
#define WEIR_TYPE_DURATION \
    6U /* int64_t, milliseconds; text "500ms", "60s", "5m", "1h", or plain seconds */
#define WEIR_TYPE_BYTES 7U   /* int64_t; text "64k", "10m", "1g", or plain bytes */
#define WEIR_TYPE_LIST 8U    /* weir_list of `element` */
#define WEIR_TYPE_MAP 9U     /* weir_list of weir_pair: text to text */
#define WEIR_TYPE_RECORD 10U /* a nested struct, described by `fields` */
#define WEIR_UNSET INT64_MIN

#define WEIR_REQUIRED (1U << 0)
#define WEIR_SECRET (1U << 1)        /* never printed, may be a vault reference */
#define WEIR_DEPRECATED (1U << 2)    /* accepted with a warning */
#define WEIR_POSITIVE (1U << 3)      /* > 0 */
#define WEIR_NOT_NEGATIVE (1U << 4)  /* >= 0 */
#define WEIR_EMPTY_ALLOWED (1U << 5) /* an empty string is a value */
#define WEIR_HEADER_NAME (1U << 6)   /* the text is a header name (of each element, for a list) */
#define WEIR_UNIQUE (1U << 7)        /* no element twice; of a credential: its key */
#define WEIR_CONSUMER_NAME (1U << 8) /* names a consumer by username or id; unknown is an error */
#define WEIR_REGEX (1U << 9)         /* the text must compile as a regular expression */
#define WEIR_PATH (1U << 10)         /* starts with "/" */

typedef struct weir_list {
    void *items; /* weir_str, int64_t, double, or the record's struct */
    size_t count;
} weir_list;
typedef struct weir_pair {
    weir_str key, value;
} weir_pair;

/* One row of a configuration table. Arrays of rows carry a stride. */
typedef struct weir_field {
    const char *name; /* the C member's */
    const char *key;  /* the YAML's word; NULL: the same as `name` */
    const char *help; /* one sentence for `weir plugin schema` */
    const char *def;  /* default as YAML text; NULL: none */
    uint32_t type;
    uint32_t flags;
    uint32_t offset;            /* of the member in the struct */
    uint32_t element;           /* LIST: type of its elements */
    double min, max;            /* inclusive, checked when either is not 0; max 0: no upper bound */
    const char *const *choices; /* ENUM (and lists of ENUM): ends with NULL */
    const struct weir_field *fields; /* RECORD (and lists of records) */
    uint32_t field_count;
    uint32_t size; /* RECORD: sizeof its struct; of the element for a list of records */
    const char
        *alias; /* legacy spellings beside the record, "redis_host": comma separated; or NULL */
    const char *also; /* the dotted path an alias row stands for, "redis.host"; else NULL */
} weir_field;

#define WEIR_FIELD_(struct_, member_, type_, ...)                                          \
    {                                                                                      \
        .name = #member_, .type = (type_), .offset = (uint32_t)offsetof(struct_, member_), \
        __VA_ARGS__                                                                        \
    }
#define WEIR_BOOLEAN(struct_, member_, ...) \
    WEIR_FIELD_(struct_, member_, WEIR_TYPE_BOOLEAN, __VA_ARGS__)
#define WEIR_INTEGER(struct_, member_, ...) \
    WEIR_FIELD_(struct_, member_, WEIR_TYPE_INTEGER, __VA_ARGS__)
#define WEIR_NUMBER(struct_, member_, ...) \
    WEIR_FIELD_(struct_, member_, WEIR_TYPE_NUMBER, __VA_ARGS__)
#define WEIR_STRING(struct_, member_, ...) \
    WEIR_FIELD_(struct_, member_, WEIR_TYPE_STRING, __VA_ARGS__)
#define WEIR_ENUM(struct_, member_, ...) WEIR_FIELD_(struct_, member_, WEIR_TYPE_ENUM, __VA_ARGS__)
/* The member carries its unit (window_ms), the YAML does not: give .key = "window". */
#define WEIR_DURATION(struct_, member_, ...) \
    WEIR_FIELD_(struct_, member_, WEIR_TYPE_DURATION, __VA_ARGS__)
#define WEIR_BYTES(struct_, member_, ...) \
    WEIR_FIELD_(struct_, member_, WEIR_TYPE_BYTES, __VA_ARGS__)
#define WEIR_LIST(struct_, member_, element_, ...) \
    WEIR_FIELD_(struct_, member_, WEIR_TYPE_LIST, .element = (element_), __VA_ARGS__)
#define WEIR_MAP(struct_, member_, ...) WEIR_FIELD_(struct_, member_, WEIR_TYPE_MAP, __VA_ARGS__)
#define WEIR_RECORD(struct_, member_, record_, fields_, ...)                       \
    WEIR_FIELD_(struct_, member_, WEIR_TYPE_RECORD, .fields = (fields_),           \
                .field_count = (uint32_t)(sizeof(fields_) / sizeof((fields_)[0])), \
                .size = (uint32_t)sizeof(record_), __VA_ARGS__)

/* A kind of credential: its YAML collection ("keyauth_credentials") and what one row holds. The
 * host parses, checks and indexes; credential_find() is one hash probe. */
typedef struct weir_credential_kind {
    const char *collection;
    const weir_field *fields;
    uint32_t field_count, field_stride;
    const char *unique_key; /* the field looked up by credential_find() */
    uint32_t data_size;     /* of the struct the fields fill */
    uint32_t flags;         /* WEIR_RANDOM_KEY: an absent key is made up at load */
    /* Is a filled row good? Not 0 refuses the configuration: say why with weir_error_at(). Called
     * for every row at load, so it should be quick. NULL: the fields say all. [configure] */
    int (*check)(const void *data, weir_error *error);
} weir_credential_kind;
#define WEIR_RANDOM_KEY (1U << 0)

/* ---- the descriptor ------------------------------------------------------------------------- */

#define WEIR_CAP_SHARED_MEMORY (1ULL << 0)
#define WEIR_CAP_NETWORK (1ULL << 1)
#define WEIR_CAP_BODY (1ULL << 2)
#define WEIR_CAP_SECRETS (1ULL << 3)
#define WEIR_CAP_ADMIN (1ULL << 4)
#define WEIR_CAP_THREADS (1ULL << 5) /* joined in stop(); pins the image */
#define WEIR_CAP_FILES (1ULL << 6)   /* append to files */

#define WEIR_PLUGIN_AUTHENTICATES (1U << 0) /* fails closed in quarantine */
#define WEIR_PLUGIN_NO_CONSUMER_SCOPE (1U << 1)
/* Of one plugin, one policy runs: that of the most specific scope. With this flag all policies of
 * that scope run, in the order of the file, when their instance names differ; 64 at most. */
#define WEIR_PLUGIN_LAYERED (1U << 2)

/* How much of a body a policy needs, each direction of its own. */
#define WEIR_BODY_NONE 0U   /* relayed untouched */
#define WEIR_BODY_STREAM 1U /* chunk in, 0..n chunks out by weir_body_emit() */
#define WEIR_BODY_BUFFER 2U /* whole, capped, then 413 (request) or 502 (response) */
#define WEIR_BODY_TEE 3U    /* a read-only copy that never delays */

typedef weir_verdict weir_hook(weir_request *request, void *self, void *context);
typedef weir_verdict weir_body_hook(weir_request *request, void *self, void *context,
                                    weir_str chunk, bool last);

/* size, major and minor are the first 8 bytes and never change. */
typedef struct weir_plugin {
    uint32_t size;
    uint16_t major, minor;
    const char *name, *version;
    uint64_t capabilities;
    int32_t priority; /* higher runs first, ties by name */
    uint32_t flags;
    uint32_t self_size;    /* configuration, then private members: one per policy and generation */
    uint32_t context_size; /* zeroed, one per request and policy */
    const weir_field *fields;
    uint32_t field_count, field_stride;
    const weir_credential_kind *credentials;
    uint32_t credential_count, credential_stride;
    uint32_t request_body_need, response_body_need;

    /* Check and prepare `self`; no I/O, also run by `weir check`. Not 0 refuses the configuration:
     * say why with weir_error_at(). [configure] */
    int (*configure)(void *self, weir_error *error);
    int (*start)(
        void *self); /* once per worker and policy; not 0 refuses the generation [worker] */
    void (*stop)(void *self); /* the last call for `self` [worker] */

    weir_hook *rewrite; /* before routing, global policies only */
    weir_hook *access;
    weir_body_hook *request_body;
    weir_hook *upstream; /* each attempt, may change the target */
    weir_hook *response_headers;
    weir_body_hook *response_body;
    void (*log)(weir_request *request, void *self, void *context); /* always, cannot wait */

    /* When a swap or a reload replaces a policy (the same plugin and the same id in the file), what
     * it holds in this worker can go on: the old `self` exports, then the new one imports, right
     * before it gets its first request. By weir_state_set() and weir_state_get(): named values that
     * both builds understand, never structs. Exchanges that began before end with the old `self`;
     * what they change there is not handed over. Most policies need none of this: dictionaries in
     * shared memory outlive swaps by themselves. [worker] */
    void (*export_state)(void *self, weir_state *state);
    void (*import_state)(void *self, const weir_state *state);
} weir_plugin;

#ifdef __cplusplus
}
#endif

#include <weir/host.h>

#endif
