#!/usr/bin/env python3
"""jwt with keys from https: an authority of one's own is trusted, another is not, keys change with an unknown
kid and not too often, and what was learnt outlives the server."""
import json
import threading
import time

from lib_jwt import KeyServer, RsaKey
from lib_tls import Authority
from lib_weir import Upstream, Weir, run_tests, service, wait_for


def config(port, uri, **settings):
    settings.update(jwks_uri=uri, jwks_consumer="jo")
    lines = "".join(f"    {k}: {json.dumps(v)}\n" for k, v in settings.items())
    return service(port) + "plugins:\n- name: jwt\n  config:\n" + lines + "consumers:\n- username: jo\n"


def trusting(authority):
    return {"lua_ssl_trusted_certificate": authority.file}


def get(weir, token):
    return weir.get("/", headers=[("Authorization", "Bearer " + token)])


def warnings(weir, words):
    return [line for line in weir.log_text().split("\n") if "jwks_uri" in line and words in line]


def test_keys_come_change_once_per_interval_and_outlive_the_server():
    upstream, a, b, unknown = Upstream(), RsaKey("a"), RsaKey("b"), RsaKey("c").token({})
    with Authority() as authority:
        certificate = authority.issue("DNS:localhost")
        keys = KeyServer(a, certificate=certificate)
        with Weir(config(upstream.port, keys.url, jwks_refresh_interval="1s"),
                  settings=trusting(authority)) as weir:
            assert get(weir, a.token({})).status == 200
            assert keys.asked == 1 and not warnings(weir, ""), weir.log_text()
            begun, stop, answers = time.monotonic(), threading.Event(), []

            def ask_for_one_that_nobody_has():
                while not stop.is_set():
                    answers.append(get(weir, unknown).status)
                    time.sleep(0.01)
            threads = [threading.Thread(target=ask_for_one_that_nobody_has) for _ in range(3)]
            for thread in threads:
                thread.start()
            keys.keys = [b]
            wait_for("the new key", lambda: get(weir, b.token({})).status == 200)
            assert get(weir, a.token({})).status == 401, "the old key is gone"
            wait_for("one more", lambda: keys.asked >= 3)
            stop.set()
            for thread in threads:
                thread.join(20)
            took = time.monotonic() - begun
            assert keys.asked <= 2 + took, f"asked {keys.asked} times in {took} s"
            assert len(answers) > 30 and set(answers) == {401}, answers

            # From now on every try fails: nobody there, then somebody whom nobody trusts.
            keys.close()
            wait_for("a try", lambda: get(weir, unknown).status == 401 and
                     warnings(weir, "connection refused; the keys it told before are kept"))
            assert get(weir, b.token({"x": 1})).status == 200
            with Authority("nobody's") as other:
                impostor = KeyServer(a, certificate=other.issue("DNS:localhost"), port=keys.port)
                wait_for("another try", lambda: get(weir, unknown).status == 401 and
                         warnings(weir, "the certificate is refused: unable to get local issuer"))
                assert impostor.asked == 0, "not even the request was sent"
                assert get(weir, b.token({"x": 2})).status == 200
                assert get(weir, a.token({"x": 2})).status == 401, "of the impostor"
                impostor.close()
            again = KeyServer(a, certificate=certificate, port=keys.port)
            wait_for("it is back", lambda: get(weir, a.token({"x": 3})).status == 200)
            again.close()
    upstream.close()


def test_certificates_that_are_not_right():
    upstream, a = Upstream(), RsaKey("a")
    with Authority() as authority, Authority("nobody's") as other:
        good = authority.issue("DNS:localhost")
        rows = [
            ("an authority that is not trusted", KeyServer(a, certificate=good), other,
             "the certificate is refused: unable to get local issuer certificate"),
            ("only the system's are", KeyServer(a, certificate=good), None,
             "the certificate is refused: unable to get local issuer certificate"),
            ("the certificate of another", KeyServer(a, certificate=good), authority,
             "the certificate is refused: IP address mismatch"),
            ("no TLS at all", KeyServer(a), authority,
             "the TLS handshake failed: what answers does not speak TLS"),
        ]
        for what, keys, trusted, why in rows:
            host = "127.0.0.1" if "mismatch" in why else "localhost"
            text = config(upstream.port, f"https://{host}:{keys.port}/jwks.json")
            with Weir(text, settings=trusting(trusted) if trusted else {}) as weir:
                answer = get(weir, a.token({}))
                assert answer.status == 503, (what, answer.status)
                lines = warnings(weir, why)
                assert lines and " warn " in lines[0] and "(status 0)" in lines[0], (
                    what, weir.log_text())
                assert keys.asked == 0 or not keys.url.startswith("https"), what
            keys.close()
        assert not upstream.seen
    upstream.close()


run_tests(globals())
