#!/usr/bin/env python3
"""rate-limiting with a Redis that is reached over TLS: counts as exactly as without, and each way in which
the certificate or the peer is not the one expected is the fault path, with a line in the log that says why."""
import socket
import ssl
import threading
import time

from lib_tls import Authority
from lib_weir import Upstream, Weir, run_tests, wait_for
from rate_limits import Load, Redis, config, needs_redis, passed


class TlsRedis(Redis):
    def __init__(self, certificate):
        self.certificate = certificate
        super().__init__()

    def start(self):
        self.args = ("--port", "0", "--tls-port", str(self.port), "--tls-cert-file",
                     self.certificate.file, "--tls-key-file", self.certificate.key,
                     "--tls-auth-clients", "no")
        super().start()

    def connect(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(super().connect())


def place(port, more=""):
    return (f"year: 20, limit_by: service, policy: redis, "
            f"redis: {{host: 127.0.0.1, port: {port}, ssl: true, timeout: 10000{more}}}")


def trusting(*authorities):
    return {"lua_ssl_trusted_certificate": ", ".join(authorities)}


@needs_redis
def test_counts_are_exact_and_come_back_with_redis():
    upstream = Upstream()
    with Authority() as authority:
        with TlsRedis(authority.issue("DNS:redis.test", "IP:127.0.0.1")) as redis:
            routes = {"unchecked": place(redis.port),
                      "address": place(redis.port, ", ssl_verify: true"),
                      "name": place(redis.port, ", ssl_verify: true, server_name: redis.test"),
                      "strict": place(redis.port, ", ssl_verify: true") + ", fault_tolerant: false"}
            with Weir(config(upstream, routes), workers=2,
                      settings=trusting("system", authority.file)) as weir:
                names = ["unchecked", "address", "name"]
                answers = Load([weir], names, 6, 30).wait()
                for name in names:
                    assert passed(answers, name) == 20, (name, passed(answers, name))
                keys = redis.ask("KEYS *")
                assert keys.startswith(b"*3\r\n"), keys
                assert weir.get("/strict").status == 200
                redis.kill()
                wait_for("down", lambda: weir.get("/strict").status == 500)
                redis.start()
                wait_for("back", lambda: weir.get("/strict").status == 200)
                log = weir.log_text()
                assert "certificate" not in log and "TLS" not in log, log
                assert "reset by peer): requests are refused" in log, log
                assert "answers again" in log, log
    upstream.close()


class Peer:
    """No Redis: accepts, and says `words` at once."""

    def __init__(self, words):
        self.words = words
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.open = self.listener.getsockname()[1], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                self.open.append(self.listener.accept())
                self.open[-1][0].sendall(self.words)
        except OSError:
            pass

    def close(self):
        self.listener.close()
        for conn, _ in self.open:
            conn.close()


@needs_redis
def test_the_wrong_peer_is_the_fault_path_and_the_log_says_why():
    upstream, silent, http = Upstream(), Peer(b""), Peer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with Authority() as known, Authority("nobody's") as unknown, Redis() as plain, \
            TlsRedis(known.issue("DNS:redis.test")) as redis, \
            TlsRedis(unknown.issue("DNS:redis.test")) as foreign:
        verified = ", ssl_verify: true, server_name: redis.test"
        rows = {
            "unknown-authority": (place(foreign.port, verified),
                                  "the certificate is refused: unable to get local issuer"),
            "another-name": (place(redis.port, ", ssl_verify: true, server_name: other.test"),
                             "the certificate is refused: hostname mismatch"),
            "no-name-so-the-host": (place(redis.port, ", ssl_verify: true"),
                                    "the certificate is refused: IP address mismatch"),
            # Redis waits for the end of what it takes for a command.
            "no-tls-there": (place(plain.port).replace("10000", "300"),
                             "no end of the TLS handshake"),
            "http-there": (place(http.port), "what answers does not speak TLS"),
            "tls-there-only": (place(redis.port).replace("ssl: true", "ssl: false"), "is down ("),
            "no-answer": (place(silent.port).replace("10000", "300"), "no end of the TLS handshake"),
        }
        routes = {}
        for name, (policy, _) in rows.items():
            routes[name] = policy + ", fault_tolerant: false"
            routes["open-" + name] = policy
        routes["good"] = place(redis.port, verified)
        with Weir(config(upstream, routes), settings=trusting(known.file)) as weir:
            for name, (_, why) in rows.items():
                before = len(weir.log_text())
                begun = time.monotonic()
                assert weir.get("/" + name).status == 500, name
                took = time.monotonic() - begun
                assert took < 5, f"{name}: {took} s, and no deadline of 10 s should be needed"
                lines = [line for line in weir.log_text()[before:].split("\n") if why in line]
                assert len(lines) == 1 and " error " in lines[0], (name, weir.log_text()[before:])
                assert "is down (" in lines[0] and "requests are refused" in lines[0], lines
                answer = weir.get("/open-" + name)
                assert answer.status == 200 and answer.get("RateLimit-Limit") is None, name
            assert weir.get("/good").get("RateLimit-Remaining") == "19", "the same weir, one that fits"
    silent.close()
    http.close()
    upstream.close()


if __name__ == "__main__":
    run_tests(globals())
