#!/usr/bin/env python3
"""CONNECT (RFC 9110 9.3.6): refused unless a route names the method; then the target is asked as the next proxy, and a
2xx of it is followed by a tunnel. The gateway never dials what a client names."""
import re
import shutil
import tempfile
import time

from lib_weir import Upstream, Weir, answer_all, read_request, run_tests, service, wait_for

NAMED = "    methods: [CONNECT]\n"
ASK = "CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n{}\r\n"


def fields(headers, name):
    return [v for n, v in headers if n.lower() == name]


def agreeing(head="HTTP/1.1 200 Fine\r\n\r\n"):
    """A proxy that says every byte again; what came before the end is followed by it."""
    def serve(conn, upstream):
        request = read_request(conn, upstream)
        if request is None:
            return
        conn.send(head)
        if conn.data:
            conn.send(conn.take(len(conn.data)))
        while True:
            piece = conn.sock.recv(1 << 16)
            if not piece:
                return
            conn.sock.sendall(piece)
    return serve


def metric(weir, name):
    text = weir.get("/metrics", port=weir.status).body.decode()
    found = re.search(rf"^{name} (\d+)$", text, re.M)
    return int(found.group(1)) if found else None


def says(conn, data):
    conn.send(data)
    return conn.read_exactly(len(data)) == data


def test_a_route_that_names_it_gets_a_tunnel():
    upstream = Upstream(agreeing("HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-Of: proxy\r\n\r\n"))
    with Weir(service(upstream.port, route_extra=NAMED)) as weir:
        conn = weir.connect()
        conn.send(ASK.format("Proxy-Authorization: Basic c2VjcmV0\r\nX-Mine: 1\r\n"))
        line, headers = conn.read_head()
        assert line.startswith("HTTP/1.1 200"), line
        # RFC 9110 9.3.6: a 2xx has neither, and what a target says of them is nothing to go by
        assert not fields(headers, "content-length") and not fields(headers, "transfer-encoding"), headers
        assert not fields(headers, "connection") and fields(headers, "x-of") == ["proxy"], headers
        for size in (1, 5000, 200000):
            assert says(conn, b"\r\n\0x" * size), size
        assert metric(weir, "weir_tunnels_active") == 1
        conn.sock.close()
        wait_for("the tunnel is over", lambda: metric(weir, "weir_tunnels_active") == 0)
    line, sent, _, _ = upstream.seen[0]
    assert line == "CONNECT far.test:443 HTTP/1.1", line  # RFC 9112 3.2.3: as it came
    assert fields(sent, "host") == ["far.test:443"], sent
    assert fields(sent, "x-mine") == ["1"], sent
    assert fields(sent, "proxy-authorization") == ["Basic c2VjcmV0"], sent  # for the proxy behind (11.7.2)
    assert fields(sent, "x-forwarded-host") == ["far.test"], sent
    assert not fields(sent, "upgrade") and len(upstream.seen) == 1


def test_what_came_early_belongs_to_the_tunnel():
    upstream = Upstream(agreeing("HTTP/1.1 200 Fine\r\n\r\nfrom the target "))
    with Weir(service(upstream.port, route_extra=NAMED)) as weir:
        conn = weir.connect()
        conn.send(ASK.format("") + "GET /smuggled HTTP/1.1\r\n\r\n")
        assert conn.read_head()[0].startswith("HTTP/1.1 200")
        want = b"from the target GET /smuggled HTTP/1.1\r\n\r\n"
        assert conn.read_exactly(len(want)) == want
        conn.sock.close()
    assert len(upstream.seen) == 1


REFUSED = [
    # why, the routes' more, the request, the status
    ("no route names it (RFC 9110 9.3.6)", "", ASK.format(""), 405),
    ("a route of other methods", "    methods: [GET, POST]\n", ASK.format(""), 405),
    ("a route of another host", NAMED + "    hosts: [near.test]\n", ASK.format(""), 405),
    ("Host is another one (RFC 9112 3.2)", NAMED, ASK.format("").replace("Host: far.test:443", "Host: gw.test"), 400),
    ("Host has no port (RFC 9112 3.2)", NAMED, ASK.format("").replace("Host: far.test:443", "Host: far.test"), 400),
    ("no port", NAMED, "CONNECT far.test HTTP/1.1\r\nHost: far.test\r\n\r\n", 400),
    ("a path", NAMED, "CONNECT /a HTTP/1.1\r\nHost: far.test:443\r\n\r\n", 400),
    ("content (RFC 9110 9.3.6)", NAMED, ASK.format("Content-Length: 5\r\n") + "12345", 400),
    ("a coding", NAMED, ASK.format("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400),
]


def test_what_is_refused():
    upstream = Upstream(answer_all)
    for why, more, request, status in REFUSED:
        with Weir(service(upstream.port, route_extra=more)) as weir, weir.connect() as conn:
            conn.send(request + "GET /behind HTTP/1.1\r\nHost: far.test:443\r\n\r\n")
            got = conn.read_response("GET")
            assert got is not None and got.status == status, (why, got and got.status)
            if status == 405:
                assert got.get("allow") == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", why
            assert conn.ended(), why  # what is behind it may be meant for a tunnel
            assert weir.get("/", headers=[("Host", "near.test")], method="GET").status in (200, 404)
    assert not any("CONNECT" in seen[0] or "behind" in seen[0] for seen in upstream.seen), upstream.seen


def test_the_route_is_chosen_by_the_target_of_the_request():
    near, far = Upstream(agreeing()), Upstream(agreeing())
    more = NAMED + "    hosts: [{}.test]\n"
    config = service(near.port, route_extra=more.format("near"), name="near") + \
        service(far.port, route_extra=more.format("far"), name="far").replace("services:\n", "").replace(
            "name: r\n", "name: other\n")
    with Weir(config) as weir:
        conn = weir.connect()
        conn.send(ASK.format(""))
        assert conn.read_head()[0].startswith("HTTP/1.1 200") and says(conn, b"hello")
        conn.sock.close()
    assert len(far.seen) == 1 and not near.seen


def test_a_refusal_of_the_target_is_an_ordinary_answer_and_the_last():
    def refuse(conn, upstream):
        if read_request(conn, upstream):
            conn.send("HTTP/1.1 407 No\r\nContent-Length: 5\r\nProxy-Authenticate: Basic\r\n\r\nwhat?")
            conn.more()
    upstream = Upstream(refuse)
    with Weir(service(upstream.port, route_extra=NAMED)) as weir, weir.connect() as conn:
        conn.send(ASK.format("") + "GET /meant-for-the-tunnel HTTP/1.1\r\nHost: far.test:443\r\n\r\n")
        got = conn.read_response()
        assert got.status == 407 and got.body == b"what?" and got.get("connection") == "close", got.headers
        assert conn.ended()
    assert len(upstream.seen) == 1


def test_a_tunnel_that_is_no_answer_is_a_502():
    for why, head in (("a 101 to CONNECT", "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nsecret"),
                      ("no HTTP", "SSH-2.0-x\r\n\r\nsecret")):
        upstream = Upstream(agreeing(head))
        with Weir(service(upstream.port, route_extra=NAMED)) as weir, weir.connect() as conn:
            conn.send(ASK.format("Connection: Upgrade\r\nUpgrade: x\r\n"))
            got = conn.read_response()
            assert got.status == 502 and b"secret" not in got.body, (why, got.status)
            assert metric(weir, "weir_tunnels_active") == 0, why


def test_policies_decide_and_the_log_tells():
    upstream = Upstream(agreeing())
    where = tempfile.mkdtemp()
    policies = ("consumers:\n- username: ann\n  keyauth_credentials: [{key: secret}]\n"
                "plugins:\n- name: key-auth\n"
                "- name: request-transformer\n  config:\n    add: {headers: ['X-Added:1']}\n"
                f"- name: file-log\n  config:\n    path: {where}/log\n")
    with Weir(service(upstream.port, route_extra=NAMED) + policies) as weir:
        with weir.connect() as conn:
            conn.send(ASK.format("apikey: wrong\r\n"))
            assert conn.read_response().status == 401
        conn = weir.connect()
        conn.send(ASK.format("apikey: secret\r\n"))
        assert conn.read_head()[0].startswith("HTTP/1.1 200") and says(conn, b"x" * 50000)
        conn.sock.close()

        def lines():
            try:
                with open(where + "/log", encoding="utf-8") as f:
                    return f.read().splitlines()
            except OSError:
                return []
        wait_for("both are logged", lambda: len(lines()) == 2)
        assert '"status":200' in lines()[1].replace(" ", ""), lines()[1]
    line, sent, _, _ = upstream.seen[0]
    assert line == "CONNECT far.test:443 HTTP/1.1" and fields(sent, "x-added") == ["1"], (line, sent)
    assert len(upstream.seen) == 1
    shutil.rmtree(where)


def test_no_policy_makes_it_another_method():
    upstream = Upstream(agreeing())
    policy = "plugins:\n- name: request-transformer\n  config:\n    http_method: GET\n"
    with Weir(service(upstream.port, route_extra=NAMED) + policy) as weir, weir.connect() as conn:
        conn.send(ASK.format(""))
        got = conn.read_response()
        assert got.status == 500, got.status
        assert weir.get("/").status == 404
    assert not upstream.seen, upstream.seen


def test_it_is_not_asked_twice():
    """What a target did with it is not known when its connection breaks."""
    def breaks(conn, upstream):
        read_request(conn, upstream)
    upstream = Upstream(breaks)
    with Weir(service(upstream.port, extra="  retries: 5\n", route_extra=NAMED)) as weir, weir.connect() as conn:
        conn.send(ASK.format(""))
        assert conn.read_response().status == 502
    time.sleep(0.1)
    assert len(upstream.seen) == 1


if __name__ == "__main__":
    run_tests(globals())
