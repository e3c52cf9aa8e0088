#!/usr/bin/env python3
"""Builds that cannot be unloaded: each reload leaves one behind, up to a bound that is told."""
import os

from lib_abi import Sdk, lines_of
from lib_weir import Upstream, Weir, run_tests, service, wait_for

CAP = 64
sdk = Sdk()
BUILT = {name: sdk.compile("lifetime", name, ["-Wl,-z,nodelete"]) for name in ("pinned", "other")}
SAID = sdk.dir + "/said"


def policy(*names):
    return "  plugins:\n" + "".join(
        f"  - name: {name}\n    config: {{file: {SAID}, go: /nowhere, watch: false}}\n"
        for name in names)


def said(word):
    return [line for line in lines_of(SAID) if line.startswith(word)]


def change_build(path, number):
    """The same plugin with other bytes, put in its place by rename."""
    with open(path, "rb") as f:
        old = f.read()
    at = old.index(b"build-marker:") + len("build-marker:")
    with open(path + ".new", "wb") as f:
        f.write(old[:at] + b"%08d" % number + old[at + 8:])
    os.rename(path + ".new", path)


def test_fifty_builds_and_then_the_bound():
    up = Upstream()
    one, both = service(up.port, policy("pinned")), service(up.port, policy("pinned", "other"))
    with Weir(one, settings={"plugin_path": sdk.plugins}) as weir, weir.connect() as conn:
        pid, loaded = weir.workers(), 1

        def still_serves():
            conn.send_request("GET", "/")
            answer = conn.read_response()
            assert answer.status == 200 and answer.get("X-Literal") == "a literal of the image"

        for number in range(1, 50):
            change_build(BUILT["pinned"], number)
            done = weir.reload()
            assert done.returncode == 0, f"build {number}: {done.stdout + done.stderr}"
            loaded += 1
            still_serves()
        assert loaded == 50
        weir.write(both)
        while loaded < CAP:
            for name in ("pinned", "other"):
                change_build(BUILT[name], loaded + 1)
            done = weir.reload()
            assert done.returncode == 0, f"{loaded} are loaded: {done.stdout + done.stderr}"
            loaded += 2
        assert len(said("start")) == CAP, "every build was a build of its own"
        change_build(BUILT["pinned"], 1000)
        done = weir.reload()
        refusal = done.stdout + done.stderr
        assert done.returncode != 0 and "plugins[0].name: plugin 'pinned': " in refusal, refusal
        assert f"cannot be unloaded and {CAP} such images are loaded already" in refusal, refusal
        still_serves()
        # One of the builds that are there already is no new one, and what needs none still goes.
        change_build(BUILT["pinned"], 5)
        done = weir.reload(one)
        assert done.returncode == 0, done.stdout + done.stderr
        still_serves()
        assert weir.reload(service(up.port)).returncode == 0
        conn.send_request("GET", "/")
        assert conn.read_response().get("X-Literal") is None and weir.workers() == pid
        wait_for("all have stopped", lambda: len(said("stop")) == len(said("start")))


run_tests(globals())
