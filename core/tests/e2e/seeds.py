#!/usr/bin/env python3
"""Kong YAML as people publish it runs unmodified: every block of core/tests/config/data passes `weir
check` (a fragment beside the services it mentions), and those about routing behave in a running weir
as the text they come from says. What a plugin that is not there yet keeps from loading is one clear
line, nothing else."""
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

from lib_weir import (PLUGINS, WEIR, Upstream, Weir, free_port, read_request, reply, run_tests,
                      wait_for)

DATA = os.path.join(os.environ["WEIR_SOURCE_DIR"], "core/tests/config/data")
FORMAT = '_format_version: "3.0"\n'


def block(name):
    with open(f"{DATA}/{name}.yml", encoding="utf-8") as f:
        return f.read()


def services(*names):
    return "services:\n" + "".join(f"- {{name: {n}, url: 'http://{n}:8080'}}\n" for n in names)


# name: what it needs beside it, services, routes, consumers, policies, plugins that may be missing.
BLOCKS = {
    "routing-by-path": ("", 3, 3, 0, 0, []),
    "routing-by-method": (services("user-service-read", "user-service-write"), 2, 2, 0, 0, []),
    "jwt": (services("user-service"), 1, 0, 1, 1, ["jwt"]),
    "rate-limiting": (services("api-service"), 1, 0, 0, 1, []),
    "rate-limiting-tiers": ("", 0, 0, 3, 3, []),
    "transformers": (services("backend-service"), 1, 0, 0, 2,
                     ["request-transformer", "response-transformer"]),
    "kong": ("", 3, 3, 2, 6, ["jwt"]),
}


def check(text, env=None):
    """Exit code, the problems (without the quoted source lines), what else was said."""
    with tempfile.TemporaryDirectory() as work:
        path = work + "/kong.yml"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("WEIR")}
        clean.update(WEIR_PLUGIN_PATH=PLUGINS, TMPDIR=work, **(env or {}))
        done = subprocess.run([WEIR, "check", path], capture_output=True, text=True, timeout=60,
                              env=clean, check=False)
    lines = [line[len(path) + 1:] for line in done.stderr.splitlines() if line.startswith(path)]
    return done.returncode, lines, done.stdout


def without_version(text):
    return text.replace(FORMAT, "")


def test_every_block_is_in_the_table():
    found = {name[:-4] for name in os.listdir(DATA) if name.endswith(".yml")}
    assert found == set(BLOCKS), found ^ set(BLOCKS)


def test_every_block_passes_or_names_what_is_missing():
    for name, (beside, *counts, refusals) in BLOCKS.items():
        env = {"REDIS_PASSWORD": "not-to-be-shown"}
        code, lines, out = check(FORMAT + beside + without_version(block(name)), env)
        errors = [line for line in lines if ": warning: " not in line]
        missing = [r for r in refusals if not os.path.exists(f"{PLUGINS}/{r}.so")]
        for refusal in missing:
            # One place each: the policy, or the credentials of the plugin.
            words = f"plugin '{refusal}' is not installed"
            said = [line for line in errors if words in line]
            assert said, f"{name}: no line says {words}: {lines}"
            assert len(said) <= 2 and all(re.match(r"\d+:\d+: \S+: ", s) for s in said), said
            errors = [line for line in errors if line not in said]
        assert not errors, f"{name}: {errors}"
        assert not any("not-to-be-shown" in line for line in lines), f"{name}: a secret is shown"
        if missing:
            assert code == 3, (name, code)
        else:
            want = "ok: services %d, routes %d, consumers %d" % tuple(counts[:3])
            assert code == 0 and want in out and out.endswith(f"policies {counts[3]}\n"), (name, out)


def test_a_repeated_plugins_list_is_one_list_with_a_warning():
    code, lines, _ = check(block("kong"))
    assert any("warning" in line and "plugins" in line for line in lines), (code, lines)


def marked(name):
    """An upstream whose answers name it."""
    def answer(conn, upstream):
        while read_request(conn, upstream) is not None:
            conn.send(reply(body=name.encode()))
    return Upstream(answer)


def towards(text, upstreams):
    """The same YAML with the hosts of the text on loopback."""
    for host, upstream in upstreams.items():
        assert host in text, host
        text = text.replace(f"http://{host}:8080", f"http://127.0.0.1:{upstream.port}")
    return without_version(text)


def target(upstream):
    return upstream.seen[-1][0].split(" ")[1]


def test_routing_by_path():
    names = ["user-service", "order-service", "product-service"]
    upstreams = {name: marked(name) for name in names}
    with Weir(towards(block("routing-by-path"), upstreams)) as weir:
        for name, path in zip(names, ["/users", "/orders", "/products"]):
            for rest in ["", "/", "/42", "/42/deep?q=1"]:
                answer = weir.get(path + rest)
                assert (answer.status, answer.body) == (200, name.encode()), (path + rest, answer.body)
                assert target(upstreams[name]) == path + rest, "strip_path: false"
        for path in ["/", "/other", "/user", "/Users"]:
            assert weir.get(path).status == 404, path


def test_routing_by_header():
    """The nginx block in Kong's words: v2 to the second service, everything else to the first. Kong
    compares values of headers without case, nginx does not."""
    upstreams = {name: marked(name) for name in ["user-service-v1", "user-service-v2"]}
    text = towards("""
services:
- name: v1
  url: http://user-service-v1:8080
  routes:
  - {name: users-v1, paths: [/users], strip_path: false, preserve_host: true}
- name: v2
  url: http://user-service-v2:8080
  routes:
  - name: users-v2
    paths: [/users]
    headers: {X-API-Version: [v2]}
    strip_path: false
    preserve_host: true
""", upstreams)
    rows = [
        ([], "v1", "default to v1 if no version is given"),
        ([("X-API-Version", "v1")], "v1", "an unknown version is the default, too"),
        ([("X-API-Version", "v2")], "v2", "the version decides"),
        ([("x-api-version", "v2")], "v2", "names of headers have no case"),
        ([("X-API-Version", "v22")], "v1", "a longer value is another one"),
    ]
    with Weir(text) as weir:
        for headers, want, why in rows:
            answer = weir.get("/users/7", headers=[*headers, ("Host", "api.test")])
            assert answer.body == f"user-service-{want}".encode(), (why, answer.body)
        sent = {n.lower(): v for n, v in upstreams["user-service-v2"].seen[-1][1]}
        assert sent["host"] == "api.test", "proxy_set_header Host $host"
        assert sent["x-real-ip"] == "127.0.0.1" and sent["x-forwarded-for"] == "127.0.0.1"
        assert weir.get("/other", headers=[("X-API-Version", "v2")]).status == 404


def test_routing_by_method():
    names = ["user-service-read", "user-service-write"]
    upstreams = {name: marked(name) for name in names}
    text = towards(services(*names) + block("routing-by-method"), upstreams)
    with Weir(text) as weir:
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]:
            want = names[0] if method in ("GET", "HEAD") else names[1]
            before = len(upstreams[want].seen)
            answer = weir.get("/users/1", method=method)
            assert answer.status == 200, (method, answer.status)
            assert answer.body == (b"" if method == "HEAD" else want.encode()), method
            assert len(upstreams[want].seen) == before + 1, method
            assert upstreams[want].seen[-1][0].startswith(method + " "), method
        assert weir.get("/users/1", method="OPTIONS").status == 404, "no route takes OPTIONS"


def test_tiers():
    """Each consumer has limits of its own: what the answers say to one of each tier."""
    upstream = marked("api")
    keys = "keyauth_credentials:\n" + "".join(
        f"- {{consumer: {t}-tier, key: {t}}}\n" for t in ["free", "pro", "enterprise"])
    text = (f"services:\n- name: api\n  url: http://127.0.0.1:{upstream.port}\n"
            "  routes: [{name: api, paths: [/]}]\n  plugins: [{name: key-auth}]\n" +
            block("rate-limiting-tiers") + keys)
    with Weir(text) as weir:
        for key, minute, hour in [("free", 60, 1000), ("pro", 600, 10000),
                                  ("enterprise", 6000, 100000)]:
            answer = weir.get("/", headers=[("apikey", key)])
            assert answer.status == 200, (key, answer.status, answer.body)
            assert answer.get("X-RateLimit-Limit-Minute") == str(minute), key
            assert answer.get("X-RateLimit-Limit-Hour") == str(hour), key
            assert answer.get("X-RateLimit-Remaining-Hour") == str(hour - 1), key
        assert weir.get("/").status == 401


def has(*names):
    """The plugins are built; else says so."""
    missing = [n for n in names if not os.path.exists(f"{PLUGINS}/{n}.so")]
    if missing:
        print(f"not driven: {', '.join(missing)} is not built")
    return not missing


def token(secret, **claims):
    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    text = encode(b'{"alg":"HS256","typ":"JWT"}') + "." + encode(json.dumps(claims).encode())
    return text + "." + encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def bearer(secret, **claims):
    return [("Authorization", "Bearer " + token(secret, **claims))]


def whole_service(name, upstream, path="/"):
    return (f"services:\n- name: {name}\n  url: http://127.0.0.1:{upstream.port}\n"
            f"  routes: [{{name: all, paths: [{path}]}}]\n")


def test_jwt():
    if not has("jwt"):
        return
    upstream, now, secret = marked("user"), int(time.time()), "your-256-bit-secret"
    with Weir(whole_service("user-service", upstream) + without_version(block("jwt"))) as weir:
        good = {"iss": "mobile-app-key", "exp": now + 600, "nbf": now - 1}
        rows = [
            (bearer(secret, **good), 200, "signed by the consumer's secret"),
            ([], 401, "no token"),
            (bearer("another", **good), 401, "another secret"),
            (bearer(secret, **{**good, "exp": now - 10}), 401, "too old"),
            (bearer(secret, **{**good, "nbf": now + 600}), 401, "too early"),
            (bearer(secret, iss="mobile-app-key"), 401, "exp and nbf are asked for"),
            (bearer(secret, **{**good, "iss": "somebody"}), 401, "an unknown issuer"),
        ]
        for headers, status, why in rows:
            answer = weir.get("/users", headers=headers)
            assert answer.status == status, (why, answer.status, answer.body)
        sent = {n.lower(): v for n, v in upstream.seen[-1][1]}
        assert len(upstream.seen) == 1 and sent["x-consumer-username"] == "mobile-app"
        preflight = weir.get("/users", method="OPTIONS")
        assert preflight.status == 401, "run_on_preflight: true"


def test_rate_limiting():
    """Redis is not reachable under the name of the text: tolerated, as it says. With a Redis in its
    place ten requests of a second pass, whoever asks."""
    upstream = marked("api")
    text = whole_service("api-service", upstream) + without_version(block("rate-limiting"))
    env = dict(os.environ, REDIS_PASSWORD="a-secret")
    with Weir(text, env=env) as weir:
        for _ in range(12):
            assert weir.get("/").status == 200, "fault_tolerant: true"
        assert "a-secret" not in weir.log_text()
    if shutil.which("redis-server") is None:
        print("not driven with a Redis: there is no redis-server")
        return
    port = free_port()
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save",
                              "", "--requirepass", "a-secret"], stdout=subprocess.DEVNULL)
    try:
        wait_for("Redis", lambda: accepts(port))
        text = text.replace("redis.example.com", "127.0.0.1").replace("redis_port: 6379",
                                                                      f"redis_port: {port}")
        with Weir(text, env=env) as weir:
            wait_for("a limit", lambda: weir.get("/").get("X-RateLimit-Limit-Second") == "10")
            answers = [weir.get("/") for _ in range(110)]
            statuses = [a.status for a in answers]
            assert set(statuses) == {200, 429}, set(statuses)
            assert statuses.count(200) <= 100, "minute: 100"
            assert answers[0].get("X-RateLimit-Limit-Hour") == "1000"
    finally:
        redis.kill()
        redis.wait()


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_transformers():
    if not has("request-transformer", "response-transformer"):
        return

    def answer(conn, upstream):
        while read_request(conn, upstream) is not None:
            conn.send(reply(body=b'{"id": 9007199254740993, "internal_id": 1, "debug_info": {}}',
                            headers=[("Content-Type", "application/json"), ("X-Powered-By", "x"),
                                     ("Server", "inner"), ("X-Backend-Server", "b1")]))
    upstream = Upstream(answer)
    text = whole_service("backend-service", upstream) + without_version(block("transformers"))
    with Weir(text) as weir:
        before = time.time()
        got = weir.get("/x?a=1", headers=[("X-Internal-Token", "t"), ("Authorization", "me")])
        assert got.status == 200, got.body
        line, headers = upstream.seen[-1][0], upstream.seen[-1][1]
        sent = {n.lower(): v for n, v in headers}
        assert line.split(" ")[1] == "/x?a=1&gateway=true", line
        assert sent["x-gateway-version"] == "1.0" and sent["x-auth-token"] == "me", sent
        assert before - 2 < float(sent["x-request-start"]) < time.time() + 2, sent["x-request-start"]
        assert "x-internal-token" not in sent and "authorization" not in sent, sent
        assert sent["host"] == "internal-service.local", sent["host"]
        assert got.body.startswith(b'{"id": 9007199254740993'), got.body
        assert b"internal_id" not in got.body and b"debug_info" not in got.body, got.body
        assert got.get("X-Powered-By") is None and got.get("Server") != "inner"
        assert got.get("X-Served-By") == "b1" and got.get("X-Backend-Server") is None
        assert re.fullmatch(r"\d+", got.get("X-Response-Time")), got.get("X-Response-Time")


def test_kong():
    """The whole example: global policies and those of a service, in one list with a warning."""
    if not has("jwt"):
        return
    names = ["user-service", "order-service", "product-service"]
    upstreams = {name: marked(name) for name in names}
    secret, now = "your-jwt-secret-for-mobile", int(time.time())
    with tempfile.TemporaryDirectory() as work:
        text = towards(block("kong"), upstreams).replace("/var/log/kong", work)
        with Weir(text) as weir:
            origin = ("Origin", "https://app.example.com")
            got = weir.get("/api/v1/products", headers=[origin])
            assert (got.status, got.body) == (200, b"product-service")
            assert got.get("Access-Control-Allow-Origin") == "https://app.example.com"
            assert got.get("Access-Control-Allow-Credentials") == "true"
            assert re.fullmatch(r"[0-9a-f-]{36}", got.get("X-Request-ID")), got.headers
            assert target(upstreams["product-service"]) == "/api/v1/products", "strip_path: false"
            got = weir.get("/api/v1/users", headers=[origin])
            assert got.status == 401 and got.get("Access-Control-Allow-Origin") is not None
            good = bearer(secret, iss="mobile-jwt-key", exp=now + 600)
            got = weir.get("/api/v1/users/7", headers=[*good, ("Host", "api.test")])
            assert (got.status, got.body) == (200, b"user-service"), got.body
            sent = {n.lower(): v for n, v in upstreams["user-service"].seen[-1][1]}
            assert sent["host"] == "api.test" and sent["x-consumer-username"] == "mobile-app"
            old = bearer(secret, iss="mobile-jwt-key", exp=now - 10)
            assert json.loads(weir.get("/api/v1/users", headers=old).body) == {"exp": "token expired"}
            assert weir.get("/api/v1/orders").status == 200, "its Redis is tolerated to be away"
            assert weir.get("/api/v1/orders", method="PATCH").status == 404, "no such method there"
            log = work + "/access.log"
            wait_for("the log", lambda: os.path.exists(log) and len(open(log).readlines()) >= 6)
            with open(log, encoding="utf-8") as lines:
                first = json.loads(lines.readline())
            assert first["route"]["name"] == "product-routes" and first["correlation_id"]
            metrics = weir.get("/metrics", port=weir.status).body.decode()
            assert 'service="user-service",route="user-routes",code="200"' in metrics
            assert 'consumer="mobile-app"' in metrics, "per_consumer: true"


if __name__ == "__main__":
    run_tests(globals())
