#!/usr/bin/env python3
"""Policies that talk to peers: an authoriser over HTTP, one over a stream, their bounds and ends."""
import threading
import time

from lib_abi import Sdk, is_sanitized, lines_of
from lib_weir import Upstream, Weir, free_port, read_request, reply, run_tests, service, wait_for

sdk = Sdk()
sdk.compile("peers")
sdk.compile("peers", "peers-denied", ["-DCAPABILITIES=0"])


def policy(url="http://127.0.0.1:9/", port=9, background="", deadline="5s", name="peers"):
    extra = f", background: '{background}'" if background else ""
    return (f"  plugins:\n  - name: {name}\n    config: {{url: '{url}', host: localhost, "
            f"port: {port}, deadline: {deadline}{extra}}}\n")


def start(config, workers=1):
    return Weir(config, workers, settings={"plugin_path": sdk.plugins})


def judge(conn, upstream):
    """Lets those pass whose key is sesame."""
    method, headers, body = read_request(conn, upstream)[:3]
    key = [v for n, v in headers if n.lower() == "x-key"]
    assert method.startswith("POST /judge?q=1 HTTP/1.1"), method
    if key == ["sesame"]:
        conn.send(reply(200, b"judged " + body))
    else:
        conn.send(reply(401, b"who are you"))


def ask(weir, act, key=None, path="/box"):
    headers = [("X-Act", act)] + ([("X-Key", key)] if key else [])
    return weir.get(path, headers=headers)


def decision_of(upstream):
    return [v for n, v in upstream.seen[-1][1] if n.lower() == "x-decision"]


def test_a_call_out_decides():
    up, judges = Upstream(), Upstream(judge)
    url = f"http://localhost:{judges.port}/judge?q=1"
    with start(service(up.port, policy(url))) as weir:
        answer = ask(weir, "fetch", "sesame")
        assert (answer.status, answer.body) == (200, b"hello"), (answer.status, answer.body)
        assert decision_of(up) == ["judged /box"], up.seen[-1]
        sent = dict((n.lower(), v) for n, v in judges.seen[-1][1])
        assert sent["host"] == f"localhost:{judges.port}" and sent["connection"] == "close", sent
        answer = ask(weir, "fetch", "guess")
        assert (answer.status, answer.body) == (403, b"who are you"), answer.body
        assert len(up.seen) == 1, "a refused one reached the target"


def test_many_at_once():
    up, judges = Upstream(), Upstream(judge)
    url = f"http://127.0.0.1:{judges.port}/judge?q=1"
    with start(service(up.port, policy(url)), workers=2) as weir:
        conns = [weir.connect() for _ in range(40)]
        for i, conn in enumerate(conns):
            conn.send_request("GET", "/x", [("X-Act", "fetch"),
                                            ("X-Key", "sesame" if i % 2 else "no")])
        for i, conn in enumerate(conns):
            assert conn.read_response().status == (200 if i % 2 else 403), i
            conn.sock.close()


def test_a_call_out_that_fails_says_why():
    def hang(conn, _upstream):
        conn.sock.recv(1)
        time.sleep(1)

    up, hung = Upstream(), Upstream(hang)
    nobody = free_port()
    for url, deadline, why in (
            (f"http://127.0.0.1:{nobody}/?t=secret", "9s", b"refused"),
            (f"https://127.0.0.1:{nobody}/?t=secret", "9s", b"refused"),
            (f"http://127.0.0.1:{hung.port}/?t=secret", "200ms", b"within 200 ms")):
        with start(service(up.port, policy(url, deadline=deadline))) as weir:
            began = time.monotonic()
            answer = ask(weir, "fetch")
            assert answer.status == 403 and why in answer.body, answer.body
            assert b"secret" not in answer.body and time.monotonic() - began < 9, answer.body


def test_a_url_that_cannot_be_fails_the_policy():
    up = Upstream()
    with start(service(up.port, policy("ftp://127.0.0.1/"))) as weir:
        assert ask(weir, "fetch").status == 500
        assert ask(weir, "none").status == 200


def test_bounds_and_sizes():
    up = Upstream()
    with start(service(up.port, policy())) as weir:
        for _ in range(2):  # what was closed makes room again
            assert ask(weir, "room").body == b"64 streams 64 fetches"
        assert ask(weir, "sizes").body == b"1 0 0", "longer: zero tail, other tail; shorter"


def test_without_the_capability_there_are_no_peers():
    up = Upstream()
    with start(service(up.port, policy(name="peers-denied"))) as weir:
        assert ask(weir, "room").body == b"0 streams 0 fetches"


class Lines:
    """Answers each line with the next of `answers`; the last one stays."""

    def __init__(self, answers):
        self.answers, self.connections = list(answers), 0
        self.upstream = Upstream(self.serve)
        self.port = self.upstream.port

    def serve(self, conn, _upstream):
        self.connections += 1
        while True:
            try:
                line = conn.read_line()
            except OSError:
                return
            if not line:
                return
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                return  # closes
            for part in answer:
                conn.send(part)
                time.sleep(0.01)


def test_a_stream_that_many_requests_share():
    up, lines = Upstream(), Lines([["ye", "s\n"], ["no\n"], ["yes\n"]])
    with start(service(up.port, policy(port=lines.port))) as weir:
        answers = [ask(weir, "line") for _ in range(3)]
        assert [a.status for a in answers] == [200, 403, 200], [a.body for a in answers]
        conns = [weir.connect() for _ in range(20)]
        for conn in conns:
            conn.send_request("GET", "/x", [("X-Act", "line")])
        for conn in conns:
            assert conn.read_response().status == 200
            conn.sock.close()
        assert lines.connections == 1, lines.connections


def test_a_stream_that_ends_opens_again():
    up, lines = Upstream(), Lines([["yes\n"], None, ["go away\n"], ["yes\n"]])
    with start(service(up.port, policy(port=lines.port))) as weir:
        assert ask(weir, "line").status == 200
        answer = ask(weir, "line")
        assert answer.status == 403 and b"closed the connection" in answer.body, answer.body
        answer = ask(weir, "line")
        assert (answer.status, answer.body) == (403, b"sent away")
        assert ask(weir, "line").status == 200
        assert lines.connections == 3, lines.connections


def test_a_client_that_leaves_takes_its_question_along():
    def slow(conn, upstream):
        read_request(conn, upstream)
        time.sleep(0.3)
        conn.send(reply(200, b"late"))

    up, judges = Upstream(), Upstream(slow)
    with start(service(up.port, policy(f"http://127.0.0.1:{judges.port}/"))) as weir:
        for _ in range(5):
            with weir.connect() as conn:
                conn.send_request("GET", "/x", [("X-Act", "fetch")])
                count = len(judges.seen)
                wait_for("it is asked", lambda: len(judges.seen) > count or judges.seen)
        time.sleep(0.5)
        assert ask(weir, "none").status == 200 and len(weir.workers()) == 1


def test_reloads_while_fetches_are_under_way():
    over = threading.Event()

    def hang(conn, upstream):
        read_request(conn, upstream)
        if len(upstream.seen) % 3 == 0:  # some answer at once, others never
            over.wait(20)
        conn.send(reply(200, b"ok"))

    up, judges = Upstream(), Upstream(hang)
    background = f"http://localhost:{judges.port}/background"
    config = service(up.port, policy(background=background))
    with start(config, workers=2) as weir:
        pids = weir.workers()
        for _ in range(3):
            wait_for("it is asked again", lambda: "background 200" in weir.log_text())
            done = weir.reload(config + "\n# again\n")
            assert done.returncode == 0, done.stdout + done.stderr
        assert weir.reload(service(up.port)).returncode == 0
        wait_for("all stopped", lambda: weir.log_text().count("stopped") >= 8)
        count = len(judges.seen)
        over.set()
        time.sleep(0.3)
        assert len(judges.seen) == count, "somebody still asks"
        assert weir.get("/").status == 200 and weir.workers() == pids
        if not is_sanitized():
            wait_for("the image is unmapped", lambda: not any(
                "/peers." in line for pid in pids for line in lines_of(f"/proc/{pid}/maps")))
        text = weir.log_text()
        assert "AFTER STOP" not in text and "BROKEN" not in text


def test_a_stop_while_fetches_and_streams_are_open():
    up = Upstream()
    lines, judges = Lines([[]]), Upstream(lambda conn, upstream: time.sleep(3))
    config = service(up.port, policy(f"http://127.0.0.1:{judges.port}/", lines.port))
    weir = start(config)
    conns = [weir.connect() for _ in range(4)]
    for i, conn in enumerate(conns):
        conn.send_request("GET", "/x", [("X-Act", "line" if i % 2 else "fetch")])
    wait_for("both are asked", lambda: lines.connections > 0)
    for conn in conns:
        conn.sock.close()
    assert weir.stop() == 0, weir.output


def test_a_crash_in_a_callback_is_the_plugins():
    up, judges = Upstream(), Upstream()
    with start(service(up.port, policy(f"http://127.0.0.1:{judges.port}/"))) as weir:
        with weir.connect() as conn:
            conn.send_request("GET", "/x", [("X-Act", "crash")])
            wait_for("the master names it", lambda: "SIGSEGV in peers" in weir.log_text())
        wait_for("another worker serves", lambda: len(weir.workers()) == 1)


run_tests(globals())
