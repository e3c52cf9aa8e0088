#!/usr/bin/env python3
"""What clients may send and what becomes of it: bytes in, answer, and what the upstream received.

A row: the section it stands on, why, what the client sends, the statuses it gets and whether its
connection goes on, and the messages that reached the upstream, byte by byte, without the fields that
weir adds to all of them. A refused request has another one behind it (refused()): nobody may see it.

What weir decides where the RFCs leave a choice, or where it differs from them on purpose:
- trailer fields go on when Trailer announces any, in a body that stays in chunks; those that mean
  something to the gateway or frame, route and authenticate are dropped always, and so is what the head
  has: policies have looked at it there. When one took a field away none goes on (trailers.c of
  core/tests/gateway), and without Trailer they are checked and dropped (RFC 9110 6.5.1);
- Connection cannot name away what the gateway and its policies rely on, such as Authorization;
- Expect: 100-continue is passed on (RFC 9110 10.1.1), with a target that is known not to answer it weir
  answers (expect.py has both); other expectations are dropped;
- with an absolute target Host still chooses the route, as in Kong (RFC 9112 3.2.2: the target): see the
  row of one that differs;
- TRACE and CONNECT are 405; Upgrade is offered to the target, but not to what would be HTTP again."""
import collections
import sys

from lib_wire import END, SMUGGLED, Bench, Got, Reached, run_case, run_table

Row = collections.namedtuple("Row", "section why sends gets upstream")
HOST = b"Host: h\r\n"


def ask(fields=b"", body=b"", method=b"GET", target=b"/a", host=HOST, version=b"1.1"):
    return method + b" " + target + b" HTTP/" + version + b"\r\n" + host + fields + b"\r\n" + body


def post(fields=b"", body=b"", **more):
    return ask(fields, body, method=b"POST", **more)


def seen(fields=b"", body=b"", method=b"GET", target=b"/a"):
    return method + b" " + target + b" HTTP/1.1\r\n" + fields + b"\r\n" + body


def seen_post(fields=b"", body=b"", target=b"/a"):
    return seen(fields, body, b"POST", target)


def passed(section, why, sends, *upstream, gets="200 keep"):
    return Row(section, why, sends, gets, list(upstream))


def refused(section, why, sends, status=400, upstream=()):
    return Row(section, why, sends + SMUGGLED, f"{status} close", list(upstream))


TE = b"Transfer-Encoding: chunked\r\n"
CL0, CL3, CL5 = (b"Content-Length: %d\r\n" % n for n in (0, 3, 5))
ABC = b"3\r\nabc\r\n0\r\n\r\n"
GET, SEEN = ask(), seen()

LINES = [
    passed("9112 3", "a plain request", GET, SEEN),
    passed("9112 2.2", "one empty line before a request is skipped", b"\r\n" + GET, SEEN),
    refused("9112 2.2", "two empty lines are no request", b"\r\n\r\n" + GET),
    refused("9112 2.2", "a bare LF before a request", b"\n" + GET),
    refused("9112 2.2", "a bare CR before a request", b"\r" + GET),
    refused("9112 2.2", "a bare LF ends the request line", b"GET /a HTTP/1.1\nHost: h\r\n\r\n"),
    refused("9112 2.2", "a bare CR ends the request line", b"GET /a HTTP/1.1\rHost: h\r\n\r\n"),
    refused("9112 2.2", "a space before the method", b" " + GET),
    refused("9112 3", "two spaces behind the method", b"GET  /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("9112 3", "a tab behind the method", b"GET\t/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("9112 3", "two spaces before the version", b"GET /a  HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("9112 3", "a space behind the version", b"GET /a HTTP/1.1 \r\nHost: h\r\n\r\n"),
    refused("9112 3", "a space in the target", b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("9112 3.1", "a method with a byte no token has", ask(method=b"GE(T")),
    refused("9112 3.1", "a NUL in the method", ask(method=b"GE\0T")),
    refused("9112 3.1", "a method of 65 bytes", ask(method=b"M" * 65)),
    passed("9110 9.1", "an unknown method is passed on", ask(method=b"FOO"), seen(method=b"FOO")),
    passed("9110 9.1", "methods are case-sensitive: get is one of its own", ask(method=b"get"),
           seen(method=b"get")),
    refused("9112 3.2", "a fragment in the target", ask(target=b"/a#b")),
    refused("9112 3.2", "a NUL in the target", ask(target=b"/a\0b")),
    refused("9112 3.2", "a control byte in the target", ask(target=b"/a\x01b")),
    refused("9112 3.2", "DEL in the target", ask(target=b"/a\x7f")),
    refused("9112 3.2.1", "a target without a slash", ask(target=b"a")),
    passed("3986 2.1", "bytes no URI has are escaped for the upstream", ask(target=b"/a\xff"),
           seen(b"X-Forwarded-Path: /a\xff\r\n", target=b"/a%FF")),
    passed("3986 6.2.2.3", "dot segments are resolved once, here", ask(target=b"/x/../a"),
           seen(b"X-Forwarded-Path: /x/../a\r\n")),
    refused("3986 5.2.4", "dot segments above the root", ask(target=b"/../a")),
    refused("3986 5.2.4", "the same, escaped", ask(target=b"/%2e%2e/a")),
    refused("3986 5.2.4", "the same for a reader that unescapes %2F", ask(target=b"/..%2Fa")),
    refused("3986 2.1", "an escaped NUL", ask(target=b"/a%00")),
    refused("3986 2.1", "an escape without digits", ask(target=b"/a%zz")),
    passed("3986 2.1", "an escaped CR LF stays escaped", ask(target=b"/a%0d%0ax"),
           seen(b"X-Forwarded-Path: /a%0d%0ax\r\n", target=b"/a%0D%0Ax")),
    passed("3986 3.4", "a query goes on as it is", ask(target=b"/a?x=%2e%2e/&y=?"),
           seen(target=b"/a?x=%2e%2e/&y=?")),
    passed("3986 3.4", "an empty query is not none", ask(target=b"/a?"), seen(target=b"/a?")),
    refused("9112 3", "a target of more than 8 KiB", ask(target=b"/" + b"u" * 8192), 414),
    refused("9112 2.3", "version 1.2", ask(version=b"1.2"), 505),
    refused("9112 2.3", "version 2.0", ask(version=b"2.0"), 505),
    refused("9112 2.3", "version 0.9", ask(version=b"0.9"), 505),
    refused("9112 2.3", "a version of two digits", ask(version=b"1.10")),
    refused("9112 2.3", "a version in lower case", b"GET /a http/1.1\r\nHost: h\r\n\r\n"),
    refused("9112 2.3", "another protocol", b"GET /a ICAP/1.1\r\nHost: h\r\n\r\n"),
    refused("9112 A.1.1", "HTTP/0.9", b"GET /a\r\n"),
    refused("9112 A.1.1", "HTTP/0.9 with a space", b"GET /a \r\n"),
    refused("9113 3.4", "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    refused("8446 5.1", "a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    refused("9112 2.2", "a PROXY line where none is expected",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GET),
    refused("9112 2.2", "bytes of some other protocol", b"\0\1\2\3"),
    passed("9112 2.2", "every byte alone", [bytes([b]) for b in GET], SEEN),
    Row("9112 8", "a client that leaves in the middle of a head", [GET[:-2], END], "close", []),
]

FIELDS = [
    passed("9112 5", "spaces around a value are not part of it", ask(b"X:  \t v \t \r\nY:\r\n"),
           seen(b"X: v\r\nY: \r\n")),
    refused("9112 5.1", "a space before the colon", ask(b"X : v\r\n")),
    refused("9112 5.1", "a tab before the colon", ask(b"X\t: v\r\n")),
    refused("9112 5.1", "a space before the colon of Content-Length",
            post(b"Content-Length : 5\r\n", b"abcde")),
    refused("9112 5.1", "a space before the colon of Transfer-Encoding",
            post(b"Transfer-Encoding : chunked\r\n", ABC)),
    refused("9112 2.2", "a space before the first name", b"GET /a HTTP/1.1\r\n Host: h\r\n\r\n"),
    refused("9112 5.2", "a folded line", ask(b"X: a\r\n b\r\n")),
    refused("9112 5.2", "a line folded with a tab", ask(b"X: a\r\n\tb\r\n")),
    refused("9112 5.2", "a folded Transfer-Encoding", post(b"Transfer-Encoding:\r\n chunked\r\n", ABC)),
    refused("9112 5.2", "a fold that is empty", ask(b"X: a\r\n \r\n")),
    refused("9112 5", "a line without a colon", ask(b"X\r\n")),
    refused("9112 5", "a field without a name", ask(b": v\r\n")),
    refused("9110 5.1", "a name with a byte no token has", ask(b"X(: v\r\n")),
    refused("9110 5.1", "a name with a NUL", ask(b"X\0: v\r\n")),
    refused("9110 5.1", "a name beyond ASCII", ask(b"X\xff: v\r\n")),
    refused("9110 5.5", "a NUL in a value", ask(b"X: a\0b\r\n")),
    refused("9110 5.5", "a bare CR in a value", ask(b"X: a\rb\r\n")),
    refused("9110 5.5", "a CR CR LF", ask(b"X: a\r\r\n")),
    refused("9112 2.2", "a bare LF behind a value", ask(b"X: a\nY: b\r\n")),
    refused("9112 2.2", "a bare LF hides Transfer-Encoding",
            post(CL5 + b"X: a\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    refused("9112 2.2", "LF LF at the end of a head", b"GET /a HTTP/1.1\r\nHost: h\n\n"),
    refused("9112 2.2", "LF CR LF at the end of a head", b"GET /a HTTP/1.1\r\nHost: h\n\r\n"),
    refused("9112 2.2", "CR LF CR at the end of a head", b"GET /a HTTP/1.1\r\nHost: h\r\n\rX"),
    refused("9110 5.5", "a control byte in a value", ask(b"X: \x08\r\n")),
    refused("9110 5.5", "DEL in a value", ask(b"X: \x7f\r\n")),
    passed("9110 5.5", "bytes beyond ASCII in a value go on", ask(b"X: \xe9\xff\r\n"),
           seen(b"X: \xe9\xff\r\n")),
    passed("9110 5.3", "fields of one name keep their order", ask(b"X: 1\r\nY: 2\r\nx: 3\r\n"),
           seen(b"X: 1\r\nY: 2\r\nx: 3\r\n")),
    refused("9110 5.4", "more than 100 fields", ask(b"X: v\r\n" * 100), 400),
    refused("9110 5.4", "a head of more than 32 KiB", ask(b"X: " + b"v" * 33000 + b"\r\n"), 400),
]

HOSTS = [
    refused("9112 3.2", "no Host", b"GET /a HTTP/1.1\r\n\r\n"),
    refused("9112 3.2", "two Hosts", ask(b"Host: i\r\n")),
    refused("9112 3.2", "two Hosts that agree", ask(HOST)),
    refused("9112 3.2", "an empty Host: every target here has an authority", ask(host=b"Host:\r\n")),
    refused("9112 3.2", "a Host with a path", ask(host=b"Host: h/x\r\n")),
    refused("9112 3.2", "a Host with a user", ask(host=b"Host: u@h\r\n")),
    refused("9112 3.2", "a Host with a space", ask(host=b"Host: h i\r\n")),
    refused("9112 3.2", "two Hosts that somebody joined", ask(host=b"Host: h, i\r\n")),
    refused("9110 4.2.1", "a port that is no number", ask(host=b"Host: h:x\r\n")),
    refused("9110 4.2.1", "a port that is too large", ask(host=b"Host: h:65536\r\n")),
    refused("3986 3.2.2", "an open bracket", ask(host=b"Host: [::1\r\n")),
    refused("3986 3.2.2", "no address in the brackets", ask(host=b"Host: [h]\r\n")),
    passed("3986 3.2.2", "an IPv6 address", ask(host=b"Host: [::1]:80\r\n"),
           seen(b"X-Forwarded-Host: [::1]\r\n")),
    passed("9110 4.2.3", "a port and another case", ask(host=b"Host: H:80\r\n"), SEEN),
    passed("9112 3.2", "HTTP/1.0 needs no Host", b"GET /a HTTP/1.0\r\n\r\n",
           seen(b"Via: 1.0 weir/V\r\nX-Forwarded-Host: \r\n"), gets="200 close"),
    passed("9112 3.2.2", "an absolute target that agrees with Host", ask(target=b"http://h/a?q"),
           seen(target=b"/a?q")),
    # A Kong does so too (recorded: routing/absolute-target-host), and files rely on it. What follows from
    # it: the route, and with it every policy, is that of Host, while X-Forwarded-Host says what the
    # client wrote in the target. A service that chooses a tenant by X-Forwarded-Host behind a route with
    # `hosts` can be asked for another tenant than the route let in; it should look at Host (preserve_host),
    # which is the one that was routed. No other reader is misled: what goes on is always in origin form.
    passed("9112 3.2.2", "one that differs: Host is routed, the target is told as X-Forwarded-Host",
           ask(target=b"http://i/a"), seen(b"X-Forwarded-Host: i\r\n")),
    refused("9112 3.2.2", "an absolute target still needs a Host", ask(target=b"http://h/a", host=b"")),
    passed("9112 3.2.1", "an absolute target without a path means /", ask(target=b"http://h"),
           seen(target=b"/")),
    passed("9112 3.2.1", "and with a query alone, / too", ask(target=b"http://h?q"),
           seen(target=b"/?q")),
    passed("9110 4.2.2", "the scheme of an absolute target does not make it secure",
           ask(target=b"HTTPS://h/a"), SEEN),
    refused("9110 4.2.4", "a user in an absolute target", ask(target=b"http://h@i/a")),
    refused("9110 4.2.1", "an absolute target without a host", ask(target=b"http:///a")),
    refused("9112 3.2.2", "another scheme", ask(target=b"ftp://h/a")),
    refused("9112 3.2.2", "dot segments in an absolute target", ask(target=b"http://h/../a")),
    passed("9112 3.2.1", "// is a path, not an authority", ask(target=b"//i/a"),
           seen(b"X-Forwarded-Path: //i/a\r\n", target=b"/i/a")),
]

METHODS = [
    Row("9110 9.3.7", "OPTIONS * asks about this server, and goes no further",
        ask(method=b"OPTIONS", target=b"*"), "200 keep", []),
    Row("9112 3.2.4", "an absolute OPTIONS without a path is OPTIONS *",
        ask(method=b"OPTIONS", target=b"http://h"), "200 keep", []),
    refused("9112 3.2.4", "* with another method", ask(target=b"*")),
    passed("9110 9.3.7", "OPTIONS of a path", ask(method=b"OPTIONS"), seen(method=b"OPTIONS")),
    Row("9110 7.6.2", "Max-Forwards: 0 is answered here", ask(b"Max-Forwards: 0\r\n",
        method=b"OPTIONS"), "200 keep", []),
    passed("9110 7.6.2", "Max-Forwards counts down", ask(b"Max-Forwards: 10\r\n", method=b"OPTIONS"),
           seen(b"Max-Forwards: 9\r\n", method=b"OPTIONS")),
    passed("9110 7.6.2", "a large one counts down too",
           ask(b"Max-Forwards: 18446744073709551615\r\n", method=b"OPTIONS"),
           seen(b"Max-Forwards: 18446744073709551614\r\n", method=b"OPTIONS")),
    refused("9110 7.6.2", "a Max-Forwards that is no number",
            ask(b"Max-Forwards: x\r\n", method=b"OPTIONS")),
    refused("9110 7.6.2", "a negative one", ask(b"Max-Forwards: -1\r\n", method=b"OPTIONS")),
    refused("9110 7.6.2", "two of them", ask(b"Max-Forwards: 1\r\nMax-Forwards: 0\r\n",
            method=b"OPTIONS")),
    passed("9110 7.6.2", "of other methods it is an ordinary field", ask(b"Max-Forwards: 0\r\n"),
           seen(b"Max-Forwards: 0\r\n")),
    Row("9110 9.3.8", "TRACE is refused: it would show credentials", ask(method=b"TRACE"),
        "405 keep", []),
    Row("9110 9.3.8", "with Max-Forwards too", ask(b"Max-Forwards: 0\r\n", method=b"TRACE"),
        "405 keep", []),
    # And is the last of its connection: what follows may be meant for a tunnel. More: connect.py
    Row("9110 9.3.6", "CONNECT is refused", ask(method=b"CONNECT", target=b"h:443"),
        "405 close", []),
    refused("9112 3.2.3", "CONNECT to a path", ask(method=b"CONNECT")),
    refused("9112 3.2.3", "CONNECT without a port", ask(method=b"CONNECT", target=b"h")),
    refused("9112 3.2.3", "CONNECT to an absolute target", ask(method=b"CONNECT", target=b"http://h:1/")),
    Row("9110 9.3.2", "HEAD", ask(method=b"HEAD"), "200h keep", [seen(method=b"HEAD")]),
    passed("9110 9.3.1", "a GET may have a body", ask(CL3, b"abc"), seen(CL3, b"abc")),
    passed("9112 6.3", "a POST without a length has no body", post(), seen_post()),
    passed("9110 7.8", "Upgrade is offered to the target, in our own words",
           ask(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
           seen(b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")),
    passed("9110 7.8", "not when Connection does not name it", ask(b"Upgrade: websocket\r\n"), SEEN),
    passed("9113 3.1", "h2c is dropped", ask(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
           b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), SEEN),
]

LENGTHS = [
    passed("9112 6.3", "a body of its Content-Length", post(CL5, b"abcde"), seen_post(CL5, b"abcde")),
    passed("9110 8.6", "a Content-Length of 0", post(CL0), seen_post(CL0)),
    passed("9110 8.6", "leading zeros are written without",
           post(b"Content-Length: 0005\r\n", b"abcde"), seen_post(CL5, b"abcde")),
    refused("9110 8.6", "two that agree: some readers take one, some none", post(CL5 + CL5, b"abcde")),
    refused("9110 8.6", "a list of equal ones, as well", post(b"Content-Length: 5, 5\r\n", b"abcde")),
    refused("9110 8.6", "two that differ", post(CL5 + CL3, b"abcde")),
    refused("9110 8.6", "two that differ, the smaller first", post(CL3 + CL5, b"abcde")),
    refused("9110 8.6", "a list that differs", post(b"Content-Length: 5, 3\r\n", b"abcde")),
    refused("9112 6.3", "a list with a hole", post(b"Content-Length: 5,\r\n", b"abcde")),
    refused("9112 6.3", "an empty one", post(b"Content-Length:\r\n")),
    refused("9112 6.3", "a plus", post(b"Content-Length: +5\r\n", b"abcde")),
    refused("9112 6.3", "a minus", post(b"Content-Length: -5\r\n", b"abcde")),
    refused("9112 6.3", "hexadecimal", post(b"Content-Length: 0x5\r\n", b"abcde")),
    refused("9112 6.3", "a fraction", post(b"Content-Length: 5.0\r\n", b"abcde")),
    refused("9112 6.3", "a space inside", post(b"Content-Length: 5 5\r\n", b"abcde")),
    refused("9112 6.3", "quotes", post(b'Content-Length: "5"\r\n', b"abcde")),
    refused("9112 6.3", "an unknown unit behind it", post(b"Content-Length: 5b\r\n", b"abcde")),
    refused("9110 8.6", "2 to the power of 63", post(b"Content-Length: 9223372036854775808\r\n")),
    refused("9110 8.6", "2 to the power of 64 and 5",
            post(b"Content-Length: 18446744073709551621\r\n", b"abcde")),
    refused("9112 6.3", "Content-Length before Transfer-Encoding", post(CL5 + TE, ABC)),
    refused("9112 6.3", "Content-Length behind Transfer-Encoding", post(TE + CL5, ABC)),
    refused("9112 6.3", "Content-Length 0 beside Transfer-Encoding", post(CL0 + TE, ABC)),
    refused("9112 6.3", "of a GET too", ask(CL5 + TE, ABC)),
    refused("9112 11.2", "a Content-Length that Connection names stays one",
            post(b"Connection: Content-Length\r\n" + CL5 + TE, ABC)),
    passed("9112 9.3.2", "what is behind the body is the next request", post(CL3, b"abc") + GET,
           seen_post(CL3, b"abc"), SEEN, gets="200 200 keep"),
    Row("9112 8", "a client that leaves in the middle of a body", [post(CL5, b"abc"), END], "close",
        [seen_post(CL5, b"abc")]),
    passed("9112 6.3", "a body that comes later", [post(CL5), Reached(b"\r\n\r\n"), b"abcde"],
           seen_post(CL5, b"abcde")),
]


def coded(value, status=501):
    return post(b"Transfer-Encoding: " + value + b"\r\n", ABC), status


CODINGS = [
    passed("9112 6.1", "chunked, here whole: its length is known", post(TE, ABC),
           seen_post(CL3, b"abc")),
    passed("9112 6.1", "chunked, coming in pieces",
           [post(TE, b"3\r\nabc\r\n"), Reached(b"3\r\nabc\r\n"), b"2\r\nde\r\n0\r\n\r\n"],
           seen_post(TE, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")),
    passed("9110 5.6.1", "codings have no case", *[coded(b"CHUNKED")[0]], seen_post(CL3, b"abc")),
    passed("9112 7.1", "an empty chunked body", post(TE, b"0\r\n\r\n"), seen_post(CL0)),
    *[refused(section, why, *coded(value)) for section, why, value in (
        ("9112 6.1", "identity", b"identity"), ("9112 6.1", "gzip alone", b"gzip"),
        ("9112 6.1", "gzip, chunked: not what we undo", b"gzip, chunked"),
        ("9112 6.1", "chunked is not the last", b"chunked, gzip"),
        ("9112 6.1", "chunked twice", b"chunked, chunked"),
        ("9112 6.1", "chunked and a hole", b"chunked,"),
        ("9112 6.1", "a hole and chunked", b", chunked"),
        ("9112 6.1", "an x before it", b"xchunked"), ("9112 6.1", "an x behind it", b"chunkedx"),
        ("9112 6.1", "quotes around it", b'"chunked"'), ("9112 7", "a parameter", b"chunked;q=1"),
        ("9112 7", "a half parameter", b"chunked;"), ("9112 6.1", "nothing", b""),
        ("9110 5.6.2", "a letter that some fold to k", b"chun\xe2\x84\xaaed"))],
    refused("9110 5.5", "a vertical tab before it", *coded(b"\x0bchunked", 400)),
    refused("9110 5.5", "a NUL behind it", *coded(b"chunked\0", 400)),
    refused("9112 6.1", "two fields", post(TE + TE, ABC), 501),
    refused("9112 6.1", "two fields, one of them identity",
            post(TE + b"Transfer-Encoding: identity\r\n", ABC), 501),
    refused("9112 6.1", "in HTTP/1.0", post(TE, ABC, version=b"1.0")),
    refused("9112 6.1", "in HTTP/1.0 that stays", post(TE + b"Connection: keep-alive\r\n", ABC,
            version=b"1.0")),
    refused("9110 7.6.1", "Connection cannot name it away",
            post(b"Connection: Transfer-Encoding\r\n" + CL5 + TE, ABC)),
    passed("9110 5.1", "Transfer_Encoding is another field", post(CL3 + b"Transfer_Encoding: chunked\r\n",
           b"abc"), seen_post(CL3 + b"Transfer_Encoding: chunked\r\n", b"abc")),
    passed("9110 10.1.4", "TE: chunked says nothing about this body", ask(b"TE: chunked\r\n"), SEEN),
]


def chunks(section, why, body, *, payload=None):
    sends = post(TE, body)
    if payload is None:
        return refused(section, why, sends)
    return passed(section, why, sends, seen_post(b"Content-Length: %d\r\n" % len(payload), payload))


CHUNKS = [
    chunks("9112 7.1", "sizes in both cases", b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
           payload=b"01234567890123456789"),
    chunks("9112 7.1", "leading zeros", b"0003\r\nabc\r\n000\r\n\r\n", payload=b"abc"),
    chunks("9112 7.1.1", "extensions are dropped", b'3;a=b;c="d\\"e";f\r\nabc\r\n0;g\r\n\r\n',
           payload=b"abc"),
    chunks("9112 7.1.1", "spaces before an extension", b"3 \t;a\r\nabc\r\n0\r\n\r\n", payload=b"abc"),
    chunks("9112 7.1", "no size", b"\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1", "an extension without a size", b";a\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1", "a size with 0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1", "a size with a plus", b"+3\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1", "a size with a minus", b"-3\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1", "a size with an underscore", b"0_3\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1", "a space before the size", b" 3\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1", "a space behind the size", b"3 \r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1", "a size of 17 digits", b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1", "a size of 2 to the power of 63", b"8000000000000000\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 2.2", "a bare LF behind the size", b"3\nabc\r\n0\r\n\r\n"),
    chunks("9112 2.2", "a bare CR behind the size", b"3\rabc\r\n0\r\n\r\n"),
    chunks("9112 2.2", "a bare LF behind a chunk", b"3\r\nabc\n0\r\n\r\n"),
    chunks("9112 2.2", "nothing behind a chunk", b"3\r\nabc0\r\n\r\n"),
    chunks("9112 7.1", "a chunk longer than its size", b"3\r\nabcd\r\n0\r\n\r\n"),
    chunks("9112 7.1.1", "a bare LF in an extension", b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1.1", "a bare CR in an extension", b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1.1", "a NUL in an extension", b"3;\0\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 7.1.1", "an extension of more than 256 bytes", b"3;" + b"x" * 300 +
           b"\r\nabc\r\n0\r\n\r\n"),
    chunks("9112 2.2", "a bare LF at the end", b"3\r\nabc\r\n0\r\n\n"),
    chunks("9112 2.2", "a bare LF behind the last size", b"3\r\nabc\r\n0\n\r\n"),
    chunks("9110 6.5.1", "trailer fields are dropped", b"3\r\nabc\r\n0\r\nX: a\r\nY: b\r\n\r\n",
           payload=b"abc"),
    chunks("9110 6.5.1", "one that would frame or route is dropped like any",
           b"3\r\nabc\r\n0\r\nContent-Length: 9\r\nHost: i\r\n\r\n", payload=b"abc"),
    chunks("9112 7.1.2", "a folded trailer field", b"0\r\nX: a\r\n b\r\n\r\n"),
    chunks("9112 7.1.2", "a trailer field without a colon", b"0\r\nX\r\n\r\n"),
    chunks("9112 7.1.2", "a space before the colon of a trailer field", b"0\r\nX : a\r\n\r\n"),
    chunks("9112 7.1.2", "a trailer field without a name", b"0\r\n: a\r\n\r\n"),
    chunks("9110 5.5", "a NUL in a trailer field", b"0\r\nX: \0\r\n\r\n"),
    chunks("9112 2.2", "a bare LF behind a trailer field", b"0\r\nX: a\n\r\n"),
    chunks("9110 6.5.1", "more than 16 KiB of trailer fields",
           b"0\r\n" + b"X: %s\r\n" % (b"v" * 1000) * 17 + b"\r\n"),
    passed("9110 6.6.2", "fields that Trailer announces go on with it", post(TE + b"Trailer: X\r\n",
           b"3\r\nabc\r\n0\r\nX: a\r\n\r\n"),
           seen_post(TE + b"Trailer: X\r\n", b"3\r\nabc\r\n0\r\nX: a\r\n\r\n")),
    passed("9110 6.6.2", "a Trailer without any announces nothing that must come",
           post(TE + b"Trailer: X\r\n", ABC), seen_post(TE + b"Trailer: X\r\n", ABC)),
    passed("9110 6.5.1", "not those that frame, route, authenticate or say who it is", post(TE +
           b"Trailer: X, Content-Length\r\n", b"0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n"
           b"Host: i\r\nAuthorization: a\r\nCookie: a=b\r\nX-Forwarded-For: 1.1.1.1\r\n"
           b"X-Consumer-Username: root\r\nContent-Type: x\r\nConnection: close\r\nTE: x\r\nX: a\r\n"
           b"Cache-Control: x\r\nX-Kong-Request-Id: 1\r\nProxy-Authorization: x\r\n\r\n"),
           seen_post(TE + b"Trailer: X, Content-Length\r\n", b"0\r\nX: a\r\n\r\n")),
    passed("9110 6.5.1", "nor what the head has said already",
           post(TE + b"Trailer: X, Y\r\nx: 1\r\n", b"0\r\nX: 2\r\nY: 2\r\n\r\n"),
           seen_post(TE + b"Trailer: X, Y\r\nx: 1\r\n", b"0\r\nY: 2\r\n\r\n")),
    passed("9112 7.1.2", "in pieces they are the same",
           [post(TE + b"Trailer: X\r\n", b"3\r\nabc\r\n"), Reached(b"3\r\nabc\r\n"),
            *[bytes([b]) for b in b"0\r\nX:\t a \r\n\r\n"]],
           seen_post(TE + b"Trailer: X\r\n", b"3\r\nabc\r\n0\r\nX: a\r\n\r\n")),
    passed("9112 9.3.2", "what is behind them is the next request",
           post(TE + b"Trailer: X\r\n", b"0\r\nX: a\r\n\r\n") + GET,
           seen_post(TE + b"Trailer: X\r\n", b"0\r\nX: a\r\n\r\n"), SEEN, gets="200 200 keep"),
    chunks("9110 6.5.1", "100 of them", b"0\r\n" + b"X: a\r\n" * 100 + b"\r\n", payload=b""),
    chunks("9110 6.5.1", "more than 100 of them", b"0\r\n" + b"X: a\r\n" * 101 + b"\r\n"),
    passed("9110 6.5.1", "those of a body in pieces are dropped without Trailer",
           [post(TE, b"3\r\nabc\r\n"), Reached(b"3\r\nabc\r\n"), b"0\r\nX: a\r\n\r\n"],
           seen_post(TE, b"3\r\nabc\r\n0\r\n\r\n")),
    passed("9112 7.1.1", "extensions of a body in pieces are dropped",
           [post(TE, b"3;x=y\r\nabc\r\n"), Reached(b"3\r\nabc\r\n"), b"0;z\r\n\r\n"],
           seen_post(TE, b"3\r\nabc\r\n0\r\n\r\n")),
    Row("9112 8", "a body that breaks after a good start is cut off, not ended",
        [post(TE, b"3\r\nabc\r\n"), Reached(b"3\r\nabc\r\n"), b"x\r\n" + SMUGGLED], "400 close",
        [seen_post(TE, b"3\r\nabc\r\n")]),
    Row("9112 8", "a client that leaves before the last chunk is not taken to have ended",
        [post(TE, b"3\r\nabc\r\n"), Reached(b"3\r\nabc\r\n"), END], "close",
        [seen_post(TE, b"3\r\nabc\r\n")]),
    passed("9112 9.3.2", "what is behind a chunked body is the next request", post(TE, ABC) + GET,
           seen_post(CL3, b"abc"), SEEN, gets="200 200 keep"),
    passed("9112 7.1", "a chunk that looks like a request is a chunk",
           post(TE, b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"),
           seen_post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED)),
]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = b"Expect: 100-continue\r\n"
HOPS = [
    passed("9112 9.3", "HTTP/1.1 stays", GET + GET, SEEN, SEEN, gets="200 200 keep"),
    passed("9112 9.3", "Connection: close ends it", ask(b"Connection: close\r\n") + SMUGGLED, SEEN,
           gets="200 close"),
    passed("9112 9.3", "close wins over keep-alive",
           ask(b"Connection: keep-alive, Close\r\n") + SMUGGLED, SEEN, gets="200 close"),
    passed("9112 9.3", "in a second field as well",
           ask(b"Connection: x\r\nConnection: close\r\n") + SMUGGLED, SEEN, gets="200 close"),
    passed("9112 9.3", "HTTP/1.0 ends", ask(version=b"1.0") + SMUGGLED,
           seen(b"Via: 1.0 weir/V\r\n"), gets="200 close"),
    passed("9112 C.2.2", "HTTP/1.0 stays when it asks to",
           ask(b"Connection: Keep-Alive\r\n", version=b"1.0"), seen(b"Via: 1.0 weir/V\r\n")),
    passed("9112 C.2.2", "Proxy-Connection says nothing and goes nowhere",
           ask(b"Proxy-Connection: keep-alive\r\n", version=b"1.0") + SMUGGLED,
           seen(b"Via: 1.0 weir/V\r\n"), gets="200 close"),
    passed("9112 9.3.2", "pipelined requests are answered in order, bodies and all",
           post(CL3, b"abc", target=b"/1") + ask(target=b"/2") + post(TE, ABC, target=b"/3") +
           ask(method=b"OPTIONS", target=b"*") + ask(target=b"/4"),
           seen_post(CL3, b"abc", b"/1"), seen(target=b"/2"), seen_post(CL3, b"abc", b"/3"),
           seen(target=b"/4"), gets="200 200 200 200 200 keep"),
    passed("9110 9.3.2", "an answer to HEAD has no body, and the next one is not taken for it",
           ask(method=b"HEAD") + GET, seen(method=b"HEAD"), SEEN, gets="200h 200 keep"),
    Row("9110 9.3.8", "a refused TRACE with a body that is here does not end what was pipelined",
        ask(CL3, b"abc", method=b"TRACE") + GET, "405 200 keep", [SEEN]),
    Row("9110 9.3.7", "nor does OPTIONS * with one", ask(CL3, b"abc", method=b"OPTIONS", target=b"*") + GET,
        "200 200 keep", [SEEN]),
    Row("9112 9.3.2", "a bad one ends what was pipelined, after the answers before it",
        GET + ask(b"X : v\r\n") + SMUGGLED, "200 400 close", [SEEN]),
    passed("9110 7.6.1", "Connection and what it names are dropped",
           ask(b"Connection: x-foo, X-BAR,,\r\nX-Foo: 1\r\nx-bar: 2\r\nX-Foo: 3\r\nX: 4\r\n"),
           seen(b"X: 4\r\n")),
    passed("9110 7.6.1", "a field before Connection is dropped too",
           ask(b"X-Foo: 1\r\nConnection: x-foo\r\n"), SEEN),
    passed("9110 7.6.1", "every Connection field counts",
           ask(b"Connection: a\r\nConnection: b\r\nA: 1\r\nB: 2\r\n"), SEEN),
    passed("9110 7.6.1", "it cannot name away what the gateway relies on",
           ask(b"Connection: Host, Authorization, X-Forwarded-For, Cookie\r\n"
               b"Authorization: Basic eDp5\r\nCookie: a=b\r\n"),
           seen(b"Authorization: Basic eDp5\r\nCookie: a=b\r\n")),
    passed("9110 7.6.1", "nor a length", post(b"Connection: Content-Length\r\n" + CL3, b"abc"),
           seen_post(CL3, b"abc")),
    passed("9110 7.6.1", "Keep-Alive, TE and Trailer are dropped unnamed",
           ask(b"Keep-Alive: timeout=5\r\nTE: deflate\r\nTrailer: X\r\n"), SEEN),
    passed("9110 10.1.4", "TE: trailers is passed on: trailers are",
           ask(b"TE: gzip, trailers\r\nConnection: TE\r\n"), seen(b"TE: trailers\r\n")),
    passed("9110 5.3", "every TE field counts", ask(b"TE: gzip\r\nTE: trailers\r\n"),
           seen(b"TE: trailers\r\n")),
    passed("9110 10.1.4", "not of HTTP/1.0, which has no trailers", ask(b"TE: trailers\r\n", version=b"1.0"),
           seen(b"Via: 1.0 weir/V\r\n"), gets="200 close"),
    passed("9110 11.7.2", "Proxy-Authorization may be for one behind us",
           ask(b"Proxy-Authorization: Basic eDp5\r\n"), seen(b"Proxy-Authorization: Basic eDp5\r\n")),
    passed("3875 4.1.18", "Proxy would become HTTP_PROXY of a CGI", ask(b"Proxy: http://evil\r\n"),
           SEEN),
    passed("9110 7.6.3", "Via grows", ask(b"Via: 1.1 x\r\n"), seen(b"Via: 1.1 x, 1.1 weir/V\r\n")),
    passed("9110 7.6.3", "each Via field counts", ask(b"Via: 1.1 x\r\nVia: 1.1 y\r\n"),
           seen(b"Via: 1.1 x, 1.1 y, 1.1 weir/V\r\n")),
    passed("9110 5.3", "each X-Forwarded-For field counts",
           ask(b"X-Forwarded-For: 1.1.1.1\r\nX: 1\r\nX-Forwarded-For: 2.2.2.2\r\n"),
           seen(b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\nX: 1\r\n")),
    passed("9110 7.6.1", "forwarding fields of a stranger are replaced",
           ask(b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: i\r\nX-Real-IP: 1.1.1.1\r\n"
               b"X-Forwarded-Path: /x\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /y\r\n"), SEEN),
    # The recorder says nothing to a head alone: the wait passes (once, then that is known).
    passed("9110 10.1.1", "Expect: 100-continue goes on; a silent target gets the body after a while",
           [post(EXPECT + CL5), Reached(EXPECT + b"\r\n"), Got(CONTINUE), b"abcde"],
           seen_post(CL5 + EXPECT, b"abcde")),
    passed("9110 10.1.1", "who is known to be silent is not asked", [post(EXPECT + TE), Got(CONTINUE), ABC],
           seen_post(TE, ABC)),
    passed("9110 5.3", "every Expect field counts",
           [post(b"Expect: x\r\nExpect: y, 100-continue\r\n" + CL3), Got(CONTINUE), b"abc"],
           seen_post(CL3, b"abc")),
    passed("9110 10.1.1", "not when the body is there already", post(EXPECT + CL3, b"abc"),
           seen_post(CL3, b"abc")),
    passed("9110 10.1.1", "not without a body", ask(EXPECT), SEEN),
    passed("9110 10.1.1", "not to HTTP/1.0",
           [post(EXPECT + CL3, version=b"1.0"), Reached(b"\r\n\r\n"), b"abc"],
           seen_post(b"Via: 1.0 weir/V\r\n" + CL3, b"abc"), gets="200 close"),
    Row("9110 10.1.1", "not when the request is refused",
        [ask(EXPECT + CL5, method=b"TRACE")], "405 close", []),
    passed("9110 10.1.1", "in any case of letters",
           [post(b"Expect: 100-Continue\r\n" + CL3), Got(CONTINUE), b"abc"], seen_post(CL3, b"abc")),
    passed("9110 10.1.1", "another expectation is dropped (417 may be said, need not)",
           post(b"Expect: 200-ok\r\n" + CL3, b"abc"), seen_post(CL3, b"abc")),
]


def run(bench, row):
    _, messages, _ = run_case(bench, row.sends, row.gets)
    want = [m.replace(b"weir/V", bench.version) for m in row.upstream]
    messages = [m if b"\r\n\r\n" not in m else bench.bare(m) for m in messages]
    assert messages == want, f"the upstream got\n  {messages!r}, not\n  {want!r}"


XFF1, XFF2 = b"X-Forwarded-For: 1.1.1.1\r\n", b"X-Forwarded-For: 2.2.2.2\r\n"
TRUSTED = [  # whom a gateway believes that has a proxy of its own before it
    passed("9110 5.3", "the address that the proxy wrote", ask(XFF1), seen(
        b"X-Forwarded-For: 1.1.1.1, 127.0.0.1\r\nX-Real-IP: 1.1.1.1\r\n")),
    passed("9110 5.3", "a line of the proxy outranks one that its client made up", ask(XFF1 + XFF2), seen(
        b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\nX-Real-IP: 2.2.2.2\r\n")),
    passed("9110 5.3", "and one that is no address hides nothing", ask(XFF2 + b"X-Forwarded-For: x\r\n"),
           seen(b"X-Forwarded-For: 2.2.2.2, x, 127.0.0.1\r\n")),
]

ROWS = LINES + FIELDS + HOSTS + METHODS + LENGTHS + CODINGS + CHUNKS + HOPS

with Bench({"expect_timeout": "200ms"}) as table:
    failures = run_table(table, ROWS, run)
with Bench({"trusted_ips": "127.0.0.1", "real_ip_header": "X-Forwarded-For"}) as table:
    failures += run_table(table, TRUSTED, run)
sys.exit(1 if failures else 0)
