#!/usr/bin/env python3
"""Expect: 100-continue from end to end (RFC 9110 10.1.1): who waits with a body is told to send it by the
target, or gets its final answer and keeps the body; and what becomes of both connections (RFC 9112 9.6)."""
import os
import socket
import sys
import time

from lib_weir import PLUGINS, Upstream, Weir, reply, run_tests, service, wait_for

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LONG = {"expect_timeout": "30s"}  # longer than anything here takes: what happens was said by the target
SECRET = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"  # the body: it looks like a request


class Target(Upstream):
    """`act` gets the connection after a head has come. What it got is in `heads` and, behind each, in
    `behind` when the connection has ended."""

    def __init__(self, act=None):
        super().__init__(self.talk)
        self.begin(act)

    def begin(self, act):
        self.act, self.heads, self.behind, self.connections = act, [], [], 0

    def talk(self, conn, _):
        while True:
            head = conn.read_head()
            if head is None:
                return
            self.heads.append((head[0], {n.lower(): v for n, v in head[1]}))
            if not self.act(conn, self.heads[-1][1]):
                break
        try:
            while conn.more():
                pass
        except ConnectionError:
            pass
        self.behind.append(bytes(conn.data))


OLD = Target()
HAS_POLICY = os.path.exists(f"{PLUGINS}/key-auth.so")


def ask(conn, fields="", method="POST", length=len(SECRET), version="1.1",
        path="/a"):
    conn.send(f"{method} {path} HTTP/{version}\r\nHost: h\r\nExpect: 100-continue\r\n{fields}"
              f"Content-Length: {length}\r\n\r\n")


def read_status(conn):
    line, headers = conn.read_head()
    return int(line.split(" ")[1]), {n.lower(): v for n, v in headers}


def read_body(conn, headers):
    return conn.read_exactly(int(headers["content-length"])) if "content-length" in headers else b""


def tells(conn, headers):
    conn.send("HTTP/1.1 100 Continue\r\nX-Mine: 1\r\n\r\n")
    assert read_body(conn, headers) == SECRET
    conn.send(reply())
    return True


def ignores(conn, headers):
    assert read_body(conn, headers) in (SECRET, b"")
    conn.send(reply())
    return True


def the_target_tells(weir, target):
    target.begin(tells)
    with weir.connect() as conn:
        for _ in range(3):
            ask(conn)
            status, headers = read_status(conn)
            assert status == 100 and headers["x-mine"] == "1", "that of the target, as it is"
            conn.send(SECRET)
            assert conn.read_response().body == b"hello"
        assert target.connections == 1, "it was kept"
        assert [h["expect"] for _, h in target.heads] == ["100-continue"] * 3, target.heads


def a_chunked_body(weir, target):
    def tells_chunked(conn, _):
        conn.send(CONTINUE)
        assert conn.read_chunked() == (b"abc", True)
        conn.send(reply())
        return True

    target.begin(tells_chunked)
    with weir.connect() as conn:
        conn.send("PUT /a HTTP/1.1\r\nHost: h\r\nExpect: x, 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert read_status(conn)[0] == 100
        conn.send("3\r\nabc\r\n0\r\n\r\n")
        assert conn.read_response().status == 200
        assert target.heads[0][1]["expect"] == "100-continue", "in our own words"


def other_interim_answers_come_first(weir, target):
    def hints(conn, headers):
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        return tells(conn, headers)

    target.begin(hints)
    with weir.connect() as conn:
        ask(conn)
        assert [read_status(conn)[0] for _ in range(2)] == [103, 100]
        conn.send(SECRET)
        assert conn.read_response().status == 200


def a_final_answer_ends_both_connections(weir, target):
    """The body is never read. The client may send it all the same, and nobody can tell it from a request:
    so weir closes, and says so; and so does it with the target, which waits for a body still."""
    for status in (401, 413, 417, 200):
        def refuses(conn, _, status=status):
            conn.send(reply(status, b"no", [("WWW-Authenticate", "Basic")]))
            return False

        target.begin(refuses)
        for sends in (b"", SECRET):  # whether the client sends it all the same
            with weir.connect() as conn:
                ask(conn)
                got, headers = read_status(conn)
                assert (got, headers["connection"]) == (status, "close"), (got, headers)
                assert conn.read_exactly(2) == b"no"
                conn.send(sends)
                assert conn.ended()
        wait_for("both have ended", lambda: len(target.behind) == 2)
        assert target.behind == [b"", b""], target.behind
        assert [h[0] for h in target.heads] == ["POST /a HTTP/1.1"] * 2, "nothing was taken for a request"


def test_a_target_that_says_nothing():
    """It gets the body after the wait, and is not asked again for a while."""
    target = Target(ignores)
    with Weir(service(target.port), settings={"expect_timeout": "300ms"}) as weir, weir.connect() as conn:
        for turn in range(3):
            begun = time.monotonic()
            ask(conn)
            assert read_status(conn)[0] == 100
            took = time.monotonic() - begun
            assert turn > 0 or took >= 0.28, took
            conn.send(SECRET)
            assert conn.read_response().status == 200
        asked = [h.get("expect") for _, h in target.heads]
        assert asked == ["100-continue", None, None], asked


def a_target_of_http_1_0(weir, _):
    def is_old(conn, headers):
        read_body(conn, headers)
        conn.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
        return True

    OLD.begin(is_old)
    with weir.connect() as conn:
        conn.send_request("GET", "/old")
        assert conn.read_response().status == 200
        ask(conn, path="/old")
        assert read_status(conn)[0] == 100, "weir says it: it knows by now"
        conn.send(SECRET)
        assert conn.read_response().status == 200
        assert "expect" not in OLD.heads[1][1]


def a_client_that_does_not_wait(weir, target):

    def tells_late(conn, headers):
        assert read_body(conn, headers) == SECRET
        conn.send(CONTINUE)
        conn.send(reply())
        return True

    target.begin(tells_late)
    with weir.connect() as conn:  # it waited for a moment
        ask(conn)
        wait_for("the target was asked", lambda: target.heads)
        conn.send(SECRET)
        assert read_status(conn)[0] == 200, "nobody waits for the 100 any more"
        assert target.heads[0][1]["expect"] == "100-continue"
    with weir.connect() as conn:  # the body comes with the head: there is nothing to ask
        conn.send(b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" %
                  len(SECRET) + SECRET)
        assert read_status(conn)[0] == 200
        assert "expect" not in target.heads[1][1]


def who_leaves_while_the_other_waits(weir, target):
    target.begin(lambda conn, _: False)
    with weir.connect() as conn:
        ask(conn)
        wait_for("the target was asked", lambda: target.heads)
    wait_for("it is told that the client has left", lambda: target.behind == [b""])

    def leaves(conn, _):
        conn.sock.shutdown(socket.SHUT_RDWR)
        return False

    target.begin(leaves)
    with weir.connect() as conn:
        ask(conn)
        status, headers = read_status(conn)
        assert (status, headers["connection"]) == (502, "close")


def another_attempt_asks_again(weir, target):
    count = []

    def second_tells(conn, headers):
        count.append(headers.get("expect"))
        return tells(conn, headers) if len(count) == 2 else conn.sock.shutdown(socket.SHUT_RDWR)

    target.begin(second_tells)
    with weir.connect() as conn:
        ask(conn, method="PUT")
        assert read_status(conn)[0] == 100
        conn.send(SECRET)
        assert read_status(conn)[0] == 200, "one 100, then the answer"
        assert count == ["100-continue"] * 2


def clients_of_http_1_0_do_not_know_it(weir, target):
    target.begin(ignores)
    with weir.connect() as conn:
        ask(conn, version="1.0")
        wait_for("the target has the head", lambda: target.heads)
        conn.send(SECRET)
        assert read_status(conn)[0] == 200
        assert "expect" not in target.heads[0][1]


def test_switched_off_it_is_as_in_kong():
    target = Target(ignores)
    with Weir(service(target.port), settings={"expect_timeout": "0s"}) as weir, weir.connect() as conn:
        ask(conn)
        assert conn.read_exactly(len(CONTINUE)) == CONTINUE
        conn.send(SECRET)
        assert conn.read_response().status == 200
        assert "expect" not in target.heads[0][1]


def a_policy_that_wants_the_body(weir, target):
    if not HAS_POLICY:
        print("skipped: key-auth is not built", file=sys.stderr)
        return
    target.begin(lambda conn, headers: (read_body(conn, headers), conn.send(reply()), True)[2])
    body = b'{"apikey":"k"}'
    with weir.connect() as conn:
        ask(conn, "Content-Type: application/json\r\n", length=len(body), path="/key")
        assert conn.read_exactly(len(CONTINUE)) == CONTINUE, "weir wants it: it says so"
        conn.send(body)
        assert conn.read_response().status == 200
        assert "expect" not in target.heads[0][1]


def a_refusal_of_weir(weir, target):
    target.begin(ignores)
    with weir.connect() as conn:
        ask(conn, path="/none")
        status, headers = read_status(conn)
        assert (status, headers["connection"]) == (404, "close")
        assert not target.heads


CHECKS = [the_target_tells, a_chunked_body, other_interim_answers_come_first,
          a_final_answer_ends_both_connections, a_client_that_does_not_wait, who_leaves_while_the_other_waits,
          another_attempt_asks_again, clients_of_http_1_0_do_not_know_it, a_policy_that_wants_the_body,
          a_refusal_of_weir, a_target_of_http_1_0]


def test_targets_that_are_asked():
    target = Target()
    policy = ("  plugins: [{name: key-auth, config: {key_in_body: true}}]\n"
              "consumers: [{username: c, keyauth_credentials: [{key: k}]}]\n") if HAS_POLICY else ""
    config = (service(target.port, path="/a") + service(OLD.port, path="/old", name="old").replace(
        "services:\n", "").replace("name: r\n", "name: old\n"))
    config += (f"- name: key\n  url: http://127.0.0.1:{target.port}\n"
               "  routes: [{name: key, paths: [/key]}]\n") + policy
    with Weir(config, settings=LONG) as weir:
        for check in CHECKS:
            begun = time.monotonic()
            check(weir, target)
            print(f"   {check.__name__} ({time.monotonic() - begun:.2f} s)")


run_tests(globals())
