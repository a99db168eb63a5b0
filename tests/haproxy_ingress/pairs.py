"""Key pairs for tests, made once: keys are dear."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from haproxy_ingress.resources import Meta, Secret, Tls
from haproxy_ingress.store import TLS_TYPE
from tests.haproxy_ingress.objects import NAMESPACE

NOW_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
DAY_S = 86_400

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@frozen
class Pair:
    """PEM of a self-signed certificate, and its key."""

    chain: bytes
    key: Key

    def pem(self, form: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes = b"") -> bytes:
        hidden = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, form, hidden)


@cache
def key(kind: str, number: int = 0) -> Key:
    del number
    if kind == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa")))


@cache
def made(kind: str = "ecdsa", number: int = 0, starts: int = -1, days: int = 30) -> Pair:
    """One that is valid from so many days after `NOW_S` for so many days."""
    private = key(kind, number)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{kind} {number}")])
    begins = datetime.fromtimestamp(NOW_S, UTC) + timedelta(days=starts)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(private.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(begins + timedelta(days=days))
    certificate = builder.sign(private, None if kind == "ed25519" else hashes.SHA256())
    return Pair(certificate.public_bytes(Encoding.PEM), private)


def secret(name: str, of: Pair | None = None, kind: str = TLS_TYPE, **data: bytes) -> Secret:
    """A TLS Secret; crt and key replace what stands in it."""
    found = {"tls.crt": of.chain, "tls.key": of.pem()} if of else {}
    found |= {f"tls.{part}": text for part, text in data.items()}
    return Secret(Meta(name, NAMESPACE), kind, found)


def tls(name: str, *hosts: str) -> Tls:
    return Tls(hosts, name)
