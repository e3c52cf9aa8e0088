#!/usr/bin/env python3
"""WebSocket (RFC 6455) through weir as programs speak it: a server and a client of the package ws (Debian's node-ws),
over HTTP/1.1 Upgrade (RFC 9110 7.8). Frames are nobody's business but theirs: what one says the other hears."""
import json
import os
import re
import select
import shutil
import subprocess
import sys

from lib_weir import PATIENCE, PLUGINS, Weir, free_port, run_tests, service, wait_for

# node finds Debian's packages by itself only when it is Debian's node.
ENV = dict(os.environ, NODE_PATH="/usr/share/nodejs:/usr/lib/nodejs")
probe = subprocess.run(["node", "-e", "require('ws')"], capture_output=True, env=ENV, check=False) \
    if shutil.which("node") else None
if probe is None or probe.returncode != 0:
    print("skipped: there is no node with the package ws (apt-get install nodejs node-ws)")
    sys.exit(0)

# Says everything again as it came; closes as it is told to: "close 4001 reason", "terminate". What it was told goes
# to its output, a JSON line each.
SERVER = r"""
const {WebSocketServer} = require('ws');
const server = new WebSocketServer({host: '127.0.0.1', port: 0, perMessageDeflate: true,
    handleProtocols: set => set.has('chat') ? 'chat' : false});
const say = o => process.stdout.write(JSON.stringify(o) + '\n');
server.on('listening', () => say({port: server.address().port}));
server.on('connection', (socket, request) => {
  say({opened: request.url, headers: request.headers});
  socket.on('ping', data => say({ping: String(data)}));
  socket.on('message', (data, binary) => {
    const text = binary ? '' : String(data);
    const close = /^close (\d+) (.*)$/.exec(text);
    if (close) socket.close(Number(close[1]), close[2]);
    else if (text === 'terminate') socket.terminate();
    else if (text === 'ping me') socket.ping('from the server');
    else socket.send(data, {binary});
  });
  socket.on('close', (code, reason) => say({closed: code, reason: String(reason)}));
});
"""

# One command a line on its input, as JSON; answers with a JSON line.
CLIENT = r"""
const WebSocket = require('ws'), crypto = require('crypto');
const say = o => process.stdout.write(JSON.stringify(o) + '\n');
const digest = data => crypto.createHash('sha256').update(data).digest('hex');
let socket, expected = [];
const commands = {
  open(c) {
    socket = new WebSocket(c.url, c.protocols || [], {perMessageDeflate: !!c.deflate, headers: c.headers || {},
                                                      rejectUnauthorized: false});
    socket.on('open', () => say({open: socket.protocol, extensions: socket.extensions}));
    socket.on('unexpected-response', (request, response) => {
      socket.removeAllListeners();
      socket.on('error', () => {});
      request.destroy();
      say({refused: response.statusCode});
    });
    socket.on('error', e => say({error: e.message}));
    socket.on('pong', data => say({pong: String(data)}));
    socket.on('ping', data => say({ping: String(data)}));
    socket.on('close', (code, reason) => say({closed: code, reason: String(reason)}));
    socket.on('message', (data, binary) => {
      const want = expected.shift();
      say(want ? {good: binary === want.binary && data.length === want.size && digest(data) === want.digest,
                  size: data.length} : {message: String(data)});
    });
  },
  echo(c) {
    const data = c.text ? Buffer.from(c.text) : crypto.randomBytes(c.size);
    expected.push({binary: !c.text, size: data.length, digest: digest(data)});
    if (!c.pieces) return socket.send(data, {binary: !c.text});
    for (let i = 0; i < c.pieces; i++)
      socket.send(data.subarray(i * data.length / c.pieces, (i + 1) * data.length / c.pieces),
                  {binary: !c.text, fin: i + 1 === c.pieces});
  },
  say(c) { socket.send(c.text); },
  ping(c) { socket.ping(c.text); },
  close(c) { socket.close(c.code, c.reason); },
  terminate() { socket.terminate(); },
};
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const command = JSON.parse(line);
  commands[command.do](command);
}).on('close', () => process.exit(0));
"""


def metric(weir, name):
    text = weir.get("/metrics", port=weir.status).body.decode()
    found = re.search(rf"^{name} (\d+)$", text, re.M)
    return int(found.group(1)) if found else None


class Node:
    def __init__(self, script):
        self.process = subprocess.Popen(["node", "-e", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=ENV, bufsize=0)
        self.data = b""

    def hear(self):
        while b"\n" not in self.data:
            assert select.select([self.process.stdout], [], [], PATIENCE)[0], "node says nothing"
            piece = self.process.stdout.read(65536)
            assert piece, "node has ended"
            self.data += piece
        line, self.data = self.data.split(b"\n", 1)
        return json.loads(line)

    def tell(self, what, **more):
        self.process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")

    def ask(self, what, **more):
        self.tell(what, **more)
        return self.hear()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Pair:
    """Both ends, and the gateway between them."""

    def __enter__(self):
        self.server, self.client = Node(SERVER), Node(CLIENT)
        self.port, self.tls = self.server.hear()["port"], free_port()
        proxy = free_port()
        self.weir = Weir(self.config(), settings={"proxy_listen": f"127.0.0.1:{proxy}, 127.0.0.1:{self.tls} ssl"})
        self.weir.proxy = proxy
        return self

    def config(self, extra=""):
        return service(self.port, extra)

    def open(self, tls=False, **more):
        url = f"wss://127.0.0.1:{self.tls}/a?b" if tls else f"ws://127.0.0.1:{self.weir.proxy}/a?b"
        opened = self.client.ask("open", url=url, **more)
        assert "open" in opened, opened
        seen = self.server.hear()
        assert seen["opened"] == "/a?b", seen
        return opened, seen["headers"]

    def close(self, code=1000, reason="bye"):
        assert self.client.ask("close", code=code, reason=reason) == {"closed": code, "reason": reason}
        assert self.server.hear() == {"closed": code, "reason": reason}
        wait_for("the tunnel is gone", lambda: metric(self.weir, "weir_tunnels_active") == 0)

    def __exit__(self, kind, *rest):
        self.client.stop()
        self.server.stop()
        self.weir.__exit__(kind, *rest)


SIZES = (0, 1, 2, 125, 126, 127, 4096, 16383, 16384, 65535, 65536, 300001, 1 << 20)


def echoes(pair, sizes=SIZES):
    for size in sizes:
        for pieces in (0, 4) if size >= 4 else (0,):
            assert pair.client.ask("echo", size=size, pieces=pieces) == {"good": True, "size": size}, (size, pieces)


def test_messages_pass_untouched():
    with Pair() as pair:
        for more in ({}, {"deflate": True}, {"tls": True}):
            opened, headers = pair.open(protocols=["other", "chat"], **more)
            assert opened["open"] == "chat", "the subprotocol they agreed on"
            assert ("permessage-deflate" in opened["extensions"]) == ("deflate" in more), opened
            assert headers["upgrade"] == "websocket" and headers["x-forwarded-proto"] == \
                ("https" if "tls" in more else "http"), headers
            assert metric(pair.weir, "weir_tunnels_active") == 1
            echoes(pair)
            assert pair.client.ask("echo", text="ein Wörtchen")["good"]
            for size in (1, 70000, 1 << 20) * 3:  # without waiting for each
                pair.client.tell("echo", size=size)
            for size in (1, 70000, 1 << 20) * 3:
                assert pair.client.hear() == {"good": True, "size": size}
            pair.close()


def test_pings_and_pongs():
    with Pair() as pair:
        pair.open()
        for text in ("", "a", "x" * 125):
            assert pair.client.ask("ping", text=text) == {"pong": text}
            assert pair.server.hear() == {"ping": text}
        assert pair.client.ask("say", text="ping me") == {"ping": "from the server"}
        pair.close()


def test_close_codes():
    with Pair() as pair:
        for code, reason in ((1000, ""), (1001, "going away"), (1011, "broken"), (3000, "r" * 123), (4999, "ours")):
            pair.open()
            pair.close(code, reason)
            pair.open()
            assert pair.client.ask("say", text=f"close {code} {reason}") == {"closed": code, "reason": reason}
            assert pair.server.hear() == {"closed": code, "reason": reason}
        # Cut without a close frame: 1006 on both sides (RFC 6455 7.1.5).
        pair.open()
        assert pair.client.ask("say", text="terminate")["closed"] == 1006
        assert pair.server.hear()["closed"] == 1006
        pair.open()
        assert pair.client.ask("terminate")["closed"] == 1006
        assert pair.server.hear()["closed"] == 1006
        wait_for("the tunnel is gone", lambda: metric(pair.weir, "weir_tunnels_active") == 0)


def test_reloads_leave_it_alone():
    with Pair() as pair:
        pair.open()
        for i in range(3):
            for size in (1, 1 << 20):
                pair.client.tell("echo", size=size)
            done = pair.weir.reload(pair.config(f"  tags: [n{i}]\n"))
            assert done.returncode == 0, done.stderr
            for size in (1, 1 << 20):
                assert pair.client.hear() == {"good": True, "size": size}
            assert pair.client.ask("ping", text="still") == {"pong": "still"}
            assert pair.server.hear() == {"ping": "still"}
        pair.close()


def test_what_policies_refuse_is_no_tunnel():
    if not os.path.exists(PLUGINS + "/key-auth.so"):
        print("     skipped: key-auth is not built")
        return
    with Pair() as pair:
        done = pair.weir.reload(pair.config() + "consumers:\n- username: bob\n  keyauth_credentials: [{key: k}]\n"
                                "plugins:\n- name: key-auth\n")
        assert done.returncode == 0, done.stderr
        url = f"ws://127.0.0.1:{pair.weir.proxy}/a?b"
        assert pair.client.ask("open", url=url) == {"refused": 401}
        _, headers = pair.open(headers={"apikey": "k"})
        assert headers["x-consumer-username"] == "bob", headers
        echoes(pair, (1, 70000))
        pair.close()


run_tests(globals())
