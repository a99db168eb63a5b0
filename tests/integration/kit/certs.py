"""Certificates made for a test, and what a TLS client sees of a server's."""

from __future__ import annotations

import base64
import socket
import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.integration.kit.objects import Object, meta

Algorithm = Literal["ecdsa", "rsa", "secp192r1"]  # the last is too weak for OpenSSL


@frozen
class Pair:
    """PEM of a self-signed certificate and its key. serial: what tells one from another."""

    chain: str
    key: str
    serial: int


@cache
def _key(algorithm: Algorithm, number: int) -> Any:
    """Keys are dear to make; tests need few that differ."""
    del number
    if algorithm == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1() if algorithm == "ecdsa" else ec.SECP192R1())


def pair(*hosts: str, algorithm: Algorithm = "ecdsa", days: int = 30, key: int = 0) -> Pair:
    """A certificate for *hosts* that ends in so many *days*; a negative number is in the past."""
    now = datetime.now(UTC)
    private = _key(algorithm, key)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
    serial = x509.random_serial_number()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in hosts]), False)
        .sign(private, hashes.SHA256())
    )
    text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Pair(made.public_bytes(Encoding.PEM).decode(), text, serial)


def secret(name: str, of: Pair | None = None, **data: str) -> Object:
    """A TLS Secret; *data* replaces what stands in it."""
    contents = {"tls.crt": of.chain, "tls.key": of.key} if of else {}
    contents |= {key.replace("_", "."): text for key, text in data.items()}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in contents.items()}
    kind = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
    return {**kind, "metadata": meta(name), "data": encoded}


def connect(port: int, sni: str, **settings: Any) -> ssl.SSLSocket:
    """A TLS connection that believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in settings.items():
        if name == "ciphers":
            context.set_ciphers(value)
        elif name == "alpn":
            context.set_alpn_protocols(value)
        else:
            setattr(context, name, value)
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    return context.wrap_socket(plain, server_hostname=sni)


def served(port: int, sni: str, **settings: Any) -> x509.Certificate:
    """The certificate that a client asking for *sni* is shown."""
    with connect(port, sni, **settings) as connection:
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def ask(connection: ssl.SSLSocket, host: str, target: str = "/") -> bytes:
    """One request on an open connection; the whole answer, which has a length."""
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
