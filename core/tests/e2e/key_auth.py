#!/usr/bin/env python3
"""key-auth through a running weir: where keys are looked for, what the target sees of them, when they
end, and that many of them cost no more than a few. WEIR_KEYS is how many (1000000 takes a minute and
a release build; few enough by default for a sanitized build on a busy machine)."""
import glob
import json
import os
import time

from lib_weir import PATIENCE, Upstream, Weir, run_tests, service, wait_for

KEYS = int(os.environ.get("WEIR_KEYS", "20000"))
FEW = 1000
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
MULTIPART = ("Content-Type", "multipart/form-data; boundary=b")


def policy(config=""):
    return "plugins: [{name: key-auth, config: {%s}}]\n" % config


CONSUMERS = ("consumers:\n"
             "- {username: ann, keyauth_credentials: [{key: sesame}]}\n"
             "- {username: nobody}\n")


def part(name, value):
    return f"--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n".encode()


def test_the_target_does_not_see_the_key():
    rows = [
        ("in a header", "/o", [("apikey", "sesame")], b"", "/o", b""),
        ("in the query", "/o?x=1&apikey=sesame", [], b"", "/o?x=1", b""),
        ("in a form", "/o", [FORM], b"apikey=sesame&z=%31", "/o", b"z=%31"),
        ("in JSON", "/o", [JSON], b'{"id": 9007199254740993, "apikey": "sesame", "n": 1.0e+5}', "/o",
         b'{"id": 9007199254740993, "n": 1.0e+5}'),
        ("in a part", "/o", [MULTIPART], part("x", "1") + part("apikey", "sesame") + b"--b--\r\n",
         "/o", part("x", "1") + b"--b--\r\n"),
        ("in another place as well", "/o?apikey=other", [("apikey", "sesame"), FORM], b"apikey=a&z=1",
         "/o?", b"z=1"),  # the bare ? stays, as recorded of Kong
    ]
    up = Upstream()
    config = service(up.port) + CONSUMERS + policy("key_in_body: true, hide_credentials: true")
    with Weir(config) as weir:
        for why, target, headers, body, want_target, want_body in rows:
            answer = weir.get(target, headers=headers, method="POST", body=body)
            assert answer.status == 200, (why, answer.status, answer.body)
            line, fields, sent, _ = up.seen[-1]
            fields = {n.lower(): v for n, v in fields}
            assert line.split(" ")[1] == want_target, (why, line)
            assert sent == want_body, (why, sent)
            assert int(fields.get("content-length", 0)) == len(want_body), (why, fields)
            assert "apikey" not in fields, (why, fields)
            assert fields["x-consumer-username"] == "ann", (why, fields)
        assert "sesame" not in weir.log_text()
    up.close()


def test_each_refusal():
    rows = [
        ("none", "/o", [], b"", "No API key found in request"),
        ("an empty one", "/o?apikey=", [("apikey", "")], b"", "No API key found in request"),
        ("an unknown one", "/o", [("apikey", "guess")], b"", "Unauthorized"),
        ("two headers", "/o", [("apikey", "sesame"), ("apikey", "sesame")], b"",
         "Duplicate API key found"),
        ("two arguments", "/o?apikey=sesame&apikey=b", [], b"", "Duplicate API key found"),
        ("two in a form", "/o", [FORM], b"apikey=sesame&apikey=b", "Duplicate API key found"),
        ("not where keys are", "/o", [JSON], b'{"deep": {"apikey": "sesame"}}',
         "No API key found in request"),
    ]
    up = Upstream()
    with Weir(service(up.port) + CONSUMERS + policy("key_in_body: true, realm: orders")) as weir:
        for why, target, headers, body, message in rows:
            answer = weir.get(target, headers=headers, method="POST", body=body)
            assert answer.status == 401, (why, answer.status)
            assert json.loads(answer.body)["message"] == message, (why, answer.body)
            assert answer.get("WWW-Authenticate") == 'Key realm="orders"', (why, answer.headers)
        assert not up.seen
    up.close()


def test_a_body_in_pieces_and_one_above_the_cap():
    up = Upstream()
    with Weir(service(up.port) + CONSUMERS + policy("key_in_body: true")) as weir:
        with weir.connect() as conn:
            head = "POST /o HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" \
                   "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
            conn.send(head + "3\r\napi\r\n")
            conn.send("9\r\nkey=sesam\r\n")
            conn.send("1\r\ne\r\n0\r\n\r\n")
            assert conn.read_response().status == 200
        assert up.seen[-1][2] == b"apikey=sesame"
        answer = weir.get("/o", method="POST", headers=[FORM], body=b"z" * ((8 << 20) + 1))
        assert answer.status == 413, answer.status
        assert len(up.seen) == 1
    up.close()


def test_anonymous():
    up = Upstream()
    with Weir(service(up.port) + CONSUMERS + policy("anonymous: nobody")) as weir:
        for headers, name, anonymous in (([], "nobody", "true"), ([("apikey", "no")], "nobody", "true"),
                                         ([("apikey", "sesame")], "ann", None)):
            assert weir.get("/o", headers=headers).status == 200
            fields = {n.lower(): v for n, v in up.seen[-1][1]}
            assert fields["x-consumer-username"] == name, fields
            assert fields.get("x-anonymous-consumer") == anonymous, fields
    up.close()


def test_a_key_ends_at_its_ttl():
    """In a file without database: an absolute second."""
    up = Upstream()
    end = int(time.time()) + 4
    consumers = ("consumers: [{username: ann, keyauth_credentials: [{key: soon, ttl: %d}, "
                 "{key: past, ttl: 3600}, {key: always}]}]\n" % end)
    with Weir(service(up.port) + consumers + policy()) as weir:
        def status(key):
            return weir.get("/o", headers=[("apikey", key)]).status
        before = status("soon")
        assert before == 200 or time.time() >= end, before
        assert status("past") == 401 and status("always") == 200
        wait_for("the key has ended", lambda: status("soon") == 401, PATIENCE)
        assert time.time() >= end and status("always") == 200
    up.close()


# ---- many keys


def many(count):
    lines = ["consumers: [" + ", ".join("{username: c%d}" % i for i in range(100)) + "]",
             "keyauth_credentials:"]
    lines += ["- {consumer: c%d, key: key-%08x-of-many}" % (i % 100, i) for i in range(count)]
    return "\n".join(lines) + "\n"


def cpu_ns(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path, encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total


def memory_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def cost(weir, keys, status, batch=50, rounds=40):
    """CPU ns of the worker for each request, when each key was asked for once before: memory that was
    not touched since the load has a cost of its own, which is not that of the search."""
    pid = weir.workers()[0]
    with weir.connect() as conn:
        def run(numbers):
            conn.send("".join(f"GET /nowhere HTTP/1.1\r\nHost: h\r\napikey: {keys(n)}\r\n\r\n"
                              for n in numbers))
            for _ in numbers:
                answer = conn.read_response()
                assert answer.status == status, (answer.status, answer.body)
        for i in range(rounds + 1):
            run(range(i * batch, (i + 1) * batch))
        begun = cpu_ns(pid)
        for i in range(1, rounds + 1):
            run(range(i * batch, (i + 1) * batch))
        return (cpu_ns(pid) - begun) / (batch * rounds)


def measure(count):
    up = Upstream()
    # Without a target the answer costs nothing beside the policy.
    config = service(up.port) + "routes: [{name: nowhere, paths: [/nowhere]}]\n" + many(count) + policy()
    begun = time.monotonic()
    with Weir(config, wait=False) as weir:
        wait_for("many keys are loaded", lambda: ready(weir), 300)
        loaded = time.monotonic() - begun
        found = cost(weir, lambda n: "key-%08x-of-many" % (n * 7919 % count), 503)
        unknown = cost(weir, lambda n: "key-%08x-of-none" % n, 401)
        for at in (0, count // 2, count - 1):  # and each is its own consumer's
            assert weir.get("/o", headers=[("apikey", "key-%08x-of-many" % at)]).status == 200
            fields = dict(up.seen[-1][1])
            assert fields["X-Consumer-Username"] == f"c{at % 100}", (at, fields)
        memory = [memory_kb(pid) for pid in [weir.process.pid] + weir.workers()]
        print(f"     {count} keys: ready after {loaded:.1f} s, RSS of master and worker "
              f"{' and '.join(str(m // 1024) for m in memory)} MiB, CPU per request "
              f"{found / 1000:.1f} us found, {unknown / 1000:.1f} us unknown", flush=True)
    up.close()
    return found, unknown


def ready(weir):
    assert weir.process.poll() is None, weir.log_text()
    try:
        return weir.get("/status/ready", port=weir.status).status == 200
    except OSError:
        return False


def test_many_keys_cost_what_a_few_cost():
    few, many_ = measure(FEW), measure(KEYS)
    for what, a, b in zip(("found", "unknown"), few, many_):
        # A search that looks at each key would be 20 times as dear.
        assert b < 3 * a, (what, a, b)


run_tests(globals())
