#!/usr/bin/env python3
"""What each build of a plugin did is known exactly: in /metrics and in `weir top`, over all workers, after
one was killed, after a reload and a swap. And where the time of one request went: Server-Timing."""
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from lib_abi import Sdk
from lib_weir import (PLUGINS, WEIR, Upstream, Weir, free_port, read_request, reply, run_tests,
                      wait_for)

sdk = Sdk()
verdicts = sdk.compile("verdicts", folder=sdk.folder("first"))
second = sdk.compile("verdicts", flags=['-DVERSION="2.0.0"'], folder=sdk.folder("second"))
upstream = Upstream()
AUTH = ("consumers: [{username: ann, keyauth_credentials: [{key: k}]}]\n"
        "plugins:\n- {name: verdicts, route: r}\n- {name: key-auth, route: r}\n")


def start(port=None, workers=2, settings=None, plugins=AUTH):
    """Its plugins are in a folder of its own: a swap changes none of another's."""
    folder = sdk.folder(f"path-{time.monotonic_ns()}")
    shutil.copy(verdicts, folder)
    config = (f"services:\n- name: s\n  url: http://127.0.0.1:{port or upstream.port}\n  routes:\n"
              f"  - {{name: r, paths: [/r]}}\n{plugins}")
    return Weir(config, workers=workers, settings={
        "plugin_path": folder + ":" + PLUGINS, "swap_watch": "0", **(settings or {})})


def ask(weir, verdict="next", key="k", headers=(), path="/r"):
    return weir.get(path, headers=[("apikey", key), ("X-Verdict", verdict), *headers])


def scrape(weir):
    """/metrics as {(family, labels of interest…): value}; labels without build."""
    text = weir.get("/metrics", weir.status).body.decode()
    values = {}
    for name, labels, value in re.findall(r"^(weir_plugin_\w+)\{(.*)\} (\S+)$", text, re.M):
        of = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        key = (name, of["plugin"], *(of[l] for l in ("phase", "verdict") if l in of))
        values[key] = values.get(key, 0) + float(value)
    return text, values


def settled(weir, plugin, exchanges):
    """The values once so many exchanges were counted: the log phase comes after the answer."""
    def done():
        values = scrape(weir)[1]
        return values if values.get(("weir_plugin_exchanges_total", plugin)) == exchanges else None
    return wait_for(f"{exchanges} exchanges of {plugin}", done)


def question(weir, text):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(weir.dir + "/weir.sock")
        s.sendall(text.encode() + b"\n")
        out = b""
        while piece := s.recv(65536):
            out += piece
    return out.decode()


def expect(values, plugin, phase, **verdict_counts):
    for verdict in ("next", "done", "wait", "fail"):
        have = values.get(("weir_plugin_calls_total", plugin, phase, verdict), 0)
        want = verdict_counts.get(verdict, 0)
        assert have == want, f"{plugin} {phase} {verdict}: have {have}, want {want}"


def test_counts_are_exact():
    with start() as weir:
        plan = [("next", 200, 30), ("done", 403, 7), ("fail", 500, 5), ("wait", 200, 3)]
        for verdict, status, count in plan:
            for _ in range(count):
                assert ask(weir, verdict).status == status
        for _ in range(4):
            assert ask(weir, key="wrong").status == 401
        values = settled(weir, "verdicts", 49)
        # A wait counts as one when it begins, and as what was said when it was over.
        expect(values, "verdicts", "access", next=30 + 3, done=7, fail=5, wait=3)
        expect(values, "verdicts", "response_headers", next=49)
        expect(values, "verdicts", "log", next=49)
        expect(values, "key-auth", "access", next=45, done=4)
        for plugin in ("verdicts", "key-auth"):
            assert values["weir_plugin_exchanges_total", plugin] == 49
            assert values["weir_plugin_server_errors_total", plugin] == 5
            assert values["weir_plugin_exchanges_active", plugin] == 0
            assert values["weir_plugin_suspended", plugin] == 0
            assert values["weir_plugin_images", plugin] == 2, "one in each worker"
            assert values["weir_plugin_policies", plugin] == 2
        assert values["weir_plugin_arena_bytes_total", "verdicts"] == 100 * 45
        assert values["weir_plugin_exchange_seconds_total", "verdicts"] >= 3 * 0.015
        # The same, asked of the master.
        lines = question(weir, "top").splitlines()
        assert lines[0] == "ok", lines
        at = next(i for i, l in enumerate(lines) if l.startswith("build verdicts "))
        phases = {l.split()[1]: l.split()[2:6] for l in lines[at + 1:at + 4]}
        assert phases["access"] == ["33", "7", "3", "5"], lines
        assert lines[at].split()[8:10] == ["49", "5"], lines[at]
        assert lines[at].split()[11] == "1.0.0", lines[at]
        assert next(l for l in lines if l.startswith("gateway ")).split()[1] == "49", lines


def test_time_is_sampled():
    with start(workers=1) as weir, weir.connect() as conn:
        for _ in range(128):  # of 64 one is timed, and stands for all of them
            conn.send_request("GET", "/r", [("apikey", "k"), ("X-Spin", "3")])
            assert conn.read_response().status == 200
        values = settled(weir, "verdicts", 128)
        for phase in ("access", "response_headers"):
            seconds = values["weir_plugin_seconds_total", "verdicts", phase]
            assert 128 * 0.003 * 0.95 <= seconds < 128 * 0.2, seconds
        assert values["weir_plugin_seconds_total", "verdicts", "log"] < 128 * 0.003


def test_nothing_is_lost_with_a_worker():
    with start() as weir:
        for _ in range(20):
            assert ask(weir, "next").status == 200
        settled(weir, "verdicts", 20)
        held = weir.connect()
        held.send_request("GET", "/r", [("apikey", "k"), ("X-Verdict", "hold")])

        def waits():
            values = scrape(weir)[1]
            return values["weir_plugin_suspended", "verdicts"] == 1 and \
                values["weir_plugin_exchanges_active", "verdicts"] == 1 and \
                values["weir_plugin_exchanges_active", "key-auth"] == 1
        wait_for("a hook waits", waits)
        before = weir.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert held.ended()

        def replaced():
            try:
                values = scrape(weir)[1]
            except (OSError, AttributeError):
                return False
            return len(set(weir.workers()) - set(before)) >= 2 and values and \
                values["weir_plugin_images", "verdicts"] == 2
        wait_for("new workers have the images", replaced)
        weir.wait_ready()
        values = scrape(weir)[1]
        assert values["weir_plugin_suspended", "verdicts"] == 0
        assert values["weir_plugin_exchanges_active", "verdicts"] == 0
        assert values["weir_plugin_exchanges_total", "verdicts"] == 20
        expect(values, "verdicts", "access", next=20, wait=1)
        for _ in range(10):
            assert ask(weir, "next").status == 200
        values = settled(weir, "verdicts", 30)
        expect(values, "verdicts", "access", next=30, wait=1)


def test_a_client_that_goes_while_a_hook_waits():
    with start(workers=1) as weir:
        with weir.connect() as held:
            held.send_request("GET", "/r", [("apikey", "k"), ("X-Verdict", "hold")])
            wait_for("a hook waits",
                     lambda: scrape(weir)[1]["weir_plugin_suspended", "verdicts"] == 1)
        values = settled(weir, "verdicts", 1)
        assert values["weir_plugin_suspended", "verdicts"] == 0
        assert values["weir_plugin_exchanges_active", "verdicts"] == 0
        expect(values, "verdicts", "access", wait=1)
        expect(values, "verdicts", "log", next=1)


def test_reloads_count_on_and_swaps_begin_anew():
    with start() as weir:
        for _ in range(6):
            assert ask(weir).status == 200
        for _ in range(3):
            assert weir.reload().returncode == 0
        ask(weir)
        settled(weir, "verdicts", 7)
        wait_for("the old configurations are gone", lambda: scrape(weir)[1][
            "weir_plugin_policies", "verdicts"] == 2)
        run = weir.run("plugin", "swap", "verdicts", second)
        assert run.returncode == 0, run.stderr
        for _ in range(5):
            assert ask(weir).status == 200
        settled(weir, "verdicts", 12)
        text = scrape(weir)[0]
        builds = dict(re.findall(
            r'^weir_plugin_build_info\{plugin="verdicts",build="(\w+)",version="(.*)"\} 1$', text,
            re.M))
        assert sorted(builds.values()) == ["1.0.0", "2.0.0"], builds
        for build, version in builds.items():
            count = re.search(r'^weir_plugin_exchanges_total\{plugin="verdicts",build="%s"\} (\d+)$'
                              % build, text, re.M).group(1)
            assert int(count) == (7 if version == "1.0.0" else 5), (version, count)


def test_promtool_reads_it():
    with start() as weir:
        ask(weir)
        ask(weir, "fail")
        settled(weir, "verdicts", 2)
        text = scrape(weir)[0]
        names = re.findall(r"^# TYPE (\S+) ", text, re.M)
        assert names == sorted(names) and len(set(names)) == len(names), names
        assert "weir_plugin_seconds_total" in names
        if shutil.which("promtool") is None:
            print("     skipped: no promtool here (Debian package prometheus)")
            return
        run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                             text=True, check=False)
        said = [l for l in (run.stdout + run.stderr).splitlines() if not l.startswith("kong_")]
        assert not said, said


def test_top_shows_rates():
    with start() as weir:
        on = True

        def load():
            with weir.connect() as conn:
                count = 0
                while on:
                    count += 1
                    conn.send_request("GET", "/r", [
                        ("apikey", "k"), ("X-Verdict", "done" if count % 2 else "next")])
                    assert conn.read_response().status in (200, 403)
        thread = threading.Thread(target=load)
        thread.start()
        try:
            run = weir.run("top", "--once", "--interval", "0.5")
        finally:
            on = False
            thread.join()
        assert run.returncode == 0, run.stderr
        lines = run.stdout.splitlines()
        assert "\033" not in run.stdout
        head = re.fullmatch(r"([\d.]+) requests/s, \d+ active, 2 of 2 workers, plugins take "
                            r"[\d.]+% of their time", lines[0])
        assert head and float(head.group(1)) > 1, lines[0]
        assert lines[2].split()[:3] == ["PLUGIN", "BUILD", "PHASE"], lines
        rows = {(l.split()[0], l.split()[3]): l.split() for l in lines[3:]}
        access = rows["verdicts", "access"]
        calls, done, failed = float(access[4]), float(access[7]), float(access[8])
        assert access[1] == "1.0.0" and re.fullmatch("[0-9a-f]{12}", access[2]), access
        assert calls > 1 and abs(done - calls / 2) <= calls / 10 + 4 and failed == 0, access
        assert float(rows["verdicts", "log"][4]) > 1 and ("key-auth", "access") in rows, rows
        for words, code in ((["--interval", "0"], 2), (["--twice"], 2)):
            assert weir.run("top", *words).returncode == code, words
    run = subprocess.run([WEIR, "top", "--once", "--prefix", "/nonexistent"], capture_output=True,
                         text=True, check=False)
    assert run.returncode == 1 and "nobody listens" in run.stderr, run


def parts_of(response):
    field = response.get("Server-Timing")
    assert field is not None, response.headers
    parts = {}
    for item in field.split(", "):
        name, value = re.fullmatch(r"([\w-]+);dur=(\d+\.\d+)", item).groups()
        assert name not in parts, field
        parts[name] = float(value)
    return parts


def check_sum(parts):
    total = sum(v for n, v in parts.items() if n not in ("gateway", "upstream"))
    rounding = 0.00005 * (len(parts) + 1)  # each is told in steps of 0.1 us
    assert abs(total - parts["gateway"]) <= 0.05 * parts["gateway"] + rounding, parts


def slow(conn, up):
    while read_request(conn, up) is not None:
        time.sleep(0.03)
        conn.send(reply(headers=[("Server-Timing", "db;dur=12")]))


def test_server_timing():
    up = Upstream(slow)
    with start(up.port, workers=1, settings={"server_timing": "on"}) as weir:
        begun = time.monotonic()
        response = ask(weir, headers=[("X-Spin", "10")])
        wall = (time.monotonic() - begun) * 1000
        assert response.status == 200
        fields = [v for n, v in response.headers if n.lower() == "server-timing"]
        assert fields[0] == "db;dur=12" and len(fields) == 2, "the target's own stays"
        response.headers = [(n, v) for n, v in response.headers if v != "db;dur=12"]
        parts = parts_of(response)
        assert list(parts)[:3] == ["gateway", "upstream", "core"], parts
        assert set(parts) == {"gateway", "upstream", "core", "key-auth", "verdicts"}, parts
        check_sum(parts)
        assert parts["upstream"] >= 30, parts
        assert parts["verdicts"] >= 20, "access and response_headers: %s" % parts
        assert parts["gateway"] + parts["upstream"] <= wall, (parts, wall)

        waited = parts_of_last(ask(weir, "wait"))
        assert waited["verdicts"] >= 15 and waited["upstream"] >= 30, waited
        check_sum(waited)
        for response, status in ((ask(weir, key="wrong"), 401), (ask(weir, "fail"), 500),
                                 (ask(weir, "done"), 403), (ask(weir, path="/none"), 404)):
            assert response.status == status
            parts = parts_of(response)
            assert "upstream" not in parts, parts
            assert ("verdicts" in parts) == (status in (401, 403, 500)), (status, parts)
            check_sum(parts)
        # Many short ones: their parts are small, and add up all the same.
        with weir.connect() as conn:
            for _ in range(50):
                conn.send_request("GET", "/r", [("apikey", "wrong")])
                check_sum(parts_of(conn.read_response()))
        # It is off again by a reload.
        weir.settings["server_timing"] = "off"
        with open(weir.file, encoding="utf-8") as f:
            config = f.read().split("services:", 1)[1]
        assert weir.reload("services:" + config).returncode == 0
        assert ask(weir, key="wrong").get("Server-Timing") is None
    up.close()


def parts_of_last(response):
    """Of weir's own field, behind the target's."""
    response.headers = [(n, v) for n, v in response.headers if v != "db;dur=12"]
    return parts_of(response)


def test_a_target_that_is_gone_has_its_part_too():
    with start(free_port(), workers=1, settings={"server_timing": "on"}) as weir:
        response = ask(weir)
        assert response.status == 502
        parts = parts_of(response)
        assert "upstream" in parts, parts
        check_sum(parts)


run_tests(globals())
