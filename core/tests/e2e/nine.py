#!/usr/bin/env python3
"""All nine policies on one request: each takes the settings of its most specific scope, in Kong's order
of eight; who is the client is decided by key-auth and jwt together (AND) or by either (OR)."""
import base64
import hashlib
import hmac
import json
import os
import sys
import tempfile

from lib_weir import PLUGINS, Upstream, Weir, answer_all, run_tests, wait_for

NINE = ["jwt", "key-auth", "rate-limiting", "cors", "correlation-id", "request-transformer",
        "response-transformer", "file-log", "prometheus"]
missing = [name for name in NINE if not os.path.exists(f"{PLUGINS}/{name}.so")]
if missing:
    print(f"skipped: {', '.join(missing)} is not built")
    sys.exit(0)

SECRET = "nine-secret"
# Most specific first. No authentication of a consumer can be chosen by the consumer it finds, nor what
# runs before it: those know four scopes.
SCOPES = [("route", "service", "consumer"), ("route", "consumer"), ("service", "consumer"),
          ("route", "service"), ("consumer",), ("route",), ("service",), ()]
REFERENCES = {"route": "r", "service": "s", "consumer": "bob"}
BEFORE_CONSUMER = {"jwt", "key-auth", "cors", "correlation-id"}


def scope_name(scope):
    return "-".join(scope) or "global"


def settings(name, scope, work):
    place = scope_name(scope)
    number = SCOPES.index(scope) + 1
    return {
        "jwt": f"{{realm: jwt-{place}}}",
        "key-auth": f"{{realm: key-{place}, hide_credentials: true}}",
        "rate-limiting": f"{{hour: {1000 * number}}}",
        "cors": f"{{origins: ['https://{place}.test']}}",
        "correlation-id": f"{{header_name: X-Id-{place}, generator: uuid, echo_downstream: true}}",
        "request-transformer": f"{{add: {{headers: ['X-Request-Scope:{place}']}}}}",
        "response-transformer": f"{{add: {{headers: ['X-Response-Scope:{place}']}}}}",
        "file-log": f"{{path: {work}/{place}.log}}",
        # Only this scope counts bytes or requests: the family tells which one ran.
        "prometheus": f"{{status_code_metrics: {'true' if number % 2 else 'false'}, "
                      f"bandwidth_metrics: {'false' if number % 2 else 'true'}}}",
    }[name]


def config(port, level, work):
    text = (f"services:\n- name: s\n  url: http://127.0.0.1:{port}\n  routes:\n"
            "  - {name: r, paths: [/]}\n"
            "consumers:\n- username: bob\n  keyauth_credentials: [{key: bobs-key}]\n"
            f"  jwt_secrets: [{{key: bobs-iss, secret: {SECRET}}}]\nplugins:\n")
    for scope in SCOPES[level:]:
        for name in NINE:
            if "consumer" in scope and name in BEFORE_CONSUMER:
                continue
            text += f"- name: {name}\n  config: {settings(name, scope, work)}\n"
            text += "".join(f"  {kind}: {REFERENCES[kind]}\n" for kind in scope)
    return text


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(secret=SECRET, **claims):
    claims = {"iss": "bobs-iss", **claims}
    text = encode(b'{"alg":"HS256","typ":"JWT"}') + "." + encode(json.dumps(claims).encode())
    return text + "." + encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


BOTH = [("Authorization", "Bearer " + token()), ("apikey", "bobs-key"), ("Origin", "https://x.test")]


def best(level, name):
    """The scope that must win when those before `level` are not there."""
    return next(s for s in SCOPES[level:] if not ("consumer" in s and name in BEFORE_CONSUMER))


def test_each_takes_its_most_specific_scope():
    upstream = Upstream(answer_all)
    for level in range(len(SCOPES)):
        with tempfile.TemporaryDirectory() as work, Weir(config(upstream.port, level, work)) as weir:
            got = weir.get("/x", headers=BOTH)
            place = {name: scope_name(best(level, name)) for name in NINE}
            assert got.status == 200, (level, got.status, got.body)
            sent = {n.lower(): v for n, v in upstream.seen[-1][1]}
            number = SCOPES.index(best(level, "rate-limiting")) + 1
            rows = [
                (got.get("X-RateLimit-Limit-Hour"), str(1000 * number)),
                (got.get("Access-Control-Allow-Origin"), f"https://{place['cors']}.test"),
                (got.get(f"X-Id-{place['correlation-id']}"),
                 sent.get(f"x-id-{place['correlation-id']}", "not sent")),
                (sent.get("x-request-scope"), place["request-transformer"]),
                (got.get("X-Response-Scope"), place["response-transformer"]),
                (sent.get("x-consumer-username"), "bob"),
                (sent.get("apikey"), None),
            ]
            for have, want in rows:
                assert have == want, (scope_name(SCOPES[level]), have, want)
            log = f"{work}/{place['file-log']}.log"
            wait_for("the line of the log", lambda: os.path.exists(log) and open(log).read())
            assert [f for f in os.listdir(work) if f.endswith(".log")] == [os.path.basename(log)]
            families = weir.get("/metrics", port=weir.status).body.decode()
            counted = number = SCOPES.index(best(level, "prometheus")) + 1
            assert ('kong_http_requests_total{' in families) == (counted % 2 == 1), place["prometheus"]
            assert ('kong_bandwidth_bytes{' in families) == (counted % 2 == 0), place["prometheus"]
            # Refused by the first of both, which is jwt, with the realm of its scope.
            got = weir.get("/x", headers=[("apikey", "bobs-key")])
            assert (got.status, got.get("WWW-Authenticate")) == \
                (401, f'Bearer realm="jwt-{place["jwt"]}"'), got.headers
            got = weir.get("/x", headers=BOTH[:1])
            assert (got.status, got.get("WWW-Authenticate")) == \
                (401, f'Key realm="key-{place["key-auth"]}"'), got.headers


def identities(port, jwt, key):
    return (f"services:\n- name: s\n  url: http://127.0.0.1:{port}\n  routes:\n"
            "  - {name: r, paths: [/]}\n"
            "consumers:\n- username: bob\n  keyauth_credentials: [{key: bobs-key}]\n"
            f"  jwt_secrets: [{{key: bobs-iss, secret: {SECRET}}}]\n- username: nobody\n"
            f"plugins:\n- name: jwt\n  config: {jwt}\n- name: key-auth\n  config: {key}\n")


GOOD_JWT, BAD_JWT = ("Authorization", "Bearer " + token()), ("Authorization", "Bearer " + token("no"))
GOOD_KEY, BAD_KEY = ("apikey", "bobs-key"), ("apikey", "no")


def check_identities(jwt, key, rows):
    upstream = Upstream(answer_all)
    with Weir(identities(upstream.port, jwt, key)) as weir:
        for headers, want, why in rows:
            got = weir.get("/", headers=headers)
            if isinstance(want, int):
                assert got.status == want, (why, got.status)
                continue
            assert got.status == 200, (why, got.status, got.body)
            sent = {n.lower(): v for n, v in upstream.seen[-1][1]}
            have = (sent.get("x-consumer-username"), sent.get("x-anonymous-consumer"))
            assert have == want, (why, have)


def test_without_anonymous_both_must_succeed():
    check_identities("{}", "{}", [
        ([], 401, "neither"),
        ([GOOD_JWT], 401, "the key is missing"),
        ([GOOD_KEY], 401, "the token is missing"),
        ([GOOD_JWT, BAD_KEY], 401, "a bad key"),
        ([BAD_JWT, GOOD_KEY], 401, "a bad token"),
        ([GOOD_JWT, GOOD_KEY], ("bob", None), "both"),
    ])


def test_with_anonymous_either_will_do():
    check_identities("{anonymous: nobody}", "{anonymous: nobody}", [
        ([], ("nobody", "true"), "neither"),
        ([GOOD_JWT], ("bob", None), "a token"),
        ([GOOD_KEY], ("bob", None), "a key, after jwt had set the anonymous consumer"),
        ([BAD_JWT, GOOD_KEY], ("bob", None), "a bad token does not spoil a good key"),
        ([GOOD_JWT, BAD_KEY], ("bob", None), "a bad key does not spoil a good token"),
        ([BAD_JWT, BAD_KEY], ("nobody", "true"), "two bad ones"),
    ])


def test_the_last_one_can_be_strict():
    check_identities("{anonymous: nobody}", "{}", [
        ([], 401, "key-auth has no anonymous consumer"),
        ([GOOD_JWT], 401, "nor is a token enough for it"),
        ([GOOD_KEY], ("bob", None), "a key is"),
    ])


run_tests(globals())
