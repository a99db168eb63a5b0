"""spec.tls: what an Ingress asks for, and which certificate serves which name in the end."""

from __future__ import annotations

import pytest
from attrs import evolve

from haproxy.model import Certificate, Config
from haproxy_ingress.certificates import read_key_pair
from haproxy_ingress.diagnostics import Diagnostic, Ref
from haproxy_ingress.pipeline import Pipeline
from haproxy_ingress.resources import Ingress, Resource, Secret, Tls
from haproxy_ingress.routing import HOSTS, TLS_FLAG
from haproxy_ingress.selfsigned import self_signed
from haproxy_ingress.store import View
from haproxy_ingress.tls import CRT_LIST, DEFAULT_CERTIFICATE, Security, read_tls
from haproxy_ingress.translate import Settings
from tests.haproxy_ingress.objects import gone, ingress, path, put, rule, said, service, store
from tests.haproxy_ingress.pairs import NOW_S, made, secret, tls

A, RSA, OTHER = made(), made("rsa2048"), made(number=1)
SETTINGS = Settings(https_port=8443, default_certificate=self_signed(NOW_S))
REFUSED = "HAProxy refused it"


def secured(name: str, *asked: Tls, host: str = "a.test", created: str = "") -> Ingress:
    return evolve(ingress(name, rule(host), created=created), tls=asked)


def asked(one: Ingress, *secrets: Secret) -> tuple[Security, tuple[Diagnostic, ...]]:
    hosts = tuple(each.host for each in one.rules)
    return read_tls(one, hosts, View(store(*secrets)))


class TestWishes:
    def test_each_host_of_an_entry(self) -> None:
        one = secured("one", tls("a", "a.test", "*.B.test", "a.test"))
        security, found = asked(one, secret("a", A))
        assert [wish.host for wish in security.wishes] == ["a.test", "*.b.test"]
        assert {wish.algorithm for wish in security.wishes} == {"ecdsa"}
        assert not found

    def test_without_hosts_those_of_the_rules(self) -> None:
        security, found = asked(secured("one", tls("a")), secret("a", A))
        assert [wish.host for wish in security.wishes] == ["a.test"]
        assert security.hosts == {"a.test"}
        assert not found

    def test_without_any_host_there_is_nothing_to_serve_it_for(self) -> None:
        security, found = asked(secured("one", tls("a"), host=""), secret("a", A))
        assert not security.wishes
        assert said(found) == [("CertificateInvalid", "spec.tls[0]")]

    @pytest.mark.parametrize(
        ("secrets", "told"),
        [
            pytest.param([], "does not exist", id="unknown"),
            pytest.param([secret("a", A, kind="Opaque")], "not of type", id="wrong type"),
            pytest.param([secret("a", A, key=b"")], "tls.key is missing", id="broken"),
        ],
    )
    def test_no_certificate_and_still_secure(self, secrets: list[Secret], told: str) -> None:
        security, found = asked(secured("one", tls("a", "a.test")), *secrets)
        assert not security.wishes
        assert security.hosts == {"a.test"}
        assert said(found) == [("CertificateInvalid", "spec.tls[0].secretName")]
        assert told in found[0].message

    def test_no_secret_named_is_the_default_certificate(self) -> None:
        security, found = asked(secured("one", tls("", "a.test")))
        assert (security, found) == (Security((), frozenset({"a.test"})), ())

    @pytest.mark.parametrize("host", ["", "no host", "*", "a.*.test", "*.*.test", "x" * 254])
    def test_what_is_no_host(self, host: str) -> None:
        security, found = asked(secured("one", tls("a", host, "a.test")), secret("a", A))
        assert [wish.host for wish in security.wishes] == ["a.test"]
        assert said(found) == [("CertificateInvalid", "spec.tls[0].hosts[0]")]

    @pytest.mark.parametrize(
        ("host", "named", "secure"),
        [
            ("a.test", "a.test", True),
            ("x.w.test", "*.w.test", True),
            ("*.w.test", "*.w.test", True),
            ("*.w.test", "x.w.test", False),
            ("y.x.w.test", "*.w.test", False),
            ("a.test", "b.test", False),
        ],
    )
    def test_which_hosts_are_secure(self, host: str, named: str, secure: bool) -> None:
        security, _ = asked(secured("one", tls("a", named), host=host), secret("a", A))
        assert bool(security.hosts) is secure


def compiled(*there: Resource) -> Pipeline:
    pipeline = Pipeline(SETTINGS)
    pipeline.update(put(service(), *there), NOW_S)
    return pipeline


def lines(config: Config) -> list[str]:
    return sorted(config.crt_lists[CRT_LIST].served)


def coherent(config: Config) -> None:
    """A line for every certificate, a certificate for every line, and the default."""
    of_lines = {one.certificate for one in config.crt_lists[CRT_LIST].served.values()}
    assert of_lines | {DEFAULT_CERTIFICATE} == set(config.certificates)


OLD, NEW = "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"


class TestNames:
    def test_exact_and_wildcard_stand_beside_each_other(self) -> None:
        one = secured("one", tls("a", "x.w.test"), tls("b", "*.w.test"))
        config = compiled(secret("a", A), secret("b", OTHER), one).config
        assert lines(config) == ["certs/ns_a.pem x.w.test", "certs/ns_b.pem *.w.test"]
        coherent(config)

    def test_the_oldest_wins_and_the_other_hears_of_it(self) -> None:
        young = secured("young", tls("a", "a.test"), host="b.test", created=NEW)
        old = secured("old", tls("b", "a.test"), created=OLD)
        pipeline = compiled(secret("a", A), secret("b", OTHER), young, old)
        assert lines(pipeline.config) == ["certs/ns_b.pem a.test"]
        coherent(pipeline.config)
        (found,) = pipeline.diagnostics()
        assert (found.ref, found.why.value, found.field) == (young.ref, "Conflict", "spec.tls[0]")
        assert f"Ingress ns/old since {OLD}" in found.message
        pipeline.update(gone(old.ref), NOW_S)
        assert lines(pipeline.config) == ["certs/ns_a.pem a.test"]
        assert not list(pipeline.diagnostics())
        coherent(pipeline.config)

    def test_the_same_secret_twice_is_no_conflict(self) -> None:
        one, two = (secured(name, tls("a", "a.test"), host=f"{name}.test") for name in "xy")
        pipeline = compiled(secret("a", A), one, two)
        assert not list(pipeline.diagnostics())
        pipeline.update(gone(one.ref), NOW_S)
        assert lines(pipeline.config) == ["certs/ns_a.pem a.test"]
        coherent(pipeline.config)

    def test_one_of_each_algorithm(self) -> None:
        both = secured("both", tls("e", "a.test"), tls("r", "a.test"))
        pipeline = compiled(secret("e", A), secret("r", RSA), both)
        assert lines(pipeline.config) == ["certs/ns_e.pem a.test", "certs/ns_r.pem a.test"]
        assert not list(pipeline.diagnostics())

    @pytest.mark.parametrize("turn", range(8))
    def test_a_secret_may_change_its_algorithm(self, turn: int) -> None:
        pipeline = compiled(secret("a", A), secured("one", tls("a", *(f"h{turn}.test", "a.test"))))
        before = lines(pipeline.config)
        for of in (RSA, A, RSA):
            pipeline.update(put(secret("a", of)), NOW_S)
            assert lines(pipeline.config) == before
            coherent(pipeline.config)


def served_by(pipeline: Pipeline, name: str = "certs/ns_a.pem") -> Certificate | None:
    return pipeline.config.certificates.get(name)


class TestRefused:
    """What passes our reading and not HAProxy's."""

    def test_the_certificate_before_stays(self) -> None:
        one = secured("one", tls("a", "a.test"))
        pipeline = compiled(secret("a", A), one)
        good = served_by(pipeline)
        pipeline.update(put(secret("a", OTHER)), NOW_S)
        assert served_by(pipeline) != good
        changed = pipeline.quarantine(Ref("Secret", "ns", "a"), REFUSED)
        assert changed.certificates == {"certs/ns_a.pem"}
        assert served_by(pipeline) is good
        messages = [str(found) for found in pipeline.diagnostics()]
        assert any("last good certificate stays" in one for one in messages)
        assert list(pipeline.quarantined) == [Ref("Secret", "ns", "a")]

    def test_without_one_before_the_default_serves(self) -> None:
        pipeline = compiled(secret("a", A), secured("one", tls("a", "a.test")))
        pipeline.quarantine(Ref("Secret", "ns", "a"), REFUSED)
        assert served_by(pipeline) is None
        assert not lines(pipeline.config)
        assert TLS_FLAG in pipeline.config.maps[HOSTS].rows["a.test"].value

    def test_both_may_be_refused(self) -> None:
        pipeline = compiled(secret("a", A), secured("one", tls("a", "a.test")))
        pipeline.update(put(secret("a", OTHER)), NOW_S)
        for _ in range(2):
            pipeline.quarantine(Ref("Secret", "ns", "a"), REFUSED)
        assert served_by(pipeline) is None

    def test_the_same_again_is_not_tried_again_and_another_is(self) -> None:
        pipeline = compiled(secret("a", A), secured("one", tls("a", "a.test")))
        pipeline.quarantine(Ref("Secret", "ns", "a"), REFUSED)
        assert not pipeline.update(put(secret("a", A)), NOW_S)
        assert served_by(pipeline) is None
        pipeline.update(put(secret("a", OTHER)), NOW_S)
        assert served_by(pipeline) is not None
        assert not list(pipeline.diagnostics())
        assert not pipeline.quarantined

    def test_an_ingress_that_is_out_still_gets_renewed_certificates(self) -> None:
        pipeline = compiled(secret("a", A), secured("one", tls("a", "a.test")))
        pipeline.accepted()
        bad = evolve(secured("one", tls("a", "a.test")), rules=(rule("a.test", path("/bad")),))
        pipeline.update(put(bad), NOW_S)
        pipeline.quarantine(bad.ref, REFUSED)
        pipeline.update(put(secret("a", OTHER)), NOW_S)
        pipeline.quarantine(bad.ref, REFUSED)
        expected = read_key_pair(Ref("Secret", "ns", "a"), OTHER.chain, OTHER.pem(), NOW_S)
        assert served_by(pipeline) == expected.certificate
        coherent(pipeline.config)


class TestDefault:
    def test_is_the_generated_one_until_the_secret_is_there(self) -> None:
        pipeline = Pipeline(evolve(SETTINGS, default_tls_secret=("ns", "any")))
        pipeline.update((), NOW_S)
        assert served_by(pipeline, DEFAULT_CERTIFICATE) == SETTINGS.default_certificate
        assert said(pipeline.diagnostics()) == [("CertificateInvalid", "data")]
        pipeline.update(put(secret("any", A)), NOW_S)
        assert served_by(pipeline, DEFAULT_CERTIFICATE) != SETTINGS.default_certificate
        assert not list(pipeline.diagnostics())
        pipeline.update(put(secret("any", A, key=b"")), NOW_S)
        assert served_by(pipeline, DEFAULT_CERTIFICATE) != SETTINGS.default_certificate
        pipeline.update(gone(Ref("Secret", "ns", "any")), NOW_S)
        assert served_by(pipeline, DEFAULT_CERTIFICATE) == SETTINGS.default_certificate

    def test_without_a_listener_there_is_no_certificate_at_all(self) -> None:
        pipeline = Pipeline(evolve(SETTINGS, https_port=0))
        pipeline.update(put(secret("a", A), secured("one", tls("a", "a.test"))), NOW_S)
        assert not pipeline.config.certificates
        assert not pipeline.config.crt_lists
