#!/usr/bin/env python3
"""Hooks that answer or wait in every phase, and wakes that come early, twice, late or from another
thread: each request gets one answer."""
import re
import time

from lib_abi import Sdk, lines_of
from lib_weir import Upstream, Weir, answer_all, run_tests, wait_for

sdk = Sdk()
sdk.compile("probe", "probe-stream", ["-DBODY_NEED=WEIR_BODY_STREAM"])
sdk.compile("probe", "probe-all", ["-DPRIORITY=900"])
sdk.compile("parking", flags=["-pthread"])
LINES = sdk.dir + "/lines"
PHASES = ("rewrite", "access", "request_body", "upstream", "response_headers")


def start(port, on_error="closed"):
    return Weir(f"""
services:
- name: s
  url: http://127.0.0.1:{port}
  routes:
  - name: stream
    paths: [/stream]
    strip_path: false
    plugins:
    - name: probe-stream
      on_error: {on_error}
      config: {{file: {LINES}}}
  - name: parking
    paths: [/parking]
    plugins:
    - name: parking
plugins:
- name: probe-all
  on_error: {on_error}
  config: {{file: {LINES}}}
""", settings={"plugin_path": sdk.plugins})


def ask(conn, todo, method="POST", path="/stream", body=b"the body"):
    conn.send_request(method, path, [("X-Do", todo + " .")], body)
    return conn.read_response(method)


def logged(path):
    return [line for line in lines_of(LINES) if line.split(" ")[1] == path]


def test_every_phase_may_answer():
    up = Upstream()
    with start(up.port) as weir, weir.connect() as conn:
        for phase in PHASES:
            for action in ("done", "waitdone"):
                answer = ask(conn, f"{phase}={action}", path=f"/stream/{phase}/{action}")
                assert (answer.status, answer.body) == (299, f"done in {phase}".encode()), phase
                assert answer.get("Content-Type") == "text/x-probe", answer.headers
                assert answer.get("Content-Length") is None or \
                    int(answer.get("Content-Length")) == len(answer.body)
                line = wait_for("the log hook", lambda: logged(f"/stream/{phase}/{action}"))
                assert "status=299" in line[0], line
        assert ask(conn, "x=x").body == b"hello", "keep-alive ended"


def test_an_answer_in_response_headers_replaces_the_targets():
    up = Upstream()
    with start(up.port) as weir, weir.connect() as conn:
        for action in ("done", "waitdone"):
            for method in ("GET", "HEAD", "POST"):
                # this route has no body hook: the answer's length is known
                answer = ask(conn, f"response_headers={action}", method, "/parking/x",
                             b"b" if method == "POST" else b"")
                assert answer.status == 299, answer.status
                assert answer.get("Content-Length") == "24", answer.headers
                assert answer.body == (b"" if method == "HEAD" else b"done in response_headers")
                assert answer.get("Content-Type") == "text/x-probe"
                assert len([n for n, _ in answer.headers if n.lower() == "content-length"]) == 1
            assert ask(conn, "x=x", "GET", "/parking/y", b"").body == b"hello"


def test_waits_of_every_kind_in_every_phase():
    up = Upstream()
    with start(up.port) as weir, weir.connect() as conn:
        for phase in PHASES + ("response_body",):
            for action in ("wait", "early", "double", "forgotten", "expire"):
                answer = ask(conn, f"{phase}={action}")
                assert answer is not None, (phase, action)
                assert (answer.status, answer.body) == (200, b"hello"), (phase, action)
                assert up.seen[-1][2] == b"the body", (phase, action)
        assert "BROKEN" not in weir.log_text()


def test_verdicts_that_fail():
    up = Upstream()
    for on_error, status in (("closed", 500), ("open", 200)):
        with start(up.port, on_error) as weir, weir.connect() as conn:
            for phase in PHASES:
                for action in ("fail", "odd", "waitfail"):
                    answer = ask(conn, f"{phase}={action}")
                    assert answer.status == status, (on_error, phase, action, answer.status)
                    if answer.get("Connection") == "close":
                        conn.sock.close()
                        conn.__init__(weir.proxy)
            answer = ask(conn, "response_headers=fail", "GET", "/nothing/here", b"")
            assert answer.status == (500 if on_error == "closed" else 404), \
                "of an answer that is the gateway's own"


def test_a_failed_response_body_hook_is_never_a_whole_answer():
    up = Upstream()
    with start(up.port) as weir:
        for action in ("fail", "odd", "waitfail", "done"):
            with weir.connect() as conn:
                answer = ask(conn, f"response_body={action}")
                # Nothing had left yet: an error instead. Else the answer is cut.
                assert answer is None or not answer.complete or answer.status == 500, \
                    (action, answer.status, answer.body)
        assert weir.get("/stream").body == b"hello"


def test_the_client_goes_while_a_hook_waits_or_has_answered():
    up = Upstream()
    with start(up.port) as weir:
        for phase in PHASES + ("response_body",):
            for action in ("lost", "waitdone", "wait", "late", "expire"):
                path = f"/stream/{phase}/{action}/gone"
                with weir.connect() as conn:
                    conn.send_request("POST", path, [("X-Do", f"{phase}={action} .")], b"the body")
                line = wait_for(f"the log hook of {path}", lambda: logged(path))
                assert len(line) <= 2, "once for each policy"
        time.sleep(1.6)  # what rings late finds nobody
        assert weir.get("/stream").body == b"hello"
        assert len(weir.workers()) == 1


PARKED = 200


def parked(weir, mode=""):
    conns = [weir.connect() for _ in range(PARKED)]
    for number, conn in enumerate(conns):
        conn.send_request("GET", "/parking", [("X-Id", str(number)), ("X-Mode", mode)])
    return conns


def report(weir, mode="report"):
    text = weir.get("/parking", headers=[("X-Mode", mode)]).body.decode()
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", text)}


def answered_once(conns, times=1):
    for number, conn in enumerate(conns):
        answer = conn.read_response()
        assert answer.body == b"%d woken %d why 0" % (number, times), answer.body
    for conn in conns:
        conn.send_request("GET", "/parking/after")
    for conn in conns:
        assert conn.read_response().body == b"hello", "the next request on it"
        conn.sock.close()


def check_parked(kind):
    up = Upstream(answer_all)
    with start(up.port) as weir:
        for round_ in (1, 2):
            conns = parked(weir)
            wait_for("all are parked", lambda: report(weir)["parked"] == PARKED)
            wait_for("nobody else is busy", lambda: report(weir)["answered"] ==
                     PARKED * (round_ - 1))
            time.sleep(0.1)
            report(weir, kind)
            answered_once(conns, round_)
            stale = report(weir, kind)  # again: every token is stale
            now = wait_for("the wakes", lambda: report(weir) if report(weir)["gone"] ==
                           PARKED * 5 * round_ else None)
            assert now["heard"] == PARKED * round_, (stale, now)
            assert now["most"] == round_ and now["answered"] == PARKED * round_, now


def test_wakes_in_random_order():
    check_parked("wake")


def test_wakes_from_another_thread():
    check_parked("thread")


def test_wakes_before_the_wait():
    up = Upstream(answer_all)
    with start(up.port) as weir:
        answered_once(parked(weir, "early"))
        now = report(weir, "wake")
        assert (now["answered"], now["heard"], now["most"]) == (PARKED, 0, 1), now


def test_a_stop_while_requests_are_parked():
    up = Upstream(answer_all)
    weir = start(up.port)
    conns = parked(weir)
    wait_for("all are parked", lambda: report(weir)["parked"] == PARKED)
    report(weir, "thread")
    assert weir.stop() == 0
    for number, conn in enumerate(conns):
        assert conn.read_response().body == b"%d woken 1 why 0" % number
        conn.sock.close()


run_tests(globals())
