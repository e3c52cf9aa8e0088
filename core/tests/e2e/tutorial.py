#!/usr/bin/env python3
"""sdk/tutorial.md as a new user would follow it: its commands as they stand, in an empty folder, with nothing
of weir but an installed prefix. What it shows must be what comes out."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from lib_weir import free_port, run_tests

SOURCE, BUILD = os.environ["WEIR_SOURCE_DIR"], os.environ["WEIR_BUILD_DIR"]
LIMIT = 120  # seconds that it may take
for tool in ("cmake", "gcc", "curl"):
    if shutil.which(tool) is None:
        print(f"skipped: there is no {tool}")
        sys.exit(0)
if subprocess.run(["gcc", "-E", "-include", "criterion/criterion.h", "-x", "c", "/dev/null"],
                  capture_output=True, check=False).returncode != 0:
    print("skipped: there is no Criterion (libcriterion-dev)")
    sys.exit(0)

WORK = tempfile.mkdtemp(prefix="weir-tutorial-")
PREFIX = WORK + "/prefix"


def set_up():
    subprocess.run(["cmake", "--install", BUILD, "--prefix", PREFIX], check=True, stdout=subprocess.DEVNULL)
    # The new user's: no word of weir's tree, but ports of its own.
    keep = {k: v for k, v in os.environ.items() if k in ("LANG", "UBSAN_OPTIONS", "LSAN_OPTIONS", "CCACHE_DIR")}
    return dict(keep, PATH=f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin", HOME=WORK, TMPDIR=WORK,
                WEIR_PREFIX=WORK + "/run", WEIR_PROXY_LISTEN=f"127.0.0.1:{free_port()}",
                WEIR_STATUS_LISTEN=f"127.0.0.1:{free_port()}", WEIR_ADMIN_LISTEN="off", WEIR_WORKERS="2",
                ECHO_PORT=str(free_port()))


ENVIRONMENT = set_up()


def blocks(path):
    """(commands, what is shown below them) for each sh block."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    return [(match.group(1), (match.group(2) or "").splitlines()) for match in
            re.finditer(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", text, re.M | re.S)]


def run(script, name):
    """All of it in one shell; what it starts in the background ends with it."""
    folder = f"{WORK}/{name}"
    os.mkdir(folder)
    with open(folder + ".sh", "w", encoding="utf-8") as f:
        f.write("set -euo pipefail\n" + script)
    with open(folder + ".out", "w+", encoding="utf-8") as out:
        shell = subprocess.Popen(["bash", folder + ".sh"], cwd=folder, env=ENVIRONMENT, stdout=out,
                                 stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            code = shell.wait(300)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            try:
                os.killpg(shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            shell.wait()
        out.seek(0)
        told = out.read()
    logs = [os.path.join(at, file) for at, _, files in os.walk(folder) for file in files if file in ("weir.log", "echo.log")]
    if code != 0:
        for log in logs:
            with open(log, encoding="utf-8", errors="replace") as f:
                told += f"---- {log}\n" + f.read()[-2000:]
    assert code == 0, f"{name}: exit code {code}\n{told}"
    return told


def is_shown(line, told):
    """A line of the page, with … for what differs."""
    pattern = ".*".join(re.escape(part) for part in line.strip().split("…"))
    return re.search(r"^.*" + pattern, told, re.M) is not None


def test_the_tutorial_as_written():
    parts = blocks(SOURCE + "/sdk/tutorial.md")
    assert len(parts) > 8 and any("swap" in commands for commands, _ in parts), "its commands are not found"
    mark = "==== block {} ended ====\n"
    script = "".join(commands + f"echo '{mark.format(i).strip()}'\n" for i, (commands, _) in enumerate(parts))
    began = time.monotonic()
    told = run(script, "tutorial")
    took = time.monotonic() - began
    for i, (commands, shown) in enumerate(parts):
        out, told = told.split(mark.format(i), 1)
        for line in shown:
            assert is_shown(line, out), f"after\n{commands}\nthe page shows\n{line}\nand not\n{out}"
    print(f"     the tutorial's commands took {took:.1f} s")
    assert took < LIMIT, f"it takes {took:.0f} s"


def test_the_same_in_cxx():
    if shutil.which("g++") is None:
        print("     skipped: there is no g++")
        return
    told = run("weir plugin new other.visits --lang c++\ncd other.visits\nweir plugin build\nweir plugin test\n"
               "weir plugin lint --strict\nweir check weir.yaml\n", "cxx")
    assert "100% tests passed" in told and "build/other.visits.so: 0 errors, 0 warnings" in told, told
    assert "warning:" not in told, told


def test_new_is_careful():
    rows = [  # words, exit code, what is said
        ("1st", 2, "field 'NAME': have '1st', want a letter"), ("../out", 2, "field 'NAME'"),
        ("test", 2, "a target of CMake"), ("jwt", 2, "a policy of weir's own"), ("x --lang rust", 2, "field '--lang': have 'rust'"),
        ("a b", 2, "what is 'b'?"), ("", 2, "which name?"), ("jwt --force", 0, "cd jwt && weir plugin build"),
        ("jwt --force", 1, "nothing is written over it"),
    ]
    folder = WORK + "/careful"
    os.mkdir(folder)
    for words, code, said in rows:
        done = subprocess.run([PREFIX + "/bin/weir", "plugin", "new", *words.split()], cwd=folder, env=ENVIRONMENT,
                              capture_output=True, text=True, check=False)
        assert done.returncode == code and said in done.stdout + done.stderr, (words, done)
    assert os.listdir(folder) == ["jwt"], os.listdir(folder)
    done = subprocess.run([PREFIX + "/bin/weir", "plugin", "build"], cwd=folder, env=ENVIRONMENT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "weir plugin new NAME makes a project" in done.stderr, done
    with open(folder + "/jwt/jwt.c", "a", encoding="utf-8") as f:
        f.write("int not_c\n")
    done = subprocess.run([PREFIX + "/bin/weir", "plugin", "test"], cwd=folder + "/jwt", env=ENVIRONMENT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "jwt.c:" in done.stderr and "error:" in done.stderr, done


try:
    run_tests(globals())
finally:
    shutil.rmtree(WORK, ignore_errors=True)
