/* Asks an HTTP service about every request: 2xx lets it pass, any other answer below 500 is what
 * the client gets. Shows a call-out of a policy (fetch), requests that wait for it (park and wake),
 * answers remembered for a while by all workers, and one question at a time for one key, however
 * many requests want its answer: a flight.
 *
 * Who owns what: a flight belongs to the policy, from its first request to its answer. Requests
 * only point at it, and a pointer is used after weir_wake() said that the request is still there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

enum {
    HEADERS_MOST = 8,     /* of each list in the configuration */
    KEY_MOST = 4096,      /* what makes two requests the same question */
    TEXT_MOST = 2000,     /* of the header values of one answer */
    WAITERS_MOST = 256,   /* requests that wait for one answer */
    FLIGHTS_MOST = 64,    /* the host's bound for fetches of one policy */
    ANSWER_LIMIT = 65536, /* bytes of the service's body, which nobody reads */
};

/* Header names of a list, ready for use. */
struct names {
    weir_str text[HEADERS_MOST];
    weir_header_id id[HEADERS_MOST];
    size_t count;
};

/* What the service said. It is kept in shared memory as it stands, so it has no pointers. */
struct answer {
    uint16_t status; /* 0: none came */
    uint16_t starts[HEADERS_MOST + 1];
    char text[TEXT_MOST]; /* the values, one behind the other; an empty one was absent */
};

typedef struct {
    struct answer answer; /* of the flight, copied when it lands */
} per_request;

struct waiter {
    weir_token token;
    per_request *request;
};

struct flight {
    struct flight *next;
    char *key;
    size_t key_size, count;
    struct waiter waiters[WAITERS_MOST];
};

typedef struct {
    weir_str url;
    weir_list send_headers, allowed_headers, denied_headers; /* of weir_str */
    int64_t ttl_ms, deadline_ms;
    bool fault_tolerant;

    struct names send, allowed, denied;
    weir_dict *answers;
    struct flight *flights; /* from start() to stop() */
} authoriser;

static const weir_field fields[] = {
    WEIR_STRING(authoriser, url, .flags = WEIR_REQUIRED, .help = "the service to ask, by GET"),
    WEIR_LIST(authoriser, send_headers, WEIR_TYPE_STRING, .def = "[Authorization, Cookie]",
              .flags = WEIR_HEADER_NAME, .help = "headers of the request that it is shown"),
    WEIR_LIST(authoriser, allowed_headers, WEIR_TYPE_STRING, .def = "[]", .flags = WEIR_HEADER_NAME,
              .help = "headers of its answer that the target is sent"),
    WEIR_LIST(authoriser, denied_headers, WEIR_TYPE_STRING, .def = "[WWW-Authenticate, Location]",
              .flags = WEIR_HEADER_NAME,
              .help = "headers of its answer that a refused client gets"),
    WEIR_DURATION(authoriser, ttl_ms, .key = "ttl", .def = "10s", .max = 86400000,
                  .flags = WEIR_NOT_NEGATIVE,
                  .help = "how long an answer is remembered; 0: ask for every request"),
    WEIR_DURATION(authoriser, deadline_ms, .key = "deadline", .def = "2s", .min = 1, .max = 60000,
                  .help = "the longest a request waits for the service"),
    WEIR_BOOLEAN(authoriser, fault_tolerant, .def = "false",
                 .help = "let requests pass while the service does not answer; false: 503"),
};

/* ---- configuration */

static int take_names(weir_error *error, const char *where, const weir_list *list,
                      struct names *out)
{
    const weir_str *items = list->items;
    if (list->count > HEADERS_MOST) {
        weir_error_at(error, where, "at most %d headers", HEADERS_MOST);
        return 1;
    }
    for (size_t i = 0; i < list->count; i++) {
        out->text[i] = items[i];
        out->id[i] = weir_header_intern(items[i]);
        if (out->id[i] == 0) {
            weir_error_at(error, where, "no memory");
            return 1;
        }
    }
    out->count = list->count;
    return 0;
}

static int configure(void *self, weir_error *error)
{
    authoriser *policy = self;
    int faults = take_names(error, "send_headers", &policy->send_headers, &policy->send) +
                 take_names(error, "allowed_headers", &policy->allowed_headers, &policy->allowed) +
                 take_names(error, "denied_headers", &policy->denied_headers, &policy->denied);
    policy->answers =
        weir_dict_open(error, self, WEIR_LIT("answers"), 1, 10000, (uint32_t)sizeof(struct answer));
    return policy->answers == NULL ? 1 : faults;
}

/* Before this the host has ended what waits and cancelled what is under way. */
static void stop(void *self)
{
    authoriser *policy = self;
    while (policy->flights != NULL) {
        struct flight *flight = policy->flights;
        policy->flights = flight->next;
        free(flight->key);
        free(flight);
    }
}

/* ---- verdicts */

static bool is_allowed(const struct answer *answer)
{
    return answer->status >= 200 && answer->status < 300;
}

static weir_str value_of(const struct answer *answer, size_t i)
{
    return (weir_str){answer->text + answer->starts[i],
                      (size_t)(answer->starts[i + 1] - answer->starts[i])};
}

/* A header the service did not give is not the client's to give either: it would be believed. */
static weir_verdict pass(weir_request *request, const authoriser *policy,
                         const struct answer *answer)
{
    for (size_t i = 0; i < policy->allowed.count; i++) {
        weir_str value = value_of(answer, i);
        weir_header_id id = policy->allowed.id[i];
        weir_status status = value.size == 0
                                 ? weir_header_remove(request, WEIR_SIDE_REQUEST, id)
                                 : weir_header_set(request, WEIR_SIDE_REQUEST, id, value);
        if (status != WEIR_SUCCESS && status != WEIR_NOT_FOUND)
            return WEIR_FAIL;
    }
    return WEIR_NEXT;
}

static weir_verdict refuse(weir_request *request, const authoriser *policy,
                           const struct answer *answer)
{
    if (weir_respond_error(request, answer->status, WEIR_LIT("The request was not authorised")) !=
        WEIR_SUCCESS)
        return WEIR_FAIL;
    for (size_t i = 0; i < policy->denied.count; i++) {
        weir_str value = value_of(answer, i);
        if (value.size > 0 && weir_header_set(request, WEIR_SIDE_RESPONSE, policy->denied.id[i],
                                              value) != WEIR_SUCCESS)
            return WEIR_FAIL;
    }
    return WEIR_DONE;
}

static weir_verdict act_on(weir_request *request, const authoriser *policy,
                           const struct answer *answer)
{
    static const struct answer nothing;
    if (is_allowed(answer))
        return pass(request, policy, answer);
    if (answer->status != 0)
        return refuse(request, policy, answer);
    if (policy->fault_tolerant)
        return pass(request, policy, &nothing);
    return weir_respond_error(request, 503, WEIR_LIT("The authoriser is not available")) ==
                   WEIR_SUCCESS
               ? WEIR_DONE
               : WEIR_FAIL;
}

/* ---- what the service said */

static bool is_named(weir_str name, weir_str want)
{
    if (name.size != want.size)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        char a = name.data[i], b = want.data[i];
        if (a != b && ((a ^ b) != 0x20 || (a | 0x20) < 'a' || (a | 0x20) > 'z'))
            return false;
    }
    return true;
}

static weir_str find_header(const weir_fetch_answer *from, weir_str name)
{
    for (size_t i = 0; i < from->header_count; i++)
        if (is_named(from->headers[i].key, name))
            return from->headers[i].value;
    return (weir_str){NULL, 0};
}

/* Redirects and errors below 500 are answers. 5xx and silence mean that the service is broken,
 * which is no answer about this request. */
static void read_answer(const authoriser *policy, const weir_fetch_answer *from, struct answer *out)
{
    size_t used = 0;
    memset(out, 0, sizeof(*out));
    if (from->status < 200 || from->status >= 500)
        return;
    out->status = (uint16_t)from->status;
    const struct names *names = is_allowed(out) ? &policy->allowed : &policy->denied;
    for (size_t i = 0; i < names->count; i++) {
        weir_str value = find_header(from, names->text[i]);
        out->starts[i] = (uint16_t)used;
        if (value.size > sizeof(out->text) - used) { /* half an identity is none */
            weir_log(NULL, WEIR_LOG_ERROR, "the headers of the answer are too long");
            out->status = 0;
            return;
        }
        if (value.size > 0)
            memcpy(out->text + used, value.data, value.size);
        used += value.size;
        out->starts[i + 1] = (uint16_t)used;
    }
}

/* ---- flights */

static void end_flight(authoriser *policy, struct flight *flight)
{
    struct flight **at = &policy->flights;
    while (*at != flight)
        at = &(*at)->next;
    *at = flight->next;
    free(flight->key);
    free(flight);
}

static void on_answer(void *self, void *user, const weir_fetch_answer *from)
{
    authoriser *policy = self;
    struct flight *flight = user;
    struct answer answer;
    read_answer(policy, from, &answer);
    if (answer.status == 0)
        weir_log(NULL, WEIR_LOG_WARN, "the authoriser does not answer (status %u): %.*s",
                 (unsigned)from->status, (int)from->why.size,
                 from->why.data == NULL ? "" : from->why.data);
    else if (policy->ttl_ms > 0)
        (void)weir_dict_set(policy->answers, (weir_str){flight->key, flight->key_size}, &answer,
                            sizeof(answer), policy->ttl_ms);
    for (size_t i = 0; i < flight->count; i++)
        if (weir_wake(flight->waiters[i].token) == WEIR_SUCCESS) /* it is still there */
            flight->waiters[i].request->answer = answer;
    end_flight(policy, flight);
}

static struct flight *find_flight(const authoriser *policy, weir_str key, size_t *out_count)
{
    struct flight *flight = policy->flights;
    *out_count = 0;
    for (; flight != NULL; flight = flight->next, ++*out_count)
        if (flight->key_size == key.size && memcmp(flight->key, key.data, key.size) == 0)
            break;
    return flight;
}

static weir_fetch *fetch(weir_request *request, const authoriser *policy, struct flight *flight)
{
    weir_pair headers[HEADERS_MOST + 3] = {
        {WEIR_LIT("X-Forwarded-Method"), weir_request_text(request, WEIR_TEXT_METHOD)},
        {WEIR_LIT("X-Forwarded-Host"), weir_request_text(request, WEIR_TEXT_HOST)},
        {WEIR_LIT("X-Forwarded-Uri"), weir_request_text(request, WEIR_TEXT_RAW_TARGET)},
    };
    size_t count = 3;
    for (size_t i = 0; i < policy->send.count; i++) {
        weir_str value = weir_header_get(request, WEIR_SIDE_REQUEST, policy->send.id[i], 0);
        if (value.data != NULL)
            headers[count++] = (weir_pair){policy->send.text[i], value};
    }
    const weir_fetch_request what = {
        .size = (uint32_t)sizeof(what),
        .method = WEIR_LIT("GET"),
        .url = policy->url,
        .headers = headers,
        .header_count = count,
        .deadline_ms = (uint32_t)policy->deadline_ms,
        .body_limit = ANSWER_LIMIT,
    };
    return weir_fetch_start(policy, &what, on_answer, flight);
}

/* NULL: the service cannot be asked now. */
static struct flight *begin_flight(weir_request *request, authoriser *policy, weir_str key)
{
    struct flight *flight = calloc(1, sizeof(*flight));
    if (flight == NULL)
        return NULL;
    flight->key = malloc(key.size);
    if (flight->key != NULL) {
        memcpy(flight->key, key.data, key.size);
        flight->key_size = key.size;
        if (fetch(request, policy, flight) != NULL) {
            flight->next = policy->flights;
            policy->flights = flight;
            return flight;
        }
    }
    free(flight->key);
    free(flight);
    return NULL;
}

/* ---- a request */

/* Everything that the service is shown, so that what is remembered of one request is never taken
 * for another. Each part begins with its size: no two lists of parts read the same. False: too
 * long. */
static bool put_part(char *key, size_t *size, weir_str part)
{
    if (part.size > KEY_MOST || *size + sizeof(part.size) + part.size > KEY_MOST)
        return false;
    memcpy(key + *size, &part.size, sizeof(part.size));
    *size += sizeof(part.size);
    if (part.size > 0)
        memcpy(key + *size, part.data, part.size);
    *size += part.size;
    return true;
}

static bool make_key(weir_request *request, const authoriser *policy, char *key, size_t *out_size)
{
    *out_size = 0;
    bool fits = put_part(key, out_size, weir_policy_text(policy, WEIR_POLICY_ID)) &&
                put_part(key, out_size, weir_request_text(request, WEIR_TEXT_METHOD)) &&
                put_part(key, out_size, weir_request_text(request, WEIR_TEXT_HOST)) &&
                put_part(key, out_size, weir_request_text(request, WEIR_TEXT_RAW_TARGET));
    for (size_t i = 0; fits && i < policy->send.count; i++)
        fits = put_part(key, out_size,
                        weir_header_get(request, WEIR_SIDE_REQUEST, policy->send.id[i], 0));
    return fits;
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    const per_request *mine = context;
    (void)why; /* at the deadline no answer is there: status 0 */
    return act_on(request, self, &mine->answer);
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    authoriser *policy = self;
    per_request *mine = context;
    char text[KEY_MOST];
    weir_str key = {text, 0};
    size_t flights;
    if (!make_key(request, policy, text, &key.size))
        return weir_respond_error(request, 431, WEIR_LIT("Request header fields too large")) ==
                       WEIR_SUCCESS
                   ? WEIR_DONE
                   : WEIR_FAIL;
    if (weir_dict_get(policy->answers, key, &mine->answer, sizeof(mine->answer)) == WEIR_SUCCESS)
        return act_on(request, policy, &mine->answer);

    memset(&mine->answer, 0, sizeof(mine->answer));
    struct flight *flight = find_flight(policy, key, &flights);
    if (flight == NULL && flights < FLIGHTS_MOST)
        flight = begin_flight(request, policy, key);
    if (flight == NULL || flight->count == WAITERS_MOST)
        return act_on(request, policy, &mine->answer);
    weir_token token = weir_park(request, (uint32_t)policy->deadline_ms, on_wake);
    if (token == 0)
        return act_on(request, policy, &mine->answer);
    flight->waiters[flight->count++] = (struct waiter){token, mine};
    return WEIR_WAIT;
}

WEIR_PLUGIN("http-authoriser", "1.0.0", WEIR_CAP_NETWORK | WEIR_CAP_SHARED_MEMORY, .priority = 980,
            .flags = WEIR_PLUGIN_AUTHENTICATES, WEIR_SELF(authoriser), WEIR_CONTEXT(per_request),
            WEIR_FIELDS(fields), .configure = configure, .stop = stop, .access = on_access);
