#!/usr/bin/env python3
"""weir-token: what it makes, libjwt having signed it, passes the plugin jwt, which verifies with OpenSSL;
what should not pass does not; and it says what is wrong with a command line, never a secret."""
import hashlib
import hmac
import json
import os
import re
import subprocess
import tempfile
import time

from lib_jwt import encode
from lib_weir import WEIR, Upstream, Weir, run_tests, service

TOOL = os.path.join(os.path.dirname(WEIR), "weir-token")
SECRET = "s3cret-that-nobody-prints"
CURVES = {"ES256": "prime256v1", "ES384": "secp384r1", "ES512": "secp521r1"}
ALGORITHMS = [f"{family}{size}" for family in ("HS", "RS", "ES") for size in (256, 384, 512)]


def tool(*args, secret=None, data=None):
    env = {k: v for k, v in os.environ.items() if k != "WEIR_TOKEN_SECRET"}
    if secret is not None:
        env["WEIR_TOKEN_SECRET"] = secret
    return subprocess.run([TOOL, *args], input=data, capture_output=True, env=env, timeout=60,
                          check=False)


def mint(*args, secret=SECRET):
    done = tool(*args, secret=secret)
    assert done.returncode == 0 and not done.stderr, (args, done)
    return done.stdout.decode().strip()


def openssl(*args):
    return subprocess.run(["openssl", *args], capture_output=True, check=True).stdout.decode()


class Keys:
    """A folder with a private and a public key of each kind, and files that are none."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        rsa = self.path("RS256")
        openssl("genrsa", "-out", rsa, "2048")
        for name in ("RS384", "RS512"):
            os.link(rsa, self.path(name))
        for name, curve in CURVES.items():
            openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", self.path(name))
        for name in [*CURVES, "RS256", "RS384", "RS512"]:
            openssl("pkey", "-in", self.path(name), "-pubout", "-out", self.path(name + ".pub"))
        openssl("pkey", "-in", rsa, "-aes128", "-passout", "pass:x", "-out", self.path("locked"))
        self.write("secret", SECRET.encode() + b"\n")
        self.write("empty", b"\n")
        self.write("long", b"x" * 70000)
        self.write("broken", b"-----BEGIN PRIVATE KEY-----\nbm9uZQ==\n-----END PRIVATE KEY-----\n")

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)

    def read(self, name):
        with open(self.path(name), encoding="ascii") as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()


def config(port, keys, settings="claims_to_verify: [exp, nbf]"):
    text = (service(port) + "plugins:\n- name: jwt\n  config: {" + settings + "}\n"
            "consumers:\n- username: jo\n  jwt_secrets:\n")
    for name in ALGORITHMS:
        text += f"  - key: {name}\n    algorithm: {name}\n"
        if name.startswith("HS"):
            text += f"    secret: {SECRET}\n"
        else:
            public = keys.read(name + ".pub").strip()
            text += "    rsa_public_key: |\n" + re.sub("(?m)^", "      ", public) + "\n"
    return text


def status(weir, token):
    return weir.get("/", headers=[("Authorization", "Bearer " + token)]).status


def test_tokens_of_every_algorithm_pass_and_others_do_not():
    upstream = Upstream()
    with Keys() as keys, Weir(config(upstream.port, keys)) as weir:
        for name in ALGORITHMS:
            args = ["--issuer", name, "--algorithm", name, "--not-before", "-1m"]
            if not name.startswith("HS"):
                args += ["--key-file", keys.path(name)]
            token = mint(*args)
            assert status(weir, token) == 200, name
            seen = {n.lower(): v for n, v in upstream.seen[-1][1]}
            assert seen["x-credential-identifier"] == name and seen["x-consumer-username"] == "jo"
            verified = ["--verify", token, "--algorithm", name]
            if not name.startswith("HS"):
                verified += ["--key-file", keys.path(name + ".pub")]
            done = tool(*verified, secret=SECRET)
            assert done.returncode == 0 and done.stdout.startswith(b"the signature is right\n"), done
        before = len(upstream.seen)
        valid = ["--not-before", "0s"]
        good = ["--issuer", "HS256", *valid]
        for why, args, secret in (
                ("another secret", good, "another"),
                ("expired", [*good, "--expires", "-1s"], SECRET),
                ("not yet valid", ["--issuer", "HS256", "--not-before", "1h"], SECRET),
                ("no end, where one is asked for", [*good, "--expires", "never"], SECRET),
                ("nobody's", ["--issuer", "nobody", *valid], SECRET),
                ("another algorithm than the credential's", ["--issuer", "HS384", *valid], SECRET)):
            assert status(weir, mint(*args, secret=secret)) == 401, why
        assert len(upstream.seen) == before
        # Three ways to the same secret.
        for args, secret in (([], SECRET), (["--secret", SECRET], None),
                             (["--secret-file", keys.path("secret")], "not this one")):
            assert status(weir, mint(*good, *args, secret=secret)) == 200, args
    upstream.close()


def by_hand(header, claims, secret=SECRET):
    """A token of texts that no library would write."""
    text = encode(header.encode()) + "." + encode(claims.encode())
    return text + "." + encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def test_where_libjwt_and_the_gateway_differ():
    """The table of the plugin's page: why it is not libjwt that verifies."""
    plain = '{"iss":"HS256"}'
    upstream = Upstream()
    with Keys() as keys, Weir(config(upstream.port, keys, "claims_to_headers: {n: X-N}")) as weir:
        for header, claims, reads, passes in (
                ('{"alg":"HS256"}', plain, True, True),
                ('{"alg":"HS256","typ":"at+jwt"}', plain, False, True),
                ('{"alg":"hs256"}', plain, True, False),
                ('{"alg":"HS256"}', '{"iss":"HS256","n":123456789012345678901}', False, True),
                ('{"alg":"HS256"}', '{"iss":"x","iss":"HS256"}', True, False)):
            token = by_hand(header, claims)
            assert (tool("--show", token).returncode == 0) == reads, (header, claims)
            assert (status(weir, token) == 200) == passes, (header, claims)
            if "n" in json.loads(claims):
                seen = {n.lower(): v for n, v in upstream.seen[-1][1]}
                assert seen["x-n"] == "123456789012345678901", seen
            if '"x"' in claims:
                assert b'{"iss":"HS256"}' in tool("--show", token).stdout, "the last"
    upstream.close()


def test_claims_and_members_of_the_header():
    upstream = Upstream()
    settings = ("key_claim_name: kid, required_roles: [ops], roles_claim: realm.roles, "
                "claims_to_verify: [exp], claims_to_headers: {sub: X-User, n: X-N, on: X-On}")
    with Keys() as keys, Weir(config(upstream.port, keys, settings)) as weir:
        token = mint("--header", "kid=HS256", "--claim", "sub=a=b ö", "--claim", "url:x=",
                     "--claim-json", 'realm:={"roles": ["ops"]}', "--claim-json",
                     "n:=9007199254740993", "--claim-json", "on:=true", "--claim-json",
                     f"exp:={int(time.time()) + 60}")
        assert status(weir, token) == 200
        seen = {n.lower(): v for n, v in upstream.seen[-1][1]}
        assert seen["x-n"] == "9007199254740993" and seen["x-on"] == "true", seen
        assert seen["x-user"].encode("latin-1").decode() == "a=b ö", seen
        assert status(weir, mint("--header", "kid=HS256")) == 403, "no role"
    upstream.close()


def test_what_a_token_says():
    token = mint("--issuer", "a", "--claim-json", 'x:="\\u009b2J\\u007f"', "--expires", "90s")
    for done in (tool("--show", token), tool("--show", "-", data=token.encode() + b"\r\n")):
        assert done.returncode == 0 and not done.stderr, done
        lines = done.stdout.decode().split("\n")
        assert lines[0].startswith("not verified"), lines
        assert json.loads(lines[1].split("  ", 1)[1]) == {"alg": "HS256", "typ": "JWT"}
        claims = json.loads(lines[2].split("  ", 1)[1])
        assert claims["iss"] == "a" and claims["x"] == "\u009b2J\u007f", claims
        assert b"\xc2\x9b" not in done.stdout and b"\x7f" not in done.stdout, "a terminal obeys"
        assert re.fullmatch(r"exp     \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, in (89|90) s", lines[3]), lines
    old = tool("--show", mint("--issuer", "a", "--expires", "-2d")).stdout.decode()
    assert re.search(r"Z, 17280[0-9] s ago\n", old), old
    never = tool("--show", mint("--issuer", "a", "--expires", "never"))
    assert b"exp" not in never.stdout, never


USAGE = [
    ([], "nothing says whose token"),
    (["--expires", "1m"], "nothing says whose token"),
    (["stray"], "word 1 belongs to no option"),
    (["--secret", "my", SECRET], "word 3 belongs to no option"),
    (["--secret=" + SECRET], "unknown option '--secret' (values are words of their own"),
    (["--nope", "1"], "unknown option '--nope'"),
    (["--issuer"], "no value after --issuer"),
    (["--issuer", "a", "--issuer", "b"], "'iss' is given twice"),
    (["--issuer", "a", "--claim-json", "iss:=1"], "'iss' is given twice"),
    (["--issuer", "a", "--expires", "1s", "--expires", "2s"], "--expires is given twice"),
    (["--issuer", "a", "--expires", "soon"], "--expires takes a time"),
    (["--issuer", "a", "--expires", "5mm"], "--expires takes a time"),
    (["--issuer", "a", "--expires", "-"], "--expires takes a time"),
    (["--issuer", "a", "--expires", "99999999999999999999"], "--expires takes a time"),
    (["--issuer", "a", "--not-before", "never"], "--not-before takes a time"),
    (["--issuer", "a", "--expires", "1s", "--claim-json", "exp:=1"], "two ends"),
    (["--issuer", "a", "--not-before", "1s", "--claim-json", "nbf:=1"], "two beginnings"),
    (["--issuer", "a", "--algorithm", "PS256"], "--algorithm takes HS256"),
    (["--issuer", "a", "--algorithm", "hs256"], "--algorithm takes HS256"),
    (["--issuer", "a", "--algorithm", "none"], "--algorithm takes HS256"),
    (["--issuer", "a", "--algorithm", "RS256"], "RS256 needs --key-file"),
    (["--issuer", "a", "--algorithm", "HS256", "--key-file", "k"], "HS256 needs a secret"),
    (["--issuer", "a", "--key-file", "k"], "--key-file needs --algorithm"),
    (["--issuer", "a", "--key-file", "k", "--secret", SECRET], "one of the two"),
    (["--issuer", "a", "--secret-file", "f", "--secret", SECRET], "two secrets"),
    (["--issuer", "a"], "no secret"),
    (["--issuer", "a", "--claim", "x"], "--claim takes NAME=TEXT"),
    (["--issuer", "a", "--claim-json", "x=1"], "--claim-json takes NAME:=JSON"),
    (["--issuer", "a", "--header", "kid"], "--header takes NAME=TEXT"),
    (["--issuer", "a", "--claim", "=x"], "a name has 1 to 128 bytes"),
    (["--issuer", "a", "--claim", "n" * 129 + "=x"], "a name has 1 to 128 bytes"),
    (["--issuer", "a", "--claim-json", 'x","y:=1'], "a name has 1 to 128 bytes"),
    (["--issuer", "a", "--claim", "x=" + "v" * 8193], "longer than 8192 bytes"),
    (["--issuer", "a", "--header", "alg=none", "--secret", SECRET], "what --algorithm says"),
    (["--issuer", "a", "--header", "typ=at+jwt", "--secret", SECRET], "always JWT"),
    (["--issuer", "a"] + [w for i in range(64) for w in ("--claim", f"c{i}=x")], "more than 64"),
    (["--show", "t", "--issuer", "a"], "--issuer does not go with --show"),
    (["--show", "t", "--secret", SECRET], "--secret does not go with --show"),
    (["--verify", "t", "--expires", "1s", "--secret", SECRET], "--expires does not go with"),
    (["--show", "t", "--verify", "t", "--secret", SECRET], "--show does not go with --verify"),
    (["--verify", "t"], "no secret"),
]


def expect(done, code, words):
    text = done.stderr.decode()
    assert done.returncode == code and not done.stdout, (words, done)
    assert text.startswith("weir-token: ") and words in text, (words, text)
    assert SECRET not in text, text
    assert ("usage: " in text) == (code == 2), text


def test_wrong_command_lines_are_told():
    for args, words in USAGE:
        expect(tool(*args), 2, words)
    done = tool("--issuer", "a", "--help")
    assert done.returncode == 0 and done.stdout.startswith(b"usage: weir-token "), done
    options = set(re.findall(r"^  (--[a-z-]+)", done.stdout.decode(), re.M))
    assert len(options) == 12 and all(len(line) <= 100 for line in done.stdout.split(b"\n"))


def test_what_cannot_be_done_is_told():
    with Keys() as keys:
        rs = ["--issuer", "a", "--algorithm", "RS256", "--key-file"]
        es = ["--issuer", "a", "--algorithm", "ES256", "--key-file"]
        hs = ["--issuer", "a", "--secret", SECRET]
        for args, words in (
                ([*rs, keys.path("absent")], "No such file"),
                ([*rs, keys.folder.name], "Is a directory"),
                ([*rs, keys.path("long")], "longer than 65536 bytes"),
                ([*rs, keys.path("secret")], "no key in PEM"),
                ([*rs, keys.path("locked")], "is encrypted"),
                ([*rs, keys.path("RS256.pub")], "no private key"),
                ([*rs, keys.path("broken")], "cannot sign with RS256"),
                ([*rs, keys.path("ES256")], "cannot sign with RS256"),
                ([*es, keys.path("RS256")], "cannot sign with ES256"),
                ([*es, keys.path("ES384")], "on another curve than ES256 needs"),
                (["--issuer", "a", "--secret", ""], "the secret is empty"),
                (["--issuer", "a", "--secret-file", keys.path("empty")], "the secret is empty"),
                (["--issuer", "a", "--secret-file", keys.path("long")], "longer than 4096 bytes"),
                (["--issuer", "a", "--secret", "x" * 4097], "longer than 4096 bytes"),
                ([*hs, "--claim", b"x=\xff"], "the claim 'x' is no text in UTF-8"),
                ([*hs, "--header", b"x=\xff"], "the member of the header 'x' is no text"),
                ([*hs, "--claim-json", "x:=1,\"y\":2"], "the claim 'x' is no JSON"),
                ([*hs, "--claim-json", "x:=1} "], "the claim 'x' is no JSON"),
                ([*hs, "--claim-json", "x:="], "the claim 'x' is no JSON"),
                ([*hs, "--claim-json", "x:=yes"], "the claim 'x' is no JSON"),
                ([*hs, "--claim-json", 'x:={"a":1,"a":2}'], "the claim 'x' is no JSON"),
                ([*hs, "--claim-json", "x:=" + "9" * 20], "integers fit 64 bits"),
                ([*hs, "--claim", "a=" + "x" * 8000, "--claim", "b=" + "x" * 8000],
                 "the gateway takes 16384")):
            expect(tool(*args), 1, words)


def test_tokens_that_cannot_be_read_or_are_not_right():
    token = mint("--issuer", "a")
    header, claims, signature = token.split(".")
    with Keys() as keys:
        rs = mint("--issuer", "a", "--algorithm", "RS256", "--key-file", keys.path("RS256"))
        public = ["--algorithm", "RS256", "--key-file", keys.path("RS256.pub")]
        for args, words in (
                (["--show", ""], "that is no token"),
                (["--show", token + " "], "that is no token"),
                (["--show", "\x1b[2J"], "that is no token"),
                (["--show", "x" * 16385], "longer than the 16384 bytes"),
                (["--show", header + "." + claims], "libjwt cannot read it"),
                (["--show", "bm9uZQ." + claims + "." + signature], "libjwt cannot read it"),
                (["--verify", token, "--secret", "another"], "the signature is wrong"),
                (["--verify", header + "." + claims + ".", "--secret", SECRET],
                 "the signature is wrong"),
                (["--verify", token, "--secret", SECRET, "--algorithm", "HS512"],
                 "names another algorithm than HS512"),
                (["--verify", "eyJhbGciOiJub25lIn0." + claims + ".", "--secret", SECRET],
                 "names another algorithm than HS256"),
                (["--verify", rs, *public[:3], keys.path("ES256.pub")], "the key is none of RS256"),
                (["--verify", rs, *public[:3], keys.path("RS256")], "has a private key"),
                # The old trick: an RS token turned into one of HS with the public key as its secret.
                (["--verify", mint("--issuer", "a", "--secret-file", keys.path("RS256.pub")),
                  *public], "names another algorithm than RS256")):
            expect(tool(*args), 1, words)
        long = tool("--show", "-", data=b"x" * 20000)
        expect(long, 1, "longer than 16384 bytes")


run_tests(globals())
