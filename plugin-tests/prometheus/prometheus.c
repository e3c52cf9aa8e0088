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

Test(prometheus, what_cannot_be_measured_yet_is_accepted)
{
    struct kit *kit =
        open_kit("upstream_health_metrics: true, ai_metrics: true, wasm_metrics: true");
    cr_expect_eq(kit_run(kit_request_new(kit, "GET", "/")), 200);
    expect_none(kit, "kong_upstream_target_health");
    kit_close(kit);
    cr_expect_null(kit_open("_format_version: '3.0'\n"
                            "plugins: [{name: prometheus, config: {per_consumers: true}}]\n"));
}
