#!/usr/bin/env python3
"""Listeners with proxy_protocol, over real sockets: which address the client has, what the upstream is told and the
log says, what follows the header (TLS, pipelined requests), and that nobody gets in without one. The header's own
rules are a table in core/tests/net/test_proxy_protocol.c. curl and haproxy are asked as well when they are there."""
import json
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import time

from lib_weir import PATIENCE, Conn, Upstream, Weir, free_port, run_tests, service, wait_for

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = b"PROXY TCP4 203.0.113.7 198.51.100.2 56324 8443\r\n"
LINE6 = b"PROXY TCP6 2001:DB8::0007 2001:db8::2 56324 8443\r\n"
REQUEST = b"GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\n"


def v2(command=0x21, family=0x11, addresses=None, more=b""):
    block = (socket.inet_aton("203.0.113.7") + socket.inet_aton("198.51.100.2") +
             struct.pack(">HH", 56324, 8443) if addresses is None else addresses) + more
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(block)) + block


def v6(source="2001:db8::7"):
    return (socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "2001:db8::2") +
            struct.pack(">HH", 56324, 8443))


def paths():
    return b"/run/client.sock".ljust(108, b"\0") + b"/run/server.sock".ljust(108, b"\0")


class Behind:
    """A gateway whose plain and TLS listeners expect the header, with an upstream and an access log. One serves all
    tests: each has its settings by a reload, and counts from where it began."""

    shared = None

    def __init__(self):
        self.upstream, self.tls, self.open = Upstream(), free_port(), free_port()
        self.folder = tempfile.TemporaryDirectory()
        self.access = self.folder.name + "/access.log"
        self.proxy = free_port()
        self.config = service(self.upstream.port) + \
            "plugins:\n- {name: file-log, config: {path: %s}}\n" % self.access
        listen = (f"127.0.0.1:{self.proxy} proxy_protocol, 127.0.0.1:{self.tls} ssl proxy_protocol, "
                  f"127.0.0.1:{self.open}")
        self.weir = Weir(self.config, settings={"proxy_listen": listen})
        self.plain, self.set_before = dict(self.weir.settings), {}

    @classmethod
    def use(cls, settings):
        b = cls.shared = cls.shared or cls()
        if settings != b.set_before:
            b.weir.settings = {**b.plain, **settings}
            done = b.weir.reload(b.config)
            assert done.returncode == 0 and "restart" not in done.stdout + done.stderr, done
            b.set_before = settings
        b.upstream.seen.clear()
        b.lines_before, b.refused_before = len(b.all_lines()), b.counted()
        return b

    @classmethod
    def end(cls):
        if cls.shared is not None:
            cls.shared.weir.__exit__(None)
            cls.shared.upstream.close()
            cls.shared.folder.cleanup()

    def connect(self, port=None):
        return Conn(port or self.proxy)

    def seen(self):
        """The fields of the last request that the upstream got, by name."""
        return dict((n.lower(), v) for n, v in self.upstream.seen[-1][1])

    def ask(self, header, request=REQUEST, port=None):
        """`header` and a request in one packet; what the upstream got."""
        with self.connect(port) as conn:
            conn.send(header + request)
            response = conn.read_response()
            assert response is not None and response.status == 200, (header, response)
        return self.seen()

    def metric(self):
        return self.counted() - self.refused_before

    def counted(self):
        text = self.weir.get("/metrics", port=self.weir.status).body.decode()
        return int(re.search("^weir_proxy_header_refusals_total ([0-9]+)$", text, re.M)[1])

    def lines(self):
        return self.all_lines()[self.lines_before:]

    def all_lines(self):
        try:
            with open(self.access, encoding="utf-8") as f:
                return [json.loads(line) for line in f.read().split("\n")[:-1]]
        except FileNotFoundError:
            return []


def forwarded(found, **wanted):
    wanted = {name.replace("_", "-"): value for name, value in wanted.items()}
    have = {name: found.get(name) for name in wanted}
    assert have == wanted, (have, wanted)


BELIEVED = {"trusted_ips": "127.0.0.1", "real_ip_header": "proxy_protocol"}


def test_whom_the_header_speaks_for():
    rows = (  # (why, header, the client, chain that the request brings, chain that it goes on with)
        ("version 1", LINE, "203.0.113.7", None, "203.0.113.7"),
        ("version 2", v2(), "203.0.113.7", None, "203.0.113.7"),
        ("IPv6 in version 1, as we write it", LINE6, "2001:db8::7", None, "2001:db8::7"),
        ("IPv6 in version 2", v2(family=0x21, addresses=v6()), "2001:db8::7", None, "2001:db8::7"),
        ("IPv4 mapped into IPv6", v2(family=0x21, addresses=v6("::ffff:203.0.113.7")), "203.0.113.7", None,
         "203.0.113.7"),
        ("the balancer is the peer that a chain goes on with", LINE, "203.0.113.7", "192.0.2.9",
         "192.0.2.9, 127.0.0.1"),
        ("LOCAL: a health check of the balancer itself", v2(0x20, 0, b""), "127.0.0.1", None, "127.0.0.1"),
        ("LOCAL with addresses", v2(0x20), "127.0.0.1", None, "127.0.0.1"),
        ("UNKNOWN", b"PROXY UNKNOWN 1 2 3\r\n", "127.0.0.1", None, "127.0.0.1"),
        ("no family", v2(0x21, 0, b""), "127.0.0.1", None, "127.0.0.1"),
        ("a unix path is no address of a client", v2(0x21, 0x31, paths()), "127.0.0.1", None, "127.0.0.1"),
        ("TLVs are skipped", v2(more=b"\x02\0\x04shop\x20\0\x05\x01\0\0\0\0"), "203.0.113.7", None,
         "203.0.113.7"),
    )
    b = Behind.use(BELIEVED)
    assert f"127.0.0.1:{b.proxy} (proxy_protocol), 127.0.0.1:{b.tls} (proxy_protocol) (tls)" in \
        wait_for("it is announced", lambda: re.search(".*is ready.*", b.weir.log_text()))[0]
    for why, header, client, chain, chain_sent in rows:
        request = REQUEST if chain is None else \
            REQUEST.replace(b"Host", b"X-Forwarded-For: %s\r\nHost" % chain.encode())
        found = b.ask(header, request)
        assert found["x-real-ip"] == client, (why, found)
        assert found["x-forwarded-for"] == chain_sent, (why, found)
        # Of the listener, not of the announced destination.
        forwarded(found, x_forwarded_port=str(b.proxy), x_forwarded_proto="http",
                  x_forwarded_host="gw.test")
    wait_for("every line", lambda: len(b.lines()) == len(rows))
    assert [line["client_ip"] for line in b.lines()] == [row[2] for row in rows]
    # A header of that name is none of the connection's.
    found = b.ask(LINE, REQUEST.replace(b"Host", b"proxy_protocol: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nHost"))
    forwarded(found, x_real_ip="203.0.113.7")
    found = b.ask(b"", REQUEST.replace(b"Host", b"proxy_protocol: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nHost"), b.open)
    forwarded(found, x_real_ip="127.0.0.1", x_forwarded_for="127.0.0.1")
    assert b.metric() == 0


def test_who_is_believed():
    rows = (  # (why, settings, the client behind LINE)
        ("nobody by default: the header is read, no more", {}, "127.0.0.1"),
        ("not a balancer that is not trusted",
         {"trusted_ips": "192.0.2.0/24", "real_ip_header": "proxy_protocol"}, "127.0.0.1"),
        ("recursive changes nothing: there is one address, even when it is trusted",
         {**BELIEVED, "trusted_ips": "127.0.0.1, 203.0.113.7", "real_ip_recursive": "on"}, "203.0.113.7"),
        ("not when another header names the client", {"trusted_ips": "127.0.0.1"}, "127.0.0.1"),
    )
    for why, settings, client in rows:
        b = Behind.use(settings)
        for header in (LINE, v2()):
            found = b.ask(header)
            assert (found["x-real-ip"], found["x-forwarded-for"]) == (client, client), (why, found)
        wait_for("the lines", lambda: len(b.lines()) == 2)
        assert {line["client_ip"] for line in b.lines()} == {client}, why
    b = Behind.use({"trusted_ips": "127.0.0.1"})  # and X-Real-IP goes on doing what it does
    found = b.ask(LINE, REQUEST.replace(b"Host", b"X-Real-IP: 192.0.2.9\r\nHost"))
    forwarded(found, x_real_ip="192.0.2.9")
    # Trust is in the peer of the socket: the announced address is in no network of trusted_ips.
    found = b.ask(LINE, REQUEST.replace(b"Host", b"X-Forwarded-Proto: https\r\nX-Forwarded-Port: 9\r\nHost"))
    forwarded(found, x_forwarded_proto="https", x_forwarded_port="9")


def test_however_it_is_cut():
    b = Behind.use(BELIEVED)
    for header in (LINE, v2(more=b"\x04\0\x02ab")):
        with b.connect() as conn:  # byte by byte, and into the request
            conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(header) + 3):
                conn.send((header + REQUEST)[at:at + 1])
                time.sleep(0.001)
            conn.send((header + REQUEST)[len(header) + 3:])
            assert conn.read_response().status == 200
            assert b.seen()["x-real-ip"] == "203.0.113.7"
            conn.send(REQUEST * 2)  # and the connection goes on like any other
            for _ in range(2):
                assert conn.read_response().status == 200
                assert b.seen()["x-real-ip"] == "203.0.113.7"
        with b.connect() as conn:  # pipelined behind it, in one packet
            b.upstream.seen.clear()
            conn.send(header + REQUEST.replace(b"/a", b"/1") + REQUEST.replace(b"/a", b"/2") +
                      REQUEST.replace(b"/a", b"/3"))
            assert [conn.read_response().status for _ in range(3)] == [200] * 3
            assert [seen[0] for seen in b.upstream.seen] == [f"GET /{n} HTTP/1.1" for n in (1, 2, 3)]
        with b.connect() as conn:  # a second header is no request
            conn.send(header + header + REQUEST)
            response = conn.read_response()
            assert response is not None and response.status == 400, response


def tls(sock, first=b"", name="gw.test"):
    """The handshake in a memory of our own, so that `first` goes in one packet with its first bytes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    link = context.wrap_bio(inside, outside, server_hostname=name)

    def step(do):
        nonlocal first
        while True:
            try:
                result = do()
            except ssl.SSLWantReadError:
                result = None
            out = first + outside.read()
            first = b""
            if out:
                sock.sendall(out)
            if result is not None:
                return result
            piece = sock.recv(65536)
            assert piece, "ended"
            inside.write(piece)
    step(lambda: link.do_handshake() or True)
    step(lambda: link.write(REQUEST))
    return step(lambda: link.read(65536))


def test_before_tls():
    b = Behind.use(BELIEVED)
    for header in (LINE, v2()):
        with b.connect(b.tls) as conn:  # with the hello in one packet
            assert tls(conn.sock, header).startswith(b"HTTP/1.1 200 ")
            forwarded(b.seen(), x_real_ip="203.0.113.7", x_forwarded_proto="https",
                      x_forwarded_port=str(b.tls), x_forwarded_for="203.0.113.7")
        with b.connect(b.tls) as conn:
            for at in range(len(header)):
                conn.send(header[at:at + 1])
                time.sleep(0.001)
            assert tls(conn.sock).startswith(b"HTTP/1.1 200 ")
            forwarded(b.seen(), x_real_ip="203.0.113.7", x_forwarded_proto="https")
    with b.connect(b.tls) as conn:  # a hello first
        try:
            answer = tls(conn.sock)
        except (AssertionError, OSError):
            answer = b""
        assert answer == b"", answer
    with b.connect(b.tls) as conn:  # what follows it must be TLS
        conn.send(LINE + REQUEST)
        try:
            while conn.more():
                pass
        except ConnectionError:
            pass
        assert not conn.data.startswith(b"HTTP/"), conn.data
    assert b.metric() == 1


def test_nobody_gets_in_without_one():
    rows = (  # (why, bytes, part of the reason that is logged)
        ("a request", REQUEST, "no PROXY header"),
        ("a bad line", b"PROXY TCP4 203.0.113.07 198.51.100.2 1 2\r\n" + REQUEST, "an address"),
        ("LF alone", LINE.replace(b"\r", b"") + REQUEST, "CR LF"),
        ("too long", b"PROXY UNKNOWN " + b"x" * 93 + b"\r\n" + REQUEST, "longer than 107"),
        ("too long in version 2", SIGNATURE + b"\x21\x11\xff\xff" + REQUEST, "longer than 4096"),
        ("datagrams", v2(family=0x12) + REQUEST, "datagrams"),
        ("an unknown command", v2(0x22) + REQUEST, "command"),
        ("a TLV past its end", v2(more=b"\x04\0\x09") + REQUEST, "a TLV"),
        ("a wrong checksum", v2(more=b"\x03\0\x04abcd") + REQUEST, "checksum"),
    )
    b = Behind.use(BELIEVED)
    for number, (why, data, reason) in enumerate(rows):
        with b.connect() as conn:
            peer = "%s:%d" % conn.sock.getsockname()
            conn.send(data)
            assert conn.ended(), (why, conn.data)
        text = wait_for(why, lambda p=peer: re.search(f".*connection from {p} refused.*", b.weir.log_text()))[0]
        assert " info " in text and reason in text, (why, text)
        assert b.metric() == number + 1, why
    for at in (0, 1, 10, len(LINE) - 1):  # gone before it was whole
        with b.connect() as conn:
            conn.send(LINE[:at])
            conn.sock.shutdown(socket.SHUT_WR)
            assert conn.ended()
    assert b.metric() == len(rows) + 4
    assert b.upstream.seen == [] and b.lines() == [], "nothing of it was a request"
    b.ask(LINE)  # the next one is served
    weir = Weir(service(1), settings={"admin_listen": f"127.0.0.1:{free_port()} proxy_protocol"}, wait=False)
    code = weir.process.wait(PATIENCE)
    weir.stop()
    assert code != 0 and "proxy_protocol is for proxy_listen alone" in weir.output, weir.output


def test_it_must_come_in_time_and_counts_as_a_connection():
    b = Behind.use({**BELIEVED, "client_header_timeout": "400ms", "max_connections": 3})
    with b.connect() as silent, b.connect() as slow, b.connect(b.tls) as short:
        begun = time.monotonic()
        short.send(LINE[:-1])
        with b.connect() as fourth:  # those that say nothing yet fill it up
            assert fourth.ended()
        try:
            for at in range(len(LINE)):  # each byte in time, the whole not
                slow.send(LINE[at:at + 1])
                time.sleep(0.025)
        except OSError:
            pass
        assert silent.ended() and slow.ended() and short.ended()
        assert 0.35 < time.monotonic() - begun < PATIENCE
    wait_for("all are counted", lambda: b.metric() == 3)
    assert b.weir.log_text().count("refused: the PROXY header did not come in time") == 3
    b.ask(LINE)


def test_curl_as_the_balancer():
    if shutil.which("curl") is None:
        print("     SKIPPED: no curl")
        return
    b = Behind.use(BELIEVED)
    for url in (f"http://127.0.0.1:{b.proxy}/a", f"https://127.0.0.1:{b.tls}/a"):
        done = subprocess.run(["curl", "-sk", "--noproxy", "*", "--haproxy-protocol", "-w", "%{http_code}", url],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.stdout == "hello200", done
        forwarded(b.seen(), x_real_ip="127.0.0.1", x_forwarded_for="127.0.0.1")
    assert b.metric() == 0


def test_haproxy_as_the_balancer():
    if shutil.which("haproxy") is None:
        print("     SKIPPED: no haproxy")
        return
    ports = {"send-proxy": free_port(), "send-proxy-v2": free_port(),
             "send-proxy-v2 proxy-v2-options crc32c,authority,unique-id": free_port()}
    b = Behind.use(BELIEVED)
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write("defaults\n mode tcp\n timeout connect 5s\n timeout client 9s\n timeout server 9s\n")
        for number, (how, port) in enumerate(ports.items()):
            # Its client says who it is in a header of its own: haproxy believes it and passes it on.
            file.write(f"listen l{number}\n bind 127.0.0.1:{port} accept-proxy\n server s 127.0.0.1:{b.proxy} "
                       f"{how} check inter 100ms\n")
        file.flush()
        process = subprocess.Popen(["haproxy", "-db", "-f", file.name], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            for how, port in ports.items():
                def asked(port=port):
                    try:
                        return b.ask(LINE, port=port)
                    except (OSError, AssertionError):
                        return None
                found = wait_for("haproxy is up", asked)
                assert found["x-real-ip"] == "203.0.113.7", (how, found)
                found = b.ask(LINE6, port=port)
                assert found["x-real-ip"] == "2001:db8::7", (how, found)
            # Its checks send LOCAL and hang up before a request: none of them is refused.
            assert b.metric() == 0, b.weir.log_text()[-2000:]
        finally:
            process.terminate()
            process.wait(PATIENCE)


try:
    run_tests(globals())
finally:
    Behind.end()
