#!/usr/bin/env python3
"""/metrics of a running weir with the prometheus policy: Kong's names and the seed's, target health,
processes, what promtool says, and that a scrape in the middle of traffic holds nobody up."""
import os
import re
import shutil
import signal
import subprocess
import threading

from lib_weir import Upstream, Weir, answer_all, read_request, reply, run_tests, service, wait_for

ALL = "per_consumer: true, status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true"
CONSUMER = "consumers: [{username: ann, keyauth_credentials: [{key: k}]}]\n"


def prometheus(config):
    return "plugins:\n- {name: prometheus, config: {%s}}\n" % config


def scrape(weir, port=None):
    response = weir.get("/metrics", port or weir.status)
    assert response.status == 200 and response.complete
    assert response.get("Content-Type") == "text/plain; charset=UTF-8", response.headers
    assert response.get("Transfer-Encoding") == "chunked", response.headers
    return response.body.decode()


def value(text, name):
    """Of the one sample whose name and labels begin so; None: there is none."""
    for line in text.splitlines():
        if line.startswith(name) and line[len(name):len(name) + 1] in (" ", "{", ",", "}"):
            return float(line.rsplit(" ", 1)[1])
    return None


def families(text):
    return re.findall(r"^# TYPE (\S+) ", text, re.M)


def check_form(text):
    names = families(text)
    assert names == sorted(names) and len(set(names)) == len(names), names
    assert re.findall(r"^# HELP (\S+) ", text, re.M) == names
    current = ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            current = line.split(" ")[2]
        elif not line.startswith("#"):
            name = re.match(r"[a-zA-Z_:][a-zA-Z0-9_:]*", line).group()
            assert re.fullmatch(re.escape(current) + "(_bucket|_sum|_count)?", name), line


def check_promtool(text):
    """It must be able to read it all, and may dislike nothing but names that are Kong's."""
    if shutil.which("promtool") is None:
        print("     skipped: no promtool here (Debian package prometheus)")
        return
    run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                         text=True, check=False)
    said = [l for l in (run.stdout + run.stderr).splitlines() if not l.startswith("kong_")]
    assert run.returncode in (0, 3) and not said, said


def test_the_node_says_what_it_is_without_any_policy():
    up = Upstream()
    with Weir(service(up.port), workers=2) as weir:
        weir.get("/a")
        for port in (weir.status, weir.admin):
            text = scrape(weir, port)
            check_form(text)
            check_promtool(text)
            for name in ("kong_datastore_reachable", "kong_node_info", "kong_nginx_requests_total",
                         "kong_nginx_connections_total", "kong_memory_lua_shared_dict_bytes",
                         "kong_memory_lua_shared_dict_total_bytes",
                         "kong_memory_workers_lua_vms_bytes", "process_cpu_seconds_total",
                         "process_resident_memory_bytes", "process_virtual_memory_bytes",
                         "process_open_fds", "process_max_fds", "process_start_time_seconds",
                         "weir_worker_requests_total", "weir_metric_series_limit"):
                assert name in families(text), name
            for name in ("kong_http_requests_total", "kong_upstream_target_health",
                         "kong_nginx_metric_errors_total", "http_requests_total"):
                assert name not in families(text), name
        assert weir.get("/metrics", weir.status, method="HEAD").body == b""


def test_families_of_kong():
    up = Upstream()
    config = service(up.port) + CONSUMER + prometheus(ALL) + "- {name: key-auth}\n"
    with Weir(config, workers=2) as weir:
        for key in ("k", "k", "wrong"):
            weir.get("/a", headers=[("apikey", key)])
        weir.get("/none/of/it", headers=[("Host", "x"), ("apikey", "k")], method="POST")
        wait_for("four requests are counted", lambda: sum(
            float(x) for x in re.findall(r"^kong_http_requests_total{.*} (\d+)$", scrape(weir),
                                         re.M)) == 4)
        text = scrape(weir)
        check_form(text)
        check_promtool(text)
        of = 'kong_http_requests_total{service="s",route="r",code="%s",source="%s",' \
             'workspace="default",consumer="%s"'
        assert value(text, of % (200, "service", "ann")) == 3, text
        assert value(text, of % (401, "kong", "")) == 1, text
        for name in ("kong_kong_latency_ms", "kong_upstream_latency_ms", "kong_request_latency_ms"):
            labels = '{service="s",route="r",workspace="default"'
            assert value(text, f"{name}_count{labels}") == (3 if "upstream" in name else 4), text
            assert value(text, f"{name}_sum{labels}") is not None
            assert value(text, f'{name}_bucket{labels},le="+Inf"') is not None
        for direction in ("ingress", "egress"):
            assert value(text, 'kong_bandwidth_bytes{service="s",route="r",direction="%s",'
                               'workspace="default",consumer="ann"' % direction) > 100, text
        assert value(text, "kong_nginx_metric_errors_total") == 0


def test_families_of_the_seed():
    up = Upstream()
    limit = "- {name: rate-limiting, config: {hour: 2, policy: local, limit_by: ip}}\n"
    with Weir(service(up.port) + prometheus("names: seed, " + ALL) + limit) as weir:
        for _ in range(3):
            weir.get("/a")
        text = wait_for("the refusal is counted", lambda: (lambda t: t if value(
            t, 'rate_limit_hits_total{client_id="127.0.0.1",route="r"') == 1 else None)(scrape(weir)))
        check_form(text)
        check_promtool(text)
        assert not [n for n in families(text) if re.match("kong_(http|bandwidth|.*latency)", n)]
        of = 'http_requests_total{method="GET",route="r",status_code="%d",service="s"'
        assert value(text, of % 200) == 2 and value(text, of % 429) == 1, text
        assert value(text, 'http_request_duration_seconds_count{method="GET",route="r",'
                           'status_code="200",service="s"') == 2
        assert value(text, 'upstream_request_duration_seconds_count{service="s",'
                           'status_code="200"') == 2
        assert value(text, 'http_active_connections{service="s"') == 0


# What a recorded Kong 3.9.3 shows at /metrics without the plugin, and with it as it is by default:
# family, type, labels in order.
RECORDED = [
    ("kong_datastore_reachable", "gauge", ()),
    ("kong_memory_lua_shared_dict_bytes", "gauge", ("node_id", "shared_dict", "kong_subsystem")),
    ("kong_memory_lua_shared_dict_total_bytes", "gauge",
     ("node_id", "shared_dict", "kong_subsystem")),
    ("kong_memory_workers_lua_vms_bytes", "gauge", ("node_id", "pid", "kong_subsystem")),
    ("kong_nginx_connections_total", "gauge", ("node_id", "subsystem", "state")),
    ("kong_nginx_requests_total", "gauge", ("node_id", "subsystem")),
    ("kong_nginx_timers", "gauge", ("state",)),
    ("kong_node_info", "gauge", ("node_id", "version")),
]
WITH_PLUGIN = [("kong_nginx_metric_errors_total", "counter", ())]
NOT_HERE = {"kong_nginx_timers"}  # weir has no timers that compare


def test_families_of_recorded_answers():
    up = Upstream()
    for config, wanted in (("", RECORDED), (prometheus(""), RECORDED + WITH_PLUGIN)):
        with Weir(service(up.port, path="/a") + config) as weir:
            assert weir.get("/a").status == 200 and weir.get("/zzz").status == 404
            for port in (weir.status, weir.admin):
                text = scrape(weir, port)
                kongs = {n for n in families(text) if n.startswith("kong_")}
                assert kongs == {n for n, _, _ in wanted} - NOT_HERE, kongs
                for name, kind, labels in wanted:
                    if name in NOT_HERE:
                        continue
                    assert f"# TYPE {name} {kind}\n" in text, name
                    samples = re.findall(r"^%s(?:{(.*)})? \S+$" % name, text, re.M)
                    assert samples and all(tuple(re.findall(r'(\w+)="', l)) == labels
                                           for l in samples), (name, samples)
                states = re.findall(r'^kong_nginx_connections_total{.*state="(\w+)"}', text, re.M)
                assert states == ["accepted", "active", "handled", "reading", "total", "waiting",
                                  "writing"], states


class Held:
    """An upstream that answers when it is told to."""

    def __init__(self):
        self.go = threading.Event()
        self.up = Upstream(self.serve)

    def serve(self, conn, upstream):
        while read_request(conn, upstream) is not None:
            self.go.wait(30)
            conn.send(reply())


def test_what_is_under_way_is_active_and_dies_with_its_worker():
    held = Held()
    with Weir(service(held.up.port) + prometheus("names: both, status_code_metrics: true")) as weir:
        active = 'http_active_connections{service="s"'
        with weir.connect() as one, weir.connect() as two:
            one.send_request("GET", "/a")
            two.send_request("GET", "/b")
            wait_for("both are active", lambda: value(scrape(weir), active) == 2)
            os.kill(weir.workers()[0], signal.SIGKILL)
            assert one.read_response() is None
        held.go.set()
        wait_for("the new worker answers", lambda: answers(weir))
        wait_for("nothing is active", lambda: value(scrape(weir), active) == 0)


def answers(weir):
    try:
        response = weir.get("/c")
        return response is not None and response.status == 200
    except OSError:
        return False


def test_target_health_comes_and_goes_with_the_flag():
    up = Upstream()
    base = ("services: [{name: s, host: u, routes: [{name: r, paths: [/]}]},\n"
            "  {name: t, host: v, routes: [{name: q, paths: [/bad]}]}]\n"
            f"upstreams: [{{name: u, targets: [{{target: '127.0.0.1:{up.port}'}},\n"
            f"    {{target: 'localhost:{up.port}', weight: 1}}]}},\n"
            "  {name: v, targets: [{target: 'no.such.name.invalid:80'}]}]\n")
    states = ("dns_error", "healthchecks_off", "healthy", "unhealthy")

    def state(text, upstream, target):
        rows = re.findall(r'^kong_upstream_target_health{upstream="%s",target="%s",address="(.*?)",'
                          r'state="(\w+)",subsystem="http"} ([01])$' % (upstream, re.escape(target)),
                          text, re.M)
        assert {r[1] for r in rows} == set(states) and len(rows) % 4 == 0, rows
        assert sum(r[2] == "1" for r in rows) == len(rows) / 4, rows
        return {(r[0], r[1]) for r in rows if r[2] == "1"}

    with Weir(base + prometheus("status_code_metrics: true")) as weir:
        assert "kong_upstream_target_health" not in scrape(weir)
        assert weir.reload(base + prometheus("upstream_health_metrics: true")).returncode == 0
        weir.get("/")
        weir.get("/bad")
        text = wait_for("the bad name is known", lambda: (lambda t: t if 'address="",state="dns_e'
                        in t and ("", "dns_error") in state(t, "v", "no.such.name.invalid:80")
                        else None)(scrape(weir)))
        check_form(text)
        check_promtool(text)
        here = f"127.0.0.1:{up.port}"
        assert state(text, "u", here) == {(here, "healthchecks_off")}, text
        assert (here, "healthchecks_off") in state(text, "u", f"localhost:{up.port}"), text
        # One policy that wants it is enough, a disabled one is none.
        scoped = base + ("plugins:\n- {name: prometheus, config: {}}\n"
                         "- {name: prometheus, route: q, config: {upstream_health_metrics: %s}, "
                         "enabled: %s}\n")
        assert weir.reload(scoped % ("true", "true")).returncode == 0
        assert "kong_upstream_target_health" in scrape(weir)
        assert weir.reload(scoped % ("true", "false")).returncode == 0
        assert "kong_upstream_target_health" not in scrape(weir)


def test_many_targets_are_all_said():
    targets = ", ".join(f"{{target: '127.0.1.{i}:80'}}" for i in range(1, 201))
    config = ("services: [{name: s, host: u, routes: [{name: r, paths: [/]}]}]\n"
              f"upstreams: [{{name: u, targets: [{targets}]}}, {{name: empty}}]\n")
    with Weir(config + prometheus("upstream_health_metrics: true")) as weir:
        text = scrape(weir)
        check_form(text)
        assert len(re.findall(r"^kong_upstream_target_health{.*} 1$", text, re.M)) == 200
        assert len(re.findall(r"^kong_upstream_target_health{.*} 0$", text, re.M)) == 600


def test_processes_are_summed():
    up = Upstream()
    with Weir(service(up.port), workers=2) as weir:
        before = scrape(weir)
        pids = [weir.process.pid, *weir.workers()]
        resident = 0
        for pid in pids:
            with open(f"/proc/{pid}/statm", encoding="ascii") as f:
                resident += int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        said = value(before, "process_resident_memory_bytes")
        assert 0.8 * resident < said < 1.2 * resident, (said, resident)
        # Twice as many: what start-up had still open when it was counted first may be closed by now.
        conns = [weir.connect() for _ in range(40)]
        wait_for("their descriptors are counted", lambda: value(scrape(weir), "process_open_fds") >=
                 value(before, "process_open_fds") + 20)
        for conn in conns:
            conn.sock.close()
        assert value(before, "process_max_fds") >= 3 * 20
        assert value(before, "process_virtual_memory_bytes") > said
        for _ in range(200):
            weir.get("/a")
        assert value(scrape(weir), "process_cpu_seconds_total") > 0
        assert value(before, "process_start_time_seconds") > 1.6e9


def test_traffic_goes_on_while_a_scraper_does_not_read():
    up = Upstream(answer_all)
    routes = "".join(f"  - {{name: route-with-a-rather-long-name-{i:04}, paths: [/r{i:04}]}}\n"
                     for i in range(600))
    config = f"services:\n- name: s\n  url: http://127.0.0.1:{up.port}\n  routes:\n{routes}"
    with Weir(config + prometheus(ALL)) as weir:
        with weir.connect() as conn:
            for i in range(600):
                conn.send_request("GET", f"/r{i:04}")
                assert conn.read_response().status == 200
        whole = scrape(weir)
        assert len(whole) > 3e6, len(whole)
        with weir.connect(weir.status) as scraper:
            scraper.send_request("GET", "/metrics")
            assert scraper.more()
            for _ in range(20):
                assert weir.get("/r0001").status == 200
            assert weir.get("/status/ready", weir.status).status == 200
            # And the scrape is whole when it is read at last.
            response = scraper.read_response()
            assert response.complete and len(families(response.body.decode())) == \
                len(families(whole))
            check_form(response.body.decode())
        check_promtool(whole)


def test_changed_flags_take_effect_at_a_reload():
    up = Upstream()
    with Weir(service(up.port) + prometheus("status_code_metrics: true")) as weir:
        weir.get("/a")
        of = 'kong_http_requests_total{service="s",route="r",code="200"'
        wait_for("it is counted", lambda: value(scrape(weir), of) == 1)
        assert weir.reload(service(up.port) + prometheus("names: seed, status_code_metrics: true")
                           ).returncode == 0
        weir.get("/a")
        wait_for("under the other name", lambda: value(
            scrape(weir), 'http_requests_total{method="GET"') == 1)
        assert value(scrape(weir), of) == 1, "what was counted stays"


def test_changed_buckets_take_effect_at_a_reload():
    up = Upstream()
    name = "kong_request_latency_ms"
    labels = '{service="s",route="r",workspace="default"'

    def with_buckets(bounds, more=""):
        return service(up.port) + prometheus(
            f"latency_metrics: true, buckets: {{request_latency_ms: {bounds}}}") + more

    def bounds(text):
        return re.findall(r'^%s_bucket{.*le="(.*?)"}' % name, text, re.M)

    with Weir(with_buckets("[50000, 60000]"), workers=2) as weir:
        def ask_both_workers():
            """So many connections that each worker has had some."""
            for _ in range(16):
                assert weir.get("/a").status == 200

        ask_both_workers()
        wait_for("they are counted", lambda: value(scrape(weir), f"{name}_count{labels}") == 16)
        # One that is refused changes nothing.
        wrong = with_buckets("[70000]", "- {name: prometheus, route: r, config: {latency_metrics: true}}\n")
        refused = weir.reload(wrong)
        assert refused.returncode != 0, refused
        assert "another policy has it with other buckets" in refused.stdout + refused.stderr, refused
        ask_both_workers()
        wait_for("the old ones go on", lambda: value(scrape(weir), f"{name}_count{labels}") == 32)
        assert bounds(scrape(weir)) == ["50000", "60000", "+Inf"]

        assert "has other buckets now" not in weir.log_text()
        assert weir.reload(with_buckets("[70000]")).returncode == 0
        assert value(scrape(weir), f"{name}_count{labels}") == 32, "until something is counted"
        ask_both_workers()
        wait_for("the new ones count", lambda: value(scrape(weir), f"{name}_count{labels}") == 16)
        text = scrape(weir)
        check_form(text)
        check_promtool(text)
        assert bounds(text) == ["70000", "+Inf"], text
        assert value(text, f'{name}_bucket{labels},le="70000"') == 16, text
        assert value(text, f"kong_upstream_latency_ms_count{labels}") == 48, "those are the same"
        assert weir.log_text().count(f'metric "{name}" has other buckets now') == 1, weir.log_text()
        # A new worker goes on with them.
        os.kill(weir.workers()[0], signal.SIGKILL)
        wait_for("both answer", lambda: len(weir.workers()) == 2 and answers(weir))
        before = value(scrape(weir), f"{name}_count{labels}")
        ask_both_workers()
        wait_for("and are counted", lambda: value(scrape(weir), f"{name}_count{labels}") >= before + 16)
        assert bounds(scrape(weir)) == ["70000", "+Inf"]


def test_a_series_limit_is_taken_over_at_a_reload():
    up = Upstream()
    routes = "".join(f"  - {{name: r{i}, paths: [/r{i}]}}\n" for i in range(8))
    base = f"services:\n- name: s\n  url: http://127.0.0.1:{up.port}\n  routes:\n{routes}"
    rest = 'kong_http_requests_total{service="overflow",route="overflow"'

    def ask(weir, numbers):
        for i in numbers:
            assert weir.get(f"/r{i}").status == 200

    with Weir(base + prometheus("status_code_metrics: true, series_limit: 2")) as weir:
        ask(weir, (0, 1, 2, 3, 0))
        wait_for("two have none of their own", lambda: value(scrape(weir), rest) == 2)
        assert weir.reload(base + prometheus("status_code_metrics: true, series_limit: 100")
                           ).returncode == 0
        ask(weir, (4, 5, 0))
        of = 'kong_http_requests_total{service="s",route="r%d"'
        wait_for("they have", lambda: value(scrape(weir), of % 5) == 1)
        wait_for("the first goes on", lambda: value(scrape(weir), of % 0) == 3)
        assert value(scrape(weir), rest) == 2 and value(scrape(weir), of % 2) is None


if __name__ == "__main__":
    run_tests(globals())
