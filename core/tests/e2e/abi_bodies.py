#!/usr/bin/env python3
"""Policies that wait in every phase while slow bodies pass both ways: not a byte is lost."""
import os
import random
import socket
import threading
import time

from lib_abi import Sdk, lines_of
from lib_weir import Upstream, Weir, read_request, reply, run_tests, wait_for

SIZE = 300 * 1024
NEEDS = {"stream": "WEIR_BODY_STREAM", "buffer": "WEIR_BODY_BUFFER", "tee": "WEIR_BODY_TEE"}
sdk = Sdk()
for need, value in NEEDS.items():
    sdk.compile("probe", "probe-" + need, [f"-DBODY_NEED={value}"])
sdk.compile("probe", "probe-all", ["-DPRIORITY=900"])
LINES = sdk.dir + "/lines"


def config(port, settings=""):
    routes = "".join(
        f"  - name: {need}\n    paths: [/{need}]\n    strip_path: false\n    plugins:\n"
        f"    - name: probe-{need}\n      config: {{file: {LINES}}}\n" for need in NEEDS)
    routes += ("  - name: both\n    paths: [/both]\n    strip_path: false\n    plugins:\n"
               f"    - name: probe-tee\n      config: {{file: {LINES}}}\n"
               f"    - name: probe-buffer\n      config: {{file: {LINES}}}\n"
               f"    - name: probe-stream\n      config: {{file: {LINES}}}\n")
    return (f"services:\n- name: s\n  url: http://127.0.0.1:{port}\n{settings}  routes:\n{routes}"
            f"plugins:\n- name: probe-all\n  config: {{file: {LINES}}}\n")


def start(port, settings=""):
    return Weir(config(port, settings), settings={"plugin_path": sdk.plugins})


def pieces(body, seed):
    """Odd pieces of it, some of one byte."""
    dice, at = random.Random(seed), 0
    while at < len(body):
        size = dice.choice((1, 2, 7, 1000, 4096, 8191, 16385, 30011))
        yield body[at:at + size]
        at += size


def send_slowly(conn, body, seed, chunked):
    for number, piece in enumerate(pieces(body, seed)):
        conn.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if number % 4 == 0:
            time.sleep(0.002)
    if chunked:
        conn.send(b"0\r\n\r\n")


def slow_echo(conn, upstream):
    """The request's body comes back, framed as X-Frame says."""
    while True:
        request = read_request(conn, upstream)
        if request is None:
            return
        head = {n.lower(): v for n, v in request[1]}
        frame, body = head.get("x-frame", "length"), request[2]
        line = {"chunked": "Transfer-Encoding: chunked", "length": f"Content-Length: {len(body)}",
                "close": "Connection: close"}[frame]
        conn.send(f"HTTP/1.1 200 OK\r\n{line}\r\n\r\n")
        send_slowly(conn, body, len(frame), frame == "chunked")
        if frame == "close":
            return


def exchange(weir, path, todo, body, frame, chunked, seed=5):
    with weir.connect() as conn:
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        conn.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Do: {todo} .\r\n"
                  f"X-Frame: {frame}\r\n{framing}\r\n\r\n")
        sender = threading.Thread(target=send_slowly, args=(conn, body, seed, chunked))
        sender.start()
        answer = conn.read_response()
        sender.join()
        if answer is not None and answer.status == 200:
            conn.send_request("POST", "/nowhere", (), b"next")
            assert conn.read_response().status == 404, "the connection is out of step"
        return answer


def every_phase(action):
    return " ".join(f"{phase}={action}" for phase in
                    ("rewrite", "access", "request_body", "upstream", "response_headers",
                     "response_body"))


def check_need(need, action="wait"):
    up, body = Upstream(slow_echo), os.urandom(SIZE)
    with start(up.port) as weir:
        for chunked in (False, True):
            for frame in ("length", "chunked", "close"):
                name = f"/{need}/{action}/{frame}/{chunked}"
                answer = exchange(weir, name, every_phase(action), body, frame, chunked)
                assert answer is not None and answer.status == 200, (name, answer and answer.status)
                assert up.seen[-1][2] == body, f"{name}: the target got other bytes"
                assert answer.complete and answer.body == body, f"{name}: the client got others"
        assert "BROKEN" not in weir.log_text()


def test_stream_hooks_that_wait():
    check_need("stream")


def test_stream_hooks_woken_before_they_wait():
    check_need("stream", "early")


def test_buffer_hooks_that_wait():
    check_need("buffer")


def test_tee_hooks_while_the_others_wait():
    up, body = Upstream(slow_echo), os.urandom(SIZE)
    todo = every_phase("wait").replace("request_body=wait", "x=x").replace("response_body=wait", "")
    with start(up.port) as weir:
        for chunked, frame in ((False, "length"), (True, "chunked"), (True, "close")):
            path = f"/tee/{frame}"
            answer = exchange(weir, path, todo, body, frame, chunked)
            assert answer.status == 200 and answer.body == body and up.seen[-1][2] == body
            seen = wait_for("the log line", lambda: [
                line for line in lines_of(LINES) if line.startswith(f"probe-tee {path} ")])
            assert f"in={SIZE}/" in seen[0] and f"out={SIZE}/" in seen[0], seen


def test_three_needs_on_one_route():
    up, body = Upstream(slow_echo), os.urandom(SIZE)
    with start(up.port) as weir:
        answer = exchange(weir, "/both/plain", "x=x", body, "length", False)
        assert answer.status == 200 and answer.body == body and up.seen[-1][2] == body
        todo = "access=wait upstream=wait response_headers=wait"
        answer = exchange(weir, "/both/wait", todo, body, "length", False)
        assert answer.status == 200 and answer.body == body and up.seen[-1][2] == body


def test_a_tee_that_asks_to_wait_fails():
    """It cannot park: WEIR_FAIL, closed, before anything of the body has gone on."""
    up = Upstream(slow_echo)
    with start(up.port) as weir:
        answer = exchange(weir, "/tee/w", "request_body=wait", b"short", "length", False)
        assert answer.status == 500, answer.status


def test_early_bytes_while_a_hook_waits():
    """More than one buffer of the body arrives while access, upstream or response_headers wait."""
    up, body = Upstream(slow_echo), os.urandom(SIZE)
    with start(up.port) as weir:
        for need in ("stream", "tee", "none"):
            for phase in ("rewrite", "access", "upstream", "response_headers"):
                path = f"/{need}/{phase}" if need != "none" else f"/tee/{phase}"
                for chunked in (False, True):
                    with weir.connect() as conn:
                        line = ("Transfer-Encoding: chunked" if chunked
                                else f"Content-Length: {len(body)}")
                        payload = (b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked
                                   else body)
                        conn.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Do: {phase}=expire .\r\n"
                                  f"{line}\r\n\r\n".encode() + payload)
                        answer = conn.read_response()
                        assert answer.status == 200 and answer.body == body, (path, answer.status)


def push(sock, most):
    """Send until nobody reads for a while; how much that was."""
    sent, piece = 0, b"x" * 65536
    sock.settimeout(0.7)
    try:
        while sent < most:
            sent += sock.send(piece)
    except socket.timeout:
        pass
    sock.settimeout(60)
    return sent


def memory_kib(weir):
    with open(f"/proc/{weir.workers()[0]}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_a_waiting_request_body_hook_holds_the_client_back():
    up = Upstream(slow_echo)
    most = 64 << 20
    with start(up.port) as weir, weir.connect() as conn:
        before = memory_kib(weir)
        conn.send(f"POST /stream/b HTTP/1.1\r\nHost: x\r\nX-Do: request_body=late .\r\n"
                  f"Content-Length: {most}\r\n\r\n")
        sent = push(conn.sock, most)
        assert sent < most // 2, f"{sent} bytes were taken while the hook waits"
        grown = memory_kib(weir) - before
        assert grown < 8192, f"the worker grew by {grown} KiB"
        assert weir.get("/stream/other").status == 200
    with start(up.port) as weir:
        body = os.urandom(4 << 20)
        answer = exchange(weir, "/stream/late", "request_body=late", body, "length", False)
        assert answer.status == 200 and answer.body == body


def test_a_waiting_response_body_hook_holds_the_target_back():
    taken, most = [], 64 << 20

    def pour(conn, upstream):
        while read_request(conn, upstream) is not None:
            conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {most}\r\n\r\n")
            sent = push(conn.sock, most)
            taken.append(sent)
            while sent < most:
                sent += conn.sock.send(b"x" * min(65536, most - sent))

    up = Upstream(pour)
    with start(up.port) as weir:
        with weir.connect(timeout=60) as conn:
            conn.send_request("GET", "/stream/b", [("X-Do", "response_body=late .")])
            answer = conn.read_response()
            assert answer.complete and len(answer.body) == most
            assert taken[0] < most // 2, f"{taken[0]} bytes were taken while the hook waits"
        with weir.connect() as conn:
            conn.send_request("GET", "/stream/lost", [("X-Do", "response_body=lost .")])
            wait_for("the target is held back", lambda: len(taken) == 2)
        wait_for("the log hook", lambda: any("/stream/lost" in l for l in lines_of(LINES)))


def test_a_waiting_policy_is_not_the_targets_or_the_clients_delay():
    """Deadlines of reading from either side do not run while a hook is what everybody waits for."""
    up, body = Upstream(slow_echo), os.urandom(SIZE)
    with Weir(config(up.port, "  read_timeout: 400\n  write_timeout: 400\n"),
              settings={"plugin_path": sdk.plugins, "client_body_timeout": "400ms"}) as weir:
        for phase in ("request_body", "response_body"):
            answer = exchange(weir, f"/stream/{phase}", f"{phase}=late", body, "length", False)
            assert answer is not None and answer.status == 200, (phase, answer and answer.status)
            assert answer.body == body, phase


def test_bodies_that_are_none_never_reach_the_hooks():
    def bare(conn, upstream):
        while True:
            request = read_request(conn, upstream)
            if request is None:
                return
            if "204" in request[0]:
                conn.send("HTTP/1.1 204 No Content\r\n\r\n")
            elif "304" in request[0]:
                conn.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")
            else:
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")

    up = Upstream(bare)
    with start(up.port) as weir, weir.connect() as conn:
        for need in NEEDS:
            for method, path, status in (("HEAD", f"/{need}/head", 200), ("GET", f"/{need}/204", 204),
                                         ("GET", f"/{need}/304", 304)):
                conn.send_request(method, path, [("X-Do", "response_headers=wait .")])
                answer = conn.read_response(method)
                assert (answer.status, answer.body) == (status, b""), (path, answer.status)
                if method == "HEAD":
                    assert answer.get("Content-Length") == "9" or need != "tee", answer.headers
                seen = wait_for("the log line", lambda: [
                    l for l in lines_of(LINES) if l.startswith(f"probe-{need} {path} ")])
                assert seen[0].endswith("in=0/0 out=0/0"), seen


def test_a_target_that_answers_before_the_waiting_body_has_gone():
    """An early answer, then the target closes: the hook is woken into an exchange that goes on."""
    def early(conn, upstream):
        conn.read_head()
        conn.send(reply(413, b"too long for me"))

    up = Upstream(early)
    with start(up.port) as weir:
        for todo in ("request_body=late", "request_body=lost", "request_body=wait",
                     "request_body=late response_headers=wait",
                     "request_body=wait response_headers=expire response_body=wait"):
            with weir.connect() as conn:
                conn.send(f"POST /stream/e HTTP/1.1\r\nHost: x\r\nX-Do: {todo} .\r\n"
                          "Content-Length: 100000\r\n\r\n".encode() + b"x" * 70000)
                answer = conn.read_response()
                assert (answer.status, answer.body) == (413, b"too long for me"), todo
        time.sleep(1.6)  # the late ones would be woken by now
        assert weir.get("/stream/after").status == 413


def test_a_target_that_goes_away_while_a_body_hook_waits():
    def rude(conn, upstream):
        conn.read_head()

    up = Upstream(rude)
    with start(up.port) as weir:
        for todo in ("request_body=late", "request_body=late response_headers=expire"):
            with weir.connect() as conn:
                conn.send(f"POST /stream/g HTTP/1.1\r\nHost: x\r\nX-Do: {todo} .\r\n"
                          "Content-Length: 100\r\n\r\n".encode() + b"x" * 100)
                assert conn.read_response().status == 502, todo
        time.sleep(1.6)
        assert weir.get("/stream/after").status == 502


def test_answers_out_of_the_request_body_hook():
    up = Upstream(slow_echo)
    with start(up.port) as weir:
        for need in ("stream", "buffer"):
            for action in ("done", "waitdone"):
                answer = exchange(weir, f"/{need}/{action}", f"request_body={action}",
                                  b"y" * 100000, "length", False)
                assert (answer.status, answer.body) == (299, b"done in request_body"), \
                    (need, action, answer.status, answer.body)
            for action in ("fail", "odd", "waitfail"):
                answer = exchange(weir, f"/{need}/{action}", f"request_body={action}",
                                  b"y" * 100000, "length", False)
                assert answer.status == 500, (need, action, answer.status)


run_tests(globals())
