#!/usr/bin/env python3
"""A plugin's build is replaced under load: on every worker or on none, and back by itself."""
import os
import re
import threading
import time

from lib_abi import is_sanitized
from lib_swap import Load, build, builds_of_workers, mapped_images, resident, sdk, start, swap
from lib_weir import run_tests, wait_for

def test_swap_and_rollback():
    build("2.0.0")
    with start() as weir, Load(weir) as load:
        wait_for("traffic", lambda: load.count(200, "1.0.0") > 50)
        told = swap(weir, "2.0.0")
        assert told.returncode == 0, told
        assert re.search(r"plugin 'policy': policy 1\.0\.0 \(build \w{12}\) -> policy 2\.0\.0 \(build \w{12}\)\n",
                         told.stdout), told.stdout
        assert "worker 0: in use\nworker 1: in use\n" in told.stdout, told.stdout
        assert builds_of_workers(weir) == {"2.0.0"}
        listed = weir.run("plugin", "list").stdout
        assert re.search(r"policy +2\.0\.0 +build \w{12}  1 policy, .*chosen by a swap, before it \w{12}\n", listed), listed
        again = weir.reload()
        assert "plugin 'policy' stays policy 2.0.0" in again.stdout, again
        assert builds_of_workers(weir) == {"2.0.0"}, "a reload leaves what a swap chose"
        told = weir.run("plugin", "rollback", "policy")
        assert told.returncode == 0 and "-> policy 1.0.0" in told.stdout, told
        assert builds_of_workers(weir) == {"1.0.0"}
        told = weir.run("plugin", "rollback", "policy")
        assert told.returncode == 1 and "no earlier build is kept of plugin 'policy'" in told.stderr, told
        told = swap(weir, None)
        assert told.returncode == 0, told
    assert not load.bad(), load.answers
    assert load.count(200, "2.0.0") > 0


def test_refused_swaps_change_nothing():
    rows = [  # build, flags, what is said, why
        ("refuses", ["-DON_CONFIGURE=1"], "plugin 'policy' refuses its configuration", "configure()"),
        ("crashes", ["-DON_CONFIGURE=2"], "the trial of the new configuration crashed: SIGSEGV", "the probe dies"),
        ("no-start", ["-DON_START=1"], "start() refused", "a worker refuses in PREPARE"),
        ("bad-start", ["-DON_START=2"], "died preparing it: SIGSEGV", "a worker dies in PREPARE"),
    ]
    files = {"text.so": b"this is no program\n", "empty.so": b"", "short.so": open(build("1.0.0"), "rb").read()[:3000]}
    with open(build("1.0.0"), "rb") as f:
        other = bytearray(f.read())
    other[18] = 183  # e_machine: AArch64
    files["other.so"] = bytes(other)
    for name, flags, _, _ in rows:
        build(name, *flags)
    with start() as weir, Load(weir, pause=0.002) as load:
        for name, _, said, why in rows:
            told = swap(weir, name)
            assert told.returncode != 0 and said in told.stderr, (why, told)
            assert "nothing has changed" in weir.log_text(), why
        for name, data in files.items():
            path = f"{sdk.dir}/{name}"
            with open(path, "wb") as f:
                f.write(data)
            told = weir.run("plugin", "swap", "policy", path)
            assert told.returncode != 0 and path in told.stderr, (name, told)
        told = weir.run("plugin", "swap", "nothing", build("1.0.0"))
        assert told.returncode == 1 and "the configuration does not use a plugin 'nothing'" in told.stderr, told
        told = weir.run("plugin", "swap", "policy", "/nonexistent/policy.so")
        assert told.returncode == 1 and "/nonexistent/policy.so: No such file" in told.stderr, told
        assert builds_of_workers(weir) == {"1.0.0"}
    # One worker was lost to each build that crashes in start(), with what it was answering.
    assert load.count(0) <= 4 * 2 and not [k for k in load.bad() if k[0] != 0], load.bad()


def back_after(weir):
    """Seconds from the commit of the last swap to that of its rollback, by the log."""
    times = re.findall(r"^\S+T(\d+):(\d+):([\d.]+)Z notice master: configuration \d+ is in use", weir.log_text(), re.M)
    swapped, back = (int(h) * 3600 + int(m) * 60 + float(s) for h, m, s in times[-2:])
    return (back - swapped) % 86400


def test_a_build_that_fails_goes_back():
    rows = [  # build, flags, what is said
        ("fails", ["-DFAIL_OF=20"], r"it failed \d+ times in \d+ exchanges"),
        ("errors", ["-DERROR_OF=20"], r"\d+ of \d+ answers were 5xx"),
        ("slow", ["-DSLOW_MS=15"], r"exchanges take [\d.]+ ms on average"),
        ("crashes-later", ["-DCRASH_OF=50"], r"it ended a worker: SIGSEGV in policy crashes-later"),
    ]
    for name, flags, _ in rows:
        build(name, *flags)
    with start(settings={"swap_watch": "20s"}) as weir, Load(weir) as load:
        for name, _, said in rows:
            told = swap(weir, name, "--wait")
            assert told.returncode == 1, (name, told)
            assert re.search(said, told.stderr), (name, told)
            assert builds_of_workers(weir) == {"1.0.0"}, name
            print(f"     {name}: back {back_after(weir):.2f} s after the commit")
            assert "came back by itself: " in weir.run("plugin", "list").stdout
        assert load.count(200, "1.0.0") > 0
        build("good")
        told = swap(weir, "good", "--watch", "1", "--wait")
        assert told.returncode == 0 and "it did well" in told.stdout, told
        assert builds_of_workers(weir) == {"good"}


def test_a_canary_goes_first():
    build("2.0.0")
    build("fails", "-DFAIL_OF=20")
    with start(workers=3) as weir, Load(weir, clients=6, each=20) as load:
        seen = {}
        asker = threading.Thread(target=lambda: seen.update(told=swap(weir, "2.0.0", "--canary", "1", "--watch", "2")))
        asker.start()
        wait_for("the canary serves", lambda: "1 of 3 workers serve the new build" in weir.log_text())
        wait_for("both builds answer", lambda: builds_of_workers(weir) == {"1.0.0", "2.0.0"})
        asker.join()
        assert seen["told"].returncode == 0, seen
        assert builds_of_workers(weir) == {"2.0.0"}
        assert not load.bad(), load.bad()
        told = swap(weir, "fails", "--canary", "30%", "--watch", "20")
        assert told.returncode == 1 and "it failed" in told.stderr, told
        assert "goes back to policy 2.0.0" in told.stderr, told
        assert builds_of_workers(weir) == {"2.0.0"}
        told = swap(weir, "2.0.0", "--canary", "3")
        assert told.returncode == 1 and "expected fewer than all workers" in told.stderr, told


def test_quarantine():
    build("crash", "-DCRASH_OF=1000000")  # crashes when a request asks for it
    rows = [  # on_quarantine, status of its route then
        ("closed", 503), ("bypass", 200)]
    for how, status in rows:
        with start(first="crash", policy=f"  on_quarantine: {how}\n") as weir:
            for _ in range(3):
                with weir.connect() as conn:
                    conn.send_request("GET", "/", [("X-Crash", "1")])
                    assert conn.ended()
                wait_for("all are there", lambda: len(weir.workers()) == 2)
            wait_for("it is taken out", lambda: weir.get("/").status == status and
                     weir.get("/").get("x-build") is None)
            assert weir.get("/free").status == 200, "other routes are served"
            listed = weir.run("plugin", "list").stdout
            assert "in quarantine: it ended workers 3 times, last by SIGSEGV in policy crash" in listed, listed
            told = weir.reload()
            assert told.returncode == 0 and "is in quarantine" in told.stdout, told
            assert weir.get("/").status == status, "a reload does not bring it back"
            assert weir.get("/", headers=[("X-Crash", "1")]).status == status, "none of its code runs"
            told = swap(weir, "1.0.0")
            assert told.returncode == 0, told
            assert builds_of_workers(weir) == {"1.0.0"}, "another build serves again"


def test_crashes_bring_the_previous_build_back():
    build("crash", "-DCRASH_OF=1000000")
    with start() as weir:
        assert swap(weir, "crash").returncode == 0
        for _ in range(3):
            with weir.connect() as conn:
                conn.send_request("GET", "/", [("X-Crash", "1")])
                assert conn.ended()
            wait_for("all are there", lambda: len(weir.workers()) == 2)
        wait_for("it is back", lambda: builds_of_workers(weir, 8) == {"1.0.0"})
        assert "came back by itself: it ended workers 3 times" in weir.run("plugin", "list").stdout


def test_what_crashes_can_be_swapped_away():
    """A worker that the old build ends while the new one is prepared is no reason to refuse the new one."""
    build("2.0.0")
    build("crashes-often", "-DCRASH_OF=20")
    with start(first="crashes-often", settings={"quarantine_crashes": 0}) as weir, \
            Load(weir, pause=0.01) as load:
        for _ in range(2):
            lost = load.count(0)
            wait_for("workers end", lambda: load.count(0) > lost + 4)
            told = swap(weir, "2.0.0")
            assert told.returncode == 0, told
            assert builds_of_workers(weir) == {"2.0.0"}
            told = swap(weir, "crashes-often")
            assert told.returncode == 0, told


def test_files_that_change_are_swapped():
    build("2.0.0")
    build("refuses", "-DON_CONFIGURE=1")
    with start(settings={"plugin_watch": "on"}) as weir, Load(weir, clients=2, pause=0.005) as load:
        wait_for("traffic", lambda: load.count(200, "1.0.0") > 5)

        def replace(name):
            with open(build(name), "rb") as source, open(weir.plugins + "/beside", "wb") as target:
                target.write(source.read())
            os.rename(weir.plugins + "/beside", weir.plugins + "/policy.so")
        replace("2.0.0")
        wait_for("it is taken", lambda: builds_of_workers(weir, 8) == {"2.0.0"})
        replace("refuses")
        wait_for("it is refused", lambda: "refuses its configuration" in weir.log_text())
        assert builds_of_workers(weir) == {"2.0.0"}
        with open(build("1.0.0"), "rb") as source, open(weir.plugins + "/policy.so", "wb") as target:
            data = source.read()
            for at in range(0, len(data), 4096):  # copied in place, slowly: a half-written file never runs
                target.write(data[at:at + 4096])
                target.flush()
                time.sleep(0.05)
        wait_for("it is taken", lambda: builds_of_workers(weir, 8) == {"1.0.0"})
    assert not load.bad(), load.bad()


def test_many_swaps():
    swaps = int(os.environ.get("WEIR_SWAPS", "10" if is_sanitized() else "60"))
    build("2.0.0")
    with start() as weir, Load(weir) as load:
        wait_for("traffic", lambda: load.count(200) > 200)
        for i in range(4):
            swap(weir, "2.0.0" if i % 2 == 0 else "1.0.0")
        pids = weir.workers()
        before = {pid: resident(pid) for pid in pids}
        slowest = unmapped = 0.0
        for i in range(swaps):
            name = "2.0.0" if i % 2 == 0 else "1.0.0"
            begun = time.monotonic()
            told = swap(weir, name)
            slowest = max(slowest, time.monotonic() - begun)
            assert told.returncode == 0, told
            if i % 20 == 0:
                assert builds_of_workers(weir, 8) == {name}
                begun = time.monotonic()
                for pid in pids if not is_sanitized() else ():
                    wait_for("the old image is unmapped", lambda p=pid: len(mapped_images(p)) == 1, 5)
                unmapped = max(unmapped, time.monotonic() - begun)
        assert weir.workers() == pids, "no worker was replaced"
        after = {pid: resident(pid) for pid in pids}
        assert len(os.listdir(weir.dir + "/images")) <= 2, os.listdir(weir.dir + "/images")
        print(f"     {swaps} swaps, the slowest {slowest:.2f} s, unmapped after {unmapped:.2f} s at most, {load.count()} requests, memory of workers "
              + ", ".join(f"{before[p]} -> {after[p]} KiB" for p in pids))
        if not is_sanitized():
            assert all(after[p] < before[p] * 1.10 + 1024 for p in pids), (before, after)
    assert not load.bad(), load.bad()


run_tests(globals())
