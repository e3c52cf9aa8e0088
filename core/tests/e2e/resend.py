#!/usr/bin/env python3
"""How often a target gets one request. It is sent again only when it can be sent whole, the client has seen
nothing of an answer, and doing it twice does no harm (RFC 9110 9.2.2) or no byte of it was written."""
import os
import re
import signal
import socket
import sys
import threading
import time

from lib_weir import PATIENCE, PLUGINS, Upstream, Weir, read_request, reply, run_tests, wait_for

TIMEOUT_MS = 500
CLOSE = [("Connection", "close")]


def peek(conn):
    """The first bytes of a request have come, and are not read."""
    return conn.sock.recv(1, socket.MSG_PEEK) != b""


# ---- what a target does with one request; true: the connection goes on

def closes_unread(conn, _):
    return False


def closes_after_head(conn, _):
    conn.read_head()
    return False


def closes_after_all(conn, upstream):
    read_request(conn, upstream)
    return False


def resets(conn, upstream):
    read_request(conn, upstream)
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return False


def closes_in_head(conn, upstream):
    read_request(conn, upstream)
    conn.send("HTTP/1.1 200 OK\r\nContent-Le")
    return False


def closes_in_body(conn, upstream):
    read_request(conn, upstream)
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    return False


def closes_after_hints(conn, upstream):
    read_request(conn, upstream)
    conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    return False


def answers_nonsense(conn, upstream):
    read_request(conn, upstream)
    conn.send("HTTP/1.1 abc\r\n\r\n")
    return False


def is_silent(conn, upstream):
    read_request(conn, upstream)
    conn.more()  # until the gateway has given up
    return False


def answers(conn, upstream):
    read_request(conn, upstream)
    conn.send(reply(headers=CLOSE))  # the next row finds no kept connection
    return False


def keeps(conn, upstream):
    read_request(conn, upstream)
    conn.send(reply())
    return True


class Target(Upstream):
    """Does with the Nth request of a row what the Nth of `plan` says, with all that come later what
    the last one says. `came` tells for each whether it came over a kept connection."""

    def __init__(self):
        self.plan, self.came, self.lock = [keeps], [], threading.Lock()
        super().__init__(self.talk)

    def begin(self, *plan):
        with self.lock:
            self.plan, self.came, self.seen = plan, [], []

    def talk(self, conn, _):
        kept = False
        while peek(conn):
            with self.lock:
                act = self.plan[min(len(self.came), len(self.plan) - 1)]
                self.came.append(kept)
            if not act(conn, self):
                return
            kept = True


def config(port, extra=""):
    text = "services:\n"
    for retries in (0, 1, 2):
        text += (f"- name: s{retries}\n  url: http://127.0.0.1:{port}\n  retries: {retries}\n"
                 f"  retry_budget_min: 100000\n  read_timeout: {TIMEOUT_MS}\n  routes: [{{name: r{retries}, paths: [/{retries}]}}]\n")
    return text + extra


def ask(weir, method, retries, body=b"", headers=()):
    """The status, and whether the answer was whole."""
    with weir.connect() as conn:
        conn.send_request(method, f"/{retries}", headers, body)
        answer = conn.read_response(method)
        return (None, False) if answer is None else (answer.status, answer.complete)


# ---- the table

SAFE = [("GET", b""), ("HEAD", b""), ("OPTIONS", b""), ("DELETE", b""), ("PUT", b"put this"),
        ("GET", b"a body")]
UNSAFE = [("POST", b"post this"), ("POST", b""), ("PATCH", b"patch this"), ("MKCALENDAR", b"")]
FRESH, KEPT = False, True
# Where the request goes over, retries, what the target does, then for methods that may be repeated and
# for those that may not: how often it gets the request, and what the client gets.
ROWS = [
    # The first breaks, the second would answer: what may go twice goes twice.
    (FRESH, 1, [closes_unread, answers], (2, 200), (1, 502)),
    (FRESH, 1, [closes_after_head, answers], (2, 200), (1, 502)),
    (FRESH, 1, [closes_after_all, answers], (2, 200), (1, 502)),
    (FRESH, 1, [resets, answers], (2, 200), (1, 502)),
    (FRESH, 1, [closes_in_head, answers], (2, 200), (1, 502)),
    (FRESH, 1, [closes_after_hints, answers], (2, 200), (1, 502)),
    (FRESH, 1, [is_silent, answers], (2, 200), (1, 504)),
    (KEPT, 1, [closes_unread, answers], (2, 200), (1, 502)),
    (KEPT, 1, [closes_after_all, answers], (2, 200), (1, 502)),
    (KEPT, 1, [is_silent, answers], (2, 200), (1, 504)),
    # An answer that cannot be read is an answer: the request was done.
    (FRESH, 2, [answers_nonsense, answers], (1, 502), (1, 502)),
    (KEPT, 2, [answers_nonsense, answers], (1, 502), (1, 502)),
    # `retries` bounds it.
    (FRESH, 0, [closes_after_all, answers], (1, 502), (1, 502)),
    (FRESH, 0, [is_silent, answers], (1, 504), (1, 504)),
    (FRESH, 2, [closes_after_all], (3, 502), (1, 502)),
    # A kept connection that ended without a byte says nothing of the target: one more try, and that
    # goes over a connection of its own.
    (KEPT, 0, [closes_unread, answers], (2, 200), (1, 502)),
    (KEPT, 0, [closes_after_all, answers], (2, 200), (1, 502)),
    (KEPT, 0, [closes_after_all], (2, 502), (1, 502)),
    (KEPT, 2, [closes_after_all], (4, 502), (1, 502)),
    # With a byte, or after a silence, it does say something.
    (KEPT, 0, [closes_in_head, answers], (1, 502), (1, 502)),
    (KEPT, 0, [closes_after_hints, answers], (1, 502), (1, 502)),
    (KEPT, 0, [is_silent, answers], (1, 504), (1, 504)),
]


def run_row(weir, target, row, method, body, want, headers=()):
    kept, retries, plan = row[:3]
    name = (method, len(body), "kept" if kept else "fresh", retries, [act.__name__ for act in plan])
    if kept:
        target.begin(keeps)
        assert ask(weir, "GET", retries) == (200, True), name
    target.begin(*plan)
    status, _ = ask(weir, method, retries, body, headers)
    got = (len(target.came), status)
    assert got == want, f"{name}: {got}, not {want}"
    assert target.came == [kept] + [False] * (want[0] - 1), (name, target.came)
    if status == 200:
        assert target.seen[-1][0].startswith(method + " "), (name, target.seen[-1])
        assert target.seen[-1][2:] == (body, True), (name, target.seen[-1])
    ids = {value for seen in target.seen for key, value in seen[1] if key == "X-Kong-Request-Id"}
    assert len(ids) == 1 or not target.seen, f"{name}: tries of one request have one id: {ids}"


def test_methods_that_may_be_repeated():
    target = Target()
    with Weir(config(target.port)) as weir:
        for row in ROWS:
            for method, body in SAFE[:1] if is_silent in row[2] else SAFE:
                run_row(weir, target, row, method, body, row[3])


def test_methods_that_may_not():
    target = Target()
    with Weir(config(target.port)) as weir:
        for row in ROWS:
            for method, body in UNSAFE[:1] if is_silent in row[2] else UNSAFE:
                run_row(weir, target, row, method, body, row[4])


def test_a_promise_of_the_client_changes_nothing():
    """Idempotency-Key is for the service: whether it keeps to it, a gateway cannot know."""
    target = Target()
    with Weir(config(target.port)) as weir:
        for row in ROWS[:3]:
            run_row(weir, target, row, "POST", b"x", row[4], [("Idempotency-Key", '"k"')])


def test_nothing_after_a_byte_of_the_answer():
    target = Target()
    with Weir(config(target.port)) as weir:
        for method, body in SAFE[:1] + SAFE[4:] + UNSAFE:
            target.begin(closes_in_body, answers)
            assert ask(weir, method, 2, body) == (200, False), method
            assert len(target.came) == 1, method


def test_a_body_that_is_gone_is_not_sent_again():
    """More of it went than the gateway keeps."""
    def takes_most(conn, _):
        _, headers = conn.read_head()
        conn.read_exactly(int(dict(headers)["Content-Length"]) * 3 // 4)
        return False

    target = Target()
    with Weir(config(target.port)) as weir:
        target.begin(takes_most, answers)
        assert ask(weir, "PUT", 2, b"x" * (512 << 10))[0] == 502
        assert len(target.came) == 1


def test_a_short_body_in_pieces_is_sent_again():
    """All of it is here still, whatever pieces it came in."""
    target = Target()
    with Weir(config(target.port)) as weir:
        for chunked, size in ((False, 3), (True, 3), (False, 10000)):
            pieces = [bytes([65 + i]) * size for i in range(6)]
            for method, want in (("PUT", (2, 200)), ("POST", (1, 502))):
                target.begin(closes_after_all, answers)
                with weir.connect() as conn:
                    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {6 * size}"
                    conn.send(f"{method} /1 HTTP/1.1\r\nHost: gw.test\r\n{framing}\r\n\r\n")
                    for i, piece in enumerate(pieces):
                        conn.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
                        if i == 0:
                            wait_for("the target has the head", lambda: target.came)
                        time.sleep(0.02)  # each goes through the gateway by itself
                    if chunked:
                        conn.send("0\r\n\r\n")
                    assert (conn.read_response().status, len(target.came)) == want[::-1], method
                assert [seen[2:] for seen in target.seen] == [(b"".join(pieces), True)] * want[0], method


def test_who_cannot_be_dialed_got_nothing():
    """Each method goes on to the other target, once."""
    target = Target()
    target.begin(answers)
    dead = socket.socket()  # bound, not listening: nobody else gets that port
    dead.bind(("127.0.0.1", 0))
    pair = (f"upstreams:\n- name: pair\n  targets:\n  - target: 127.0.0.1:{dead.getsockname()[1]}\n"
            f"  - target: 127.0.0.1:{target.port}\n"
            "services:\n- {name: s, url: 'http://pair', retries: 1, routes: [{name: r, paths: [/]}]}\n")
    with Weir(pair) as weir:
        for method, body in (SAFE + UNSAFE) * 2:
            target.begin(answers)
            assert ask(weir, method, 1, body) == (200, True), method
            assert len(target.came) == 1 and target.seen[0][2] == body, method
        metrics = weir.get("/metrics", port=weir.status).body.decode()
        assert int(re.search(r"^weir_retries_total (\d+)$", metrics, re.M)[1]) > 0, "one met the dead one"
    dead.close()


def test_a_target_that_left_in_the_same_moment():
    """Its end and the next request lie before the worker together. Nobody needs to be told."""
    leave, left = threading.Event(), threading.Event()

    def leaves(conn, upstream):
        keeps(conn, upstream)
        leave.wait(PATIENCE)
        conn.sock.close()
        left.set()
        return False

    target = Target()
    with Weir(config(target.port)) as weir, weir.connect() as conn:
        (worker,) = weir.workers()
        for method, body in (SAFE[:1] + SAFE[4:5] + UNSAFE) * 3:
            target.begin(leaves)
            leave.clear()
            left.clear()
            conn.send_request("GET", "/0")
            assert conn.read_response().status == 200
            os.kill(worker, signal.SIGSTOP)
            try:
                target.begin(answers)
                conn.send_request(method, "/0", body=body)
                leave.set()
                assert left.wait(PATIENCE)
            finally:
                os.kill(worker, signal.SIGCONT)
            assert conn.read_response().status == 200, method
            assert target.came == [False], (method, target.came)


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def test_a_target_that_spoke_in_the_same_moment():
    """What it says unasked lies before the worker together with the next request: it is no answer to that one."""
    speak, spoke = threading.Event(), threading.Event()

    def speaks(conn, upstream):
        keeps(conn, upstream)
        speak.wait(PATIENCE)
        conn.send(reply(body=b"of nobody"))
        spoke.set()
        return False

    target = Target()
    with Weir(config(target.port)) as weir, weir.connect() as conn:
        (worker,) = weir.workers()
        for number in range(12):
            target.begin(speaks)
            speak.clear()
            spoke.clear()
            conn.send_request("GET", "/0")
            assert conn.read_response().status == 200
            os.kill(worker, signal.SIGSTOP)
            try:
                wait_for("it has stopped", lambda: state_of(worker) == "T")
                target.begin(answers)
                if number % 2 == 0:
                    conn.send_request("GET", "/0")
                speak.set()
                assert spoke.wait(PATIENCE)
                if number % 2 == 1:
                    conn.send_request("GET", "/0")
            finally:
                os.kill(worker, signal.SIGCONT)
            got = conn.read_response()
            assert got.status == 200 and got.body != b"of nobody", (number, got.body)
            assert target.came == [False], (number, target.came)


def test_the_method_that_is_sent_decides():
    if not os.path.exists(f"{PLUGINS}/request-transformer.so"):
        print("skipped: request-transformer is not built", file=sys.stderr)
        return
    for asked, sent, want in (("GET", "POST", (1, 504)), ("POST", "GET", (2, 200)),
                              ("PUT", "PATCH", (1, 504)), ("PATCH", "PUT", (2, 200))):
        target = Target()
        extra = f"plugins:\n- {{name: request-transformer, config: {{http_method: {sent}}}}}\n"
        with Weir(config(target.port, extra)) as weir:
            target.begin(is_silent, answers)
            status, _ = ask(weir, asked, 1)
            assert (len(target.came), status) == want, (asked, sent, target.came, status)
            assert all(seen[0].startswith(sent + " ") for seen in target.seen), target.seen


def test_a_head_that_is_sent_as_get():
    """Nobody takes the body that comes for the answer to what is asked next."""
    if not os.path.exists(f"{PLUGINS}/request-transformer.so"):
        return
    go = threading.Event()

    def in_pieces(conn, upstream):
        read_request(conn, upstream)
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n")
        go.wait(PATIENCE)
        conn.send("HTTP/1.1 299 Forged\r\nContent-Length: 1\r\n\r\nxxxx")
        return True

    def head_alone(conn, upstream):
        read_request(conn, upstream)
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        return True

    for asked, sent, act in (("HEAD", "GET", in_pieces), ("GET", "HEAD", head_alone)):
        target = Target()
        extra = (f"plugins:\n- {{name: request-transformer, service: s1, "
                 f"config: {{http_method: {sent}}}}}\n")
        with Weir(config(target.port, extra)) as weir:
            target.begin(act, answers)
            assert ask(weir, asked, 1) == (200, True), asked
            go.set()
            assert ask(weir, "GET", 0) == (200, True), "the next one gets its own"


run_tests(globals())
