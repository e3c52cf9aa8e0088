#!/usr/bin/env python3
"""How long a policy, its generation and its image live."""
import subprocess
import threading
import time

from lib_abi import SOURCES, Sdk, is_sanitized, lines_of
from lib_weir import Upstream, Weir, read_request, reply, run_tests, service, wait_for

sdk = Sdk()
sdk.compile("lifetime")


class Files:
    """What one test's plugin writes to and waits for."""

    def __init__(self, name):
        self.said, self.go = f"{sdk.dir}/{name}.said", f"{sdk.dir}/{name}.go"

    def policy(self):
        return ("  plugins:\n  - name: lifetime\n"
                f"    config: {{file: {self.said}, go: {self.go}}}\n")

    def stops(self):
        return [line for line in lines_of(self.said) if line.startswith("stop")]


def start(config):
    return Weir(config, settings={"plugin_path": sdk.plugins})


def is_mapped(weir, name):
    return any(f"/{name}." in line for pid in weir.workers()
               for line in lines_of(f"/proc/{pid}/maps"))


def check_reload_with_a_parked_request(phase):
    up, files = Upstream(), Files("parked-" + phase)
    plain = service(up.port)
    with start(service(up.port, files.policy())) as weir:
        pid = weir.workers()
        wait_for("timer and watcher run", lambda: lines_of(files.said))
        with weir.connect() as conn:
            conn.send_request("GET", "/", [("X-Hold", phase)])
            if phase == "response_headers":
                wait_for("it is parked", lambda: up.seen)
            else:
                time.sleep(0.2)
            done = weir.reload(plain)
            assert done.returncode == 0, done.stdout + done.stderr
            for _ in range(5):
                answer = weir.get("/")
                assert answer.status == 200 and answer.get("X-Literal") is None
            assert files.stops() == [], "stopped under a request"
            assert is_mapped(weir, "lifetime")
            with open(files.go, "w", encoding="utf-8"):
                pass
            answer = conn.read_response()
            values = [v for n, v in answer.headers if n.lower() == "x-literal"]
            assert answer.status == 200 and answer.body == b"hello", answer.status
            assert values == ["a literal of the image", "set when woken"], values
            conn.send_request("GET", "/")  # the same connection, the new generation
            answer = conn.read_response()
            assert answer.status == 200 and answer.get("X-Literal") is None
        stop = wait_for("stop() runs", files.stops)
        assert len(stop) == 1 and "ticks=some bytes=some" in stop[0], stop
        if not is_sanitized():
            wait_for("the image is unmapped", lambda: not is_mapped(weir, "lifetime"))
        assert weir.get("/").status == 200 and weir.workers() == pid
        held = [v for s in up.seen for n, v in s[1] if n.lower() == "x-literal"]
        assert held == ["for the target"], held


def test_reload_with_a_request_parked_in_access():
    check_reload_with_a_parked_request("access")


def test_reload_with_a_request_parked_in_response_headers():
    check_reload_with_a_parked_request("response_headers")


def test_reload_with_timer_and_watcher_alone():
    up, files = Upstream(), Files("idle")
    with start(service(up.port, files.policy())) as weir:
        assert weir.get("/").get("X-Literal") == "a literal of the image"
        time.sleep(0.1)
        assert weir.reload(service(up.port)).returncode == 0
        wait_for("stop() runs", files.stops)
        if not is_sanitized():
            wait_for("the image is unmapped", lambda: not is_mapped(weir, "lifetime"))
        assert weir.get("/").get("X-Literal") is None
        # and back again: the image is loaded anew
        assert weir.reload(service(up.port, files.policy())).returncode == 0
        assert weir.get("/").get("X-Literal") == "a literal of the image"
        assert len([l for l in lines_of(files.said) if l.startswith("start")]) == 2


def test_a_literal_in_the_head_of_an_answer_that_is_still_on_its_way():
    """The reload comes between the head and the body of the answer."""
    ready = threading.Event()

    def slow(conn, upstream):
        while read_request(conn, upstream) is not None:
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
            ready.wait(20)
            conn.send("llo")

    up, files = Upstream(slow), Files("slow")
    with start(service(up.port, files.policy())) as weir, weir.connect() as conn:
        conn.send_request("GET", "/")
        head = conn.read_head()
        assert "a literal of the image" in [v for _, v in head[1]], head
        assert weir.reload(service(up.port)).returncode == 0
        assert files.stops() == []
        ready.set()
        assert conn.read_exactly(5) == b"hello"
        wait_for("stop() runs", files.stops)


def test_requests_without_a_pause_while_policies_come_and_go():
    up, files, failures, count, over = Upstream(), Files("busy"), [], [0], threading.Event()
    with start(service(up.port)) as weir:
        def client():
            with weir.connect() as conn:
                while not over.is_set():
                    conn.send_request("GET", "/")
                    answer = conn.read_response()
                    count[0] += 1
                    if answer is None or answer.status != 200 or answer.body != b"hello":
                        failures.append(answer)
                        return
        clients = [threading.Thread(target=client) for _ in range(2)]
        for thread in clients:
            thread.start()
        for turn in range(4):
            extra = files.policy() if turn % 2 == 0 else ""
            done = weir.reload(service(up.port, extra))
            assert done.returncode == 0, done.stderr
        over.set()
        for thread in clients:
            thread.join()
        assert failures == [] and count[0] > 20, (failures, count)
        wait_for("each generation stops", lambda: len(files.stops()) == 2)
        assert len(weir.workers()) == 1


def test_private_copies_of_one_library():
    for name, step in (("twin-a", 1), ("twin-b", 10)):
        library = f"{sdk.folder(name)}/libcounting.a"
        subprocess.run(["gcc", "-c", "-fPIC", f"-DSTEP={step}", f"{SOURCES}/counting.c", "-o",
                        library + ".o"], check=True)
        subprocess.run(["ar", "rc", library, library + ".o"], check=True)
        # Its symbols are exported, which is what makes it dangerous.
        sdk.compile("twin", name, [library])
        names = subprocess.run(["nm", "-D", "--defined-only", f"{sdk.plugins}/{name}.so"],
                               check=True, capture_output=True, text=True).stdout
        assert "counting_next" in names, names
    up = Upstream()
    with start(service(up.port, "  plugins:\n  - name: twin-a\n  - name: twin-b\n")) as weir:
        for turn in range(1, 6):
            answer = weir.get("/")
            assert (answer.get("X-twin-a"), answer.get("X-twin-b")) == (str(turn), str(10 * turn))


run_tests(globals())
