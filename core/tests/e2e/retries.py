#!/usr/bin/env python3
"""What a service says about retries: after what (`retry_on`), how soon (`retry_delay`), how many (the
budget). When a request may be sent again at all: resend.py."""
import re
import signal
import socket
import threading
import time

from lib_weir import Upstream, Weir, read_request, reply, run_tests, wait_for


def answers(status=200, body=b"hello"):
    def act(conn, upstream):
        read_request(conn, upstream)
        conn.send(reply(status, body))
        return True
    return act


def ends(conn, upstream):
    """The next one finds no kept connection."""
    read_request(conn, upstream)
    conn.send(reply(headers=[("Connection", "close")]))
    return False


def in_chunks(status):
    def act(conn, upstream):
        read_request(conn, upstream)
        conn.send(f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")
        return True
    return act


def without_end(status):
    """Its body goes on for ever: nobody may wait for it."""
    def act(conn, upstream):
        read_request(conn, upstream)
        conn.send(f"HTTP/1.1 {status} X\r\nContent-Length: 100000000\r\n\r\n" + "x" * 1000)
        conn.more()
        return False
    return act


def early(status):
    """Before the body has come; the connection stays."""
    def act(conn, _):
        conn.read_head()
        conn.send(reply(status, b"no"))
        conn.more()
        return False
    return act


def resets(conn, upstream):
    read_request(conn, upstream)
    return False


def nonsense(conn, upstream):
    read_request(conn, upstream)
    conn.send("HTTP/1.1 abc\r\n\r\n")
    return False


def bad_length(conn, upstream):
    read_request(conn, upstream)
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    return False


def is_silent(conn, upstream):
    read_request(conn, upstream)
    conn.more()
    return False


class Target(Upstream):
    """Does with the Nth request what the Nth of `plan` says, with all later ones what the last says."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begin(answers())
        super().__init__(self.talk)

    def begin(self, *plan):
        with self.lock:
            self.plan, self.seen, self.came, self.connections = plan, [], [], 0

    def talk(self, conn, _):
        while conn.sock.recv(1, socket.MSG_PEEK):
            with self.lock:
                act = self.plan[min(len(self.came), len(self.plan) - 1)]
                self.came.append(time.monotonic())
            if not act(conn, self):
                return


def services(port, rows):
    """One for each row (name, its fields), at /name."""
    return "services:\n" + "".join(
        f"- name: {name}\n  url: http://127.0.0.1:{port}\n  {fields}\n"
        f"  routes: [{{name: {name}, paths: [/{name}]}}]\n" for name, fields in rows)


def ask(weir, name, method="GET", body=b""):
    with weir.connect() as conn:
        conn.send_request(method, "/" + name, body=body)
        answer = conn.read_response(method)
        return answer.status, answer.body


def refused(weir):
    metrics = weir.get("/metrics", port=weir.status).body.decode()
    return int(re.search(r"^weir_retries_refused_total (\d+)$", metrics, re.M)[1])


# ---- after what

FEW = "retries: 1\n  read_timeout: 300\n  retry_on: "
LISTS = [("default", "retries: 1\n  read_timeout: 300"), ("null", FEW + "null"), ("none", FEW + "[]"),
         ("reset", FEW + "[reset]"), ("timeout", FEW + "[timeout]"), ("connect", FEW + "[connect_failure]"),
         ("bad", FEW + "[bad_response]"), ("s503", FEW + "[503]"), ("quoted", FEW + "['503', 429]"),
         ("gateway", FEW + "[gateway_error]"), ("s5xx", FEW + "[5xx, reset]")]
# What the target does first; then, of those lists, which go on to its second answer. The others give the
# client what the first came to.
CAUSES = [
    (resets, 502, "default null reset s5xx"),
    (is_silent, 504, "default null timeout"),
    (nonsense, 502, "bad"),
    (bad_length, 502, "bad"),
    (answers(503), 503, "s503 quoted gateway s5xx"),
    (answers(502), 502, "gateway s5xx"),
    (answers(500), 500, "s5xx"),
    (answers(599), 599, "s5xx"),
    (answers(429), 429, "quoted"),
    (answers(404), 404, ""),
    (in_chunks(503), 503, "s503 quoted gateway s5xx"),
]


def test_after_what():
    target = Target()
    with Weir(services(target.port, LISTS)) as weir:
        for act, status, lists in CAUSES:
            for name, _ in LISTS:
                if act is is_silent and name not in ("default", "timeout", "reset"):
                    continue  # each takes its while
                target.begin(act, ends)
                got = ask(weir, name)[0], len(target.came)
                want = (200, 2) if name in lists.split() else (status, 1)
                assert got == want, f"{status} by {act.__name__}, {name}: {got}, not {want}"


def test_methods_and_bodies():
    """RFC 9110 9.2.2: an answer says that the request came, so it is not sent again but where twice is as
    good as once; and then whole."""
    target = Target()
    with Weir(services(target.port, LISTS)) as weir:
        for method, body, want in (("PUT", b"a body", (200, 2)), ("DELETE", b"", (200, 2)),
                                   ("HEAD", b"", (200, 2)), ("POST", b"a body", (503, 1)),
                                   ("POST", b"", (503, 1)), ("PATCH", b"x", (503, 1)),
                                   ("FOO", b"", (503, 1))):
            target.begin(answers(503), answers())
            assert (ask(weir, "s503", method, body)[0], len(target.came)) == want, method
            assert [seen[2:] for seen in target.seen] == [(body, True)] * want[1], target.seen
        # It came before the body was there: all of that is here, and goes to the next whole.
        target.begin(early(503), answers())
        with weir.connect() as conn:
            conn.send("PUT /s503 HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
            wait_for("another attempt", lambda: len(target.came) == 2)
            conn.send("def")
            assert conn.read_response().status == 200
        assert target.seen[0][2:] == (b"abcdef", True)


def test_the_last_answer_counts():
    """When all attempts fail, the client gets what the target said, and not what weir says of it."""
    target = Target()
    with Weir(services(target.port, [("a", "retries: 2\n  retry_on: [503, reset]")])) as weir:
        target.begin(answers(503, b"one"), answers(503, b"two"), answers(503, b"three"))
        assert ask(weir, "a") == (503, b"three") and len(target.came) == 3
        target.begin(answers(503), resets, answers(200, b"ok"))
        assert ask(weir, "a") == (200, b"ok")
        target.begin(answers(503), resets)
        assert ask(weir, "a")[0] == 502


def test_the_connection_of_a_dropped_answer():
    """It is kept when the whole answer is here, and closed when there is any more to come."""
    target = Target()
    with Weir(services(target.port, LISTS)) as weir:
        for act, connections in ((answers(503), 1), (answers(503, b""), 1), (in_chunks(503), 2),
                                 (without_end(503), 2)):
            target.begin(resets)
            ask(weir, "none", "POST")  # nothing is kept now
            target.begin(act, answers())
            assert ask(weir, "s503") == (200, b"hello")
            assert (len(target.came), target.connections) == (2, connections), act.__name__


# ---- how soon

def test_delays():
    target = Target()
    rows = [("a", "retries: 3\n  retry_delay: 60\n  retry_delay_max: 120")]
    with Weir(services(target.port, rows)) as weir:
        target.begin(resets, resets, resets, answers())
        assert ask(weir, "a") == (200, b"hello")
        gaps = [b - a for a, b in zip(target.came, target.came[1:])]
        least = [0.03, 0.06, 0.06]  # half of it is by chance
        assert len(gaps) == 3 and all(gap >= floor - 0.002 for gap, floor in zip(gaps, least)), gaps
        # A kept connection that had ended is no failure: nobody waits for that.
        target.begin(answers(), resets, answers())
        assert ask(weir, "a")[0] == 200
        begun = time.monotonic()
        assert ask(weir, "a")[0] == 200 and len(target.came) == 3
        assert target.came[2] - target.came[1] < 0.03 or time.monotonic() - begun > 1, target.came


def test_who_leaves_in_a_delay():
    target = Target()
    rows = [("a", "retries: 3\n  retry_delay: 400"), ("b", "retries: 3\n  retry_delay: 60000")]
    with Weir(services(target.port, rows)) as weir:
        target.begin(resets, answers())
        with weir.connect() as conn:
            conn.send_request("GET", "/b")
            wait_for("it has failed", lambda: len(target.came) == 1)
        wait_for("the request is over", lambda: re.search(
            r"^weir_worker_exchanges_active\S* 0$", weir.get("/metrics", port=weir.status).body.decode(),
            re.M))
        assert len(target.came) == 1
        # What came ahead meanwhile is answered after it; a stop waits for both.
        target.begin(resets, answers())
        with weir.connect() as conn:
            conn.send_request("PUT", "/a", body=b"x")
            wait_for("it has failed", lambda: len(target.came) == 1)
            conn.send_request("GET", "/a")
            weir.process.send_signal(signal.SIGTERM)
            assert conn.read_response().status == 200
        assert target.seen[0][2] == target.seen[1][2] == b"x"
        assert weir.process.wait(20) == 0


# ---- how many

def test_the_budget():
    target = Target()
    dead = socket.socket()  # bound, not listening
    dead.bind(("127.0.0.1", 0))
    rows = [("least", "retries: 5\n  retry_budget_percent: 0\n  retry_budget_min: 1"),
            ("share", "retries: 5\n  retry_budget_percent: 50\n  retry_budget_min: 0"),
            ("status", "retries: 5\n  retry_on: [503]\n  retry_budget_percent: 0\n  retry_budget_min: 0"),
            ("usual", "retries: 5")]
    config = services(target.port, rows) + services(dead.getsockname()[1], [
        ("dead", "retries: 5\n  retry_budget_percent: 0\n  retry_budget_min: 0")]).replace("services:\n", "")
    with Weir(config) as weir:
        target.begin(resets)
        for _ in range(6):
            assert ask(weir, "least")[0] == 502
        assert len(target.came) == 6 + 10, "one a second, of ten seconds"
        assert refused(weir) == 4, "two requests have five retries each, the others none"

        target.begin(*[answers()] * 18, ends, resets)
        for _ in range(19):
            assert ask(weir, "share")[0] == 200
        for _ in range(5):
            assert ask(weir, "share")[0] == 502
        got = len(target.came) - 19
        assert 5 + 10 <= got <= 5 + 12, f"half of 20 to 24 requests: {got}"

        target.begin(answers(503, b"said"), answers())
        assert ask(weir, "status") == (503, b"said"), "what is here is passed on"
        before = refused(weir)
        target.begin(resets, resets, resets, resets, resets, answers())
        assert ask(weir, "usual")[0] == 200, "a single request has all its retries"
        # Who could not be dialed got nothing: that is no load.
        assert ask(weir, "dead")[0] == 502
        assert refused(weir) == before
    dead.close()


run_tests(globals())
