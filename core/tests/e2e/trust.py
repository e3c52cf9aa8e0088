#!/usr/bin/env python3
"""lua_ssl_trusted_certificate: the authorities of targets that are verified, unless their service names its
own; a file that cannot be used stops the start."""
import ssl

from lib_tls import Authority
from lib_weir import PATIENCE, Upstream, Weir, answer_all, run_tests


def tls_upstream(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)

    def serve(conn, upstream):
        with context.wrap_socket(conn.sock, server_side=True) as conn.sock:
            answer_all(conn, upstream)
    return Upstream(serve)


def config(routes, authorities=()):
    """`routes`: path -> (port, more of the service)."""
    text = "services:\n"
    for name, (port, more) in routes.items():
        text += (f"- name: {name}\n  url: https://localhost:{port}\n  retries: 0\n{more}"
                 f"  routes:\n  - paths: [/{name}]\n")
    for number, authority in enumerate(authorities):
        with open(authority.file, encoding="ascii") as f:
            pem = "".join("    " + line for line in f)
        text += f"ca_certificates:\n- id: {identity(number)}\n  cert: |\n{pem}"
    return text


def identity(number):
    return f"51e77dc2-8f3e-4afa-9d0e-0e3bbbcfd5{number:02}"


def trusting(*files):
    return {"lua_ssl_trusted_certificate": ", ".join(files)}


def test_targets_are_verified_against_it_unless_the_service_says_otherwise():
    with Authority() as ours, Authority("another") as other:
        upstream, foreign = (tls_upstream(a.issue("DNS:localhost")) for a in (ours, other))
        verify = "  tls_verify: true\n"
        own = verify + f"  ca_certificates: [{identity(0)}]\n"
        routes = {"ours": (upstream.port, verify), "foreign": (foreign.port, verify),
                  "foreign-with-its-own": (foreign.port, own), "ours-with-that": (upstream.port, own),
                  "unverified": (foreign.port, "")}
        wanted = {"ours": 200, "foreign": 502, "foreign-with-its-own": 200, "ours-with-that": 502,
                  "unverified": 200}
        text = config(routes, [other])
        with Weir(text, workers=2, settings=trusting("system", ours.file)) as weir:
            found = {name: weir.get("/" + name).status for name in routes}
            assert found == wanted, found
            weir.settings.update(trusting(ours.file))
            done = weir.reload(text)
            assert done.returncode == 0, done
            said = done.stdout + done.stderr + weir.log_text()
            assert "gateway.lua_ssl_trusted_certificate: the change needs a restart" in said, said
            found = {name: weir.get("/" + name).status for name in routes}
            assert found == wanted, found
        with Weir(text) as weir:
            assert weir.get("/ours").status == 502, "the system's authorities do not know ours"
        for one in (upstream, foreign):
            one.close()


def test_authorities_that_cannot_be_used_stop_the_start():
    upstream = Upstream()
    with Authority() as authority:
        for files, why in (("/nonexistent.pem", "/nonexistent.pem"),
                           (authority.key, "authorities " + authority.key),
                           (authority.file + ", /nonexistent.pem", "/nonexistent.pem")):
            weir = Weir(config({"a": (upstream.port, "")}), settings=trusting(files), wait=False)
            code = weir.process.wait(PATIENCE)
            weir.stop()
            assert code == 3, (code, weir.output)
            assert "gateway.lua_ssl_trusted_certificate: cannot use the authorities" in weir.output
            assert why in weir.output, weir.output
    upstream.close()


run_tests(globals())
