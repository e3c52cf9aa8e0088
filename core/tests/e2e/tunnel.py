#!/usr/bin/env python3
"""Upgrade and the tunnels that follow (RFC 9110 7.8, RFC 9112 9.9, RFC 6455): what the target is offered, what counts
as an answer to it, and that the bytes behind it arrive, all of them, in both directions, to the end."""
import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time

from lib_weir import Upstream, Weir, read_request, reply, run_tests, service, wait_for

SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {}\r\n{}\r\n"
ASK = "GET {} HTTP/1.1\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: {}\r\n{}\r\n"


def fields(headers, name):
    return [v for n, v in headers if n.lower() == name]


def echo(conn, upstream):
    """Switches, then says everything again; what came before the end is followed by it."""
    request = read_request(conn, upstream)
    if request is None:
        return
    conn.send(SWITCH.format(fields(request[1], "upgrade")[0], ""))
    if conn.data:
        conn.send(conn.take(len(conn.data)))
    while True:
        piece = conn.sock.recv(1 << 16)
        if not piece:
            return
        conn.sock.sendall(piece)


def open_tunnel(weir, protocol="echo", path="/", more="", behind=b"", port=None):
    conn = weir.connect(port)
    conn.send(ASK.format(path, protocol, more).encode() + behind)
    head = conn.read_head()
    assert head is not None and head[0].startswith("HTTP/1.1 101"), head
    return conn, head[1]


def says(conn, data):
    conn.send(data)
    return conn.read_exactly(len(data)) == data


def metric(weir, name):
    text = weir.get("/metrics", port=weir.status).body.decode()
    found = re.search(rf"^{name} (\d+)$", text, re.M)
    return int(found.group(1)) if found else None


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def test_bytes_go_both_ways_and_its_fields_are_the_gateways():
    upstream = Upstream(echo)
    with Weir(service(upstream.port)) as weir:
        conn, headers = open_tunnel(weir, "echo/2")
        assert fields(headers, "upgrade") == ["echo/2"], headers
        assert fields(headers, "connection") == ["Upgrade"], headers
        assert not fields(headers, "content-length") and not fields(headers, "transfer-encoding")
        seen = upstream.seen[0][1]
        assert fields(seen, "connection") == ["keep-alive, Upgrade"], seen
        assert fields(seen, "upgrade") == ["echo/2"], seen
        for size in (1, 100, 16384, 65536, 300000):
            block = os.urandom(size)
            sender = threading.Thread(target=conn.send, args=(block,))
            sender.start()
            assert conn.read_exactly(size) == block, size
            sender.join()
        assert says(conn, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "nobody parses it"
        assert metric(weir, "weir_tunnels_active") == 1
        assert metric(weir, "weir_exchanges_active") == 1
        conn.sock.close()
        wait_for("the tunnel is gone", lambda: metric(weir, "weir_tunnels_active") == 0)
        assert len(upstream.seen) == 1


# What the client sends, what the target is offered (None: nothing).
OFFERS = [
    ("Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket", "as it is"),
    ("Connection: keep-alive, uPgrade\r\nUpgrade: WebSocket\r\n", "WebSocket", "options have no case"),
    ("Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", None,
     "HTTP/2 with the target would pass every policy by"),
    ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: H2C, websocket\r\nHTTP2-Settings: AAMA\r\n", "websocket",
     "h2c goes from a list, in any case"),
    ("Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: h2c, b\r\n", "a, b", "two fields are one list"),
    ("Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n", None, "so would this"),
    ("Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n", None, "and this: requests that nobody can read"),
    ("Upgrade: websocket\r\n", None, "RFC 9110 7.8: without the option it belongs to somebody else"),
    ("Connection: Upgrade\r\nUpgrade: a b, @, /, c/\r\n", None, "these are no protocols"),
]


def test_what_the_target_is_offered():
    def answer(conn, upstream):
        while read_request(conn, upstream):
            conn.send(reply())
    upstream = Upstream(answer)
    with Weir(service(upstream.port)) as weir:
        for version in ("1.1", "1.0"):
            for lines, offered, why in OFFERS:
                with weir.connect() as conn:
                    conn.send(f"GET / HTTP/{version}\r\nHost: gw.test\r\n{lines}\r\n")
                    assert conn.read_response().status == 200, why
                seen = upstream.seen[-1][1]
                expected = [offered] if offered and version == "1.1" else []
                assert fields(seen, "upgrade") == expected, (why, version, seen)
                assert fields(seen, "connection") == \
                    ["keep-alive, Upgrade" if expected else "keep-alive"], (why, seen)
                assert not fields(seen, "http2-settings"), why


# Whether the client asked, what the target says, why that is refused.
BAD_ANSWERS = [
    (False, SWITCH.format("websocket", ""), "nobody asked"),
    (True, SWITCH.format("other", ""), "another protocol than was offered"),
    (True, SWITCH.format("websocket, other", ""), "and another"),
    (True, "HTTP/1.1 101 x\r\nConnection: Upgrade\r\n\r\n", "to what?"),
    (True, "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: \r\n\r\n", "to nothing"),
    (True, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", "its Connection does not say so"),
    (True, "HTTP/1.0 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.0 has no such thing"),
]


def test_a_101_that_is_no_answer_is_a_502():
    said = []

    def answer(conn, upstream):
        if read_request(conn, upstream):
            conn.send(said[-1] + "secret")
            conn.sock.recv(1)
    upstream = Upstream(answer)
    with Weir(service(upstream.port)) as weir:
        for asked, line, why in BAD_ANSWERS:
            said.append(line)
            with weir.connect() as conn:
                conn.send(ASK.format("/", "websocket", "") if asked else "GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
                got = conn.read_response()
                assert got is not None and got.status == 502, (why, got and got.status)
                assert b"secret" not in got.body and got.get("upgrade") is None, why
        assert metric(weir, "weir_tunnels_active") == 0


def test_a_101_before_the_request_was_there_is_a_502():
    def early(conn, upstream):
        conn.read_head()
        conn.send(SWITCH.format("echo", ""))
        while conn.more():
            pass
    upstream = Upstream(early)
    with Weir(service(upstream.port)) as weir, weir.connect() as conn:
        conn.send(ASK.format("/", "echo", "Content-Length: 10\r\n") + "12345")
        assert conn.read_response().status == 502


def test_an_upgrade_that_is_refused_is_an_ordinary_answer():
    def refuse(conn, upstream):
        while read_request(conn, upstream):
            conn.send(reply(status=403, body=b"no"))
    upstream = Upstream(refuse)
    with Weir(service(upstream.port)) as weir, weir.connect() as conn:
        for _ in range(3):
            conn.send(ASK.format("/ws", "websocket", ""))
            got = conn.read_response()
            assert (got.status, got.body, got.get("connection")) == (403, b"no", "keep-alive"), got.headers
        # What came behind it is the next request then, and is treated as any.
        conn.send(ASK.format("/ws", "websocket", "") + "GET /next HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        assert conn.read_response().status == 403 and conn.read_response().status == 403
        assert [s[0].split()[1] for s in upstream.seen[-2:]] == ["/ws", "/next"]
        assert upstream.connections == 1, "and the target's connection is kept"


def test_bytes_behind_the_request_and_behind_the_101_are_not_lost():
    def greet(conn, upstream):
        read_request(conn, upstream)
        conn.send(SWITCH.format("echo", "") + "greeting")
        while conn.more():
            conn.send(conn.take(len(conn.data)))
    upstream = Upstream(greet)
    with Weir(service(upstream.port)) as weir:
        for size in (1, 5000, 40000, 200000):
            behind = os.urandom(size)
            conn = weir.connect()
            sender = threading.Thread(target=conn.send, args=(ASK.format("/", "echo", "").encode() + behind,))
            sender.start()
            assert conn.read_head()[0].startswith("HTTP/1.1 101")
            assert conn.read_exactly(8) == b"greeting"
            assert conn.read_exactly(size) == behind, size
            sender.join()
            conn.sock.close()


def test_a_body_comes_before_the_tunnel():
    for framing, body in (("Content-Length: 5\r\n", "hello"),
                          ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")):
        upstream = Upstream(echo)
        with Weir(service(upstream.port)) as weir:
            conn, _ = open_tunnel(weir, more=framing, behind=(body + "tunnelled").encode())
            assert conn.read_exactly(9) == b"tunnelled"
            assert upstream.seen[0][2] == b"hello"
            conn.sock.close()


def test_half_closed_tunnels_go_on():
    def count(conn, upstream):
        read_request(conn, upstream)
        conn.send(SWITCH.format("echo", ""))
        total = len(conn.data)
        while True:
            piece = conn.sock.recv(1 << 16)
            if not piece:
                break
            total += len(piece)
        conn.send(f"{total} bytes")
    upstream = Upstream(count)
    with Weir(service(upstream.port)) as weir:
        conn, _ = open_tunnel(weir)
        conn.send(b"x" * 100000)
        conn.sock.shutdown(socket.SHUT_WR)
        assert conn.read_exactly(12) == b"100000 bytes"
        assert conn.ended()
        wait_for("it is over", lambda: metric(weir, "weir_exchanges_active") == 0)


def test_either_side_goes():
    held = []

    def hold(conn, upstream):
        read_request(conn, upstream)
        conn.send(SWITCH.format("echo", ""))
        held.append(conn)
        while conn.more():
            pass
    reset = struct.pack("ii", 1, 0)
    upstream = Upstream(hold)
    with Weir(service(upstream.port)) as weir:
        for hard in (False, True):
            conn, _ = open_tunnel(weir)
            wait_for("the target has it", lambda: held)
            if hard:
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            conn.sock.close()
            wait_for("client gone", lambda: metric(weir, "weir_tunnels_active") == 0)
            held.clear()
            conn, _ = open_tunnel(weir)
            wait_for("the target has it", lambda: held)
            if hard:
                held[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                held[0].sock.shutdown(socket.SHUT_RD)
                held[0].sock.close()
            else:
                held[0].sock.shutdown(socket.SHUT_RDWR)
            assert conn.ended()
            conn.sock.close()
            wait_for("target gone", lambda: metric(weir, "weir_tunnels_active") == 0)
            held.clear()


def test_a_slow_reader_holds_the_sender_back():
    sent = [0]

    def flood(conn, upstream):
        read_request(conn, upstream)
        conn.send(SWITCH.format("echo", ""))
        block = bytes(range(256)) * 256
        for _ in range(512):  # 32 MiB
            conn.sock.sendall(block)
            sent[0] += len(block)
    upstream = Upstream(flood)
    with Weir(service(upstream.port)) as weir:
        worker = weir.workers()[0]
        before = resident(worker)
        conn, _ = open_tunnel(weir)
        last = [-1]

        def stands():
            same, last[0] = sent[0] == last[0], sent[0]
            time.sleep(0.3)
            return same and sent[0] > 0
        wait_for("the sender stands", stands)
        assert sent[0] < 30 << 20, "somebody has taken it all"
        assert resident(worker) - before < 4096, "KiB: it is not in our memory"
        total, expected = 0, bytes(range(256)) * 256
        while total < 32 << 20:
            piece = conn.read_exactly(65536)
            assert piece == expected
            total += 65536
        conn.sock.close()


def test_both_directions_stand_and_go_on():
    """Neither side reads until neither can send: then each takes what the other has said, whole and in order."""
    size, read, got = 24 << 20, threading.Event(), []
    block = bytes(range(256)) * 256

    def flood(sock, counts):
        while counts[0] < size:
            sock.sendall(block)
            counts[0] += len(block)

    def take(conn):
        for at in range(0, size, 65536):
            if conn.read_exactly(65536) != block:
                return at
        return size

    ups, downs = [0], [0]

    def target(conn, upstream):
        read_request(conn, upstream)
        conn.send(SWITCH.format("echo", ""))
        conn.sock.settimeout(120)
        sender = threading.Thread(target=flood, args=(conn.sock, downs), daemon=True)
        sender.start()
        read.wait(120)
        got.append(take(conn))
        sender.join()
    upstream = Upstream(target)
    with Weir(service(upstream.port)) as weir:
        conn, _ = open_tunnel(weir)
        conn.sock.settimeout(120)
        sender = threading.Thread(target=flood, args=(conn.sock, ups), daemon=True)
        sender.start()
        last = [None]

        def stand():
            now = (ups[0], downs[0])
            same, last[0] = now == last[0], now
            time.sleep(0.3)
            return same and min(now) > 0
        wait_for("both stand", stand)
        assert max(last[0]) < size, last
        read.set()
        assert take(conn) == size
        sender.join(120)
        wait_for("the target has all", lambda: got)
        assert got == [size], got
        conn.sock.close()


def test_an_idle_tunnel_is_cut_and_a_busy_one_is_not():
    upstream = Upstream(echo)
    extra = "  read_timeout: 1000\n  write_timeout: 60000\n"
    with Weir(service(upstream.port, extra)) as weir:
        conn, _ = open_tunnel(weir)
        begun = time.monotonic()
        while time.monotonic() - begun < 2.5:
            assert says(conn, b"alive"), "bytes in either direction keep it"
            time.sleep(0.2)
        begun = time.monotonic()
        assert conn.ended()
        assert 0.3 < time.monotonic() - begun < 5  # since the last byte, a moment before
        conn.sock.close()


def test_reloads_leave_it_alone():
    upstream = Upstream(echo)
    with Weir(service(upstream.port)) as weir:
        conn, _ = open_tunnel(weir)
        for i in range(20):
            done = weir.reload(service(upstream.port, path=f"/new{i}"))
            assert done.returncode == 0, done.stderr
            assert says(conn, b"still %d" % i)
        assert weir.get("/").status == 404
        conn.sock.close()
        wait_for("the tunnel is gone", lambda: metric(weir, "weir_tunnels_active") == 0)


def test_swaps_leave_it_alone():
    import lib_swap
    target = Upstream(echo)
    lib_swap.upstream.port, port = target.port, lib_swap.upstream.port
    try:
        weir = lib_swap.start(workers=1)
    finally:
        lib_swap.upstream.port = port
    with weir:
        conn, headers = open_tunnel(weir)
        assert fields(headers, "x-build") == ["1.0.0"], "its policies have seen it"
        for i in range(5):
            done = lib_swap.swap(weir, f"1.0.{i + 1}")
            assert done.returncode == 0, done.stdout + done.stderr
            assert says(conn, b"still %d" % i)
        conn.sock.close()
        wait_for("the tunnel is gone", lambda: metric(weir, "weir_tunnels_active") == 0)


def test_a_drain_waits_for_it_and_then_cuts_it():
    for ends in (True, False):
        upstream = Upstream(echo)
        weir = Weir(service(upstream.port), settings={"drain_timeout": "2s"})
        with weir:
            conn, _ = open_tunnel(weir)
            begun = time.monotonic()
            weir.process.send_signal(signal.SIGTERM)
            wait_for("it drains", lambda: "drain" in weir.log_text() or time.monotonic() - begun > 1)
            assert says(conn, b"still here")
            if ends:
                conn.sock.close()
            else:
                assert conn.ended()
            weir.process.wait(20)
            assert time.monotonic() - begun < 12


def test_the_log_knows_how_much_it_was():
    upstream = Upstream(echo)
    where = tempfile.mkdtemp()
    plugin = f"plugins:\n- name: file-log\n  config:\n    path: {where}/log\n"
    with Weir(service(upstream.port) + plugin) as weir:
        conn, _ = open_tunnel(weir)
        assert says(conn, b"x" * 50000)
        assert not os.path.exists(where + "/log") or os.path.getsize(where + "/log") == 0
        conn.sock.close()
        line = wait_for("it is logged", lambda: os.path.exists(where + "/log") and
                        open(where + "/log", encoding="utf-8").read())
        import json
        entry = json.loads(line)
        assert entry["response"]["status"] == 101, entry
        assert 50000 < int(entry["request"]["size"]) < 51000, entry["request"]
        assert 50000 < int(entry["response"]["size"]) < 51000, entry["response"]
    shutil.rmtree(where)


# ---- WebSocket, by hand (RFC 6455)

def accept_key(key):
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def frame(opcode, payload, mask=None):
    size = len(payload)
    head = bytes([0x80 | opcode])
    flag = 0x80 if mask else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + struct.pack(">H", size)
    else:
        head += bytes([flag | 127]) + struct.pack(">Q", size)
    if mask:
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + (mask or b"") + payload


def read_frame(conn):
    head = conn.read_exactly(2)
    if head is None:
        return None
    size = head[1] & 0x7f
    if size == 126:
        size = struct.unpack(">H", conn.read_exactly(2))[0]
    elif size == 127:
        size = struct.unpack(">Q", conn.read_exactly(8))[0]
    mask = conn.read_exactly(4) if head[1] & 0x80 else None
    payload = conn.read_exactly(size)
    if mask:
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head[0] & 15, payload


def websocket_server(conn, upstream):
    request = read_request(conn, upstream)
    key = fields(request[1], "sec-websocket-key")[0]
    conn.send(SWITCH.format("websocket", f"Sec-WebSocket-Accept: {accept_key(key)}\r\n"))
    while True:
        got = read_frame(conn)
        if got is None:
            return
        opcode, payload = got
        conn.send(frame(10 if opcode == 9 else opcode, payload))
        if opcode == 8:
            return


def websocket_talk(conn, key="dGhlIHNhbXBsZSBub25jZQ=="):
    conn.send(ASK.format("/chat", "websocket", f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"))
    head = conn.read_head()
    assert head[0].startswith("HTTP/1.1 101") and fields(head[1], "sec-websocket-accept") == [accept_key(key)], head
    for payload in (b"", b"hello", b"x" * 125, b"y" * 126, b"z" * 70000):
        conn.send(frame(1, payload, os.urandom(4)))
        assert read_frame(conn) == (1, payload), len(payload)
    conn.send(frame(9, b"ping", os.urandom(4)))
    assert read_frame(conn) == (10, b"ping")
    conn.send(frame(8, struct.pack(">H", 1000), os.urandom(4)))
    assert read_frame(conn) == (8, struct.pack(">H", 1000))
    assert conn.ended(), "the server has closed"


def test_websocket_frames():
    upstream = Upstream(websocket_server)
    with Weir(service(upstream.port)) as weir, weir.connect() as conn:
        websocket_talk(conn)


def test_websocket_over_tls():
    from lib_weir import Conn, free_port
    upstream, tls = Upstream(websocket_server), free_port()
    weir = Weir(service(upstream.port), settings={"proxy_listen": f"127.0.0.1:{tls} ssl"})
    with weir, Conn(tls) as conn:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        conn.sock = context.wrap_socket(conn.sock, server_hostname="localhost")
        websocket_talk(conn)


def test_node_ws():
    probe = subprocess.run(["node", "-e", "require('ws')"], capture_output=True, check=False) \
        if shutil.which("node") else None
    if probe is None or probe.returncode != 0:
        print("skip: no node with the package ws here; the frames above are made by hand")
        return
    upstream = Upstream(websocket_server)
    with Weir(service(upstream.port)) as weir:
        script = (f"const W=require('ws');const w=new W('ws://127.0.0.1:{weir.proxy}/');"
                  "w.on('open',()=>w.send('hi'));w.on('message',m=>{console.log(String(m));w.close()})")
        done = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout.strip() == "hi", done


run_tests(globals())
