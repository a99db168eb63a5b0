"""PEM from a TLS Secret as a certificate that HAProxy can serve, or what is wrong with it.

The text is written anew from what was parsed, so nothing else that stood there reaches a file or a
command. No message holds any of it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from haproxy.model import Certificate
from haproxy_ingress.diagnostics import Ref

MAX_CHAIN = 10
MIN_RSA_BITS = 2048


class Unusable(Exception):
    """Why a Secret is no certificate that can be served; its text names no content."""


@frozen
class KeyPair:
    """What a Secret holds.

    certificate: None when there is nothing that could be served. algorithm: ``ecdsa``, ``rsa`` or
    ``ed25519``; of each, one may serve a host. expires_s: seconds since 1970. problem: what is
    wrong, or empty.
    """

    certificate: Certificate | None = None
    algorithm: str = ""
    expires_s: float = 0.0
    problem: str = ""


def read_key_pair(
    ref: Ref, chain: bytes, key: bytes, now_s: float, before: KeyPair | None = None
) -> KeyPair:
    """What *chain* and *key* (tls.crt and tls.key of the Secret *ref*) are worth.

    now_s: in seconds since 1970.

    before: what it held last. When it is unusable now, that certificate stays in service; an
    expired one yields to it too, and is better than none.
    """
    last = before.certificate if before else None
    try:
        found = _read(ref, chain, key)
    except Unusable as error:
        stays = "; the last good certificate stays in service" if last else ""
        return KeyPair(
            last,
            before.algorithm if before else "",
            before.expires_s if before else 0.0,
            f"{error}{stays}",
        )
    if found.expires_s > now_s:
        return found
    problem = f"tls.crt expired on {_date(found.expires_s)}"
    if last and before and before.expires_s > now_s:
        return KeyPair(last, before.algorithm, before.expires_s, f"{problem}; the one before stays")
    return KeyPair(found.certificate, found.algorithm, found.expires_s, problem)


def file_name(ref: Ref) -> str:
    """Where the certificate of a Secret lies; a namespace and a name hold no slash."""
    return f"certs/{ref.namespace}_{ref.name}.pem"


def _read(ref: Ref, chain_pem: bytes, key_pem: bytes) -> KeyPair:
    chain, key = _chain(chain_pem), _key(key_pem)
    leaf = chain[0]
    if _public(leaf.public_key()) != _public(key.public_key()):
        raise Unusable("tls.key does not belong to the first certificate of tls.crt")
    parts = [*(one.public_bytes(Encoding.PEM) for one in chain), _pem(key)]
    pem = b"".join(parts).decode()
    expires_s = leaf.not_valid_after_utc.timestamp()
    return KeyPair(Certificate.of(file_name(ref), pem, ref), _algorithm(key), expires_s)


def _chain(pem: bytes) -> list[x509.Certificate]:
    if not pem.strip():
        raise Unusable("tls.crt is missing or empty")
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Unusable("tls.crt is no certificate in PEM form") from None
    if len(chain) > MAX_CHAIN:
        raise Unusable(f"tls.crt holds {len(chain)} certificates; allowed: at most {MAX_CHAIN}")
    return chain


def _key(pem: bytes) -> PrivateKeyTypes:
    if not pem.strip():
        raise Unusable("tls.key is missing or empty")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):  # TypeError: it has a passphrase
        raise Unusable("tls.key is no private key in PEM form without a passphrase") from None
    except Exception as error:  # what a broken key raises depends on the OpenSSL underneath
        raise Unusable("tls.key is of a kind that is not supported") from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise Unusable(f"tls.key has {key.key_size} bits; allowed: at least {MIN_RSA_BITS}")
    return key


def _algorithm(key: PrivateKeyTypes) -> str:
    match key:
        case ec.EllipticCurvePrivateKey():
            return "ecdsa"
        case rsa.RSAPrivateKey():
            return "rsa"
        case ed25519.Ed25519PrivateKey():
            return "ed25519"
    raise Unusable("tls.key is neither ECDSA, RSA nor Ed25519")


def _pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
