"""The certificate for server names that have none, when nobody gave one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from haproxy.model import Certificate
from haproxy_ingress.tls import DEFAULT_CERTIFICATE

NAME = "haproxy-ingress default certificate"
_VALID = timedelta(days=3650)
_RENEW_S = 365 * 86_400.0
_SKEW = timedelta(days=1)  # clients' clocks are behind


def self_signed(now_s: float, before: bytes = b"") -> Certificate:
    """A certificate for no name in particular. now_s: in seconds since 1970.

    before: the file that served last; it stays if it was made here and is good for a year more.

    Everybody can see that it is nobody's: browsers refuse it, which is what it is for.
    """
    if _made_here(before, now_s):
        return Certificate.of(DEFAULT_CERTIFICATE, before.decode())
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.fromtimestamp(now_s, UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return Certificate.of(DEFAULT_CERTIFICATE, pem.decode())


def _made_here(pem: bytes, now_s: float) -> bool:
    try:
        found, key = x509.load_pem_x509_certificate(pem), load_pem_private_key(pem, None)
    except ValueError:
        return False
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    return (
        found.subject == found.issuer == name
        and found.public_key() == key.public_key()
        and found.not_valid_after_utc.timestamp() > now_s + _RENEW_S
    )
