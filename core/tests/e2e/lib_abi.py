"""Plugins compiled while a test runs, as a stranger would: against an installed SDK alone."""
import atexit
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ.get("WEIR_BUILD_DIR", "")
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "abi")


def is_sanitized():
    """A build with sanitizers never unloads an image."""
    with open(BUILD + "/CMakeCache.txt", encoding="utf-8") as cache:
        return any(line.startswith("WEIR_SANITIZE:") and line.strip().split("=", 1)[1]
                   for line in cache)


class Sdk:
    """An install prefix and a folder of plugins built from it; both go with the process."""

    def __init__(self):
        for tool in ("gcc", "cmake", "pkg-config"):
            if shutil.which(tool) is None:
                print(f"skipped: there is no {tool}")
                sys.exit(0)
        self.dir = tempfile.mkdtemp(prefix="weir-abi-")
        atexit.register(shutil.rmtree, self.dir)
        self.prefix, self.plugins = self.dir + "/prefix", self.dir + "/plugins"
        os.mkdir(self.plugins)
        subprocess.run(["cmake", "--install", BUILD, "--prefix", self.prefix], check=True,
                       stdout=subprocess.DEVNULL)
        env = dict(os.environ, PKG_CONFIG_PATH=self.prefix + "/lib/pkgconfig")
        self.flags = shlex.split(subprocess.run(
            ["pkg-config", "--cflags", "weir-plugin"], env=env, check=True, capture_output=True,
            text=True).stdout)
        assert self.prefix in os.path.realpath(self.flags[0][2:]), self.flags

    def compile(self, source, name=None, flags=(), folder=None):
        """abi/SOURCE.c as FOLDER/NAME.so; its PLUGIN_NAME is NAME."""
        name = name or source
        out = f"{folder or self.plugins}/{name}.so"
        subprocess.run(
            ["gcc", "-std=gnu11", "-O1", "-g", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
             "-fvisibility=hidden", "-Wl,-z,defs", "-Wl,-z,now", *self.flags,
             f'-DPLUGIN_NAME="{name}"', f"{SOURCES}/{source}.c", *flags, "-o", out], check=True)
        return out

    def folder(self, name):
        path = f"{self.dir}/{name}"
        os.makedirs(path, exist_ok=True)
        return path


def lines_of(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read().splitlines()
    except OSError:
        return []
