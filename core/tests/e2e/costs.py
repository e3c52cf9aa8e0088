#!/usr/bin/env python3
"""What one keep-alive exchange costs a worker: system calls (strace) and heap allocations (a counting
allocator put in front of the C library's)."""
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from lib_weir import Upstream, Weir, read_request, reply, run_tests, service, wait_for

REQUESTS = 10000
CHAIN = """consumers:
- username: ann
  keyauth_credentials: [{key: k}]
plugins:
- {name: key-auth}
- {name: rate-limiting, config: {hour: 100000000, policy: local}}
- {name: correlation-id, config: {echo_downstream: true}}
- {name: prometheus, config: {status_code_metrics: true, latency_metrics: true}}
"""


def sanitized():
    cache = os.environ.get("WEIR_BUILD_DIR", "") + "/CMakeCache.txt"
    try:
        with open(cache, encoding="utf-8") as f:
            return bool(re.search(r"^WEIR_SANITIZE:\w+=\S", f.read(), re.M))
    except OSError:
        return False


def fast(conn, upstream):
    """Answers from one buffer, so that 10,000 requests take seconds."""
    answer = reply(body=b"x" * 100)
    data = conn.data
    while conn.more():
        while b"\r\n\r\n" in data:
            del data[:data.index(b"\r\n\r\n") + 4]
            conn.send(answer)


REQUEST = b"GET /n HTTP/1.1\r\nHost: gw.test\r\napikey: k\r\nAccept: */*\r\n\r\n"


def ask(conn, count):
    for _ in range(count):
        conn.sock.sendall(REQUEST)
        while not conn.data.endswith(b"x" * 100):
            assert conn.more(), "the connection ended"
        assert conn.data.startswith(b"HTTP/1.1 200"), bytes(conn.data[:100])
        conn.data.clear()


def test_system_calls_of_an_exchange():
    if sanitized() or shutil.which("strace") is None:
        print("skipped: needs strace and a build without sanitizers")
        return
    up = Upstream(fast)
    endless = {"keepalive_requests": 0, "upstream_keepalive_max_requests": 0}
    with Weir(service(up.port), settings=endless) as weir, weir.connect() as conn:
        ask(conn, 200)
        worker = weir.workers()[0]
        out = weir.dir + "/strace"
        tracer = subprocess.Popen(["strace", "-c", "-f", "-o", out, "-p", str(worker)],
                                  stderr=subprocess.PIPE)
        line = tracer.stderr.readline().decode()
        if "attached" not in line:
            print("skipped: strace may not attach here: " + line.strip())
            tracer.wait()
            return
        ask(conn, REQUESTS)
        tracer.send_signal(2)
        tracer.wait(20)
        calls = {}
        with open(out, encoding="utf-8") as f:
            for row in f:
                fields = row.split()
                if len(fields) >= 5 and fields[0].replace(".", "").isdigit():
                    calls[fields[-1]] = int(fields[3])
        calls.pop("total", None)
        print("per 10,000 exchanges:", calls)
        reads = sum(calls.get(n, 0) for n in ("read", "recvfrom", "recvmsg"))
        writes = sum(calls.get(n, 0) for n in ("write", "sendto", "sendmsg", "writev"))
        waits = sum(calls.get(n, 0) for n in ("epoll_wait", "epoll_pwait"))
        slack = REQUESTS // 100
        assert reads <= 2 * REQUESTS + slack, calls
        assert writes <= 2 * REQUESTS + slack, calls
        assert waits <= 2 * REQUESTS + slack, calls
        others = sum(calls.values()) - reads - writes - waits
        assert others <= slack, calls
        assert calls.get("epoll_ctl", 0) <= 20, calls


COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
static uint64_t *count;
void *__libc_malloc(size_t); void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t); void *__libc_memalign(size_t, size_t);
__attribute__((constructor)) static void open_count(void)
{
    const char *path = getenv("ALLOCATION_COUNT");
    int fd = path ? open(path, O_RDWR) : -1;
    void *at = fd < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) count = at;
}
static void one(void) { if (count) __atomic_add_fetch(count, 1, __ATOMIC_RELAXED); }
void *malloc(size_t n) { one(); return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { one(); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { one(); return __libc_realloc(p, n); }
int posix_memalign(void **p, size_t a, size_t n) { one(); *p = __libc_memalign(a, n); return *p ? 0 : 12; }
void *aligned_alloc(size_t a, size_t n) { one(); return __libc_memalign(a, n); }
"""


def count_allocations(config, requests):
    with tempfile.TemporaryDirectory() as directory:
        source, library, count = (directory + n for n in ("/c.c", "/c.so", "/count"))
        with open(source, "w", encoding="utf-8") as f:
            f.write(COUNTER)
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", source, "-o", library], check=True)
        with open(count, "wb") as f:
            f.write(b"\0" * 8)
        env = dict(os.environ, LD_PRELOAD=library, ALLOCATION_COUNT=count)
        with open(count, "r+b") as f, mmap.mmap(f.fileno(), 8) as memory:
            def now():
                return struct.unpack("Q", memory[:8])[0]
            with Weir(config, env=env) as weir, weir.connect() as conn:
                assert now() > 0, "the counter does not count"
                ask(conn, 500)
                time.sleep(0.1)
                before = now()
                ask(conn, requests)
                return now() - before


def test_no_allocation_in_an_exchange():
    if sanitized():
        print("skipped: a sanitizer has the allocator for itself")
        return
    up = Upstream(fast)
    made = count_allocations(service(up.port), 2000)
    print(f"plain: {made} allocations in 2000 exchanges")
    assert made == 0, made
    made = count_allocations(service(up.port) + CHAIN, 2000)
    print(f"four policies: {made} allocations in 2000 exchanges")
    assert made == 0, made


run_tests(globals())
