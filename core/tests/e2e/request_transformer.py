#!/usr/bin/env python3
"""request-transformer through a running gateway: the fragment that people publish does what its text
says, bodies are framed anew whatever way they came, and bounds are answered. What a real Kong answered is
replayed by answers.py."""
import gzip
import json
import os
import re

from lib_weir import Upstream, Weir, run_tests

DATA = os.path.join(os.environ["WEIR_SOURCE_DIR"], "core/tests/config/data")
CAP = 8 << 20
FORM = "application/x-www-form-urlencoded"


def gateway(upstream, config, extra="", settings=None):
    """One service whose requests are transformed; `config` is flow YAML."""
    return Weir(f"services:\n- name: s\n  url: http://127.0.0.1:{upstream.port}\n  routes:\n"
                f"  - {{name: r, paths: [/a]}}\nplugins:\n- name: request-transformer\n"
                f"  config: {config}\n{extra}", settings=settings)


def fields(seen, name):
    return [value for field, value in seen[1] if field.lower() == name.lower()]


def spelled(seen):
    return [field for field, _ in seen[1]]


def post(weir, body, headers=(), target="/a", chunked=False, method="POST"):
    with weir.connect() as conn:
        if not chunked:
            conn.send_request(method, target, headers, body)
        else:
            conn.send_request(method, target, [*headers, ("Transfer-Encoding", "chunked")])
            for at in range(0, len(body), 7):
                piece = body[at:at + 7]
                conn.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            conn.send(b"0\r\n\r\n")
        return conn.read_response(method)


def test_the_published_fragment():
    with open(f"{DATA}/transformers.yml", encoding="utf-8") as f:
        text = f.read()
    # The half about requests; the other plugin of the block has tests of its own.
    text = re.split(r"(?m)^  - name: response-transformer", text)[0]
    upstream = Upstream()
    with Weir("services:\n- name: backend-service\n"
              f"  url: http://127.0.0.1:{upstream.port}\n  routes:\n  - {{name: r, paths: [/a]}}\n"
              + text) as weir:
        answer = weir.get("/a/x?z=1", headers=[("X-Internal-Token", "secret"), ("Authorization", "Bearer t")])
        assert answer.status == 200, answer.status
        seen = upstream.seen[-1]
        assert seen[0] == "GET /x?gateway=true&z=1 HTTP/1.1", seen[0]
        assert fields(seen, "X-Gateway-Version") == ["1.0"]
        assert re.fullmatch(r"\d{10}\.\d{3}", fields(seen, "X-Request-Start")[0]), seen[1]
        assert fields(seen, "X-Internal-Token") == [] and fields(seen, "Authorization") == []
        assert fields(seen, "X-Auth-Token") == ["Bearer t"]
        assert fields(seen, "Host") == ["internal-service.local"]
        # Without them there is nothing to remove or rename, and the rest is the same.
        assert weir.get("/a").status == 200
        seen = upstream.seen[-1]
        assert seen[0] == "GET /?gateway=true HTTP/1.1", seen[0]
        assert fields(seen, "X-Auth-Token") == []
        assert fields(seen, "Host") == ["internal-service.local"]
        assert "entries written name=value" in weir.log_text(), weir.log_text()


def test_spelling_of_fields():
    upstream = Upstream()
    config = ("{rename: {headers: ['X-Old:X-New', 'x-case:X-CASE']}, add: {headers: ['X-aDD:1', 'X-Empty:2']}}")
    with gateway(upstream, config) as weir:
        weir.get("/a", headers=[("X-Old", "1"), ("x-case", "2"), ("X-Empty", "")])
        names = spelled(upstream.seen[-1])
        assert "x-new" in names and "X-CASE" in names and "X-aDD" in names, names
        assert fields(upstream.seen[-1], "X-Empty") == [""], upstream.seen[-1]


def test_bodies_are_framed_anew():
    upstream = Upstream()
    multipart = b'--b\r\nContent-Disposition: form-data; name="k"\r\n\r\nv\r\n--b--\r\n'
    rows = [
        ("application/json", b'{"id": 12345678901234567890, "gone": 1}',
         b'{"id": 12345678901234567890,"n":"1"}'),
        ("application/json", b"", b'{"n":"1"}'),
        ("application/json", b"{bad", b"{bad"),
        (FORM, b"a=1&gone=2", b"a=1&n=1"),
        ("multipart/form-data; boundary=b", multipart,
         multipart[:-7] + b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n--b--\r\n'),
        ("text/plain", b"gone", b"gone"),
    ]
    with gateway(upstream, "{add: {body: ['n:1']}, remove: {body: [gone]}}") as weir:
        for chunked in (False, True):
            for kind, body, want in rows:
                answer = post(weir, body, [("Content-Type", kind)], chunked=chunked)
                assert answer.status == 200, (kind, chunked, answer.status)
                _, headers, got, complete = upstream.seen[-1]
                assert complete and got == want, (kind, chunked, got)
                framing = [n.lower() for n, _ in headers if n.lower() in ("content-length", "transfer-encoding")]
                assert len(framing) == 1, (kind, chunked, headers)
                if kind != "text/plain" and got != body:
                    assert fields(upstream.seen[-1], "Content-Length") == [str(len(want))], (kind, headers)
        # The connection is in step afterwards: two requests on one.
        with weir.connect() as conn:
            for number in range(2):
                conn.send_request("POST", f"/a/{number}", [("Content-Type", FORM)], b"a=1")
                assert conn.read_response("POST").status == 200
                assert upstream.seen[-1][0] == f"POST /{number} HTTP/1.1"
                assert upstream.seen[-1][2] == b"a=1&n=1"


def test_a_client_that_waits_for_100():
    upstream = Upstream()
    with gateway(upstream, "{add: {body: ['n:1']}}") as weir, weir.connect() as conn:
        conn.send("POST /a HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/json\r\n"
                  "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert conn.read_head()[0].startswith("HTTP/1.1 100"), "it is asked for the body"
        conn.send(b"{}")
        assert conn.read_response("POST").status == 200
        assert upstream.seen[-1][2] == b'{"n":"1"}'


def test_compressed_bodies():
    upstream = Upstream()
    packed = gzip.compress(b'{"a":1,"x":2}')
    with gateway(upstream, "{remove: {body: [x]}}") as weir:
        coded = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
        assert post(weir, packed, coded).status == 200
        assert upstream.seen[-1][2] == b'{"a":1}' and fields(upstream.seen[-1], "Content-Encoding") == []
        assert post(weir, packed, coded, chunked=True).status == 200
        assert upstream.seen[-1][2] == b'{"a":1}' and fields(upstream.seen[-1], "Content-Encoding") == []
        coded = [("Content-Type", "application/json"), ("Content-Encoding", "br")]
        assert post(weir, packed, coded).status == 200
        assert upstream.seen[-1][2] == packed and fields(upstream.seen[-1], "Content-Encoding") == ["br"]
        assert weir.log_text().count("the body passes unchanged") == 1, weir.log_text()
        bomb = gzip.compress(b" " * (CAP + 1))
        answer = post(weir, bomb, [("Content-Type", "application/json"), ("Content-Encoding", "gzip")])
        assert answer.status == 413, answer.status


def test_bodies_above_the_cap():
    upstream = Upstream()
    with gateway(upstream, "{add: {body: ['n:1']}}", settings={"client_max_body_size": "64m"}) as weir:
        kind = [("Content-Type", "application/json")]
        large = b'{"a":"' + b"x" * CAP + b'"}'
        seen = len(upstream.seen)
        answer = post(weir, large, kind)
        assert answer.status == 413 and b"Payload too large" in answer.body, (answer.status, answer.body)
        assert len(upstream.seen) == seen, "nothing reaches the service"
        # As large as it may be, changed and whole.
        near = b'{"a":"' + b"x" * (CAP - 64) + b'"}'
        assert post(weir, near, kind).status == 200
        assert upstream.seen[-1][2] == near[:-1] + b',"n":"1"}'
        # What no rule looks at has no cap.
        assert post(weir, large, [("Content-Type", "text/plain")]).status == 200
        assert len(upstream.seen[-1][2]) == len(large)


def test_templates_and_errors():
    upstream = Upstream()
    config = ("{add: {headers: ['X-Who:$(consumer.username or \"nobody\")', 'X-Ip:$(client_ip)',"
              " 'X-Twice:$(headers.x_twice)', 'X-Arg:$(query_params.q)'], body: ['id:$(request_id)']},"
              " replace: {uri: '/fixed/$(query_params.q)'}}")
    extra = ("- name: key-auth\n  config: {anonymous: anon}\nconsumers:\n- username: anon\n"
             "- username: alice\n  keyauth_credentials: [{key: k}]\n")
    with gateway(upstream, config, extra) as weir:
        answer = post(weir, b"{}", [("Content-Type", "application/json"), ("apikey", "k")], "/a?q=v%20w")
        assert answer.status == 200, answer.status
        seen = upstream.seen[-1]
        assert seen[0] == "POST /fixed/v%20w?q=v%20w HTTP/1.1", seen[0]
        assert fields(seen, "X-Who") == ["alice"] and fields(seen, "X-Ip") == ["127.0.0.1"]
        assert json.loads(seen[2])["id"] == fields(seen, "X-Kong-Request-Id")[0], seen
        assert weir.get("/a?q=v").status == 200 and fields(upstream.seen[-1], "X-Who") == ["anon"]
        count = len(upstream.seen)
        for headers, target in [([("X-Twice", "1"), ("X-Twice", "2")], "/a?q=v"), ([], "/a?q=a%0d%0aX-Evil:1")]:
            answer = weir.get(target, headers=headers)
            assert answer.status == 500, (target, answer.status)
            assert json.loads(answer.body)["message"] == "An unexpected error occurred", answer.body
        assert len(upstream.seen) == count, "nothing reaches the service"


def test_method_and_form_to_query():
    upstream = Upstream()
    with gateway(upstream, "{http_method: GET}") as weir:
        for chunked in (False, True):
            answer = post(weir, b"b=2&c=3", [("Content-Type", FORM)], "/a?x=1", chunked=chunked)
            assert answer.status == 200
            assert upstream.seen[-1][0] == "GET /?b=2&c=3&x=1 HTTP/1.1", upstream.seen[-1][0]
            assert upstream.seen[-1][2] == b"b=2&c=3", upstream.seen[-1]


def test_a_reload_in_between_changes_nothing_for_a_request_under_way():
    upstream = Upstream()
    with gateway(upstream, "{add: {body: ['n:old']}}") as weir, weir.connect() as conn:
        body = b'{"a":1}'
        conn.send("POST /a HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/json\r\n"
                  f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n")
        assert conn.read_head()[0].startswith("HTTP/1.1 100")
        with open(weir.file, encoding="utf-8") as f:
            text = f.read()
        with open(weir.file, "w", encoding="utf-8") as f:
            f.write(text.replace("n:old", "n:new"))
        weir.reload()
        conn.send(body)
        assert conn.read_response("POST").status == 200
        assert upstream.seen[-1][2] == b'{"a":1,"n":"old"}', upstream.seen[-1][2]
        assert post(weir, body, [("Content-Type", "application/json")]).status == 200
        assert upstream.seen[-1][2] == b'{"a":1,"n":"new"}', upstream.seen[-1][2]


run_tests(globals())
