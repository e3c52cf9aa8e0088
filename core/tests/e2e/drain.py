#!/usr/bin/env python3
"""The end of a gateway that is busy: it says that it is not ready and serves on, then takes nothing new and lets
what is under way end, then cuts it and names what it cut."""
import json
import os
import re
import signal
import threading
import time

from lib_weir import Upstream, Weir, answer_all, read_request, run_tests, service, wait_for


class Streams(Upstream):
    """Each request is answered with a body that goes on, a piece each 50 ms, until `let_go` is set; on a path
    with "silent" nothing comes before that, and on one with "quick" all of it at once."""

    def __init__(self):
        self.let_go, self.running = threading.Event(), 0
        super().__init__(self.stream)

    def stream(self, conn, _):
        request = read_request(conn, self)
        if request is None:
            return
        if "quick" in request[0]:
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            return
        self.running += 1
        if "silent" in request[0]:
            self.let_go.wait(60)
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not self.let_go.wait(0.05):
            conn.send("4\r\ntick\r\n")
        conn.send("3\r\nend\r\n0\r\n\r\n")


def start(upstream, args=(), workers=1, **settings):
    return Weir(service(upstream.port), workers=workers, settings=settings, args=args)


def begin(weir, upstream, target, **more):
    """A request whose answer goes on."""
    before = upstream.running
    conn = weir.connect()
    conn.send_request("GET", target, **more)
    wait_for("the target has it", lambda: upstream.running > before)
    return conn


def is_refused(weir):
    try:
        with weir.connect() as conn:
            conn.send_request("GET", "/quick")
            return conn.read_response() is None
    except OSError:
        return True


def ready(weir):
    got = weir.get("/status/ready", port=weir.status)
    return got.status, json.loads(got.body)["message"]


def named(weir, heading):
    """The lines below a heading of the log, without time and level."""
    lines = [re.sub(r"^\S+ \S+ (?=worker|master|[a-z])", "", line) for line in weir.log_text().splitlines()]
    found = []
    for i, line in enumerate(lines):
        if heading in line:
            who = line.split(":")[0]
            for next_line in lines[i + 1:]:
                if not next_line.startswith(who + ":   "):
                    break
                found.append(next_line[len(who) + 4:])
    return found


def end_of(weir, seconds=20):
    begun = time.monotonic()
    code = weir.process.wait(seconds)
    return code, time.monotonic() - begun


def test_the_delay_serves_and_says_so():
    upstream = Streams()
    with start(upstream, workers=2, drain_delay="3s", drain_timeout="20s") as weir:
        assert ready(weir) == (200, "ready")
        with begin(weir, upstream, "/long") as stream, begin(weir, upstream, "/silent") as silent, \
                weir.connect() as kept:
            begun = time.monotonic()
            weir.process.send_signal(signal.SIGTERM)
            wait_for("not ready", lambda: ready(weir) == (503, "draining"))
            served = 0
            while time.monotonic() - begun < 2:
                assert weir.get("/quick").status == 200, "new connections are served"
                kept.send_request("GET", "/quick")
                got = kept.read_response()
                assert got.status == 200 and got.get("connection") != "close", "and old ones kept"
                served += 1
            assert served > 0 and ready(weir) == (503, "draining")
            wait_for("the delay is over", lambda: "draining: no new connections" in weir.log_text())
            assert time.monotonic() - begun >= 3
            wait_for("nothing new is taken", lambda: is_refused(weir))
            assert kept.ended(), "an idle connection is closed"
            assert ready(weir) == (503, "draining"), "it is still there to be asked"
            upstream.let_go.set()
            got = stream.read_response()
            assert got.complete and got.body.endswith(b"end"), "what was under way ended"
            got = silent.read_response()
            assert got.complete and got.get("connection") == "close", "and says that nothing follows"
        code, took = end_of(weir)
        assert code == 0 and took < 5, (code, took)
        assert "draining: no new connections, 2 requests in flight have 20000 ms to end" in weir.log_text()
        assert " cut " not in weir.log_text() and "half of drain_timeout" not in weir.log_text()


def test_no_request_is_lost():
    """Clients that ask without pause over kept connections read every answer whole, or none at all."""
    upstream = Upstream(answer_all)
    with start(upstream, workers=2, drain_timeout="10s") as weir:
        broken, answered, lock = [], [0], threading.Lock()

        def ask():
            while True:
                try:
                    conn = weir.connect()
                except OSError:
                    return
                with conn:
                    last = False
                    while not last:
                        try:
                            conn.send_request("GET", "/")
                            got = conn.read_response()
                        except OSError:
                            got = None
                        if got is None:
                            break  # closed between two requests: nothing of an answer came
                        with lock:
                            answered[0] += 1
                            if got.status != 200 or not got.complete:
                                broken.append(got.status)
                        last = got.get("connection") == "close"

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for("traffic", lambda: answered[0] > 100)
        weir.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(20)
        assert end_of(weir)[0] == 0 and not broken, broken


def test_what_takes_too_long_is_named_and_cut():
    upstream = Streams()
    for args in [(), ("--single-process",)]:
        with start(upstream, args=args, drain_timeout="2s") as weir:
            down = begin(weir, upstream, "/down/a%0Ab?apikey=hunter2")
            silent = begin(weir, upstream, "/silent")
            up = weir.connect()
            up.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + "x" * 100)
            head = weir.connect()
            head.send("GET /head HTTP/1.1\r\nHos")
            wait_for("four are under way", lambda: re.search(
                r"^weir_exchanges_active 4$", weir.get("/metrics", port=weir.status).body.decode(), re.M))
            weir.process.send_signal(signal.SIGTERM)
            code, took = end_of(weir)
            assert code == 0 and 1.5 < took < 10, (code, took)
            for conn in (down, silent, up, head):
                conn.sock.close()
            for heading in ("half of drain_timeout is over, 4 in flight:", "came first, 4 in flight:"):
                lines = named(weir, heading)
                assert len(lines) == 4, (heading, lines, weir.log_text())
                rest = r", for \d+\.\d s, \d+ bytes in, (\d+) out, request [0-9a-f]{32}"
                wanted = [r"127\.0\.0\.1 GET /down/a(\?|%0A)b, route 'r'" + rest, r"127\.0\.0\.1 GET /silent, route 'r'" + rest,
                          r"127\.0\.0\.1 POST /up, route 'r'" + rest,
                          r"127\.0\.0\.1, 23 bytes of a head that has not ended"]
                for pattern, line in zip(wanted, lines):
                    assert re.fullmatch(pattern, line), (pattern, line)
                assert int(re.fullmatch(wanted[0], lines[0]).group(2)) > 0, "bytes so far"
            assert "hunter2" not in weir.log_text(), "a query stays out of the log"
            assert re.search(r" notice .*half of", weir.log_text()) and re.search(r" warn .*came first", weir.log_text())


def test_twenty_are_named_and_the_rest_counted():
    upstream = Streams()
    with start(upstream, drain_timeout="1s") as weir:
        conns = [begin(weir, upstream, f"/stream/{i}") for i in range(25)]
        weir.process.send_signal(signal.SIGTERM)
        assert end_of(weir)[0] == 0
        for conn in conns:
            conn.sock.close()
        lines = named(weir, "came first, 25 in flight:")
        assert len(lines) == 21 and lines[-1] == "and 5 more", lines
        assert [line.split(",")[0].split("/")[-1] for line in lines[:20]] == [str(i) for i in range(20)], lines


def test_the_second_signal_cuts_at_once():
    upstream = Streams()
    for signals in [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,)]:
        with start(upstream, drain_delay="30s", drain_timeout="30s") as weir:
            with begin(weir, upstream, "/long"):
                for signum in signals:
                    weir.process.send_signal(signum)
                    wait_for("not ready", lambda: weir.process.poll() is not None or
                             ready_or_gone(weir) != (200, "ready"))
                code, took = end_of(weir)
            assert code == 0 and took < 10, (code, took)
            lines = named(weir, "1 in flight:")
            assert len(lines) == 1 and lines[0].startswith("127.0.0.1 GET /long, route 'r', for "), weir.log_text()


def ready_or_gone(weir):
    try:
        return ready(weir)
    except (OSError, AttributeError):
        return None


def test_a_worker_alone_drains():
    """Another one has its seat; what it serves ends, and takes as long as drain_timeout allows."""
    upstream = Streams()
    with start(upstream, drain_timeout="20s") as weir:
        old = weir.workers()
        with begin(weir, upstream, "/long") as stream:
            os.kill(old[0], signal.SIGTERM)
            wait_for("it takes nothing new", lambda: "draining" in weir.get("/status", port=weir.admin).body.decode())
            upstream.let_go.set()
            got = stream.read_response()
            assert got.complete and got.body.endswith(b"end"), "what was under way ended"
        wait_for("another one serves", lambda: weir.workers() not in ([], old) and weir.get("/quick").status == 200)


run_tests(globals())
