#!/usr/bin/env python3
"""CPU per request and requests per second of nginx, haproxy and weir at the same work, as ratios
within one run: each round measures all of them one after the other, the median round is shown.
CPU is what the kernel counts for the proxy's worker; the upstream is an nginx of its own."""
import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WEIR = os.environ.get("WEIR_BINARY", ROOT + "/build/release/bin/weir")
TICKS = os.sysconf("SC_CLK_TCK")
BODY = "x" * 1024
# More than jwt remembers (4096 of them), so that in their turn none is found again.
TOKENS = 20000
JWT_SECRET = "bench-secret-of-the-load"


def tool(name):
    return shutil.which(name) or f"/usr/sbin/{name}"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port):
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"bench: nothing listens on {port}")


def children(pid):
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(p) for p in out.stdout.split()]


def cpu_seconds(pid):
    """User and system time, from the scheduler's own nanoseconds when the kernel shows them."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
            return int(f.read().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


class Proxy:
    def __init__(self, name, directory, upstream):
        self.name, self.dir, self.port = name, directory, free_port()
        self.upstream = upstream
        self.process = None

    def write(self, name, text):
        path = f"{self.dir}/{self.name}-{name}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def start(self, command, env=None):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env=env)
        wait_port(self.port)

    def workers(self):
        return children(self.process.pid) or [self.process.pid]

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()


NGINX = """worker_processes 1; pid {dir}/{name}.pid; error_log /dev/null; daemon off;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {dir}/t1;
 proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
 scgi_temp_path {dir}/t5; {body} }}
"""


def upstream_server(directory):
    proxy = Proxy("upstream", directory, 0)
    text = NGINX.format(dir=directory, name="upstream", body=f"""
 server {{ listen 127.0.0.1:{proxy.port}; location / {{
   default_type application/json; return 200 "{BODY}"; }} }}""")
    proxy.start([tool("nginx"), "-c", proxy.write("nginx.conf", text)])
    return proxy


def start_nginx(proxy):
    text = NGINX.format(dir=proxy.dir, name="nginx", body=f"""
 upstream up {{ server 127.0.0.1:{proxy.upstream}; keepalive 64;
   keepalive_requests 1000000000; }}
 server {{ listen 127.0.0.1:{proxy.port}; location / {{
   proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
   proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
   proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
   proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Real-IP $remote_addr;
   proxy_set_header X-Request-Id $request_id; add_header X-Request-Id $request_id;
   proxy_pass http://up; }} }}""")
    proxy.start([tool("nginx"), "-c", proxy.write("nginx.conf", text)])


def start_haproxy(proxy):
    text = f"""global
 nbthread 1
 maxconn 4096
defaults
 mode http
 timeout client 60s
 timeout server 60s
 timeout connect 5s
 option forwardfor
 http-reuse always
frontend f
 bind 127.0.0.1:{proxy.port}
 unique-id-format %[uuid()]
 unique-id-header X-Request-Id
 http-request set-header X-Forwarded-Proto http
 http-request set-header X-Forwarded-Host %[req.hdr(host)]
 http-request set-header X-Forwarded-Port %[dst_port]
 http-request set-header X-Real-IP %[src]
 http-response set-header X-Request-Id %[unique-id]
 default_backend b
backend b
 server s 127.0.0.1:{proxy.upstream}
"""
    proxy.start([tool("haproxy"), "-db", "-f", proxy.write("haproxy.cfg", text)])


FOUR = """consumers:
- username: bench
  keyauth_credentials: [{key: benchkey}]
plugins:
- {name: key-auth}
- {name: rate-limiting, config: {minute: 1000000000, policy: local}}
- {name: correlation-id, config: {echo_downstream: true}}
- {name: prometheus, config: {status_code_metrics: true}}
"""
FIVE = FOUR + """- {name: response-transformer, config: {add: {headers: ["X-Served-By:bench"]}}}
"""
JWT = f"""consumers:
- username: bench
  jwt_secrets: [{{key: bench, secret: {JWT_SECRET}}}]
plugins:
- {{name: jwt, config: {{claims_to_verify: [exp]}}}}
"""


def has_plugin(name):
    directory = os.environ.get("WEIR_PLUGIN_DIR",
                               os.path.dirname(WEIR) + "/../lib/weir/plugins")
    return os.path.exists(f"{directory}/{name}.so")


def make_tokens(path, count):
    """HS256 tokens that differ in their jti, one a line; the first of them."""
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    now = int(time.time())
    tokens = []
    for number in range(count):
        claims = {"iss": "bench", "sub": "load", "exp": now + 86400, "jti": f"{number:08d}"}
        text = head + b"." + part(json.dumps(claims).encode())
        mac = hmac.new(JWT_SECRET.encode(), text, hashlib.sha256).digest()
        tokens.append((text + b"." + part(mac)).decode())
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(tokens) + "\n")
    return tokens


# wrk calls request() for each: the next token of the file, then the first one again.
LUA = """local requests, at = {{}}, 0
for token in io.lines("{path}") do
  requests[#requests + 1] = wrk.format("GET", "/orders/42?full=1", {{
    ["Host"] = "127.0.0.1", ["Accept"] = "application/json",
    ["User-Agent"] = "bench/1.0 (load)", ["Authorization"] = "Bearer " .. token }})
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
"""


class Tokens:
    """What the loads with tokens send; made when a chain needs them."""

    def __init__(self, directory):
        self.tokens = make_tokens(directory + "/tokens", TOKENS)
        self.script = directory + "/tokens.lua"
        with open(self.script, "w", encoding="ascii") as f:
            f.write(LUA.format(path=directory + "/tokens"))


def weir_config(proxy, chain):
    return f"""_format_version: "3.0"
gateway:
  proxy_listen: "127.0.0.1:{proxy.port}"
  admin_listen: "off"
  status_listen: "off"
  workers: 1
  prefix: {proxy.dir}/{proxy.name}
  keepalive_requests: 0
  upstream_keepalive_max_requests: 0
services:
- name: s
  url: http://127.0.0.1:{proxy.upstream}
  routes: [{{name: r, paths: [/]}}]
{chain}"""


def start_weir(proxy, chain="", prefix=(), extra=(), binary=WEIR):
    os.makedirs(f"{proxy.dir}/{proxy.name}", exist_ok=True)
    path = proxy.write("weir.yaml", weir_config(proxy, chain))
    proxy.start([*prefix, binary, "run", "-c", path, *extra])


# Name, policies, the plugin that it needs and others do not, what is sent as Authorization.
CHAINS = [
    ("weir", "", None, None),
    ("weir+4 policies", FOUR, None, None),
    ("weir+5 policies", FIVE, "response-transformer", None),
    ("weir+jwt, fresh", JWT, "jwt", "fresh"),
    ("weir+jwt, repeated", JWT, "jwt", "repeated"),
]


def chains():
    return [row for row in CHAINS if row[2] is None or has_plugin(row[2])]


def load(port, seconds, kind=None, tokens=None, connections=32):
    """Requests done and requests per second; errors end the bench."""
    headers = ["Accept: application/json", "User-Agent: bench/1.0 (load)"]
    if kind is None:
        headers.append("apikey: benchkey")
    elif kind == "repeated":
        headers.append("Authorization: Bearer " + tokens.tokens[0])
    sent = [word for header in headers for word in ("-H", header)]
    out = subprocess.run(
        [tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s",
         *(["-s", tokens.script] if kind == "fresh" else sent),
         f"http://127.0.0.1:{port}/orders/42?full=1"],
        capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit("bench: requests failed\n" + out)
    done = int(re.search(r"(\d+) requests in", out).group(1))
    return done, float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def measure(proxy, seconds, kind, tokens):
    before = sum(cpu_seconds(pid) for pid in proxy.workers())
    done, rate = load(proxy.port, seconds, kind, tokens)
    used = sum(cpu_seconds(pid) for pid in proxy.workers()) - before
    return used / done * 1e6, rate


def compare(directory, upstream, rounds, seconds, tokens):
    """Each round measures all; every ratio is one within its round, the median of them is shown."""
    starts = {"nginx": (start_nginx, None), "haproxy": (start_haproxy, None)}
    for name, chain, _, kind in chains():
        starts[name] = (lambda p, c=chain: start_weir(p, c), kind)
    running = {}
    for number, (name, (start, kind)) in enumerate(starts.items()):
        running[name] = Proxy(f"{name.split('+')[0]}-{number}", directory, upstream)
        start(running[name])
        load(running[name].port, 1, kind, tokens)
    results = {name: [] for name in running}
    for number in range(rounds):
        for name, proxy in running.items():
            results[name].append(measure(proxy, seconds, starts[name][1], tokens))
        print(f"round {number + 1}/{rounds} done", file=sys.stderr)
    for proxy in running.values():
        proxy.stop()

    def ratios(rows, base, column):
        return [row[column] / b[column] for row, b in zip(rows, results[base])]

    print(f"{'':20}{'CPU us/req':>12}{'/ nginx':>9}{'/ plain':>9}{'req/s':>10}{'/ nginx':>9}"
          "   CPU / nginx by round")
    for name, rows in results.items():
        cpu = ratios(rows, "nginx", 0)
        print(f"{name:20}{statistics.median(r[0] for r in rows):12.2f}"
              f"{statistics.median(cpu):9.2f}{statistics.median(ratios(rows, 'weir', 0)):9.2f}"
              f"{statistics.median(r[1] for r in rows):10.0f}"
              f"{statistics.median(ratios(rows, 'nginx', 1)):9.2f}   "
              + " ".join(f"{r:.2f}" for r in cpu))
    if "weir+5 policies" in results:
        five = ratios(results["weir+5 policies"], "weir", 0)
        print(f"five policies cost {statistics.median(five):.2f} x weir's own plain CPU per request"
              f" (bar: 1.25; by round: {' '.join(f'{r:.2f}' for r in five)})")


def compare_builds(directory, upstream, other, rounds, seconds):
    """This weir beside another build of it, each round in the other order: medians of the ratios."""
    for name, chain, _, kind in [row for row in chains() if row[3] is None]:
        running = {}
        for label, binary in (("this", WEIR), ("other", other)):
            running[label] = Proxy(f"weir-{label}-{len(chain)}", directory, upstream)
            start_weir(running[label], chain, binary=binary)
            load(running[label].port, 1)
        cpu, rate = [], []
        for number in range(rounds):
            order = ["this", "other"] if number % 2 == 0 else ["other", "this"]
            row = {label: measure(running[label], seconds, kind, None) for label in order}
            cpu.append(row["this"][0] / row["other"][0])
            rate.append(row["this"][1] / row["other"][1])
        for proxy in running.values():
            proxy.stop()
        print(f"{name:20} CPU per request {statistics.median(cpu):.4f} x, requests per second "
              f"{statistics.median(rate):.4f} x the other build's ({rounds} rounds; middle half of "
              f"the latter {sorted(rate)[rounds // 4]:.4f} to {sorted(rate)[-rounds // 4]:.4f})",
              flush=True)


def instructions(directory, upstream, chain, kind, tokens, requests=3000):
    """User-space instructions of one exchange: callgrind over the worker in one process, counted
    between two marks, after a warm-up."""
    proxy = Proxy("callgrind", directory, upstream)
    out = f"{directory}/callgrind.out"
    start_weir(proxy, chain, extra=["--single-process"],
               prefix=[tool("valgrind"), "--tool=callgrind", "--instr-atstart=no",
                       f"--callgrind-out-file={out}", "--quiet"])
    pid = proxy.process.pid

    def request(number):
        secret = "apikey: benchkey" if kind is None else "Authorization: Bearer " + \
            tokens.tokens[number if kind == "fresh" else 0]
        return ("GET /orders/42?full=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n" + secret +
                "\r\nAccept: application/json\r\nUser-Agent: bench/1.0 (load)\r\n\r\n").encode()

    def ask(count, first=0):
        with socket.create_connection(("127.0.0.1", proxy.port)) as conn:
            for number in range(first, first + count):
                conn.sendall(request(number))
                data = b""
                while not data.endswith(b"x" * 1024):
                    data += conn.recv(65536)
                assert data.startswith(b"HTTP/1.1 200"), data[:200]

    ask(200)
    subprocess.run([tool("callgrind_control"), "-i", "on", str(pid)], check=True,
                   capture_output=True)
    ask(requests, first=200)
    subprocess.run([tool("callgrind_control"), "-i", "off", str(pid)], check=True,
                   capture_output=True)
    proxy.stop()
    with open(out, encoding="utf-8", errors="replace") as f:
        total = max(int(n) for n in re.findall(r"^(?:summary|totals): (\d+)", f.read(), re.M))
    keep = os.environ.get("WEIR_BENCH_CALLGRIND")
    if keep:
        shutil.copy(out, keep)
    return total / requests


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--instructions", action="store_true", help="count instructions only")
    parser.add_argument("--policies", action="store_true",
                        help="with --instructions: the five policies, not weir plain")
    parser.add_argument("--against", metavar="BINARY",
                        help="compare with another build of weir instead, such as one made with "
                             "-DWEIR_ACCOUNTING=OFF")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as directory:
        upstream = upstream_server(directory)
        if options.against:
            try:
                compare_builds(directory, upstream.port, options.against, options.rounds,
                               options.seconds)
            finally:
                upstream.stop()
            return
        tokens = Tokens(directory) if has_plugin("jwt") else None
        rows = chains()
        if options.instructions:
            rows = [row for row in rows if row[3] is None]
            rows = rows[-1:] if options.policies else rows[:1]
        try:
            if not options.instructions:
                compare(directory, upstream.port, options.rounds, options.seconds, tokens)
            for name, chain, _, kind in rows:
                count = instructions(directory, upstream.port, chain, kind, tokens)
                print(f"instructions of an exchange, {name}: {count:.0f}", flush=True)
        finally:
            upstream.stop()


main()
