#!/usr/bin/env python3
"""A policy that takes response bodies whole may still change the head, and its failure is an answer, not a
broken body; a body it skips streams. Also: the query replaced, facts of the connection, the caller's id."""
import json
import re
import threading

from lib_abi import Sdk
from lib_weir import Upstream, Weir, read_request, reply, run_tests

sdk = Sdk()
sdk.compile("whole")
BIG = b"x" * (8 * 1024 * 1024 + 1)
release = threading.Event()


def answer(conn, upstream):
    while True:
        request = read_request(conn, upstream)
        if request is None:
            return
        path = request[0].split(" ")[1].split("?")[0]
        if path == "/slow":
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            release.wait(30)
            conn.send("-last")
        elif path == "/chunked":
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        elif path == "/cut":
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
            return
        else:
            bodies = {"/big": BIG, "/fail": b"fail", "/empty": b""}
            conn.send(reply(body=bodies.get(path, b"hello")))


def start(upstream, config="{}"):
    return Weir(f"services:\n- name: s\n  url: http://127.0.0.1:{upstream.port}\n  routes:\n"
                f"  - {{name: r, paths: [/]}}\nplugins:\n- name: whole\n  config: {config}\n",
                settings={"plugin_path": sdk.plugins})


def test_the_head_waits_for_the_body():
    rows = [("/", b"HELLO", "5"), ("/chunked", b"ABCDE", "5"), ("/empty", b"", None)]
    upstream = Upstream(answer)
    with start(upstream) as weir:
        for path, body, size in rows:
            got = weir.get(path)
            assert (got.status, got.body, got.get("x-size")) == (200, body, size), (path, got)
            assert got.get("content-length") == str(len(body)), (path, got.headers)
            assert got.get("transfer-encoding") is None, path
        got = weir.get("/", method="HEAD")
        assert got.status == 200 and got.get("content-length") is None, "nobody knows it"
        got = weir.get("/", method="HEAD", headers=[("X-Skip", "1")])
        assert got.status == 200 and got.get("content-length") == "5", got.headers


def test_what_goes_wrong_is_an_answer():
    rows = [("/big", 502, "too large"), ("/fail", 500, "the policy fails"), ("/cut", 502, "cut short")]
    upstream = Upstream(answer)
    with start(upstream) as weir:
        for path, status, why in rows:
            got = weir.get(path)
            assert got.status == status, (why, got.status, got.body[:100])
            assert b"request_id" in got.body, (why, got.body[:100])
            assert weir.get("/").body == b"HELLO", f"after {why}"


def test_a_skipped_body_streams():
    upstream = Upstream(answer)
    with start(upstream) as weir, weir.connect() as conn:
        release.clear()
        conn.send("GET /slow HTTP/1.1\r\nHost: x\r\nX-Skip: 1\r\n\r\n")
        line, headers = conn.read_head()
        assert conn.read_exactly(5) == b"first", "it came while the rest was not there yet"
        release.set()
        assert conn.read_exactly(5) == b"-last"


def test_the_query_is_replaced():
    rows = [("/?a=1", "b=%20&c", "/?b=%20&c"), ("/?a=1", "-", "/"), ("/", "x=1", "/?x=1")]
    upstream = Upstream(answer)
    with start(upstream) as weir:
        for path, query, want in rows:
            assert weir.get(path, headers=[("X-Query", query)]).status == 200
            assert upstream.seen[-1][0].split(" ")[1] == want, (query, upstream.seen[-1][0])
        seen = len(upstream.seen)
        assert weir.get("/", headers=[("X-Query", "a b")]).status == 500, "a space ends a request line"
        assert len(upstream.seen) == seen


def test_facts_of_the_connection():
    upstream = Upstream(answer)
    with start(upstream) as weir, weir.connect() as conn:
        numbers = []
        for _ in range(3):
            conn.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            got = conn.read_response()
            assert got.get("x-server-ip") == "127.0.0.1", got.headers
            numbers.append(int(got.get("x-connection")))
        assert [n % 1000 for n in numbers] == [1, 2, 3] and numbers[0] // 1000 == numbers[2] // 1000
        other = int(weir.get("/").get("x-connection"))
        assert other % 1000 == 1 and other // 1000 != numbers[0] // 1000, other


def test_the_callers_id():
    upstream = Upstream(answer)
    with start(upstream) as weir:
        got = weir.get("/fail", headers=[("X-Caller", "call-7")])
        assert json.loads(got.body)["correlation_id"] == "call-7", got.body
        assert re.search(r"somebody calls \(request [0-9a-f]{32}, correlation call-7, route r\)",
                         weir.log_text()), weir.log_text()
    with start(upstream, "{in_errors: false}") as weir:
        got = weir.get("/fail", headers=[("X-Caller", "call-7")])
        assert got.status == 500 and b"call-7" not in got.body, got.body


run_tests(globals())
