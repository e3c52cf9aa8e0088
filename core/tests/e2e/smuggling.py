"""Mutated request streams from many clients through one gateway to one recording upstream: nothing
reaches it that the gateway did not decide on (core/tests/property/smuggle.c says what is checked, with
llhttp as the second opinion).

WEIR_STREAMS=1000000 runs that many instead of a few thousand, WEIR_SEED another seed. A stream that
fails is made smaller and shown; `test-smuggle … --replay FILE` sends a file as one."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

from lib_weir import Weir, run_tests, service

DRIVER = os.path.join(os.environ.get("WEIR_BUILD_DIR", ""), "bin", "test-smuggle")
STREAMS = int(os.environ.get("WEIR_STREAMS", "6000"))
SEED = int(os.environ.get("WEIR_SEED", "1"))
OWN = ("WEIR_STREAMS", "WEIR_SEED")  # no settings of the gateway
SHRINKS = 300  # tries to make a failing stream smaller


class Bench:
    """A gateway before the socket on which the driver will be the upstream."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.folder = tempfile.mkdtemp(prefix="weir-smuggle-")
        self.weir = Weir(service(self.listener.getsockname()[1]),
                         settings={"log_level": "warn"},
                         env={k: v for k, v in os.environ.items() if k not in OWN})
        return self

    def __exit__(self, *failure):
        self.weir.__exit__(*failure)
        self.listener.close()
        if failure[0] is None:
            said = self.weir.output
            assert "Sanitizer" not in said and "runtime error" not in said, said[-4000:]
            shutil.rmtree(self.folder)

    def run(self, streams, *options, timeout=3600):
        fd = self.listener.fileno()
        done = subprocess.run(
            [DRIVER, str(fd), str(self.weir.proxy), "--seed", str(SEED), "--streams", str(streams),
             "--folder", self.folder, *options], pass_fds=[fd], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=timeout, check=False)
        return done.returncode, done.stdout.decode("latin-1")

    def fails_alike(self, name, how):
        code, text = self.run(1, "--replay", name, timeout=60)
        return code == 1 and text.startswith(how)

    def shrink(self, name, how):
        """The stream of that file without what the failure does not need."""
        with open(name, "rb") as file:
            text = file.read()
        tries, size = 0, len(text) // 2
        while size > 0 and tries < SHRINKS:
            at, before = 0, text
            while at < len(text) and tries < SHRINKS:
                less, tries = text[:at] + text[at + size:], tries + 1
                with open(name + ".less", "wb") as file:
                    file.write(less)
                if less and self.fails_alike(name + ".less", how):
                    text = less
                else:
                    at += size
            size = size if text != before and size == 1 else size // 2
        return text


def expect_good(bench, streams, *options):
    code, text = bench.run(streams, *options)
    print(text, flush=True)
    if code == 0:
        return
    kept = [os.path.join(bench.folder, name) for name in os.listdir(bench.folder)]
    if kept:
        print(f"smaller: {bench.shrink(kept[0], text[:24])!r}", flush=True)
    raise AssertionError(f"the driver ended with {code}")


def test_nothing_is_smuggled():
    with Bench() as bench:
        expect_good(bench, STREAMS)


def test_broken_answers_stay_with_their_client():
    with Bench() as bench:
        expect_good(bench, STREAMS // 4, "--bad-answers", "--first", "2000000")


def test_the_driver_sees_what_is_wrong():
    """Each of these says of the upstream what a smuggled request would make it say."""
    with Bench() as bench:
        for how, message in (("byte", "the upstream got"), ("double", "not answered yet"),
                             ("again", "the upstream got"), ("field", "did not send"),
                             ("hop", "did not send"), ("body", "(the body)"),
                             ("answer", "gets the answer to")):
            code, text = bench.run(400, "--broken", how)
            assert code == 1 and text.startswith("FAIL") and message in text, (how, code, text)


if not os.path.exists(DRIVER):
    print("skipped: built without llhttp, the C sources of Debian's package node-llhttp")
    sys.exit(0)
run_tests(globals())
