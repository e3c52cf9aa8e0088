"""Tokens, keys and servers of keys, for the tests of jwt."""
import base64
import hashlib
import hmac
import json
import os
import ssl
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lib_tls import openssl


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_text(header, claims):
    return encode(json.dumps(header).encode()) + "." + encode(json.dumps(claims).encode())


def hs256(claims, secret="s3cret"):
    text = signed_text({"alg": "HS256"}, claims)
    return text + "." + encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


class RsaKey:
    """Made, and used, by the openssl program."""

    def __init__(self, kid):
        self.kid, self.dir = kid, tempfile.TemporaryDirectory()
        self.file = os.path.join(self.dir.name, "key.pem")
        openssl("genrsa", "-out", self.file, "2048")
        modulus = openssl("rsa", "-in", self.file, "-noout", "-modulus").decode()
        self.modulus = bytes.fromhex(modulus.strip().split("=")[1])
        self.public = openssl("rsa", "-in", self.file, "-pubout").decode()

    def jwk(self):
        return {"kty": "RSA", "kid": self.kid, "use": "sig", "alg": "RS256", "e": "AQAB",
                "n": encode(self.modulus)}

    def token(self, claims):
        text = signed_text({"alg": "RS256", "kid": self.kid}, claims)
        return text + "." + encode(openssl("dgst", "-sha256", "-sign", self.file,
                                           data=text.encode()))


class KeyServer:
    """Answers with a set of keys, or as `status` and `hang` say; over TLS with a certificate."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads, context = True, None

        def finish_request(self, request, client_address):
            """In the thread of the connection, where a handshake holds nobody up."""
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)

        def handle_error(self, *_):
            pass  # clients that do not trust us

    def __init__(self, *keys, certificate=None, port=0):
        self.keys, self.status, self.asked, self.hang = list(keys), 200, 0, threading.Event()
        self.hang.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                outer.hang.wait(30)
                body = json.dumps({"keys": [k.jwk() for k in outer.keys]}).encode()
                try:
                    self.send_response(outer.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = KeyServer.Quiet(("127.0.0.1", port), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.file, certificate.key)
            self.server.context = context
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_port
        self.url = (f"http://127.0.0.1:{self.port}/jwks.json" if certificate is None else
                    f"https://localhost:{self.port}/jwks.json")

    def close(self):
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()
