#!/usr/bin/env python3
"""Bodies pass through (RFC 9112 6, 7.1): as many bytes as there are, in no memory of ours, as slowly as the slower
side takes them, in both directions at once, and each piece when it is there.

WEIR_BODIES=full: bodies of 10 GiB instead of 64 MiB, back-pressure with 1 GiB (minutes; for a release build)."""
import os
import socket
import ssl
import statistics
import tempfile
import threading
import time

from lib_bodies import (Flat, PATTERN, Sender, blocking, body_of, cpu_seconds, framing_line, kernel_room)
from lib_weir import PATIENCE, PLUGINS, Conn, Upstream, Weir, free_port, read_request, run_tests, wait_for
from lib_abi import is_sanitized

FULL = os.environ.get("WEIR_BODIES") == "full"
MIB = 1 << 20
SIZE = (10 << 30) + 4711 if FULL else 64 * MIB + 4711
HELD = 1 << 30 if FULL else 64 * MIB
# KiB by which the peak may grow, whatever the size: buffers of one exchange, and what the sanitizer keeps for later.
FLAT = 16384 if is_sanitized() else 1024
NINE = ["jwt", "key-auth", "rate-limiting", "cors", "correlation-id", "request-transformer", "response-transformer",
        "file-log", "prometheus"]
missing = [name for name in NINE if not os.path.exists(f"{PLUGINS}/{name}.so")]
work = tempfile.TemporaryDirectory(prefix="weir-bodies-")
KEY = "apikey: bobs-key\r\nOrigin: https://x.test\r\n"


def policies(with_jwt=False):
    """Of a route: the nine, or (a token can be had by either of two) all but jwt."""
    settings = {
        "jwt": "{anonymous: nobody}", "key-auth": "{hide_credentials: true}",
        "rate-limiting": "{hour: 1000000, policy: local}", "cors": "{origins: ['https://x.test']}",
        "correlation-id": "{echo_downstream: true}",
        "request-transformer": "{add: {headers: ['X-Asked:yes']}}",
        "response-transformer": "{add: {headers: ['X-Passed:yes']}, remove: {headers: [Server]}}",
        "file-log": f"{{path: {work.name}/log}}",
        "prometheus": "{status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true, "
                      "per_consumer: true}"}
    return "    plugins:\n" + "".join(f"    - name: {name}\n      config: {settings[name]}\n" for name in NINE
                                      if name not in missing and (with_jwt or name != "jwt"))


def config(port):
    return (f"services:\n- name: s\n  url: http://127.0.0.1:{port}\n  routes:\n"
            "  - name: plain\n    paths: [/plain]\n    strip_path: false\n"
            f"  - name: policies\n    paths: [/policies]\n    strip_path: false\n{policies()}"
            f"  - name: nine\n    paths: [/nine]\n    strip_path: false\n{policies(True)}"
            "consumers:\n- username: bob\n  keyauth_credentials: [{key: bobs-key}]\n- username: nobody\n")


ROUTES = ("/plain", "/policies")


def start(port, settings=None):
    # What OpenSSL frees after each record is no growth: the sanitizer would keep 256 MiB of it.
    options = [os.environ.get("ASAN_OPTIONS", ""), "quarantine_size_mb=1", "thread_local_quarantine_size_kb=64"]
    return Weir(config(port), settings=settings, env=dict(os.environ, ASAN_OPTIONS=":".join(o for o in options if o)))


def warm(weir):
    """What a first exchange costs (buffers, arenas) is no growth."""
    for route in ROUTES:
        for _ in range(2):
            for body in (b"", PATTERN[:200000]):
                ask(weir, "POST", f"{route}/small", "length", len(body), body).sock.close()


def ask(weir, method, path, framing, size, body=b"", conn=None):
    conn = conn or weir.connect()
    blocking(conn.sock)
    conn.send(f"{method} {path} HTTP/1.1\r\nHost: gw.test\r\n{KEY}" +
              (f"{framing_line(framing, size)}\r\n\r\n" if method == "POST" else "\r\n"))
    if body:
        conn.sock.sendall(body)
    return conn


# ---- the target: /…/small, /…/sink, /…/source/FRAMING, /…/echo, /…/early

def head_for(framing, size, status=200):
    return f"HTTP/1.1 {status} OK\r\nServer: x\r\nContent-Type: application/octet-stream\r\n" \
           f"{framing_line(framing, size)}\r\n\r\n".encode()


def sink(conn, headers):
    body = body_of(conn, headers, request=True)
    answer = b"%d" % body.run()
    conn.send(head_for("length", len(answer)) + answer)


def source(conn, framing, size):
    conn.send(head_for(framing, size))
    Sender(conn.sock, size, framing == "chunked").run()


def echo(conn, headers):
    """Answers at the first byte and says the rest as it comes."""
    body = body_of(conn, headers, request=True)
    conn.send(head_for("chunked", 0))
    said = 0
    while True:
        piece = body.count - said
        if piece:
            out = bytearray()
            while piece:
                place = said % len(PATTERN)
                part = min(piece, len(PATTERN) - place)
                out += PATTERN[place:place + part]
                piece -= part
                said += part
            conn.sock.sendall(b"%x\r\n%s\r\n" % (len(out), out))
        if body.ended:
            break
        if not body.more():
            return
    conn.sock.sendall(b"0\r\n\r\n")


def target(conn, upstream):
    blocking(conn.sock)
    while True:
        head = conn.read_head()
        if head is None:
            return
        what = head[0].split()[1].split("/")[2:]
        if what[0] == "source":
            source(conn, what[1], int(what[2]))
            if what[1] == "close":
                return
        elif what[0] == "echo":
            echo(conn, head[1])
        else:
            sink(conn, head[1])


def told(conn):
    got = conn.read_response()
    assert got is not None and got.status == 200, got and (got.status, got.body)
    return int(got.body)


def figure(text):
    print(f"     {text}", flush=True)


def passed(what, size, begun, flat):
    seconds, growth = time.monotonic() - begun, flat.growth()
    figure(f"{what}: {size / MIB:.0f} MiB in {seconds:.2f} s, peak of the worker +{growth} KiB")
    assert growth <= FLAT, f"{what}: the worker's peak grew by {growth} KiB"


def test_uploads_in_flat_memory():
    upstream = Upstream(target)
    with start(upstream.port) as weir:
        warm(weir)
        worker = weir.workers()[0]
        for route in ROUTES:
            for framing in ("length", "chunked"):
                flat, begun = Flat(worker), time.monotonic()
                conn = ask(weir, "POST", f"{route}/sink", framing, SIZE)
                Sender(conn.sock, SIZE, framing == "chunked").run()
                assert told(conn) == SIZE
                conn.sock.close()
                passed(f"upload {framing} {route}", SIZE, begun, flat)


def test_downloads_in_flat_memory():
    upstream = Upstream(target)
    with start(upstream.port) as weir:
        warm(weir)
        worker = weir.workers()[0]
        for route in ROUTES:
            for framing in ("length", "chunked", "close"):
                flat, begun = Flat(worker), time.monotonic()
                conn = ask(weir, "GET", f"{route}/source/{framing}/{SIZE}", None, 0)
                head = conn.read_head()
                assert head[0].startswith("HTTP/1.1 200"), head
                assert body_of(conn, head[1]).run() == SIZE
                conn.sock.close()
                passed(f"download {framing} {route}", SIZE, begun, flat)


# ---- small pieces

def test_chunks_of_one_byte():
    count = 100000
    body = PATTERN[:count]
    wire = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    def answer(conn, upstream):
        blocking(conn.sock)
        head = conn.read_head()
        assert body_of(conn, head[1], request=True).run() == count
        conn.sock.sendall(head_for("chunked", 0) + wire)
    upstream = Upstream(answer)
    with start(upstream.port) as weir:
        for route in ROUTES:
            conn = ask(weir, "POST", route, "chunked", 0)
            sender = threading.Thread(target=conn.sock.sendall, args=(wire,))
            sender.start()
            head = conn.read_head()
            assert head[0].startswith("HTTP/1.1 200"), head
            assert body_of(conn, head[1]).run() == count
            sender.join()
            conn.sock.close()


def send_bytes(sock, data):
    """Each byte a segment of its own, as far as a program can say so."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(len(data)):
        sock.send(data[at:at + 1])


def test_segments_of_one_byte():
    count = 100000 if FULL else 10000
    body = PATTERN[:count]
    wires = {"length": body, "close": body,
             "chunked": b"".join(b"3;x\r\n%s\r\n" % body[i:i + 3] for i in range(0, 3000, 3)) + b"0\r\n\r\n"}
    sizes = {"length": count, "close": count, "chunked": 3000}

    def answer(conn, upstream):
        blocking(conn.sock)
        head = conn.read_head()
        framing = head[0].split()[1].split("/")[-1]
        got = body_of(conn, head[1], request=True).run()
        assert got == (0 if framing == "close" else sizes[framing]), got
        conn.send(head_for(framing, sizes[framing]))
        send_bytes(conn.sock, wires[framing])
    upstream = Upstream(answer)
    with start(upstream.port) as weir:
        for framing, wire in wires.items():
            conn = ask(weir, "GET" if framing == "close" else "POST", f"/plain/{framing}", framing, sizes[framing])
            if framing != "close":
                send_bytes(conn.sock, wire)
            head = conn.read_head()
            assert head[0].startswith("HTTP/1.1 200"), head
            assert body_of(conn, head[1]).run() == sizes[framing]
            conn.sock.close()


def test_chunk_extensions_are_bounded_and_dropped():
    """RFC 9112 7.1.1: a recipient MUST ignore what it does not know, and ought to limit the total."""
    def wire(count, extension):
        return b"".join(b"1%s\r\nx\r\n" % extension for _ in range(count)) + b"0\r\n\r\n"

    def answer(conn, upstream):
        request = read_request(conn, upstream)
        if request is None or not request[3]:
            return
        if b"answer" not in request[0].encode():
            conn.send(head_for("length", 2) + b"ok")
            return
        conn.sock.sendall(head_for("chunked", 0).replace(b"Server: x", b"Connection: close") + answers[-1])
    rows = [(1000, b";a=b", True, "some"), (1, b";" + b"a" * 200, True, "a long one"),
            (1, b";" + b"a" * 5000, False, "one that is too long"),
            (20000, b";a", False, "too many in all")]
    upstream, answers = Upstream(answer), []
    with start(upstream.port) as weir:
        for count, extension, good, why in rows:
            upstream.seen.clear()
            conn = ask(weir, "POST", "/plain/ask", "chunked", 0)
            try:
                conn.sock.sendall(wire(count, extension))
            except ConnectionError:
                assert not good, why
            try:
                got = conn.read_response()
            except ConnectionError:
                got = None
            if good:
                assert got.status == 200 and upstream.seen[-1][2] == b"x" * count, (why, got.status)
            else:
                assert got is None or got.status == 400, (why, got.status)
                assert not any(s[3] for s in upstream.seen), f"{why}: the target saw the end of it"
            conn.sock.close()
            answers.append(wire(count, extension))
            conn = ask(weir, "GET", "/plain/answer", None, 0)
            got = conn.read_response()
            if good:
                assert (got.status, got.body, got.complete) == (200, b"x" * count, True), why
            else:
                assert got is None or got.status == 502 or not got.complete, why
            conn.sock.close()


# ---- back-pressure

def stands(sender):
    """Nothing more is taken from it: the same for half a second."""
    last = [-1, time.monotonic()]

    def same():
        if sender.sent != last[0]:
            last[:] = [sender.sent, time.monotonic()]
        return sender.sent > 0 and time.monotonic() - last[1] > 0.5
    wait_for("the sender stands", same, 60)


def hold(weir, worker, sender, what, flat):
    """While nobody reads: the sender stands, no memory is taken, no time is spent."""
    stands(sender)
    cpu, before = cpu_seconds(worker), sender.sent
    time.sleep(0.3)
    assert cpu_seconds(worker) - cpu < 0.15, "the worker is busy with nothing"
    growth = flat.growth()
    figure(f"{what}: {sender.sent} bytes taken, then none; peak of the worker +{growth} KiB")
    assert sender.sent == before < kernel_room() * 2 + 64 * 1024, f"{what}: {sender.sent} of {HELD} were taken"
    assert sender.sent < HELD
    assert growth <= FLAT, growth
    assert weir.get("/plain/small").status == 200, "others are served"


def tls_client(port):
    conn = Conn(port)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    conn.sock = context.wrap_socket(conn.sock, server_hostname="localhost")
    return conn


class Held:
    """A weir with a plain and a TLS port, and a target whose Sender or Receiver the test holds."""

    def __init__(self):
        self.going, self.ready, self.sender = threading.Event(), threading.Event(), None
        self.got, self.upstream = None, Upstream(self.serve)
        self.tls = free_port()
        proxy = free_port()
        self.weir = start(self.upstream.port, {"proxy_listen": f"127.0.0.1:{proxy}, 127.0.0.1:{self.tls} ssl"})
        self.weir.proxy = proxy

    def serve(self, conn, upstream):
        blocking(conn.sock)
        while True:
            head = conn.read_head()
            if head is None:
                return
            what = head[0].split()[1].split("/")[2]
            if what == "flood":
                conn.send(head_for("length", HELD))
                self.sender = Sender(conn.sock, HELD)
                self.ready.set()
                self.sender.run()
            elif what == "hold":
                body = body_of(conn, head[1], request=True)
                self.going.wait(PATIENCE * 3)
                body.run()
                conn.send(head_for("length", 0))
            else:
                sink(conn, head[1])

    def client(self, tls):
        return tls_client(self.tls) if tls else self.weir.connect()


def test_a_client_that_does_not_read_holds_the_target_back():
    held = Held()
    with held.weir as weir:
        warm(weir)
        worker = weir.workers()[0]
        for route, tls in (("/plain", False), ("/policies", False), ("/plain", True)):
            held.client(tls).sock.close()
            held.ready.clear()
            conn = ask(weir, "GET", f"{route}/flood", None, 0, conn=held.client(tls))
            assert held.ready.wait(PATIENCE)
            flat = Flat(worker)
            hold(weir, worker, held.sender, f"download held {route}{' tls' if tls else ''}", flat)
            head = conn.read_head()
            assert body_of(conn, head[1]).run() == HELD
            assert flat.growth() <= FLAT, flat.growth()
            conn.sock.close()


def test_a_target_that_does_not_read_holds_the_client_back():
    held = Held()
    with held.weir as weir:
        warm(weir)
        worker = weir.workers()[0]
        for route, tls, framing in (("/plain", False, "length"), ("/policies", False, "chunked"),
                                    ("/plain", True, "length")):
            held.going.clear()
            conn = ask(weir, "POST", f"{route}/hold", framing, HELD, conn=held.client(tls))
            sender = Sender(conn.sock, HELD, framing == "chunked")
            thread = threading.Thread(target=sender.run)
            flat = Flat(worker)
            thread.start()
            hold(weir, worker, sender, f"upload held {route} {framing}{' tls' if tls else ''}", flat)
            held.going.set()
            got = conn.read_response()
            assert got.status == 200, got.status
            thread.join()
            assert flat.growth() <= FLAT, flat.growth()
            conn.sock.close()


# ---- both directions at once

def test_both_directions_at_once():
    upstream = Upstream(target)
    with start(upstream.port) as weir:
        warm(weir)
        worker, size = weir.workers()[0], HELD
        for route, framing in (("/plain", "length"), ("/policies", "chunked")):
            flat, begun = Flat(worker), time.monotonic()
            conn = ask(weir, "POST", f"{route}/echo", framing, size)
            sender = threading.Thread(target=Sender(conn.sock, size, framing == "chunked").run)
            sender.start()
            head = conn.read_head()
            assert head[0].startswith("HTTP/1.1 200"), head
            assert body_of(conn, head[1]).run() == size
            sender.join()
            conn.sock.close()
            passed(f"echo {framing} {route}", size, begun, flat)


def test_the_answer_arrives_before_the_body_is_sent():
    """RFC 9112 9.3: an answer may come early; what the target says is read while the body is on its way."""
    def early(conn, upstream):
        blocking(conn.sock)
        head = conn.read_head()
        # It serves one request: a second one on the connection might meet its end, and a POST is not resent.
        conn.send(head_for("chunked", 0)[:-2] + b"Connection: close\r\n\r\n5\r\n" + PATTERN[:5] + b"\r\n")
        assert body_of(conn, head[1], request=True).run() == 100000
        conn.sock.sendall(b"3\r\n" + PATTERN[5:8] + b"\r\n0\r\n\r\n")
    upstream = Upstream(early)
    with start(upstream.port) as weir:
        for route in ROUTES:
            conn = ask(weir, "POST", route, "length", 100000)
            conn.sock.sendall(PATTERN[:1])
            head = conn.read_head()
            assert head[0].startswith("HTTP/1.1 200"), head
            body = body_of(conn, head[1])
            while body.count < 5:
                assert body.more()
            assert body.count == 5 and not body.ended
            conn.sock.sendall(PATTERN[1:100000])
            assert body.run() == 8
            conn.sock.close()


def test_a_refusal_reaches_a_client_that_is_still_sending():
    """The target answers, and closes without having read: the client has the whole answer."""
    text = b"too much" * 1000

    def refuse(conn, upstream):
        conn.read_head()
        conn.send(head_for("length", len(text), 413).replace(b"Server: x", b"Connection: close") + text)
        conn.sock.shutdown(socket.SHUT_WR)
        while conn.sock.recv(1 << 16):  # a reset would tear the answer away
            pass
    upstream = Upstream(refuse)
    with start(upstream.port) as weir:
        for route in ROUTES:
            conn = ask(weir, "POST", route, "length", HELD)
            stop = threading.Event()

            def send():
                try:
                    Sender(conn.sock, HELD).run()
                except OSError:
                    stop.set()
            sender = threading.Thread(target=send)
            sender.start()
            got = conn.read_response()
            assert (got.status, got.body) == (413, text), got.status
            sender.join()
            assert stop.is_set(), "the connection does not take the rest for ever"
            conn.sock.close()


# ---- events

EVENT = b"id: %d\ndata: {\"n\": %d, \"text\": \"something has happened\"}\n\n"
LINE = b"{\"n\": %d, \"m\": %d}\n"


def event_streams(tees):
    """(route, framing, type, text of an event)"""
    routes = ["/direct", "/plain"] + ["/nine"] * (not missing) + tees
    rows = [(route, "chunked", b"text/event-stream", EVENT) for route in routes]
    return rows + [(routes[-1 - len(tees)], "close", b"text/event-stream", EVENT),
                   (routes[-1 - len(tees)], "chunked", b"application/x-ndjson", LINE)]


def follow(asked, conn, framing, kind, text, count):
    """Both ends in one thread: each event is read before the next is written. Milliseconds of each."""
    there = asked.pop()
    there.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    there.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n" %
                       (kind, framing_line(framing, 0).encode()))
    head = conn.read_head()
    names = {n.lower(): v for n, v in head[1]}
    assert names["content-type"].encode() == kind and "content-length" not in names, head
    chunked, took = names.get("transfer-encoding") == "chunked", []
    for number in range(count):
        event = text % (number, number)
        begun = time.perf_counter()
        there.sock.sendall(b"%x\r\n%s\r\n" % (len(event), event) if framing == "chunked" else event)
        if chunked:
            assert int(conn.read_line(), 16) == len(event), "an event is a chunk"
            assert conn.read_exactly(len(event) + 2)[:-2] == event, number
        else:
            assert conn.read_exactly(len(event)) == event, number
        took.append((time.perf_counter() - begun) * 1000)
        assert not conn.data
    if framing == "chunked":
        there.sock.sendall(b"0\r\n\r\n")
        assert not chunked or conn.read_exactly(5) == b"0\r\n\r\n"
    there.sock.close()
    return names, took


def test_events_pass_one_by_one():
    asked, over = [], threading.Event()

    def wait(conn, upstream):
        if conn.read_head():
            asked.append(conn)
            over.wait(60)
    upstream = Upstream(wait)
    with start(upstream.port) as weir:
        for route, framing, kind, text in event_streams([]):
            conn = weir.connect(upstream.port if route == "/direct" else None)
            blocking(conn.sock)
            conn.send(f"GET {route}/events HTTP/1.1\r\nHost: x\r\n{KEY}Accept: text/event-stream\r\n\r\n")
            wait_for("the target is asked", lambda: asked)
            names, took = follow(asked, conn, framing, kind, text, 2000)
            if route == "/nine":
                assert names.get("x-passed") == "yes" and names.get("access-control-allow-origin") and \
                    names.get("x-ratelimit-limit-hour") == "1000000" and "kong-request-id" in names, names
            took.sort()
            figure(f"{kind.decode()} {framing} {route}: {len(took)} events, median {statistics.median(took):.3f} ms, "
                   f"99 % {took[len(took) * 99 // 100]:.3f} ms, worst {took[-1]:.3f} ms")
            conn.sock.close()
        over.set()


run_tests(globals())
