from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from haproxy_ingress.certificates import (
    MAX_CHAIN,
    NOTHING,
    SKEW_S,
    KeyPair,
    file_name,
    kept,
    read_key_pair,
)
from haproxy_ingress.diagnostics import Ref
from haproxy_ingress.selfsigned import self_signed
from tests.haproxy_ingress.pairs import DAY_S, NOW_S, made

REF = Ref("Secret", "ns", "web")
GOOD = made()
LAST = "the last good certificate stays in service"


def read(chain: bytes, private: bytes, before: KeyPair = NOTHING, now_s: float = NOW_S) -> KeyPair:
    return read_key_pair(REF, chain, private, now_s, before)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa2048", "ed25519"])
def test_a_good_pair(kind: str) -> None:
    of = made(kind)
    found = read(of.chain, of.pem())
    assert (found.problem, found.algorithm) == ("", kind.removesuffix("2048"))
    assert found.expires_s == NOW_S + 29 * DAY_S
    assert found.certificate is not None
    assert found.certificate.name == "certs/ns_web.pem"
    assert found.certificate.origin == REF
    assert found.certificate.pem.encode() == of.chain + of.pem()


@pytest.mark.parametrize("kind", ["ecdsa", "rsa2048"])
def test_an_old_form_of_key_is_written_anew(kind: str) -> None:
    of = made(kind)
    old = of.pem(PrivateFormat.TraditionalOpenSSL)
    assert old != of.pem()
    assert read(of.chain, old) == read(of.chain, of.pem())


def test_what_else_stands_there_reaches_no_file() -> None:
    found = read(b"evil\n\n" + GOOD.chain + b"\n", b"text\n" + GOOD.pem() + b"more")
    assert found == read(GOOD.chain, GOOD.pem())


def test_a_chain_keeps_its_order_and_the_first_is_what_is_served() -> None:
    issuer = made(number=1)
    found = read(GOOD.chain + issuer.chain, GOOD.pem()).certificate
    assert found is not None
    assert found.pem.encode() == GOOD.chain + issuer.chain + GOOD.pem()
    alone = read(GOOD.chain, GOOD.pem()).certificate
    assert alone is not None
    assert found.fingerprint == alone.fingerprint


def other_key() -> bytes:
    private = dsa.generate_private_key(2048)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


SMALL = made("rsa1024")
CASES = [
    pytest.param(b"", GOOD.pem(), "tls.crt is missing or empty", id="no certificate"),
    pytest.param(GOOD.chain, b" \n", "tls.key is missing or empty", id="no key"),
    pytest.param(b"garbage", GOOD.pem(), "tls.crt is no certificate in PEM form", id="garbage"),
    pytest.param(GOOD.chain[:-80], GOOD.pem(), "tls.crt is no certificate", id="cut off"),
    pytest.param(b"\xff\x00" * 99, GOOD.pem(), "tls.crt is no certificate", id="binary"),
    pytest.param(GOOD.chain, b"garbage", "tls.key is no private key", id="garbage as key"),
    pytest.param(GOOD.chain, GOOD.chain, "tls.key is no private key", id="certificate as key"),
    pytest.param(GOOD.pem(), GOOD.pem(), "tls.crt is no certificate", id="key as certificate"),
    pytest.param(GOOD.chain, GOOD.pem(passphrase=b"x"), "without a passphrase", id="passphrase"),
    pytest.param(
        GOOD.chain, made(number=1).pem(), "tls.key does not belong to the first", id="wrong pair"
    ),
    pytest.param(
        made(number=1).chain + GOOD.chain, GOOD.pem(), "tls.key does not belong", id="wrong order"
    ),
    pytest.param(SMALL.chain, SMALL.pem(), "tls.key has 1024 bits; allowed: 2048", id="small"),
    pytest.param(
        GOOD.chain * (MAX_CHAIN + 1), GOOD.pem(), "tls.crt holds 11 certificates", id="long chain"
    ),
    pytest.param(GOOD.chain, other_key(), "tls.key does not belong", id="DSA"),
]


@pytest.mark.parametrize(("chain", "private", "problem"), CASES)
def test_what_is_unusable_says_why(chain: bytes, private: bytes, problem: str) -> None:
    found = read(chain, private)
    assert found.certificate is None
    assert problem in found.problem
    assert LAST not in found.problem


@pytest.mark.parametrize(("chain", "private", "problem"), CASES)
def test_what_is_unusable_leaves_the_last_good_certificate(
    chain: bytes, private: bytes, problem: str
) -> None:
    good = read(GOOD.chain, GOOD.pem())
    found = read(chain, private, good)
    assert found.certificate is good.certificate
    assert (found.algorithm, found.expires_s) == (good.algorithm, good.expires_s)
    assert problem in found.problem
    assert found.problem.endswith(LAST)
    again = read(chain, private, found)
    assert again == found
    assert read(GOOD.chain, GOOD.pem(), again) == good


def test_an_rsa_key_whose_numbers_do_not_fit() -> None:
    of = made("rsa2048")
    pem = of.pem().splitlines()
    at = len(pem) // 2
    broken = b"\n".join([*pem[:at], pem[at][::-1], *pem[at + 1 :]]) + b"\n"
    assert read(of.chain, broken).certificate is None


class TestTime:
    EXPIRED = made(number=2, starts=-40)
    EARLY = made(number=3, starts=2)

    def test_an_expired_certificate_is_better_than_none(self) -> None:
        found = read(self.EXPIRED.chain, self.EXPIRED.pem())
        assert found.problem == "tls.crt expired on 2025-12-22"
        assert found.certificate is not None

    def test_and_worse_than_the_one_before(self) -> None:
        good = read(GOOD.chain, GOOD.pem())
        found = read(self.EXPIRED.chain, self.EXPIRED.pem(), good)
        assert found.certificate is good.certificate
        assert found.problem == f"tls.crt expired on 2025-12-22; {LAST}"

    def test_unless_that_has_expired_too(self) -> None:
        before = read(self.EXPIRED.chain, self.EXPIRED.pem())
        newer = made(number=4, starts=-35)
        found = read(newer.chain, newer.pem(), before)
        assert found == read(newer.chain, newer.pem())

    def test_one_from_tomorrow_is_served_and_said(self) -> None:
        found = read(self.EARLY.chain, self.EARLY.pem())
        assert found.certificate is not None
        assert found.problem == "tls.crt is valid from 2026-01-03 only"
        assert not read(self.EARLY.chain, self.EARLY.pem(), now_s=NOW_S + 2 * DAY_S).problem

    def test_clocks_may_differ_a_little(self) -> None:
        begins_s = NOW_S + 2 * DAY_S
        for early_s, said in ((SKEW_S, False), (SKEW_S + 1, True)):
            found = read(self.EARLY.chain, self.EARLY.pem(), now_s=begins_s - early_s)
            assert bool(found.problem) is said

    def test_without_a_clock_everything_is_valid(self) -> None:
        for of in (self.EXPIRED, self.EARLY):
            assert not read(of.chain, of.pem(), now_s=0).problem


def test_no_part_of_a_key_is_shown() -> None:
    of = made("rsa2048")
    lines = [line for line in of.pem().decode().splitlines() if "-" not in line]
    for found in (
        read(of.chain, of.pem()),
        read(GOOD.chain, of.pem()),
        read(of.chain, of.pem()[9:]),
    ):
        assert not any(line in repr(found) for line in lines)


def test_a_name_that_is_too_long_for_a_file_is_cut_and_stays_its_own() -> None:
    long = [file_name(Ref("Secret", "n" * 63, "x" * 252 + last)) for last in "ab"]
    assert len(set(long)) == 2
    assert all(len(name) < 200 for name in long)
    assert file_name(Ref("Secret", "ns", "tls.a")) == "certs/ns_tls.a.pem"


def test_nothing_was_kept_of_nothing() -> None:
    assert kept(NOTHING, "why") == KeyPair(problem="why")


def test_the_generated_default_is_a_pair_of_its_own_every_time() -> None:
    one, other = self_signed(NOW_S), self_signed(NOW_S)
    assert one.fingerprint != other.fingerprint
    chain, _, private = one.pem.partition("-----BEGIN PRIVATE KEY-----")
    found = read(chain.encode(), ("-----BEGIN PRIVATE KEY-----" + private).encode())
    assert (found.problem, found.algorithm) == ("", "ecdsa")
