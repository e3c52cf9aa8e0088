/* Keeps out whoever stands on a list in Redis: a key deny:ADDRESS (or deny:VALUE of a header) that
 * exists. Shows a request that waits for an answer (park and wake), a deadline, answers remembered
 * for a while by all workers (a shared dictionary), and what happens when Redis is away. */
#include <stdio.h>
#include <string.h>

#include <weir/redis.h>
#include <weir/weir.h>

enum {
    NAME_MOST = 256, /* of what is looked up; longer header values are refused */
    KEY_MOST = NAME_MOST + 64,
};

struct redis {
    weir_str host, username, password;
    int64_t port, database, timeout_ms;
};

typedef struct {
    struct redis redis;
    weir_str by, header_name, prefix, message;
    int64_t ttl_ms, status;
    bool fault_tolerant;

    weir_header_id header;
    weir_dict *answers; /* one byte each: is it denied? */
    weir_redis *client; /* from start() to stop() */
} deny_list;

enum answer { UNKNOWN, ALLOWED, DENIED };

typedef struct {
    char name[NAME_MOST];
    size_t size;
    uint8_t answer;
} per_request;

static const weir_field redis_fields[] = {
    WEIR_STRING(struct redis, host, .def = "127.0.0.1", .help = "where Redis is"),
    WEIR_INTEGER(struct redis, port, .def = "6379", .min = 1, .max = 65535, .help = "its port"),
    WEIR_STRING(struct redis, username, .help = "for AUTH; absent: the default user"),
    WEIR_STRING(struct redis, password, .flags = WEIR_SECRET, .help = "for AUTH; absent: none"),
    WEIR_INTEGER(struct redis, database, .def = "0", .min = 0, .max = 1e6, .help = "for SELECT"),
    WEIR_DURATION(struct redis, timeout_ms, .key = "timeout", .def = "500ms", .min = 1,
                  .max = 60000, .help = "the longest a request waits for Redis"),
};
static const char *const bys[] = {"ip", "header", NULL};
static const weir_field fields[] = {
    WEIR_RECORD(deny_list, redis, struct redis, redis_fields, .help = "the server with the list"),
    WEIR_ENUM(deny_list, by, .def = "ip", .choices = bys, .help = "what is looked up"),
    WEIR_STRING(deny_list, header_name, .flags = WEIR_HEADER_NAME, .help = "for by: header"),
    WEIR_STRING(deny_list, prefix, .def = "'deny:'", .help = "what the keys in Redis begin with"),
    WEIR_DURATION(deny_list, ttl_ms, .key = "ttl", .def = "10s", .max = 86400000,
                  .flags = WEIR_NOT_NEGATIVE,
                  .help = "how long an answer is remembered; 0: ask for every request"),
    WEIR_BOOLEAN(deny_list, fault_tolerant, .def = "true",
                 .help = "let requests pass while Redis does not answer; false: 503"),
    WEIR_INTEGER(deny_list, status, .def = "403", .min = 400, .max = 599,
                 .help = "status of a refusal"),
    WEIR_STRING(deny_list, message, .def = "You are on the deny list",
                .help = "message of a refusal"),
};

static bool is_by_header(const deny_list *policy)
{
    return policy->by.data[0] == 'h';
}

static int configure(void *self, weir_error *error)
{
    deny_list *policy = self;
    if (is_by_header(policy) && policy->header_name.data == NULL) {
        weir_error_at(error, "header_name", "required field missing");
        return 1;
    }
    if (policy->prefix.size > KEY_MOST - NAME_MOST - 1) {
        weir_error_at(error, "prefix", "must be shorter than %d bytes", KEY_MOST - NAME_MOST);
        return 1;
    }
    if (is_by_header(policy))
        policy->header = weir_header_intern(policy->header_name);
    if (is_by_header(policy) && policy->header == 0) { /* nobody would ever be found on the list */
        weir_error_at(error, "header_name", "no memory");
        return 1;
    }
    policy->answers = weir_dict_open(error, self, WEIR_LIT("answers"), 1, 100000, 1);
    return policy->answers == NULL;
}

/* ---- the client: one connection of this policy in each worker */

static void on_changed(void *self, void *user, bool up, weir_str why)
{
    const deny_list *policy = self;
    (void)user;
    if (up)
        weir_log(NULL, WEIR_LOG_NOTICE, "Redis answers again");
    else
        weir_log(NULL, WEIR_LOG_ERROR, "Redis is down (%.*s): requests %s", (int)why.size, why.data,
                 policy->fault_tolerant ? "pass unchecked" : "are refused");
}

static int start(void *self)
{
    deny_list *policy = self;
    const weir_redis_options options = {
        .size = (uint32_t)sizeof(options),
        .host = policy->redis.host,
        .port = (uint16_t)policy->redis.port,
        .username = policy->redis.username,
        .password = policy->redis.password,
        .database = policy->redis.database,
        .timeout_ms = (uint32_t)policy->redis.timeout_ms,
        .changed = on_changed,
    };
    policy->client = weir_redis_open(policy, &options, NULL, 0);
    return policy->client == NULL ? -1 : 0;
}

static void stop(void *self)
{
    deny_list *policy = self;
    weir_redis_close(policy->client);
    policy->client = NULL;
}

/* ---- verdicts */

static weir_verdict refuse(weir_request *request, uint32_t status, weir_str message)
{
    return weir_respond_error(request, status, message) == WEIR_SUCCESS ? WEIR_DONE : WEIR_FAIL;
}

static weir_verdict act_on(weir_request *request, const deny_list *policy, uint8_t answer)
{
    if (answer == DENIED)
        return refuse(request, (uint32_t)policy->status, policy->message);
    if (answer == ALLOWED || policy->fault_tolerant)
        return WEIR_NEXT;
    return refuse(request, 503, WEIR_LIT("The deny list is not available"));
}

/* ---- answers that are remembered
 *
 * All policies of this plugin share the dictionary, and two of them may ask two servers: the
 * policy's id is a part of the key. */

static weir_str cache_key(const deny_list *policy, const per_request *mine, char text[KEY_MOST])
{
    weir_str id = weir_policy_text(policy, WEIR_POLICY_ID);
    int size =
        snprintf(text, KEY_MOST, "%.*s/%.*s", (int)id.size, id.data, (int)mine->size, mine->name);
    return (weir_str){text, (size_t)size < KEY_MOST ? (size_t)size : KEY_MOST - 1};
}

static uint8_t recall(const deny_list *policy, const per_request *mine)
{
    char text[KEY_MOST];
    uint8_t answer = UNKNOWN;
    if (weir_dict_get(policy->answers, cache_key(policy, mine, text), &answer, sizeof(answer)) !=
        WEIR_SUCCESS)
        return UNKNOWN;
    return answer;
}

static void remember(const deny_list *policy, const per_request *mine, uint8_t answer)
{
    char text[KEY_MOST];
    if (policy->ttl_ms > 0) /* when it cannot be kept it is asked again: nothing is lost */
        (void)weir_dict_set(policy->answers, cache_key(policy, mine, text), &answer, sizeof(answer),
                            policy->ttl_ms);
}

/* ---- a question to Redis */

/* The request may be gone by now (its client left, its deadline passed), and its context with it.
 * weir_wake() knows: only when it succeeds is the request still waiting. */
static void on_reply(void *self, void *user, weir_token token, const weir_redis_reply *reply,
                     weir_str why)
{
    const deny_list *policy = self;
    per_request *mine = user;
    (void)why; /* on_changed has told */
    if (weir_wake(token) != WEIR_SUCCESS)
        return;
    if (weir_redis_type(reply) != WEIR_REDIS_INTEGER) /* none came, or Redis answered an error */
        return;
    mine->answer = weir_redis_integer(reply) != 0 ? DENIED : ALLOWED;
    remember(policy, mine, mine->answer);
}

static weir_verdict on_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    const per_request *mine = context;
    (void)why; /* at the deadline the answer is UNKNOWN still */
    return act_on(request, self, mine->answer);
}

static weir_verdict ask(weir_request *request, const deny_list *policy, per_request *mine)
{
    char key[KEY_MOST];
    int size = snprintf(key, sizeof(key), "%.*s%.*s", (int)policy->prefix.size, policy->prefix.data,
                        (int)mine->size, mine->name);
    if (size < 0 || (size_t)size >= sizeof(key))
        return WEIR_FAIL;
    const weir_str words[] = {WEIR_LIT("EXISTS"), {key, (size_t)size}};
    weir_token token = weir_park(request, (uint32_t)policy->redis.timeout_ms, on_wake);
    /* Refused at once while Redis is down. A token that nobody waits for costs nothing: this hook
     * just does not return WEIR_WAIT. */
    if (token == 0 ||
        weir_redis_command(policy->client, words, 2, on_reply, mine, token) != WEIR_SUCCESS)
        return act_on(request, policy, UNKNOWN);
    return WEIR_WAIT;
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    const deny_list *policy = self;
    per_request *mine = context;
    weir_str name = is_by_header(policy)
                        ? weir_header_get(request, WEIR_SIDE_REQUEST, policy->header, 0)
                        : weir_request_text(request, WEIR_TEXT_CLIENT_IP);
    if (name.data == NULL) /* no header: nobody who could stand on the list */
        return WEIR_NEXT;
    if (name.size > sizeof(mine->name))
        return refuse(request, 400, WEIR_LIT("The header is too long"));
    memcpy(mine->name, name.data, name.size);
    mine->size = name.size;
    uint8_t answer = recall(policy, mine);
    return answer == UNKNOWN ? ask(request, policy, mine) : act_on(request, policy, answer);
}

WEIR_PLUGIN("redis-deny-list", "1.0.0", WEIR_CAP_NETWORK | WEIR_CAP_SHARED_MEMORY, .priority = 985,
            WEIR_SELF(deny_list), WEIR_CONTEXT(per_request), WEIR_FIELDS(fields),
            .configure = configure, .start = start, .stop = stop, .access = on_access);
