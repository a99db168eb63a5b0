"""HTTPS as a client sees it."""

from __future__ import annotations

import os
import re
import ssl
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.kit.certs import Pair, ask, connect, pair, secret, served
from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.objects import Object, endpoints, ingress, service
from tests.integration.kit.pods import Pods

POD = "127.63.0.1"
A, B, OTHER = pair("a.test"), pair("b.test", key=1), pair("a.test", key=2)
RSA_A = pair("a.test", algorithm="rsa")
DEFAULT = "haproxy-ingress default certificate"


def secure(name: str, secret_name: str, *hosts: str) -> Object:
    """An Ingress for its first host, with TLS for all."""
    made = ingress(name, hosts[0], {"/": "web"})
    made["spec"]["tls"] = [{"hosts": list(hosts), "secretName": secret_name}]
    return made


@pytest.fixture(scope="module")
def web(echo: Pods) -> list[Object]:
    return [service("web"), endpoints("web", [POD], echo.port)]


@pytest.fixture
def serving(web: list[Object]) -> Iterator[Daemon]:
    a = [secret("a", A), secure("a", "a", "a.test")]
    b = [secret("b", B), secure("b", "b", "b.test")]
    with running({"web.yaml": web, "a.yaml": a, "b.yaml": b}) as daemon:
        yield daemon


def shown(daemon: Daemon, host: str) -> int:
    """The serial number of the certificate for *host*; 0 is the generated default's."""
    found = served(daemon.https_port, host)
    name = found.subject.rfc4514_string()
    return 0 if DEFAULT in name else found.serial_number


def becomes(daemon: Daemon, host: str, serial: int) -> None:
    daemon.wait_for(lambda: shown(daemon, host) == serial)


def findings(daemon: Daemon) -> list[tuple[str, str]]:
    """Reason and message of everything that is wrong."""
    status = daemon.admin("/api/v1/status").json()
    return [(one["reason"], one["message"]) for one in status["diagnostics"]]


def keys_on_disk(daemon: Daemon) -> set[str]:
    """Files with a private key, relative to the state directory, whatever their generation."""
    return {name for name, text in contents(daemon.state) if "PRIVATE" in text}


def contents(folder: Path) -> Iterator[tuple[str, str]]:
    """All files below *folder*, which come and go meanwhile."""
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with suppress(OSError):
                yield str(path.relative_to(folder)), path.read_text(errors="replace")


def test_a_renewed_certificate_leaves_open_connections_alone(serving: Daemon) -> None:
    before = serving.served()
    assert shown(serving, "a.test") == A.serial
    with connect(serving.https_port, "a.test") as open_before:
        assert POD.encode() in ask(open_before, "a.test")
        serving.write("a.yaml", [secret("a", OTHER), secure("a", "a", "a.test")])
        becomes(serving, "a.test", OTHER.serial)
        assert POD.encode() in ask(open_before, "a.test")
    assert serving.served() == before


class TestNames:
    def test_exact_before_wildcard_before_default(self, web: list[Object]) -> None:
        exact, wild = pair("x.w.test"), pair("*.w.test", key=1)
        objects = [secret("exact", exact), secret("wild", wild)]
        objects += [secure("exact", "exact", "x.w.test"), secure("wild", "wild", "*.w.test")]
        with running({"web.yaml": web, "tls.yaml": objects}) as daemon:
            assert shown(daemon, "x.w.test") == exact.serial
            assert shown(daemon, "y.w.test") == wild.serial
            assert shown(daemon, "Y.W.TEST") == wild.serial
            for other in ("w.test", "z.y.w.test", "none.test"):
                assert shown(daemon, other) == 0

    @pytest.mark.parametrize("rsa_first", [True, False])
    def test_ecdsa_and_rsa_stand_side_by_side(self, web: list[Object], rsa_first: bool) -> None:
        names = ("rsa", "ecdsa") if rsa_first else ("ecdsa", "rsa")
        of = {"rsa": RSA_A, "ecdsa": A}
        objects = [secret(name, of[name]) for name in names]
        both = secure("a", names[0], "a.test")
        both["spec"]["tls"] += [{"hosts": ["a.test"], "secretName": names[1]}]
        objects.append(both)
        with running({"web.yaml": web, "tls.yaml": objects}) as daemon:
            for offered, expected in (("ECDSA", A), ("RSA", RSA_A)):
                cipher = f"ECDHE-{offered}-AES128-GCM-SHA256"
                old = ssl.TLSVersion.TLSv1_2
                found = served(daemon.https_port, "a.test", ciphers=cipher, maximum_version=old)
                assert found.serial_number == expected.serial
            assert shown(daemon, "a.test") == A.serial
            assert not findings(daemon)

    def test_the_algorithm_of_a_host_may_change(self, serving: Daemon) -> None:
        for of in (RSA_A, A, RSA_A):
            serving.write("a.yaml", [secret("a", of), secure("a", "a", "a.test")])
            becomes(serving, "a.test", of.serial)
        assert shown(serving, "b.test") == B.serial

    def test_a_named_default_certificate_and_its_renewal(self, web: list[Object]) -> None:
        # It holds a name that has a certificate of its own, which comes before.
        first, second = pair("*.any.test", "a.test", key=2), pair("*.any.test", key=1)
        a = [secret("a", A), secure("a", "a", "a.test")]
        files = {"web.yaml": web, "a.yaml": a, "default.yaml": [secret("any", first)]}
        with running(files, "--default-tls-secret", "default/any") as daemon:
            before = daemon.served()
            assert shown(daemon, "none.test") == first.serial
            assert shown(daemon, "a.test") == A.serial
            daemon.write("default.yaml", secret("any", second))
            becomes(daemon, "none.test", second.serial)
            (daemon.manifests / "default.yaml").unlink()
            becomes(daemon, "none.test", 0)
            assert daemon.served() == before


class TestProtocols:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_tls_1_2_and_1_3(self, serving: Daemon, version: ssl.TLSVersion) -> None:
        only = {"minimum_version": version, "maximum_version": version}
        with connect(serving.https_port, "a.test", **only) as connection:
            assert POD.encode() in ask(connection, "a.test")

    def test_nothing_older(self, serving: Daemon) -> None:
        old = {"ciphers": "DEFAULT@SECLEVEL=0", "maximum_version": ssl.TLSVersion.TLSv1_1}
        with (
            pytest.warns(DeprecationWarning, match="TLSv1"),
            pytest.raises(ssl.SSLError, match="VERSION"),
        ):
            connect(serving.https_port, "a.test", minimum_version=ssl.TLSVersion.TLSv1, **old)

    def test_http_2_where_the_client_can(self, serving: Daemon) -> None:
        for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
            with connect(serving.https_port, "a.test", alpn=offered) as connection:
                assert connection.selected_alpn_protocol() == chosen
        where = f"a.test:{serving.https_port}"
        curl = ["curl", "-sSk", "--http2", "--resolve", f"{where}:127.0.0.1", f"https://{where}/"]
        wanted = [*curl, "-o", "/dev/null", "-w", "%{http_version} %{http_code}"]
        assert subprocess.run(wanted, capture_output=True, text=True, check=True).stdout == "2 200"


ENCRYPTED = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(secret("a", tls_crt=A.chain), "tls.key is missing", id="no key"),
        pytest.param(secret("a", tls_key=A.key), "tls.crt is missing", id="no certificate"),
        pytest.param(secret("a", A, tls_key=B.key), "does not belong", id="wrong pair"),
        pytest.param(secret("a", A, tls_crt="garbage"), "tls.crt is no certificate", id="garbage"),
        pytest.param(secret("a", A, tls_key="garbage"), "tls.key is no private key", id="bad key"),
        pytest.param(secret("a", A, tls_key=ENCRYPTED), "passphrase", id="passphrase"),
        pytest.param(secret("a", pair("a.test", days=-3)), "expired on", id="expired"),
        pytest.param(secret("a", pair("a.test", algorithm="secp192r1")), "HAProxy", id="too weak"),
    ],
)
def test_a_broken_secret_says_why_and_leaves_the_last_good_certificate(
    web: list[Object], broken: Object, reason: str
) -> None:
    tls = secure("a", "a", "a.test")
    new = [broken, secure("new", "a", "new.test")]
    with running({"web.yaml": web, "a.yaml": [secret("a", A), tls]}) as daemon:
        before = daemon.served()
        daemon.write("a.yaml", [broken, tls])
        daemon.wait_for(lambda: findings(daemon))
        daemon.write("b.yaml", [secret("b", B), secure("b", "b", "b.test")])
        becomes(daemon, "b.test", B.serial)
        assert shown(daemon, "a.test") == A.serial
        found = [message for why, message in findings(daemon) if why == "CertificateInvalid"]
        assert found
        assert all(reason in one and "last good certificate stays" in one for one in found)
        daemon.write("a.yaml", [secret("a", OTHER), tls])
        becomes(daemon, "a.test", OTHER.serial)
        assert not findings(daemon)
        assert daemon.served() == before
    # From the start there is nothing that was good before; an expired one is better than none.
    with running({"web.yaml": [*web, secret("b", B), *new, secure("b", "b", "b.test")]}) as daemon:
        becomes(daemon, "b.test", B.serial)
        assert (shown(daemon, "new.test") == 0) == (reason != "expired on")
        assert any(reason in message for _, message in findings(daemon))
        with connect(daemon.https_port, "new.test") as connection:
            assert POD.encode() in ask(connection, "new.test")


class TestChanges:
    def test_a_new_host_with_a_new_secret(self, serving: Daemon) -> None:
        before = serving.served()
        serving.write("n.yaml", [secret("n", OTHER), secure("n", "n", "n.test", "*.m.test")])
        becomes(serving, "n.test", OTHER.serial)
        becomes(serving, "x.m.test", OTHER.serial)
        assert serving.served() == before
        newest = serving.decisions()[0]
        assert (newest["action"], newest["result"]) == ("runtime", "ok")

    def test_a_secret_that_comes_after_its_ingress(self, serving: Daemon) -> None:
        serving.write("n.yaml", secure("n", "n", "n.test"))
        serving.wait_for(lambda: findings(serving))
        assert "does not exist" in findings(serving)[0][1]
        serving.write("secret.yaml", secret("n", OTHER))
        becomes(serving, "n.test", OTHER.serial)
        assert not findings(serving)

    def test_a_secret_that_is_removed_leaves_no_key(self, serving: Daemon) -> None:
        before = serving.served()
        assert "_default.pem" in str(keys_on_disk(serving))
        serving.write("b.yaml", secure("b", "b", "b.test"))
        becomes(serving, "b.test", 0)
        lines = serving.state / "certs" / "list.txt"
        serving.wait_for(lambda: "b.test" not in lines.read_text())
        serving.loadable()
        serving.wait_for(lambda: "_b.pem" not in str(keys_on_disk(serving)))
        assert shown(serving, "a.test") == A.serial
        assert serving.served() == before

    def test_a_renewed_key_does_not_leave_the_old_one(self, serving: Daemon) -> None:
        serving.write("a.yaml", [secret("a", OTHER), secure("a", "a", "a.test")])
        becomes(serving, "a.test", OTHER.serial)
        serving.wait_for(lambda: not holding(serving.state, A))
        assert holding(serving.state, OTHER)

    def test_an_ingress_that_is_removed(self, serving: Daemon) -> None:
        serving.write("b.yaml", secret("b", B))
        becomes(serving, "b.test", 0)
        assert not findings(serving)

    def test_a_host_that_gets_the_certificate_of_another(self, serving: Daemon) -> None:
        serving.write("a.yaml", [secret("a", A), secure("a", "b", "a.test")])
        becomes(serving, "a.test", B.serial)
        serving.write("b.yaml", [secret("b", B), secure("b", "a", "b.test")])
        becomes(serving, "b.test", A.serial)
        assert shown(serving, "a.test") == B.serial

    def test_a_chain_that_only_a_file_can_hold(self, serving: Daemon) -> None:
        big = pair("a.test", *(f"{number}.long-name.test" for number in range(600)), key=1)
        before = serving.served()
        serving.write("a.yaml", [secret("big", big), secure("a", "big", "a.test")])
        seen = {A.serial}

        def arrived() -> bool:
            seen.add(shown(serving, "a.test"))
            return big.serial in seen

        serving.wait_for(arrived)
        assert seen == {A.serial, big.serial}
        assert serving.served().reloads == before.reloads + 1
        serving.wait_for(lambda: "over 14000 bytes" in str(serving.decisions()[0]["reasons"]))

    def test_a_restarted_daemon_finds_all_in_place(self, serving: Daemon) -> None:
        serving.write("n.yaml", [secret("n", OTHER), secure("n", "n", "n.test")])
        becomes(serving, "n.test", OTHER.serial)
        serving.stop()
        serving.restart()
        assert [shown(serving, f"{name}.test") for name in "abn"] == [
            A.serial,
            B.serial,
            OTHER.serial,
        ]


class TestRedirects:
    def test_plain_requests_go_to_https(self, web: list[Object]) -> None:
        objects = [secret("a", A), secure("a", "a", "a.test"), secure("w", "a", "*.w.test")]
        objects += [ingress("plain", "plain.test", {"/": "web"})]
        files = {"web.yaml": web, "tls.yaml": objects}
        with running(files, "--public-https-port", "8443") as daemon:
            for host, sent in (
                ("a.test", "https://a.test:8443/x?y=1"),
                ("A.test:8080", "https://a.test:8443/x?y=1"),
                ("v.w.test", "https://v.w.test:8443/x?y=1"),
            ):
                response = daemon.request("/x?y=1", host)
                assert (response.status, response.headers.get("location")) == (308, sent)
            challenge = "/.well-known/acme-challenge/token"
            assert daemon.request(challenge, "a.test").status == 200
            assert daemon.request("/x", "plain.test").status == 200
            with connect(daemon.https_port, "a.test") as connection:
                assert ask(connection, "a.test", "/x").startswith(b"HTTP/1.1 200")

    def test_port_443_is_not_named_and_the_host_ceases_to_be_secure(self, serving: Daemon) -> None:
        assert serving.request("/x", "a.test").headers["location"] == "https://a.test/x"
        serving.write("a.yaml", ingress("a", "a.test", {"/": "web"}))
        serving.wait_for(lambda: serving.request("/", "a.test").status == 200)

    def test_without_https_nothing_is_redirected(self, web: list[Object]) -> None:
        files = {"web.yaml": web, "a.yaml": [secret("a", A), secure("a", "a", "a.test")]}
        with running(files, "--https-port", "0") as daemon:
            assert daemon.request("/", "a.test").status == 200
            assert not keys_on_disk(daemon)


def parts(of: Pair) -> list[str]:
    """The lines of a private key, each long enough to be unmistakable."""
    return [line for line in of.key.splitlines() if re.fullmatch("[A-Za-z0-9+/=]{20,}", line)]


def holding(folder: Path, of: Pair) -> list[str]:
    """Files with a part of its key."""
    return [name for name, text in contents(folder) if any(part in text for part in parts(of))]


def test_keys_are_in_files_for_their_owner_and_nowhere_else(web: list[Object]) -> None:
    planted = [A, B, OTHER, RSA_A, weak := pair("w.test", algorithm="secp192r1")]
    objects = [secret("a", A), secure("a", "a", "a.test"), secure("b", "b", "b.test")]
    files = {"web.yaml": web, "a.yaml": objects, "b.yaml": [secret("b", B)]}
    with running(files, "--log-level", "debug") as daemon:
        daemon.write("a.yaml", [secret("a", OTHER), *objects[1:]])
        becomes(daemon, "a.test", OTHER.serial)
        daemon.write("b.yaml", secret("b", B, tls_key=RSA_A.key))  # not its own
        daemon.wait_for(lambda: "does not belong" in str(findings(daemon)))
        daemon.write("c.yaml", [secret("c", weak), secure("c", "c", "w.test")])
        daemon.wait_for(lambda: "HAProxy refused" in str(findings(daemon)))
        damaged = f"apiVersion: v1\nkind: Secret\ndata: {{tls.key: [{parts(A)[0]}\n"
        daemon.write("d.yaml", damaged)
        daemon.wait_for(lambda: "Unreadable" in str(findings(daemon)))
        daemon.write("e.yaml", {**secret("e"), "data": {"tls.key": f"!{parts(A)[0]}"}})
        daemon.wait_for(lambda: "Base64" in str(findings(daemon)))
        said = [daemon.printed, *daemon.left()]
        said += [
            daemon.admin(path).body.decode()
            for path in ("/", "/metrics", "/api/v1/decisions", "/api/v1/status")
        ]
        for text in said:
            assert "PRIVATE" not in text
            assert not any(part in text for of in planted for part in parts(of))
        found = [path for of in planted for path in holding(daemon.state, of)]
        assert found
        assert all(re.fullmatch(r"((current|gen-\d+)/)?certs/[^/]+\.pem", path) for path in found)
        for path in (daemon.state / "certs").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
