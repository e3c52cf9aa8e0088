"""Tables of wire cases: what a client sends, what it gets, and every byte that reached the upstream.

One gateway and one recording upstream serve all cases of a table. Nothing is timed: after each case a
request that is no part of it (the fence) goes the same way, and has come back only when all that the
gateway did before has reached the recorder too."""
import re
import select
import socket
import sys
import threading
import time

from lib_weir import Weir, service

FENCE = b"GET /fence HTTP/1.1\r\nHost: h\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
PLAIN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSE, RESET, END = "close", "reset", "end"  # steps of a script or of a client


class Got:
    """A step of the client: it reads these bytes before it goes on."""

    def __init__(self, data):
        self.data = data


class Reached:
    """A step of the client: the upstream has these bytes, as the last of what it got so far."""

    def __init__(self, data):
        self.data = data


def body_end(head, data):
    """Where the message that begins with `head` ends in `data`; None while it is not whole."""
    at = len(head)
    fields = head.lower()
    if b"\r\ntransfer-encoding: chunked\r\n" in fields:
        while True:
            line = data.find(b"\r\n", at)
            if line < 0:
                return None
            size = int(data[at:line].split(b";")[0], 16)
            if size == 0:
                end = data.find(b"\r\n\r\n", line)
                return None if end < 0 else end + 4
            at = line + 2 + size + 2
    found = re.search(rb"\r\ncontent-length: (\d+)\r\n", fields)
    at += int(found.group(1)) if found else 0
    return at if at <= len(data) else None


class Peer:
    def __init__(self, sock):
        self.sock, self.data, self.early, self.deaf = sock, bytearray(), False, False


class Recorder:
    """The upstream: one thread for all its connections, so that what it saw has one order."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.peers, self.log, self.lock = {}, [], threading.RLock()
        self.script, self.early, self.last, self.fence_peer = None, False, None, None
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            ready, _, _ = select.select([self.listener, *self.peers], [], [], 30)
            with self.lock:
                for sock in ready:
                    self.turn(sock)

    def turn(self, sock):
        if sock is self.listener:
            made, _ = sock.accept()
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers[made] = Peer(made)
        elif sock in self.peers:
            self.read(self.peers[sock])

    def read(self, peer):
        try:
            piece = peer.sock.recv(1 << 18)
        except OSError:
            piece = b""
        if not piece:
            self.drop(peer)
            return
        peer.data += piece
        while peer.sock in self.peers and self.take_one(peer):
            pass

    def drop(self, peer):
        if peer.data:
            self.log.append(bytes(peer.data))
        del self.peers[peer.sock]
        peer.sock.close()

    def take_one(self, peer):
        """True: a message was taken off, there may be another."""
        cut = peer.data.find(b"\r\n\r\n")
        if cut < 0:
            return False
        head = bytes(peer.data[:cut + 4])
        is_fence = head.startswith(b"GET /fence HTTP/1.1\r\n")
        if self.early and not is_fence and not peer.early:
            peer.early = True
            self.play(peer)
        end = body_end(head, peer.data)
        if end is None:
            return False
        message = bytes(peer.data[:end])
        del peer.data[:end]
        if is_fence:
            self.fence(peer)
        else:
            self.log.append(message)
            if not peer.early:
                self.play(peer)
            peer.early = False
        return True

    def fence(self, peer):
        while True:  # all that came before it, on other connections
            ready = select.select([s for s in self.peers if s is not peer.sock], [], [], 0)[0]
            if not ready:
                break
            for sock in ready:
                self.turn(sock)
        self.fence_peer = peer
        peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfence")

    def play(self, peer):
        self.last = peer
        for step in self.script or [PLAIN_ANSWER]:
            if step in (CLOSE, RESET):
                if step == RESET:
                    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.drop(peer)
                return
            try:
                peer.sock.sendall(step)
            except OSError:  # the gateway may refuse before it has read all
                self.drop(peer)
                return

    def begin(self, script, early):
        with self.lock:
            self.script, self.early, self.log, self.last = script, early, [], None

    def partial(self):
        with self.lock:
            return b"".join(self.log) + b"".join(bytes(p.data) for p in self.peers.values())

    def take(self):
        """All of a case, and whether its last connection was kept."""
        with self.lock:
            for peer in list(self.peers.values()):
                if peer.data:
                    self.drop(peer)
            return self.log, self.last is not None and self.fence_peer is self.last


class Bench:
    """A gateway before a recorder."""

    def __init__(self, settings=None, extra="  retries: 0\n"):
        self.recorder = Recorder()
        self.weir = Weir(service(self.recorder.port, extra), settings=settings)
        port, proxy = self.recorder.port, self.weir.proxy
        self.own = [re.compile(line.encode()) for line in (
            r"Via: 1\.1 weir/\S+", rf"Host: 127\.0\.0\.1:{port}", "Connection: keep-alive",
            r"X-Forwarded-For: 127\.0\.0\.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: h",
            rf"X-Forwarded-Port: {proxy}", r"X-Real-IP: 127\.0\.0\.1",
            "X-Kong-Request-Id: [0-9a-f]{32}")]
        self.own_answer = [re.compile(line) for line in (
            rb"Server: weir/\S+", rb"X-Kong-Upstream-Latency: \d+", rb"X-Kong-Proxy-Latency: \d+",
            rb"Via: 1\.1 weir/\S+", rb"X-Kong-Request-Id: [0-9a-f]{32}",
            rb"Connection: (keep-alive|close)")]
        with self.weir.connect() as conn:
            self.version = re.search(rb"\r\nServer: (weir/\S+)", fence(conn)).group(1)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.weir.__exit__(*failure)

    def bare(self, message):
        """A request without the fields that weir adds, each of which must be there once. One that
        says something else than for a plain request stays, and is in the table."""
        head, mark, body = message.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        path = lines[0].split(b" ")[1].split(b"?")[0]
        for own in [*self.own, re.compile(rb"X-Forwarded-Path: " + re.escape(path))]:
            name = own.pattern.split(b":")[0].lower()
            if [n.split(b":")[0].lower() for n in lines].count(name) != 1:
                raise AssertionError(f"{name} is not there once: {message!r}")
            lines = [line for line in lines if not own.fullmatch(line)]
        return b"\r\n".join(lines) + mark + body

    def bare_answer(self, data):
        head, mark, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        for own in self.own_answer:
            found = [at for at, line in enumerate(lines) if own.fullmatch(line)]
            if found:
                del lines[found[-1]]
        return b"\r\n".join(lines) + mark + body


def read_answer(conn, bodyless):
    """One answer, raw, and its status; (b"", None) at the end of the connection."""
    begun = bytearray()
    while b"\r\n\r\n" not in conn.data:
        try:
            if not conn.more():
                return bytes(conn.data), None
        except ConnectionError:
            return bytes(conn.data), None
    head = conn.take(conn.data.index(b"\r\n\r\n") + 4)
    begun += head
    status = int(head[9:12])
    if bodyless or status < 200 or status in (204, 304):
        return bytes(begun), status
    fields = head.lower()
    is_measured = b"\r\ntransfer-encoding: chunked\r\n" in fields or b"\r\ncontent-length: " in fields
    try:
        while not is_measured or body_end(head, begun + conn.data) is None:
            if not conn.more():
                return bytes(begun + conn.take(len(conn.data))), status
    except ConnectionError:
        return bytes(begun + conn.take(len(conn.data))), status
    return bytes(begun + conn.take(body_end(head, begun + conn.data) - len(begun))), status


def converse(bench, conn, steps):
    for step in [steps] if isinstance(steps, bytes) else steps:
        if isinstance(step, Got):
            have = conn.read_exactly(len(step.data)) or bytes(conn.data)
            assert have == step.data, f"the client got {have!r}, not {step.data!r}"
        elif isinstance(step, Reached):
            end = time.monotonic() + 20
            while not bench.recorder.partial().endswith(step.data):
                assert time.monotonic() < end, f"{bench.recorder.partial()!r} reached the upstream"
                time.sleep(0.002)
        elif step == END:
            conn.sock.shutdown(socket.SHUT_WR)
        else:
            try:
                conn.send(step)
            except ConnectionError:  # refused before all of it was read
                pass


def expect_end(conn):
    try:
        while conn.more():
            pass
    except ConnectionError:
        pass
    assert not conn.data, f"after its end: {bytes(conn.data)!r}"


def fence(conn):
    conn.send(FENCE)
    answer, status = read_answer(conn, False)
    assert status == 200 and answer.endswith(b"\r\n\r\nfence"), f"not in step any more: {answer!r}"
    return answer


def run_case(bench, steps, gets, script=None, early=False):
    """`gets`: statuses, then keep or close; a status with h has no body (it answers HEAD). Returns
    the raw answers, the messages that reached the upstream and whether its connection was kept."""
    *statuses, fate = gets.split(" ")
    bench.recorder.begin(script, early)
    answers = []
    with bench.weir.connect() as conn:
        converse(bench, conn, steps)
        for want in statuses:
            answer, status = read_answer(conn, want.endswith("h"))
            answers.append(answer)
            assert status == int(want.rstrip("h")), f"{status} instead of {want}: {answer[:300]!r}"
        if fate == "keep":
            fence(conn)
        else:
            expect_end(conn)
    if fate != "keep":
        with bench.weir.connect() as conn:
            fence(conn)
    messages, kept = bench.recorder.take()
    return answers, messages, kept


def run_table(bench, rows, run):
    """`run(row)` for each; names the rows that failed and ends the process with 1 for any."""
    only, failed, begun = sys.argv[1:], 0, time.monotonic()
    for row in rows:
        if only and not any(o in row.why for o in only):
            continue
        try:
            run(bench, row)
        except Exception as error:  # every kind of failure is one failed row
            failed += 1
            print(f"FAIL {row.section}: {row.why}: {type(error).__name__} {error}", flush=True)
            with bench.weir.connect() as conn:  # what is under way is no part of the next row
                fence(conn)
    assert bench.weir.process.poll() is None, "weir ended: " + bench.weir.log_text()[-2000:]
    print(f"{len(rows) - failed} of {len(rows)} rows hold ({time.monotonic() - begun:.1f} s)")
    return failed
