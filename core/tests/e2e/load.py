"""A gateway under load while it is reloaded and its workers are killed: no request fails that need
not, nothing grows, no limit is exceeded."""
import collections
import os
import re
import signal
import socket
import subprocess
import threading
import time

import lib_weir
from lib_weir import PATIENCE, WEIR, run_tests, service, wait_for

KEY = ("apikey", "load-key")
MIB_KIB = 1024


def is_sanitized():
    try:
        with open(os.path.join(os.environ.get("WEIR_BUILD_DIR", ""), "CMakeCache.txt"),
                  encoding="utf-8") as cache:
            return re.search(r"^WEIR_SANITIZE:\w+=.+$", cache.read(), re.M) is not None
    except OSError:
        return False


SANITIZED = is_sanitized()


class Weir(lib_weir.Weir):
    """One that no sanitizer complains of, at its end either."""

    def stop(self, how=signal.SIGTERM):
        code = super().stop(how)
        assert not re.search("Sanitizer|runtime error", self.output), self.output[-4000:]
        return code


class Echo:
    """weir's own upstream: one that is not the bottleneck."""

    def __enter__(self):
        self.process = subprocess.Popen([WEIR, "echo", "--listen", "127.0.0.1:0"],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        line = self.process.stdout.readline().decode()
        self.port = int(line.rsplit(":", 1)[1])
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)


def configuration(port, variant="A", limit=1000000000):
    """Two that differ in a response field and in a route that only B has."""
    more = "  - name: more\n    paths: [/more]\n    strip_path: false\n" if variant == "B" else ""
    return service(port, path="/load") + more + f"""\
consumers:
- username: client
  keyauth_credentials:
  - key: {KEY[1]}
plugins:
- name: key-auth
- name: rate-limiting
  config: {{year: {limit}, policy: local}}
- name: correlation-id
  config: {{header_name: X-Variant-{variant}, echo_downstream: true}}
"""


def variant_of(response):
    have = [v for v in "AB" if response.get("X-Variant-" + v)]
    return have[0] if len(have) == 1 else repr(have)


class Client(threading.Thread):
    """Asks again and again. A lost connection is noted with the port it came from; whether it was
    allowed to be lost is for the test to say. The next request goes over a new one."""

    def __init__(self, load, keep):
        super().__init__(daemon=True)
        self.load, self.keep, self.conn = load, keep, None
        self.done, self.lost, self.wrong = 0, [], []
        self.statuses, self.variants = collections.Counter(), collections.Counter()

    def ask(self):
        if self.conn is None:
            self.conn = self.load.weir.connect()
        port = self.conn.sock.getsockname()[1]
        before = self.load.expected
        try:
            self.conn.send_request("GET", "/load", [KEY])
            response = self.conn.read_response()
            reason = ("the end" if response is None else
                      "" if response.complete else "half an answer")
        except socket.timeout:
            self.wrong.append(f"no answer in {PATIENCE} s")
            response, reason = None, "silence"
        except OSError as error:
            response, reason = None, str(error)
        if reason:
            self.lost.append((port, reason))
        else:
            self.note(response, before)
        if reason or not self.keep or (response.get("Connection") or "").lower() == "close":
            self.conn.sock.close()
            self.conn = None
        self.done += 1

    def note(self, response, before):
        self.statuses[response.status] += 1
        variant = variant_of(response)
        self.variants[variant] += 1
        if before and self.load.expected == before and variant != before[0]:
            self.wrong.append(f"{variant} while {before} was in use")

    def run(self):
        try:
            while not self.load.ending:
                if self.load.pause.is_set():
                    self.load.parked(self)
                self.ask()
                time.sleep(0.008)  # the gateway shall have a share of the processors
        except Exception as error:  # a thread that ends early would look like success
            self.wrong.append(f"the client ended: {error!r}")
        if self.conn is not None:
            self.conn.sock.close()


class Load:
    def __init__(self, weir, keeping=4, renewing=2):
        self.weir, self.expected, self.ending = weir, None, False
        self.pause, self.go_on, self.idle = threading.Event(), threading.Event(), set()
        self.clients = [Client(self, i < keeping) for i in range(keeping + renewing)]

    def __enter__(self):
        for client in self.clients:
            client.start()
        self.wait_rounds(2)
        return self

    def __exit__(self, *_):
        self.ending = True
        self.pause.clear()
        self.go_on.set()
        for client in self.clients:
            client.join(PATIENCE + 10)

    def parked(self, client):
        self.idle.add(client)
        self.go_on.wait(60)
        self.idle.discard(client)

    def quietly(self, look):
        """look() while nobody asks; connections that are kept stay open."""
        self.go_on.clear()
        self.pause.set()
        wait_for("every client pauses", lambda: len(self.idle) == len(self.clients))
        try:
            return look()
        finally:
            self.pause.clear()
            self.go_on.set()

    def wait_rounds(self, rounds):
        """Every client has asked so many times more, and nothing was wrong."""
        want = [client.done + rounds for client in self.clients]
        wait_for("every client goes on", lambda: self.wrong() or all(
            client.done >= target for client, target in zip(self.clients, want)), 2 * PATIENCE)
        assert not self.wrong(), self.wrong()

    def wrong(self):
        return [what for client in self.clients for what in client.wrong]

    def lost(self):
        return [loss for client in self.clients for loss in client.lost]

    def total(self, name):
        return sum((getattr(client, name) for client in self.clients), collections.Counter())


def ask_control(weir, question):
    """What `weir reload` does, without a process for each."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(weir.dir + "/weir.sock")
        sock.sendall(question.encode() + b"\n")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer.decode()


def reload(load, port, variant, number):
    """From the answer on nobody may see the configuration before."""
    load.expected = None
    load.weir.write(configuration(port, variant))
    answer = ask_control(load.weir, "reload")
    assert answer.startswith("ok\n"), answer
    load.expected = (variant, number)
    more = load.weir.get("/more", headers=[KEY])
    assert more.status == (200 if variant == "B" else 404), (variant, number, more.status)


# ---- what a process holds

def memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.M).group(1))


def descriptors(pid):
    """Sockets come and go with connections; everything else is counted exactly."""
    kinds = collections.Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        kinds["sockets" if target.startswith("socket:") else "others"] += 1
    return kinds


def holdings(weir):
    pids = [weir.process.pid] + status_of_workers(weir)
    return {pid: (memory_kib(pid), descriptors(pid)) for pid in pids}


def compare(before, after):
    assert before.keys() == after.keys(), "a process was replaced"
    for pid, (memory, fds) in before.items():
        now, fds_now = after[pid]
        print(f"     process {pid}: {memory} -> {now} KiB, {dict(fds)} -> {dict(fds_now)}")
        assert fds_now["others"] == fds["others"], f"descriptors of {pid}: {fds} -> {fds_now}"
        assert fds_now["sockets"] <= fds["sockets"] + 8, f"sockets of {pid}: {fds} -> {fds_now}"
        if not SANITIZED:
            assert now <= memory * 1.03 + MIB_KIB, f"process {pid} grew: {memory} -> {now} KiB"
    if SANITIZED:
        print("     memory is not compared: a sanitizer keeps what is freed for a while")


def test_reloads():
    """100 reloads: every request gets 200, nobody sees an old configuration after the answer, and
    from the 20th on neither memory nor descriptors grow. A sanitizer makes a trial ten times as
    slow: fewer of them then."""
    warm, count = (6, 24) if SANITIZED else (20, 100)
    with Echo() as echo, Weir(configuration(echo.port), workers=2) as weir:
        with Load(weir) as load:
            for i in range(count):
                reload(load, echo.port, "BA"[i % 2], i)
                if i + 1 == warm:
                    before = load.quietly(lambda: holdings(weir))
            after = load.quietly(lambda: holdings(weir))
            load.wait_rounds(1)
        assert not load.lost() and not load.wrong(), (load.lost(), load.wrong())
        variants = load.total("variants")
        print(f"     {sum(variants.values())} requests, {dict(variants)}")
        assert set(load.total("statuses")) == {200}, load.total("statuses")
        assert variants["A"] and variants["B"] and set(variants) == {"A", "B"}, variants
        compare(before, after)


# ---- workers that are killed

def stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


def ports_of_clients(pid, proxy):
    """The clients whose connections the process has accepted."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for _ in range(2):  # while others come and go, one reading of the table may pass over a line
        with open("/proc/net/tcp", encoding="ascii") as f:
            for line in f.readlines()[1:]:
                column = line.split()
                local, remote = (int(column[i].split(":")[1], 16) for i in (1, 2))
                if local == proxy and column[9] in inodes:
                    ports.add(remote)
    return ports


def queue_some(weir, count=10):
    """Requests on connections, about half of them in the queue of the worker that is stopped."""
    conns = [weir.connect() for _ in range(count)]
    for conn in conns:
        conn.send_request("GET", "/load", [KEY])
    return conns


def answered(conns):
    """How many were; None of them may be lost."""
    statuses = collections.Counter()
    for conn in conns:
        with conn:
            response = conn.read_response()
            assert response is not None and response.complete, "a connection in the queue was lost"
            statuses[response.status] += 1
    return statuses


def kill_worker(load, pid):
    """(ports of connections that go with it, connections that wait while it is stopped)"""
    os.kill(pid, signal.SIGSTOP)
    wait_for("the worker stands still", lambda: stopped(pid))
    queued = queue_some(load.weir)
    ports = ports_of_clients(pid, load.weir.proxy)
    pending = [conn for conn in queued if conn.sock.getsockname()[1] not in ports]
    os.kill(pid, signal.SIGKILL)
    return ports, pending


def status_of_workers(weir):
    """Process ids by number: other children, such as the trial of a reload, are none of them."""
    return [int(pid) for pid in re.findall(r"ready, pid (\d+)", ask_control(weir, "status"))]


def replaced(weir, pid):
    """All workers serve, and the dead one is none of them."""
    def check():
        answer = ask_control(weir, "status")
        return answer.startswith("ok\n") and f" pid {pid}," not in answer
    wait_for("a replacement", check)


def kill_workers(load, count):
    """Kill them in turn. Only what the dead ones had accepted may be lost, each of it once, and the
    next request of who lost one succeeds. How many requests of the queues were answered how."""
    queued = collections.Counter()
    for i in range(count):
        before = {client: len(client.lost) for client in load.clients}
        pid = status_of_workers(load.weir)[i % 2]
        ports, pending = kill_worker(load, pid)
        load.wait_rounds(2)
        queued += answered(pending)
        replaced(load.weir, pid)
        fresh = [loss for client in load.clients for loss in client.lost[before[client]:]]
        others = [loss for loss in fresh if loss[0] not in ports]
        assert not others, f"lost by kill {i}, but not of the dead worker: {others}"
        assert len(fresh) == len(set(port for port, _ in fresh)), fresh
    return queued


def test_kills():
    """A killed worker takes its own connections with it and nothing else; what waits in its queue
    is for its replacement."""
    count = 20
    with Echo() as echo, Weir(configuration(echo.port), workers=2) as weir:
        with Load(weir) as load:
            queued = kill_workers(load, count)
        assert not load.wrong(), load.wrong()
        assert set(load.total("statuses")) == {200}, load.total("statuses")
        print(f"     {load.total('statuses')[200]} requests, {len(load.lost())} lost with their "
              f"worker, {sum(queued.values())} queued")
        assert set(queued) == {200}, queued
        # Four kept connections over two workers: some kill must have hit one.
        assert load.lost(), "no kill hit a connection: the test proves nothing"


def test_limit():
    """local counts over both workers, and dead ones do not forget: never one more than the limit.
    A request that died with its worker may have been counted."""
    limit, kills = 1500, 4
    with Echo() as echo, Weir(configuration(echo.port, limit=limit), workers=2) as weir:
        with Load(weir) as load:
            queued = kill_workers(load, kills)
            wait_for("the limit is reached", lambda: load.wrong() or
                     load.total("statuses")[429] > 50, 2 * PATIENCE)
            queued += kill_workers(load, 2)
        assert not load.wrong(), load.wrong()
        statuses = load.total("statuses") + queued
        lost = len(load.lost())
        print(f"     {dict(statuses)}, {lost} lost with their worker")
        assert set(statuses) == {200, 429}, statuses
        assert limit - lost <= statuses[200] <= limit, (limit, lost, statuses)


def test_kills_during_reloads():
    """A reload is for all workers or for none, also when one of them dies at any moment of it."""
    rounds, outcomes = (6 if SANITIZED else 16), collections.Counter()
    with Echo() as echo, Weir(configuration(echo.port), workers=2) as weir:
        current, took = "A", 0.05
        for i in range(rounds):
            wanted, answers = "B" if current == "A" else "A", []
            weir.write(configuration(echo.port, wanted))
            asking = threading.Thread(target=lambda: answers.append(ask_control(weir, "reload")))
            begun, workers = time.monotonic(), status_of_workers(weir)
            asking.start()
            time.sleep(took * (i % 8) / 6)  # from its beginning to after its end
            os.kill(workers[i % 2], signal.SIGKILL)
            asking.join(3 * PATIENCE)
            took = max(0.02, min(1.0, time.monotonic() - begun))
            outcome = answers[0].split("\n")[0]
            assert outcome in ("ok", "failed 1"), answers
            outcomes[outcome] += 1
            if outcome == "ok":
                current = wanted
            replaced(weir, workers[i % 2])
            seen = collections.Counter(
                variant_of(weir.get("/load", headers=[KEY])) for _ in range(10))
            assert set(seen) == {current}, (i, answers, seen, current)
            if outcome != "ok":
                weir.write(configuration(echo.port, current))
        print(f"     {dict(outcomes)}")


# ---- the end

def test_queue_at_stop():
    """Who waits in the accept queue when the end begins is answered, and told of it."""
    with Echo() as echo, Weir(configuration(echo.port), workers=2) as weir:
        workers = status_of_workers(weir)
        kept = weir.connect()
        kept.send_request("GET", "/load", [KEY])
        assert kept.read_response().status == 200
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        for pid in workers:
            wait_for("the worker stands still", lambda pid=pid: stopped(pid))
        conns = [weir.connect() for _ in range(30)]
        conns += [kept]  # its next request has come before the end
        for conn in conns:
            conn.send_request("GET", "/load", [KEY])
        silent = weir.connect()
        weir.process.send_signal(signal.SIGTERM)
        wait_for("it drains", lambda: "draining: no new connections" in weir.log_text())
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        for conn in conns:
            with conn:
                response = conn.read_response()
                assert response is not None, "a connection of the queue was closed unanswered"
                assert response.status == 200, response.status
                assert response.get("Connection") == "close", response.headers
                assert conn.ended()
        with silent:  # it does not hold the end up
            assert silent.ended()
        assert weir.process.wait(PATIENCE) == 0


def test_last_request_is_told():
    """The answer to the last request of a connection says so: another one would be lost."""
    cases = [("keepalive_requests", 3, 3), ("keepalive_timeout", "0s", 1)]
    for name, value, last in cases:
        with Echo() as echo, Weir(configuration(echo.port), settings={name: value}) as weir:
            with weir.connect() as conn:
                for i in range(last):
                    conn.send_request("GET", "/load", [KEY])
                    response = conn.read_response()
                    assert response is not None and response.status == 200, (name, i)
                    told = response.get("Connection") == "close"
                    assert told == (i + 1 == last), (name, i, response.headers)
                assert conn.ended(), name


def test_address_in_use():
    """What listens elsewhere is told with address and reason, before anything serves."""
    with Weir("", workers=2) as other:  # whose own proxy sockets share a port by SO_REUSEPORT
        for taken in (other.status, other.proxy):
            for name in ("proxy_listen", "status_listen", "admin_listen"):
                weir = Weir("", settings={name: f"127.0.0.1:{taken}"}, wait=False)
                wait_for("it ends", lambda weir=weir: weir.process.poll() is not None)
                weir.stop()
                want = f"weir: cannot listen on 127.0.0.1:{taken}: bind: Address already in use\n"
                have = weir.process.returncode, weir.output
                assert have == (1, want), (name, have)


if __name__ == "__main__":
    run_tests(globals())
