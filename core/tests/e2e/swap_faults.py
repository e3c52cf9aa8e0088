#!/usr/bin/env python3
"""What can go wrong around a swap: files that change under it, a full disk, workers and masters that die or stall
in the middle. Traffic goes on, and what runs is one build or the other, whole."""
import os
import resource
import signal
import subprocess
import threading
import time

from lib_abi import is_sanitized
from lib_swap import Load, build, builds_of_workers, mapped_images, sdk, start, swap, upstream
from lib_weir import Weir, run_tests, wait_for


def copy(name, path):
    with open(build(name), "rb") as source, open(path, "wb") as target:
        target.write(source.read())
    return path


def test_a_file_replaced_is_the_new_build():
    build("2.0.0")
    file = sdk.dir + "/changing.so"
    beside = file + ".new"

    def by_rename(name):
        os.rename(copy(name, beside), file)

    def in_place(name):
        copy(name, file)

    def by_link(name):
        copy(name, beside)
        os.unlink(file)
        os.link(beside, file)

    copy("1.0.0", file)
    with start() as weir, Load(weir, clients=2) as load:
        for how in (by_rename, in_place, by_link):
            for name in ("2.0.0", "1.0.0"):
                how(name)
                told = weir.run("plugin", "swap", "policy", file)
                assert told.returncode == 0, (how.__name__, told)
                assert builds_of_workers(weir, 10) == {name}, how.__name__
        with open(file, "r+b") as f:  # cut short and gone, after it was loaded
            f.truncate(100)
        assert builds_of_workers(weir, 10) == {"1.0.0"}
        told = weir.run("plugin", "swap", "policy", file)
        assert told.returncode == 1 and file in told.stderr, told
        os.unlink(file)
        os.unlink(weir.plugins + "/policy.so")
        pid = weir.workers()[0]
        os.kill(pid, signal.SIGKILL)
        wait_for("it is replaced", lambda: pid not in weir.workers() and len(weir.workers()) == 2)
        wait_for("all serve", lambda: weir.run("health").returncode == 0)
        assert builds_of_workers(weir, 10) == {"1.0.0"}, "a replacement needs neither file"
        told = weir.run("plugin", "swap", "policy")
        assert told.returncode == 1 and f"no plugin 'policy' in {weir.plugins}" in told.stderr, told
    assert not [key for key in load.bad() if key[0] != 0] and load.count(0) <= 2, load.bad()


def test_a_disk_that_is_full():
    """No file may grow beyond some KiB: what a full disk is to write()."""
    padded = sdk.dir + "/padded.so"
    build("2.0.0")
    with open(copy("2.0.0", padded), "ab") as f:
        f.write(b"\0" * (1 << 20))
    with start() as weir, Load(weir, clients=2) as load:
        assert swap(weir, "2.0.0").returncode == 0
        limit = 512 * 1024
        resource.prlimit(weir.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        told = weir.run("plugin", "swap", "policy", padded)
        assert told.returncode == 1 and "cannot copy" in told.stderr and "File too large" in told.stderr, told
        assert builds_of_workers(weir, 10) == {"2.0.0"}
        resource.prlimit(weir.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        told = weir.run("plugin", "rollback", "policy")
        assert told.returncode == 0, told
        assert builds_of_workers(weir, 10) == {"1.0.0"}, "what was there before needs no room"
    assert not load.bad(), load.bad()


def test_workers_that_refuse_die_or_stall_in_the_middle():
    rows = [  # ON_START, how the second worker takes it
        (1 | 8, "start() refused"), (2 | 8, "died preparing it: SIGSEGV")]
    for on_start, said in rows:
        name = f"second-{on_start}"
        build(name, f"-DON_START={on_start}")
        first = f"{sdk.dir}/first-{on_start}"
        policy = f"  config: {{label: {first}}}\n"
        with start(workers=3, policy=policy) as weir, Load(weir, clients=2, pause=0.005) as load:
            told = swap(weir, name)
            assert told.returncode == 1 and said in told.stderr, (name, told)
            assert os.path.exists(first), "the first one agreed"
            wait_for("all serve", lambda w=weir: w.run("health").returncode == 0)
            assert builds_of_workers(weir, 12) == {"1.0.0"}, name
        assert not [key for key in load.bad() if key[0] != 0] and load.count(0) <= 2, load.bad()


class Stall:
    """A worker that does not answer PREPARE has 30 s; the others serve. Runs beside the other tests."""

    def __init__(self):
        build("2.0.0")
        self.weir = start(workers=2, settings={"watchdog": "0"})
        self.stopped = self.weir.workers()[1]
        os.kill(self.stopped, signal.SIGSTOP)
        self.told = None
        self.thread = threading.Thread(target=self.swap)
        self.thread.start()

    def swap(self):
        self.told = self.weir.run("plugin", "swap", "policy", build("2.0.0"))


stall = Stall()


def test_the_master_dies_in_the_middle():
    build("slow-start", "-DON_CONFIGURE=3")
    build("2.0.0")
    for moment in ("in the trial", "in the transaction"):
        weir = start(workers=2)
        with Load(weir, clients=2, pause=0.002) as load:
            wait_for("traffic", lambda: load.count(200) > 20)
            if moment == "in the trial":
                asker = subprocess.Popen([weir.process.args[0], "plugin", "swap", "policy", build("slow-start"),
                                          "--prefix", weir.dir], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(0.5)
            else:
                os.kill(weir.workers()[1], signal.SIGSTOP)  # so that PREPARE is never answered by all
                asker = subprocess.Popen([weir.process.args[0], "plugin", "swap", "policy", build("2.0.0"),
                                          "--prefix", weir.dir], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(1.0)
            workers = weir.workers()
            weir.process.kill()
            weir.process.wait()
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            asker.wait(30)
            assert asker.returncode == 1, moment
        seen = {version for status, version in load.answers if status == 200}
        assert seen == {"1.0.0"}, (moment, load.answers)
        wait_for("the workers have drained and gone", lambda w=workers: not any(
            os.path.exists(f"/proc/{pid}") for pid in w))
        # On the same folder, with what the dead one left there.
        again = Weir.__new__(Weir)
        again.__dict__.update(weir.__dict__)
        again.process = subprocess.Popen(weir.process.args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                         env={k: v for k, v in os.environ.items() if not k.startswith("WEIR_")})
        with again:
            again.wait_ready()
            assert builds_of_workers(again, 10) == {"1.0.0"}, moment


def test_an_image_the_linker_keeps():
    """Nothing in the file says so: found when it is to be unloaded, told, and used again."""
    if is_sanitized():
        print("skipped: images are never unloaded under sanitizers")
        return
    build("sticky", "-DSTICKY")
    with start() as weir:
        assert swap(weir, "sticky").returncode == 0
        assert swap(weir, "1.0.0").returncode == 0
        wait_for("it is told", lambda: weir.log_text().count("the linker does not unload it, 1 such images stay mapped") == 2)
        listed = weir.run("plugin", "list").stdout
        assert "replaced" in listed and "cannot be unloaded in 2" in listed, listed
        for pid in weir.workers():
            assert len(mapped_images(pid)) == 2
        assert swap(weir, "sticky").returncode == 0
        assert builds_of_workers(weir, 10) == {"sticky"}
        assert swap(weir, "1.0.0").returncode == 0
        assert weir.log_text().count("does not unload it") == 2, "it is the same image"


def test_state_goes_on():
    build("2.0.0")
    with start(workers=1) as weir, weir.connect() as conn:
        def counted():
            conn.send_request("GET", "/")
            got = conn.read_response()
            return int(got.get("x-counted")), got.get("x-build")
        for i in range(1, 8):
            assert counted() == (i, "1.0.0")
        assert swap(weir, "2.0.0").returncode == 0
        assert counted() == (8, "2.0.0"), "a swap"
        assert weir.reload().returncode == 0
        assert counted() == (9, "2.0.0"), "a reload"
        assert weir.run("plugin", "rollback", "policy").returncode == 0
        assert counted() == (10, "1.0.0"), "and back"


def test_zz_the_stalled_worker():
    with stall.weir as weir:
        def served():  # half of the connections wait in the queue of the one that stands still
            try:
                return weir.get("/", timeout=1).get("x-build") == "1.0.0"
            except TimeoutError:
                return False
        for _ in range(5):
            wait_for("the other one serves", served)
        stall.thread.join(60)
        assert stall.told.returncode == 1 and "did not answer in time" in stall.told.stderr, stall.told
        os.kill(stall.stopped, signal.SIGCONT)
        assert builds_of_workers(weir, 10) == {"1.0.0"}
        assert swap(weir, "2.0.0").returncode == 0, "and it can follow the next one"
        assert builds_of_workers(weir, 10) == {"2.0.0"}


run_tests(globals())
