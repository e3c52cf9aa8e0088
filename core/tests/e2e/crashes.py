#!/usr/bin/env python3
"""A plugin that crashes or hangs, in every place where its code runs: the right one is blamed with a
backtrace, requests on other workers never fail, a replacement serves. And a plugin that speaks on the
channel to the master: the master minds, and lives."""
import hashlib
import os
import re
import resource
import signal
import threading
import time
import traceback

from lib_abi import Sdk, is_sanitized, lines_of
from lib_weir import Upstream, Weir, answer_all, run_tests, service, wait_for

sdk = Sdk()
with open(sdk.compile("crashing", flags=["-pthread"]), "rb") as f:
    HASH = hashlib.sha256(f.read()).hexdigest()[:12]
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

# Where, and what the log calls it; whether it knows its route and its request.
PLACES = (("rewrite", "rewrite", False, True), ("access", "access", True, True),
          ("request_body", "request_body", True, True), ("upstream", "upstream", True, True),
          ("response_headers", "response_headers", True, True),
          ("response_body", "response_body", True, True), ("log", "log", True, True),
          ("wake", "access", True, True), ("timer", "a timer", False, False))
ENDS = {"segv": "SIGSEGV", "abort": "SIGABRT", "overflow": "SIGSEGV", "bus": "SIGBUS", "loop": "hung"}


class Gateway(Weir):
    def __init__(self, port, workers, env=None, args=(), **settings):
        environment = dict(os.environ)
        if is_sanitized():  # its report takes a second each time, and turns the signal into an exit
            environment["ASAN_OPTIONS"] = env or \
                "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0"
        self.port = port
        super().__init__("", workers, {"plugin_path": sdk.plugins, "quarantine_crashes": 0,
                                       **settings}, args=args,
                         env=environment, wait=False)

    def write(self, config):
        self.said = self.dir + "/said"
        super().write(service(self.port, name="orders").replace("name: r\n", "name: r7\n") +
                      f"plugins:\n- name: crashing\n  config:\n    file: {self.said}\n{config}")

    def say_where(self):
        """(pid, request id) of what was about to end a worker."""
        return [tuple(line.split(" ")) for line in lines_of(self.said)]

    def victims(self):
        return {int(pid) for pid, _ in self.say_where()}

    def all_serve(self):
        return wait_for("all workers serve", lambda: self.run("health").returncode == 0)

    def end_one(self, how, where):
        """Ask for it; what the plugin said before."""
        before = len(self.say_where())
        with self.connect() as conn:
            conn.send_request("POST", "/x", [("X-Do", f"{how} {where}")], b"a body")
            said = wait_for(f"{how} in {where}", lambda: self.say_where()[before:])
            try:
                return said[0], conn.read_response("POST")
            except OSError:
                return said[0], None


class Load:
    """Connections to all workers, wherever the kernel leads them, each in use all the time."""

    def __init__(self, weir):
        self.weir, self.answers, self.lost, self.problems, self.ends = weir, 0, set(), [], False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(8)]
        for thread in self.threads:
            thread.start()

    def run(self):
        try:
            while not self.ends:
                with self.weir.connect() as conn:
                    pid = self.ask(conn)  # None: who took it ended before it said who it was
                    while pid is not None and not self.ends:
                        time.sleep(0.02)
                        if self.ask(conn, pid) is None:
                            self.lost.add(pid)
                            break
        except Exception as error:  # told by stop()
            self.problems.append(repr(error))

    def ask(self, conn, pid=None):
        """Who answered; None: the connection is lost."""
        try:
            conn.send_request("GET", "/load")
            answer = conn.read_response()
        except ConnectionError:
            answer = None
        if answer is None:
            return None
        assert answer.status == 200, answer.status
        who = int(answer.get("X-Pid"))
        assert pid in (None, who), (pid, who)
        self.answers += 1
        return who

    def stop(self):
        self.ends = True
        for thread in self.threads:
            thread.join(30)
        assert not self.problems, self.problems
        # Those that ended had said so before; nobody else lost a connection.
        assert self.lost <= self.weir.victims(), (self.lost, self.weir.victims())
        assert self.answers > 50, self.answers


def death_line(weir, what):
    """The line of the death, and the backtrace that follows it."""
    def find():
        found = re.search(f"error master: worker (\\d+) ended: {what}; replaced in .*\n"
                          "((?:.* error master: worker \\d+:  .*\n)*)", weir.log_text())
        # It is written line by line.
        return found if found and "#0" in found[2] and found[0] == find.before else keep(found)

    def keep(found):
        find.before = found and found[0]
    find.before = None
    try:
        found = wait_for(what, find)
    except AssertionError:
        raise AssertionError(f"no line: {what}\n" + "".join(
            line for line in weir.log_text().splitlines(True) if " ended: " in line)) from None
    return found[1], found[2]


def blame(place, knows_route=False, request=None):
    return re.escape(f"in crashing 1.0.1 (build {HASH}), {place}" +
                     (", route r7" if knows_route else "") +
                     (f", request {request}" if request else ""))


def check_backtrace(trace, how, where):
    image = rf"crashing\.{HASH}\.so\+0x[0-9a-f]+ "
    function = "deeper" if how == "overflow" else f"do_{how}"
    assert re.search(image + rf"\({function}\+0x", trace), trace
    assert len(trace.splitlines()) <= 33, trace
    if how == "overflow":  # it never gets back to the hook
        assert trace.count("(deeper+0x") >= 20, trace
        return
    hook = {"wake": "on_wake", "timer": "on_timer"}.get(where, f"on_{where}")
    assert re.search(image + rf"\({hook}\+0x", trace), (hook, trace)
    assert " weir+0x" in trace, trace


def crash_everywhere(port, how, places, problems):
    try:
        with Gateway(port, 3, **({"watchdog": "1500ms"} if how == "loop" else {})) as weir:
            weir.wait_ready()
            load = Load(weir)
            for where, name, knows_route, knows_request in places:
                (pid, request), _ = weir.end_one(how, where)
                what = f"{ENDS[how]} " + blame(name, knows_route,
                                               request if knows_request else None)
                worker, trace = death_line(weir, what)
                if how != "overflow":  # its lines come one by one
                    wait_for("all of the backtrace", lambda: " weir+0x" in death_line(weir, what)[1])
                    worker, trace = death_line(weir, what)
                check_backtrace(trace, how, where)
                if how == "loop":
                    # The same words before it is ended, as far as the master knows them.
                    said = re.search(rf"worker {worker} \(pid {pid}\) hangs (.*) for (\d+) ms",
                                     weir.log_text())
                    assert said and re.match(blame(name), said[1]), said
                    assert 1500 <= int(said[2]) < 10000, said[0]
            weir.all_serve()
            load.stop()
            crash_at_start(weir, how)
    except Exception as error:  # every kind of failure is one failed test
        problems.append(f"{how}: {error}\n{traceback.format_exc(limit=4)}")


def crash_at_start(weir, how):
    """In a reload: the trial crashes, or a worker that prepares it; what served before serves on."""
    for where, text in (("configure", "the trial of the new configuration crashed: "),
                        ("start", "died preparing it: ")):
        if (how, where) == ("loop", "configure"):
            continue  # the trial may take half a minute
        done = weir.reload(f"    how: {how}\n    where: {where}\n")
        assert done.returncode == 1, done
        said = done.stdout + done.stderr
        assert re.search(text + ENDS[how] + " " + blame(where), said), said
        if where == "configure":
            assert f"crashing.{HASH}.so+0x" in said, said
        else:
            death_line(weir, f"{ENDS[how]} " + blame("start"))
        with weir.connect() as conn:
            conn.send_request("GET", "/after")
            assert conn.read_response().status == 200
    weir.all_serve()


def test_a_crash_anywhere_names_its_plugin_and_costs_one_worker():
    up = Upstream()
    problems = []
    # Only those that hang take their time.
    shares = [(how, PLACES) for how in ENDS if how != "loop"]
    shares += [("loop", PLACES[i::3]) for i in range(3)]
    threads = [threading.Thread(target=crash_everywhere, args=(up.port, *share, problems))
               for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, "\n".join(problems)


def test_other_ends():
    up = Upstream()
    with Gateway(up.port, 2, watchdog="1500ms") as weir:
        weir.wait_ready()
        # exit() in a hook says nothing, but the slot tells
        weir.end_one("exit", "access")
        wait_for("blame", lambda: re.search(
            "error master: worker . ended: exit code 0 " + blame("access"),
            weir.log_text()))
        # who called NULL?
        (_, request), _ = weir.end_one("null_call", "access")
        _, trace = death_line(weir, "SIGSEGV " + blame("access", True, request))
        assert "SIGSEGV at address 0x0 (nothing is there)" in trace, trace
        assert re.search(r"#0 0x0\n", trace) and "(do_null_call+0x" in trace, trace
        # a thread of the plugin: whatever the loop is at is not to blame
        weir.end_one("thread", "access")
        _, trace = death_line(weir, re.escape(
            f"SIGSEGV in crashing (build {HASH}), a thread of its own"))
        assert "(do_segv+0x" in trace and "(wild_thread+0x" in trace, trace
        # stopped from outside, without any plugin: it hangs, and nobody is to blame
        weir.all_serve()
        pid = weir.workers()[0]
        os.kill(pid, signal.SIGSTOP)
        wait_for("it hangs", lambda: re.search(rf"\(pid {pid}\) hangs for \d+ ms", weir.log_text()))
        wait_for("it is killed", lambda: f"(pid {pid}) does not answer, it is killed" in
                 weir.log_text())
        wait_for("its end", lambda: " ended: hung; replaced" in weir.log_text())
        weir.all_serve()
        # killed from outside: nothing more is known
        os.kill(weir.workers()[0], signal.SIGKILL)
        wait_for("its end", lambda: " ended: SIGKILL; replaced" in weir.log_text())
        weir.all_serve()


def test_an_idle_worker_does_not_hang():
    up = Upstream()
    with Gateway(up.port, 2, watchdog="200ms") as weir:
        weir.wait_ready()
        pids = weir.workers()
        time.sleep(1.5)
        assert "hangs" not in weir.log_text(), weir.log_text()
        assert sorted(weir.workers()) == sorted(pids)


def test_the_channel_is_not_trusted():
    up = Upstream()
    with Gateway(up.port, 3) as weir:
        weir.wait_ready()
        descriptors = len(os.listdir(f"/proc/{weir.process.pid}/fd"))
        used = {}
        for how, text in (("close", "closed its channel"), ("flood", "sends without end"),
                          ("garbage", "sent what is no message"), ("half", "sent what is no message"),
                          ("command", "sent what only the master says"),
                          ("descriptors", "sent what is no message")):
            fresh = False
            while not fresh:  # one that has closed its channel cannot say anything any more
                (pid, _), answer = weir.end_one(how, "access")
                # It finishes what it has begun.
                assert answer is not None and answer.status == 200, how
                fresh = pid not in used
            used[pid] = text
        for pid, text in used.items():
            wait_for(text, lambda: f"(pid {pid}) {text}, it is replaced" in weir.log_text())
        wait_for("their ends", lambda: not set(used) & set(map(str, weir.workers())))
        weir.all_serve()
        assert len(os.listdir(f"/proc/{weir.process.pid}/fd")) == descriptors
        assert len(weir.workers()) == 3
        assert weir.reload("").returncode == 0, weir.log_text()


def test_a_sanitizer_keeps_its_report():
    if not is_sanitized():
        return
    up = Upstream()
    weir = Gateway(up.port, 1, env="symbolize=0")
    try:
        weir.wait_ready()
        (_, request), _ = weir.end_one("segv", "access")
        death_line(weir, "SIGSEGV " + blame("access", True, request))
        weir.all_serve()
    finally:
        weir.stop()
    assert "AddressSanitizer: SEGV on unknown address" in weir.output, weir.output


def test_a_single_process_says_it_itself():
    up = Upstream()
    weir = Gateway(up.port, 1, args=["--single-process"])
    try:
        weir.wait_ready()
        (_, request), _ = weir.end_one("segv", "access")
    finally:
        code = weir.stop()
    assert code == -signal.SIGSEGV, code
    assert f"weir crashed: SIGSEGV in crashing 1.0.1, access, route r7, request {request}\n  at " \
        in weir.output, weir.output
    assert re.search(rf"  at .*crashing\.{HASH}[0-9a-f]*\.so\+0x[0-9a-f]+\n", weir.output)


run_tests(globals())
