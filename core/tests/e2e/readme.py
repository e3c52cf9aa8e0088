#!/usr/bin/env python3
"""The README's word: each command of its console blocks is run as it stands against the gateway that
./dev run would start, and each line printed below it must come, in that order, with "…" for anything.
Ports and files in /tmp are replaced by private ones, nothing else. Links must lead to files."""
import os
import re
import shutil
import subprocess
import tempfile
import time

from lib_weir import WEIR, PATIENCE, free_port, wait_for

SOURCE = os.environ["WEIR_SOURCE_DIR"]


def read(path):
    with open(f"{SOURCE}/{path}", encoding="utf-8") as f:
        return f.read()


def console_blocks(text):
    """[(command, [expected line…])…] over all blocks, in order."""
    steps = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                assert steps, f"a block begins with no command: {line}"
                steps[-1][1].append(line)
    return steps


def matches(wanted, line):
    pattern = ".*".join(re.escape(part) for part in wanted.split("…"))
    # Names of headers have no case, and weir writes those of policies as it interned them.
    return re.match(pattern + r"\s*$", line, re.I) is not None


def first_difference(wanted, output):
    """The first of the wanted lines that does not come in its place; None: all do."""
    lines, at, gap = output.replace("\r", "").split("\n"), 0, False
    for want in wanted:
        if want == "…":
            gap = True
            continue
        # Lines between those that are shown must be marked as left out.
        end = len(lines) if gap or at == 0 else at + 1
        found = next((i for i in range(at, end) if matches(want, lines[i])), None)
        if found is None:
            return want
        at, gap = found + 1, False
    return None


class Tour:
    """A folder that looks like the repository after ./dev build, with conf/ to be changed in it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="weir-readme-")
        ports = {name: free_port() for name in ("8000", "8100", "9001")}
        self.replaced = {f"127.0.0.1:{old}": f"127.0.0.1:{new}" for old, new in ports.items()}
        self.replaced.update({"/tmp/weir-access.log": self.dir + "/access.log",
                              "/tmp/plugins": self.dir + "/plugins"})
        shutil.copytree(SOURCE + "/conf", self.dir + "/conf")
        os.symlink(SOURCE + "/sdk", self.dir + "/sdk")
        os.makedirs(self.dir + "/build/release/bin")
        os.symlink(WEIR, self.dir + "/build/release/bin/weir")
        with open(self.dir + "/conf/weir.yaml", encoding="utf-8") as f:
            text = f.read()
        with open(self.dir + "/conf/weir.yaml", "w", encoding="utf-8") as f:
            f.write(self.private(text))
        # The test's own variables are no settings, weir would warn of each.
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("WEIR")}
        self.env["WEIR_PREFIX"] = self.dir + "/prefix"
        self.code, self.running = 0, []
        self.start("echo", "--listen", f"127.0.0.1:{ports['9001']}")
        # As ./dev run starts it; two workers wherever this runs.
        self.start("run", "-c", "conf/weir.yaml", "--workers", "2",
                   "--proxy-listen", f"127.0.0.1:{ports['8000']}",
                   "--status-listen", f"127.0.0.1:{ports['8100']}", "--admin-listen", "off")
        wait_for("weir is ready", self.is_ready)

    def private(self, text):
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def start(self, *args):
        with open(f"{self.dir}/{args[0]}.log", "wb") as log:
            self.running.append(subprocess.Popen(["build/release/bin/weir", *args], cwd=self.dir,
                                                 env=self.env, stdout=log, stderr=log))

    def is_ready(self):
        assert all(process.poll() is None for process in self.running), self.logs()
        return subprocess.run(["build/release/bin/weir", "health"], cwd=self.dir, env=self.env,
                              capture_output=True, check=False).returncode == 0

    def logs(self):
        text = ""
        for name in ("echo", "run"):
            with open(f"{self.dir}/{name}.log", encoding="utf-8", errors="replace") as f:
                text += f"--- {name}\n{f.read()[-3000:]}"
        return text

    def type(self, command):
        """What it prints; like in a terminal, the next one may ask for its exit code."""
        line = f"(exit {self.code}); {self.private(command)}"
        done = subprocess.run(["bash", "-c", line], cwd=self.dir, env=self.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              stdin=subprocess.DEVNULL, timeout=3 * PATIENCE)
        self.code = done.returncode
        return done.stdout

    def stop(self):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            process.wait(3 * PATIENCE)
        shutil.rmtree(self.dir)


def check_tour():
    steps = console_blocks(read("README.md"))
    assert len(steps) >= 15, "the README's tour is gone"
    tour = Tour()
    try:
        for number, (command, wanted) in enumerate(steps):
            # Ten requests a minute: not over the end of one, from the first that is counted on.
            if number == 0:
                wait_for("a minute has begun", lambda: time.time() % 60 < 30, 60)
            output = tour.type(command)
            missing = first_difference([tour.private(line) for line in wanted], output)
            if missing is not None:
                raise AssertionError(f"$ {command}\n--- says\n{output}--- lacks, in its place\n"
                                     f"{missing}\n{tour.logs()}")
            print(f"ok   $ {command}", flush=True)
    finally:
        tour.stop()


def first_block(text, language):
    return re.search(rf"^```{language}\n(.*?)^```$", text, re.M | re.S).group(1)


def check_sdk():
    """An install prefix is enough to build the example, in both ways that sdk/README.md shows."""
    text, build = read("sdk/README.md"), os.environ["WEIR_BUILD_DIR"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("WEIR")}
    with tempfile.TemporaryDirectory(prefix="weir-readme-") as work:
        def run(*command):
            done = subprocess.run(command, cwd=work, env=env, text=True, check=False, timeout=100,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert done.returncode == 0, (command, done.stdout)
            return done.stdout

        run("cmake", "--install", build, "--prefix", f"{work}/prefix")
        assert os.path.getsize(f"{work}/prefix/share/man/man1/weir.1") > 1000, "no manual page"
        # Installed, it finds its plugins in ../lib/weir/plugins.
        run("prefix/bin/weir", "check", "prefix/share/weir/weir.yaml")
        shutil.copy(f"{SOURCE}/sdk/examples/tenant-quota/tenant-quota.c", work)
        env["PKG_CONFIG_PATH"] = f"{work}/prefix/lib/pkgconfig"
        run("bash", "-e", "-c", first_block(text, "sh"))
        assert "abi: 1." in run("prefix/bin/weir", "plugin", "inspect", "tenant-quota.so")
        with open(work + "/CMakeLists.txt", "w", encoding="utf-8") as f:
            f.write(first_block(text, "cmake"))
        run("cmake", "-S", ".", "-B", "out", f"-DCMAKE_PREFIX_PATH={work}/prefix")
        run("cmake", "--build", "out")
        assert "abi: 1." in run("prefix/bin/weir", "plugin", "inspect", "out/tenant-quota.so")
        shutil.copy(work + "/out/tenant-quota.so",
                    run("pkg-config", "--variable=plugindir", "weir-plugin").strip())
        assert "tenant-quota" in run("prefix/bin/weir", "plugin", "list")


def check_links():
    pages = ["README.md", "CHANGELOG.md", "sdk/README.md", "sdk/testkit/README.md"]
    pages += [f"plugins/{name}/README.md" for name in sorted(os.listdir(SOURCE + "/plugins"))]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(page)):
            path = os.path.join(SOURCE, os.path.dirname(page), target)
            assert os.path.exists(path), f"{page}: a link leads nowhere: {target}"


def check_tables():
    """Every plugin and every folder is named, and none that is not there."""
    text = read("README.md")
    linked = re.findall(r"^\| \[([a-z-]+)\]\(plugins/", text, re.M)
    built = sorted(name for name in os.listdir(SOURCE + "/plugins")
                   if os.path.exists(f"{SOURCE}/plugins/{name}/CMakeLists.txt"))
    assert sorted(linked) == built, (linked, built)
    folders = re.findall(r"^\| `([a-z_-]+(?:/[a-z_]+)?)/[A-Z]*/?` \|", text, re.M)
    for folder in folders:
        assert os.path.isdir(f"{SOURCE}/{folder}"), f"no such folder: {folder}"
    rooms = {f"core/{name}" for name in os.listdir(SOURCE + "/core")
             if os.path.isdir(f"{SOURCE}/core/{name}")}
    missing = rooms - set(folders) - {"core/tests"}
    assert not missing, f"the README does not name {missing}"


def check_the_checker():
    """It can fail: a line that does not come, that comes too late, that is not marked as left out."""
    output = "one\ntwo\nthree 3\n"
    for wanted, good in [(["one", "two"], True), (["one", "…", "three …"], True), (["two"], True),
                         (["one", "three 3"], False), (["two", "…", "one"], False),
                         (["thre"], False), (["four"], False)]:
        assert (first_difference(wanted, output) is None) == good, wanted


if __name__ == "__main__":
    check_the_checker()
    check_links()
    check_tables()
    check_sdk()
    check_tour()
