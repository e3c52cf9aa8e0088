#!/usr/bin/env python3
"""Replays recorded exchanges of a real Kong through weir and compares what the client and the
upstream see. data/answers.jsonl holds one case a line: a configuration, requests in order, what the
upstream was told to answer, what the client got and what reached the upstream. Before its steps (or
instead of them) a case may have a count: many requests alike, and how many of them each port got.

Usage: answers.py [ID-PREFIX ...]   (WEIR_BINARY names the program)"""
import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WEIR = os.environ["WEIR_BINARY"]
PLUGINS = os.environ.get("WEIR_PLUGIN_DIR", "")
PORTS = range(9001, 9010)  # as recorded; 9009 is one where nobody listens

# Where weir differs on purpose: id -> reason. Such a case is still run, and must differ.
DIFFERS = json.load(open(os.path.join(HERE, "data", "answers_differ.json"), encoding="utf-8"))
# What was recorded beside these and cannot be replayed here: reason -> ids.
LATER = json.load(open(os.path.join(HERE, "data", "answers_later.json"), encoding="utf-8"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Upstream:
    """All recorded upstream ports, each on a free one."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.reply, self.by_port, self.received = {}, {}, []
        self.any_target = False  # of the case: which port is reached is drawn by lot
        self.real = {}
        ready = threading.Event()
        threading.Thread(target=self.run, args=(ready,), daemon=True).start()
        ready.wait()

    def run(self, ready):
        asyncio.set_event_loop(self.loop)

        async def start():
            for port in PORTS:
                if port == 9009:
                    self.real[port] = free_port()
                    continue
                server = await asyncio.start_server(
                    lambda r, w, p=port: self.serve(r, w, p), "127.0.0.1", 0, limit=1 << 22)
                self.real[port] = server.sockets[0].getsockname()[1]
            ready.set()

        self.loop.create_task(start())
        self.loop.run_forever()

    async def body(self, reader, headers):
        names = {n.lower(): v for n, v in headers}
        if "chunked" in names.get("transfer-encoding", ""):
            out = b""
            while True:
                size = int((await reader.readline()).split(b";")[0], 16)
                out += await reader.readexactly(size)
                await reader.readline()
                if size == 0:
                    return out
        return await reader.readexactly(int(names.get("content-length", 0)))

    async def serve(self, reader, writer, port):
        try:
            while await self.one(reader, writer, port):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        writer.close()

    async def one(self, reader, writer, port):
        line = (await reader.readline()).decode("latin-1").strip()
        if not line:
            return False
        method, target, _ = line.split(" ", 2)
        headers = []
        while True:
            field = (await reader.readline()).decode("latin-1").rstrip("\r\n")
            if not field:
                break
            name, value = field.split(":", 1)
            headers.append([name, value.strip()])
        body = await self.body(reader, headers)
        self.received.append({"port": port, "method": method, "target": target,
                              "headers": headers, "body": body.decode("latin-1")})
        reply = self.by_port.get(str(port)) or self.reply or {}
        if reply.get("delay"):
            await asyncio.sleep(reply["delay"])
        if reply.get("close"):
            return False
        if reply.get("raw") is not None:
            writer.write(reply["raw"].encode("latin-1"))
            await writer.drain()
            return False
        return await self.answer(writer, reply, port, method, target)

    async def answer(self, writer, reply, port, method, target):
        status = reply.get("status", 200)
        fields = reply.get("headers")
        if fields is None:
            fields = [["Content-Type", "application/json"], ["X-Upstream-Port", str(port)]]
        body = reply.get("body")
        if body is None:
            body = json.dumps({"upstream": port, "method": method, "target": target})
        body = body.encode("latin-1", "replace")
        out = [f"HTTP/1.1 {status} {reason(status)}"] + [f"{n}: {v}" for n, v in fields]
        bodyless = status in (204, 304) or method == "HEAD"
        if reply.get("chunked"):
            out.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        elif reply.get("eof"):
            out.append("Connection: close")
        elif status not in (204, 304):
            out.append(f"Content-Length: {len(body)}")
        writer.write(("\r\n".join(out) + "\r\n\r\n").encode("latin-1"))
        if not bodyless:
            writer.write(body)
        await writer.drain()
        return not reply.get("eof")


def reason(status):
    return {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified",
            404: "Not Found", 500: "Internal Server Error"}.get(status, "Status")


def real_ports(text, upstream):
    return re.sub(r"\b(900[1-9])\b", lambda m: str(upstream.real[int(m.group(1))]), text)


class Gateway:
    """One running weir; the configuration changes by `weir reload`."""

    def __init__(self, directory, upstream):
        self.dir, self.upstream, self.process, self.settings = directory, upstream, None, None
        self.file = os.path.join(directory, "kong.yml")

    def block(self, case):
        settings = dict(case.get("settings") or {})
        if "nginx_http_client_max_body_size" in settings:
            settings["client_max_body_size"] = settings.pop("nginx_http_client_max_body_size")
        settings["router_flavor"] = case["flavor"]
        return settings

    def load(self, case):
        config = json.loads(real_ports(json.dumps(case["config"]), self.upstream))
        settings = self.block(case)
        # Counters start from nothing in every rate-limiting case, so that group is not reloaded.
        # The second half of a pair goes on with the counters of the first.
        goes_on = case["id"].endswith("-2") or case.get("continues")
        fresh = settings != self.settings or (case["id"].startswith("rate-limiting/") and
                                              not goes_on)
        if fresh:
            self.stop()
            self.proxy, self.tls = free_port(), free_port()
            self.status, self.admin = free_port(), free_port()
        # The environment of the test holds names that are no settings.
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
        config["gateway"] = dict(
            settings, workers=1, prefix=self.dir, log_level="warn",
            proxy_listen=f"127.0.0.1:{self.proxy}, 127.0.0.1:{self.tls} ssl",
            admin_listen=f"127.0.0.1:{self.admin}", status_listen=f"127.0.0.1:{self.status}",
            port_maps=f"8000:{self.proxy},8443:{self.tls}", error_log=self.dir + "/error.log",
            plugin_path=PLUGINS)
        with open(self.file, "w", encoding="utf-8") as f:
            json.dump(config, f)
        if fresh:
            self.settings = settings
            return self.start()
        done = subprocess.run([WEIR, "reload", "--prefix", self.dir], capture_output=True,
                              text=True, timeout=30, check=False)
        return None if done.returncode == 0 else done.stdout + done.stderr

    def start(self):
        self.process = subprocess.Popen([WEIR, "run", "-c", self.file], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True,
                                        env=self.env)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.process.poll() is not None:
                problem = self.process.stderr.read()
                self.process, self.settings = None, None
                return problem
            try:
                with socket.create_connection(("127.0.0.1", self.status), 1) as s:
                    s.sendall(b"GET /status/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    if b" 200 " in s.recv(64):
                        return None
            except OSError:
                pass
            time.sleep(0.02)
        return "not ready in 20 s"

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
            self.process.stderr.close()
        self.process, self.settings = None, None


def request_bytes(request):
    if request.get("raw") is not None:
        return request["raw"].encode("latin-1")
    lines = [f"{request['method']} {request['target']} {request.get('version', 'HTTP/1.1')}"]
    headers = request.get("headers") or []
    lines += [f"{n}: {v}" for n, v in headers]
    body = (request.get("body") or "").encode()
    names = {n.lower() for n, _ in headers}
    if request.get("chunked"):
        if "transfer-encoding" not in names:
            lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    elif body and "content-length" not in names:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def read_response(sock, method):
    data = b""
    sock.settimeout(70)

    def more():
        nonlocal data
        piece = sock.recv(1 << 20)
        data += piece
        return bool(piece)

    while True:
        while b"\r\n\r\n" not in data:
            if not more():
                return None
        head, data = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        if status >= 200:
            break
    headers = [[n, v.strip()] for n, v in (line.split(":", 1) for line in lines[1:])]
    names = {n.lower(): v for n, v in headers}
    body = b""
    if method == "HEAD" or status in (204, 304):
        pass
    elif "chunked" in names.get("transfer-encoding", ""):
        while True:
            while b"\r\n" not in data:
                if not more():
                    return None
            size, data = data.split(b"\r\n", 1)
            size = int(size, 16)
            while len(data) < size + 2:
                if not more():
                    return None
            body, data = body + data[:size], data[size + 2:]
            if size == 0:
                break
    elif "content-length" in names:
        while len(data) < int(names["content-length"]):
            if not more():
                return None
        body = data[:int(names["content-length"])]
    else:
        while more():
            pass
        body = data
    return {"status": status, "headers": headers, "body": body.decode("latin-1")}


def send(gateway, request):
    secure = request.get("to") == "tls"
    port = {"tls": gateway.tls, "admin": gateway.admin}.get(request.get("to"), gateway.proxy)
    sock = socket.create_connection(("127.0.0.1", port), 10)
    with sock:
        if secure:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock, server_hostname=request.get("sni"))
        sock.sendall(request_bytes(request))
        return read_response(sock, request["method"])


VOLATILE = {"date", "server", "x-kong-upstream-latency", "x-kong-proxy-latency",
            "x-kong-response-latency", "connection", "keep-alive", "content-length",
            "transfer-encoding"}
CLOCKED = {"ratelimit-reset", "retry-after"}


def tidy(text, upstream):
    text = re.sub(r"(kong|weir)/\d+\.\d+\.\d+", "GATEWAY", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "REQUEST-ID", text)
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID",
                  text)
    text = re.sub(r"[A-Za-z0-9.]+-\d+-\d+-\d+-\d+-\d+\.\d+", "TRACKER", text)
    text = re.sub(r"UUID#\d+", "UUID#N", text)
    for recorded, real in upstream.real.items():
        text = re.sub(rf"\b{real}\b", str(recorded), text)
    if upstream.any_target:
        text = re.sub(r"\b900\d\b", "PORT", text)
    return text


def field_list(headers, upstream, drop):
    out = []
    for name, value in headers:
        low = name.lower()
        if low in drop:
            continue
        value = "SECONDS" if low in CLOCKED else tidy(value, upstream)
        if low == "x-credential-identifier" and re.fullmatch(r"[0-9a-f-]{36}", value):
            value = "UUID"  # random there, made from names here
        out.append((low, value))
    return sorted(out)


def body_of(text, upstream):
    text = tidy(text, upstream)
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text


def compare(step, got, received, upstream):
    want, out = step["response"], []
    if want.get("status") is None:
        return out  # no HTTP/1 answer was recorded: nothing to hold weir to
    if got is None:
        return ["the connection ended without an answer"]
    if got["status"] != want["status"]:
        out.append(f"status {got['status']}, want {want['status']}: {got['body'][:100]!r}")
        return out
    have_fields = field_list(got["headers"], upstream, VOLATILE)
    want_fields = field_list(want["headers"], upstream, VOLATILE)
    for field in want_fields:
        if field not in have_fields:
            out.append(f"answer lacks {field}")
    for field in have_fields:
        if field not in want_fields:
            out.append(f"answer has {field} too much")
    if body_of(got["body"], upstream) != body_of(want.get("body") or "", upstream):
        out.append(f"body {got['body'][:200]!r}, want {(want.get('body') or '')[:200]!r}")
    if len(received) != len(step["upstream_received"]):
        out.append(f"{len(received)} requests upstream, want {len(step['upstream_received'])}")
        return out
    for have, seen in zip(received, step["upstream_received"]):
        for key in ("port", "method", "target", "body"):
            if key in seen and tidy(str(have[key]), upstream) != tidy(str(seen[key]), upstream):
                out.append(f"upstream {key} {have[key]!r}, want {seen[key]!r}")
        have_list = field_list(have["headers"], upstream, {"content-length", "transfer-encoding"})
        seen_list = field_list(seen["headers"], upstream, {"content-length", "transfer-encoding"})
        for field in seen_list:
            if field not in have_list:
                out.append(f"upstream lacks {field}")
        for field in have_list:
            if field not in seen_list:
                out.append(f"upstream got {field} too much")
    return out


# When cases were recorded: their tokens hold absolute times.
RECORDED_AT = {"seed/kong-yml-running": 1795487939}
RECORDED_AT_DEFAULT = 1795487100


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def shifted_token(token, secrets, seconds):
    """The same token with its times moved, signed anew; itself when it has none or is not good."""
    try:
        header, claims, signature = token.split(".")
        content = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        secret = secrets[content["iss"]].encode()
    except (ValueError, KeyError, TypeError):
        return token
    moved = {k: v + seconds if k in ("exp", "nbf") and isinstance(v, int) else v
             for k, v in content.items()}

    def signed(text):
        return base64url(hmac.new(secret, text.encode(), hashlib.sha256).digest())

    if moved == content or signed(header + "." + claims) != signature:
        return token
    text = header + "." + base64url(json.dumps(moved, separators=(",", ":")).encode())
    return text + "." + signed(text)


def shift_tokens(case):
    """Tokens of a case as they would be had it been recorded now."""
    secrets = {}
    owners = [case["config"]] + [c for c in case["config"].get("consumers") or []]
    for owner in owners:
        for row in owner.get("jwt_secrets") or []:
            if row.get("algorithm", "HS256") == "HS256" and row.get("secret"):
                secrets[row.get("key")] = row["secret"]
    if not secrets:
        return case
    seconds = int(time.time()) - RECORDED_AT.get(case["id"], RECORDED_AT_DEFAULT)
    steps = re.sub(r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
                   lambda m: shifted_token(m.group(0), secrets, seconds), json.dumps(case["steps"]))
    return dict(case, steps=json.loads(steps))


def shape(value):
    """Of a document of the admin API: without ids and times, lists in one order."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()
                if k not in ("id", "node_id", "created_at", "updated_at")}
    if isinstance(value, list):
        return sorted((shape(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    return value


def compare_admin(step, got, upstream):
    want = step["response"]
    if got is None or got["status"] != want["status"]:
        return [f"status {got and got['status']}, want {want['status']}"]
    have, seen = (shape(json.loads(tidy(text, upstream))) for text in (got["body"], want["body"]))
    return [] if have == seen else [f"body {json.dumps(have)}, want {json.dumps(seen)}"]


def fill(request, number):
    return json.loads(json.dumps(request).replace("{n}", str(number)))


def split_as_recorded(count, ports):
    """ports: who answered, by request. How much must be alike depends on the algorithm: where values
    go is everybody's own affair, that they stay there is not."""
    hits = {p: ports.count(p) for p in set(ports) if p is not None}
    recorded = {int(p): n for p, n in count["hits_by_port"].items()}
    cycle, how = count["cycle"], count["compare"]
    if how == "hits":
        return [] if hits == recorded else [f"hits {hits}, want {recorded}"]
    if how == "sticky":
        moved = [n for n in range(cycle) if len(set(ports[n::cycle])) != 1]
        few = len(hits) < min(cycle, len(recorded))
        return [f"values {moved} went to several targets"] * bool(moved) + \
               [f"hits {hits}, want {recorded}"] * few
    if how == "share":
        far = [p for p, n in recorded.items() if not 0.6 * n < hits.get(p, 0) < 1.6 * n]
        return [f"hits {hits}, want about {recorded}"] * bool(far)
    return []


def run_count(count, gateway, upstream):
    upstream.reply, upstream.by_port = None, count.get("reply_by_port") or {}
    upstream.received, statuses, ports = [], {}, []
    for number in range(count["sent"]):
        before = len(upstream.received)
        got = send(gateway, fill(count["request"], number % count["cycle"]))
        status = str(got["status"] if got else None)
        statuses[status] = statuses.get(status, 0) + 1
        ports.append(upstream.received[-1]["port"] if len(upstream.received) > before else None)
    out = [] if statuses == count["answers_by_status"] else \
        [f"answers {statuses}, want {count['answers_by_status']}"]
    return out + split_as_recorded(count, ports)


def run_case(case, gateway, upstream):
    case = shift_tokens(case)
    problem = gateway.load(case)
    if problem is not None:
        return [f"does not load: {problem.strip()}"]
    out = []
    upstream.any_target = case.get("any_target", False)
    if "count" in case:
        out += run_count(case["count"], gateway, upstream)
    if case["id"].startswith("rate-limiting/"):  # whole windows: not over the end of a minute
        left = 60 - time.time() % 60
        time.sleep(left + 0.05 if left < 5 else left % 1 + 0.05)
    for number, step in enumerate(case["steps"]):
        if step.get("waited_before_s"):
            time.sleep(step["waited_before_s"])
        upstream.reply = step.get("upstream_reply")
        upstream.by_port = step.get("upstream_reply_by_port") or {}
        upstream.received = []
        if step["request"].get("to") in ("admin", "status"):
            if "/health" in step["request"]["target"]:
                out += [f"step {number}: {line}" for line in
                        compare_admin(step, send(gateway, step["request"]), upstream)]
            continue
        try:
            got = send(gateway, step["request"])
        except OSError as error:
            out.append(f"step {number}: {error}")
            continue
        end = time.monotonic() + 2
        while len(upstream.received) < len(step["upstream_received"]) and time.monotonic() < end:
            time.sleep(0.01)
        out += [f"step {number} {step['request']['method']} {step['request']['target']}: {line}"
                for line in compare(step, got, upstream.received, upstream)]
    return out


def main():
    wanted = sys.argv[1:]
    installed = {f[:-3] for f in os.listdir(PLUGINS) if f.endswith(".so")} if PLUGINS else set()
    passed, failed, skipped = 0, 0, {}
    upstream = Upstream()
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway(directory, upstream)
        cases = [json.loads(line) for line in
                 open(os.path.join(HERE, "data", "answers.jsonl"), encoding="utf-8")]
        cases.sort(key=lambda c: (json.dumps(gateway.block(c), sort_keys=True)))
        for case in cases:
            if wanted and not any(case["id"].startswith(w) for w in wanted):
                continue
            missing = [name for name in case["needs"] if name not in installed]
            if missing:
                skipped.setdefault(missing[0], []).append(case["id"])
                continue
            differences = run_case(case, gateway, upstream)
            if bool(differences) == (case["id"] in DIFFERS):
                passed += 1
                continue
            failed += 1
            print(f"FAIL {case['id']}: {case.get('note', '')}")
            for line in differences or ["no longer differs: " + DIFFERS[case["id"]]]:
                print("    " + line)
        gateway.stop()
    for name, ids in sorted(skipped.items()):
        print(f"skipped {len(ids)}: plugin {name} is not built yet")
    for name, why in sorted(DIFFERS.items()):
        print(f"differs on purpose: {name}: {why}")
    for why, ids in sorted(LATER.items()):
        print(f"not replayed {len(ids)}: {why}")
    print(f"{passed} as recorded, {failed} not")
    sys.exit(1 if failed or not passed else 0)


main()
