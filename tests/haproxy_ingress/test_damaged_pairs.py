"""A key pair with any byte of it damaged is judged, and stops nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from haproxy_ingress.certificates import read_key_pair
from haproxy_ingress.diagnostics import Ref
from tests.integration.kit.certs import Algorithm, pair

REF = Ref("Secret", "ns", "web")


def damaged(pem: bytes, step: int) -> Iterator[bytes]:
    """*pem* with one byte of what it encodes changed, at every *step*-th place."""
    first, *body, last = pem.splitlines()
    whole = base64.b64decode(b"".join(body))
    for place in range(0, len(whole), step):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(whole)
            changed[place] ^= flip
            yield b"\n".join([first, base64.encodebytes(changed).strip(), last, b""])


@pytest.mark.parametrize(("kind", "step"), [("ecdsa", 1), ("rsa", 101)])
def test_a_damaged_one_is_said_to_be(kind: Algorithm, step: int) -> None:
    """Wherever the damage is: much of a certificate is parsed only when it is asked for."""
    of = pair("a.test", algorithm=kind)
    chain, key = of.chain.encode(), of.key.encode()
    for bad in damaged(chain, step):
        found = read_key_pair(REF, bad, key, 0.0)
        assert found.problem or found.certificate
    for bad in damaged(key, step):
        found = read_key_pair(REF, chain, bad, 0.0)
        assert found.problem or found.certificate
