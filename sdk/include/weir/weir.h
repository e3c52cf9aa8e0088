/* weir plugin ABI, version 1.
 *
 * A policy is one shared object with one exported symbol, weir_plugin_v1(), made by WEIR_PLUGIN. It
 * reaches the gateway only through the table of functions it is handed, wrapped below so that calls
 * read as functions. Rules that hold everywhere:
 *
 *  - Every hook and callback runs on the worker's loop thread, and none inside another. Only
 *    weir_wake() may be called from another thread. No hook may block.
 *  - The host copies every string it is given. Strings it gives live as long as the request (or the
 *    policy, for configuration); body chunks only as long as the call.
 *  - Neither side frees the other's memory. weir_request_alloc() and weir_policy_alloc() need no
 *    free. These, `self` and `context` are aligned for every type (16 bytes).
 *  - Functions that may fail return a weir_status; 0 is success. Each contract names the statuses;
 *    one that it does not name is a failure as well.
 *  - Structs start with their size or come with a stride, so both sides may grow them at the end.
 *    weir_str, weir_pair and weir_list are values: they never grow.
 *  - Numbers of a kind (verdicts, statuses, texts, events, reasons to wake) grow, too: treat one
 *    that you do not know as the contract says, or as a failure.
 *  - Times are milliseconds, but where a name says _us.
 *
 * The last words of a contract, in brackets, say where a call may be made:
 *
 *  - configure: in configure() and in a credential kind's check()
 *  - worker: in start(), stop(), every hook and every callback
 *  - exchange: with a request, in its hooks (log included) and in callbacks that are given it
 *  - access, upstream …: in those hooks, and in the on_wake of what they parked
 *  - export_state, import_state: there
 *  - any thread: anywhere, and from other threads
 *
 * Elsewhere it does nothing, and answers WEIR_PHASE, 0, NULL or what is absent. A call with "Needs
 * WEIR_CAP_…" answers WEIR_DENIED, NULL or nothing to a plugin that did not declare that. A request
 * may be used only until its last hook has returned: keep a weir_token, never the pointer.
 *
 * History, what each minor added; what is newer than WEIR_TARGET_MINOR is not there for the
 * compiler:
 *
 *  - 1.0: everything below */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#if defined(__GNUC__)
/* Rows and descriptors leave out what is zero, by design. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
extern "C" {
#endif

#define WEIR_MAJOR 1
#define WEIR_MINOR 0
/* The oldest host minor this plugin must run on: later wrappers and struct tails are hidden. */
#ifndef WEIR_TARGET_MINOR
#define WEIR_TARGET_MINOR WEIR_MINOR
#endif
#if WEIR_TARGET_MINOR > WEIR_MINOR
#error "these headers are older than WEIR_TARGET_MINOR"
#endif

/* Bytes somebody else owns; data is NULL when absent. Not terminated. */
typedef struct weir_str {
    const char *data;
    size_t size;
} weir_str;
/* A literal as weir_str. */
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

/* What a field of a list fills: `count` items one after another, as long as the policy. */
typedef struct weir_list {
    void *items; /* weir_str, int64_t, double, or the record's struct */
    size_t count;
} weir_list;
/* A name and its value: a row of a map, a header of a fetch. */
typedef struct weir_pair {
    weir_str key, value;
} weir_pair;

/* One row of a configuration table. Arrays of rows carry a stride; the rows of a record have that
 * of the table the record is in. What the macros below set comes first: C++ wants designators in
 * the order of the members, so write .flags, .key, .def, .min, .max, .choices, .alias, .also, .help
 * in this order. */
typedef struct weir_field {
    const char *name; /* the C member's */
    uint32_t type;
    uint32_t offset;                 /* of the member in the struct */
    const struct weir_field *fields; /* RECORD (and lists of records) */
    uint32_t field_count;
    uint32_t size;    /* RECORD: sizeof its struct; of the element for a list of records */
    uint32_t element; /* LIST: type of its elements */
    uint32_t flags;   /* WEIR_REQUIRED and the like */
    const char *key;  /* the YAML's word; NULL: the same as `name` */
    const char *def;  /* default as YAML text: "'*'", for a bare * is none; NULL: none */
    double min, max;  /* inclusive, checked when either is not 0; max 0: no upper bound */
    const char *const *choices; /* ENUM (and lists of ENUM): ends with NULL */
    const char
        *alias; /* legacy spellings beside the record, "redis_host": comma separated; or NULL */
    const char *also; /* the dotted path an alias row stands for, "redis.host"; else NULL */
    const char *help; /* one sentence for `weir plugin schema` */
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

#define WEIR_CAP_SHARED_MEMORY (1ULL << 0) /* dictionaries */
#define WEIR_CAP_NETWORK (1ULL << 1)       /* descriptors, streams, fetches */
#define WEIR_CAP_BODY (1ULL << 2)          /* read, pass on or replace bodies */
#define WEIR_CAP_SECRETS (1ULL << 3)       /* for whoever looks: it holds secrets; grants nothing */
#define WEIR_CAP_ADMIN (1ULL << 4)         /* kept for later; grants nothing */
#define WEIR_CAP_THREADS (1ULL << 5)       /* joined in stop(); pins the image */
#define WEIR_CAP_FILES (1ULL << 6)         /* append to files */

#define WEIR_PLUGIN_AUTHENTICATES (1U << 0) /* fails closed in quarantine */
#define WEIR_PLUGIN_NO_CONSUMER_SCOPE (1U << 1)
/* Of one plugin, one policy runs: that of the most specific scope. With this flag all policies of
 * that scope run, in the order of the file, when their instance names differ; 64 at most. */
#define WEIR_PLUGIN_LAYERED (1U << 2)

/* How much of a body a policy needs, each direction of its own. Bodies of HEAD, 204, 304 and of
 * upgraded connections never reach a hook. */
#define WEIR_BODY_NONE 0U   /* relayed untouched */
#define WEIR_BODY_STREAM 1U /* chunk in, 0..n chunks out by weir_body_emit() */
#define WEIR_BODY_BUFFER 2U /* whole, capped, then 413 (request) or 502 (response) */
#define WEIR_BODY_TEE 3U    /* a read-only copy that never delays */

/* `context` is zeroed before the first hook of that request and policy; NULL with context_size 0.
 */
typedef weir_verdict weir_hook(weir_request *request, void *self, void *context);
/* `chunk` lives as long as the call, and is empty at times; `last` comes once, with the last bytes
 * or after them. With WEIR_BODY_BUFFER there is one call, with the whole. What a hook of
 * WEIR_BODY_STREAM does not emit is gone. */
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
     * say why with weir_error_at(). There is no counterpart: take memory from weir_policy_alloc()
     * alone; what must be given back is made in start(). [configure] */
    int (*configure)(void *self, weir_error *error);
    /* Once per worker and policy, before its first request. Not 0 refuses the generation, and then
     * there is no stop(): give back here what was made here. [worker] */
    int (*start)(void *self);
    /* Once per worker and policy whose start() was good, after its last request: the last call for
     * `self`. Threads are joined here. [worker] */
    void (*stop)(void *self);

    /* Before routing, of global policies only. NEXT: go on. DONE: answered, on to the response
     * hooks. May WAIT. */
    weir_hook *rewrite;
    /* After routing, before anything is sent to a target. NEXT: go on. DONE: answered, on to the
     * response hooks. May WAIT. */
    weir_hook *access;
    /* The request's body on its way, when request_body_need is not NONE. NEXT: go on. DONE:
     * answered; nothing more is sent to the target. May WAIT, but with TEE. */
    weir_body_hook *request_body;
    /* Before each attempt to reach a target: it may change the target. NEXT: go on. DONE: answered,
     * no attempt is made. May WAIT. */
    weir_hook *upstream;
    /* Once there is a response, the gateway's own answers included. NEXT: go on. DONE: its answer
     * takes the place of the response, and is what later policies see. May WAIT. */
    weir_hook *response_headers;
    /* The response's body on its way, when response_body_need is not NONE. NEXT: go on. DONE counts
     * as FAIL: the head may be sent. May WAIT, but with TEE. */
    weir_body_hook *response_body;
    /* Always, once, when the exchange has ended, even when the client went away. No verdict, no
     * WAIT. */
    void (*log)(weir_request *request, void *self, void *context);

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
