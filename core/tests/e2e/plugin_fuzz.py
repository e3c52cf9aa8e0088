#!/usr/bin/env python3
"""weir plugin fuzz finds ten kinds of mistakes, each seeded into a small plugin, and says which, and
finds none in plugins that are sound; weir plugin bench shows what hooks cost."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from lib_weir import run_tests

SOURCE = pathlib.Path(os.environ["WEIR_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["WEIR_BUILD_DIR"])
PLUGINS = pathlib.Path(os.environ["WEIR_PLUGIN_DIR"])
WEIR = os.environ["WEIR"]
BUGS = SOURCE / "core/tests/e2e/data/bugs"
WORK = pathlib.Path(tempfile.mkdtemp(prefix="weir-fuzz-"))
ASAN = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# A plugin, what fuzz must call its mistake, and in how many runs at most: leaks and growth show
# only in the plans that look for them. SANITIZED: the mistake is one for AddressSanitizer.
SEEDED = [
    ("leak", "leak", "access", 1),
    ("use_after_free", "use after free", "access", 1),
    ("wrong_phase", "wrong phase", "access", 1),
    ("blocking_call", "blocking call", "access", 1),
    ("thread_left", "thread left", "stop", 1),
    ("double_wake", "double wake", "timer", 1),
    ("freed_header", "header from freed memory", "response_headers", 1),
    ("unbounded_body", "unbounded memory", "request_body", 9),
    ("unbounded_clients", "unbounded memory", "access", 8),
    ("static_state", "static state", None, 5),
    ("missing_deadline", "missing deadline", "access", 1),
]
SANITIZED = {"use_after_free", "freed_header"}

# The words of `what` in odd.c, how fuzz calls them, in how many runs.
ODD = [
    ("unknown verdict", "unknown verdict", 1),
    ("wait without a token", "wait without a token", 1),
    ("done without an answer", "done without an answer", 1),
    ("answers twice", "answers twice", 1),
    ("answer thrown away", "answer thrown away", 1),
    ("missing capability", "missing capability", 1),
    ("no check of malloc", "crash", 4),
    ("pieces", "split changes the answer", 2),
    ("descriptor left", "descriptor left", 1),
    ("undeclared thread", "undeclared thread", 1),
]

CONFIG = """_format_version: '3.0'
services: [{name: s, host: target.test, routes: [{name: r, paths: [/]}]}]
plugins: [%s]
"""
CLEAN = {
    "tenant-quota": "{name: tenant-quota, config: {limit: 3, window: 60s}}",
    "key-auth": "{name: key-auth, config: {key_names: [apikey], key_in_body: true}}",
    "response-transformer": "{name: response-transformer, config: {add: {json: ['a:b'], "
                            "headers: ['X-A:b']}, remove: {headers: [Server]}}}",
}

SAID = {}  # what fuzz printed


def is_sanitized():
    cache = (BUILD / "CMakeCache.txt").read_text()
    return re.search(r"^WEIR_SANITIZE:\w+=.*address", cache, re.M) is not None


def built(name, source=None):
    so = WORK / f"{name}.so"
    flags = ASAN if name in SANITIZED and is_sanitized() else []
    subprocess.run(["gcc", "-shared", "-fPIC", "-fvisibility=hidden", "-O1", "-g", "-w",
                    "-Wl,-z,now", f"-I{SOURCE}/sdk/include", *flags,
                    str(source or BUGS / f"{name}.c"), "-o", str(so)], check=True)
    return so


def weir_plugin(verb, *args):
    done = subprocess.run([WEIR, "plugin", verb, *map(str, args)], capture_output=True, text=True,
                          timeout=200, check=False)
    return done.returncode, done.stdout, done.stderr


def config_of(policy):
    path = WORK / "weir.yaml"
    path.write_text(CONFIG % policy)
    return path


def expect_find(code, out, err, kind, phase=None):
    found = re.findall(r"^fuzz: FOUND ([^:]+): (.*) \(seed (\d+), run (\d+)\)$", out, re.M)
    assert code == 1, f"exit code {code}:\n{out}\n{err[-2000:]}"
    assert found and found[0][0] == kind, f"want '{kind}':\n{out}\n{err[-2000:]}"
    assert phase is None or found[0][1].endswith(f"in phase {phase}"), out
    assert "  again: weir plugin fuzz " in out, out
    return found[0]


def test_each_seeded_mistake_is_found_and_named():
    for name, kind, phase, runs in SEEDED:
        code, out, err = weir_plugin("fuzz", built(name), "--seed", 7, "--runs", runs)
        expect_find(code, out, err, kind, phase)
        SAID[name] = out
        print(f"     {name}: {out.splitlines()[0]}", flush=True)


def test_smaller_mistakes_too():
    so = built("odd")
    for word, kind, runs in ODD:
        config = config_of("{name: odd, config: {what: %s}}" % word)
        code, out, err = weir_plugin("fuzz", so, "--config", config, "--seed", 7, "--runs", runs)
        expect_find(code, out, err, kind)
        if kind == "crash":
            assert re.search(r"call 1 of \d+ that may fail does", out), out
            assert re.search(r"^  (GET|POST) /", out, re.M), out


def test_nothing_is_found_in_sound_plugins():
    built("tenant-quota", SOURCE / "sdk/examples/tenant-quota/tenant-quota.c")
    for name, policy in CLEAN.items():
        so = WORK / f"{name}.so" if name == "tenant-quota" else PLUGINS / f"{name}.so"
        code, out, err = weir_plugin("fuzz", so, "--config", config_of(policy), "--seed", 7,
                                     "--runs", 9)
        assert code == 0, f"{name}: {out}\n{err[-2000:]}"
        assert out == "fuzz: nothing found in 9 runs (seed 7)\n", out


def test_the_line_it_prints_finds_it_again():
    if "static_state" not in SAID:
        SAID["static_state"] = weir_plugin("fuzz", built("static_state"), "--seed", 7,
                                           "--runs", 5)[1]
    again = re.search(r"again: weir plugin fuzz (.*)", SAID["static_state"]).group(1).split()
    assert again[-4:] == ["--seed", "7", "--run", "4"], again
    code, out, err = weir_plugin("fuzz", *again)
    expect_find(code, out, err, "static state")
    assert out == SAID["static_state"], f"{SAID['static_state']}\n{out}"


def test_a_refused_configuration_is_no_find():
    code, out, err = weir_plugin("fuzz", built("odd"), "--seed", 1, "--runs", 1)
    assert code == 3 and out == "", (code, out, err)
    assert "plugins[0].config.what" in err, err
    assert weir_plugin("fuzz", "--seed", "x")[0] == 2


def test_bench_counts_what_hooks_take():
    code, out, err = weir_plugin("bench", built("leak"), "--requests", 500, "--json")
    assert code == 0, err
    said = json.loads(out)
    access = {hook["hook"]: hook for hook in said["hooks"]}["access"]
    assert said["plugin"] == "leak" and said["sanitized"] == is_sanitized(), said
    assert access["mallocs"] == 1 and access["malloc_bytes"] > 1, access
    assert access["host_calls"] == 1 and access["request_bytes"] == 0, access
    assert access["verdicts"] == {"NEXT": access["calls"]}, access
    assert access["median_ns"] > 0 and said["request"]["median_ns"] > 0, said
    code, out, err = weir_plugin("bench", PLUGINS / "key-auth.so", "--requests", 200, "--config",
                                 config_of(CLEAN["key-auth"]))
    assert code == 0, err
    assert re.search(r"^access +\d+ .* DONE \d+", out, re.M), out
    assert re.search(r"^a whole request in the kit: \d+ ns", out, re.M), out


if __name__ == "__main__":
    for tool in ("gcc", WEIR):
        if shutil.which(tool) is None:
            print(f"skipped: there is no {tool}")
            sys.exit(0)
    try:
        run_tests(globals())
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
