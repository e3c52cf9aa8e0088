#!/usr/bin/env python3
"""The version matrix. One corpus of policies, built against every released header set, against today's
headers for every older host, and against the headers of a minor that does not exist yet; on today's
weir, and on hosts of other minors whose table ends at a page that may not be touched. Each combination
works, or is refused with the one sentence that says what it has and what was wanted."""
import glob
import os
import re
import subprocess
import sys

from lib_abi import BUILD, SOURCES, Sdk, is_sanitized, lines_of
from lib_weir import WEIR, Upstream, Weir, read_request, reply, run_tests, wait_for

ROOT = os.environ["WEIR_SOURCE_DIR"]
ABI = ROOT + "/sdk/abi"
sdk = Sdk()
TODAY = sdk.prefix + "/include"
MINOR = int(re.search(r"#define WEIR_MINOR (\d+)", open(TODAY + "/weir/weir.h", encoding="utf-8").read())
            .group(1))


def future(how):
    out = f"{sdk.dir}/future-{how}"
    subprocess.run([sys.executable, f"{SOURCES}/future.py", TODAY, out, how], check=True)
    return out


HIDDEN, VISIBLE = future("hidden"), future("visible")
SETS = []  # name, headers, target minor
for released in sorted(glob.glob(ABI + "/[0-9]*/include")):
    SETS.append(("r" + released.split("/")[-2].replace(".", "-"), released, None))
SETS += [(f"today-{minor}", TODAY, minor) for minor in range(MINOR + 1)]
SETS += [(f"next-{minor}", HIDDEN, minor) for minor in range(MINOR + 1)]  # a newer SDK, for older hosts
SETS += [("tails", VISIBLE, MINOR)]  # what is new is there, and left zero

CORPUS = ("settings", "bodies", "waits", "quota")


def compile_one(name, probe, include, target, flags=()):
    """PLUGIN.so of the corpus against these headers alone."""
    source = f"{SOURCES}/matrix_{probe}.c"
    if probe == "quota":  # the SDK's example as it is, but for its name
        source = f"{sdk.dir}/{name}.c"
        with open(ROOT + "/sdk/examples/tenant-quota/tenant-quota.c", encoding="utf-8") as f:
            text = f.read().replace('"tenant-quota"', f'"{name}"')
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
    out = f"{sdk.plugins}/{name}.so"
    target = [] if target is None else [f"-DWEIR_TARGET_MINOR={target}"]
    return out, subprocess.Popen(
        ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
         "-fvisibility=hidden", "-Wl,-z,defs", "-Wl,-z,now", "-I" + include,
         f'-DPLUGIN_NAME="{name}"', f'-DCOLLECTION="{name}s"',
         f'-DMETRIC="matrix_{name.replace("-", "_")}_total"', *target, source, *flags, "-o", out])


def compile_all(rows):
    """Two at a time."""
    waiting, built = list(rows), {}
    running = []
    while waiting or running:
        while waiting and len(running) < 2:
            row = waiting.pop(0)
            running.append((row[0], *compile_one(*row)))
        name, out, process = running.pop(0)
        assert process.wait() == 0, f"{name} does not compile"
        built[name] = out
    return built


# What only a later host knows: flags, and the one sentence that today's weir has for it.
TARGET_NEXT = MINOR + 1
REFUSED = (
    ("of-the-next", HIDDEN, TARGET_NEXT, [], f"field 'minor': have {TARGET_NEXT}, want at most {MINOR}"),
    ("row-tail", VISIBLE, MINOR, ["-DMISUSE=1"],
     "field 'field_stride': row 10 has {row} bytes and uses the last, want 104"),
    ("flag", VISIBLE, MINOR, ["-DMISUSE=2"],
     "field 'fields': row 10 has flags 0x100000, want bits of 0x7ff"),
    ("credential-tail", VISIBLE, MINOR, ["-DMISUSE=3"],
     "field 'credential_stride': row 0 has 64 bytes and uses the last, want 48"),
    ("hook", VISIBLE, MINOR, ["-DMISUSE=4"],
     "field 'size': have 216 and the tail is used, want at most 184"),
    ("capability", VISIBLE, MINOR, ["-DMISUSE=5"],
     "field 'capabilities': have 0x100008, want bits of 0x7f"),
)
BUILT = compile_all(
    [(f"{name}-{probe}", probe, include, target) for name, include, target in SETS for probe in CORPUS] +
    [("bad-" + case, "settings", include, target, flags) for case, include, target, flags, _ in REFUSED] +
    [("late-waits", "waits", VISIBLE, MINOR, ["-DLATER"])] +
    [("phases-" + need.lower(), "phases", TODAY, None, ["-DBODY_NEED=WEIR_BODY_" + need])
     for need in ("STREAM", "BUFFER")])


# ---- today's weir

def answer(conn, upstream):
    while True:
        request = read_request(conn, upstream)
        if request is None:
            return
        conn.send(reply(body=b"a bee, " + request[2]))


def route(name, plugin, config="{}"):
    return (f"  - name: {name}\n    paths: [/{name}]\n    plugins:\n    - name: {plugin}\n"
            f"      config: {config}\n")


def configuration(up, names):
    settings = ("{word: plain, number: 12, window: 5s, names: [x, y], limits: [{most: 4}], "
                "pairs: {k: v}, nested: {most: 8}}")
    waits = f"{{url: 'http://127.0.0.1:{up.port}/ask', file: {sdk.dir}/LINES, port: {up.port}}}"
    routes, consumers = "", ""
    for name in names:
        routes += route(name + "-s", name + "-settings", settings) + route(name + "-b", name + "-bodies")
        routes += route(name + "-w", name + "-waits", waits.replace("LINES", name))
        routes += route(name + "-q", name + "-quota", "{limit: 1, header: X-Who}")
        consumers += (f"- username: ann-{name}\n  {name}-settingss:\n"
                      f"  - {{key: k-{name}, level: 5}}\n")
    return (f"services:\n- name: s\n  url: http://127.0.0.1:{up.port}\n  routes:\n{routes}"
            f"consumers:\n{consumers}")


def expect_settings(weir, up, name):
    assert weir.get(f"/{name}-s").status == 401, name
    got = weir.get(f"/{name}-s", headers=[("X-Key", "k-" + name), ("X-Gone", "1")])
    want = f"plain fast 12 5000 65536 0.50 1 2 4/deep 1 8/deep 5 ann-{name}"
    assert (got.status, got.get("X-Said")) == (200, want), (name, got.status, got.get("X-Said"))
    sent = up.seen[-1][1]
    assert [v for n, v in sent if n.lower() == "x-twice"] == ["1", "2"], (name, sent)
    assert not any(n.lower() == "x-gone" for n, _ in sent), (name, sent)


def expect_bodies(weir, up, name):
    got = weir.get(f"/{name}-b", method="POST", body=b"a cat" * 100)
    assert up.seen[-1][2] == b"b cbt" * 100, (name, up.seen[-1][2][:40])
    assert (got.status, got.body, got.get("X-Said")) == \
        (200, b"a aee, " + b"a cat" * 100, "POST glad"), (name, got.status, got.body[:40])
    wait_for(f"the log line of {name}", lambda: f"plugin {name}-bodies: bodies of 500 and 507 bytes, "
             "document whole" in weir.log_text())


def expect_waits(weir, up, name):
    got = weir.get(f"/{name}-w")
    assert (got.status, got.get("X-Said")) == (200, str(200 * 10000 + 1000 + 100 + 11)), \
        (name, got.status, got.get("X-Said"))
    wait_for(f"the line of {name}", lambda: lines_of(f"{sdk.dir}/{name}") == ["seen"])
    metric = f"matrix_{name}_waits_total".replace("-", "_")
    told = weir.get("/metrics", port=weir.status).body.decode()
    assert re.search(rf'{metric}_bucket{{who="GET",le="10(\.0)?"}} 1\b', told), \
        (name, [line for line in told.split("\n") if "matrix" in line])


def expect_quota(weir, _, name):
    first = weir.get(f"/{name}-q", headers=[("X-Who", "bob")])
    second = weir.get(f"/{name}-q", headers=[("X-Who", "bob")])
    assert (first.status, first.get("X-Quota-Left"), second.status) == (200, "0", 429), name


def test_every_header_set_on_this_weir():
    up = Upstream(answer)
    names = [name for name, _, _ in SETS]
    print("    " + ", ".join(names))
    if not any(name.startswith("r") for name in names):
        print("    no header set is released yet")
    settings = {"plugin_path": sdk.plugins}
    with Weir(configuration(up, names), settings=settings) as weir:
        for name in names:
            for expect in (expect_settings, expect_bodies, expect_waits, expect_quota):
                expect(weir, up, name)


def check(plugin, config):
    path = f"{sdk.dir}/{plugin}.yaml"
    with open(path, "w", encoding="utf-8") as f:
        f.write('_format_version: "3.0"\nplugins:\n- name: ' + plugin + f"\n  config: {config}\n")
    done = subprocess.run([WEIR, "check", path], capture_output=True, text=True, check=False,
                          env={"WEIR_PLUGIN_PATH": sdk.plugins, "PATH": "/usr/bin:/bin"})
    return done.returncode, done.stdout + done.stderr


def test_what_is_too_new_is_refused_in_one_sentence():
    row = 104 + 24
    for case, _, _, _, sentence in REFUSED:
        code, told = check("bad-" + case, "{word: plain}")
        want = f"plugin 'bad-{case}': " + sentence.format(row=row)
        assert code == 3 and want in told, f"{case}: want: {want}\nhave: {told}"
        assert told.count("plugin 'bad-") == 1, f"{case}: one message, not: {told}"


def test_positions_of_errors_in_a_newer_sdk():
    for name, _, _ in SETS:
        code, told = check(name + "-settings", "{word: abc, nested: {most: 10}}")
        assert code == 3 and "nested.most" in told, (name, told)
        code, told = check(name + "-settings", "{word: abc}")
        assert code == 3 and "plugins[0].config.word: not three bytes" in told, (name, told)


def test_a_used_tail_of_a_struct_is_refused_when_it_is_given():
    up = Upstream(answer)
    config = (f"services:\n- name: s\n  url: http://127.0.0.1:{up.port}\n  routes:\n" + route(
        "late", "late-waits", f"{{url: 'http://127.0.0.1:{up.port}/', file: {sdk.dir}/x, port: 1}}"))
    with Weir(config, settings={"plugin_path": sdk.plugins}) as weir:
        assert weir.get("/late").status == 500, "weir_fetch_start() answers NULL, the policy fails"
        assert not up.seen


# ---- contracts

def allowed(contract, phase, need):
    """Does that [...] of a contract let a hook of that phase call?"""
    if not re.search(rf"\b{phase}\b", contract):
        return False
    needs = re.findall(r"with (WEIR_BODY_\w+)", contract)
    return not (phase.endswith("_body") and needs and need not in needs)


def contracts():
    """Call -> its [...]; those of both sides apart."""
    sys.path.insert(0, ROOT + "/sdk")
    sys.dont_write_bytecode = True
    import reference  # the same reading of the headers that makes reference.md
    with open(TODAY + "/weir/calls.h", encoding="utf-8") as f:
        calls = reference.parse_calls(f.read())
    whens = {call.name: call.when for call in calls}
    request, response = whens["weir_header_remove"].split("; of the response: ")
    whens["weir_header_remove_request"] = request
    whens["weir_header_remove_response"] = re.sub(r"with \w+", "", request) + ", " + response
    for side in ("request", "response"):
        whens["weir_body_emit_" + side] = f"{side}_body with WEIR_BODY_STREAM"
    return whens, reference.PHASES


def test_phases_are_those_of_the_contracts():
    whens, phases = contracts()
    up = Upstream(answer)
    for need in ("STREAM", "BUFFER"):
        plugin = "phases-" + need.lower()
        config = (f"services:\n- name: s\n  url: http://127.0.0.1:{up.port}\n  routes:\n"
                  f"  - {{name: r, paths: [/]}}\nplugins: [{{name: {plugin}}}]\n")
        with Weir(config, settings={"plugin_path": sdk.plugins}) as weir:
            assert weir.get("/", method="POST", body=b"a cat").status == 200
            told = wait_for("the log hook", lambda: dict(re.findall(
                rf"plugin {plugin}: in (\w+):([^.]*)\.", weir.log_text())).get("log") is not None and
                dict(re.findall(rf"plugin {plugin}: in (\w+):([^.]*)\.", weir.log_text())))
        assert set(told) == set(phases), told
        made = {phase: set(calls.split()) for phase, calls in told.items()}
        tried = set().union(*made.values())
        assert len(tried) >= (16 if need == "STREAM" else 14), tried
        for phase in phases:
            for call in tried:
                want = allowed(whens[call], phase, "WEIR_BODY_" + need)
                assert (call in made[phase]) == want, \
                    f"{call} in {phase} with {need}: the contract says [{whens[call]}], " \
                    f"the host {'allows' if call in made[phase] else 'refuses'} it"


# ---- other hosts

def compile_host(name, include):
    # The gateway's own reading of descriptors, with the headers of that host.
    out = f"{sdk.dir}/{name}"
    sanitize = ["-fsanitize=address,undefined"] if is_sanitized() else []
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", *sanitize,
                    "-I" + include, "-I" + ROOT + "/core", f"{SOURCES}/host.c",
                    ROOT + "/core/plugin_host/negotiate.c", BUILD + "/libroom_base.a", "-ldl",
                    "-lcrypto", "-lm", "-o", out], check=True)
    return out


def run_host(host, plugin, scenario):
    done = subprocess.run([host, BUILT[plugin], plugin, scenario], capture_output=True, text=True,
                          check=False, timeout=60,
                          env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    return done.returncode, done.stdout + done.stderr


FIELDS = ("word 4@0\nmode 5@16\nnumber 2@32\nwindow_ms 6@40\nbytes 7@48\nshare 3@56\nstrict 1@64\n"
          "names 8@72\nlimits 8@88\n most 2@0\n word 4@8\npairs 9@104\nnested 10@120\n most 2@0\n"
          " word 4@8\n key 4@0\n level 2@16\n")


def test_other_hosts():
    """Those of today, and one whose table, rows and structs are longer: nothing beyond what the plugin was
    promised is touched, and what it leaves out is zero."""
    hosts = (("of today", compile_host("host-today", TODAY), MINOR),
             ("of the next minor", compile_host("host-next", HIDDEN), MINOR + 1))
    for what, host, minor in hosts:
        for name, _, _ in SETS:
            code, told = run_host(host, name + "-settings", "fields")
            assert (code, told) == (0, FIELDS), (what, name, code, told)
            code, told = run_host(host, name + "-waits", "waits")
            assert code == 0 and "verdict 0, said 2001111\n" in told, (what, name, code, told)
            code, told = run_host(host, name + "-quota", "quota")
            assert (code, told) == (0, "verdict 0, said 4\n"), (what, name, code, told)
        code, told = run_host(host, "bad-of-the-next", "fields")
        if minor == MINOR:
            assert (code, told) == (2, f"refused: field 'minor': have {MINOR + 1}, want at most {MINOR}\n"), \
                (what, code, told)
        else:
            assert (code, told) == (0, FIELDS), (what, code, told)


# ---- headers and locks

def grown(old, new, *includes):
    done = subprocess.run([ABI + "/grown.py", old, new, *includes], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stderr


def changed_copy(path, change, out):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert change[0] in text, change
    with open(out, "w", encoding="utf-8") as f:
        f.write(text.replace(change[0], change[1], 1))
    return out


def test_what_grew_and_what_broke():
    """sdk/abi/grown.py lets pass what the rules allow, and names what they do not."""
    lock, next_lock = ABI + "/v1.lock", sdk.dir + "/next.lock"
    with open(next_lock, "w", encoding="utf-8") as f:
        subprocess.run([ABI + "/layout.sh", VISIBLE], check=True, stdout=f)
    assert grown(lock, lock, TODAY, TODAY) == (0, "")
    assert grown(lock, next_lock, TODAY, VISIBLE) == (0, "")
    rows = (  # what is changed in the newer lock, what is said
        (("weir_field.offset 12 4", "weir_field.offset 12 8"), "weir_field.offset was [12, 4], is [12, 8]"),
        (("WEIR_GONE 7", "WEIR_GONE 8"), "WEIR_GONE was [7], is [8]"),
        (("WEIR_FILE_ERROR 4\n", ""), "WEIR_FILE_ERROR is gone"),
        (("weir_plugin 216", "weir_plugin 176"), "weir_plugin shrank from 184 to 176"),
        (("weir_str 16", "weir_str 24"), "weir_str was [16], is [24]"),
        (("weir_peer.port 40 2", "weir_peer.second 42 2\nweir_peer.port 40 2"),
         "weir_peer.second is at 42, inside the 48 bytes of the old weir_peer"))
    for change, fault in rows:
        code, told = grown(lock, changed_copy(next_lock, change, sdk.dir + "/bad.lock"))
        assert code == 1 and told == f"abi: {fault}\n", (change, told)
    # A slot whose place and size stay, and that means something else.
    os.makedirs(sdk.dir + "/changed/weir")
    for name in ("weir", "calls", "host"):
        change = {"host": ("(*wake)(const weir_host *host, weir_token token)",
                           "(*wake)(weir_token token, const weir_host *host)")}.get(name, ("", ""))
        changed_copy(f"{TODAY}/weir/{name}.h", change, f"{sdk.dir}/changed/weir/{name}.h")
    code, told = grown(lock, lock, TODAY, sdk.dir + "/changed")
    assert code == 1 and "weir_host: was 'weir_status (*wake)(const weir_host *host" in told, told


def test_a_deprecated_call_warns():
    source = sdk.dir + "/deprecated.c"
    with open(source, "w", encoding="utf-8") as f:
        f.write("#include <weir/weir.h>\nvoid roll(void *out);\n"
                "void roll(void *out)\n{\n    weir_random(out, 8);\n}\n")
    for include, warns in ((TODAY, False), (HIDDEN, True)):
        done = subprocess.run(["gcc", "-Wall", "-I" + include, "-c", source, "-o", source + ".o"],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        sentence = f"since weir ABI 1.{MINOR + 1}: ask getrandom()"
        assert (sentence in done.stderr) == warns, (include, done.stderr)


run_tests(globals())
