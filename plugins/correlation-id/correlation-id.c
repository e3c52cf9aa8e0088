/* One id for a request on its whole way: the client's own, or one made here before anything else
 * runs; sent to the target, into the log, and back to the client when asked for. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

enum { UUID_SIZE = 36, ID_MAX = 160 };

typedef struct correlation correlation;
typedef size_t generate_id(weir_request *request, char out[ID_MAX]);

struct correlation {
    weir_str header_name, generator;
    bool echo_downstream, in_error_bodies;
    /* Ours, after the configuration. */
    weir_header_id header;
    generate_id *generate;
};

typedef struct {
    weir_str id; /* unset: access did not run */
} per_request;

static const char *const generators[] = {"uuid", "uuid#counter", "tracker", NULL};
static const weir_field fields[] = {
    WEIR_STRING(correlation, header_name, .def = "Kong-Request-ID", .flags = WEIR_HEADER_NAME,
                .help = "header that carries the id"),
    WEIR_ENUM(correlation, generator, .def = "uuid#counter", .choices = generators,
              .flags = WEIR_REQUIRED, .help = "how an id is made when the client sends none"),
    WEIR_BOOLEAN(correlation, echo_downstream, .def = "false", .flags = WEIR_REQUIRED,
                 .help = "send the id to the client as well"),
    WEIR_BOOLEAN(correlation, in_error_bodies, .def = "false",
                 .help = "show the id in the gateway's own JSON error bodies"),
};

/* Of the worker, whatever policy asks: the ids of all of them must differ, reloads included. */
static char worker_uuid[UUID_SIZE];
static uint64_t count;

/* ---- generators */

static size_t make_uuid(weir_request *request, char out[ID_MAX])
{
    (void)request;
    weir_uuid(out);
    return UUID_SIZE;
}

static size_t make_counted(weir_request *request, char out[ID_MAX])
{
    (void)request;
    if (worker_uuid[0] == '\0')
        weir_uuid(worker_uuid);
    char digits[20]; /* by hand: a formatter costs more than the rest of this policy */
    size_t at = sizeof(digits);
    for (uint64_t rest = ++count; rest > 0 || at == sizeof(digits); rest /= 10)
        digits[--at] = (char)('0' + rest % 10);
    memcpy(out, worker_uuid, UUID_SIZE);
    out[UUID_SIZE] = '#';
    memcpy(out + UUID_SIZE + 1, digits + at, sizeof(digits) - at);
    return UUID_SIZE + 1 + sizeof(digits) - at;
}

/* ADDRESS-PORT-PID-CONNECTION-REQUEST-SECONDS.mmm: which connection, and which of its requests. */
static size_t make_tracker(weir_request *request, char out[ID_MAX])
{
    int64_t now = weir_now_ms();
    int64_t connection = weir_request_number(request, WEIR_NUMBER_CONNECTION);
    int64_t requests = weir_request_number(request, WEIR_NUMBER_CONNECTION_REQUESTS);
    weir_str address = weir_request_text(request, WEIR_TEXT_SERVER_IP);
    if (address.data == NULL || address.size > 64)
        address = WEIR_LIT("unix:");
    return (size_t)snprintf(out, ID_MAX, "%.*s-%lld-%ld-%lld-%lld-%lld.%03lld", (int)address.size,
                            address.data, (long long)weir_request_number(request, WEIR_NUMBER_PORT),
                            (long)getpid(), (long long)(connection == WEIR_UNSET ? 0 : connection),
                            (long long)(requests == WEIR_UNSET ? 1 : requests),
                            (long long)(now / 1000), (long long)(now % 1000));
}

static generate_id *const makers[] = {make_uuid, make_counted, make_tracker};

static int configure(void *self, weir_error *error)
{
    correlation *policy = self;
    policy->header = weir_header_intern(policy->header_name);
    if (policy->header == 0) {
        weir_error_at(error, "header_name", "a header name is needed");
        return -1;
    }
    for (size_t i = 0; generators[i] != NULL; i++)
        if (policy->generator.size == strlen(generators[i]) &&
            memcmp(policy->generator.data, generators[i], policy->generator.size) == 0)
            policy->generate = makers[i];
    return policy->generate == NULL ? -1 : 0;
}

/* ---- the log */

/* As a JSON string: for ids that the host does not take as its own. Fields may hold any byte from
 * 0x80 on: taken for ISO 8859-1. */
static weir_str quote(weir_request *request, weir_str text)
{
    static const char digits[] = "0123456789abcdef";
    char *out = weir_request_alloc(request, text.size * 6 + 2);
    size_t size = 0;
    if (out == NULL)
        return (weir_str){NULL, 0};
    out[size++] = '"';
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c >= 0x7f) {
            memcpy(out + size, "\\u00", 4);
            out[size + 4] = digits[c >> 4];
            out[size + 5] = digits[c & 15];
            size += 6;
            continue;
        }
        if (c == '"' || c == '\\')
            out[size++] = '\\';
        out[size++] = (char)c;
    }
    out[size++] = '"';
    return (weir_str){out, size};
}

/* ---- hooks */

/* Nearly every id is printable and short: the host keeps it, and shows it wherever it speaks of the
 * request. What else a client may send is passed on and logged all the same. */
static bool remember(weir_request *request, const correlation *policy, per_request *mine,
                     weir_str id)
{
    weir_status status =
        weir_correlate(request, id, policy->in_error_bodies ? WEIR_CORRELATE_ERRORS : 0);
    if (status == WEIR_SUCCESS)
        mine->id = weir_request_text(request, WEIR_TEXT_CORRELATION_ID);
    if (status != WEIR_INVALID)
        return status == WEIR_SUCCESS;
    char *copy = weir_request_alloc(request, id.size);
    if (copy == NULL)
        return false;
    memcpy(copy, id.data, id.size);
    mine->id = (weir_str){copy, id.size};
    weir_str json = quote(request, mine->id);
    return json.data != NULL &&
           weir_log_set(request, WEIR_LIT("correlation_id"), json) == WEIR_SUCCESS;
}

/* The client's id; else a new one, and *out_made says so. */
static bool find_id(weir_request *request, const correlation *policy, per_request *mine,
                    bool *out_made)
{
    weir_str id = weir_header_get(request, WEIR_SIDE_REQUEST, policy->header, 0);
    char made[ID_MAX];
    *out_made = id.size == 0;
    if (*out_made)
        id = (weir_str){made, policy->generate(request, made)};
    return remember(request, policy, mine, id);
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const correlation *policy = self;
    per_request *mine = context;
    bool made;
    if (!find_id(request, policy, mine, &made))
        return WEIR_FAIL;
    if (made &&
        weir_header_set(request, WEIR_SIDE_REQUEST, policy->header, mine->id) != WEIR_SUCCESS)
        return WEIR_FAIL;
    return WEIR_NEXT;
}

static weir_verdict on_response_headers(weir_request *request, void *self, void *context)
{
    const correlation *policy = self;
    per_request *mine = context;
    bool made;
    if (!policy->echo_downstream)
        return WEIR_NEXT;
    /* No route matched, or the request was refused before access. */
    if (mine->id.data == NULL && !find_id(request, policy, mine, &made))
        return WEIR_FAIL;
    return weir_header_set(request, WEIR_SIDE_RESPONSE, policy->header, mine->id) == WEIR_SUCCESS
               ? WEIR_NEXT
               : WEIR_FAIL;
}

WEIR_PLUGIN("correlation-id", "1.1.0", 0, .priority = 100001, WEIR_SELF(correlation),
            WEIR_CONTEXT(per_request), WEIR_FIELDS(fields), .configure = configure,
            .access = on_access, .response_headers = on_response_headers);
