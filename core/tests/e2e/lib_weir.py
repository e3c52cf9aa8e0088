"""What the end-to-end tests share: a weir on free ports, raw HTTP conversations, scripted upstreams."""
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

WEIR = os.environ.get("WEIR_BINARY", "weir")
PLUGINS = os.environ.get("WEIR_PLUGIN_DIR", "")
PATIENCE = 20  # seconds for anything that should happen at once: the machine may be busy


def free_port():
    """Nobody listens there, and nobody will soon: it is below those that the kernel hands out (to bind(0)
    of an Upstream in another test, whose target would get what was meant for ours)."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_for(what, condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not happen in {seconds} s: {what}")


class Weir:
    """A running gateway. `config` is YAML text without a gateway: block; PROXY etc. are its ports."""

    def __init__(self, config, workers=1, settings=None, args=(), env=None, wait=True):
        self.dir = tempfile.mkdtemp(prefix="weir-test-")
        self.file, self.log = self.dir + "/weir.yaml", self.dir + "/error.log"
        # The environment of the tests holds names that are no settings.
        clean = {k: v for k, v in (env or os.environ).items()
                 if not re.fullmatch("WEIR_(BINARY|PLUGIN_DIR|BUILD_DIR|SOURCE_DIR)", k)}
        for left in (2, 1, 0):
            self.begin(config, workers, settings or {}, args, clean)
            try:
                if wait:
                    self.wait_ready()
                return
            except AssertionError as error:
                # Another test beside this one has had the same luck with its ports.
                if left == 0 or "Address already in use" not in str(error):
                    raise

    def begin(self, config, workers, settings, args, env):
        self.proxy, self.status, self.admin = free_port(), free_port(), free_port()
        self.settings = {
            "proxy_listen": f"127.0.0.1:{self.proxy}", "status_listen": f"127.0.0.1:{self.status}",
            "admin_listen": f"127.0.0.1:{self.admin}", "workers": workers, "prefix": self.dir,
            "error_log": self.log, "log_level": "info"}
        if PLUGINS:
            self.settings["plugin_path"] = PLUGINS
        self.settings.update(settings)
        self.write(config)
        self.process = subprocess.Popen([WEIR, "run", "-c", self.file, *args], env=env,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def write(self, config):
        block = "".join(f"  {k}: {quote(v)}\n" for k, v in self.settings.items())
        with open(self.file, "w", encoding="utf-8") as f:
            f.write('_format_version: "3.0"\ngateway:\n' + block + config)

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("weir ended: " + self.process.stdout.read().decode() +
                                     self.log_text())
            try:
                return self.get("/status/ready", port=self.status).status == 200
            except OSError:
                return False
        wait_for("weir is ready", ready)

    def get(self, target, port=None, headers=(), method="GET", body=b"", timeout=PATIENCE):
        with self.connect(port, timeout) as conn:
            conn.send_request(method, target, headers, body)
            return conn.read_response(method)

    def connect(self, port=None, timeout=PATIENCE):
        return Conn(port or self.proxy, timeout)

    def run(self, *args):
        return subprocess.run([WEIR, *args, "--prefix", self.dir], capture_output=True, text=True,
                              timeout=60, check=False)

    def reload(self, config=None):
        if config is not None:
            self.write(config)
        return self.run("reload")

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def workers(self):
        """Process ids of the workers."""
        out = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True,
                             check=False).stdout.split()
        return [int(pid) for pid in out]

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            code = self.process.wait(PATIENCE + 10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.output = self.process.stdout.read().decode()
        self.process.stdout.close()
        subprocess.run(["rm", "-rf", self.dir], check=True)
        return code

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            sys.stderr.write(self.log_text()[-4000:])
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            if kind is None:
                raise


def quote(value):
    return value if isinstance(value, (int, float)) else '"%s"' % value


class Response:
    def __init__(self, status, headers, body, complete):
        self.status, self.headers, self.body, self.complete = status, headers, body, complete

    def get(self, name, default=None):
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return default


class Conn:
    def __init__(self, port, timeout=PATIENCE):
        if isinstance(port, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(port)
        else:
            self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.settimeout(timeout)
        self.data = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def send_request(self, method, target, headers=(), body=b""):
        lines = [f"{method} {target} HTTP/1.1"]
        if not any(n.lower() == "host" for n, _ in headers):
            lines.append("Host: gw.test")
        lines += [f"{n}: {v}" for n, v in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def more(self):
        piece = self.sock.recv(1 << 18)
        self.data += piece
        return bool(piece)

    def take(self, size):
        out = bytes(self.data[:size])
        del self.data[:size]
        return out

    def read_head(self):
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                return None
        head = self.take(self.data.index(b"\r\n\r\n") + 4)[:-4]
        lines = head.decode("latin-1").split("\r\n")
        headers = [tuple(p.strip() for p in line.split(":", 1)) for line in lines[1:]]
        return lines[0], headers

    def read_exactly(self, size):
        while len(self.data) < size:
            if not self.more():
                return None
        return self.take(size)

    def read_line(self):
        while b"\r\n" not in self.data:
            if not self.more():
                return None
        return self.take(self.data.index(b"\r\n") + 2)[:-2]

    def read_chunked(self):
        out = bytearray()
        while True:
            line = self.read_line()
            piece = None if line is None else self.read_exactly(int(line.split(b";")[0], 16) + 2)
            if piece is None:
                return bytes(out), False
            if len(piece) == 2:
                return bytes(out), True
            out += piece[:-2]

    def read_body(self, headers, bodyless=False, response=True):
        names = {n.lower(): v for n, v in headers}
        if bodyless:
            return b"", True
        if names.get("transfer-encoding", "").lower() == "chunked":
            return self.read_chunked()
        if "content-length" in names:
            body = self.read_exactly(int(names["content-length"]))
            return (bytes(self.data), False) if body is None else (body, True)
        if not response:
            return b"", True
        while self.more():
            pass
        return self.take(len(self.data)), True

    def read_response(self, method="GET"):
        """None: the connection ended before a head. Interim answers are read over."""
        status = 100
        while 100 <= status < 200 and status != 101:
            head = self.read_head()
            if head is None:
                return None
            status = int(head[0].split(" ")[1])
        body, complete = self.read_body(head[1], method == "HEAD" or status < 200 or
                                        status in (204, 304))
        return Response(status, head[1], body, complete)

    def ended(self):
        """The other side has closed, with nothing more to read."""
        try:
            return not self.data and self.sock.recv(1) == b""
        except ConnectionError:
            return True


class Upstream:
    """Each connection is given to handler(conn, upstream) in a thread of its own. The default one
    answers every request with 200 and records it in `seen`: (line, headers, body)."""

    def __init__(self, handler=None, port=0):
        self.seen, self.handler, self.connections = [], handler or answer_all, 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        conn = Conn.__new__(Conn)
        conn.sock, conn.data = sock, bytearray()
        sock.settimeout(60)
        with conn:
            try:
                self.handler(conn, self)
            except (OSError, ValueError):
                pass

    def close(self):
        self.listener.close()


def read_request(conn, upstream):
    head = conn.read_head()
    if head is None:
        return None
    body, complete = conn.read_body(head[1], response=False)
    upstream.seen.append((head[0], head[1], body, complete))
    return upstream.seen[-1]


def reply(status=200, body=b"hello", headers=()):
    lines = [f"HTTP/1.1 {status} OK", f"Content-Length: {len(body)}"]
    lines += [f"{n}: {v}" for n, v in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answer_all(conn, upstream):
    while True:
        request = read_request(conn, upstream)
        if request is None:
            return
        conn.send(reply(headers=[("Content-Type", "text/x-test")]))


def service(port, extra="", path="/", route_extra="", name="s"):
    return (f"services:\n- name: {name}\n  url: http://127.0.0.1:{port}\n{extra}  routes:\n"
            f"  - name: r\n    paths: [{path}]\n    strip_path: false\n{route_extra}")


def run_tests(scope):
    """Every test_… function; the exit code says how many failed."""
    failed = 0
    only = sys.argv[1:]
    for name, test in list(scope.items()):
        if not name.startswith("test_") or (only and not any(re.search(o, name) for o in only)):
            continue
        begun = time.monotonic()
        try:
            test()
            print(f"ok   {name} ({time.monotonic() - begun:.1f} s)", flush=True)
        except Exception as error:  # every kind of failure is one failed test
            failed += 1
            import traceback
            traceback.print_exc()
            print(f"FAIL {name}: {error}", flush=True)
    sys.exit(1 if failed else 0)
