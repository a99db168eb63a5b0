"""What the appProtocol of a Service port leads to."""

from __future__ import annotations

import pytest

from haproxy_ingress.diagnostics import Level
from haproxy_ingress.pipeline import compile_config
from haproxy_ingress.protocols import spoken
from haproxy_ingress.resources import Service, ServicePort
from haproxy_ingress.translate import Settings
from tests.haproxy_ingress.objects import NAMESPACE, ingress, path, rule, service

H2 = ("proto", "h2")


def speaking(protocol: str, **fields: object) -> Service:
    return service("web", ServicePort(80, app_protocol=protocol), **fields)


@pytest.mark.parametrize("protocol", ["kubernetes.io/h2c", "h2c", "grpc", "H2C", "gRPC"])
def test_http2(protocol: str) -> None:
    assert spoken(protocol) == (H2, "")


@pytest.mark.parametrize("protocol", ["", "http", "HTTP", "kubernetes.io/ws"])
def test_plain(protocol: str) -> None:
    assert spoken(protocol) == ((), "")


@pytest.mark.parametrize("protocol", ["https", "kubernetes.io/wss", "mysql", "proto h2"])
def test_unknown(protocol: str) -> None:
    options, problem = spoken(protocol)
    assert options == ()
    assert "supported: grpc, h2c, http, kubernetes.io/h2c, kubernetes.io/ws" in problem


def test_the_servers_of_a_backend_have_it() -> None:
    config, found = compile_config(
        (ingress("shop", rule()), speaking("kubernetes.io/h2c")), Settings()
    )
    assert config.backends[f"{NAMESPACE}_web_80"].server_options == H2
    assert found == ()


def test_of_an_external_name_too() -> None:
    there = speaking("h2c", type="ExternalName", external_name="a.example")
    config, _ = compile_config((ingress("shop", rule()), there), Settings())
    assert config.backends[f"{NAMESPACE}_web_80"].server_options == H2


def test_an_unknown_one_is_said_once_an_ingress_and_served_as_http() -> None:
    shop = ingress("shop", rule("a.test", path("/a"), path("/b")))
    config, (found,) = compile_config((shop, speaking("https")), Settings())
    assert config.backends[f"{NAMESPACE}_web_80"].server_options == ()
    assert (found.why.value, found.level) == ("Unsupported", Level.WARNING)
    assert found.field == "spec.rules[0].http.paths[0].backend"
    assert found.message.startswith("appProtocol https of port 80 of Service web is not supported")
