"""Authorities and certificates, made with the openssl program."""
import os
import subprocess
import tempfile


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


class Certificate:
    """A chain and its key, both files."""

    def __init__(self, file, key):
        self.file, self.key = file, key


class Authority:
    def __init__(self, name="an authority"):
        self.dir = tempfile.TemporaryDirectory()
        self.file, self.key = self.path("ca.pem"), self.path("ca.key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.key, "-out", self.file, "-days", "2", "-subj", f"/CN={name}")

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def issue(self, *names, days=2):
        """`names` as OpenSSL writes them: DNS:localhost, IP:127.0.0.1."""
        key, request = self.path("leaf.key"), self.path("leaf.csr")
        file, more = self.path("leaf.pem"), self.path("leaf.ext")
        with open(more, "w", encoding="ascii") as f:
            f.write("subjectAltName=" + ",".join(names) + "\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                key, "-out", request, "-subj", "/CN=a leaf")
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key,
                "-CAcreateserial", "-days", str(days), "-extfile", more, "-out", file)
        return Certificate(file, key)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.dir.cleanup()
