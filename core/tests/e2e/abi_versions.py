#!/usr/bin/env python3
"""Plugins of older, newer and broken SDKs: each works, or is refused with one exact sentence."""
import subprocess

from lib_abi import Sdk
from lib_weir import WEIR, Upstream, Weir, run_tests

sdk = Sdk()

LOADED = (  # case, why it works
    ("PLAIN", "a plugin of this SDK"),
    ("SHORTER", "an older SDK had fewer members"),
    ("LONGER", "a newer SDK has more, which this plugin leaves zero"),
    ("WIDE", "a newer SDK's rows are wider, and the new parts are zero"),
    ("EXTENSION", "what the host does not have is NULL"),
)
REFUSED = (  # case, the sentence behind "plugin 'NAME': "
    ("TOO_SHORT", "field 'size': have 16, want 24 to 65536"),
    ("LONGER_USED", "field 'size': have {longer} and the tail is used, want at most {size}"),
    ("MAJOR", "field 'major': have 2, want 1"),
    ("MANIFEST_MAJOR", "{file}: field 'major': have 2, want 1"),
    ("MINOR", "field 'minor': have 7, want at most 0"),
    ("WIDE_USED", "field 'field_stride': row 0 has {wide} bytes and uses the last, want {row}"),
    ("NARROW", "field 'field_stride': have 1 rows of 0 bytes, want at most 4096 rows"),
    ("NULL_ROWS", "field 'field_stride': have 1 rows of {row} bytes, want at most 4096 rows"),
    ("NO_DESCRIPTOR", "field 'descriptor': have NULL, want what weir_plugin_v1() returns"),
    ("OTHER_NAME", "field 'name': have 'somebody' in the descriptor, want 'v-other-name'"),
)


def name_of(case):
    return "v-" + case.lower().replace("_", "-")


def compile_all():
    for case in [row[0] for row in LOADED + REFUSED] + ["ODD"]:
        sdk.compile("version", name_of(case), [f"-DCASE={case}"])
    probe = sdk.dir + "/sizes"
    with open(probe + ".c", "w", encoding="utf-8") as f:
        f.write("#include <stdio.h>\n#include <weir/weir.h>\nconst weir_host *weir_host_table;\n"
                "int main(void) { return printf(\"%zu %zu\", sizeof(weir_plugin), "
                "sizeof(weir_field)) < 0; }\n")
    subprocess.run(["gcc", *sdk.flags, probe + ".c", "-o", probe], check=True)
    size, row = map(int, subprocess.run([probe], check=True, capture_output=True,
                                        text=True).stdout.split())
    return {"size": size, "longer": size + 32, "row": row, "wide": row + 24}


NUMBERS = compile_all()


def check(case, config=""):
    path = f"{sdk.dir}/{case}.yaml"
    with open(path, "w", encoding="utf-8") as f:
        f.write('_format_version: "3.0"\nplugins:\n- name: ' + name_of(case) + "\n" + config)
    return subprocess.run([WEIR, "check", path], capture_output=True, text=True, check=False,
                          env={"WEIR_PLUGIN_PATH": sdk.plugins, "PATH": "/usr/bin:/bin"})


def test_those_that_load():
    for case, why in LOADED:
        done = check(case)
        assert done.returncode == 0, (case, why, done.stdout + done.stderr)
        done = check(case, "  config:\n    number: 11\n")  # their rows are read right
        assert done.returncode == 3 and f"{case}.yaml:5:13: plugins[0].config.number" in \
            done.stderr + done.stdout, (case, done.stdout + done.stderr)


def test_those_that_are_refused():
    for case, sentence in REFUSED:
        done = check(case)
        told = done.stdout + done.stderr
        want = f"plugin '{name_of(case)}': " + sentence.format(
            file=f"{sdk.plugins}/{name_of(case)}.so", **NUMBERS)
        assert done.returncode == 3, (case, done.returncode, told)
        assert want in told, f"{case}: want: {want}\nhave: {told}"
        assert told.count("plugin 'v-") == 1, f"{case}: one message, not: {told}"
        assert f"{case}.yaml:3:9: plugins[0].name" in told, told


def test_a_running_weir_with_all_that_load():
    up = Upstream()
    routes = "".join(
        f"  - name: {case.lower()}\n    paths: [/{case}]\n    plugins:\n"
        f"    - name: {name_of(case)}\n      config: {{number: {number + 1}}}\n"
        for number, (case, _) in enumerate(LOADED))
    routes += "".join(
        f"  - name: odd-{on_error}\n    paths: [/odd/{on_error}]\n    plugins:\n"
        f"    - name: v-odd\n      on_error: {on_error}\n" for on_error in ("closed", "open"))
    config = f"services:\n- name: s\n  url: http://127.0.0.1:{up.port}\n  routes:\n{routes}"
    with Weir(config, settings={"plugin_path": sdk.plugins}) as weir:
        for number, (case, _) in enumerate(LOADED):
            answer = weir.get("/" + case)
            assert answer.status == 200, (case, answer.status)
            assert answer.get("X-Version") == str(number + 1), (case, answer.headers)
        assert weir.get("/odd/closed").status == 500, "an unknown verdict counts as FAIL"
        assert weir.get("/odd/open").body == b"hello", "on_error: open lets it pass"
        seen = len(up.seen)
        assert weir.get("/odd/closed").status == 500 and len(up.seen) == seen
        # A refused build stops a reload, never the traffic.
        for case in ("MINOR", "LONGER_USED"):
            done = weir.reload(config + f"plugins:\n- name: {name_of(case)}\n")
            assert done.returncode != 0 and f"plugin '{name_of(case)}'" in \
                done.stdout + done.stderr, done.stdout + done.stderr
            assert weir.get("/PLAIN").get("X-Version") == "1"


run_tests(globals())
