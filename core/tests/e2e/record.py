#!/usr/bin/env python3
"""weir record and weir plugin replay: real traffic with secrets is recorded, nothing of them is in the
file, and the file alone tells what another build of a plugin would have done."""
import json
import os
import resource
import subprocess
import tempfile
import threading

from lib_weir import PLUGINS, WEIR, Upstream, Weir, read_request, reply, run_tests, service, wait_for

SDK = os.environ["WEIR_SOURCE_DIR"] + "/sdk/include"
KEY, OTHER_KEY, PASSWORD = "sesame-of-ann-0001", "a-wrong-key-of-eve", "redis-password-77"
BEARER, COOKIE, SET_COOKIE = "bearer-secret-4242", "cookie-secret-4343", "fresh-cookie-4545"
FIELD, QUERY, TARGETS, HIDDEN = "field-secret-4646", "query-secret-4747", "target-secret-4848", \
    "own-name-secret-4949"
SECRETS = [KEY, OTHER_KEY, PASSWORD, BEARER, COOKIE, SET_COOKIE, FIELD, QUERY, TARGETS, HIDDEN,
           "127.0.0.1"]

# Every kind of difference, and what depends on chance and on the clock.
SOURCE = r"""
#include <weir/weir.h>
#include <stdio.h>
typedef struct { weir_header_id chance, taken, mark, seen; const weir_host *host; } marker;
static int configure(void *self, weir_error *err)
{
    marker *m = self;
    (void)err;
    m->chance = weir_header_intern(WEIR_LIT("X-Chance"));
    m->taken = weir_header_intern(WEIR_LIT("X-Taken"));
    m->mark = weir_header_intern(WEIR_LIT("X-Mark"));
    m->seen = weir_header_intern(WEIR_LIT("X-Seen"));
    return 0;
}
static weir_verdict access_phase(weir_request *req, void *self, void *ctx)
{
    marker *m = self;
    char id[36];
    (void)ctx;
    weir_uuid(id);
    weir_header_set(req, WEIR_SIDE_REQUEST, m->chance, (weir_str){id, sizeof(id)});
    weir_log(req, WEIR_LOG_WARN, "passes %s", "by");
#ifdef CHANGED
    weir_header_set(req, WEIR_SIDE_REQUEST, m->mark, WEIR_LIT("new"));
    weir_str path = weir_request_text(req, WEIR_TEXT_PATH);
    if (path.size == 7 && path.data[1] == 'f') {
        weir_log(req, WEIR_LOG_WARN, "stopped");
        (void)weir_respond(req, 403, WEIR_LIT("text/plain"), WEIR_LIT("no"));
        return WEIR_DONE;
    }
#else
    weir_header_set(req, WEIR_SIDE_REQUEST, m->mark, WEIR_LIT("old"));
#endif
    return WEIR_NEXT;
}
static weir_verdict response_headers(weir_request *req, void *self, void *ctx)
{
    marker *m = self;
    char text[32];
    (void)ctx;
    int size = snprintf(text, sizeof(text), "%lld", (long long)(weir_now_ms() / 1000));
    weir_header_set(req, WEIR_SIDE_RESPONSE, m->seen, (weir_str){text, (size_t)size});
    return WEIR_NEXT;
}
WEIR_PLUGIN("marker", VERSION, 0, .priority = 10, WEIR_SELF(marker), .configure = configure,
            .access = access_phase, .response_headers = response_headers);
"""

CONFIG = f"""consumers:
- username: ann
  keyauth_credentials: [{{key: {KEY}}}]
plugins:
- {{name: key-auth, config: {{key_names: [x-door, apikey]}}}}
- name: rate-limiting
  config: {{minute: 12, policy: local, redis: {{host: nowhere, password: {PASSWORD}}}}}
- {{name: marker}}
"""


def build(folder, name, *flags):
    source = folder + "/marker.c"
    with open(source, "w", encoding="utf-8") as f:
        f.write(SOURCE)
    out = f"{folder}/{name}.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-fvisibility=hidden", "-I" + SDK, *flags,
                    source, "-o", out], check=True)
    return out


def serve(conn, upstream):
    while True:
        request = read_request(conn, upstream)
        if request is None:
            return
        body = json.dumps({"boxes": 2, "token": TARGETS, "echo": KEY}).encode()
        conn.send(reply(body=body, headers=[("Content-Type", "application/json"),
                                            ("Set-Cookie", f"sid={SET_COOKIE}; Path=/")]))


def record(weir, file, *args):
    """Begin, and come back when requests are recorded."""
    done, before = {}, weir.log_text().count("workers record requests")
    thread = threading.Thread(target=lambda: done.update(
        run=weir.run("record", "-o", file, *args)))
    thread.start()
    wait_for("all workers record",
             lambda: weir.log_text().count("workers record requests") > before
             or not thread.is_alive())
    return thread, done


def lines(file):
    with open(file, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def ask_all(weir):
    """20 requests: 17 with the key (which is good for 12), 3 without a good one."""
    for i in range(20):
        door = OTHER_KEY if i in (3, 4, 5) else KEY
        headers = [("Authorization", "Bearer " + BEARER), ("Cookie", "a=" + COOKIE),
                   ("X-Own", HIDDEN), ("Content-Type", "application/json"),
                   ("X-Door", door)]
        body = json.dumps({"n": i, "password": FIELD, "note": "of " + door}).encode()
        weir.get(f"/{'forbid' if i == 7 else 'orders'}?token={QUERY}&page={i}", method="POST",
                 headers=headers, body=body)


def replay(*args):
    env = dict(os.environ, WEIR_PLUGIN_DIR=PLUGINS)
    return subprocess.run([WEIR, "plugin", "replay", *args], capture_output=True, text=True,
                          timeout=60, env=env, check=False)


def test_twenty_requests_with_secrets_are_replayed_from_the_file_alone():
    with tempfile.TemporaryDirectory(prefix="weir-record-") as folder:
        record_and_replay(folder)


def record_and_replay(folder):
    old = build(folder, "marker", '-DVERSION="1.0.0"')
    again = build(folder, "again", '-DVERSION="1.0.1"')
    new = build(folder, "changed", '-DVERSION="1.1.0"', "-DCHANGED")
    up = Upstream(serve)
    file = folder + "/traffic.jsonl"
    with Weir(service(up.port) + CONFIG, workers=1,
              settings={"plugin_path": f"{folder}:{PLUGINS}"}) as weir:
        thread, done = record(weir, file, "--count", "20", "--bodies", "--redact", "x-own")
        ask_all(weir)
        thread.join()
        assert done["run"].returncode == 0, done["run"]
        assert "20 requests" in done["run"].stdout, done["run"]
        assert weir.get("/after").status == 401  # is not recorded any more

    assert os.stat(file).st_mode & 0o777 == 0o600
    with open(file, encoding="utf-8") as f:
        text = f.read()
    for secret in SECRETS:
        at = text.find(secret if secret != "127.0.0.1" else '"127.0.0.1"')
        assert at < 0, f"{secret} is in the file: {text[at - 200:at + 100]}"
    header, *records = lines(file)
    assert header["weir_record"] == 1 and header["abi"].startswith("1."), header
    assert len(records) == 20
    first = records[0]
    assert first["request"]["path"] == "/orders" and first["consumer"] == "ann"
    assert first["verdicts"][0] == "access key-auth NEXT", first["verdicts"]
    assert first["builds"]["marker"] != first["builds"]["key-auth"]
    assert first["log"] == ["warn: plugin marker: passes by"], first["log"]
    assert first["target"]["status"] == 200 and json.loads(first["target"]["body"]["text"])["boxes"] == 2
    assert [r["answer"]["status"] for r in records].count(401) == 3
    assert [r["answer"]["status"] for r in records].count(429) == 5
    doors = {dict(map(tuple, r["request"]["headers"]))["X-Door"] for r in records}
    assert len(doors) == 2, "the same value is the same token"

    same = replay(old, again, file)
    assert same.returncode == 0 and same.stdout == "20 requests: no difference\n", same
    # The tokens match still: as many are let in, authenticated and limited as were then.
    then = replay(old, old, file, "--all", "--json")
    assert then.returncode == 0, then
    told = [json.loads(line) for line in then.stdout.splitlines()]
    strange = [d for d in told[:-1] if d["name"] not in ("X-Seen", "RateLimit-Reset", "Retry-After")]
    assert not strange, strange

    changed = replay(old, new, file, "--json")
    assert changed.returncode == 1, changed
    *told, summary = [json.loads(line) for line in changed.stdout.splitlines()]
    marks = [d for d in told if d["what"] == "header to target" and d["name"] == "X-Mark"]
    assert {(d["old"], d["new"]) for d in marks} == {("old", "new")}, marks
    passed = [r for r in records if r["answer"]["status"] == 200 and r["request"]["path"] != "/forbid"]
    assert len(marks) == len(passed) == 11, (len(marks), len(passed))
    rest = [(d["what"], d["name"], d["old"], d["new"]) for d in told if d not in marks]
    assert ("verdict", "access marker", "NEXT", "DONE") in rest, rest
    assert ("to target", None, "sent", "not sent") in rest, rest
    assert ("status", None, "200", "403") in rest, rest
    assert ("log", None, None, "warn: plugin marker: stopped") in rest, rest
    assert any(d[0] == "body to client" for d in rest), rest
    assert ("header to client", "Set-Cookie") in {d[:2] for d in rest}, rest
    assert all(d.get("request") == 8 for d in told if d not in marks), rest
    assert summary["requests"] == 20 and summary["different"] == 12, summary
    text = replay(old, new, file).stdout
    assert "request 8 POST /forbid: verdict access marker NEXT -> DONE\n" in text, text
    assert text.endswith(f"20 requests: {summary['differences']} differences, in 12 requests\n"), text

    wrong = replay(old, f"{PLUGINS}/key-auth.so", file)
    assert wrong.returncode == 2 and "'key-auth'" in wrong.stderr, wrong
    with open(folder + "/cut", "w", encoding="utf-8") as f:
        f.write(open(file, encoding="utf-8").read()[:-100])
    cut = replay(old, new, folder + "/cut")
    assert cut.returncode == 2 and "cut:21: this line is no request, or is cut off" in cut.stderr, cut


def test_a_recording_ends_by_time_by_order_and_not_without_reason():
    up = Upstream(serve)
    with Weir(service(up.port), workers=2) as weir:
        by_time = weir.dir + "/time"
        thread, done = record(weir, by_time, "--seconds", "1")
        weir.get("/one?password=x1x2x3x4")
        busy = weir.run("record", "-o", weir.dir + "/second")
        assert busy.returncode == 1 and "under way" in busy.stderr, busy
        thread.join()
        assert done["run"].returncode == 0 and "1 requests of 2 workers" in done["run"].stdout, done
        records = lines(by_time)
        assert len(records) == 2, records
        assert "body" not in records[1]["request"], "GET has none"
        assert records[1]["target"]["body"] == {"size": records[1]["target"]["body"]["size"]}, \
            "bodies are recorded only when asked for"

        by_order = weir.dir + "/order"
        thread, done = record(weir, by_order, "--route", "another")
        weir.get("/two")
        stop = weir.run("record", "--stop")
        thread.join()
        assert stop.returncode == 0 and done["run"].returncode == 0, (stop, done)
        assert len(lines(by_order)) == 1, "no request was of that route"
        again = weir.run("record", "--stop")
        assert again.returncode == 1 and "nothing is recorded" in again.stderr, again

        for file, reason in ((by_time, "File exists"), ("/nowhere/x", "No such file")):
            bad = weir.run("record", "-o", file)
            assert bad.returncode == 1 and reason in bad.stderr, bad
        # A disk that is full, from the first line on and in the middle.
        for pid in weir.workers():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        full = weir.dir + "/full"
        bad = weir.run("record", "-o", full)
        assert bad.returncode == 1 and f"cannot write {full}: File too large" in bad.stderr, bad
        assert not os.path.exists(full), "half a file is of no use"
        for pid in weir.workers():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        thread, done = record(weir, full, "--count", "4")
        for _ in range(40):
            assert weir.get("/four").status == 200
        stop = weir.run("record", "--stop")
        thread.join()
        assert "are lost" in done["run"].stdout, (done, stop)
        usage = weir.run("record")
        assert usage.returncode == 2 and "-o FILE is missing" in usage.stderr, usage
        assert weir.get("/three").status == 200


run_tests(globals())
