#!/usr/bin/env python3
"""Plugins are swapped, brought back and shown over the admin API, by whichever worker is asked; what HTTP may
not do is refused with a sentence."""
import json
import os
import re
import shutil
import signal
import subprocess
import threading

from lib_swap import Load, build, builds_of_workers, sdk, start
from lib_weir import Upstream, Weir, run_tests, service, wait_for


def ask(weir, method, path, body=None, headers=(), timeout=60):
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    got = weir.get(path, port=weir.admin, method=method, body=data, headers=headers, timeout=timeout)
    assert got is not None and got.get("content-type") == "application/json; charset=utf-8", (path, got)
    got.json = json.loads(got.body)
    return got


def order(weir, what, body=None, **more):
    return ask(weir, "POST", f"/weir/plugins/policy/{what}", body, **more)


def offer(weir, name):
    """A build in a folder below plugin_path."""
    folder = weir.plugins + "/next"
    os.makedirs(folder, exist_ok=True)
    return shutil.copy(build(name), f"{folder}/{name}.so")


def listed(weir):
    got = ask(weir, "GET", "/weir/plugins")
    assert got.status == 200, got.body
    return got.json["plugins"][0]


def metrics(weir):
    """Families as promtool accepts them."""
    text = weir.get("/metrics", port=weir.status).body.decode()
    if shutil.which("promtool"):
        said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True,
                              check=False).stderr
        assert not [line for line in said.splitlines() if not line.startswith("kong_")], said
    return text


def test_swap_and_rollback_under_load():
    build("2.0.0")
    with start() as weir, Load(weir) as load:
        offer(weir, "2.0.0")
        wait_for("traffic", lambda: load.count(200, "1.0.0") > 50)
        before = listed(weir)
        assert before["version"] == "1.0.0" and before["previous"] is None and before["policies"] == 1, before
        assert re.fullmatch(r"[0-9a-f]{64}", before["hash"]) and before["loaded"] == 2, before
        assert not before["chosen_by_swap"] and not before["quarantined"] and before["why"] is None, before
        told = order(weir, "swap", {"file": "next/2.0.0.so"})
        assert told.status == 200, told.body
        assert told.json["message"] == told.json["lines"][0], told.body
        assert re.fullmatch(r"plugin 'policy': policy 1\.0\.0 \(build \w{12}\) -> policy 2\.0\.0 \(build \w{12}\)",
                            told.json["message"]), told.body
        assert told.json["lines"][-2:] == ["worker 0: in use", "worker 1: in use"], told.body
        assert builds_of_workers(weir) == {"2.0.0"}
        now = listed(weir)
        assert now["version"] == "2.0.0" and now["chosen_by_swap"] and now["previous"] == before["hash"], now
        told = order(weir, "rollback")
        assert told.status == 200 and "-> policy 1.0.0" in told.json["message"], told.body
        assert builds_of_workers(weir) == {"1.0.0"}
        told = order(weir, "rollback")
        assert told.status == 409, told.body
        assert told.json["message"] == "no earlier build is kept of plugin 'policy'", told.body
        told = ask(weir, "POST", "/weir/reload")
        assert told.status == 200 and "is in use on 2 workers" in told.json["lines"][-1], told.body
        told = order(weir, "swap", {"file": offer(weir, "2.0.0"), "watch": 0.5, "wait": True})
        assert told.status == 200 and "it did well" in told.json["message"], told.body
        told = order(weir, "swap")
        assert told.status == 200 and builds_of_workers(weir) == {"1.0.0"}, told.body
        text = metrics(weir)
        assert re.search(r"^weir_plugin_swaps_total 3$", text, re.M), text
        assert re.search(r"^weir_plugin_rollbacks_total 1$", text, re.M), text
        assert "asked over HTTP: swap policy file=" in weir.log_text()
    assert not load.bad(), load.answers
    assert load.count(200, "2.0.0") > 0


def test_a_canary_and_what_fails():
    build("2.0.0")
    build("fails", "-DFAIL_OF=20")
    with start(workers=3) as weir, Load(weir, clients=6, each=20) as load:
        offer(weir, "2.0.0")
        offer(weir, "fails")
        seen = {}
        asker = threading.Thread(target=lambda: seen.update(
            told=order(weir, "swap", {"file": "next/2.0.0.so", "canary": 1, "watch": 2})))
        asker.start()
        wait_for("the canary serves", lambda: "1 of 3 workers serve the new build" in weir.log_text())
        wait_for("it is watched", lambda: listed(weir)["watched"])
        wait_for("both builds answer", lambda: builds_of_workers(weir) == {"1.0.0", "2.0.0"})
        got = ask(weir, "GET", "/weir/plugins").json
        assert [b["version"] for b in got["plugins"]] == ["1.0.0"], got
        assert [(b["version"], b["loaded"]) for b in got["replaced"]] == [("2.0.0", 3)], got
        asker.join()
        assert seen["told"].status == 200, seen["told"].body
        assert builds_of_workers(weir) == {"2.0.0"} and not load.bad(), load.bad()
        told = order(weir, "swap", {"file": "next/fails.so", "canary": "30%", "watch": 20})
        assert told.status == 409, told.body
        assert any("it failed" in line and "goes back to policy 2.0.0" in line for line in told.json["lines"]), told.body
        assert builds_of_workers(weir) == {"2.0.0"}
        text = metrics(weir)
        assert re.search(r"^weir_plugin_swap_failures_total 1$", text, re.M), text


def test_what_is_refused():
    build("refuses", "-DON_CONFIGURE=1")
    with start() as weir:
        offer(weir, "refuses")
        with open(weir.plugins + "/text.so", "w", encoding="utf-8") as f:
            f.write("this is no program\n")
        os.symlink(build("1.0.0"), weir.plugins + "/link.so")
        outside = "lies in a folder of plugin_path"
        rows = [  # path, body, status, what is said, why
            ("swap", {"file": "next/refuses.so"}, 409, "refuses its configuration", "the trial"),
            ("swap", {"file": "text.so"}, 409, "text.so", "no program"),
            ("swap", {"file": build("1.0.0")}, 403, outside, "a file of somewhere else"),
            ("swap", {"file": "/nonexistent/policy.so"}, 403, outside, "nor does it tell what is there"),
            ("swap", {"file": "../" + os.path.basename(weir.plugins) + "/../builds/1.0.0/policy.so"}, 403, outside, "dots"),
            ("swap", {"file": "link.so"}, 403, outside, "a link is followed first"),
            ("swap", {"file": weir.plugins}, 403, outside, "the folder itself"),
            ("swap", {"file": weir.plugins + "x/policy.so"}, 403, outside, "a folder whose name only begins so"),
            ("swap", {"file": "text.so\nreload"}, 400, "control characters", "one line only"),
            ("swap", {"file": ""}, 400, "file: expected a path", "empty"),
            ("swap", {"file": 1}, 400, "file: expected a path", "a number"),
            ("swap", {"canary": "1 wait"}, 400, "canary: expected", "a word more"),
            ("swap", {"canary": "25%%"}, 400, "canary: expected", "no percentage"),
            ("swap", {"canary": 1.5}, 400, "canary: expected", "half a worker"),
            ("swap", {"canary": "2"}, 409, "expected fewer than all workers", "the master counts them"),
            ("swap", {"watch": -1}, 400, "watch: expected seconds", "before now"),
            ("swap", {"watch": 1e9}, 400, "watch: expected seconds", "for ever"),
            ("swap", {"watch": "1"}, 400, "watch: expected seconds", "text"),
            ("swap", {"wait": 1}, 400, "wait: expected true or false", "a number"),
            ("swap", {"fiel": "x"}, 400, "fiel: expected file, canary", "a misspelt word"),
            ("swap", b"[1]", 400, "expected a JSON object", "an array"),
            ("swap", b"{\"file\":", 400, "the body is no JSON", "cut"),
            ("swap", b"{} {}", 400, "the body is no JSON", "two"),
            ("swap", b"{" + b" " * 9000 + b"}", 413, "8 KiB", "long"),
        ]
        for what, body, status, said, why in rows:
            got = order(weir, what, body)
            assert got.status == status, (why, got.status, got.body)
            assert any(said in text for text in [got.json["message"], *got.json.get("lines", [])]), (why, got.body)
        paths = [  # method, path, status, what is said, why
            ("POST", "/weir/plugins/nothing/swap", 404, "does not use this plugin", "not configured"),
            ("POST", "/weir/plugins/policy%0areload/swap", 400, "no name of a plugin", "a line end in a name"),
            ("POST", "/weir/plugins/" + "x" * 64 + "/swap", 400, "no name of a plugin", "long"),
            ("POST", "/weir/plugins//swap", 400, "no name of a plugin", "empty"),
            ("POST", "/weir/plugins", 405, "Method not allowed", "the list is read"),
            ("GET", "/weir/reload", 405, "Method not allowed", "nothing changes by being looked at"),
            ("GET", "/weir/plugins/policy/swap", 405, "Method not allowed", "nor here"),
            ("POST", "/weir/plugins/policy", 404, "Not found", "no such path"),
            ("POST", "/weir/plugins/policy/swap/now", 404, "Not found", "nor such"),
        ]
        for method, path, status, said, why in paths:
            got = ask(weir, method, path)
            assert got.status == status and said in got.json["message"], (why, got.status, got.body)
        for origin, status in [("http://evil.test", 403), ("null", 403), ("http://gw.test", 409)]:
            got = order(weir, "rollback", headers=[("Origin", origin)])
            assert got.status == status, (origin, got.status, got.body)
        assert weir.get("/weir/plugins", port=weir.status).status == 404, "the status listener takes no orders"
        with weir.connect(weir.admin) as conn:  # two requests in one piece: each has its own answer
            conn.send(b"POST /weir/plugins/policy/rollback HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
                      b"GET /weir/plugins HTTP/1.1\r\nHost: a\r\n\r\n")
            assert [conn.read_response().status for _ in range(2)] == [409, 200]
        assert builds_of_workers(weir) == {"1.0.0"}
        assert re.search(r"^weir_plugin_swaps_total 0$", metrics(weir), re.M)


def test_quarantine_is_shown():
    build("crash", "-DCRASH_OF=1000000")  # crashes when a request asks for it
    with start(first="crash", policy="  on_quarantine: closed\n") as weir:
        assert "weir_plugin_quarantined" not in metrics(weir)
        assert json.loads(weir.get("/status", port=weir.status).body)["quarantine"] == {"count": 0, "builds": []}
        for _ in range(3):
            with weir.connect() as conn:
                conn.send_request("GET", "/", [("X-Crash", "1")])
                assert conn.ended()
            wait_for("all are there", lambda: len(weir.workers()) == 2)
        wait_for("it is taken out", lambda: weir.get("/").status == 503)
        found = wait_for("the list says so", lambda: [listed(weir)] if listed(weir)["quarantined"] else None)[0]
        assert "it ended workers 3 times, last by SIGSEGV in policy crash" in found["why"], found
        short = found["hash"][:12]
        status = wait_for("status says so", lambda: (
            lambda q: q if q["count"] == 1 else None)(json.loads(weir.get("/status", port=weir.status).body)["quarantine"]))
        assert status["builds"][0]["plugin"] == "policy" and status["builds"][0]["version"] == "crash", status
        assert status["builds"][0]["build"] == short and "SIGSEGV" in status["builds"][0]["why"], status
        wait_for("all are ready", lambda: weir.get("/status/ready", port=weir.status).status == 200)
        ready = json.loads(weir.get("/status/ready", port=weir.status).body)
        assert ready == {"message": "ready", "quarantined": [f"policy crash (build {short})"]}, ready
        assert f'weir_plugin_quarantined{{plugin="policy",build="{short}"}} 1\n' in metrics(weir)
        offer(weir, "1.0.0")
        assert order(weir, "swap", {"file": "next/1.0.0.so"}).status == 200
        assert builds_of_workers(weir) == {"1.0.0"}
        assert json.loads(weir.get("/status/ready", port=weir.status).body) == {"message": "ready"}
        assert "weir_plugin_quarantined" not in metrics(weir)


def test_a_master_that_does_not_answer():
    with start() as weir:
        weir.process.send_signal(signal.SIGSTOP)
        try:
            got = ask(weir, "GET", "/weir/plugins")
        finally:
            weir.process.send_signal(signal.SIGCONT)
        assert got.status == 504 and "not answered in time" in got.json["message"], got.body
        assert weir.get("/status", port=weir.admin).status == 200, "the rest of the listener is not kept waiting"
        os.unlink(weir.dir + "/weir.sock")
        got = ask(weir, "POST", "/weir/reload")
        assert got.status == 503 and got.json["message"] == "the master does not answer", got.body


def test_a_stop_while_somebody_waits():
    build("2.0.0")
    with start() as weir:
        offer(weir, "2.0.0")
        with weir.connect(weir.admin) as conn:
            body = json.dumps({"file": "next/2.0.0.so", "watch": 60, "wait": True}).encode()
            conn.send_request("POST", "/weir/plugins/policy/swap", body=body)
            wait_for("it is watched", lambda: listed(weir)["watched"])
            weir.process.send_signal(signal.SIGTERM)
            assert weir.process.wait(30) == 0
            got = conn.read_response()  # told, or cut with its worker
            assert got is None or got.status == 409, got.body


def test_a_single_process_swaps_nothing():
    upstream = Upstream()
    with Weir(service(upstream.port), args=["--single-process"]) as weir:
        for method, path in [("POST", "/weir/plugins/policy/swap"), ("POST", "/weir/plugins/policy/rollback"),
                             ("GET", "/weir/plugins")]:
            got = ask(weir, method, path)
            assert got.status == 501 and "a single process has no master" in got.json["message"], (path, got.body)
        got = ask(weir, "POST", "/weir/reload")
        assert got.status == 200 and got.json == {"message": "done", "lines": []}, got.body
        weir.write("services: 1\n")
        got = ask(weir, "POST", "/weir/reload")
        assert got.status == 409 and "weir.yaml:" in got.json["message"], got.body


assert sdk.dir
run_tests(globals())
