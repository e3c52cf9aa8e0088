#include "admin/admin.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "plugin_host/metrics.h"
#include "talk.h"

/* A gateway that exists as shared memory alone: what the documents are made of. */
struct instance {
    struct loop *loop;
    struct shared *shared;
    struct admin *admin;
    int fds[2]; /* by enum admin_kind */
};

static void instance_start(struct instance *instance)
{
    instance->loop = loop_create();
    instance->shared = shared_create(1 << 20, 2);
    cr_assert(instance->loop != NULL && instance->shared != NULL);
    struct gateway_facts *facts = shared_facts(instance->shared);
    facts->ready = 1;
    facts->workers = 2;
    facts->routes = 7;
    facts->worker_restarts = 3;
    facts->swaps = 5;
    facts->rollbacks = 6;
    facts->swap_failures = 7;
    memcpy(facts->config_hash, "0123456789abcdef0123456789abcdef", 32);
    for (uint32_t i = 0; i < 2; i++) {
        struct worker_slot *slot = shared_worker(instance->shared, i);
        slot->pid = i == 0 ? getpid() : 0;
        slot->state = WORKER_READY;
        slot->generation = 4;
        slot->accepted = 10 + i;
        slot->requests = 100 + i;
        slot->connections = 2;
    }
    const struct admin_options options = {
        .loop = instance->loop, .gateway = NULL, .shared = instance->shared, .worker = 0};
    instance->admin = admin_create(&options);
    cr_assert_not_null(instance->admin);
    for (int kind = 0; kind < 2; kind++) {
        instance->fds[kind] = talk_listen();
        cr_assert_eq(
            admin_listen(instance->admin, instance->fds[kind], (enum admin_kind)kind, NULL),
            WEIR_OK);
    }
}

static void instance_stop(struct instance *instance)
{
    admin_destroy(instance->admin);
    loop_destroy(instance->loop);
    shared_destroy(instance->shared);
    for (int kind = 0; kind < 2; kind++)
        (void)close(instance->fds[kind]);
}

/* The answer as it came, freed by the caller. */
static char *ask(struct instance *instance, enum admin_kind kind, const char *method,
                 const char *target)
{
    AUTO_BUF request = BUF_INIT;
    buf_printf(&request, "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", method, target);
    char *got = talk(instance->loop, instance->fds[kind], buf_view(&request), request.size);
    cr_assert_not_null(got, "%s %s is not answered", method, target);
    return got;
}

static const char *body_of(const char *answer)
{
    const char *at = strstr(answer, "\r\n\r\n");
    cr_assert_not_null(at);
    return at + 4;
}

Test(admin, every_path_has_its_listener)
{
    static const struct {
        const char *why;
        enum admin_kind kind;
        const char *method, *target;
        int status;
    } rows[] = {
        {"status", ADMIN_STATUS, "GET", "/status", 200},
        {"a trailing slash is accepted", ADMIN_STATUS, "GET", "/status/", 200},
        {"a query is ignored", ADMIN_STATUS, "GET", "/status?unit=k", 200},
        {"ready", ADMIN_STATUS, "GET", "/status/ready", 200},
        {"live", ADMIN_STATUS, "GET", "/status/live", 200},
        {"metrics", ADMIN_STATUS, "GET", "/metrics", 200},
        {"HEAD", ADMIN_STATUS, "HEAD", "/status", 200},
        {"the root is the admin's", ADMIN_STATUS, "GET", "/", 404},
        {"the root", ADMIN_ADMIN, "GET", "/", 200},
        {"status on admin too", ADMIN_ADMIN, "GET", "/status", 200},
        {"metrics on admin too", ADMIN_ADMIN, "GET", "/metrics", 200},
        {"ready is the status listener's", ADMIN_ADMIN, "GET", "/status/ready", 404},
        {"unknown", ADMIN_ADMIN, "GET", "/nope", 404},
        {"unknown, whatever the method", ADMIN_ADMIN, "POST", "/nope", 404},
        {"nobody is there to take orders", ADMIN_ADMIN, "POST", "/weir/reload", 503},
        {"orders are the admin's", ADMIN_STATUS, "POST", "/weir/reload", 404},
        {"nothing is written here", ADMIN_ADMIN, "POST", "/status", 405},
        {"nor deleted", ADMIN_STATUS, "DELETE", "/metrics", 405},
    };
    struct instance instance;
    instance_start(&instance);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *got = ask(&instance, rows[i].kind, rows[i].method, rows[i].target);
        char want[16];
        (void)snprintf(want, sizeof(want), "HTTP/1.1 %d ", rows[i].status);
        cr_expect(strncmp(got, want, strlen(want)) == 0, "%s: %.60s", rows[i].why, got);
        if (rows[i].status == 404)
            cr_expect_str_eq(body_of(got), "{\"message\":\"Not found\"}", "%s", rows[i].why);
        if (rows[i].status == 405)
            cr_expect_not_null(strstr(got, "\r\nAllow: GET, HEAD\r\n"), "%s", rows[i].why);
        free(got);
    }
    instance_stop(&instance);
}

Test(admin, ready_means_serving_and_not_draining)
{
    static const struct {
        const char *why;
        uint32_t ready, draining;
        const char *status, *body;
    } rows[] = {
        {"serving", 1, 0, "HTTP/1.1 200 ", "{\"message\":\"ready\"}"},
        {"starting", 0, 0, "HTTP/1.1 503 ", "{\"message\":\"not every worker serves yet\"}"},
        {"stopping", 1, 1, "HTTP/1.1 503 ", "{\"message\":\"draining\"}"},
    };
    struct instance instance;
    instance_start(&instance);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        shared_facts(instance.shared)->ready = rows[i].ready;
        shared_facts(instance.shared)->draining = rows[i].draining;
        char *got = ask(&instance, ADMIN_STATUS, "GET", "/status/ready");
        cr_expect(strncmp(got, rows[i].status, 13) == 0, "%s: %.60s", rows[i].why, got);
        cr_expect_str_eq(body_of(got), rows[i].body, "%s", rows[i].why);
        free(got);
        got = ask(&instance, ADMIN_STATUS, "GET", "/status/live");
        cr_expect(strncmp(got, "HTTP/1.1 200 ", 13) == 0, "%s: alive all the same", rows[i].why);
        free(got);
    }
    instance_stop(&instance);
}

Test(admin, builds_in_quarantine_are_named)
{
    struct instance instance;
    instance_start(&instance);
    struct gateway_facts *facts = shared_facts(instance.shared);
    facts->quarantined = 10; /* two more than there is room for */
    for (size_t i = 0; i < COUNT_OF(facts->quarantine); i++) {
        (void)snprintf(facts->quarantine[i].plugin, sizeof(facts->quarantine[i].plugin), "p%zu", i);
        (void)snprintf(facts->quarantine[i].version, sizeof(facts->quarantine[i].version), "1.0");
        memset(facts->quarantine[i].hash, 'f', sizeof(facts->quarantine[i].hash)); /* torn */
        (void)snprintf(facts->quarantine[i].why, sizeof(facts->quarantine[i].why), "\"why\"");
    }
    char *got = ask(&instance, ADMIN_STATUS, "GET", "/status/ready");
    cr_expect(strncmp(got, "HTTP/1.1 200 ", 13) == 0, "the rest is served: %.60s", got);
    cr_expect_not_null(strstr(got, "{\"message\":\"ready\",\"quarantined\":[\"p0 1.0 (build "
                                   "fffffffffffffff)\",\"p1 1.0 (build"),
                       "%s", got);
    free(got);
    got = ask(&instance, ADMIN_STATUS, "GET", "/status");
    cr_expect_not_null(
        strstr(got, "\"quarantine\":{\"count\":10,\"builds\":[{\"plugin\":\"p0\",\"version\":"
                    "\"1.0\",\"build\":\"fffffffffffffff\",\"why\":\"\\\"why\\\"\"}"),
        "%s", got);
    free(got);
    got = ask(&instance, ADMIN_STATUS, "GET", "/metrics");
    cr_expect_not_null(
        strstr(got, "\nweir_plugin_quarantined{plugin=\"p7\",build=\"fffffffffffffff\"} 1\n"));
    free(got);
    instance_stop(&instance);
}

static double number(const cJSON *root, const char *object, const char *name)
{
    const cJSON *at = cJSON_GetObjectItemCaseSensitive(root, object);
    return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(at, name));
}

Test(admin, status_sums_the_workers)
{
    struct instance instance;
    instance_start(&instance);
    char *got = ask(&instance, ADMIN_STATUS, "GET", "/status");
    cJSON *root = cJSON_Parse(body_of(got));
    cr_assert_not_null(root, "%s", got);
    cr_expect_eq((int)number(root, "server", "connections_accepted"), 21);
    cr_expect_eq((int)number(root, "server", "total_requests"), 201);
    cr_expect_eq((int)number(root, "server", "connections_active"), 4);
    cr_expect_str_eq(
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "configuration_hash")),
        "0123456789abcdef0123456789abcdef", "not terminated in memory, cut here");
    const cJSON *memory = cJSON_GetObjectItemCaseSensitive(root, "memory");
    const cJSON *workers = cJSON_GetObjectItemCaseSensitive(memory, "workers");
    cr_expect_eq(cJSON_GetArraySize(workers), 1, "a slot without process is no worker");
    const cJSON *pid = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(workers, 0), "pid");
    cr_expect_eq((int)cJSON_GetNumberValue(pid), getpid());
    cJSON_Delete(root);
    free(got);
    instance_stop(&instance);
}

Test(admin, metrics_have_kongs_names_and_ours)
{
    static const char *const lines[] = {
        "# TYPE kong_nginx_connections_total gauge\n",
        "state=\"accepted\"} 21\n",
        "state=\"total\"} 201\n",
        "subsystem=\"http\"} 201\n",
        "kong_datastore_reachable 1\n",
        "# TYPE weir_worker_restarts_total counter\nweir_worker_restarts_total 3\n",
        "weir_entities{kind=\"routes\"} 7\n",
        "weir_worker_generation{worker=\"0\"} 4\n",
        "weir_workers 1\n",
        "weir_worker_requests_total{worker=\"0\"} 100\n",
        "weir_metric_series_limit 10000\n",
        "# TYPE process_cpu_seconds_total counter\n",
        "# TYPE weir_plugin_swaps_total counter\nweir_plugin_swaps_total 5\n",
        "weir_plugin_rollbacks_total 6\n",
        "weir_plugin_swap_failures_total 7\n",
        "# TYPE process_open_fds gauge\n",
        "process_max_fds ",
        "process_resident_memory_bytes ",
        "process_virtual_memory_bytes ",
        "process_start_time_seconds ",
    };
    struct instance instance;
    instance_start(&instance);
    char *got = ask(&instance, ADMIN_ADMIN, "GET", "/metrics");
    cr_expect_not_null(strstr(got, "Content-Type: text/plain; charset=UTF-8\r\n"));
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        cr_expect_not_null(strstr(got, lines[i]), "no line: %s", lines[i]);
    cr_expect_null(strstr(got, "weir_worker_generation{worker=\"1\"}"),
                   "a slot without process shows nothing");
    free(got);
    instance_stop(&instance);
}

Test(admin, root_says_who_it_is_without_a_generation)
{
    struct instance instance;
    instance_start(&instance);
    char *got = ask(&instance, ADMIN_ADMIN, "GET", "/");
    cJSON *root = cJSON_Parse(body_of(got));
    cr_assert_not_null(root, "%s", got);
    cr_expect_str_eq(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "tagline")),
                     "Welcome to weir");
    cr_expect(cJSON_IsString(cJSON_GetObjectItemCaseSensitive(root, "version")));
    cJSON_Delete(root);
    free(got);
    instance_stop(&instance);
}

/* Families of the node and of policies, in one order; a policy cannot say one of the node's twice.
 */
Test(admin, families_are_sorted_and_said_once)
{
    static const char *const names[] = {"aaa_total", "kong_http_requests_total", "kong_node_info",
                                        "weir_workers", "zzz_total"};
    char why[128];
    struct instance instance;
    instance_start(&instance);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        weir_metric *metric =
            metric_open(instance.shared, 0, WEIR_METRIC_COUNTER, span_text(names[i]), SPAN("h"),
                        NULL, NULL, 0, why, sizeof(why));
        cr_assert_not_null(metric, "%s", why);
        metric_add(metric, NULL, 77);
        metric_close(metric);
    }
    char *got = ask(&instance, ADMIN_STATUS, "GET", "/metrics");
    const char *at = body_of(got);
    char last[128] = "", name[128];
    unsigned families = 0;
    for (; (at = strstr(at, "# TYPE ")) != NULL; at++, families++) {
        cr_assert_eq(sscanf(at, "# TYPE %127s", name), 1);
        cr_expect_lt(strcmp(last, name), 0, "%s comes after %s", name, last);
        (void)snprintf(last, sizeof(last), "%s", name);
    }
    cr_expect_gt(families, 40);
    cr_expect_str_eq(last, "zzz_total");
    cr_expect_not_null(strstr(got, "\naaa_total 77\n"));
    cr_expect_not_null(strstr(got, "\nkong_http_requests_total 77\n"));
    cr_expect_null(strstr(got, "\nkong_node_info 77\n"));
    cr_expect_null(strstr(got, "\nweir_workers 77\n"));
    free(got);
    instance_stop(&instance);
}

/* Of this process: worker 0 of the fixture, and the one who made the region. */
Test(admin, processes_are_counted_once)
{
    struct instance instance;
    instance_start(&instance);
    char *got = ask(&instance, ADMIN_STATUS, "GET", "/metrics");
    const char *at = strstr(got, "\nprocess_open_fds ");
    cr_assert_not_null(at);
    unsigned long said = strtoul(at + sizeof("\nprocess_open_fds ") - 1, NULL, 10);
    cr_expect(said >= 3 && said < 60, "%lu descriptors", said);
    at = strstr(got, "\nprocess_resident_memory_bytes ");
    cr_assert_not_null(at);
    said = strtoul(at + sizeof("\nprocess_resident_memory_bytes ") - 1, NULL, 10);
    cr_expect(said > 100000, "%lu bytes", said);
    free(got);
    instance_stop(&instance);
}

/* What has many series comes in many chunks, and all of it. */
Test(admin, a_long_scrape_comes_in_pieces)
{
    static const char *const labels[] = {"n", NULL};
    char why[128], text[16];
    struct instance instance;
    instance_start(&instance);
    weir_metric *metric = metric_open(instance.shared, 0, WEIR_METRIC_COUNTER, SPAN("many_total"),
                                      SPAN("h"), labels, NULL, 0, why, sizeof(why));
    cr_assert_not_null(metric, "%s", why);
    for (int i = 0; i < 5000; i++) {
        int size = snprintf(text, sizeof(text), "s%d", i);
        const weir_str value = {text, (size_t)size};
        metric_add(metric, &value, 1);
    }
    metric_close(metric);
    char *got = ask(&instance, ADMIN_STATUS, "GET", "/metrics");
    unsigned lines = 0, chunks = 0;
    for (const char *at = got; (at = strstr(at, "\nmany_total{n=\"s")) != NULL; at++)
        lines++;
    for (const char *at = got; (at = strstr(at, "\r\n0000")) != NULL; at++)
        chunks++;
    cr_expect_eq(lines, 5000, "%u series", lines);
    cr_expect_gt(chunks, 3, "%u chunks", chunks);
    cr_expect_not_null(strstr(got, "\r\n0\r\n\r\n"));
    free(got);
    instance_stop(&instance);
}
