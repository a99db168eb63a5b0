"""PEM from a TLS Secret as a certificate that HAProxy can serve, or what is wrong with it.

The text is written anew from what was parsed, so nothing else that stood there reaches a file or a
command. No message holds any of it.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from attrs import evolve, frozen
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
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192  # larger ones take seconds to check
MAX_FILE_NAME = 200
SKEW_S = 300.0  # who signs and who serves may differ by so much in what time it is


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


NOTHING = KeyPair()


def read_key_pair(
    ref: Ref, chain: bytes, key: bytes, now_s: float, before: KeyPair = NOTHING
) -> KeyPair:
    """What *chain* and *key* (tls.crt and tls.key of the Secret *ref*) are worth.

    now_s: in seconds since 1970; 0 is a time at which everything is valid.

    before: what it held last. When it is unusable now, that certificate stays in service; an
    expired one yields to it too, and is better than none.
    """
    try:
        found = _read(ref, chain, key, now_s)
    except Unusable as error:
        return kept(before, str(error))
    if found.expires_s > now_s:
        return found
    problem = f"tls.crt expired on {_date(found.expires_s)}"
    if before.expires_s > now_s:
        return kept(before, problem)
    return evolve(found, problem=problem)


def kept(before: KeyPair, problem: str) -> KeyPair:
    """What stays in service for one that has a *problem*."""
    stays = "; the last good certificate stays in service" if before.certificate else ""
    return evolve(before, problem=f"{problem}{stays}")


def file_name(ref: Ref) -> str:
    """Where the certificate of a Secret lies; a namespace and a name hold no slash."""
    name = f"{ref.namespace}_{ref.name}"
    if len(name) > MAX_FILE_NAME:  # a file system takes 255
        name = f"{name[:100]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"certs/{name}.pem"


def _read(ref: Ref, chain_pem: bytes, key_pem: bytes, now_s: float) -> KeyPair:
    try:
        return _fitted(ref, _chain(chain_pem), _key(key_pem), now_s)
    except Unusable:
        raise
    except Exception as error:  # parts of a certificate are only parsed when they are asked for
        raise Unusable("tls.crt or tls.key is broken, or of a kind not supported") from error


def _fitted(ref: Ref, chain: list[x509.Certificate], key: PrivateKeyTypes, now_s: float) -> KeyPair:
    leaf = chain[0]
    if _public(leaf.public_key()) != _public(key.public_key()):
        raise Unusable("tls.key does not belong to the first certificate of tls.crt")
    parts = [*(one.public_bytes(Encoding.PEM) for one in chain), _pem(key)]
    pem = b"".join(parts).decode()
    expires_s = leaf.not_valid_after_utc.timestamp()
    starts_s = leaf.not_valid_before_utc.timestamp()
    early = 0 < now_s < starts_s - SKEW_S
    problem = f"tls.crt is valid from {_date(starts_s)} only" if early else ""
    made = Certificate.of(file_name(ref), pem, ref)
    return KeyPair(made, _algorithm(key), expires_s, problem)


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
        key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError):  # TypeError: it has a passphrase
        raise Unusable("tls.key is no private key in PEM form without a passphrase") from None
    except Exception as error:  # what a broken key raises depends on the OpenSSL underneath
        raise Unusable("tls.key is of a kind that is not supported") from error
    return _rsa(key, pem) if isinstance(key, rsa.RSAPrivateKey) else key


def _rsa(key: rsa.RSAPrivateKey, pem: bytes) -> PrivateKeyTypes:
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        allowed = f"{MIN_RSA_BITS} to {MAX_RSA_BITS}"
        raise Unusable(f"tls.key has {key.key_size} bits; allowed: {allowed}")
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except ValueError:
        raise Unusable("tls.key is no valid RSA key") from None


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
