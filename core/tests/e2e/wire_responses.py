#!/usr/bin/env python3
"""What targets may answer and what becomes of it: bytes in, bytes to the client, and both connections.

A row: the section it stands on, why, what the target sends, the statuses the client gets and whether
its connection goes on, its answers byte by byte without the fields that weir adds, and whether the
target's connection carries the next request. What is refused is 502 to the client, whose connection
goes on: nothing of such an answer was passed on; and the target's is closed, with all that is in it.

What weir decides where the RFCs leave a choice, or where it differs from them on purpose:
- trailer fields are passed on to a client that said TE: trailers and gets the body as it came, in
  chunks; those that frame, route or authenticate a message are dropped always (RFC 9110 6.5.1);
- a space before a colon is refused (RFC 9112 5.1 would have it removed), as is a folded line;
- 100 is passed on to who still expects it alone (expect.py); other 1xx always are (RFC 9110 15.2);
- a status above 599 goes on as it is, as in Kong (RFC 9110 15 calls it invalid)."""
import collections
import sys

from lib_wire import CLOSE, RESET, SMUGGLED, Bench, Got, Reached, run_case, run_table

Row = collections.namedtuple("Row", "section why sends gets answers kept asks early")
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"HEAD" + GET[3:]
OLD = b"GET /a HTTP/1.0\r\nHost: h\r\n\r\n"
WITH_TRAILERS = b"GET /a HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
UPGRADE = b"HTTP/1.1 426 Upgrade Required\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
CL2, CL5 = b"Content-Length: 2\r\n", b"Content-Length: 5\r\n"
ABC = b"3\r\nabc\r\n0\r\n\r\n"
SECOND = OK + CL5 + b"\r\nEVIL!"  # what a client must never take for its next answer


def full(fields=b"", body=b"", line=OK):
    return line + fields + b"\r\n" + body


def passed(section, why, sends, *answers, gets="200 keep", kept=True, asks=GET, early=False):
    return Row(section, why, sends, gets, answers, kept, asks, early)


def closing(section, why, sends, *answers, **more):
    return passed(section, why, sends, *answers, kept=False, **more)


def refused(section, why, sends, *, asks=GET, gets="502 keep"):
    sends = sends if isinstance(sends, list) else [sends + SECOND]
    return Row(section, why, sends, gets, (), False, asks, False)


LINES = [
    passed("9112 4", "a plain answer", full(CL2, b"ok"), full(CL2, b"ok")),
    passed("9112 4", "no reason", full(CL2, b"ok", b"HTTP/1.1 200 \r\n"), full(CL2, b"ok")),
    passed("9112 4", "not even the space before it", full(CL2, b"ok", b"HTTP/1.1 200\r\n"),
           full(CL2, b"ok")),
    passed("9112 4", "a reason of one's own", full(CL2, b"ok", b"HTTP/1.1 200 Fine, \xe9\r\n"),
           full(CL2, b"ok", b"HTTP/1.1 200 Fine, \xe9\r\n")),
    passed("9110 15", "a status nobody registered", full(CL2, b"ok", b"HTTP/1.1 299 X\r\n"),
           full(CL2, b"ok", b"HTTP/1.1 299 X\r\n"), gets="299 keep"),
    passed("9110 15", "a status above 599 goes on", full(CL2, b"ok", b"HTTP/1.1 999 X\r\n"),
           full(CL2, b"ok", b"HTTP/1.1 999 X\r\n"), gets="999 keep"),
    passed("9112 4", "every byte alone", [bytes([b]) for b in full(CL2, b"ok")], full(CL2, b"ok")),
    refused("9110 15", "a status below 100", full(CL2, b"ok", b"HTTP/1.1 099 X\r\n")),
    refused("9112 4", "a status of two digits", full(CL2, b"ok", b"HTTP/1.1 20 OK\r\n")),
    refused("9112 4", "a status of four digits", full(CL2, b"ok", b"HTTP/1.1 2000 OK\r\n")),
    refused("9112 4", "a status that is no number", full(CL2, b"ok", b"HTTP/1.1 abc OK\r\n")),
    refused("9112 4", "a negative status", full(CL2, b"ok", b"HTTP/1.1 -20 OK\r\n")),
    refused("9112 4", "two spaces before the status", full(CL2, b"ok", b"HTTP/1.1  200 OK\r\n")),
    refused("9112 4", "a tab before the status", full(CL2, b"ok", b"HTTP/1.1\t200 OK\r\n")),
    refused("9112 4", "no status", full(CL2, b"ok", b"HTTP/1.1\r\n")),
    refused("9112 2.3", "version 2.0", full(CL2, b"ok", b"HTTP/2.0 200 OK\r\n")),
    refused("9112 2.3", "version 1.2", full(CL2, b"ok", b"HTTP/1.2 200 OK\r\n")),
    refused("9112 2.3", "version 0.9", full(CL2, b"ok", b"HTTP/0.9 200 OK\r\n")),
    refused("9112 2.3", "a version in lower case", full(CL2, b"ok", b"http/1.1 200 OK\r\n")),
    refused("9112 2.3", "another protocol", full(CL2, b"ok", b"ICY 200 OK\r\n")),
    refused("9112 A.1.1", "HTTP/0.9: a body alone", [b"<html>hello</html>\r\n\r\n", CLOSE]),
    refused("9112 2.2", "an empty line before it", b"\r\n" + full(CL2, b"ok")),
    refused("9112 2.2", "a space before it", b" " + full(CL2, b"ok")),
    refused("9112 2.2", "a bare LF ends the status line", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok"),
    refused("9112 2.2", "a bare CR in the reason", full(CL2, b"ok", b"HTTP/1.1 200 O\rK\r\n")),
    refused("9112 4", "a NUL in the reason", full(CL2, b"ok", b"HTTP/1.1 200 O\0K\r\n")),
    refused("8446 5.1", "a TLS alert", [b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n", CLOSE]),
    refused("9113 3.4", "settings of HTTP/2", [b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", CLOSE]),
]

FIELDS = [
    passed("9110 5.3", "fields keep their order", full(b"A: 1\r\nB: 2\r\na: 3\r\n" + CL2, b"ok"),
           full(b"A: 1\r\nB: 2\r\na: 3\r\n" + CL2, b"ok")),
    passed("6265 3", "two cookies stay two", full(b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" + CL2, b"ok"),
           full(b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" + CL2, b"ok")),
    passed("9112 5", "spaces around a value are not part of it", full(b"A:\t 1 \t\r\nB:\r\n" + CL2, b"ok"),
           full(b"A: 1\r\nB: \r\n" + CL2, b"ok")),
    passed("9110 5.5", "bytes beyond ASCII go on", full(b"A: \xe9\r\n" + CL2, b"ok"),
           full(b"A: \xe9\r\n" + CL2, b"ok")),
    refused("9112 5.1", "a space before a colon", full(b"A : 1\r\n" + CL2, b"ok")),
    refused("9112 5.1", "of Content-Length", full(b"Content-Length : 2\r\n", b"ok")),
    refused("9112 5.2", "a folded line", full(b"A: 1\r\n 2\r\n" + CL2, b"ok")),
    refused("9112 2.2", "a space before the first name", full(b" A: 1\r\n" + CL2, b"ok")),
    refused("9112 5", "a line without a colon", full(b"A\r\n" + CL2, b"ok")),
    refused("9112 5", "a field without a name", full(b": 1\r\n" + CL2, b"ok")),
    refused("9110 5.1", "a name with a byte no token has", full(b"A(: 1\r\n" + CL2, b"ok")),
    refused("9110 5.5", "a bare CR in a value", full(b"A: 1\rB: 2\r\n" + CL2, b"ok")),
    refused("9110 5.5", "a bare LF in a value", full(b"A: 1\nB: 2\r\n" + CL2, b"ok")),
    refused("9110 5.5", "a NUL in a value", full(b"A: \0\r\n" + CL2, b"ok")),
    refused("9110 5.4", "more than 100 fields", full(b"A: 1\r\n" * 101 + CL2, b"ok")),
    refused("9110 5.4", "a head of more than 60 KiB", full(b"A: " + b"x" * 62000 + b"\r\n" + CL2, b"ok")),
    passed("9110 7.6.1", "Connection and what it names are dropped",
           full(b"Connection: X-A, keep-alive\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\n" + CL2, b"ok"),
           full(CL2, b"ok")),
    passed("9110 7.6.1", "it cannot name away a length or a cookie",
           full(b"Connection: Content-Length, Set-Cookie\r\nSet-Cookie: a=1\r\n" + CL2, b"ok"),
           full(b"Set-Cookie: a=1\r\n" + CL2, b"ok")),
    passed("9110 7.8", "Upgrade without a switch is dropped", full(b"Upgrade: h2c\r\n" + CL2, b"ok"),
           full(CL2, b"ok")),
    passed("9110 15.5.22", "426 says which protocol: one that a client may ask for here goes on",
           full(b"Connection: upgrade\r\nUpgrade: websocket, x/1\r\n" + CL2, b"no", UPGRADE),
           full(b"Upgrade: websocket, x/1\r\nConnection: Upgrade\r\n" + CL2, b"no", UPGRADE),
           gets="426 keep"),
    passed("9110 7.8", "one that is never offered does not: HTTP/2, TLS",
           full(b"Connection: upgrade\r\nUpgrade: h2c\r\n" + CL2, b"no", UPGRADE), full(CL2, b"no", UPGRADE),
           gets="426 keep"),
    passed("9110 7.8", "nor when there are two fields of it",
           full(b"Upgrade: websocket\r\nUpgrade: x\r\n" + CL2, b"no", UPGRADE), full(CL2, b"no", UPGRADE),
           gets="426 keep"),
    passed("9110 7.8", "nor to HTTP/1.0", full(b"Upgrade: websocket\r\n" + CL2, b"no", UPGRADE),
           full(CL2, b"no", UPGRADE), gets="426 close", asks=OLD),
    passed("9110 11.7.1", "Proxy-Authenticate may be for one before us",
           full(b"Proxy-Authenticate: Basic\r\n" + CL2, b"ok"),
           full(b"Proxy-Authenticate: Basic\r\n" + CL2, b"ok")),
    passed("9110 7.6.3", "each Via field counts", full(b"Via: 1.1 x\r\nVia: 1.0 y\r\n" + CL2, b"ok"),
           full(CL2 + b"Via: 1.1 x, 1.0 y, 1.1 weir/V\r\n", b"ok")),
    closing("9112 9.3", "Connection: close is the target's alone", full(b"Connection: close\r\n" + CL2, b"ok"),
            full(CL2, b"ok")),
    closing("9112 9.3", "HTTP/1.0 goes", full(CL2, b"ok", b"HTTP/1.0 200 OK\r\n"),
            full(CL2 + b"Via: 1.0 weir/V\r\n", b"ok")),
    passed("9112 C.2.2", "HTTP/1.0 stays when it says so",
           full(b"Connection: keep-alive\r\n" + CL2, b"ok", b"HTTP/1.0 200 OK\r\n"),
           full(CL2 + b"Via: 1.0 weir/V\r\n", b"ok")),
]

LENGTHS = [
    passed("9112 6.3", "an empty body", full(b"Content-Length: 0\r\n"), full(b"Content-Length: 0\r\n")),
    refused("9110 8.6", "two that agree: some readers take one, some none", full(CL2 + CL2, b"ok")),
    refused("9110 8.6", "a list of equal ones, as well", full(b"Content-Length: 2, 2\r\n", b"ok")),
    refused("9110 8.6", "two that differ", full(CL2 + CL5, b"ok")),
    refused("9110 8.6", "a list that differs", full(b"Content-Length: 2, 5\r\n", b"ok")),
    refused("9112 6.3", "an empty one", full(b"Content-Length:\r\n", b"ok")),
    refused("9112 6.3", "a plus", full(b"Content-Length: +2\r\n", b"ok")),
    refused("9112 6.3", "a minus", full(b"Content-Length: -2\r\n", b"ok")),
    refused("9112 6.3", "no number", full(b"Content-Length: 2x\r\n", b"ok")),
    refused("9110 8.6", "2 to the power of 63", full(b"Content-Length: 9223372036854775808\r\n", b"ok")),
    refused("9110 8.6", "2 to the power of 64 and 2",
            full(b"Content-Length: 18446744073709551618\r\n", b"ok")),
    refused("9112 6.3", "a length beside chunked", full(CL2 + TE, ABC)),
    refused("9112 6.3", "chunked beside a length", full(TE + CL2, ABC)),
    closing("9112 9.2", "bytes behind the body are nobody's", full(CL2, b"ok") + SECOND, full(CL2, b"ok")),
    closing("9112 9.2", "even an empty line", full(CL2, b"ok") + b"\r\n", full(CL2, b"ok")),
    closing("9112 9.2", "bytes behind an empty body", full(b"Content-Length: 0\r\n") + SECOND,
            full(b"Content-Length: 0\r\n")),
    closing("9112 8", "a body that is cut stays cut", [full(CL5, b"ok"), CLOSE], full(CL5, b"ok"),
            gets="200 close"),
    closing("9112 8", "so does one that is reset", [full(CL5, b"ok"), RESET], full(CL5, b"ok"),
            gets="200 close"),
    closing("9112 6.3", "no length: until the connection ends, in chunks", [full(b"", b"abc"), CLOSE],
            full(TE, ABC)),
    closing("9112 6.3", "nothing, until the connection ends", [full(), CLOSE], full(TE, b"0\r\n\r\n")),
    closing("9112 7.1", "HTTP/1.0 knows no chunks: until ours ends", [full(b"", b"abc"), CLOSE],
            full(b"", b"abc"), gets="200 close", asks=OLD),
    refused("9112 8", "nothing at all", [CLOSE]), refused("9112 8", "a reset", [RESET]),
    refused("9112 8", "half a head", [full(CL2)[:-2], CLOSE]),
    refused("9112 8", "half a status line", [b"HTTP/1.1 2", CLOSE]),
]

CODINGS = [
    passed("9112 7.1", "chunked", full(TE, ABC), full(TE, ABC)),
    passed("9112 7.1", "chunks are those that came together", full(TE, b"1\r\na\r\n2;x=y\r\nbc\r\n00\r\n\r\n"),
           full(TE, ABC)),
    passed("9112 7.1", "an empty body", full(TE, b"0\r\n\r\n"), full(TE, b"0\r\n\r\n")),
    passed("9112 7.1", "HTTP/1.0 knows no chunks", full(TE, ABC), full(b"", b"abc"), gets="200 close",
           asks=OLD),
    passed("9110 5.6.1", "codings have no case", full(b"Transfer-Encoding: Chunked\r\n", ABC), full(TE, ABC)),
    *[refused("9112 6.1", why, full(b"Transfer-Encoding: " + value + b"\r\n", ABC)) for why, value in (
        ("identity", b"identity"), ("gzip, chunked", b"gzip, chunked"), ("chunked, gzip", b"chunked, gzip"),
        ("chunked twice", b"chunked, chunked"), ("nothing", b""), ("a letter before it", b"xchunked"))],
    refused("9112 6.1", "two fields", full(TE + TE, ABC)),
    refused("9112 6.1", "in HTTP/1.0", full(TE, ABC, b"HTTP/1.0 200 OK\r\n")),
    closing("9112 9.2", "bytes behind the last chunk are nobody's", full(TE, ABC) + SECOND, full(TE, ABC)),
    *[closing("9112 7.1", "cut off: " + why, full(TE, b"3\r\nabc\r\n" + bad) + SECOND,
              gets="502 keep") for why, bad in (
        ("no size", b"\r\n"), ("a minus", b"-1\r\n"), ("a bare LF", b"1\nx\r\n"),
        ("a size of 17 digits", b"10000000000000001\r\n"), ("too long a chunk", b"1\r\nxy\r\n"),
        ("a NUL in an extension", b"1;\0\r\nx\r\n"), ("a bare LF at the end", b"0\r\n\n"),
        ("a folded trailer field", b"0\r\nX: 1\r\n 2\r\n\r\n"))],
    closing("9112 8", "an end before the last chunk is no end", [full(TE, b"3\r\nabc\r\n"), CLOSE],
            full(TE, b"3\r\nabc\r\n"), gets="200 close"),
    closing("9112 8", "nor is one before the last line", [full(TE, ABC[:-2]), CLOSE],
            full(TE, b"3\r\nabc\r\n"), gets="200 close"),
]

BODILESS = [
    passed("9110 9.3.2", "HEAD: a length without a body", full(CL5), full(CL5), gets="200h keep", asks=HEAD),
    passed("9110 9.3.2", "HEAD: chunked without a body", full(TE), full(), gets="200h keep", asks=HEAD),
    refused("9112 6.1", "HEAD: a coding that is none", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunkedx\r\n\r\n",
            asks=HEAD, gets="502h keep"),
    closing("9112 6.3", "HEAD: a body all the same is nobody's", full(CL5) + b"EVIL!", full(CL5),
            gets="200h keep", asks=HEAD),
    passed("9112 6.3", "204", full(line=b"HTTP/1.1 204 No Content\r\n"),
           full(line=b"HTTP/1.1 204 No Content\r\n"), gets="204 keep"),
    closing("9110 8.6", "204 has no length, and one that says so is not trusted with a next request",
            full(CL5, b"", b"HTTP/1.1 204 No Content\r\n"), full(line=b"HTTP/1.1 204 No Content\r\n"),
            gets="204 keep"),
    closing("9112 6.3", "204 with a body", full(CL5, b"EVIL!", b"HTTP/1.1 204 No Content\r\n"),
            full(line=b"HTTP/1.1 204 No Content\r\n"), gets="204 keep"),
    closing("9112 6.1", "204 in chunks", full(TE, ABC, b"HTTP/1.1 204 No Content\r\n"),
            full(line=b"HTTP/1.1 204 No Content\r\n"), gets="204 keep"),
    passed("9110 15.4.5", "304 may say the length of what it does not send",
           full(CL5, b"", b"HTTP/1.1 304 Not Modified\r\n"), full(CL5, b"", b"HTTP/1.1 304 Not Modified\r\n"),
           gets="304 keep"),
    closing("9112 6.3", "304 with a body", full(CL5, b"EVIL!", b"HTTP/1.1 304 Not Modified\r\n"),
            full(CL5, b"", b"HTTP/1.1 304 Not Modified\r\n"), gets="304 keep"),
    passed("9110 15.3.6", "205 has an empty body of a length",
           full(b"Content-Length: 0\r\n", b"", b"HTTP/1.1 205 Reset Content\r\n"),
           full(b"Content-Length: 0\r\n", b"", b"HTTP/1.1 205 Reset Content\r\n"), gets="205 keep"),
]

HINTS = full(b"Link: </a.css>\r\n", line=b"HTTP/1.1 103 Early Hints\r\n")
INTERIM = [
    passed("9110 15.2", "103 goes on", HINTS + full(CL2, b"ok"), HINTS, full(CL2, b"ok"),
           gets="103 200 keep"),
    passed("9110 15.2", "several do, in order", HINTS + full(line=b"HTTP/1.1 102 Processing\r\n") + HINTS +
           full(CL2, b"ok"), HINTS, full(line=b"HTTP/1.1 102 Processing\r\n"), HINTS, full(CL2, b"ok"),
           gets="103 102 103 200 keep"),
    passed("9110 15.2", "one nobody knows does", full(line=b"HTTP/1.1 199 X\r\n") + full(CL2, b"ok"),
           full(line=b"HTTP/1.1 199 X\r\n"), full(CL2, b"ok"), gets="199 200 keep"),
    passed("9112 9.3.2", "each before the answer it belongs to, when requests are pipelined",
           HINTS + full(CL2, b"ok"), HINTS, full(CL2, b"ok"), HINTS, full(CL2, b"ok"), asks=GET + GET,
           gets="103 200 103 200 keep"),
    refused("9112 5.1", "one that is broken", [full(b"A : 1\r\n", line=b"HTTP/1.1 103 X\r\n") + SECOND]),
    refused("9112 6.1", "one that has a coding is no reason to read a body",
            [full(TE, ABC, line=b"HTTP/1.1 103 X\r\n") + SECOND], gets="103 502 keep"),
    passed("9110 15.2", "not to HTTP/1.0", HINTS + full(CL2, b"ok"), full(CL2, b"ok"), gets="200 close",
           asks=OLD),
    passed("9110 7.6.1", "without the fields of its connection",
           full(b"Connection: X-A\r\nX-A: 1\r\nKeep-Alive: 1\r\nLink: </a.css>\r\n",
                line=b"HTTP/1.1 103 Early Hints\r\n") + full(CL2, b"ok"), HINTS, full(CL2, b"ok"),
           gets="103 200 keep"),
    passed("9110 15.2.1", "100 goes to nobody who does not expect it",
           full(line=b"HTTP/1.1 100 Continue\r\n") + full(CL2, b"ok"), full(CL2, b"ok")),
    passed("9110 8.6", "a length in a 1xx means nothing, and is dropped",
           full(CL5 + b"Link: </a.css>\r\n", line=b"HTTP/1.1 103 Early Hints\r\n") + full(CL2, b"ok"),
           HINTS, full(CL2, b"ok"), gets="103 200 keep"),
    refused("9110 15.2", "more than 16 of them", [full(line=b"HTTP/1.1 100 Continue\r\n") * 17 +
            full(CL2, b"ok")]),
    refused("9110 7.8", "101 without having asked",
            [full(b"Connection: Upgrade\r\nUpgrade: x\r\n", line=b"HTTP/1.1 101 Switching Protocols\r\n") +
             SECOND]),
    Row("9112 8", "a 103 and then nothing", [HINTS, CLOSE], "103 502 keep", (HINTS,), False, GET, False),
]

POST = b"POST /a HTTP/1.1\r\nHost: h\r\n"
EARLY = [
    closing("9112 9.5", "an answer before the body is here ends both",
            full(CL2, b"no", b"HTTP/1.1 413 X\r\n"), full(CL2, b"no", b"HTTP/1.1 413 X\r\n"),
            gets="413 close", asks=POST + b"Content-Length: 1000000\r\n\r\nabc", early=True),
    closing("9112 9.5", "of a chunked body too", full(CL2, b"no", b"HTTP/1.1 403 X\r\n"),
            full(CL2, b"no", b"HTTP/1.1 403 X\r\n"), gets="403 close",
            asks=POST + TE + b"\r\n3\r\nabc\r\n", early=True),
    closing("9112 9.5", "and leaves: the answer counts", [full(CL2, b"no", b"HTTP/1.1 413 X\r\n"), CLOSE],
            full(CL2, b"no", b"HTTP/1.1 413 X\r\n"), gets="413 close",
            asks=POST + b"Content-Length: 1000000\r\n\r\nabc", early=True),
    closing("9112 9.6", "what comes behind it is body still, and no request",
            full(CL2, b"no", b"HTTP/1.1 413 X\r\n"), full(CL2, b"no", b"HTTP/1.1 413 X\r\n"),
            gets="413 close", early=True,
            asks=[POST + b"Content-Length: 100\r\n\r\nabc", Reached(b"abc"), SMUGGLED]),
    closing("9110 10.1.1", "a refusal after our own 100, of a target that has spoken HTTP/1.0 before",
            full(CL2, b"no", b"HTTP/1.1 417 X\r\n"), full(CL2, b"no", b"HTTP/1.1 417 X\r\n"),
            gets="417 close", early=True,
            asks=[POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
                  Got(b"HTTP/1.1 100 Continue\r\n\r\n")]),
]
FRESH = [  # of a target that nothing is known of
    closing("9110 10.1.1", "a refusal before a body that waits for 100 is all there is",
            full(CL2, b"no", b"HTTP/1.1 417 X\r\n"), full(CL2, b"no", b"HTTP/1.1 417 X\r\n"),
            gets="417 close", early=True,
            asks=POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"),
]

P = b"P: 1\r\n"
TRAILERS = [
    passed("9110 6.5.1", "trailer fields go to a client that wants them", full(TE, b"3\r\nabc\r\n0\r\n" + P +
           b"Q:\t2 \r\n\r\n"), full(TE, b"3\r\nabc\r\n0\r\nP: 1\r\nQ: 2\r\n\r\n"), asks=WITH_TRAILERS),
    passed("9110 6.5.1", "to nobody else", full(TE, b"3\r\nabc\r\n0\r\n" + P + b"\r\n"), full(TE, ABC)),
    passed("9110 6.5.1", "not those that frame, route or authenticate",
           full(TE, b"0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\nHost: i\r\nSet-Cookie: a=1\r\n" + P +
                b"Connection: close\r\nAuthorization: x\r\nContent-Type: x\r\nLocation: /\r\n\r\n"),
           full(TE, b"0\r\n" + P + b"\r\n"), asks=WITH_TRAILERS),
    passed("9110 6.6.2", "Trailer goes with them", full(TE + b"Trailer: P\r\n", b"0\r\n" + P + b"\r\n"),
           full(b"Trailer: P\r\n" + TE, b"0\r\n" + P + b"\r\n"), asks=WITH_TRAILERS),
    passed("9110 6.6.2", "and not without", full(TE + b"Trailer: P\r\n", b"0\r\n" + P + b"\r\n"),
           full(TE, b"0\r\n\r\n"), asks=GET),
    passed("9112 7.1", "byte by byte", [full(TE), *[bytes([b]) for b in b"0\r\nP:1 2\r\n\r\n"]],
           full(TE, b"0\r\nP: 1 2\r\n\r\n"), asks=WITH_TRAILERS),
    passed("9110 6.5.1", "nor what the head has said already",
           full(TE + b"p: 0\r\n", b"0\r\n" + P + b"Q: 2\r\n\r\n"),
           full(b"p: 0\r\n" + TE, b"0\r\nQ: 2\r\n\r\n"), asks=WITH_TRAILERS),
    closing("9110 6.5.1", "no more than 100 of them", full(TE, b"0\r\n" + P * 101 + b"\r\n"), gets="502 keep",
            asks=WITH_TRAILERS),
    passed("9110 5.3", "TE may come in lines", full(TE, b"0\r\n" + P + b"\r\n"),
           full(TE, b"0\r\n" + P + b"\r\n"), asks=GET[:-2] + b"TE: gzip\r\nTE: x, trailers\r\n\r\n"),
    passed("9112 7.1.2", "HTTP/1.0 has no place for them", full(TE, b"3\r\nabc\r\n0\r\n" + P + b"\r\n"),
           full(b"", b"abc"), gets="200 close",
           asks=OLD[:-2] + b"TE: trailers\r\n\r\n"),
]


def run(bench, row):
    script = row.sends if isinstance(row.sends, list) else [row.sends]
    answers, messages, kept = run_case(bench, row.asks, row.gets, script, row.early)
    want = [a.replace(b"weir/V", bench.version) for a in row.answers]
    have = [bench.bare_answer(a) for a in answers][:len(want)]
    assert have == want, f"the client got\n  {have!r}, not\n  {want!r}"
    assert not any(m.startswith(b"GET /smuggled") for m in messages), messages
    assert not any(b"EVIL" in a for a in answers), f"of another answer: {answers!r}"
    assert kept == row.kept, f"the target's connection was {'kept' if kept else 'closed'}"


ROWS = LINES + FIELDS + LENGTHS + CODINGS + BODILESS + INTERIM + EARLY + TRAILERS

with Bench() as table:
    failures = run_table(table, FRESH + ROWS, run)
sys.exit(1 if failures else 0)
