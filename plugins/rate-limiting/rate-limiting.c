/* How many requests a client may make in each second, minute, ... year. One step takes one of every
 * window or none of any, so a refused request counts nowhere. Where and how is counted: local.c,
 * remote.c, sync.c. */
#include "policy.h"

/* ---- fields */

static const char *const policy_names[] = {"local", "redis", NULL};
static const char *const algorithm_names[] = {"fixed-window", "sliding-window", "token-bucket",
                                              NULL};
static const char *const fallback_names[] = {"none", "local", NULL};
static const char *const policy_header_names[] = {"auto", "always", "never", NULL};

#define REDIS_PLACE ", for policy redis"
static const weir_field redis_fields[] = {
    WEIR_STRING(struct redis, host, .alias = "redis_host", .help = "name or address" REDIS_PLACE),
    WEIR_INTEGER(struct redis, port, .alias = "redis_port", .def = "6379", .max = 65535,
                 .flags = WEIR_NOT_NEGATIVE, .help = "port"),
    WEIR_INTEGER(struct redis, timeout, .alias = "redis_timeout", .def = "2000", .max = 2147483646,
                 .flags = WEIR_NOT_NEGATIVE,
                 .help = "milliseconds to connect, and for each answer"),
    WEIR_STRING(struct redis, username, .alias = "redis_username", .flags = WEIR_SECRET,
                .help = "user of AUTH"),
    WEIR_STRING(struct redis, password, .alias = "redis_password", .flags = WEIR_SECRET,
                .help = "password of AUTH"),
    WEIR_INTEGER(struct redis, database, .alias = "redis_database", .def = "0",
                 .flags = WEIR_NOT_NEGATIVE, .help = "number of the database"),
    WEIR_BOOLEAN(struct redis, ssl, .alias = "redis_ssl", .def = "false", .help = "use TLS"),
    WEIR_BOOLEAN(struct redis, ssl_verify, .alias = "redis_ssl_verify", .def = "false",
                 .help = "check the certificate"),
    WEIR_STRING(struct redis, server_name, .alias = "redis_server_name",
                .help = "name for SNI and the certificate"),
};

#define LIMIT(index, word)                                                                \
    {                                                                                     \
        .name = word, .type = WEIR_TYPE_NUMBER, .flags = WEIR_POSITIVE,                   \
        .offset = (uint32_t)(offsetof(rate_limiting, limits) + (index) * sizeof(double)), \
        .help = "requests in each " word                                                  \
    }

static const weir_field fields[] = {
    LIMIT(SECOND, "second"),
    LIMIT(MINUTE, "minute"),
    LIMIT(HOUR, "hour"),
    LIMIT(DAY, "day"),
    LIMIT(MONTH, "month"),
    LIMIT(YEAR, "year"),
    WEIR_ENUM(rate_limiting, limit_by, .choices = limit_by_names, .def = "consumer",
              .help =
                  "whose requests are counted together; without one it is the client's address"),
    WEIR_STRING(rate_limiting, header_name, .flags = WEIR_HEADER_NAME,
                .help = "header that names the client, for limit_by header"),
    WEIR_STRING(rate_limiting, path, .flags = WEIR_PATH,
                .help = "path that is counted, for limit_by path"),
    WEIR_ENUM(rate_limiting, policy, .choices = policy_names, .def = "local",
              .help = "where the counters are: of this gateway or in Redis"),
    WEIR_BOOLEAN(rate_limiting, fault_tolerant, .def = "true", .flags = WEIR_REQUIRED,
                 .help = "let requests pass when they cannot be counted, else 500"),
    WEIR_RECORD(rate_limiting, redis, struct redis, redis_fields,
                .help = "where Redis is" REDIS_PLACE),
    WEIR_BOOLEAN(rate_limiting, hide_client_headers, .def = "false", .flags = WEIR_REQUIRED,
                 .help = "say nothing about limits in headers"),
    WEIR_INTEGER(rate_limiting, error_code, .def = "429", .flags = WEIR_POSITIVE,
                 .help = "status of a refusal"),
    WEIR_STRING(rate_limiting, error_message, .def = "API rate limit exceeded",
                .help = "message of a refusal"),
    WEIR_NUMBER(rate_limiting, sync_rate, .def = "-1", .flags = WEIR_REQUIRED,
                .help = "seconds between two exchanges with Redis, -1: at each request"),
    WEIR_ENUM(rate_limiting, algorithm_name, .key = "algorithm", .choices = algorithm_names,
              .def = "fixed-window", .help = "how requests are counted"),
    WEIR_NUMBER(rate_limiting, burst,
                .help = "tokens that the bucket of the shortest period holds, for algorithm "
                        "token-bucket; without one as many as its limit"),
    WEIR_ENUM(rate_limiting, fallback_name, .key = "fallback", .choices = fallback_names,
              .def = "none",
              .help = "where requests are counted while Redis is down, for policy redis"),
    WEIR_ENUM(rate_limiting, policy_header, .choices = policy_header_names, .def = "auto",
              .help = "header RateLimit-Policy; auto: not with fixed windows"),
};

/* ---- the decision */

static weir_verdict refuse(weir_request *request, int64_t status, weir_str message)
{
    return weir_respond_error(request, (uint32_t)status, message) != WEIR_SUCCESS ? WEIR_FAIL
                                                                                  : WEIR_DONE;
}

static weir_verdict decide(weir_request *request, const rate_limiting *policy, per_request *mine,
                           bool refused)
{
    mine->counted = true;
    mine->refused = refused;
    choose_tightest(mine, policy);
    return refused ? refuse(request, policy->error_code, policy->error_message) : WEIR_NEXT;
}

static weir_verdict give_up(weir_request *request, const rate_limiting *policy)
{
    return policy->fault_tolerant ? WEIR_NEXT
                                  : refuse(request, 500, WEIR_LIT("An unexpected error occurred"));
}

static weir_verdict count_here(weir_request *request, rate_limiting *policy, per_request *mine)
{
    weir_status status = local_take(request, policy, mine);
    if (status == WEIR_SUCCESS || status == WEIR_FULL)
        return decide(request, policy, mine, status == WEIR_FULL);
    weir_log(request, WEIR_LOG_ERROR, "the request could not be counted (status %u)", status);
    return give_up(request, policy);
}

/* Redis is no help now; that it is down has been told when it went. */
static weir_verdict without_redis(weir_request *request, rate_limiting *policy, per_request *mine)
{
    return policy->fallback == FALLBACK_LOCAL ? count_here(request, policy, mine)
                                              : give_up(request, policy);
}

static weir_verdict on_remote_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    rate_limiting *policy = self;
    per_request *mine = context;
    if (why != WEIR_WOKEN || mine->failed)
        return without_redis(request, policy, mine);
    return decide(request, policy, mine, mine->refused);
}

static weir_verdict count_synced(weir_request *request, rate_limiting *policy, per_request *mine);

static weir_verdict on_sync_wake(weir_request *request, void *self, void *context, uint32_t why)
{
    per_request *mine = context;
    mine->failed = mine->failed || why != WEIR_WOKEN;
    return count_synced(request, self, mine);
}

static weir_verdict count_synced(weir_request *request, rate_limiting *policy, per_request *mine)
{
    weir_status status = sync_take(request, policy, mine, on_sync_wake);
    if (status == WEIR_PHASE)
        return WEIR_WAIT;
    if (status == WEIR_SUCCESS || status == WEIR_FULL)
        return decide(request, policy, mine, status == WEIR_FULL);
    return without_redis(request, policy, mine);
}

static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    rate_limiting *policy = self;
    per_request *mine = context;
    if (!policy->is_remote)
        return count_here(request, policy, mine);
    if (policy->is_synced)
        return count_synced(request, policy, mine);
    if (remote_take(request, policy, mine, on_remote_wake) == WEIR_SUCCESS)
        return WEIR_WAIT;
    return without_redis(request, policy, mine);
}

static void stop(void *self)
{
    remote_stop(self);
    sync_stop(self);
}

static int start(void *self)
{
    rate_limiting *policy = self;
    if ((!policy->is_remote || remote_start(policy) == 0) &&
        (!policy->is_synced || sync_start(policy) == 0))
        return 0;
    stop(self); /* nobody calls it after a start that failed */
    return -1;
}

WEIR_PLUGIN("rate-limiting", "1.1.0", WEIR_CAP_SHARED_MEMORY | WEIR_CAP_NETWORK, .priority = 910,
            .flags = WEIR_PLUGIN_LAYERED, WEIR_SELF(rate_limiting), WEIR_CONTEXT(per_request),
            WEIR_FIELDS(fields), .configure = configure, .start = start, .stop = stop,
            .access = on_access, .response_headers = add_headers);
