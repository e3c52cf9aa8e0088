#!/usr/bin/env python3
"""response-transformer through a running weir: the example that people publish, framing of edited
bodies, bodies that must stream by, codings and bounds, and answers that no service makes."""
import gzip
import json
import os
import threading
import zlib

from lib_weir import PATIENCE, Upstream, Weir, free_port, read_request, reply, run_tests, service

BLOCK = os.path.join(os.environ["WEIR_SOURCE_DIR"], "core/tests/config/data/transformers.yml")
JSON = ("Content-Type", "application/json")
MIB = 1 << 20


def answering(*answers):
    """An upstream that answers a request for /N with the Nth of these byte strings. It does not count
    requests: on a busy machine a stranger's may come to a port that was free a moment ago."""
    def handler(conn, upstream):
        while (request := read_request(conn, upstream)) is not None:
            conn.send(answers[int(request[0].split(" ")[1].lstrip("/") or 0)])
    return Upstream(handler)


def policy(config, extra=""):
    return f"plugins:\n- name: response-transformer\n  config: {config}\n{extra}"


def chunked(*pieces, headers=(JSON,)):
    head = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"] + [f"{n}: {v}" for n, v in headers]
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces)
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body + b"0\r\n\r\n"


def test_the_published_example():
    with open(BLOCK, encoding="utf-8") as f:
        text = f.read()
    block = "plugins:\n" + text[text.index("  - name: response-transformer"):]
    body = b'{"internal_id":12345678901234567890,"debug_info":{"a":1},"total":10.50,"d":{"internal_id":1}}'
    upstream = answering(reply(body=body, headers=[
        JSON, ("X-Powered-By", "Express"), ("Server", "express/4"), ("X-Backend-Server", "b7")]))
    with Weir(service(upstream.port, name="backend-service") + block) as weir:
        answer = weir.get("/")
        assert answer.status == 200, answer.status
        assert answer.body == b'{"total":10.50,"d":{"internal_id":1}}', answer.body
        assert answer.get("X-Powered-By") is None
        assert "express" not in answer.get("Server"), answer.get("Server")  # ours, as Kong's there
        assert answer.get("X-Served-By") == "b7" and answer.get("X-Backend-Server") is None
        assert 0 <= int(answer.get("X-Response-Time")) < PATIENCE * 1000
        assert answer.get("Content-Length") == str(len(answer.body))


def test_latency_is_the_time_the_client_waited():
    def slow(conn, upstream):
        while read_request(conn, upstream) is not None:
            threading.Event().wait(0.3)
            conn.send(reply())
    upstream = Upstream(slow)
    config = policy("{add: {headers: ['X-T:$(latency)']}}")
    with Weir(service(upstream.port, path="/a") + config) as weir:
        assert 300 <= int(weir.get("/a").get("X-T")) < PATIENCE * 1000
        missing = weir.get("/b")  # a reply of weir's own
        assert missing.status == 404 and missing.get("X-T").isdigit(), missing.headers


def test_framing_of_edited_bodies():
    body = b'{"secret":1,"b":2}'
    forms = {
        "a length": reply(body=body, headers=[JSON]),
        "chunks": chunked(body[:5], body[5:6], body[6:]),
        "it grows": reply(body=b"[]", headers=[JSON]),
        "empty": reply(body=b"", headers=[JSON]),
        "empty in chunks": chunked(),
        "no JSON": reply(body=b"broken", headers=[JSON]),
    }
    wanted = {"a length": b'{"b":2}', "chunks": b'{"b":2}', "it grows": b"[]", "empty": b"",
              "empty in chunks": b"", "no JSON": b"broken"}
    upstream = answering(*forms.values())
    with Weir(service(upstream.port) + policy("{remove: {json: [secret]}}")) as weir:
        with weir.connect() as conn:  # one connection: a wrong length would spoil the next answer
            for nth, form in enumerate(forms):
                conn.send_request("GET", f"/{nth}")
                answer = conn.read_response()
                assert answer.complete and answer.body == wanted[form], (form, answer.body)
                length, coding = answer.get("Content-Length"), answer.get("Transfer-Encoding")
                assert (length is None) == (coding is not None), (form, answer.headers)
                assert length in (None, str(len(answer.body))), (form, length)
        assert "warn" in weir.log_text() and "no JSON" in weir.log_text()


def test_an_old_client():
    upstream = answering(chunked(b'{"secret":1,', b'"b":2}'))
    with Weir(service(upstream.port) + policy("{remove: {json: [secret]}}")) as weir:
        with weir.connect() as conn:
            conn.send("GET / HTTP/1.0\r\nHost: gw.test\r\n\r\n")
            answer = conn.read_response()
            assert answer.body == b'{"b":2}', answer.body
            assert answer.get("Transfer-Encoding") is None, answer.headers


def test_head_and_304_have_no_body():
    upstream = answering(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
                         b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n')
    with Weir(service(upstream.port) +
              policy("{envelope: true, add: {headers: ['X-A:1']}}")) as weir:
        with weir.connect() as conn:
            for nth, (method, status) in enumerate((("HEAD", 200), ("GET", 304))):
                conn.send_request(method, f"/{nth}")
                answer = conn.read_response(method)
                assert answer.status == status and answer.get("X-A") == "1", answer.status
                assert answer.complete and not conn.data


def test_what_is_no_json_streams_by():
    """The service sends the second event only when the client has got the first."""
    got_first = threading.Event()

    def events(conn, upstream):
        read_request(conn, upstream)
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n5\r\none\r\n\r\n")
        if got_first.wait(PATIENCE):
            conn.send("5\r\ntwo\r\n\r\n0\r\n\r\n")

    upstream = Upstream(events)
    config = "{remove: {json: [a]}, envelope: true, add: {headers: ['X-A:1']}}"
    with Weir(service(upstream.port) + policy(config)) as weir:
        with weir.connect() as conn:
            conn.send_request("GET", "/events")
            line, headers = conn.read_head()
            assert " 200 " in line and ("X-A", "1") in headers, (line, headers)
            first = conn.read_line()
            assert conn.read_exactly(int(first, 16) + 2) == b"one\r\n\r\n"
            got_first.set()
            rest, complete = conn.read_chunked()
            assert complete and rest == b"two\r\n", rest


def test_json_without_a_rule_streams_by():
    got_first = threading.Event()

    def slow(conn, upstream):
        read_request(conn, upstream)
        conn.send('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"a":')
        if got_first.wait(PATIENCE):
            conn.send('"long"}')

    upstream = Upstream(slow)
    with Weir(service(upstream.port) + policy("{add: {headers: ['X-A:1']}}")) as weir:
        with weir.connect() as conn:
            conn.send_request("GET", "/")
            conn.read_head()
            assert conn.read_exactly(5) == b'{"a":'
            got_first.set()
            assert conn.read_exactly(7) == b'"long"}'


def test_large_bodies():
    big = b"x" * (20 * MIB)
    long_json = b'{"secret":1,"a":"' + b"y" * (9 * MIB) + b'"}'
    fits = b'{"secret":1,"a":"' + b"y" * (7 * MIB) + b'"}'
    upstream = answering(reply(body=big, headers=[("Content-Type", "application/octet-stream")]),
                         reply(body=long_json, headers=[JSON]),
                         reply(body=fits, headers=[JSON]))
    with Weir(service(upstream.port) + policy("{remove: {json: [secret]}}")) as weir:
        assert weir.get("/0").body == big
        refused = weir.get("/1", headers=[("Accept", "application/json")])
        assert refused.status == 502 and b"yyyy" not in refused.body, refused.status
        edited = weir.get("/2")
        assert edited.status == 200 and edited.body == fits.replace(b'"secret":1,', b"")


def test_compressed_bodies():
    body = b'{"secret":1,"id":12345678901234567890}'
    plain = b'{"id":12345678901234567890}'
    gzipped, deflated = ("Content-Encoding", "gzip"), ("Content-Encoding", "deflate")
    brotli = ("Content-Encoding", "br")
    rows = [
        ("gzip", reply(body=gzip.compress(body), headers=[JSON, gzipped]), plain, None),
        ("deflate", reply(body=zlib.compress(body), headers=[JSON, deflated]), plain, None),
        ("said to be gzip", reply(body=body, headers=[JSON, gzipped]), plain, "gzip"),
        ("br", reply(body=b"\x8b\x02\x80", headers=[JSON, brotli]), b"\x8b\x02\x80", "br"),
    ]
    upstream = answering(*[row[1] for row in rows])
    with Weir(service(upstream.port) + policy("{remove: {json: [secret]}}")) as weir:
        for nth, (name, _, want, coding) in enumerate(rows):
            answer = weir.get(f"/{nth}", headers=[("Accept-Encoding", "gzip, deflate, br")])
            assert answer.body == want, (name, answer.body)
            assert answer.get("Content-Encoding") == coding, (name, answer.headers)
            assert answer.get("Content-Length") == str(len(want)), name


def test_a_body_that_inflates_past_the_bound():
    bomb = gzip.compress(b'{"secret":1,"a":"' + b"y" * (64 * MIB) + b'"}')
    upstream = answering(reply(body=bomb, headers=[JSON, ("Content-Encoding", "gzip")]))
    text = service(upstream.port)
    with Weir(text + policy("{remove: {json: [secret]}}")) as weir:
        assert weir.get("/").status == 500
        assert weir.reload(text + policy("{remove: {json: [secret]}}",
                                         "  on_error: open\n")).returncode == 0
        answer = weir.get("/")
        assert answer.status == 200 and answer.body == bomb, answer.status
        assert answer.get("Content-Encoding") == "gzip"


def test_answers_that_no_service_makes():
    config = ("{add: {headers: ['X-T:1'], json: ['extra:1']}, "
              "remove: {headers: [WWW-Authenticate], json: [request_id]}}")
    wants_json = [("Accept", "application/json")]
    with Weir(service(free_port(), path="/a") + policy(config)) as weir:
        for target, status in (("/a", 502), ("/zzz", 404)):
            answer = weir.get(target, headers=wants_json)
            assert answer.status == status and answer.get("X-T") == "1", (target, answer.status)
            assert json.loads(answer.body).keys() == {"message", "extra"}, answer.body
            assert answer.get("Content-Length") == str(len(answer.body))
        plain = weir.get("/a", headers=[("Accept", "text/plain")])
        assert b"extra" not in plain.body and b"request_id" in plain.body, plain.body
        with weir.connect() as conn:  # not even a request
            conn.send("GET /a HTTP/1.1\r\n\r\n")
            answer = conn.read_response()
            assert answer.status == 400 and answer.get("X-T") == "1", answer.headers


def test_the_envelope_of_our_own_errors():
    config = "{envelope: true, api_version: v2}"
    plugins = policy(config, "- name: correlation-id\n  config: {header_name: X-Correlation-ID}\n"
                             "- name: key-auth\n")
    upstream = answering(reply(body=b"[1,2]", headers=[JSON]))
    consumers = "consumers:\n- {username: ann, keyauth_credentials: [{key: sesame}]}\n"
    with Weir(service(upstream.port) + plugins + consumers) as weir:
        named = [("X-Correlation-ID", "abc-1")]
        refused = weir.get("/", headers=named)
        document = json.loads(refused.body)
        assert refused.status == 401 and document["success"] is False, refused.body
        assert document["data"]["message"] == "No API key found in request", document
        assert document["meta"]["requestId"] == "abc-1", document
        answer = weir.get("/", headers=named + [("apikey", "sesame")])
        document = json.loads(answer.body)
        assert document["success"] is True and document["data"] == [1, 2], answer.body
        assert document["meta"]["version"] == "v2", answer.body


if __name__ == "__main__":
    run_tests(globals())
