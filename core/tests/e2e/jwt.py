#!/usr/bin/env python3
"""jwt through a real gateway: keys from a web server that is up, changes, fails, hangs; tokens that openssl
signed; many at once, over two workers; reloads."""
import json
import threading
import time

from lib_jwt import KeyServer, RsaKey, hs256
from lib_weir import Upstream, Weir, run_tests, service, wait_for

JO = "consumers:\n- username: jo\n  jwt_secrets:\n  - {key: iss-1, secret: s3cret}\n"


def config(port, settings, consumers=JO):
    lines = "".join(f"    {k}: {json.dumps(v)}\n" for k, v in settings.items())
    return service(port) + "plugins:\n- name: jwt\n  config:\n" + lines + consumers


def get(weir, token=None, headers=()):
    extra = [("Authorization", "Bearer " + token)] if token else []
    return weir.get("/", headers=list(headers) + extra)


def last_headers(upstream):
    return {n.lower(): v for n, v in upstream.seen[-1][1]}


def test_a_token_with_claims_reaches_the_target():
    up = Upstream()
    settings = {"claims_to_headers": {"sub": "X-User", "realm.roles": "X-Roles"},
                "required_roles": ["ops"], "roles_claim": "realm.roles",
                "claims_to_verify": ["exp"]}
    with Weir(config(up.port, settings)) as weir:
        claims = {"iss": "iss-1", "sub": "u1", "exp": int(time.time()) + 60,
                  "realm": {"roles": ["ops", "dev"]}}
        for _ in range(3):
            answer = get(weir, hs256(claims), [("X-User", "root"), ("X-Consumer-ID", "root")])
            assert answer.status == 200, answer.body
            seen = last_headers(up)
            assert seen["x-user"] == "u1" and seen["x-roles"] == "ops,dev", seen
            assert seen["x-consumer-username"] == "jo", seen
            assert seen["x-credential-identifier"] == "iss-1", seen
        before = len(up.seen)
        for wrong, status in ((dict(claims, exp=1), 401), (dict(claims, realm={}), 403)):
            assert get(weir, hs256(wrong)).status == status
        assert get(weir, hs256(claims, "other")).status == 401
        assert get(weir).status == 401
        assert len(up.seen) == before, "none of them reached the target"
    up.close()


def test_a_remembered_token_ends_on_time_and_with_a_reload():
    up = Upstream()
    with Weir(config(up.port, {"claims_to_verify": ["exp"]}), workers=2) as weir:
        token = hs256({"iss": "iss-1", "exp": int(time.time()) + 2})
        assert get(weir, token).status == 200
        wait_for("it ends", lambda: get(weir, token).status == 401)
        forever = hs256({"iss": "iss-1", "exp": 9999999999})
        assert all(get(weir, forever).status == 200 for _ in range(8))
        done = weir.reload(config(up.port, {}, JO.replace("s3cret", "another")))
        assert done.returncode == 0, done.stdout + done.stderr
        assert all(get(weir, forever).status == 401 for _ in range(8))
    up.close()


def test_keys_of_a_url_come_change_and_stay_when_the_server_fails():
    up, a, b = Upstream(), RsaKey("a"), RsaKey("b")
    keys = KeyServer(a)
    settings = {"jwks_uri": keys.url, "jwks_consumer": "jo", "jwks_refresh_interval": "1s"}
    with Weir(config(up.port, settings)) as weir:
        assert get(weir, a.token({"sub": "1"})).status == 200
        assert last_headers(up)["x-consumer-username"] == "jo"
        assert get(weir, hs256({"iss": "iss-1"})).status == 200, "credentials go on"
        assert get(weir, b.token({"sub": "1"})).status == 401
        keys.keys = [b]
        wait_for("the new key", lambda: get(weir, b.token({"sub": "1"})).status == 200)
        wait_for("the old one is gone", lambda: get(weir, a.token({"sub": "1"})).status == 401)
        keys.status = 500
        asked = keys.asked
        for _ in range(2):
            time.sleep(1.1)  # the interval is what is tested
            assert get(weir, RsaKey("c").token({})).status == 401
        assert asked < keys.asked <= asked + 6
        assert get(weir, b.token({"sub": "2"})).status == 200, "kept"
        assert "jwks_uri" in weir.log_text()
    keys.close()
    up.close()


def test_requests_wait_for_the_first_keys_and_no_longer_than_allowed():
    up, a = Upstream(), RsaKey("a")
    keys = KeyServer(a)
    keys.hang.clear()
    settings = {"jwks_uri": keys.url, "jwks_consumer": "jo", "jwks_timeout": "8s"}
    with Weir(config(up.port, settings)) as weir:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(get(weir, a.token({})).status))
                   for _ in range(5)]
        for thread in threads:
            thread.start()
        assert get(weir, hs256({"iss": "iss-1"})).status == 200, "others do not wait"
        assert not answers
        keys.hang.set()
        for thread in threads:
            thread.join(20)
        assert answers == [200] * 5, answers
        assert keys.asked == 1
    keys.hang.clear()
    settings["jwks_timeout"] = "500ms"
    with Weir(config(up.port, settings)) as weir:
        begun = time.monotonic()
        answer = get(weir, a.token({}))
        assert answer.status == 503, answer.status
        assert time.monotonic() - begun < 5
    keys.close()
    up.close()


def test_a_server_that_is_not_there():
    up, a = Upstream(), RsaKey("a")
    keys = KeyServer(a)
    keys.close()
    with Weir(config(up.port, {"jwks_uri": keys.url})) as weir:
        assert get(weir, a.token({})).status == 503
        assert get(weir, hs256({"iss": "iss-1"})).status == 200
    up.close()


def test_the_seeds_error_codes():
    up = Upstream()
    with Weir(config(up.port, {"error_codes": "seed", "claims_to_verify": ["exp"]})) as weir:
        for token, error in ((None, "missing_token"), ("a.b.c", "invalid_token"),
                             (hs256({"iss": "iss-1", "exp": 1}), "token_expired")):
            answer = get(weir, token)
            assert answer.status == 401 and json.loads(answer.body)["error"] == error, answer.body
    up.close()


run_tests(globals())
