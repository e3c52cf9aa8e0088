/* A configuration with every type of field. */
#include <string.h>

#include <weir/weir.h>

typedef struct {
    weir_str host;
    int64_t port;
    weir_str password;
} server;

typedef struct {
    weir_str name;
    int64_t weight;
} item;

typedef struct {
    bool flag;
    int64_t count, wait_ms, room;
    double share;
    weir_str text, mode, secret, header, path;
    weir_list words, numbers, items, labels;
    server server;
} settings;

static const char *const modes[] = {"slow", "fast", NULL};

static const weir_field server_fields[] = {
    WEIR_STRING(server, host, .flags = WEIR_REQUIRED),
    WEIR_INTEGER(server, port, .min = 1, .max = 65535, .def = "6379"),
    WEIR_STRING(server, password, .flags = WEIR_SECRET),
};
static const weir_field item_fields[] = {
    WEIR_STRING(item, name, .flags = WEIR_REQUIRED),
    WEIR_INTEGER(item, weight, .min = 0, .max = 10, .def = "1"),
};
static const weir_field fields[] = {
    WEIR_BOOLEAN(settings, flag),
    WEIR_INTEGER(settings, count, .min = 1, .max = 100, .flags = WEIR_REQUIRED),
    WEIR_DURATION(settings, wait_ms, .key = "wait"),
    WEIR_BYTES(settings, room),
    WEIR_NUMBER(settings, share, .min = 0.25, .max = 1),
    WEIR_STRING(settings, text),
    WEIR_ENUM(settings, mode, .choices = modes, .def = "slow"),
    WEIR_STRING(settings, secret, .flags = WEIR_SECRET),
    WEIR_STRING(settings, header, .flags = WEIR_HEADER_NAME),
    WEIR_STRING(settings, path, .flags = WEIR_PATH),
    WEIR_LIST(settings, words, WEIR_TYPE_STRING, .flags = WEIR_UNIQUE),
    WEIR_LIST(settings, numbers, WEIR_TYPE_INTEGER, .min = 1, .max = 9),
    WEIR_LIST(settings, items, WEIR_TYPE_RECORD, .fields = item_fields, .field_count = 2,
              .size = (uint32_t)sizeof(item)),
    WEIR_MAP(settings, labels),
    WEIR_RECORD(settings, server, server, server_fields),
};

static int configure(void *self, weir_error *error)
{
    const settings *policy = self;
    if (policy->text.size == 6 && memcmp(policy->text.data, "banned", 6) == 0) {
        weir_error_at(error, "text", "'%.*s' is not for everybody", 6, policy->text.data);
        return -1;
    }
    if (policy->server.port == 1) {
        weir_error_at(error, "server.port", "nobody listens there");
        return -1;
    }
    return 0;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const settings *policy = self;
    (void)context;
    /* A policy that is careless with what it was told. */
    weir_log(request, WEIR_LOG_WARN, "the text is '%.*s'", (int)policy->text.size,
             policy->text.data);
    return WEIR_NEXT;
}

WEIR_PLUGIN(PLUGIN_NAME, "1.0.0", WEIR_CAP_SECRETS, .priority = 500, WEIR_SELF(settings),
            WEIR_FIELDS(fields), .configure = configure, .access = on_access);
