#!/usr/bin/env python3
"""Health of targets and the balancers that are no plain turn: targets that go down and come back,
by requests (passive) and by probes (active), seen by all workers, kept over reloads and deaths."""
import collections
import json
import os
import re
import signal
import threading
import time

from lib_weir import Upstream, Weir, free_port, read_request, reply, run_tests, wait_for

ROUTE = """services:
- name: s
  url: http://up
  %s
  routes: [{name: r, paths: [/a, '~/u/(?<id>[^/]+)']}]
"""


class Target(Upstream):
    """Answers with its name; what it does can be changed while it runs. Probes go to /probe."""

    def __init__(self, name, port=0):
        self.name, self.status, self.delay, self.silent, self.probes = name, 200, 0, False, []
        self.cut = False
        self.good_probes = 0  # so many of the next ones get 200 whatever the status
        super().__init__(self.serve_requests, port)

    def serve_requests(self, conn, _):
        while True:
            request = read_request(conn, self)
            if request is None:
                return
            probe = request[0].split(" ")[1].startswith("/probe")
            if probe:
                self.probes.append((time.monotonic(), request))
            if self.silent:
                time.sleep(5)
                return
            if self.cut:
                return
            time.sleep(0 if probe else self.delay)
            status = 200 if probe and self.good_probes > 0 else self.status
            self.good_probes -= status == 200 and probe
            conn.send(reply(status, self.name.encode()))


def upstream(targets, extra="", name="up", weights=None):
    lines = "".join(f"  - {{target: '127.0.0.1:{t if isinstance(t, int) else t.port}', weight: "
                    f"{(weights or {}).get(i, 100)}}}\n" for i, t in enumerate(targets))
    return f"upstreams:\n- name: {name}\n{extra}  targets:\n{lines}"


def config(targets, extra="", service="", weights=None):
    return ROUTE % service + upstream(targets, extra, weights=weights)


def checks(text):
    return f"  healthchecks: {text}\n"


PASSIVE = checks("{passive: {unhealthy: {tcp_failures: 2, http_failures: 3, timeouts: 2}}}")
ACTIVE = checks("{active: {http_path: /probe, timeout: 0.5, "
                "healthy: {interval: 0.1, successes: 2}, "
                "unhealthy: {interval: 0.1, tcp_failures: 2, http_failures: 2, timeouts: 2}}}")


def names(weir, count, headers=()):
    """Who answered, or the status."""
    out = []
    for _ in range(count):
        got = weir.get("/a", headers=headers)
        out.append(got.body.decode() if got.status == 200 else got.status)
    return out


def view(weir, name="up"):
    got = weir.get(f"/upstreams/{name}/health", port=weir.admin)
    assert got.status == 200, got.body
    return {int(t["target"].split(":")[1]): t["health"] for t in json.loads(got.body)["data"]}


def order(weir, target, state, name="up"):
    return weir.get(f"/upstreams/{name}/targets/127.0.0.1:{target.port}/{state}", port=weir.admin,
                    method="PUT").status


def wait_health(weir, target, health):
    wait_for(f"{target.port} is {health}", lambda: view(weir)[target.port] == health)


def attempts(weir):
    """Attempts that failed, of all workers."""
    text = weir.get("/metrics", port=weir.status).body.decode()
    return sum(int(float(n)) for n in re.findall(r"^weir_target_failures_total\S* (\S+)$", text, re.M))


# --- passive


def test_refused_connections_take_a_target_out():
    good, dead = Target("good"), free_port()
    with Weir(config([good, dead], PASSIVE)) as weir:
        assert names(weir, 20) == ["good"] * 20, "retried, so nobody notices"
        assert attempts(weir) == 2, attempts(weir)
        assert view(weir) == {good.port: "HEALTHY", dead: "UNHEALTHY"}
        log = weir.log_text()
        assert f"upstream 'up': target 127.0.0.1:{dead} is unhealthy: 2 failed connections" in log
        assert log.count("is unhealthy") == 1, log


def test_without_retries_refusals_count_too():
    good, dead = Target("good"), free_port()
    with Weir(config([good, dead], PASSIVE, "retries: 0")) as weir:
        got = names(weir, 12)
        assert got.count(502) == 2 and got[4:] == ["good"] * 8, got


def test_bad_answers_take_a_target_out():
    bad, good = Target("bad"), Target("good")
    bad.status = 500
    with Weir(config([bad, good], PASSIVE)) as weir:
        assert names(weir, 16) == [500, "good", 500, "good", 500] + ["good"] * 11
        assert "3 bad answers, the last with status 500" in weir.log_text()


def test_a_status_in_no_list_says_nothing():
    odd, good = Target("odd"), Target("good")
    odd.status = 404
    with Weir(config([odd, good], PASSIVE)) as weir:
        assert names(weir, 20).count(404) == 10


def test_timeouts_take_a_target_out():
    late, good = Target("late"), Target("good")
    late.silent = True
    with Weir(config([late, good], PASSIVE, "read_timeout: 200")) as weir:
        assert names(weir, 8) == ["good"] * 8
        assert "2 timeouts" in weir.log_text()


def test_failures_must_follow_each_other_when_successes_count():
    shaky = Target("shaky")
    text = checks("{passive: {healthy: {successes: 1}, unhealthy: {http_failures: 3}}}")
    with Weir(config([shaky], text)) as weir:
        for status in [500, 500, 200] * 4:
            shaky.status = status
            assert weir.get("/a").status == status
        shaky.status = 500
        assert names(weir, 4) == [500, 500, 500, 503]


def test_failures_add_up_when_successes_do_not_count():
    shaky = Target("shaky")
    text = checks("{passive: {unhealthy: {http_failures: 3}}}")
    with Weir(config([shaky], text)) as weir:
        seen = []
        for status in [500, 200, 500, 200, 500, 200]:
            shaky.status = status
            seen.append(weir.get("/a").status)
        assert seen == [500, 200, 500, 200, 500, 503], seen


def test_a_kept_connection_that_ended_is_no_failure():
    target = Target("t")
    text = checks("{passive: {unhealthy: {tcp_failures: 1}}}")
    with Weir(config([target], text)) as weir:
        assert names(weir, 1) == ["t"]
        target.cut = True  # on a kept connection first, then on a fresh one: that is one
        assert weir.get("/a").status in (502, 503)
        assert view(weir) == {target.port: "UNHEALTHY"}


def test_all_unhealthy():
    dead = free_port()
    with Weir(config([dead], PASSIVE)) as weir:
        first = weir.get("/a")
        assert first.status == 503 and b"The upstream server is currently unavailable" in first.body
        for _ in range(3):
            got = weir.get("/a")
            assert got.status == 503
            assert b"failure to get a peer from the ring-balancer" in got.body, got.body
        assert "too little of it is healthy" in weir.log_text()


def test_threshold():
    a, b, c = Target("a"), Target("b"), Target("c")
    text = checks("{threshold: 55, passive: {unhealthy: {http_failures: 1}}}")
    with Weir(config([a, b, c], text)) as weir:
        assert order(weir, a, "unhealthy") == 204
        assert set(names(weir, 6)) == {"b", "c"}, "66 % is more than 55 %"
        assert order(weir, b, "unhealthy") == 204
        assert names(weir, 3) == [503] * 3, "33 % is not"
        facts = json.loads(weir.get("/upstreams/up/health?balancer_health=1", port=weir.admin).body)
        assert facts["data"]["balancer_health"] == "UNHEALTHY", facts
        assert facts["data"]["details"]["weight"] == {"total": 300, "available": 100,
                                                      "unavailable": 200}, facts
        assert order(weir, b, "healthy") == 204
        assert set(names(weir, 6)) == {"b", "c"}


# --- active


def test_probes_take_out_and_bring_back():
    a, b = Target("a"), Target("b")
    with Weir(config([a, b], ACTIVE), workers=2) as weir:
        assert set(names(weir, 8)) == {"a", "b"}
        b.status = 500
        wait_health(weir, b, "UNHEALTHY")
        assert names(weir, 8) == ["a"] * 8
        b.status = 200
        wait_health(weir, b, "HEALTHY")
        wait_for("b gets traffic", lambda: "b" in names(weir, 4))
        log = weir.log_text()
        assert "2 probes with a bad answer, the last with status 500" in log, log
        assert "is healthy again: 2 good probes" in log, log
        assert log.count(f"127.0.0.1:{b.port} is unhealthy") == 1, "one worker says it"


def test_probes_find_a_closed_port_and_its_return():
    a, b = Target("a"), Target("b")
    with Weir(config([a, b], ACTIVE)) as weir:
        port = b.port
        b.listener.shutdown(2)
        b.close()
        wait_health(weir, b, "UNHEALTHY")
        assert "probes without a connection" in weir.log_text()
        b = Target("b", port)
        wait_health(weir, b, "HEALTHY")


def test_silent_targets_are_late():
    a, b = Target("a"), Target("b")
    with Weir(config([a, b], ACTIVE)) as weir:
        b.silent = True
        wait_health(weir, b, "UNHEALTHY")
        assert "2 late probes" in weir.log_text()


def test_hysteresis():
    """Three good probes in a row bring it back, a bad one between them begins anew."""
    a, b = Target("a"), Target("b")
    text = checks("{active: {http_path: /probe, healthy: {interval: 0.1, successes: 3}, "
                  "unhealthy: {interval: 0.1, http_failures: 2}}}")
    with Weir(config([a, b], text)) as weir:
        b.status = 500
        wait_health(weir, b, "UNHEALTHY")
        for _ in range(3):
            begun = len(b.probes)
            b.good_probes = 2
            wait_for("two good ones, a bad one", lambda begun=begun: len(b.probes) > begun + 3)
            assert view(weir)[b.port] == "UNHEALTHY" and b.good_probes == 0
        b.good_probes = 3
        wait_health(weir, b, "HEALTHY")


def test_one_worker_probes_and_another_takes_over():
    a = Target("a")
    with Weir(config([a], ACTIVE), workers=3) as weir:
        wait_for("probes", lambda: len(a.probes) > 5)
        begun, start = len(a.probes), time.monotonic()
        wait_for("more probes", lambda: len(a.probes) >= begun + 10)
        assert time.monotonic() - start > 0.6, "every tenth of a second, not three times"
        for pid in weir.workers()[:2]:
            os.kill(pid, signal.SIGKILL)
        begun = len(a.probes)
        wait_for("probes go on", lambda: len(a.probes) >= begun + 10)
        text = weir.get("/metrics", port=weir.status).body.decode()
        assert "weir_" in text


def test_what_a_probe_says():
    a = Target("a")
    text = ("  host_header: api.example:8080\n" +
            checks("{active: {http_path: '/probe?x=1', headers: {X-Token: [one, two]}, "
                   "healthy: {interval: 0.1}}}"))
    with Weir(config([a], text)) as weir:
        wait_for("a probe", lambda: a.probes)
        assert weir
    line, headers, _, _ = a.probes[0][1]
    assert line == "GET /probe?x=1 HTTP/1.1", line
    assert ("Host", "api.example:8080") in headers, headers
    assert ("X-Token", "one") in headers and ("X-Token", "two") in headers
    assert ("Connection", "close") in headers


def test_tcp_probes_want_a_connection_only():
    a, b = Target("a"), free_port()
    text = checks("{active: {type: tcp, healthy: {interval: 0.1}, "
                  "unhealthy: {tcp_failures: 1, http_failures: 1}}}")
    a.status = 500
    with Weir(config([a, b], text)) as weir:
        wait_for("the closed port is found", lambda: view(weir)[b] == "UNHEALTHY")
        assert view(weir)[a.port] == "HEALTHY"


def test_probes_end_with_their_upstream():
    a = Target("a")
    with Weir(config([a], ACTIVE), workers=2) as weir:
        wait_for("probes", lambda: len(a.probes) > 2)
        assert weir.reload(config([a])).returncode == 0
        assert view(weir) == {a.port: "HEALTHCHECKS_OFF"}
        time.sleep(0.3)  # those under way
        seen = len(a.probes)
        time.sleep(0.5)
        assert len(a.probes) == seen


# --- what is kept


def test_a_reload_keeps_the_state():
    good, bad = Target("good"), Target("bad")
    with Weir(config([good, bad], PASSIVE), workers=2) as weir:
        assert order(weir, bad, "unhealthy") == 204
        assert names(weir, 8) == ["good"] * 8
        assert weir.reload().returncode == 0
        assert names(weir, 8) == ["good"] * 8, "the same configuration"
        other = checks("{passive: {unhealthy: {tcp_failures: 7}}}")
        assert weir.reload(config([good, bad], other, weights={0: 3})).returncode == 0
        assert names(weir, 8) == ["good"] * 8, "other limits, other weights"
        assert weir.reload(config([good, bad])).returncode == 0
        assert set(names(weir, 8)) == {"good", "bad"}, "no checks: everybody gets traffic"


def test_a_killed_worker_forgets_nothing():
    good, bad = Target("good"), Target("bad")
    with Weir(config([good, bad], PASSIVE), workers=2) as weir:
        assert order(weir, bad, "unhealthy") == 204
        for pid in weir.workers():
            os.kill(pid, signal.SIGKILL)
            wait_for("a new worker", lambda pid=pid: pid not in weir.workers() and
                     len(weir.workers()) == 2)
            weir.wait_ready()
        for _ in range(10):
            assert names(weir, 2) == ["good"] * 2
        assert view(weir)[bad.port] == "UNHEALTHY"


def test_workers_agree():
    """What requests to one worker bring to light counts for all: each has a connection of its own."""
    bad, good = Target("bad"), Target("good")
    bad.status = 500
    with Weir(config([bad, good], PASSIVE), workers=4) as weir:
        wait_for("it is out", lambda: names(weir, 8) == ["good"] * 8)
        assert len([1 for line, *_ in bad.seen if line.startswith("GET /")]) == 3
        assert weir.log_text().count("is unhealthy") == 1


# --- views


def test_admin_and_metrics():
    a, b, zero = Target("a"), Target("b"), Target("zero")
    plugins = "plugins: [{name: prometheus, config: {upstream_health_metrics: true}}]\n"
    text = config([a, b, zero], PASSIVE, weights={2: 0}) + "- name: plain\n  targets: [{target: '127.0.0.1:1'}]\n"
    with Weir(text + plugins) as weir:
        assert order(weir, b, "unhealthy") == 204
        assert view(weir) == {a.port: "HEALTHY", b.port: "UNHEALTHY", zero.port: "HEALTHCHECKS_OFF"}
        assert view(weir, "plain") == {1: "HEALTHCHECKS_OFF"}
        one = json.loads(weir.get("/upstreams/up/health", port=weir.admin).body)["data"][1]
        assert one["data"]["addresses"] == [{"ip": "127.0.0.1", "port": b.port, "weight": 100,
                                             "health": "UNHEALTHY"}], one
        assert one["data"]["weight"] == {"total": 100, "available": 0, "unavailable": 100}, one
        metrics = weir.get("/metrics", port=weir.status).body.decode()
        for target, state in ((a, "healthy"), (b, "unhealthy"), (zero, "healthchecks_off")):
            rows = dict(re.findall(r'^kong_upstream_target_health{upstream="up",target="127.0.0.1:%d",'
                                   r'address="127.0.0.1:%d",state="(\w+)",subsystem="http"} (\d)$'
                                   % (target.port, target.port), metrics, re.M))
            assert [s for s, n in rows.items() if n == "1"] == [state], rows
        address = f"/upstreams/up/targets/127.0.0.1:{b.port}/127.0.0.1:{b.port}/healthy"
        assert weir.get(address, port=weir.admin, method="PUT").status == 204
        assert view(weir)[b.port] == "HEALTHY"
        for path, method, status in (
                ("/upstreams/nobody/health", "GET", 404),
                ("/upstreams/up/health", "PUT", 405),
                ("/upstreams/up/targets/127.0.0.1:1/healthy", "PUT", 404),
                (f"/upstreams/up/targets/127.0.0.1:{a.port}/127.0.0.1:1/healthy", "PUT", 404),
                (f"/upstreams/up/targets/127.0.0.1:{a.port}/healthy", "GET", 405),
                (f"/upstreams/up/targets/127.0.0.1:{a.port}/ill", "PUT", 404),
                ("/upstreams/plain/targets/127.0.0.1:1/healthy", "PUT", 400)):
            got = weir.get(path, port=weir.admin, method=method)
            assert got.status == status, (path, got.status, got.body)
        assert b"no healthchecker found for plain" in got.body
        assert weir.get("/upstreams/up/health", port=weir.status).status == 404, "admin only"


# --- balancers


def hashing(how):
    return f"  algorithm: consistent-hashing\n{how}"


def test_hash_on_header_sticks_everywhere():
    targets = [Target(n) for n in "abc"]
    text = config(targets, hashing("  hash_on: header\n  hash_on_header: x-user-id\n"))
    with Weir(text, workers=3) as weir:
        users = [f"user-{i}" for i in range(60)]
        first = {u: names(weir, 1, [("X-User-Id", u)])[0] for u in users}
        assert set(first.values()) == {"a", "b", "c"}
        assert {u: names(weir, 1, [("X-User-Id", u)])[0] for u in users} == first
        assert weir.reload(config(targets[:2], hashing("  hash_on: header\n"
                                                       "  hash_on_header: x-user-id\n"))).returncode == 0
        now = {u: names(weir, 1, [("X-User-Id", u)])[0] for u in users}
        assert all(now[u] == first[u] for u in users if first[u] != "c"), "only those of c move"
        assert len(set(names(weir, 10))) == 1, "without the header all are alike"


HASHES = {  # how, a pair that is alike, one that is not (by 60 variants there are several targets)
    "path": ("  hash_on: path\n", lambda n: (f"/a/{n}", [])),
    "query_arg": ("  hash_on: query_arg\n  hash_on_query_arg: q\n", lambda n: (f"/a?q={n}&z={n}", [])),
    "uri_capture": ("  hash_on: uri_capture\n  hash_on_uri_capture: id\n",
                    lambda n: (f"/u/{n}/x", [])),
    "cookie": ("  hash_on: cookie\n  hash_on_cookie: sess\n",
               lambda n: ("/a", [("Cookie", f"a=b; sess={n}")])),
    "fallback": ("  hash_on: query_arg\n  hash_on_query_arg: q\n  hash_fallback: header\n"
                 "  hash_fallback_header: x-id\n", lambda n: ("/a", [("X-Id", str(n))])),
}


def test_hash_inputs():
    targets = [Target(n) for n in "abc"]
    with Weir(config(targets, hashing("")), workers=2) as weir:
        for name, (how, make) in HASHES.items():
            assert weir.reload(config(targets, hashing(how))).returncode == 0, name
            seen = collections.defaultdict(set)
            for n in list(range(40)) * 2:
                path, headers = make(n)
                got = weir.get(path, headers=headers)
                assert got.status == 200 and got.get("Set-Cookie") is None, name
                seen[n].add(got.body)
            assert all(len(s) == 1 for s in seen.values()), name
            assert len(set.union(*seen.values())) == 3, name


def test_query_values_in_any_order():
    targets = [Target(n) for n in "abc"]
    text = config(targets, hashing("  hash_on: query_arg\n  hash_on_query_arg: q\n"))
    with Weir(text) as weir:
        for n in range(20):
            alike = [weir.get(p).body for p in (f"/a?q={n}&q=x%20y", f"/a?q=x+y&q={n}",
                                                f"/a?%71={n}&b=1&q=x%20y")]
            assert len(set(alike)) == 1, n
        several = [("X-Id", "v" * 200)] * 90  # joined, up to a bound
        assert weir.reload(config(targets, hashing("  hash_on: header\n"
                                                   "  hash_on_header: x-id\n"))).returncode == 0
        assert len({weir.get("/a", headers=several).body for _ in range(5)}) == 1
        two = {weir.get("/a", headers=[("X-Id", "a"), ("X-Id", "b")]).body,
               weir.get("/a", headers=[("X-Id", "a, b")]).body}
        assert len(two) == 1, "two fields are as one with both values"


def test_hash_cookie_is_made():
    targets = [Target(n) for n in "abc"]
    text = config(targets, hashing("  hash_on: cookie\n  hash_on_cookie: sess\n"
                                   "  hash_on_cookie_path: /x\n"))
    with Weir(text, workers=2) as weir:
        seen = set()
        for _ in range(20):
            got = weir.get("/a")
            match = re.fullmatch(r"sess=([0-9a-f-]{36}); Path=/x; Same-Site=Lax; HttpOnly",
                                 got.get("Set-Cookie"))
            seen.add(got.body)
            again = weir.get("/a", headers=[("Cookie", f"sess={match.group(1)}")])
            assert again.body == got.body and again.get("Set-Cookie") is None
        assert len(seen) > 1


def test_hash_passes_over_what_is_down():
    targets = [Target(n) for n in "abc"]
    text = config(targets, hashing("  hash_on: header\n  hash_on_header: x\n") + PASSIVE)
    with Weir(text) as weir:
        users = [str(i) for i in range(40)]
        first = {u: names(weir, 1, [("X", u)])[0] for u in users}
        assert order(weir, targets[0], "unhealthy") == 204
        now = {u: names(weir, 1, [("X", u)])[0] for u in users}
        assert all(now[u] == first[u] for u in users if first[u] != "a")
        assert {now[u] for u in users if first[u] == "a"} == {"b", "c"}, "spread over all others"
        assert order(weir, targets[0], "healthy") == 204
        assert {u: names(weir, 1, [("X", u)])[0] for u in users} == first


def test_a_retry_goes_elsewhere():
    for how in ("round-robin", "consistent-hashing", "least-connections", "latency"):
        good, dead = Target("good"), free_port()
        with Weir(config([dead, good], f"  algorithm: {how}\n")) as weir:
            assert names(weir, 6) == ["good"] * 6, how


def test_least_connections():
    slow, fast = Target("slow"), Target("fast")
    slow.delay = 0.4
    with Weir(config([slow, fast], "  algorithm: least-connections\n")) as weir:
        got, lock = [], threading.Lock()

        def client():
            for _ in range(20):
                name = names(weir, 1)[0]
                with lock:
                    got.append(name)
        threads = [threading.Thread(target=client) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert got.count("fast") > 2 * got.count("slow"), collections.Counter(got)
        assert "slow" in got


def test_least_connections_by_weight():
    a, b = Target("a"), Target("b")
    with Weir(config([a, b], "  algorithm: least-connections\n", weights={1: 50})) as weir:
        assert names(weir, 10) == ["a"] * 10


def test_latency():
    slow, fast = Target("slow"), Target("fast")
    slow.delay = 0.05
    with Weir(config([slow, fast], "  algorithm: latency\n")) as weir:
        got = names(weir, 40)
        assert got.count("fast") >= 36, collections.Counter(got)


run_tests(globals())
