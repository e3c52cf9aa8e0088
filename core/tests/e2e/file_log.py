#!/usr/bin/env python3
"""The lines that file-log writes: each field of Kong's layout in a conversation of its own, and what
becomes of lines when the file is moved, full, a pipe that nobody reads, or does not come back."""
import ctypes
import fcntl
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from lib_weir import PATIENCE, WEIR, Upstream, Weir, answer_all, free_port, read_request, reply, \
    run_tests, service, wait_for

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Folder:
    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="weir-file-log-")
        self.path = self.dir + "/access.log"
        return self

    def __exit__(self, *_):
        subprocess.run(["rm", "-rf", self.dir], check=True)

    def lines(self, path=None):
        try:
            with open(path or self.path, encoding="utf-8") as f:
                text = f.read()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def line(self, uri):
        """The one line of that target; waits for it."""
        found = wait_for(f"a line of {uri}",
                         lambda: [l for l in self.lines() if l["request"]["uri"] == uri])
        assert len(found) == 1, found
        return found[0]


def file_log(folder, more=""):
    return "plugins:\n- {name: file-log, config: {path: %s%s}}\n" % (folder.path, more)


def expect(line, **wanted):
    for dotted, value in wanted.items():
        at = line
        for part in dotted.split("__"):
            at = at[part]
        assert value(at) if callable(value) else at == value and type(at) is type(value), \
            (dotted, at, value)


def number(low, high=1 << 62):
    return lambda x: type(x) is int and low <= x <= high


def text(pattern):
    return lambda x: isinstance(x, str) and re.fullmatch(pattern, x) is not None


def test_each_field_of_a_proxied_request():
    config = ("- {name: key-auth}\n- {name: correlation-id, config: {header_name: X-Id}}\n")
    consumer = ("consumers: [{username: ann, custom_id: c9, tags: [t],\n"
                "  keyauth_credentials: [{key: k, id: 2b1a1bd2-4f0d-4c39-8ad9-5f2a3b0c1d2e}]}]\n")

    def slow(conn, upstream):
        while read_request(conn, upstream) is not None:
            time.sleep(0.03)
            head = reply(body=b"x" * 1000, headers=[("X-Twice", "1"), ("X-Twice", "2")])
            conn.send(head[:-500])
            time.sleep(0.03)
            conn.send(head[-500:])
    up = Upstream(slow)
    with Folder() as folder, Weir(service(up.port, name="orders", extra="  tags: [x]\n") + consumer +
                                  file_log(folder) + config) as weir:
        before = int(time.time() * 1000)
        target = "/v1/orders?x=1&y&x=2&z=%20a"
        headers = [("Host", "API.test:99"), ("apikey", "k"), ("Authorization", "Basic c2VjcmV0"),
                   ("Proxy-Authorization", "Basic c2VjcmV0"), ("X-Two", "a"), ("X-Two", "b"),
                   ("X-Id", "mine")]
        response = weir.get(target, headers=headers, method="POST", body=b"12345")
        size = len(f"POST {target} HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345") + \
            sum(len(f"{n}: {v}\r\n") for n, v in headers)
        assert response.status == 200
        line = folder.line(target)
        with open(folder.path, encoding="utf-8") as f:
            assert "c2VjcmV0" not in f.read()
        expect(line, request__id=response.get("X-Kong-Request-Id"), request__uri=target,
               request__url=f"http://api.test:{weir.proxy}{target}", request__method="POST",
               request__querystring={"x": ["1", "2"], "y": True, "z": " a"},
               request__size=size)
        expect(line["request"]["headers"], host="API.test:99", apikey="k",
               authorization="REDACTED", **{"proxy-authorization": "REDACTED", "x-two": ["a", "b"],
                                            "content-length": "5"})
        assert line["request"]["headers"]["x-consumer-username"] == "ann", "as changed by policies"
        assert "tls" not in line["request"]
        expect(line, upstream_uri=target, upstream_status="200", response__status=200,
               response__size=number(1100, 1800), source="upstream", client_ip="127.0.0.1",
               correlation_id="mine", workspace=text(UUID), workspace_name="default",
               started_at=number(before - 5, before + 60000))
        expect(line["response"]["headers"], **{"content-length": "1000", "x-twice": ["1", "2"]})
        late = line["latencies"]
        expect(late, request=number(60), kong=number(0), proxy=number(29), receive=number(5))
        assert late["request"] >= late["kong"] + late["proxy"] + late["receive"], late
        assert len(line["tries"]) == 1
        expect(line["tries"][0], ip="127.0.0.1", port=up.port, balancer_latency=number(0),
               balancer_latency_ns=number(0), balancer_start=number(before - 5, before + 60000),
               balancer_start_ns=number((before - 5) * 1000000, (before + 60000) * 1000000))
        assert "state" not in line["tries"][0] and "code" not in line["tries"][0]
        assert line["authenticated_entity"] == {"id": "2b1a1bd2-4f0d-4c39-8ad9-5f2a3b0c1d2e"}
        expect(line["consumer"], id=text(UUID), username="ann", custom_id="c9", tags=["t"],
               created_at=number(0), updated_at=number(0))
        expect(line["service"], id=text(UUID), name="orders", host="127.0.0.1", port=up.port,
               protocol="http", retries=5, connect_timeout=60000, write_timeout=60000,
               read_timeout=60000, tags=["x"], enabled=True, ws_id=line["workspace"])
        assert "path" not in line["service"], "what is not set is left out"
        expect(line["route"], id=text(UUID), name="r", paths=["/"], strip_path=False,
               protocols=["http", "https"], preserve_host=False, regex_priority=0,
               https_redirect_status_code=426, path_handling="v0", request_buffering=True,
               response_buffering=True, service={"id": line["service"]["id"]},
               ws_id=line["workspace"])
        assert "hosts" not in line["route"]


def test_answers_that_were_not_proxied():
    up = Upstream()
    with Folder() as folder, Weir(service(up.port, path="/a") + file_log(folder) +
                                  "- {name: key-auth}\n") as weir:
        assert weir.get("/a?q").status == 401
        line = folder.line("/a?q")
        expect(line, upstream_uri="", upstream_status="", response__status=401, source="kong",
               tries=[], latencies__proxy=-1, latencies__receive=0, latencies__kong=number(0),
               route__name="r")
        assert not {"authenticated_entity", "consumer", "correlation_id"} & set(line)
        assert weir.get("/zzz").status == 404
        line = folder.line("/zzz")
        expect(line, response__status=404, source="kong", upstream_uri="", upstream_status="")
        assert not {"tries", "route", "service"} & set(line), "nothing was matched"
        with weir.connect() as conn:
            conn.send("GET /broken HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n")
            assert conn.read_response().status == 400


def test_attempts_that_failed_say_how():
    up, closed = Upstream(), free_port()
    config = ("services: [{name: s, host: u, retries: 3, routes: [{name: r, paths: [/]}]}]\n"
              f"upstreams: [{{name: u, targets: [{{target: '127.0.0.1:{closed}', weight: 1000}},\n"
              f"  {{target: '127.0.0.1:{up.port}', weight: 1}}]}}]\n")
    with Folder() as folder, Weir(config + file_log(folder)) as weir:
        assert weir.get("/x").status == 200
        line = folder.line("/x")
        expect(line, upstream_status="502, 200", source="upstream")
        assert [t["port"] for t in line["tries"]] == [closed, up.port]
        expect(line["tries"][0], state="failed", code=502)
        assert "state" not in line["tries"][1]
        up.close()
    with Folder() as folder, Weir(service(closed, extra="  retries: 1\n") + file_log(folder)) as weir:
        assert weir.get("/y").status == 502
        expect(folder.line("/y"), upstream_status="502, 502", source="kong",
               response__status=502, tries=lambda t: len(t) == 2)


def test_a_client_that_leaves_is_499():
    asked, go = threading.Event(), threading.Event()

    def held(conn, upstream):
        while read_request(conn, upstream) is not None:
            asked.set()
            go.wait(PATIENCE)
            conn.send(reply())
    up = Upstream(held)
    with Folder() as folder, Weir(service(up.port) + file_log(folder)) as weir:
        with weir.connect() as conn:
            conn.send_request("GET", "/left")
            assert asked.wait(PATIENCE)
        expect(folder.line("/left"), response__status=499, source="kong")
        go.set()


def test_tls_facts():
    with Folder() as folder:
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", folder.dir + "/key.pem", "-out", folder.dir + "/cert.pem",
             "-days", "2", "-subj", "/CN=gw.test"], capture_output=True, check=False)
        if made.returncode != 0:
            print("     skipped: no openssl here to make a certificate")
            return
        up, port = Upstream(), free_port()
        with Weir(service(up.port) + file_log(folder), settings={
                "proxy_listen": f"127.0.0.1:{port} ssl", "ssl_cert": folder.dir + "/cert.pem",
                "ssl_cert_key": folder.dir + "/key.pem"}):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain, \
                    context.wrap_socket(plain, server_hostname="gw.test") as sock:
                sock.sendall(b"GET /t HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n")
                while sock.recv(65536):
                    pass
            line = folder.line("/t")
            expect(line, request__url=f"https://gw.test:{port}/t",
                   request__tls={"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384",
                                 "client_verify": "NONE"})


def test_rotation_loses_nothing():
    up = Upstream()
    for reopen in ("", ", reopen: true"):
        with Folder() as folder:
            weir = Weir(service(up.port) + file_log(folder, reopen), workers=2)
            stop, sent = threading.Event(), []

            def traffic():
                while not stop.is_set():
                    with weir.connect() as conn:
                        for _ in range(5):
                            conn.send_request("GET", f"/{len(sent)}")
                            assert conn.read_response().status == 200
                            sent.append(f"/{len(sent)}")
            thread = threading.Thread(target=traffic)
            thread.start()
            for turn in (1, 2):
                wait_for("there are lines", folder.lines)
                os.rename(folder.path, f"{folder.path}.{turn}")
                wait_for("a new file is begun", lambda: os.path.exists(folder.path))
            stop.set()
            thread.join()
            weir.stop()
            uris = [l["request"]["uri"] for p in (folder.path, folder.path + ".1", folder.path + ".2")
                    for l in folder.lines(p)]
            assert sorted(uris) == sorted(sent), (len(uris), len(sent))


LOST, WAITING = "weir_file_lost_lines_total", "weir_file_waiting_bytes"


def metric(weir, name):
    found = re.findall(r"^%s{.*} (\d+)$" % name, weir.get("/metrics", weir.status).body.decode(),
                       re.M)
    return sum(int(x) for x in found)


def test_a_full_disk_holds_nobody_up():
    up = Upstream()
    with Folder() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder.dir],
                          capture_output=True, check=False).returncode != 0:
            print("     skipped: no right to mount a small file system")
            return
        try:
            with Weir(service(up.port) + file_log(folder, ", queue_bytes: 64k")) as weir:
                with weir.connect() as conn:
                    for i in range(200):
                        conn.send_request("GET", f"/{i}")
                        assert conn.read_response().status == 200
                wait_for("losses are counted", lambda: metric(weir, LOST) > 50)
                assert metric(weir, WAITING) > 50000
                assert "No space left on device" in weir.log_text()
                # Somebody makes room: what waited comes, whole, and so does what is new.
                subprocess.run(["mount", "-o", "remount,size=1m", folder.dir], check=True)
                sent = [f"/{i}" for i in range(200)]

                def nothing_waits():
                    sent.append(f"/more{len(sent)}")
                    return weir.get(sent[-1]).status == 200 and metric(weir, WAITING) == 0
                wait_for("nothing waits", nothing_waits)
                sent.append("/after")
                assert weir.get("/after").status == 200
                folder.line("/after")
                uris = [l["request"]["uri"] for l in folder.lines()]
                assert len(uris) == len(sent) - metric(weir, LOST) and set(uris) <= set(sent)
                assert len(set(uris)) == len(uris) and uris[0] == "/0"
                wait_for("the log says so", lambda: "written again" in weir.log_text())
        finally:
            subprocess.run(["umount", "-l", folder.dir], check=False)


def test_a_pipe_that_nobody_reads_holds_nobody_up():
    up = Upstream()
    with Folder() as folder:
        os.mkfifo(folder.path)
        reader = os.open(folder.path, os.O_RDONLY | os.O_NONBLOCK)
        with Weir(service(up.port) + file_log(folder, ", queue_bytes: 32k"), workers=1) as weir:
            with weir.connect() as conn:
                for i in range(300):
                    conn.send_request("GET", f"/{i}")
                    assert conn.read_response().status == 200
            wait_for("losses are counted", lambda: metric(weir, LOST) > 100)
            data = bytearray()

            def drained():
                try:
                    while True:
                        data.extend(os.read(reader, 65536))
                except BlockingIOError:
                    return metric(weir, WAITING) == 0
            wait_for("all that waited came", drained)
            drained()
            lost = metric(weir, LOST)
            uris = [json.loads(l)["request"]["uri"] for l in data.decode().splitlines()]
            assert len(uris) == 300 - lost and uris[:3] == ["/0", "/1", "/2"], (len(uris), lost)
        os.close(reader)


def block_writes(pid, path):
    """Have the process wait in write() for a pipe that is full: its own descriptor is made to block.
    False: this machine does not allow that."""
    libc, pidfd = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid)
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            is_it = os.readlink(f"/proc/{pid}/fd/{number}") == path
        except FileNotFoundError:
            continue
        if not is_it:
            continue
        fd = libc.syscall(438, pidfd, int(number), 0)  # pidfd_getfd
        if fd < 0:
            return False
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
        os.close(fd)
    os.close(pidfd)
    return True


def test_a_write_that_hangs_holds_up_nobody():
    up = Upstream()
    for args in ((), ("--single-process",)):
        with Folder() as folder:
            os.mkfifo(folder.path)
            reader = os.open(folder.path, os.O_RDONLY | os.O_NONBLOCK)
            weir = Weir(service(up.port) + file_log(folder, ", queue_bytes: 64k"), args=args)
            try:
                pid = weir.process.pid if args else weir.workers()[0]
                assert weir.get("/first").status == 200
                wait_for("the pipe is written", lambda: select.select([reader], [], [], 0)[0])
                if not block_writes(pid, folder.path):
                    print("     skipped: no right to change a descriptor of another process")
                    return
                with weir.connect() as conn:
                    slowest = 0
                    for i in range(400):
                        begun = time.monotonic()
                        conn.send_request("GET", f"/{i}")
                        assert conn.read_response().status == 200
                        slowest = max(slowest, time.monotonic() - begun)
                    assert slowest < 1, slowest
                assert "pipe_write" in wait_channels(pid) or not wait_channels(pid).strip("0 ")
                wait_for("losses are counted", lambda: metric(weir, LOST) > 100)
                wait_for("the log says why",
                         lambda: "a write does not come back" in weir.log_text())
                assert weir.get("/still").status == 200
                # A reload does not wait for it either.
                assert weir.reload().returncode == 0
                assert weir.get("/reloaded").status == 200
                begun = time.monotonic()
                weir.process.send_signal(signal.SIGTERM)
                assert weir.process.wait(PATIENCE) == 0
                took = time.monotonic() - begun
                assert took < 8, took
                wait_for("the end tells", lambda: "its thread is left behind" in weir.log_text())
            finally:
                os.close(reader)
                weir.stop()


def wait_channels(pid):
    """Where the threads of the process wait in the kernel; zeros when that is not shown."""
    found = ""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/wchan", encoding="utf-8") as f:
            found += f.read() + " "
    return found


def thread_names(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="utf-8") as f:
            found.append(f.read().strip())
    return found


def test_nothing_is_opened_before_a_line():
    up = Upstream()
    with Folder() as folder, Weir(service(up.port) + file_log(folder)) as weir:
        assert subprocess.run([WEIR, "check", weir.file], capture_output=True,
                              check=False).returncode == 0
        assert weir.reload().returncode == 0
        worker = weir.workers()[0]
        assert not os.path.exists(folder.path)
        assert "weir-files" not in thread_names(worker)
        assert weir.get("/x").status == 200
        folder.line("/x")
        assert thread_names(worker).count("weir-files") == 1
        assert "weir-files" not in thread_names(weir.process.pid), "the master has none"


def test_what_waits_at_the_end_is_written():
    up = Upstream()
    with Folder() as folder:
        weir = Weir(service(up.port) + file_log(folder), workers=2)
        for i in range(20):
            assert weir.get(f"/{i}").status == 200
        assert weir.stop() == 0
        uris = [l["request"]["uri"] for l in folder.lines()]
        assert sorted(uris) == sorted(f"/{i}" for i in range(20)), uris


def test_standard_output_is_a_file_too():
    up = Upstream()
    config = "plugins: [{name: file-log, config: {path: /dev/stdout}}]\n"
    weir = Weir(service(up.port) + config)
    with weir:
        assert weir.get("/to-stdout").status == 200
    line = [l for l in weir.output.splitlines() if "/to-stdout" in l]
    assert len(line) == 1 and json.loads(line[0])["request"]["uri"] == "/to-stdout"


if __name__ == "__main__":
    run_tests(globals())
