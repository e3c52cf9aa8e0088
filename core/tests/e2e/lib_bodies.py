"""Bodies of any size, made and checked as fast as the kernel copies: what is sent lies in memory (sendfile), what
comes is compared with it byte by byte, and nobody keeps it."""
import os
import random
import re
import socket
import ssl
import struct

# A prime: no buffer of anybody divides it, so a buffer lost or doubled does not go unseen.
PERIOD = 1048573
PATTERN = random.Random(7).randbytes(PERIOD)
TWICE = memoryview(PATTERN + PATTERN)
REPEATS = 16


class Memory:
    """A file in memory that is sent again and again."""

    def __init__(self, unit):
        self.fd = os.memfd_create("body")
        self.unit, self.size = len(unit), len(unit) * REPEATS
        for _ in range(REPEATS):
            os.write(self.fd, unit)


PLAIN = Memory(PATTERN)
CHUNKS = Memory(b"%x\r\n%s\r\n" % (PERIOD, PATTERN))


def blocking(sock, seconds=60):
    """Waits in the kernel, not in poll(): no second system call for each."""
    limit = struct.pack("ll", seconds, 0)
    sock.setblocking(True)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


class Sender:
    """Sends a body of `size` bytes; `sent` grows meanwhile (framing included)."""

    def __init__(self, sock, size, chunked=False):
        self.sock, self.size, self.chunked, self.sent = sock, size, chunked, 0

    def repeat(self, memory, size):
        at = 0
        if isinstance(self.sock, ssl.SSLSocket):
            self.repeat_tls(memory, size)
            return
        fd = self.sock.fileno()
        while at < size:
            offset = at % memory.size
            gone = os.sendfile(fd, memory.fd, offset, min(size - at, memory.size - offset, 1 << 18))
            at += gone
            self.sent += gone

    def repeat_tls(self, memory, size):
        at = 0
        while at < size:
            offset = at % memory.size
            piece = os.pread(memory.fd, min(size - at, memory.size - offset, 1 << 16), offset)
            self.sock.sendall(piece)
            at += len(piece)
            self.sent += len(piece)

    def run(self):
        if not self.chunked:
            self.repeat(PLAIN, self.size)
            return
        whole, rest = divmod(self.size, PERIOD)
        self.repeat(CHUNKS, whole * CHUNKS.unit)
        if rest:
            self.sock.sendall(b"%x\r\n%s\r\n" % (rest, PATTERN[:rest]))
        self.sock.sendall(b"0\r\n\r\n")


class Receiver:
    """Reads a body and compares it; `count` is its size so far. `length` None: until the end of the connection,
    or of the chunks."""

    def __init__(self, sock, length=None, chunked=False, ahead=b""):
        self.sock, self.length, self.chunked, self.count = sock, length, chunked, 0
        self.buffer = bytearray(1 << 20)
        self.left, self.line, self.behind, self.last, self.ended = 0, b"", False, False, length == 0
        self.chunks = 0
        if ahead:
            self.buffer[:len(ahead)] = ahead
            self.take(len(ahead))

    def check(self, at, size):
        while size > 0:
            place = self.count % PERIOD
            piece = min(size, PERIOD)
            assert self.buffer.startswith(TWICE[place:place + piece], at), f"wrong bytes after {self.count}"
            self.count += piece
            at += piece
            size -= piece

    def take_line(self, line):
        assert line.endswith(b"\r"), line[:80]
        if self.behind or self.last:
            assert line == b"\r", line[:80]
            self.ended = self.last
            self.behind = False
            return
        self.left = int(line, 16)
        self.last = self.left == 0
        self.chunks += 1

    def take_chunks(self, size):
        at = 0
        while at < size and not self.ended:
            if self.left > 0:
                piece = min(self.left, size - at)
                self.check(at, piece)
                at += piece
                self.left -= piece
                self.behind = self.left == 0
                continue
            end = self.buffer.find(b"\n", at, size)
            if end < 0:
                self.line += self.buffer[at:size]
                return
            line, self.line = self.line + bytes(self.buffer[at:end]), b""
            at = end + 1
            self.take_line(line)
        assert at == size, "bytes behind the last chunk"

    def take(self, size):
        if self.chunked:
            self.take_chunks(size)
            return
        self.check(0, size)
        if self.length is not None:
            assert self.count <= self.length, "more than was promised"
            self.ended = self.count == self.length

    def more(self):
        """One read. False: the connection has ended."""
        size = self.sock.recv_into(self.buffer)
        if size == 0:
            return False
        self.take(size)
        return True

    def run(self):
        while not self.ended:
            if not self.more():
                assert self.length is None and not self.chunked, f"cut after {self.count} bytes"
                self.ended = True
        return self.count


def framing_of(headers):
    """(length, chunked) of a head."""
    names = {n.lower(): v for n, v in headers}
    chunked = names.get("transfer-encoding", "").lower() == "chunked"
    length = int(names["content-length"]) if "content-length" in names else None
    assert not (chunked and length is not None), headers
    return length, chunked


def body_of(conn, headers, request=False):
    """A Receiver for the body behind the head that was just read."""
    length, chunked = framing_of(headers)
    if request and length is None and not chunked:
        length = 0
    return Receiver(conn.sock, length, chunked, conn.take(len(conn.data)))


def framing_line(framing, size):
    return {"length": f"Content-Length: {size}", "chunked": "Transfer-Encoding: chunked",
            "close": "Connection: close"}[framing]


# ---- the process under test

def status_of(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(rf"{name}:\s+(\d+)", f.read()).group(1))


class Flat:
    """The peak of a process' memory from here on, against what it has now (KiB)."""

    def __init__(self, pid):
        self.pid = pid
        with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")
        self.before = status_of(pid, "VmRSS")

    def growth(self):
        return status_of(self.pid, "VmHWM") - self.before


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kernel_room():
    """What the kernel may hold between two programs of this machine: a sender's buffer and a reader's."""
    def most(name):
        with open(f"/proc/sys/net/ipv4/{name}", encoding="ascii") as f:
            return int(f.read().split()[2])
    return most("tcp_rmem") + most("tcp_wmem")
