#!/usr/bin/env python3
"""correlation-id through a real weir: where the id of a request can be seen, and what it is made of."""
import json
import os
import re
import subprocess
import tempfile
import time

from lib_weir import Upstream, Weir, free_port, run_tests, service, wait_for

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def policy(config, more=""):
    return "plugins:\n- {name: correlation-id, config: {%s}}\n%s" % (config, more)


def header(request, name):
    """Of what the upstream has seen."""
    return [v for n, v in request[1] if n.lower() == name.lower()]


def test_the_tracker_says_which_request_of_which_connection():
    up = Upstream()
    with Weir(service(up.port) + policy("generator: tracker, echo_downstream: true")) as weir:
        seen = []
        for _ in range(2):
            with weir.connect() as conn:
                for _ in range(3):
                    conn.send_request("GET", "/a")
                    seen.append(conn.read_response().get("Kong-Request-ID"))
        form = r"127\.0\.0\.1-%d-%d-(\d+)-(\d+)-(\d{10})\.\d{3}" % (weir.proxy, weir.workers()[0])
        parts = [re.fullmatch(form, s) for s in seen]
        assert all(parts), seen
        connections = [int(p.group(1)) for p in parts]
        assert len(set(connections[:3])) == 1 and len(set(connections[3:])) == 1, seen
        assert connections[0] < connections[3] and connections[0] > 0, seen
        assert [int(p.group(2)) for p in parts] == [1, 2, 3] * 2, seen
        assert abs(int(parts[0].group(3)) - time.time()) < 60, seen
        assert [header(r, "Kong-Request-ID") for r in up.seen] == [[s] for s in seen]


def test_a_worker_counts_its_ids():
    up = Upstream()
    with Weir(service(up.port) + policy(""), workers=2) as weir:
        for _ in range(40):
            assert weir.get("/a").get("Kong-Request-ID") is None
        by_worker = {}
        for request in up.seen:
            (value,) = header(request, "Kong-Request-ID")
            uuid, count = re.fullmatch(f"({UUID})#(\\d+)", value).groups()
            by_worker.setdefault(uuid, []).append(int(count))
        assert len(by_worker) <= 2
        for counts in by_worker.values():
            assert sorted(counts) == list(range(1, len(counts) + 1)), by_worker


def test_the_id_is_on_every_answer_when_echoed():
    up, closed = Upstream(), free_port()
    config = (f"services:\n- {{name: s, url: 'http://127.0.0.1:{up.port}', routes: [{{name: r, "
              f"paths: [/a]}}]}}\n- {{name: t, url: 'http://127.0.0.1:{closed}', routes: [{{name: q,"
              f" paths: [/down]}}]}}\n")
    more = ("- {name: key-auth, route: r, config: {anonymous: null}}\n"
            "- {name: rate-limiting, route: q, config: {hour: 1, policy: local}}\n")
    with Weir(config + policy("generator: uuid, header_name: X-Request-ID, echo_downstream: true",
                              more)) as weir:
        for target, status in (("/a", 401), ("/down", 502), ("/down", 429), ("/zzz", 404)):
            response = weir.get(target)
            assert response.status == status, (target, response.status)
            assert re.fullmatch(UUID, response.get("X-Request-ID")), response.headers
            own = weir.get(target, headers=[("X-Request-ID", "mine")])
            assert own.get("X-Request-ID") == "mine", own.headers


def test_error_bodies_have_it_when_asked():
    closed = free_port()
    for config, has in (("", False), ("in_error_bodies: true", True)):
        more = "- {name: rate-limiting, config: {hour: 2, policy: local}}\n"
        with Weir(service(closed) + policy(config, more)) as weir:
            for status in (502, 502, 429):
                for accept in ("application/json", "text/html"):
                    response = weir.get("/a", headers=[("Kong-Request-ID", 'a"b'),
                                                       ("Accept", accept)])
                    if accept == "text/html":
                        assert b"correlation" not in response.body, "only JSON has members"
                        continue
                    body = json.loads(response.body)
                    assert body["request_id"] == response.get("X-Kong-Request-Id")
                    assert body.get("correlation_id") == ('a"b' if has else None), body


def test_every_line_of_the_log_about_a_request_names_it():
    closed = free_port()
    # An anonymous consumer that is not there is one of the things that are told with the request.
    more = "- {name: key-auth, config: {anonymous: nobody}}\n"
    with Weir(service(closed) + policy("", more), settings={"log_level": "debug"}) as weir:
        assert weir.get("/a", headers=[("Kong-Request-ID", "find-me")]).status == 500
        wait_for("a line that names it", lambda: "correlation find-me" in weir.log_text())
        about = [l for l in weir.log_text().splitlines() if re.search("request [0-9a-f]{32}", l)]
        assert all("correlation find-me" in l for l in about), about


def test_the_access_log_has_it():
    up, folder = Upstream(), tempfile.mkdtemp(prefix="weir-correlation-")
    path = folder + "/log"
    try:
        more = "- {name: file-log, config: {path: %s}}\n- {name: key-auth, route: r}\n" % path
        with Weir(service(up.port, path="/a") + policy("echo_downstream: true", more)) as weir:
            weir.get("/a", headers=[("Kong-Request-ID", 'with"quotes')])
            weir.get("/a", headers=[("Kong-Request-ID", "\xe9")])
            made = weir.get("/zzz").get("Kong-Request-ID")
            wait_for("three lines", lambda: os.path.exists(path) and
                     open(path, "rb").read().count(b"\n") == 3)
        with open(path, encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        assert [l["correlation_id"] for l in lines] == ['with"quotes', "\xe9", made], lines
        assert [l["response"]["status"] for l in lines] == [401, 401, 404]
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


def test_templates_can_say_it():
    up = Upstream()
    more = ("- {name: request-transformer, config: {add: {headers: "
            "['X-Copy:$(correlation_id)']}}}\n")
    if not os.path.exists(os.environ.get("WEIR_PLUGIN_DIR", "") + "/request-transformer.so"):
        print("     skipped: request-transformer is not built")
        return
    with Weir(service(up.port) + policy("", more)) as weir:
        weir.get("/a", headers=[("Kong-Request-ID", "mine")])
        assert header(up.seen[-1], "X-Copy") == ["mine"], up.seen[-1]


if __name__ == "__main__":
    run_tests(globals())
