#!/usr/bin/env python3
"""Traffic through a real weir: bodies, keep-alive, pipelining, timeouts, retries, limits."""
import hashlib
import json
import os
import socket
import ssl
import threading
import time

from lib_weir import PATIENCE, Upstream, Weir, free_port, read_request, reply, run_tests, service, \
    wait_for


def test_keep_alive_on_both_sides():
    up = Upstream()
    with Weir(service(up.port)) as weir, weir.connect() as conn:
        for number in range(20):
            conn.send_request("GET", f"/n/{number}")
            answer = conn.read_response()
            assert (answer.status, answer.body) == (200, b"hello"), answer.status
        assert up.connections == 1, f"{up.connections} connections for 20 requests"
        assert [s[0] for s in up.seen] == [f"GET /n/{n} HTTP/1.1" for n in range(20)]


def test_pipelined_requests_are_answered_in_order():
    up = Upstream(lambda conn, u: serve_targets(conn, u))
    with Weir(service(up.port)) as weir, weir.connect() as conn:
        conn.send(b"".join(b"GET /p%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(50)))
        for number in range(50):
            assert conn.read_response().body == b"/p%d" % number


def serve_targets(conn, upstream):
    while True:
        request = read_request(conn, upstream)
        if request is None:
            return
        conn.send(reply(body=request[0].split(" ")[1].encode()))


def test_bodies_of_every_size_both_ways():
    def echo(conn, upstream):
        while True:
            request = read_request(conn, upstream)
            if request is None:
                return
            conn.send(reply(body=request[2]))

    up = Upstream(echo)
    with Weir(service(up.port)) as weir, weir.connect() as conn:
        for size in (1, 100, 16383, 16384, 65535, 65536, 65537, 200000, 5 << 20):
            body = os.urandom(size)
            sender = threading.Thread(target=conn.send_request, args=("POST", "/b", (), body))
            sender.start()
            answer = conn.read_response()
            sender.join()
            assert answer.status == 200 and answer.body == body, f"{size} bytes differ"


def test_chunked_both_ways_in_odd_pieces():
    def chunky(conn, upstream):
        while True:
            request = read_request(conn, upstream)
            if request is None:
                return
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            body = request[2]
            for at in range(0, len(body), 7001):
                piece = body[at:at + 7001]
                conn.send(b"%x;ext=1\r\n" % len(piece))
                conn.send(piece + b"\r\n")
            conn.send(b"0\r\nX-Trailer: t\r\n\r\n")

    up = Upstream(chunky)
    body = os.urandom(300001)
    with Weir(service(up.port)) as weir, weir.connect() as conn:
        conn.send("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")

        def feed():
            for at in range(0, len(body), 997):
                piece = body[at:at + 997]
                conn.send(b"%X\r\n" % len(piece) + piece + b"\r\n")
            conn.send(b"0\r\n\r\n")

        sender = threading.Thread(target=feed)
        sender.start()
        answer = conn.read_response()
        sender.join()
        assert answer.complete and answer.body == body
        assert up.seen[0][3] and up.seen[0][2] == body
        conn.send_request("GET", "/after")
        assert conn.read_response().status == 200, "the connection goes on after a chunked body"


def test_a_slow_reader_holds_the_sender_back():
    """Back-pressure: 64 MiB towards a client that does not read must not pile up in the gateway."""
    sent = [0]

    def pour(conn, upstream):
        if read_request(conn, upstream) is None:
            return
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        for _ in range(1024):
            conn.send(b"x" * 65536)
            sent[0] += 65536

    up = Upstream(pour)
    with Weir(service(up.port)) as weir, weir.connect() as conn:
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        conn.send_request("GET", "/big")
        wait_for("the first bytes", lambda: sent[0] > 0)
        last = -1
        while last != sent[0]:  # until nothing moves any more
            last = sent[0]
            time.sleep(0.5)
        assert sent[0] < 32 << 20, f"{sent[0]} bytes were taken from the upstream"
        answer = conn.read_response()
        assert answer.complete and len(answer.body) == 64 << 20


def test_a_slow_upstream_holds_the_client_back():
    go = threading.Event()
    digest = hashlib.sha256()

    def slow(conn, upstream):
        head = conn.read_head()
        go.wait(30)
        left = 32 << 20
        digest.update(conn.data)
        left -= len(conn.data)
        while left > 0:
            piece = conn.sock.recv(1 << 18)
            digest.update(piece)
            left -= len(piece)
        conn.data.clear()
        conn.send(reply(body=head[0].encode()))

    up = Upstream(slow)
    sent = [0]
    body = os.urandom(1 << 20)
    with Weir(service(up.port)) as weir, weir.connect() as conn:
        def pour():
            conn.send(b"PUT /big HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (32 << 20))
            for _ in range(32):
                conn.send(body)
                sent[0] += 1
        sender = threading.Thread(target=pour)
        sender.start()
        last = -1
        while last != sent[0]:
            last = sent[0]
            time.sleep(0.5)
        assert sent[0] < 24, f"{sent[0]} MiB were taken from the client"
        go.set()
        assert conn.read_response().body == b"PUT /big HTTP/1.1"
        sender.join()
        want = hashlib.sha256()
        for _ in range(32):
            want.update(body)
        assert digest.hexdigest() == want.hexdigest()


def test_an_answer_that_ends_with_the_connection():
    def until_close(conn, upstream):
        read_request(conn, upstream)
        conn.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 100000)

    up = Upstream(until_close)
    with Weir(service(up.port)) as weir:
        with weir.connect() as conn:
            conn.send_request("GET", "/e")
            answer = conn.read_response()
            assert answer.get("Transfer-Encoding") == "chunked" and answer.complete
            assert len(answer.body) == 100000
        with weir.connect() as conn:
            conn.send("GET /e HTTP/1.0\r\nHost: x\r\n\r\n")
            answer = conn.read_response()
            assert answer.get("Transfer-Encoding") is None and len(answer.body) == 100000


def test_a_cut_answer_is_not_made_whole():
    def cut(conn, upstream):
        read_request(conn, upstream)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"z" * 10)

    up = Upstream(cut)
    with Weir(service(up.port)) as weir, weir.connect() as conn:
        conn.send_request("GET", "/cut")
        answer = conn.read_response()
        assert answer.status == 200 and not answer.complete


def test_head_204_304_have_no_body():
    def bodyless(conn, upstream):
        while True:
            request = read_request(conn, upstream)
            if request is None:
                return
            if request[0].startswith("HEAD"):
                conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
            else:
                status = request[0].split(" ")[1][1:].encode()
                conn.send(b"HTTP/1.1 " + status + b" X\r\nX-A: b\r\n\r\n")

    up = Upstream(bodyless)
    with Weir(service(up.port)) as weir, weir.connect() as conn:
        conn.send_request("HEAD", "/h")
        answer = conn.read_response("HEAD")
        assert answer.get("Content-Length") == "1234"
        for status in (204, 304):
            conn.send_request("GET", f"/{status}")
            answer = conn.read_response()
            assert answer.status == status and answer.get("Content-Length") is None
        assert up.connections == 1


def test_expect_continue():
    up = Upstream()
    with Weir(service(up.port), settings={"expect_timeout": "0s"}) as weir, weir.connect() as conn:
        conn.send("POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert conn.read_head()[0] == "HTTP/1.1 100 Continue"
        conn.send("12345")
        assert conn.read_response().status == 200
        assert up.seen[0][2] == b"12345"
        assert not any(n.lower() == "expect" for n, _ in up.seen[0][1])


def test_upstream_timeouts_and_retries():
    def silent(conn, upstream):
        read_request(conn, upstream)
        time.sleep(5)

    up = Upstream(silent)
    extra = "  read_timeout: 300\n  retries: 1\n"
    with Weir(service(up.port, extra)) as weir:
        assert weir.get("/t").status == 504
        assert len(up.seen) == 2, "GET is tried once more"
        answer = weir.get("/t", method="POST", body=b"x")
        assert answer.status == 504 and len(up.seen) == 3, "POST is not"
        assert answer.body.startswith(b"The upstream server is timing out")


def test_a_kept_connection_that_ended_costs_nobody_a_request():
    def once(conn, upstream):
        if read_request(conn, upstream) is not None:
            conn.send(reply())

    up = Upstream(once)
    with Weir(service(up.port, "  retries: 0\n")) as weir, weir.connect() as conn:
        for _ in range(30):
            conn.send_request("GET", "/s")
            assert conn.read_response().status == 200


def test_refused_and_broken_upstreams():
    def broken(conn, upstream):
        read_request(conn, upstream)
        conn.send(b"HTTP/1.1 abc\r\n\r\n")

    up = Upstream(broken)
    dead = socket.socket()
    dead.bind(("127.0.0.1", 0))
    config = (f"services:\n- name: a\n  url: http://127.0.0.1:{up.port}\n  routes: [{{paths: [/a]}}]\n"
              f"- name: b\n  url: http://127.0.0.1:{dead.getsockname()[1]}\n"
              "  routes: [{paths: [/b]}]\n- name: c\n  host: no-such-name.invalid\n"
              "  routes: [{paths: [/c]}]\n")
    with Weir(config) as weir, weir.connect() as conn:
        for path, status, text in (
                ("/a", 502, b"An invalid response was received from the upstream server"),
                ("/b", 502, b"An invalid response was received from the upstream server"),
                ("/c", 503, b"name resolution failed"), ("/d", 404, b"no Route matched")):
            conn.send_request("GET", path)
            answer = conn.read_response()
            assert answer.status == status and text in answer.body, (path, answer.status)
    dead.close()


def test_a_client_that_leaves_frees_the_target():
    gone = threading.Event()

    def watch(conn, upstream):
        read_request(conn, upstream)
        if conn.sock.recv(1) == b"":
            gone.set()

    up = Upstream(watch)
    with Weir(service(up.port)) as weir:
        with weir.connect() as conn:
            conn.send_request("GET", "/w")
            wait_for("the request upstream", lambda: up.seen)
        assert gone.wait(20), "the target connection stayed open"


def test_an_answer_before_the_body_is_over():
    def early(conn, upstream):
        conn.read_head()
        conn.send(reply(status=413, body=b"no more"))
        time.sleep(0.2)

    up = Upstream(early)
    with Weir(service(up.port)) as weir, weir.connect() as conn:
        conn.send("POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nabc")
        answer = conn.read_response()
        assert (answer.status, answer.body) == (413, b"no more")
        assert answer.get("Connection") == "close"


def test_limits():
    up = Upstream()
    settings = {"client_max_body_size": "1k", "max_head_bytes": "4k", "max_uri_bytes": "1k"}
    with Weir(service(up.port), settings=settings) as weir:
        assert weir.get("/x", method="POST", body=b"x" * 1025).status == 413
        assert weir.get("/x", method="POST", body=b"x" * 1024).status == 200
        assert weir.get("/" + "u" * 2000).status == 414
        assert weir.get("/x", headers=[("X-Big", "h" * 5000)]).status == 400
        with weir.connect() as conn:
            conn.send(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
                      b"400\r\n" + b"c" * 1024 + b"\r\n1\r\nc\r\n0\r\n\r\n")
            assert conn.read_response().status == 413
        assert weir.get("/x", method="TRACE").status == 405


def test_statuses_that_owe_a_field():
    config = service(1, route_extra="    protocols: [https]\n")
    with Weir(config) as weir, weir.connect() as conn:
        for ask in ("TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"):
            with weir.connect() as other:
                other.send(ask)
                answer = other.read_response()  # RFC 9110 15.5.6
                assert answer.status == 405 and "GET" in answer.get("Allow"), answer.headers
                assert not {"TRACE", "CONNECT"} & set(answer.get("Allow").split(", "))
        conn.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = conn.read_response()  # RFC 9110 15.5.22, 7.8
        connection = [v for n, v in answer.headers if n == "Connection"]
        assert answer.status == 426 and "Upgrade" in connection, answer.headers
        assert answer.get("Upgrade") == "TLS/1.2, HTTP/1.1"


def test_what_is_refused_is_closed():
    up = Upstream()
    bad = (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
           b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
           b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01")
    with Weir(service(up.port)) as weir:
        for data in bad:
            with weir.connect() as conn:
                conn.send(data + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = conn.read_response()
                assert answer is None or (answer.status >= 400 and conn.ended()), data
        assert up.seen == []


def test_slow_heads_are_cut_and_idle_connections_closed():
    up = Upstream()
    settings = {"client_header_timeout": "300ms", "keepalive_timeout": "300ms"}
    with Weir(service(up.port), settings=settings) as weir:
        with weir.connect() as conn:
            conn.send("GET / HT")
            assert conn.read_response().status == 408
            assert conn.ended()
        with weir.connect() as conn:
            conn.send_request("GET", "/")
            assert conn.read_response().status == 200
            assert conn.ended()


def test_unix_sockets_on_both_listeners():
    up = Upstream()
    path = f"/tmp/weir-test-{os.getpid()}.sock"
    with Weir(service(up.port), settings={"proxy_listen": f"unix:{path}"}) as weir:
        answer = weir.get("/u", port=path)
        assert answer.status == 200 and answer.body == b"hello"


def test_round_robin_by_weight():
    ups = [Upstream(lambda conn, u, n=n: serve_name(conn, u, n)) for n in (b"a", b"b")]
    config = (f"upstreams:\n- name: pair\n  targets:\n  - {{target: '127.0.0.1:{ups[0].port}', "
              f"weight: 300}}\n  - {{target: '127.0.0.1:{ups[1].port}', weight: 100}}\n"
              "services:\n- {name: s, host: pair, routes: [{paths: [/]}]}\n")
    with Weir(config) as weir, weir.connect() as conn:
        got = b""
        for _ in range(40):
            conn.send_request("GET", "/")
            got += conn.read_response().body
        assert (got.count(b"a"), got.count(b"b")) == (30, 10), got


def serve_name(conn, upstream, name):
    while read_request(conn, upstream) is not None:
        conn.send(reply(body=name))


def test_max_connections_are_refused_clearly():
    go = threading.Event()

    def hold(conn, upstream):
        while read_request(conn, upstream) is not None:
            go.wait(PATIENCE)
            conn.send(reply())
    up = Upstream(hold)
    with Weir(service(up.port), settings={"max_connections": 3}) as weir:
        held = [weir.connect() for _ in range(3)]
        for conn in held:
            conn.send_request("GET", "/")
        wait_for("all are under way", lambda: len(up.seen) == 3)
        with weir.connect() as conn:  # who has a request under way is not asked to go
            answer = conn.read_response()
            assert answer.status == 503 and answer.get("Retry-After") == "1"
        go.set()
        for conn in held:
            assert conn.read_response().status == 200
        assert weir.get("/").status == 200, "one that only waits has made room"


def test_tls_is_terminated_and_its_facts_are_logged():
    up = Upstream()
    port, log = free_port(), f"/tmp/weir-test-{os.getpid()}.log"
    config = service(up.port) + f"plugins: [{{name: file-log, config: {{path: {log}}}}}]\n"
    with Weir(config, settings={"proxy_listen": f"127.0.0.1:{port} ssl"}) as weir:
        conn = weir.connect(port)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        conn.sock = context.wrap_socket(conn.sock, server_hostname="shop.example")
        with conn:
            conn.send_request("GET", "/t")
            assert conn.read_response().body == b"hello"
            version = conn.sock.version()
        fields = dict(up.seen[0][1])
        assert fields["X-Forwarded-Proto"] == "https", fields
        line = wait_for("the log line", lambda: os.path.exists(log) and open(log).read())
        tls = json.loads(line)["request"]["tls"]
        assert tls["version"] == version and tls["cipher"], tls
    os.remove(log)


run_tests(globals())
