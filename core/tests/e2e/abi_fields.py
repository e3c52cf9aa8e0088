#!/usr/bin/env python3
"""A plugin's configuration that is wrong: the right line and column, and never a secret."""
import os
import subprocess

from lib_abi import Sdk
from lib_weir import WEIR, Upstream, Weir, run_tests, service

sdk = Sdk()
sdk.compile("fields")
HEAD = "_format_version: \"3.0\"\nplugins:\n- name: fields\n  config:\n"  # 4 lines

# what is wrong, the lines below config:, then places and words of the errors
BAD = (
    ("a word for a boolean", "    flag: maybe\n    count: 1\n", ["5:11: config.flag"]),
    ("text for an integer", "    count: many\n", ["5:12: config.count"]),
    ("a fraction for an integer", "    count: 1.5\n", ["5:12: config.count"]),
    ("below the bound", "    count: 0\n", ["5:12: config.count: value should be between 1 and 100"]),
    ("above the bound", "    count: 101\n", ["5:12: config.count"]),
    ("more than 64 bits", "    count: 99999999999999999999\n", ["5:12: config.count"]),
    ("a required field that is absent", "    flag: true\n", ["5:5: config.count: required field"]),
    ("no duration", "    count: 1\n    wait: 5 parsecs\n", ["6:11: config.wait"]),
    ("no size", "    count: 1\n    room: big\n", ["6:11: config.room"]),
    ("a number under its bound", "    count: 1\n    share: 0.2\n", ["6:12: config.share"]),
    ("not a number", "    count: 1\n    share: .nan\n", ["6:12: config.share"]),
    ("a list for a text", "    count: 1\n    text: [a]\n", ["6:11: config.text"]),
    ("none of the choices", "    count: 1\n    mode: medium\n", ["6:11: config.mode", "slow, fast"]),
    ("no header name", "    count: 1\n    header: \"a b\"\n", ["6:13: config.header"]),
    ("no path", "    count: 1\n    path: orders\n", ["6:11: config.path"]),
    ("a text for a list", "    count: 1\n    numbers: {a: 1}\n", ["6:14: config.numbers"]),
    ("an element out of bounds", "    count: 1\n    numbers: [1, 10, 2, 0]\n",
     ["6:18: config.numbers[1]", "6:25: config.numbers[3]"]),
    ("an element of another type", "    count: 1\n    numbers:\n    - 1\n    - two\n",
     ["8:7: config.numbers[1]"]),
    ("a record in a list lacks a field", "    count: 1\n    items:\n    - name: a\n    - weight: 3\n",
     ["8:7: config.items[1].name: required field"]),
    ("a record in a list is out of bounds",
     "    count: 1\n    items:\n    - name: a\n      weight: 11\n", ["8:15: config.items[0].weight"]),
    ("an unknown field in a record of a list",
     "    count: 1\n    items:\n    - name: a\n      wieght: 1\n",
     ["8:7: config.items[0].wieght: unknown field", "weight"]),
    ("a map's value that is no text", "    count: 1\n    labels:\n      a: [b]\n",
     ["7:10: config.labels.a"]),
    ("a field of a record", "    count: 1\n    server:\n      port: 70000\n      host: h\n",
     ["7:13: config.server.port"]),
    ("a record without what it needs", "    count: 1\n    server: {port: 1}\n",
     ["6:13: config.server.host: required field"]),
    ("an unknown field", "    count: 1\n    tetx: a\n", ["6:5: config.tetx: unknown field", "text"]),
    ("a key twice", "    count: 1\n    count: 2\n", ["6:5: ", "count"]),
    ("a key twice in a record", "    count: 1\n    server:\n      host: a\n      host: b\n",
     ["8:7: ", "host"]),
    ("a cross-check of the plugin", "    count: 1\n    text: banned\n",
     ["6:11: config.text: 'banned' is not for everybody"]),
    ("a cross-check inside a record", "    count: 1\n    server:\n      host: h\n      port: 1\n",
     ["8:13: config.server.port: nobody listens there"]),
    ("two errors at once", "    count: 0\n    wait: soon\n    mode: x\n",
     ["5:12: config.count", "6:11: config.wait", "7:11: config.mode"]),
    ("a tab as indentation", "    count: 1\n\ttext: a\n", ["6:1: "]),
    ("an unknown anchor", "    count: *nobody\n", ["5:12: "]),
)


def write(text, name="fields.yaml"):
    path = f"{sdk.dir}/{name}"
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    return path


def check(text, env=None):
    done = subprocess.run(
        [WEIR, "check", write(text)], capture_output=True, text=True, check=False,
        env={"WEIR_PLUGIN_PATH": sdk.plugins, "PATH": os.environ["PATH"], **(env or {})})
    return done.returncode, done.stdout + done.stderr


def expect(name, text, places):
    code, told = check(text)
    assert code == 3, (name, code, told)
    errors = [line.split("fields.yaml:", 1)[1] for line in told.splitlines()
              if "fields.yaml:" in line]
    want = [place.replace(": config", ": plugins[0].config") for place in places]
    for place in (w for w in want if w[0].isdigit()):
        assert any(line.startswith(place) for line in errors), f"{name}: no '{place}' in {told}"
    for word in want:
        assert word in told, f"{name}: no '{word}' in {told}"
    assert len(errors) == sum(w[0].isdigit() for w in want), f"{name}: {told}"


def test_every_fault_has_its_place():
    wrong = []
    for name, config, places in BAD:
        for newline in ("\n", "\r\n"):
            try:
                expect(name + (" (CRLF)" if newline != "\n" else ""),
                       (HEAD + config).replace("\n", newline), places)
            except AssertionError as error:
                wrong.append(str(error))
                break
    assert not wrong, "\n".join(wrong)


def test_an_element_twice_is_a_warning_with_its_place():
    code, told = check(HEAD + "    count: 1\n    words: [a, b, a]\n")
    assert code == 0 and "fields.yaml:6:19: warning: plugins[0].config.words[2]" in told, told


def test_an_anchor_is_wrong_where_it_is_written_or_used():
    text = (HEAD + "    count: 1\n    server: &shared\n      host: h\n      port: 0\n"
            "- name: fields\n  config:\n    count: 2\n    server: *shared\n")
    code, told = check(text)
    assert code == 3 and "fields.yaml:8:13: " in told and "server.port" in told, told


def test_all_types_that_are_right():
    code, told = check(HEAD + """    flag: true
    count: 100
    wait: 500ms
    room: 64k
    share: 0.25
    text: "a # b"
    mode: fast
    secret: s
    header: X-A
    path: /a
    words: [a, b]
    numbers: [1, 9]
    items:
    - name: a
    - {name: b, weight: 0}
    labels: {a: b, "c d": ""}
    server:
      host: h
""")
    assert code == 0 and "policies 1" in told, told


SECRET = "Tr0ub4dor-and-3"
SECRETS = (  # wherever a secret stands, what is said of it or of its neighbours leaves it out
    f"    count: 1\n    secret: [{SECRET}]\n",
    f"    count: 1\n    secret: {{a: {SECRET}}}\n",
    f"    count: 0\n    secret: {SECRET}\n",
    f"    count: 1\n    secret: {SECRET}\n    secret: {SECRET}\n",
    f"    {{count: 0, secret: {SECRET}}}\n",
    f"    count: 1\n    server: {{port: 0, host: h, password: {SECRET}}}\n",
    f"    count: 1\n    server: {{host: h, password: [{SECRET}]}}\n",
    f"    count: 1\n    secret: {SECRET}\n    tetx: 1\n",
    f"    count: 1\n    secret: \"{SECRET}\n",
)


def test_secrets_are_never_printed():
    for config in SECRETS:
        code, told = check(HEAD + config)
        assert code == 3 and SECRET not in told, (config, told)
    for reference in ("${SECRET_OF_TEST}", "{vault://env/SECRET_OF_TEST}"):
        code, told = check(HEAD + f"    count: 0\n    secret: '{reference}'\n",
                           {"SECRET_OF_TEST": SECRET})
        assert code == 3 and SECRET not in told, told
        code, told = check(HEAD + f"    count: '{reference}'\n", {"SECRET_OF_TEST": SECRET})
        assert code == 3 and SECRET not in told, told


def test_secrets_of_a_running_weir():
    up = Upstream()
    policy = (f"  plugins:\n  - name: fields\n    config:\n      count: {{}}\n      text: seen\n"
              f"      secret: {SECRET}\n      server: {{{{host: h, password: {SECRET}}}}}\n")
    with Weir(service(up.port, policy.format(1)),
              settings={"plugin_path": sdk.plugins, "log_level": "debug"}) as weir:
        assert weir.get("/").status == 200
        said = [weir.reload(service(up.port, policy.format(0)))]
        assert said[0].returncode != 0 and "config.count" in said[0].stdout + said[0].stderr
        told = [run.stdout + run.stderr for run in said]
        for port, paths in ((weir.status, ("/status", "/metrics", "/status/ready")),
                            (weir.admin, ("/", "/status", "/config", "/plugins", "/services",
                                          "/routes", "/schemas/plugins/fields"))):
            for path in paths:
                answer = weir.get(path, port=port)
                told.append(str(answer.headers) + answer.body.decode("latin-1"))
        wait_text = weir.log_text()
        assert "the text is 'seen'" in wait_text, wait_text
        told.append(wait_text)
        assert all(SECRET not in text for text in told), [t for t in told if SECRET in t]


run_tests(globals())
