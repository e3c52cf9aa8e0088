"""Reloads of a large configuration do not stall traffic, and a thousand of a small one leave nothing
behind. Times are printed, not judged: other work may share the machine. WEIR_RELOADS=full: all thousand, however
long they take."""
import collections
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

from lib_weir import PATIENCE, Upstream, read_request, reply, run_tests, wait_for
from load import (SANITIZED, Echo, Weir, ask_control, compare, holdings, memory_kib, replaced,
                  status_of_workers)

SERVICES, ROUTES, CONSUMERS = (12, 100, 300) if SANITIZED else (200, 100, 3000)
MANY_SECONDS = 600 if os.environ.get("WEIR_RELOADS") == "full" else 40
PACE = 100 if SANITIZED else 250  # requests a second


def large(port, variant, services=SERVICES):
    """Many routes, some hundred policies, some thousand keys; `variant` shows in every answer."""
    out = []
    for s in range(services):
        out.append(f"- name: s{s}\n  url: http://127.0.0.1:{port}\n  routes:\n")
        for r in range(ROUTES):
            out.append(f"  - name: r{s}-{r}\n    paths: [/s{s}/r{r}]\n    strip_path: false\n")
            if r % 50 == 7:
                out.append("    plugins:\n    - name: response-transformer\n      config:\n"
                           f"        add: {{headers: ['X-Route:{variant}']}}\n")
    keys = "".join(f"- username: u{c}\n  keyauth_credentials:\n  - key: key-of-user-{c}\n"
                   for c in range(CONSUMERS))
    return (f"services:\n{''.join(out)}consumers:\n{keys}plugins:\n"
            "- name: key-auth\n  service: s1\n"
            f"- name: correlation-id\n  config: {{header_name: X-Variant-{variant}, "
            "echo_downstream: true}\n")


# A process of its own, so that the test does not hold it up. Requests are due at fixed times, and
# what comes late counts from when it was due. Writes [due, sent, answered, status, variant] each.
PACED = r"""
import collections, gc, json, os, re, selectors, socket, sys, time
port, pace, paths = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].split(",")
gc.disable()
events, idle, state = selectors.DefaultSelector(), collections.deque(), {}
for _ in range(8):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    events.register(sock, selectors.EVENT_READ)
    idle.append(sock)
os.set_blocking(0, False)
due, waiting, rows, count, lost = time.monotonic(), collections.deque(), [], 0, 0
def take(sock, piece):
    due, sent, data = state[sock]
    data += piece
    head, end, body = bytes(data).partition(b"\r\n\r\n")
    size = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if not end or len(body) < int(size.group(1)):
        return
    variant = re.findall(rb"(?i)\r\nx-variant-(\w)", head)
    rows.append([due, sent, time.monotonic(), int(data[9:12]), b"".join(variant).decode()])
    del state[sock]
    idle.append(sock)
def asked_to_end():
    try:
        return os.read(0, 1) is not None
    except BlockingIOError:
        return False
ending = False
while not ending or state:
    now = time.monotonic()
    while not ending and due <= now:
        waiting.append(due)
        due += 1 / pace
    while waiting and idle and not ending:
        sock = idle.popleft()
        state[sock] = (waiting.popleft(), time.monotonic(), bytearray())
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: gw\r\n\r\n" % paths[count % len(paths)].encode())
        count += 1
    for key, _ in events.select(max(0, due - time.monotonic())):
        try:
            piece = key.fileobj.recv(1 << 18)
        except OSError:
            piece = b""
        if piece and key.fileobj in state:
            take(key.fileobj, piece)
        else:
            lost += 1
            state.pop(key.fileobj, None)
            events.unregister(key.fileobj)
    ending = ending or asked_to_end()
print(json.dumps({"lost": lost, "rows": rows}))
"""


class Paced:
    """Load at a fixed pace over connections that are kept."""

    def __init__(self, weir, paths, pace=PACE):
        self.command = [sys.executable, "-c", PACED, str(weir.proxy), str(pace), ",".join(paths)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.process.kill()
            self.process.wait()

    def end(self):
        """(connections that were lost, rows)"""
        out = json.loads(self.process.communicate(b"x", timeout=3 * PATIENCE)[0])
        return out["lost"], out["rows"]


def paths_of(services=SERVICES):
    return [f"/s{s}/r{r}" for s in (0, services // 2, services - 1) for r in range(0, ROUTES, 9)]


def percentiles(rows):
    late = sorted((row[2] - row[0]) * 1000 for row in rows)
    if not late:
        return "nothing"
    at = lambda part: late[min(len(late) - 1, int(len(late) * part))]
    return f"p50 {at(.5):.2f} p99 {at(.99):.2f} max {late[-1]:.2f} ms of {len(late)}"


def check_order(rows, marks):
    """`marks`: (asked, answered, variant) of reloads. Who asks after the answer sees the new one, who
    was answered before it was asked for the old one."""
    for due, sent, answered, status, variant in rows:
        before = [mark for mark in marks if mark[1] <= sent]
        after = [mark for mark in marks if mark[0] >= answered]
        allowed = {mark[2] for mark in marks[max(len(before) - 1, 0):len(marks) - len(after)]}
        assert status == 200 and variant in allowed, (status, variant, allowed, due)


def reload(weir, config, variant, marks):
    weir.write(config)
    asked = time.monotonic()
    answer = ask_control(weir, "reload")
    assert answer.startswith("ok\n"), answer
    marks.append((asked, time.monotonic(), variant))


def test_large():
    """No request fails or waits for the compiler, and none sees an old configuration after the
    answer."""
    with Echo() as echo, Weir(large(echo.port, "A"), workers=2) as weir:
        marks = [(0, 0, "A")]
        with Paced(weir, paths_of()) as load:
            time.sleep(2)
            for variant in "BABA":
                reload(weir, large(echo.port, variant), variant, marks)
                time.sleep(0.3)
            lost, rows = load.end()
        assert lost == 0, f"{lost} connections were lost"
        check_order(rows, marks)
        calm = [row for row in rows if row[2] < marks[1][0]]
        busy = [row for row in rows if any(a <= row[0] <= b for a, b, _ in marks[1:])]
        assert calm and busy
        print(f"     {SERVICES * ROUTES} routes, reloads of",
              ", ".join(f"{(b - a) * 1000:.0f}" for a, b, _ in marks[1:]), "ms")
        print("     before ", percentiles(calm))
        print("     during ", percentiles(busy))


def test_unchanged():
    """The same text again is a reload like any other."""
    with Echo() as echo, Weir(large(echo.port, "A", 10), workers=2) as weir:
        marks = [(0, 0, "A")]
        with Paced(weir, paths_of(10)) as load:
            for _ in range(3):
                reload(weir, large(echo.port, "A", 10), "A", marks)
            lost, rows = load.end()
        assert lost == 0 and rows
        check_order(rows, marks)


# ---- many reloads

def drip(conn, upstream):
    """A download that ends when the test says so, or a short answer."""
    while True:
        request = read_request(conn, upstream)
        if request is None:
            return
        if "/long" not in request[0]:
            conn.send(reply(body=b"short"))
            continue
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not upstream.enough.wait(0.02):
            conn.send(b"400\r\n" + b"d" * 1024 + b"\r\n")
            upstream.dripped += 1024
        conn.send(b"0\r\n\r\n")


def small(port, variant):
    return (f"services:\n- name: s\n  url: http://127.0.0.1:{port}\n  routes:\n"
            "  - name: r\n    paths: [/]\n    strip_path: false\nplugins:\n"
            f"- name: correlation-id\n  config: {{header_name: X-Variant-{variant}, "
            "echo_downstream: true}\n- name: rate-limiting\n  config: {year: 100000000}\n")


def test_many():
    """A thousand reloads under load (fewer where that would take minutes): a download that began
    before the first ends whole after the last, memory and descriptors stay."""
    warm, count = (10, 40) if SANITIZED else (50, 1000)
    upstream = Upstream(drip)
    upstream.enough, upstream.dripped = threading.Event(), 0
    with Weir(small(upstream.port, "A"), workers=2) as weir, weir.connect() as download:
        download.send_request("GET", "/long")
        head = download.read_head()
        assert head is not None and " 200 " in head[0], head
        marks, got = [(0, 0, "A")], []
        reader = threading.Thread(
            target=lambda: got.append(download.read_body(head[1])), daemon=True)
        reader.start()
        with Paced(weir, ["/short"], 100) as load:
            begun = time.monotonic()
            for i in range(count):
                variant = "BA"[i % 2]
                reload(weir, small(upstream.port, variant), variant, marks)
                if i + 1 == warm:
                    before = holdings(weir)
                if i > warm and time.monotonic() - begun > MANY_SECONDS:
                    break
            took = time.monotonic() - begun
            time.sleep(0.5)
            after = holdings(weir)
            lost, rows = load.end()
        assert reader.is_alive(), "the download ended early"
        upstream.enough.set()
        reader.join(PATIENCE)
        body, complete = got[0]
        assert complete and len(body) == upstream.dripped, (len(body), upstream.dripped, complete)
        assert lost == 0 and rows, lost
        check_order(rows, marks)
        print(f"     {i + 1} reloads in {took:.1f} s, {len(rows)} requests, "
              f"a download of {len(body)} bytes")
        print("     ", percentiles(rows))
        compare(before, after)


def test_at_once():
    """Fifty that ask at one time are all answered, and few reloads serve them."""
    with Echo() as echo, Weir(large(echo.port, "A", 10), workers=2) as weir:
        answers = []
        weir.write(large(echo.port, "B", 10))
        askers = [threading.Thread(target=lambda: answers.append(ask_control(weir, "reload")))
                  for _ in range(50)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(3 * PATIENCE)
        assert len(answers) == 50 and all(a.startswith("ok\n") for a in answers), answers
        assert weir.get("/s0/r1").get("X-Variant-B"), "the last one is in use"
        numbers = collections.Counter(re.search(r"configuration (\d+)", a).group(1)
                                      for a in answers)
        print(f"     50 answers of {len(numbers)} reloads")


# ---- ends before its end

def test_refused():
    """A file with an error changes nothing, large or not."""
    with Echo() as echo, Weir(large(echo.port, "A"), workers=2) as weir:
        with Paced(weir, paths_of()) as load:
            bad = large(echo.port, "B") + "- name: rate-limiting\n  config: {year: never}\n"
            for _ in range(2):
                weir.write(bad)
                answer = ask_control(weir, "reload")
                assert not answer.startswith("ok\n") and "year" in answer, answer
            lost, rows = load.end()
        assert lost == 0
        check_order(rows, [(0, 0, "A")])


def test_killed():
    """A worker dies while it builds: the other one drops its half-built configuration, nobody of its
    clients notices, and the next reload is for all."""
    outcomes = collections.Counter()
    with Echo() as echo, Weir(large(echo.port, "A"), workers=2) as weir:
        current = "A"
        begun = time.monotonic()
        assert ask_control(weir, "reload").startswith("ok\n")
        took = time.monotonic() - begun
        memory = max(memory_kib(pid) for pid in status_of_workers(weir))
        for i in range(3 if SANITIZED else 6):
            wanted, answers = "B" if current == "A" else "A", []
            weir.write(large(echo.port, wanted))
            asking = threading.Thread(target=lambda: answers.append(ask_control(weir, "reload")))
            workers = status_of_workers(weir)
            asking.start()
            time.sleep(took * (0.3 + 0.1 * i if not SANITIZED else 0.3 + 0.25 * i))
            os.kill(workers[i % 2], signal.SIGKILL)
            asking.join(3 * PATIENCE)
            good = answers[0].startswith("ok\n")
            outcomes["done" if good else "refused"] += 1
            current = wanted if good else current
            replaced(weir, workers[i % 2])
            for _ in range(8):
                assert weir.get("/s0/r1").get(f"X-Variant-{current}"), (current, answers)
        reload(weir, large(echo.port, "C"), "C", [])
        assert weir.get("/s0/r1").get("X-Variant-C")
        print(f"     {dict(outcomes)}")
        if not SANITIZED:
            wait_for("what was half built is freed", lambda: all(
                memory_kib(pid) <= memory * 1.5 + 4096 for pid in status_of_workers(weir)))


def test_stopped():
    """The end may come in the middle of a build: nobody waits for it in vain."""
    for delay in (0.1, 0.4) if SANITIZED else (0.05, 0.2, 0.4):
        with Echo() as echo:
            weir, answers = Weir(large(echo.port, "A"), workers=2), []
            weir.write(large(echo.port, "B"))
            asking = threading.Thread(target=lambda: answers.append(ask_control(weir, "reload")))
            asking.start()
            time.sleep(delay * (5 if SANITIZED else 1))
            code = weir.stop()
            asking.join(PATIENCE)
            assert code == 0 and len(answers) == 1, (delay, code, answers)


# ---- what belongs to no configuration

def test_connections_survive():
    """Connections to targets are the worker's, not the configuration's: a reload opens no others."""
    upstream = Upstream()
    with Weir(small(upstream.port, "A"), workers=1) as weir, weir.connect() as conn:
        for i in range(10):
            conn.send_request("GET", "/x")
            assert conn.read_response().status == 200
            reload(weir, small(upstream.port, "BA"[i % 2]), "", [])
        assert upstream.connections == 1, f"{upstream.connections} connections for 10 requests"


def test_turn_survives():
    """The turn of a balancer goes on over reloads."""
    def config(variant):
        targets = "".join(f"  - target: 127.0.0.1:{u.port}\n" for u in upstreams)
        return (f"upstreams:\n- name: both\n  targets:\n{targets}services:\n- name: s\n"
                "  host: both\n  routes:\n  - name: r\n    paths: [/]\nplugins:\n"
                f"- name: correlation-id\n  config: {{header_name: X-Variant-{variant}}}\n")
    upstreams = [Upstream(), Upstream()]
    with Weir(config("A"), workers=1) as weir:
        for i in range(8):
            assert weir.get("/x").status == 200
            reload(weir, config("BA"[i % 2]), "", [])
        assert [len(u.seen) for u in upstreams] == [4, 4], [len(u.seen) for u in upstreams]


if __name__ == "__main__":
    run_tests(globals())
