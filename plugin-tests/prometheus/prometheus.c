/* Which series a request adds to. Dashboards made for Kong look for exactly these. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <weir_testkit.h>

static char yaml[2048];

static struct kit *open_kit(const char *config)
{
    (void)snprintf(yaml, sizeof(yaml),
                   "_format_version: '3.0'\n"
                   "services:\n"
                   "- {name: s, url: http://t, routes: [{name: r, paths: [/]},\n"
                   "   {id: 6f47ee5d-6e3d-5896-af17-83f4860f9b83, paths: [/x]}]}\n"
                   "consumers: [{username: ann, keyauth_credentials: [{key: k}]}]\n"
                   "plugins: [{name: prometheus, config: {%s}}, {name: key-auth, route: r,\n"
                   "           config: {anonymous: ann}, enabled: %s}]\n",
                   config, strstr(config, "per_consumer") != NULL ? "true" : "false");
    struct kit *kit = kit_open(yaml);
    cr_assert_not_null(kit, "%s", kit_error());
    return kit;
}

static void expect_line(struct kit *kit, const char *line)
{
    char whole[512];
    const char *metrics = kit_metrics(kit);
    (void)snprintf(whole, sizeof(whole), "%s\n", line);
    cr_expect_not_null(strstr(metrics, whole), "no %s in\n%s", line, metrics);
}

static void expect_none(struct kit *kit, const char *part)
{
    const char *metrics = kit_metrics(kit);
    cr_expect_null(strstr(metrics, part), "%s in\n%s", part, metrics);
}

TestSuite(prometheus, .timeout = 60);

Test(prometheus, everything_is_off_by_default)
{
    struct kit *kit = open_kit("");
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    expect_none(kit, "kong_http_requests_total");
    expect_none(kit, "kong_bandwidth_bytes");
    expect_none(kit, "latency_ms");
    kit_close(kit);
}

Test(prometheus, requests_by_status_and_source)
{
    struct kit *kit = open_kit("status_code_metrics: true");
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_target_response(r, 500, "no");
    cr_expect_eq(kit_run(r), 500);
    r = kit_request_new(kit, "GET", "/");
    kit_target_fails(r, 502);
    cr_expect_eq(kit_run(r), 502);
    expect_line(kit, "kong_http_requests_total{service=\"s\",route=\"r\",code=\"200\","
                     "source=\"service\",workspace=\"default\",consumer=\"\"} 2");
    expect_line(kit, "kong_http_requests_total{service=\"s\",route=\"r\",code=\"500\","
                     "source=\"service\",workspace=\"default\",consumer=\"\"} 1");
    expect_line(kit, "kong_http_requests_total{service=\"s\",route=\"r\",code=\"502\","
                     "source=\"kong\",workspace=\"default\",consumer=\"\"} 1");
    expect_line(kit, "# TYPE kong_http_requests_total counter");
    expect_none(kit, "kong_bandwidth_bytes");
    kit_close(kit);
}

Test(prometheus, a_route_without_name_goes_by_its_id)
{
    struct kit *kit = open_kit("status_code_metrics: true");
    kit_request *r = kit_request_new(kit, "GET", "/x");
    kit_request_route(r, "6f47ee5d-6e3d-5896-af17-83f4860f9b83");
    cr_expect_eq(kit_run(r), 200);
    expect_line(kit, "kong_http_requests_total{service=\"s\","
                     "route=\"6f47ee5d-6e3d-5896-af17-83f4860f9b83\",code=\"200\","
                     "source=\"service\",workspace=\"default\",consumer=\"\"} 1");
    kit_close(kit);
}

Test(prometheus, what_has_no_route_is_not_counted)
{
    struct kit *kit =
        open_kit("status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true");
    kit_request *r = kit_request_new(kit, "GET", "/zzz");
    kit_request_route(r, NULL);
    cr_expect_eq(kit_run(r), 404);
    expect_none(kit, "code=\"404\"");
    expect_none(kit, "route=");
    kit_close(kit);
}

Test(prometheus, latencies)
{
    struct kit *kit = open_kit("latency_metrics: true");
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_target_takes(r, 70);
    cr_expect_eq(kit_run(r), 200);
    expect_line(kit, "# TYPE kong_upstream_latency_ms histogram");
    expect_line(kit, "kong_upstream_latency_ms_bucket{service=\"s\",route=\"r\","
                     "workspace=\"default\",le=\"50\"} 0");
    expect_line(kit, "kong_upstream_latency_ms_bucket{service=\"s\",route=\"r\","
                     "workspace=\"default\",le=\"80\"} 1");
    expect_line(kit, "kong_upstream_latency_ms_bucket{service=\"s\",route=\"r\","
                     "workspace=\"default\",le=\"60000\"} 1");
    expect_line(kit, "kong_upstream_latency_ms_sum{service=\"s\",route=\"r\","
                     "workspace=\"default\"} 70");
    expect_line(kit, "kong_request_latency_ms_count{service=\"s\",route=\"r\","
                     "workspace=\"default\"} 1");
    expect_line(kit, "kong_kong_latency_ms_bucket{service=\"s\",route=\"r\","
                     "workspace=\"default\",le=\"1\"} 1");
    expect_line(kit, "kong_kong_latency_ms_bucket{service=\"s\",route=\"r\","
                     "workspace=\"default\",le=\"+Inf\"} 1");
    expect_none(kit, "kong_http_requests_total");
    kit_close(kit);
}

Test(prometheus, bytes)
{
    struct kit *kit = open_kit("bandwidth_metrics: true");
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_body(r, "three");
    cr_expect_eq(kit_run(r), 200);
    static const char ingress[] = "kong_bandwidth_bytes{service=\"s\",route=\"r\","
                                  "direction=\"ingress\",workspace=\"default\",consumer=\"\"} ";
    static const char egress[] = "kong_bandwidth_bytes{service=\"s\",route=\"r\","
                                 "direction=\"egress\",workspace=\"default\",consumer=\"\"} ";
    cr_expect_not_null(strstr(kit_metrics(kit), ingress), "%s", kit_metrics(kit));
    cr_expect_not_null(strstr(kit_metrics(kit), egress), "%s", kit_metrics(kit));
    kit_close(kit);
}

Test(prometheus, consumers_when_asked)
{
    struct kit *kit = open_kit("status_code_metrics: true, bandwidth_metrics: true, "
                               "per_consumer: true");
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "apikey", "k");
    cr_expect_eq(kit_run(r), 200);
    cr_expect_str_eq(kit_consumer(r), "ann");
    expect_line(kit, "kong_http_requests_total{service=\"s\",route=\"r\",code=\"200\","
                     "source=\"service\",workspace=\"default\",consumer=\"ann\"} 1");
    kit_close(kit);
}

Test(prometheus, bytes_in_and_out_are_each_a_series)
{
    struct kit *kit = open_kit("bandwidth_metrics: true");
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_body(r, "three");
    cr_expect_eq(kit_run(r), 200);
    expect_line(kit, "# TYPE kong_bandwidth_bytes counter");
    expect_none(kit, "http_requests_total");
    expect_none(kit, "latency_ms");
    kit_close(kit);
}

Test(prometheus, what_is_no_policys_to_measure_is_accepted)
{
    struct kit *kit =
        open_kit("upstream_health_metrics: true, ai_metrics: true, wasm_metrics: true");
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    expect_none(kit, "kong_upstream_target_health");
    expect_none(kit, "kong_ai_");
    kit_close(kit);
}

/* Which families there are after a request, by flags and names. */
static const struct {
    const char *reason, *config;
    const char *there[6], *absent[6];
} sets[] = {
    {"kong is the default",
     "status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true",
     {"kong_http_requests_total{", "kong_bandwidth_bytes{", "kong_kong_latency_ms_bucket{",
      "kong_upstream_latency_ms_bucket{", "kong_request_latency_ms_bucket{"},
     {"\nhttp_requests_total", "http_active_connections", "_seconds", "rate_limit_hits_total"}},
    {"kong by name",
     "names: kong, status_code_metrics: true",
     {"kong_http_requests_total{"},
     {"\nhttp_requests_total", "http_active_connections"}},
    {"seed: no Kong names",
     "names: seed, status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true",
     {"\nhttp_requests_total{", "http_active_connections{", "http_request_duration_seconds_bucket{",
      "upstream_request_duration_seconds_bucket{"},
     {"kong_http", "kong_bandwidth", "latency_ms"}},
    {"seed: without status codes only durations",
     "names: seed, latency_metrics: true",
     {"http_request_duration_seconds_bucket{"},
     {"http_requests_total", "http_active_connections", "rate_limit_hits_total"}},
    {"seed: without latencies no durations",
     "names: seed, status_code_metrics: true",
     {"http_requests_total{", "http_active_connections{"},
     {"_seconds"}},
    {"both",
     "names: both, status_code_metrics: true, latency_metrics: true",
     {"\nhttp_requests_total{", "kong_http_requests_total{", "http_active_connections{",
      "http_request_duration_seconds_bucket{", "kong_request_latency_ms_bucket{"},
     {"kong_bandwidth"}},
    {"both, all off", "names: both", {NULL}, {"http_", "_ms", "_seconds"}},
};

Test(prometheus, names_and_flags_decide_which_families_there_are)
{
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        struct kit *kit = open_kit(sets[i].config);
        cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
        const char *metrics = kit_metrics(kit);
        for (size_t k = 0; k < 6 && sets[i].there[k] != NULL; k++)
            cr_expect_not_null(strstr(metrics, sets[i].there[k]), "%s: no %s in\n%s",
                               sets[i].reason, sets[i].there[k], metrics);
        for (size_t k = 0; k < 6 && sets[i].absent[k] != NULL; k++)
            cr_expect_null(strstr(metrics, sets[i].absent[k]), "%s: %s in\n%s", sets[i].reason,
                           sets[i].absent[k], metrics);
        kit_close(kit);
    }
}

Test(prometheus, the_seeds_labels_and_buckets)
{
    struct kit *kit = open_kit("names: seed, status_code_metrics: true, latency_metrics: true");
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_target_takes(r, 70);
    cr_expect_eq(kit_run(r), 200);
    r = kit_request_new(kit, "BREW", "/"); /* made-up methods make no series of their own */
    cr_expect_eq(kit_run(r), 200);
    r = kit_request_new(kit, "GET", "/");
    kit_target_fails(r, 504);
    cr_expect_eq(kit_run(r), 504);
    expect_line(kit, "http_requests_total{method=\"POST\",route=\"r\",status_code=\"200\","
                     "service=\"s\"} 1");
    expect_line(kit, "http_requests_total{method=\"OTHER\",route=\"r\",status_code=\"200\","
                     "service=\"s\"} 1");
    expect_line(kit, "http_requests_total{method=\"GET\",route=\"r\",status_code=\"504\","
                     "service=\"s\"} 1");
    expect_line(kit, "http_request_duration_seconds_bucket{method=\"POST\",route=\"r\","
                     "status_code=\"200\",service=\"s\",le=\"0.05\"} 0");
    expect_line(kit, "http_request_duration_seconds_bucket{method=\"POST\",route=\"r\","
                     "status_code=\"200\",service=\"s\",le=\"0.1\"} 1");
    expect_line(kit, "http_request_duration_seconds_sum{method=\"POST\",route=\"r\","
                     "status_code=\"200\",service=\"s\"} 0.07");
    expect_line(kit, "upstream_request_duration_seconds_bucket{service=\"s\",status_code=\"200\","
                     "le=\"0.05\"} 1");
    expect_line(kit, "upstream_request_duration_seconds_bucket{service=\"s\",status_code=\"200\","
                     "le=\"5\"} 2");
    expect_line(kit, "# TYPE http_active_connections gauge");
    expect_line(kit, "http_active_connections{service=\"s\"} 0");
    expect_none(kit, "rate_limit_hits_total{");
    kit_close(kit);
}

Test(prometheus, a_request_whose_client_leaves_is_active_no_more)
{
    struct kit *kit =
        kit_open("_format_version: '3.0'\n"
                 "services: [{name: s, url: http://t, routes: [{name: r, paths: [/]}]}]\n"
                 "plugins: [{name: prometheus, config: {names: both, status_code_metrics: true}},\n"
                 "  {name: key-auth, config: {key_in_body: true, key_in_header: false, "
                 "key_in_query: false},\n"
                 "   ordering: {after: {access: [prometheus]}}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_header(r, "Content-Type", "application/json");
    kit_request_body(r, "{}");
    kit_hold_body(r);
    cr_expect_eq(kit_run(r), 0);
    expect_line(kit, "http_active_connections{service=\"s\"} 1");
    kit_abort(r);
    expect_line(kit, "http_active_connections{service=\"s\"} 0");
    expect_line(kit, "kong_http_requests_total{service=\"s\",route=\"r\",code=\"499\","
                     "source=\"kong\",workspace=\"default\",consumer=\"\"} 1");
    kit_close(kit);
}

Test(prometheus, requests_refused_by_a_limit_are_hits_of_their_client)
{
    struct kit *kit = kit_open(
        "_format_version: '3.0'\n"
        "services: [{name: s, url: http://t, routes: [{name: r, paths: [/]}]}]\n"
        "consumers: [{username: ann, keyauth_credentials: [{key: k}]}, {username: guest}]\n"
        "plugins: [{name: prometheus, config: {names: seed, status_code_metrics: true}},\n"
        "  {name: key-auth, config: {anonymous: guest}, enabled: false},\n"
        "  {name: rate-limiting, config: {minute: 1, policy: local, limit_by: ip}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    for (int i = 0; i < 3; i++) {
        kit_request *r = kit_request_new(kit, "GET", "/");
        kit_request_client_ip(r, "192.0.2.7");
        cr_expect_eq(kit_run(r), i == 0 ? 200 : 429);
    }
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_client_ip(r, "192.0.2.8");
    kit_target_response(r, 429, "not ours");
    cr_expect_eq(kit_run(r), 429);
    expect_line(kit, "rate_limit_hits_total{client_id=\"192.0.2.7\",route=\"r\"} 2");
    expect_none(kit, "192.0.2.8"); /* the service's own refusal is no hit of a limit here */
    kit_close(kit);
}

Test(prometheus, a_known_consumer_is_the_client_of_a_limit)
{
    struct kit *kit = kit_open(
        "_format_version: '3.0'\n"
        "services: [{name: s, url: http://t, routes: [{name: r, paths: [/]}]}]\n"
        "consumers: [{username: ann, keyauth_credentials: [{key: k}]}]\n"
        "plugins: [{name: prometheus, config: {names: both, status_code_metrics: true}},\n"
        "  {name: key-auth}, {name: rate-limiting, config: {minute: 1, policy: local}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    for (int i = 0; i < 2; i++) {
        kit_request *r = kit_request_new(kit, "GET", "/");
        kit_request_header(r, "apikey", "k");
        cr_expect_eq(kit_run(r), i == 0 ? 200 : 429);
    }
    expect_line(kit, "rate_limit_hits_total{client_id=\"ann\",route=\"r\"} 1");
    expect_line(kit, "kong_http_requests_total{service=\"s\",route=\"r\",code=\"429\","
                     "source=\"kong\",workspace=\"default\",consumer=\"\"} 1");
    kit_close(kit);
}

Test(prometheus, a_service_without_name_goes_by_its_host)
{
    struct kit *kit =
        kit_open("_format_version: '3.0'\n"
                 "services: [{url: http://orders.test:81, routes: [{name: r, paths: [/]}]}]\n"
                 "plugins: [{name: prometheus, config: {status_code_metrics: true}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    expect_line(kit, "kong_http_requests_total{service=\"orders.test\",route=\"r\",code=\"200\","
                     "source=\"service\",workspace=\"default\",consumer=\"\"} 1");
    kit_close(kit);
}

Test(prometheus, a_route_without_service)
{
    struct kit *kit = kit_open("_format_version: '3.0'\n"
                               "routes: [{name: r, paths: [/]}]\n"
                               "plugins: [{name: key-auth},\n"
                               "  {name: prometheus, config: {status_code_metrics: true}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 401);
    expect_line(kit, "kong_http_requests_total{service=\"\",route=\"r\",code=\"401\","
                     "source=\"kong\",workspace=\"default\",consumer=\"\"} 1");
    kit_close(kit);
}

Test(prometheus, own_buckets)
{
    struct kit *kit = open_kit(
        "names: both, latency_metrics: true, buckets: {kong_latency_ms: [0.5, 4], "
        "upstream_latency_ms: [10, 75], request_latency_ms: [33], "
        "http_request_duration_seconds: [0.3], upstream_request_duration_seconds: [0.07, 7]}");
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_target_takes(r, 70);
    cr_expect_eq(kit_run(r), 200);
    static const char *const lines[] = {
        "kong_kong_latency_ms_bucket{service=\"s\",route=\"r\",workspace=\"default\",le=\"0.5\"} 1",
        "kong_kong_latency_ms_bucket{service=\"s\",route=\"r\",workspace=\"default\",le=\"4\"} 1",
        "kong_upstream_latency_ms_bucket{service=\"s\",route=\"r\",workspace=\"default\","
        "le=\"10\"} 0",
        "kong_upstream_latency_ms_bucket{service=\"s\",route=\"r\",workspace=\"default\","
        "le=\"75\"} 1",
        "kong_request_latency_ms_bucket{service=\"s\",route=\"r\",workspace=\"default\","
        "le=\"33\"} 0",
        "http_request_duration_seconds_bucket{method=\"GET\",route=\"r\",status_code=\"200\","
        "service=\"s\",le=\"0.3\"} 1",
        "upstream_request_duration_seconds_bucket{service=\"s\",status_code=\"200\",le=\"0.07\"} 1",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        expect_line(kit, lines[i]);
    expect_none(kit, "le=\"1\"}");
    expect_none(kit, "le=\"60000\"}");
    kit_close(kit);
}

/* Kong's, to the last: dashboards compute quantiles of them. */
Test(prometheus, the_default_buckets_are_kongs)
{
    static const struct {
        const char *family;
        double le[20];
    } rows[] = {
        {"kong_kong_latency_ms",
         {1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000}},
        {"kong_upstream_latency_ms",
         {25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}},
        {"kong_request_latency_ms",
         {25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}},
        {"http_request_duration_seconds",
         {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}},
        {"upstream_request_duration_seconds", {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}},
    };
    struct kit *kit = open_kit("names: both, latency_metrics: true");
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char part[128];
        (void)snprintf(part, sizeof(part), "\n%s_bucket{", rows[i].family);
        const char *at = kit_metrics(kit);
        for (size_t k = 0; rows[i].le[k] > 0; k++) {
            char wanted[48];
            at = strstr(at, part);
            cr_assert_not_null(at, "%s has %zu buckets", rows[i].family, k);
            at++;
            (void)snprintf(wanted, sizeof(wanted), "le=\"%.15g\"}", rows[i].le[k]);
            const char *end = strchr(at, '\n');
            const char *le = strstr(at, wanted);
            cr_expect(le != NULL && le < end, "%s: no %s", rows[i].family, wanted);
        }
        at = strstr(at, part);
        cr_assert(at != NULL && strstr(at, "le=\"+Inf\"}") < strchr(at + 1, '\n'), "%s",
                  rows[i].family);
        cr_expect_null(strstr(at + 1, part), "%s: a bucket too many", rows[i].family);
    }
    kit_close(kit);
}

Test(prometheus, labels_are_escaped)
{
    struct kit *kit =
        kit_open("_format_version: '3.0'\n"
                 "services: [{name: s, url: http://t, routes: [{name: r, paths: [/]}]}]\n"
                 "consumers: [{username: \"a\\\"b\\\\c\", keyauth_credentials: [{key: k}]}]\n"
                 "plugins: [{name: key-auth}, {name: prometheus,\n"
                 "  config: {status_code_metrics: true, per_consumer: true}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "apikey", "k");
    cr_expect_eq(kit_run(r), 200);
    expect_line(kit, "kong_http_requests_total{service=\"s\",route=\"r\",code=\"200\","
                     "source=\"service\",workspace=\"default\",consumer=\"a\\\"b\\\\c\"} 1");
    kit_close(kit);
}

/* 10,000 clients may have a series each; whoever comes then shares one. */
Test(prometheus, series_beyond_the_budget_share_one)
{
    struct kit *kit = kit_open(
        "_format_version: '3.0'\n"
        "services: [{name: s, url: http://t, routes: [{name: r, paths: [/]}]}]\n"
        "plugins: [{name: prometheus, config: {names: seed, status_code_metrics: true}},\n"
        "  {name: rate-limiting, config: {minute: 1, policy: local, limit_by: service}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    for (int i = 0; i <= 10003; i++) {
        char ip[32];
        (void)snprintf(ip, sizeof(ip), "10.0.%d.%d", i / 256, i % 256);
        kit_request *r = kit_request_new(kit, "GET", "/");
        kit_request_client_ip(r, ip);
        (void)kit_run(r);
        kit_request_free(r);
    }
    expect_line(kit, "rate_limit_hits_total{client_id=\"overflow\",route=\"overflow\"} 3");
    expect_line(kit, "rate_limit_hits_total{client_id=\"10.0.0.1\",route=\"r\"} 1");
    kit_close(kit);
}

/* With a limit each policy brings a family up to that, whatever others do. */
Test(prometheus, the_series_limit_is_a_field)
{
    struct kit *kit = NULL;
    int next = 0;
    static const struct {
        int limit, clients;
        const char *overflow; /* so far */
    } rows[] = {{3, 5, "2"}, {10, 6, "2"}, {10, 3, "5"}, {2, 1, "6"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char line[128];
        (void)snprintf(
            yaml, sizeof(yaml),
            "_format_version: '3.0'\n"
            "services: [{name: s, url: http://t, routes: [{name: r, paths: [/]}]}]\n"
            "plugins: [{name: prometheus, config: {names: seed, status_code_metrics: true,\n"
            "  series_limit: %d}},\n"
            "  {name: rate-limiting, config: {minute: 1, policy: local, limit_by: service}}]\n",
            rows[i].limit);
        if (kit == NULL)
            kit = kit_open(yaml);
        else
            cr_assert(kit_reload(kit, yaml), "%s", kit_error());
        cr_assert_not_null(kit, "%s", kit_error());
        if (i == 0) /* the one request of this minute that is let through */
            cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
        for (int client = 0; client < rows[i].clients; client++) {
            char ip[32];
            (void)snprintf(ip, sizeof(ip), "10.0.0.%d", next++);
            kit_request *r = kit_request_new(kit, "GET", "/");
            kit_request_client_ip(r, ip);
            cr_expect_eq(kit_run(r), 429);
        }
        (void)snprintf(line, sizeof(line),
                       "rate_limit_hits_total{client_id=\"overflow\",route=\"overflow\"} %s",
                       rows[i].overflow);
        expect_line(kit, line);
    }
    kit_close(kit);
}

static const char *bucket_config(const char *bounds, const char *more)
{
    (void)snprintf(yaml, sizeof(yaml),
                   "_format_version: '3.0'\n"
                   "services: [{name: s, url: http://t, routes: [{name: r, paths: [/]}]}]\n"
                   "plugins: [{name: prometheus, config: {latency_metrics: true,\n"
                   "  buckets: {request_latency_ms: %s}}}%s]\n",
                   bounds, more);
    return yaml;
}

#define BUCKET(le)                                                                                 \
    "kong_request_latency_ms_bucket{service=\"s\",route=\"r\",workspace=\"default\",le=\"" le "\"" \
    "}"
#define COUNT "kong_request_latency_ms_count{service=\"s\",route=\"r\",workspace=\"default\"}"

Test(prometheus, changed_buckets_take_effect_at_a_reload)
{
    struct kit *kit = kit_open(bucket_config("[10, 20]", ""));
    cr_assert_not_null(kit, "%s", kit_error());
    for (int i = 0; i < 3; i++)
        cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    expect_line(kit, BUCKET("20") " 3");
    cr_assert(kit_reload(kit, bucket_config("[30]", "")), "%s", kit_error());
    expect_line(kit, COUNT " 3"); /* until something is counted in the new ones */
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    expect_line(kit, BUCKET("30") " 1");
    expect_line(kit, COUNT " 1");
    expect_none(kit, BUCKET("20"));
    expect_line(kit, "kong_upstream_latency_ms_count{service=\"s\",route=\"r\","
                     "workspace=\"default\"} 4"); /* its buckets are the same */
    /* And back: that is a change, too. */
    cr_assert(kit_reload(kit, bucket_config("[10, 20]", "")), "%s", kit_error());
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    expect_line(kit, BUCKET("20") " 1");
    expect_line(kit, COUNT " 1");
    /* The same again is none. */
    cr_assert(kit_reload(kit, bucket_config("[10, 20]", "")), "%s", kit_error());
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    expect_line(kit, COUNT " 2");
    kit_close(kit);
}

Test(prometheus, a_refused_reload_leaves_the_buckets)
{
    struct kit *kit = kit_open(bucket_config("[10]", ""));
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    /* The second policy refuses when the first has opened its metrics already. */
    cr_expect_not(kit_reload(kit, bucket_config("[30]", ", {name: prometheus, route: r, config: "
                                                        "{buckets: {kong_latency_ms: [2, 1]}}}")));
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    expect_line(kit, BUCKET("10") " 2");
    expect_none(kit, BUCKET("30"));
    kit_close(kit);
}

Test(prometheus, two_policies_cannot_have_two_layouts)
{
    static const struct {
        const char *reason, *second;
        bool good;
    } rows[] = {
        {"the same", "{latency_metrics: true, buckets: {request_latency_ms: [10]}}", true},
        {"others", "{latency_metrics: true, buckets: {request_latency_ms: [11]}}", false},
        {"one more", "{latency_metrics: true, buckets: {request_latency_ms: [10, 11]}}", false},
        {"the usual ones are others", "{latency_metrics: true}", false},
        {"not counted, so not compared", "{buckets: {request_latency_ms: [11]}}", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char more[256];
        (void)snprintf(more, sizeof(more), ", {name: prometheus, route: r, config: %s}",
                       rows[i].second);
        struct kit *kit = kit_open(bucket_config("[10]", more));
        cr_expect_eq(kit != NULL, rows[i].good, "%s: %s", rows[i].reason, kit_error());
        if (!rows[i].good)
            cr_expect_not_null(strstr(kit_error(), "another policy has it with other buckets"),
                               "%s", kit_error());
        kit_close(kit);
    }
}

Test(prometheus, two_policies_share_the_families)
{
    struct kit *kit = kit_open(
        "_format_version: '3.0'\n"
        "services: [{name: s, url: http://t, routes: [{name: r, paths: [/], plugins:\n"
        "   [{name: prometheus, config: {status_code_metrics: true, bandwidth_metrics: true}}]},\n"
        "   {name: q, paths: [/q]}]}]\n"
        "plugins: [{name: prometheus, config: {status_code_metrics: true}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    kit_request *r = kit_request_new(kit, "GET", "/q");
    kit_request_route(r, "q");
    cr_expect_eq(kit_run(r), 200);
    expect_line(kit, "kong_http_requests_total{service=\"s\",route=\"r\",code=\"200\","
                     "source=\"service\",workspace=\"default\",consumer=\"\"} 1");
    expect_line(kit, "kong_http_requests_total{service=\"s\",route=\"q\",code=\"200\","
                     "source=\"service\",workspace=\"default\",consumer=\"\"} 1");
    expect_none(kit, "kong_bandwidth_bytes{service=\"s\",route=\"q\"");
    kit_close(kit);
}

Test(prometheus, wrong_configurations_are_refused_where_they_are_wrong)
{
    static const struct {
        const char *reason, *config, *why;
    } rows[] = {
        {"no such field", "per_consumers: true", "per_consumers"},
        {"another set of names", "names: both2", "names"},
        {"not a boolean", "latency_metrics: 12", "latency_metrics"},
        {"falling buckets", "buckets: {kong_latency_ms: [5, 1]}", "kong_latency_ms"},
        {"the same twice", "buckets: {request_latency_ms: [5, 5]}", "request_latency_ms"},
        {"no buckets at all", "buckets: {upstream_latency_ms: []}", "upstream_latency_ms"},
        {"text", "buckets: {upstream_latency_ms: [x]}", "upstream_latency_ms"},
        {"no series at all", "series_limit: 0", "series_limit"},
        {"more series than the field allows", "series_limit: 1000001", "series_limit"},
        {"half a series", "series_limit: 1.5", "series_limit"},
        {"too many",
         "buckets: {http_request_duration_seconds: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,"
         "19,20,21,22,23,24,25,26,27,28,29,30,31,32,33]}",
         "at most 32 buckets, got 33"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)snprintf(yaml, sizeof(yaml),
                       "_format_version: '3.0'\nplugins: [{name: prometheus, config: {%s}}]\n",
                       rows[i].config);
        struct kit *kit = kit_open(yaml);
        cr_expect_null(kit, "%s", rows[i].reason);
        cr_expect_not_null(strstr(kit_error(), rows[i].why), "%s: %s", rows[i].reason, kit_error());
        kit_close(kit);
    }
}

Test(prometheus, the_example_of_the_readme_works)
{
    struct kit *kit = kit_open_markdown("plugins/prometheus/README.md");
    cr_assert_not_null(kit, "%s", kit_error());
    cr_expect_str_empty(kit_warnings());
    kit_close(kit);
}
