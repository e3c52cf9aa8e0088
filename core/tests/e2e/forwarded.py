#!/usr/bin/env python3
"""Whom a request comes from and what the upstream is told of it: X-Forwarded-*, X-Real-IP and Forwarded, from clients
that nobody vouches for and from proxies in trusted_ips. One gateway, a reload for each set of settings."""
from lib_weir import Upstream, Weir, run_tests, service

PEER = "127.0.0.1"
FIELDS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-path",
          "x-forwarded-prefix", "x-real-ip", "forwarded")
XFF, REAL = "X-Forwarded-For", "X-Real-IP"


class Gateway:
    def __init__(self):
        self.upstream = Upstream()
        self.config = service(self.upstream.port, path="/a", route_extra="").replace("strip_path: false",
                                                                                     "strip_path: true")
        self.weir = Weir(self.config)
        self.plain = dict(self.weir.settings)

    def use(self, settings):
        self.weir.settings = {**self.plain, **settings}
        done = self.weir.reload(self.config)
        assert done.returncode == 0, done

    def told(self, headers, status=200):
        """The forwarding fields that the upstream got, each with all its lines."""
        self.upstream.seen.clear()
        response = self.weir.get("/a/b?c=d", headers=headers)
        assert response is not None and response.status == status, (headers, response and response.status)
        if status != 200:
            assert self.upstream.seen == []
            return None
        found = {}
        for name, value in self.upstream.seen[0][1]:
            if name.lower() in FIELDS:
                found.setdefault(name.lower(), []).append(value)
        return found

    def own(self):
        return {"x-forwarded-for": [PEER], "x-forwarded-proto": ["http"], "x-forwarded-host": ["gw.test"],
                "x-forwarded-port": [str(self.weir.proxy)], "x-forwarded-path": ["/a/b"],
                "x-forwarded-prefix": ["/a"], "x-real-ip": [PEER]}


SAID = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "pub.test"), ("X-Forwarded-Port", "444"),
        ("X-Forwarded-Path", "/zzz"), ("X-Forwarded-Prefix", "/pp"), (REAL, "203.0.113.9")]
FORWARDED = [("Forwarded", 'for=203.0.113.7;proto=https;by="[2001:db8::1]:80"'), ("forwarded", "for=_x, for=unknown")]


def test_what_a_stranger_says_is_replaced():
    with_chain = {"x-forwarded-for": ["203.0.113.7, " + PEER]}
    gateway.use({})
    for why, headers, differs in (
            ("nothing said", [], {}),
            ("every field", SAID, {}),
            ("in other letters, twice", [(n.upper(), v) for n, v in SAID] + SAID, {}),
            ("a chain goes on: the last of it is ours", [(XFF, "203.0.113.7")], with_chain),
            ("its lines are one", [(XFF, "6.6.6.6"), ("x-forwarded-for", "203.0.113.7")],
             {"x-forwarded-for": ["6.6.6.6, 203.0.113.7, " + PEER]}),
            ("junk too", [(XFF, "<script>, ")], {"x-forwarded-for": ["<script>,, " + PEER]}),
            ("Forwarded (RFC 7239) passes as it came, nobody reads it", FORWARDED,
             {"forwarded": [v for _, v in FORWARDED]}),
            ("all at once", SAID + FORWARDED + [(XFF, "203.0.113.7")],
             {**with_chain, "forwarded": [v for _, v in FORWARDED]})):
        want = {**gateway.own(), **differs}
        found = gateway.told(headers)
        assert found == want, (why, found, want)


def test_what_a_trusted_proxy_says_holds():
    gateway.use({"trusted_ips": PEER})
    said = {n.lower(): [v] for n, v in SAID}
    for why, headers, differs in (
            ("nothing said", [], {}),
            ("every field; the client is the one of X-Real-IP", SAID, {**said, "x-forwarded-for": ["203.0.113.9"]}),
            ("a chain goes on with the proxy, whoever the client is", SAID + [(XFF, "203.0.113.7")],
             {**said, "x-forwarded-for": ["203.0.113.7, " + PEER]}),
            ("Forwarded is not read: it says nothing of the client", FORWARDED,
             {"forwarded": [v for _, v in FORWARDED]})):
        want = {**gateway.own(), **differs}
        found = gateway.told(headers)
        assert found == want, (why, found, want)


def expect_client(rows):
    for why, lines, client in rows:
        lines = [lines] if isinstance(lines, str) else lines
        found = gateway.told([(XFF, line) for line in lines])
        assert found["x-real-ip"] == [client], (why, found)
        chain = ", ".join(line.strip(" \t") for line in lines) + ", " + PEER
        assert found["x-forwarded-for"] == [chain], (why, found, chain)


def test_the_client_in_a_chain():
    gateway.use({"trusted_ips": PEER, "real_ip_header": XFF})
    expect_client((
        ("an address", "203.0.113.7", "203.0.113.7"),
        ("with its port", "203.0.113.7:4711", "203.0.113.7"),
        ("IPv6", "2001:db8::7", "2001:db8::7"),
        ("IPv6 in brackets", "[2001:db8::7]", "2001:db8::7"),
        ("IPv6 with its port", "[2001:db8::7]:4711", "2001:db8::7"),
        ("one client, one text", "2001:DB8:0:0::0007", "2001:db8::7"),
        ("IPv4 mapped into IPv6", "::ffff:203.0.113.7", "203.0.113.7"),
        ("the rightmost: that is whom the proxy saw", "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("spaces divide as well", "6.6.6.6 203.0.113.7", "203.0.113.7"),
        ("tabs", "6.6.6.6,\t203.0.113.7\t", "203.0.113.7"),
        ("empty items are none", "203.0.113.7, ,,", "203.0.113.7"),
        ("at both ends", ", , 203.0.113.7 ,", "203.0.113.7"),
        ("the last line", ["6.6.6.6", "203.0.113.7"], "203.0.113.7"),
        ("the last line that says anything", ["203.0.113.7", ","], "203.0.113.7"),
        ("many lines", ["6.6.6.6"] * 40 + ["203.0.113.7"], "203.0.113.7"),
        ("a long line", "6.6.6.6, " * 600 + "203.0.113.7", "203.0.113.7"),
    ))
    expect_client((why, "203.0.113.7, " + junk, PEER) for why, junk in (
        ("a word", "unknown"), ("an obfuscated name (RFC 7239 6.3)", "_hidden"), ("a name", "localhost"),
        ("no port behind the colon", "203.0.113.8:"), ("no such port", "203.0.113.8:65536"),
        ("a port of letters", "203.0.113.8:http"), ("a port alone", ":80"), ("no such number", "203.0.113.256"),
        ("three numbers", "203.0.113"), ("octal", "0203.0.113.7"), ("hexadecimal", "0xcb.0.113.7"),
        ("a number", "3405803783"), ("a network", "203.0.113.0/24"), ("a unix path", "unix:/run/x"),
        ("a zone", "fe80::1%eth0"), ("an open bracket", "[2001:db8::7"), ("IPv4 in brackets", "[203.0.113.8]"),
        ("quoted, as Forwarded has it", '"203.0.113.8"'), ("a pair, as Forwarded has it", "for=203.0.113.8"),
        ("a minus", "-1"), ("bytes", "\xff\xfe")))
    for why, lines in (("nothing", [""]), ("commas", [",,,"]), ("no line", [])):
        found = gateway.told([(XFF, line) for line in lines])
        assert found["x-real-ip"] == [PEER], (why, found)


def test_the_client_behind_several_proxies():
    gateway.use({"trusted_ips": "127.0.0.1, 10.0.0.0/8, 2001:db8:1::/48", "real_ip_header": XFF,
                 "real_ip_recursive": "on"})
    expect_client((
        ("trusted ones are passed over", "203.0.113.7, 10.0.0.2, 10.0.0.1", "203.0.113.7"),
        ("what the client made up stands before it", "6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("none of them trusted", "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("all of them: the first", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("ports are not of the address", "203.0.113.7:1, 10.0.0.2:2, 10.0.0.1:3", "203.0.113.7"),
        ("IPv6 proxies", "2001:db8:2::7, [2001:db8:1::5]:443, 2001:db8:1:ffff::1", "2001:db8:2::7"),
        ("a mapped address is the one it stands for", "203.0.113.7, ::ffff:10.0.0.1", "203.0.113.7"),
        ("junk ends the search: nobody known wrote it", "203.0.113.7, unknown, 10.0.0.1", "10.0.0.1"),
        ("empty items do not", "203.0.113.7,, 10.0.0.1,", "203.0.113.7"),
        ("over lines", ["6.6.6.6", "203.0.113.7", "10.0.0.2, 10.0.0.1"], "203.0.113.7"),
        ("a long way", "6.6.6.6, 203.0.113.7" + ", 10.0.0.1" * 600, "203.0.113.7"),
        ("a long way over lines", ["203.0.113.7"] + ["10.0.0.1, 10.1.2.3"] * 60, "203.0.113.7"),
    ))
    # A list that no head has room for is no list: the request is refused.
    gateway.told([(XFF, ", ".join(["10.0.0.1"] * 20000))], status=400)


gateway = Gateway()
try:
    run_tests(globals())
finally:
    gateway.weir.__exit__(None)
    gateway.upstream.close()
