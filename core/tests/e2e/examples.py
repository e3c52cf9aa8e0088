#!/usr/bin/env python3
"""The SDK's examples as a stranger meets them: built with CMake against an installed SDK with no source of
weir near, their own tests run, then each of them in a running gateway with real peers."""
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

WORK = tempfile.mkdtemp(prefix="weir-examples-")
PREFIX, BUILD, PLUGIN_FOLDER = f"{WORK}/prefix", f"{WORK}/build", f"{WORK}/plugins"
WEIR_BUILD = os.environ["WEIR_BUILD_DIR"]
OWN_PLUGINS = f"{PREFIX}/lib/weir/plugins"
os.environ["PATH"] += os.pathsep + os.path.expanduser("~/.cargo/bin")
for tool in ("cmake", "cc", "c++"):
    if shutil.which(tool) is None:
        print(f"skipped: there is no {tool}")
        sys.exit(0)
os.environ["WEIR_BINARY"] = f"{PREFIX}/bin/weir"
os.environ["WEIR_PLUGIN_DIR"] = f"{PLUGIN_FOLDER}:{OWN_PLUGINS}"
os.environ.pop("WEIR_PLUGIN_PATH", None)

from lib_jwt import hs256  # noqa: E402  both read the environment above
from lib_weir import (Upstream, Weir, free_port, read_request, reply, run_tests,  # noqa: E402
                      wait_for)

SUPER = """cmake_minimum_required(VERSION 3.20)
project(examples LANGUAGES C CXX)
enable_testing()
file(GLOB lists */CMakeLists.txt)
foreach(list ${lists})
    get_filename_component(folder ${list} DIRECTORY)
    add_subdirectory(${folder})
endforeach()
"""
EXAMPLES = ["tenant-quota", "ip-restriction", "request-size-limiting", "jwt-claims-acl", "stream-filter",
            "body-rewriter", "http-authoriser", "redis-deny-list", "header-signature", "hello-rust"]


def run(*command, cwd=None, env=None):
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}"
    return done.stdout


def build_all():
    """One install, one build of all examples; nothing of weir's tree is on any path of it."""
    run("cmake", "--install", WEIR_BUILD, "--prefix", PREFIX)
    installed = f"{PREFIX}/share/weir/examples"
    found = sorted(n for n in os.listdir(installed) if os.path.isdir(f"{installed}/{n}"))
    assert found == sorted(EXAMPLES), found
    shutil.copytree(installed, f"{WORK}/src")
    if shutil.which("cargo") is None:
        print("hello-rust is skipped: there is no cargo", flush=True)
        shutil.rmtree(f"{WORK}/src/hello-rust")
        EXAMPLES.remove("hello-rust")
    with open(f"{WORK}/src/CMakeLists.txt", "w", encoding="utf-8") as f:
        f.write(SUPER)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run("cmake", "-S", f"{WORK}/src", "-B", BUILD, f"-DCMAKE_PREFIX_PATH={PREFIX}",
        "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror -Wno-missing-field-initializers",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror", *generator)
    with open(f"{BUILD}/CMakeCache.txt", encoding="utf-8") as f:
        folder = re.search("^WeirPlugin_DIR:[A-Z]+=(.*)$", f.read(), re.M).group(1)
    assert folder.startswith(PREFIX), f"another SDK was found: {folder}"
    run("cmake", "--build", BUILD, "--parallel", "2")
    os.mkdir(PLUGIN_FOLDER)
    for name in EXAMPLES:
        shutil.copy(f"{BUILD}/{name}/{name}.so", PLUGIN_FOLDER)
        os.symlink(f"{BUILD}/{name}", f"{WORK}/src/{name}/build")  # as `weir plugin build` has it


def test_their_own_tests_pass():
    said = run("ctest", "--test-dir", BUILD, "--output-on-failure", "--parallel", "2")
    assert f"100% tests passed, 0 tests failed out of {len(EXAMPLES)}" in said, said


def test_each_is_a_plugin_that_can_be_unloaded_and_its_yaml_is_good():
    env = dict(os.environ, WEIR_PLUGINS=OWN_PLUGINS)
    for name in ("WEIR_BINARY", "WEIR_PLUGIN_DIR", "WEIR_BUILD_DIR", "WEIR_SOURCE_DIR"):
        env.pop(name, None)
    weir = f"{PREFIX}/bin/weir"
    for name in EXAMPLES:
        said = run(weir, "plugin", "inspect", f"{PLUGIN_FOLDER}/{name}.so")
        assert f"name: {name}\n" in said and "abi: 1.0\n" in said and "unloadable: yes" in said, said
        exports = run("nm", "-D", "--defined-only", f"{PLUGIN_FOLDER}/{name}.so").split("\n")
        exports = [line.split()[-1] for line in exports if line]
        assert exports == ["weir_plugin_v1"], (name, exports)
        run(weir, "check", "weir.yaml", cwd=f"{WORK}/src/{name}", env=env)


# ---- in a gateway


def serve(conn, upstream):
    """The service behind the gateway: bodies by path, in pieces as they should not be cut."""
    while True:
        request = read_request(conn, upstream)
        if request is None:
            return
        path = request[0].split(" ")[1]
        if path.startswith("/cards"):
            text = b'{"a": "4111 1111 1111 1111", "b": 4111111111111112}'
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"1\"\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(text), 5):
                piece = text[at:at + 5]
                conn.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                time.sleep(0.002)  # so that they do not come as one
            conn.send("0\r\n\r\n")
        elif path.startswith("/picture"):
            conn.send(reply(body=b"4111111111111111", headers=[("Content-Type", "image/png")]))
        elif path.startswith("/large"):
            text = b'{"user_id":"' + b"x" * (8 << 20) + b'"}'
            conn.send(reply(body=text, headers=[("Content-Type", "application/json")]))
        elif path.startswith("/json"):
            conn.send(reply(body=b'{ "user_id": 1.50, "secret": 2, "o": [{"sum":1}] }',
                            headers=[("Content-Type", "application/json")]))
        else:
            conn.send(reply(headers=[("Content-Type", "text/plain")]))


class Authoriser:
    """Who is ann may pass. It can be told to wait, and for ever where the path says so."""

    def __init__(self):
        self.go = threading.Event()
        self.go.set()
        self.upstream = Upstream(self.answer)

    def answer(self, conn, upstream):
        request = read_request(conn, upstream)
        if request is None:
            return
        headers = {n.lower(): v for n, v in request[1]}
        self.go.wait(20)
        if "hangs" in request[0]:
            time.sleep(5)
        elif headers.get("authorization") == "Bearer ann":
            conn.send(reply(204, b"", [("X-User", "ann"), ("Connection", "close")]))
        else:
            conn.send(reply(401, b"", [("WWW-Authenticate", "Bearer"), ("Connection", "close")]))


class Redis:
    def __init__(self):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "no", "--dir", WORK], stdout=subprocess.DEVNULL)
        wait_for("redis-server", self.answers)

    def answers(self):
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def command(self, *words):
        text = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(text.encode())
            return s.recv(1000)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def route(name, plugins):
    text = "".join(f"    - name: {plugin}\n      config: {json.dumps(config)}\n"
                   for plugin, config in plugins)
    return f"  - name: {name}\n    paths: [/{name}]\n    plugins:\n{text}"


SECRET = "a-secret-of-sixteen-bytes"


def config(target, authoriser, redis_port):
    rules = {"rename": {"user_id": "id", "$.o[*].sum": "total"}, "remove": ["secret"]}
    auth = f"http://127.0.0.1:{authoriser}"
    redis = {"host": "127.0.0.1", "port": redis_port}
    text = f"services:\n- name: s\n  url: http://127.0.0.1:{target}\n  routes:\n"
    text += route("quota", [("tenant-quota", {"limit": 3, "window": "60s"})])
    text += route("ip", [("ip-restriction", {"allow": ["10.0.0.0/8"]})])
    text += route("size", [("request-size-limiting", {
        "allowed_payload_size": 1, "size_unit": "bytes", "require_content_length": True})])
    text += route("claims", [("jwt", {}), ("jwt-claims-acl", {"claim": "realm.roles", "allow": ["ops"]})])
    text += route("redis", [("redis-deny-list", {"redis": redis, "by": "header", "ttl": "200ms",
                                                 "header_name": "X-Device"})])
    text += route("away", [("redis-deny-list", {"redis": dict(redis, port=free_port()),
                                                "fault_tolerant": False})])
    text += route("auth", [("http-authoriser", {"url": auth + "/check", "allowed_headers": ["X-User"],
                                                "ttl": "60s", "deadline": "10s"})])
    text += route("hangs", [("http-authoriser", {"url": auth + "/hangs", "deadline": "200ms"})])
    text += route("mask", [("stream-filter", {})])
    text += route("rewrite", [("body-rewriter", rules)])
    text += route("signed", [("header-signature", {"secret": SECRET})])
    if "hello-rust" in EXAMPLES:
        text += route("rust", [("hello-rust", {})])
    return text + "consumers:\n- username: jo\n  jwt_secrets:\n  - {key: iss-1, secret: s3cret}\n"


def message(answer):
    return json.loads(answer.body)["message"]


def last_headers(target):
    return {n.lower(): v for n, v in target.seen[-1][1]}


def try_quota(weir, _):
    left = [weir.get("/quota", headers=[("X-Tenant", "ann")]).get("X-Quota-Left") for _ in range(3)]
    assert left == ["2", "1", "0"], left
    assert weir.get("/quota", headers=[("X-Tenant", "ann")]).status == 429
    assert weir.get("/quota", headers=[("X-Tenant", "bob")]).status == 200


def try_ip(weir, peers):
    before = len(peers.target.seen)
    answer = weir.get("/ip")
    assert answer.status == 403, answer.status
    assert re.fullmatch(rb'\{\n  "message":"IP address not allowed: 127.0.0.1",\n'
                        rb'  "request_id":"[0-9a-f]{32}"\n\}', answer.body), answer.body
    assert len(peers.target.seen) == before


def try_size(weir, peers):
    def post(body, length):
        with weir.connect() as conn:
            conn.send(f"POST /size HTTP/1.1\r\nHost: gw.test\r\n{length}\r\n\r\n{body}")
            return conn.read_response("POST")

    assert post("1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked").status == 200
    assert peers.target.seen[-1][2] == b"x"
    answer = weir.get("/size")
    assert (answer.status, message(answer)) == (411, "A valid Content-Length header is required")
    answer = post("xx", "Content-Length: 2")
    assert (answer.status, message(answer)) == (413, "Request size limit exceeded")
    answer = post("", "Expect: 100-continue\r\nContent-Length: 2")
    assert (answer.status, message(answer)) == (417, "Request size limit exceeded")
    answer = post("1\r\nx\r\n1\r\ny\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
    assert (answer.status, message(answer)) == (413, "Request size limit exceeded")
    assert not any(body == b"xy" for _, _, body, _ in peers.target.seen)


def try_claims(weir, peers):
    def get(claims):
        token = hs256(dict(claims, iss="iss-1"))
        return weir.get("/claims", headers=[("Authorization", "Bearer " + token)])

    assert get({"realm": {"roles": ["dev", "ops"]}}).status == 200
    before = len(peers.target.seen)
    answer = get({"realm": {"roles": ["dev"]}})
    assert (answer.status, message(answer)) == (403, "You cannot consume this service")
    assert get({}).status == 403
    assert weir.get("/claims").status == 401
    assert len(peers.target.seen) == before


def try_redis(weir, peers):
    if peers.redis is None:
        print("redis-deny-list is tried without a Redis only: there is no redis-server", flush=True)
    else:
        device = [("X-Device", "d-17")]
        assert weir.get("/redis", headers=device).status == 200
        peers.redis.command("SET", "deny:d-17", "1")
        wait_for("the remembered answer ends", lambda: weir.get("/redis", headers=device).status == 403)
        assert weir.get("/redis", headers=[("X-Device", "d-18")]).status == 200
        peers.redis.command("DEL", "deny:d-17")
        wait_for("it is off the list", lambda: weir.get("/redis", headers=device).status == 200)
    answer = weir.get("/away")
    assert (answer.status, message(answer)) == (503, "The deny list is not available")


def try_auth(weir, peers):
    service = peers.authoriser
    ann, codes = [("Authorization", "Bearer ann"), ("X-User", "root")], []
    service.go.clear()
    many = [threading.Thread(target=lambda: codes.append(weir.get("/auth", headers=ann).status))
            for _ in range(12)]
    for thread in many:
        thread.start()
    wait_for("somebody asks", lambda: service.upstream.seen)
    service.go.set()
    for thread in many:
        thread.join(30)
    assert codes == [200] * 12, codes
    assert len(service.upstream.seen) <= 2, "one question of each worker"
    assert last_headers(peers.target)["x-user"] == "ann"
    asked = {n.lower(): v for n, v in service.upstream.seen[0][1]}
    assert asked["x-forwarded-uri"] == "/auth" and asked["x-forwarded-method"] == "GET", asked
    before = len(service.upstream.seen)
    assert weir.get("/auth", headers=ann).status == 200
    assert len(service.upstream.seen) == before, "it is remembered"
    answer = weir.get("/auth", headers=[("Authorization", "Bearer eve")])
    assert (answer.status, answer.get("WWW-Authenticate")) == (401, "Bearer")
    answer = weir.get("/hangs")
    assert (answer.status, message(answer)) == (503, "The authoriser is not available")


def try_mask(weir, peers):
    answer = weir.get("/mask/cards", headers=[("Accept-Encoding", "gzip")])
    assert answer.body == b'{"a": "**** **** **** 1111", "b": 4111111111111112}', answer.body
    assert answer.complete and answer.get("Transfer-Encoding") == "chunked" and not answer.get("ETag")
    assert "accept-encoding" not in last_headers(peers.target)
    answer = weir.get("/mask/picture")
    assert (answer.body, answer.get("Content-Length")) == (b"4111111111111111", "16")


def try_rewrite(weir, _):
    answer = weir.get("/rewrite/json")
    assert answer.body == b'{ "id": 1.50, "o": [{"total":1}] }', answer.body
    assert answer.get("Content-Length") == str(len(answer.body))
    assert weir.get("/rewrite/large").status == 502, "more than the host collects"


def try_signed(weir, _):
    def get(target, secret=SECRET, at=None):
        at = int(time.time()) if at is None else at
        mac = hmac.new(secret.encode(), f"{at}\nGET\n{target}".encode(), hashlib.sha256).hexdigest()
        return weir.get("/signed?a=1", headers=[("X-Signature", f"t={at},v1={mac}")])

    assert get("/signed?a=1").status == 200
    assert message(get("/signed?a=2")) == "The signature is wrong"
    assert message(get("/signed?a=1", "another")) == "The signature is wrong"
    assert message(get("/signed?a=1", at=1)) == "The signature is too old"
    assert message(weir.get("/signed?a=1")) == "A signature is required"


def try_rust(weir, _):
    if "hello-rust" in EXAMPLES:
        assert weir.get("/rust", headers=[("X-Name", "ann")]).get("X-Greeting") == "Hello ann"
        assert message(weir.get("/rust")) == "Who are you?"


class Peers:
    def __init__(self):
        self.target, self.authoriser = Upstream(serve), Authoriser()
        self.redis = Redis() if shutil.which("redis-server") else None

    def stop(self):
        self.target.close()
        self.authoriser.upstream.close()
        if self.redis is not None:
            self.redis.stop()


def test_all_of_them_in_one_gateway():
    peers = Peers()
    try:
        redis_port = free_port() if peers.redis is None else peers.redis.port
        text = config(peers.target.port, peers.authoriser.upstream.port, redis_port)
        with Weir(text, workers=2) as weir:
            workers = weir.workers()
            for name, attempt in list(globals().items()):
                if name.startswith("try_"):
                    attempt(weir, peers)
            assert weir.workers() == workers, "a worker died"
            assert weir.reload().returncode == 0
            assert weir.get("/ip").status == 403
        assert weir.process.returncode == 0, weir.output
        assert "Sanitizer" not in weir.output, weir.output
    finally:
        peers.stop()


try:
    begun = time.monotonic()
    build_all()
    print(f"built ({time.monotonic() - begun:.1f} s)", flush=True)
    run_tests(globals())
finally:
    shutil.rmtree(WORK, ignore_errors=True)
