#!/usr/bin/env python3
"""More than the gateway can hold: clients that are slow on purpose, ceilings, descriptors that run out.
Good clients are served meanwhile, and nothing is left behind.

WEIR_OVERLOAD=full: 10,000 half-sent heads, 2,000 slow readers of 10 MiB, 2,000 clients at 256 descriptors
(the release build is meant for that); else a tenth. The figures are printed."""
import os
import re
import resource
import select
import socket
import sys
import threading
import time

from lib_weir import PATIENCE, Upstream, Weir, read_request, reply, run_tests, service, wait_for

FULL = os.environ.get("WEIR_OVERLOAD") == "full"
HEADS, READERS, CLIENTS = (10000, 2000, 2000) if FULL else (1000, 100, 600)
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
try:  # half of them are the targets'
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(HARD, 30000), max(HARD, 30000)))
except (OSError, ValueError):
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD))
    HEADS = min(HEADS, HARD // 2 - 200)


def metric(weir, name):
    text = weir.get("/metrics", port=weir.status).body.decode()
    return sum(float(v) for v in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Before:
    """What a worker has at the start, and that it comes back to it."""

    def __init__(self, weir):
        for _ in range(4):
            assert weir.get("/").status == 200
        self.weir, self.pid = weir, weir.workers()[0]
        self.files, self.resident = files(self.pid), resident(self.pid)
        self.peak = self.resident

    def look(self):
        self.peak = max(self.peak, resident(self.pid))

    def check(self, what):
        wait_for("no connection is left", lambda: metric(self.weir, "weir_worker_connections") == 0)
        assert metric(self.weir, "weir_exchanges_active") == 0
        wait_for("descriptors are closed", lambda: files(self.pid) <= self.files + 4)
        wait_for("spare exchanges are given back",
                 lambda: metric(self.weir, "weir_worker_memory_bytes") < 64 * 180 * 1024)
        print(f"     {what}: RSS {self.resident >> 10} KiB before, {self.peak >> 10} at the peak, "
              f"{resident(self.pid) >> 10} after")
        assert self.weir.workers() == [self.pid], "the worker has died"
        if sys.platform == "linux" and not is_sanitized():
            assert resident(self.pid) < self.resident + (24 << 20), "memory was not given back"


def is_sanitized():
    with open(os.environ.get("WEIR_BINARY", "/bin/true"), "rb") as f:
        return b"__asan_init" in f.read()


def open_many(port, count, data=b"", room=0):
    socks = []
    for _ in range(count):
        sock = socket.socket()
        if room:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        sock.connect(("127.0.0.1", port))
        if data:
            sock.sendall(data)
        socks.append(sock)
    return socks


def read_all_ends(socks, seconds):
    """Reads each to its end: {answer's first line or b"": how many}."""
    poll, ends = select.epoll(), {}
    left, got = {s.fileno(): s for s in socks}, {s.fileno(): b"" for s in socks}
    for fd in left:
        poll.register(fd, select.EPOLLIN)
    end = time.monotonic() + seconds
    while left:
        assert time.monotonic() < end, f"{len(left)} of {len(socks)} did not end, others: {ends}"
        for fd, _ in poll.poll(1):
            try:
                piece = left[fd].recv(1 << 16)
            except ConnectionError:
                piece = b""
            got[fd] = (got[fd] + piece)[:64]
            if not piece:
                poll.unregister(fd)
                left.pop(fd).close()
                line = got[fd].split(b"\r\n")[0]
                ends[line] = ends.get(line, 0) + 1
    poll.close()
    return ends


class GoodClients(threading.Thread):
    """New connections, one after the other; every answer must be a 200. Where refusals are part of the
    game, a 503 says when to come again, and one second later that must be a 200."""

    def __init__(self, weir, comes_again=False):
        super().__init__(daemon=True)
        self.weir, self.on, self.took, self.bad, self.again = weir, True, [], [], comes_again
        self.start()

    def run(self):
        while self.on:
            begun = time.monotonic()
            try:
                answer = self.weir.get("/good")
                if self.again and answer is not None and answer.status == 503:
                    time.sleep(int(answer.get("Retry-After")))
                    answer = self.weir.get("/good")
                if answer is None or answer.status != 200:
                    self.bad.append(answer and answer.status)
            except OSError as error:
                self.bad.append(error)
            self.took.append(time.monotonic() - begun)
            time.sleep(0.01)

    def finish(self, what):
        self.on = False
        self.join(PATIENCE * 2)
        took = sorted(self.took)
        print(f"     {what}: {len(took)} good requests, median {took[len(took) // 2] * 1000:.1f} ms, "
              f"slowest {took[-1] * 1000:.0f} ms")
        assert len(took) > 3 and not self.bad, f"{len(self.bad)} of {len(took)}: {self.bad[:5]}"


def test_many_half_sent_heads():
    up = Upstream()
    seconds = 40 if FULL else 4
    with Weir(service(up.port), settings={"client_header_timeout": f"{seconds}s",
                                          "log_level": "warn",
                                          "upstream_keepalive_idle_timeout": "1s"}) as weir:
        before, good = Before(weir), GoodClients(weir)
        slow = open_many(weir.proxy, HEADS, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        wait_for("all are there", lambda: metric(weir, "weir_worker_connections") >= HEADS)
        before.look()
        for sock in slow[:HEADS // 2]:
            sock.sendall(b"a")
        before.look()
        print(f"     each costs {(before.peak - before.resident) // HEADS} bytes")
        ends = read_all_ends(slow, seconds + PATIENCE * 2)
        good.finish("beside half-sent heads")
        assert sum(n for line, n in ends.items() if b" 408 " in line) == HEADS, ends
        assert len(up.seen) == len(good.took) + 4, "a half-sent head reached the target"
        assert metric(weir, "weir_slow_clients_total") == HEADS
        before.check("half-sent heads")


def test_the_time_of_a_head_is_that_of_all_of_it():
    up = Upstream()
    with Weir(service(up.port), settings={"client_header_timeout": "700ms"}) as weir:
        with weir.connect() as conn:
            begun = time.monotonic()
            conn.send("GET / HTTP/1.1\r\nX: ")
            conn.sock.settimeout(0.1)
            answer = b""
            while time.monotonic() < begun + 15 and not answer:
                conn.send("a")
                try:
                    answer = conn.sock.recv(100)
                except TimeoutError:
                    pass
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert time.monotonic() - begun >= 0.7 and not up.seen


def trickle(weir, head, seconds):
    """A byte ten times a second: what is answered, and after how long."""
    with weir.connect() as conn:
        begun = time.monotonic()
        conn.send(head)
        conn.sock.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() < begun + seconds:
            try:
                conn.send("a")
                answer = conn.sock.recv(100)
            except TimeoutError:
                pass
        return answer, time.monotonic() - begun


POST = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"


def test_a_body_must_make_its_rate():
    up = Upstream()
    for rate, late in ((1000, True), (5, False)):
        settings = {"client_body_timeout": "600ms", "client_min_rate": str(rate)}
        with Weir(service(up.port), settings=settings) as weir:
            answer, took = trickle(weir, POST, 3)
            assert answer.startswith(b"HTTP/1.1 408 ") == late, (rate, answer)
            assert took >= (0.6 if late else 3), took


def slow_target(conn, upstream):
    """It takes nothing of the body for longer than the client may."""
    conn.read_head()
    time.sleep(1.5)
    while conn.more() and len(conn.data) < 8 << 20:
        pass
    conn.send(reply())


def test_a_slow_target_is_not_the_fault_of_the_client():
    up = Upstream(slow_target)
    settings = {"client_body_timeout": "500ms", "client_min_rate": "100k"}
    with Weir(service(up.port), settings=settings) as weir:
        assert weir.get("/", method="POST", body=b"x" * (8 << 20)).status == 200


def test_request_timeout_bounds_all_of_it():
    def never(conn, upstream):
        read_request(conn, upstream)
        time.sleep(8)

    def dribble(conn, upstream):
        read_request(conn, upstream)
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(80):
            conn.send("a")
            time.sleep(0.1)

    settings = {"request_timeout": "600ms"}
    with Weir(service(Upstream(never).port), settings=settings) as weir:
        begun = time.monotonic()
        assert weir.get("/").status == 504
        assert 0.6 <= time.monotonic() - begun < 7
        assert trickle(weir, POST, 6)[0].startswith(b"HTTP/1.1 408 ")
        assert trickle(weir, "GET / HTTP/1.1\r\nX: ", 6)[0].startswith(b"HTTP/1.1 408 ")
    with Weir(service(Upstream(dribble).port), settings=settings) as weir:
        answer = weir.get("/")
        assert answer.status == 200 and not answer.complete


LARGE = reply(body=b"x" * (10 << 20))  # once: as many as there are readers would not fit


def send_large(conn, upstream):
    conn.sock.settimeout(600)  # it is the gateway that shall lose its patience
    while True:
        request = read_request(conn, upstream)
        if request is None:
            return
        conn.send(LARGE if "/large" in request[0] else reply(body=b"small"))


def test_many_slow_readers():
    up, small = Upstream(send_large), Upstream()
    seconds = 60 if FULL else 2  # so that none is cut before all are there
    config = service(up.port, path="/large") + service(small.port, name="t")[len("services:\n"):].replace(
        "name: r", "name: q")
    with Weir(config, settings={"client_body_timeout": f"{seconds}s", "log_level": "warn",
                                          "client_min_read_rate": "10k"}) as weir:
        before, good = Before(weir), GoodClients(weir)
        slow = []
        while len(slow) < READERS:  # not more at a time than the queue of the target holds
            slow += open_many(weir.proxy, 50, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", room=4096)
            wait_for("answers are under way", lambda: len(up.seen) >= len(slow), PATIENCE * 4)
        if FULL:
            active = metric(weir, "weir_worker_exchanges_active")
            assert active >= READERS, f"all are there at once, not {active}"
        # What the kernel takes for a reader buys credit as what it reads: a buffer of it, some minutes.
        end = time.monotonic() + seconds * (5 if FULL else 1) + PATIENCE * 4
        while metric(weir, "weir_slow_clients_total") < READERS:
            assert time.monotonic() < end, "slow readers are not cut"
            for sock in slow:
                try:
                    sock.recv(100, socket.MSG_DONTWAIT)
                except (BlockingIOError, ConnectionError):
                    pass
            before.look()
            time.sleep(0.3)
        good.finish("beside slow readers")
        print(f"     each costs {(before.peak - before.resident) // READERS} bytes")
        for sock in slow:
            sock.close()
        before.check("slow readers")


def test_max_memory_refuses_new_requests():
    gate = threading.Event()

    def wait(conn, upstream):
        while read_request(conn, upstream) is not None:
            gate.wait(PATIENCE)
            conn.send(reply())

    up = Upstream(wait)
    with Weir(service(up.port), settings={"max_memory": "2m"}) as weir:
        held = [weir.connect() for _ in range(30)]
        for number, conn in enumerate(held):
            conn.send_request("GET", f"/{number}")
        wait_for("some are refused", lambda: metric(weir, "weir_memory_refusals_total") > 0)
        wait_for("the others have gone on", lambda: metric(weir, "weir_memory_refusals_total") +
                 len(up.seen) == 30)
        assert metric(weir, "weir_worker_memory_bytes") <= 2 << 20
        gate.set()
        answers = [conn.read_response() for conn in held]
        refused = [a for a in answers if a.status == 503]
        assert refused and len(refused) < 30 and all(a.status in (200, 503) for a in answers)
        assert all(a.get("Retry-After") == "1" for a in refused)
        for conn in held:
            conn.sock.close()
        assert weir.get("/").status == 200, "one that came later"
        assert "max_memory is reached" in weir.log_text()


def test_max_memory_counts_what_policies_hold():
    big = b'{"a": "' + b"x" * 3000000 + b'"}'

    def serve(conn, upstream):
        while (request := read_request(conn, upstream)) is not None:
            body = big if "/big" in request[0] else b'{"a": 1}'
            conn.send(reply(body=body, headers=[("Content-Type", "application/json")]))

    up = Upstream(serve)
    policy = "plugins:\n- name: response-transformer\n  config:\n    add: {json: ['b:1']}\n"
    with Weir(service(up.port) + policy, settings={"max_memory": "2m"}) as weir:
        for _ in range(3):
            answer = weir.get("/big")
            assert answer.status == 503 and answer.get("Retry-After") == "1", answer.headers
            assert b"xxx" not in answer.body
            answer = weir.get("/small")
            assert answer.status == 200 and b'"b":' in answer.body, answer.body
        assert metric(weir, "weir_memory_refusals_total") == 3
        wait_for("it is given back", lambda: metric(weir, "weir_worker_memory_bytes") < 400000)
    with Weir(service(up.port) + policy, settings={"max_memory": "20m"}) as weir:
        assert weir.get("/big").status == 200


def test_idle_clients_make_room():
    up = Upstream()
    with Weir(service(up.port), settings={"max_connections": 5}) as weir:
        idle = [weir.connect() for _ in range(5)]
        for conn in idle:
            conn.send_request("GET", "/")
            assert conn.read_response().status == 200
            time.sleep(0.03)
        for _ in range(3):
            assert weir.get("/").status == 200
        assert idle[0].ended(), "the one that has idled longest"
        idle[4].send_request("GET", "/")
        assert idle[4].read_response().status == 200, "the one that has idled shortest"
        assert metric(weir, "weir_displaced_connections_total") >= 1


def test_few_descriptors():
    up = Upstream()
    soft_now = resource.getrlimit(resource.RLIMIT_NOFILE)
    weir = Weir(service(up.port), wait=False, settings={
        "log_level": "notice", "upstream_keepalive_idle_timeout": "1s"})
    resource.prlimit(weir.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    with weir:
        weir.wait_ready()
        before = Before(weir)
        most = metric(weir, "weir_worker_connections_max")
        crowd = open_many(weir.proxy, CLIENTS)
        for sock in crowd:
            sock.setblocking(False)
            try:
                sock.send(b"GET /crowd HTTP/1.1\r\nHost: x\r\n\r\n")
            except OSError:
                pass
        good = GoodClients(weir, comes_again=True)
        ends, left = {}, []
        for sock in crowd:
            sock.settimeout(PATIENCE)
            try:
                line = sock.recv(1000).split(b"\r\n")[0]
            except ConnectionError:
                line = b"reset"
            ends[line] = ends.get(line, 0) + 1
            left.append(sock)
        wait_for("good clients are served", lambda: len(good.took) > 20)
        before.look()
        assert metric(weir, "weir_worker_connections") <= max(most, 1)
        print(f"     {CLIENTS} clients at 256 descriptors, {most:.0f} at a time: {ends}")
        good.finish("beside the crowd")
        begun = time.monotonic()
        for sock in left:
            sock.close()
        with weir.connect() as conn:
            conn.send_request("GET", "/after")
            assert conn.read_response().status == 200
        took = time.monotonic() - begun
        print(f"     recovered {took * 1000:.0f} ms after the crowd has left")
        assert took < 1, took
        before.check("few descriptors")
    assert soft_now == resource.getrlimit(resource.RLIMIT_NOFILE)


run_tests(globals())
