#!/usr/bin/env python3
"""What a scrape of 100,000 series costs the traffic beside it: one worker, requests at a steady pace over
one keep-alive connection, in rounds without scrapes and with one every half second. Shown are latencies
of the requests and how far the scrapes move them; the exit code is 1 when p99 moves by more than 1 ms.
On a machine that does other work too: chrt --rr 1 scrape.py.
  scrape.py [--routes N] [--rounds N] [--seconds N] [--rate N]"""
import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WEIR = os.environ.get("WEIR_BINARY", ROOT + "/build/release/bin/weir")
LIMIT_MS = 1.0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def connect(port):
    for _ in range(400):
        try:
            sock = socket.create_connection(("127.0.0.1", port), 10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"scrape: nothing listens on {port}")


def ask(sock, target):
    """One answer with a Content-Length, whole."""
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    data = b""
    while True:
        piece = sock.recv(65536)
        if not piece:
            raise SystemExit("scrape: the connection ended")
        data += piece
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", data[:end + 2])
            if length is not None and len(data) >= end + 4 + int(length.group(1)):
                return data


def scrape(port):
    """Size of the body in bytes, in chunks, and its number of series."""
    with connect(port) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        size = series = 0
        rest = b""
        while True:
            piece = sock.recv(1 << 20)
            if not piece:
                return size, series
            size += len(piece)
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            series += sum(1 for l in lines if b"{" in l)


def scrape_on(port):
    """What a Prometheus elsewhere would do: its own work must not count, so it is as small as can be and
    gives way to everybody."""
    if os.sched_getscheduler(0) != os.SCHED_OTHER:  # the rest runs under chrt
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(5)
    buffer = bytearray(1 << 20)
    while True:
        with connect(port) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            while sock.recv_into(buffer):
                pass
        os.write(1, b".")
        time.sleep(0.5)


def measure(sock, seconds, rate):
    """Latencies in ms of requests that begin at fixed times, whatever became of the ones before."""
    took, begin = [], time.perf_counter()
    for i in range(int(seconds * rate)):
        due = begin + i / rate
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        start = time.perf_counter()
        ask(sock, f"/r{i % 100:05}")
        took.append((time.perf_counter() - start) * 1000)
    return sorted(took)


def percentile(took, part):
    return took[min(len(took) - 1, int(len(took) * part))]


def write_config(path, routes, upstream, ports, prefix):
    rows = "".join(f"  - {{name: orders-route-{i:05}, paths: [/r{i:05}]}}\n" for i in range(routes))
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"""_format_version: "3.0"
gateway: {{proxy_listen: "127.0.0.1:{ports[0]}", status_listen: "127.0.0.1:{ports[1]}",
  admin_listen: "off", workers: 1, prefix: {prefix}, error_log: {prefix}/error.log}}
services:
- name: orders
  url: http://127.0.0.1:{upstream}
  routes:
{rows}plugins:
- {{name: prometheus, config: {{status_code_metrics: true, latency_metrics: true,
    bandwidth_metrics: true}}}}
""")


def run(options, ports):
    with connect(ports[0]) as sock:
        for i in range(options.routes):
            ask(sock, f"/r{i:05}")
    begin = time.perf_counter()
    size, series = scrape(ports[1])
    print(f"{series} series, {size / 1e6:.1f} MB; a scrape beside no traffic takes "
          f"{time.perf_counter() - begin:.2f} s")
    rows, scrapes = {False: [], True: []}, 0
    for _ in range(options.rounds):
        for busy in (False, True):
            helper = subprocess.Popen([sys.executable, __file__, "--scrape", str(ports[1])],
                                      stdout=subprocess.PIPE) if busy else None
            with connect(ports[0]) as sock:  # anew: a connection carries 10,000 requests
                took = measure(sock, options.seconds, options.rate)
            if helper is not None:
                helper.terminate()
                scrapes += len(helper.communicate()[0])
            rows[busy].append([percentile(took, p) for p in (0.5, 0.99, 0.999)] + [took[-1]])
    shown = {busy: [statistics.median(c) for c in zip(*rows[busy])] for busy in rows}
    print("ms, median of the rounds      p50     p99   p99.9     max")
    for busy, name in ((False, "without scrapes"), (True, "with scrapes")):
        print(f"{name:24}" + "".join(f"{v:8.3f}" for v in shown[busy]))
    moved = shown[True][1] - shown[False][1]
    print(f"p99 moves by {moved:+.3f} ms (limit {LIMIT_MS:g}); {scrapes} scrapes in "
          f"{options.rounds * options.seconds:g} s")
    return 0 if moved <= LIMIT_MS and series >= 100000 else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--routes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--scrape", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scrape:
        scrape_on(options.scrape)
    upstream, ports = free_port(), (free_port(), free_port())
    with tempfile.TemporaryDirectory(prefix="weir-scrape-") as prefix:
        write_config(prefix + "/weir.yaml", options.routes, upstream, ports, prefix)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
        programs = [subprocess.Popen([WEIR, "echo", "--listen", f"127.0.0.1:{upstream}"],
                                     stdout=subprocess.DEVNULL, env=clean),
                    subprocess.Popen([WEIR, "run", "-c", prefix + "/weir.yaml"],
                                     stdout=subprocess.DEVNULL, env=clean)]
        try:
            connect(upstream).close()
            return run(options, ports)
        finally:
            for program in programs:
                program.terminate()
            for program in programs:
                program.wait()


if __name__ == "__main__":
    sys.exit(main())
