"""Builds of one policy, a gateway that runs it, and load that counts what came of each request."""
import re
import threading
import time

from lib_abi import Sdk
from lib_weir import Upstream, Weir

sdk = Sdk()
BUILDS = {}


def build(name, *flags):
    """builds/NAME/policy.so, compiled once."""
    if name not in BUILDS:
        BUILDS[name] = sdk.compile("build", "policy", [f'-DVERSION="{name}"', *flags],
                                   folder=sdk.folder("builds/" + name))
    return BUILDS[name]


def start(workers=2, settings=None, policy="  on_error: closed\n", first="1.0.0"):
    plugins = sdk.folder(f"path-{time.monotonic_ns()}")
    with open(build(first), "rb") as source, open(plugins + "/policy.so", "wb") as target:
        target.write(source.read())
    config = (f"services:\n- name: s\n  url: http://127.0.0.1:{upstream.port}\n  routes:\n"
              f"  - {{name: r, paths: [/]}}\n  - {{name: free, paths: [/free]}}\n"
              f"plugins:\n- name: policy\n  route: r\n{policy}")
    weir = Weir(config, workers=workers, settings={"plugin_path": plugins, "swap_watch": "0",
                                                   **(settings or {})})
    weir.plugins = plugins
    return weir


upstream = Upstream()


class Load:
    """Requests without pause from some clients, each on a connection of its own that it opens anew when it
    was closed, or has carried `each` requests (so that all workers get some). `answers` counts (status,
    build); a request that got no answer is one of status 0."""

    def __init__(self, weir, clients=4, path="/", pause=0.0, each=1 << 30):
        self.weir, self.path, self.pause, self.answers, self.on = weir, path, pause, {}, True
        self.each, self.lock = each, threading.Lock()
        self.threads = [threading.Thread(target=self.ask) for _ in range(clients)]

    def ask(self):
        conn, asked = None, 0
        while self.on:
            key = (0, None)
            try:
                conn = conn or self.weir.connect()
                asked += 1
                conn.send_request("GET", self.path)
                got = conn.read_response()
                if got is not None:
                    key = (got.status, got.get("x-build"))
                if got is None or got.get("connection") == "close" or asked % self.each == 0:
                    conn.sock.close()
                    conn = None
            except OSError:
                conn = None
            with self.lock:
                self.answers[key] = self.answers.get(key, 0) + 1
            time.sleep(self.pause)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.on = False
        for thread in self.threads:
            thread.join()

    def count(self, status=None, version=None):
        with self.lock:
            return sum(n for (s, v), n in self.answers.items()
                       if (status is None or s == status) and (version is None or v == version))

    def bad(self):
        with self.lock:
            return {key: n for key, n in self.answers.items() if key[0] != 200}


def swap(weir, name, *words):
    return weir.run("plugin", "swap", "policy", *([build(name)] if name else []), *words)


def builds_of_workers(weir, times=40):
    return {weir.get("/").get("x-build") for _ in range(times)}


def mapped_images(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        return {m.group(0) for m in re.finditer(r"policy\.\w{64}\.so", f.read())}


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
