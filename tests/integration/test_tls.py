"""HTTPS as a client sees it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.kit.certs import ask, connect, pair, secret, served
from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.objects import Object, endpoints, ingress, service
from tests.integration.kit.pods import Pods

POD = "127.63.0.1"
A = pair("a.test")


def secure(name: str, secret_name: str, *hosts: str) -> Object:
    """An Ingress for its first host, with TLS for all."""
    made = ingress(name, hosts[0], {"/": "web"})
    made["spec"]["tls"] = [{"hosts": list(hosts), "secretName": secret_name}]
    return made


@pytest.fixture
def serving(echo: Pods) -> Iterator[Daemon]:
    web = [service("web"), endpoints("web", [POD], echo.port)]
    a = [secret("a", A), secure("a", "a", "a.test")]
    with running({"web.yaml": web, "a.yaml": a}) as daemon:
        yield daemon


def test_a_renewed_certificate_leaves_open_connections_alone(serving: Daemon) -> None:
    before = serving.served()
    assert served(serving.https_port, "a.test").serial_number == A.serial
    with connect(serving.https_port, "a.test") as open_before:
        assert POD.encode() in ask(open_before, "a.test")
        new = pair("a.test", key=1)
        serving.write("a.yaml", [secret("a", new), secure("a", "a", "a.test")])
        serving.wait_for(lambda: served(serving.https_port, "a.test").serial_number == new.serial)
        assert POD.encode() in ask(open_before, "a.test")
    assert serving.served() == before
    response = serving.request("/x?y=1", "a.test")
    assert (response.status, response.headers["location"]) == (308, "https://a.test/x?y=1")
    assert serving.request("/.well-known/acme-challenge/x", "a.test").status == 200
