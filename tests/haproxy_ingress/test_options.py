"""Flags and variables: names, defaults, precedence, and what is said when they are wrong."""

import os
from pathlib import Path

import pytest

from haproxy_ingress.options import Options, options, variable
from haproxy_ingress.settings import knobs

ENVIRON = {"XDG_RUNTIME_DIR": "/run/user/7"}
SOURCE = {"manifests": ("/m",)}

DEFAULTS = {
    "manifests": "",
    "ingress-class": "haproxy",
    "controller-name": "haproxy-ingress.io/controller",
    "watch-ingress-without-class": "false",
    "default-backend-service": "",
    "haproxy": "haproxy",
    "state-dir": "",
    "bind-address": "*",
    "http-port": "8080",
    "https-port": "8443",
    "public-https-port": "443",
    "default-tls-secret": "",
    "admin-address": "127.0.0.1",
    "admin-port": "10254",
    "reload-interval": "2s",
    "shutdown-delay": "0s",
    "trusted-proxies": "",
    "proxy-protocol": "false",
    "nameserver": "",
    "log-level": "info",
    "log-format": "text",
}

GIVEN = [
    ("manifests", "/a,b.yaml", "manifests", (Path("/a"), Path("b.yaml"))),
    ("ingress-class", "edge.internal", "ingress_class", "edge.internal"),
    ("controller-name", "example.com/x", "controller_name", "example.com/x"),
    ("watch-ingress-without-class", "t", "watch_ingress_without_class", True),
    ("default-backend-service", "a/b:80", "default_backend_service", ("a", "b", "80")),
    ("haproxy", "/opt/haproxy", "haproxy", "/opt/haproxy"),
    ("state-dir", "/s", "state_dir", Path("/s")),
    ("bind-address", "127.0.0.1,::1", "bind_addresses", ("127.0.0.1", "::1")),
    ("http-port", "0", "http_port", 0),
    ("https-port", "0", "https_port", 0),
    ("public-https-port", "8443", "public_https_port", 8443),
    ("default-tls-secret", "a/b", "default_tls_secret", ("a", "b")),
    ("admin-address", "::1", "admin_address", "::1"),
    ("admin-port", "0", "admin_port", 0),
    ("reload-interval", "500ms", "reload_interval_ms", 500),
    ("shutdown-delay", "1m", "shutdown_delay_ms", 60_000),
    ("trusted-proxies", "10.0.0.0/8,::1", "trusted_proxies", ("10.0.0.0/8", "::1/128")),
    ("proxy-protocol", "1", "proxy_protocol", True),
    ("nameserver", "10.0.0.1:53,[::1]:53", "nameservers", ("10.0.0.1:53", "[::1]:53")),
    ("log-level", "debug", "log_level", "debug"),
    ("log-format", "json", "log_format", "json"),
]

REFUSED = [
    ("ingress-class", "Edge"),
    ("controller-name", "x"),
    ("watch-ingress-without-class", "on"),
    ("default-backend-service", "b"),
    ("bind-address", "localhost"),
    ("http-port", "65536"),
    ("trusted-proxies", "10.0.0.1/8"),
    ("trusted-proxies", "all"),
    ("proxy-protocol", "v2"),
    ("admin-address", "*"),
    ("admin-port", "-1"),
    ("reload-interval", "2 s"),
    ("shutdown-delay", "forever"),
    ("nameserver", "10.0.0.1"),
    ("log-level", "INFO"),
    ("log-format", "xml"),
]


def test_the_defaults() -> None:
    assert {one.key: one.default for one in knobs(Options)} == DEFAULTS


@pytest.mark.parametrize(("key", "text", "name", "value"), GIVEN)
def test_a_variable(key: str, text: str, name: str, value: object) -> None:
    chosen, problems = options(
        {}, {**ENVIRON, "HAPROXY_INGRESS_MANIFESTS": "/m", variable(key): text}
    )
    assert not problems
    assert getattr(chosen, name) == value


@pytest.mark.parametrize(("key", "text", "name", "value"), GIVEN)
def test_a_flag_wins_over_its_variable(key: str, text: str, name: str, value: object) -> None:
    chosen, problems = options({**SOURCE, key: text}, {**ENVIRON, variable(key): "no good"})
    assert not problems
    assert getattr(chosen, name) == value


def test_a_variable_is_named_after_its_flag() -> None:
    assert variable("default-backend-service") == "HAPROXY_INGRESS_DEFAULT_BACKEND_SERVICE"


@pytest.mark.parametrize(("key", "text"), REFUSED)
def test_a_refused_value_names_what_the_user_wrote(key: str, text: str) -> None:
    _, (flag,) = options({**SOURCE, key: text}, ENVIRON)
    _, (environ,) = options(SOURCE, {**ENVIRON, variable(key): text})
    assert flag.key == f"--{key}"
    assert environ.key == variable(key)
    assert repr(text) in flag.message
    assert flag.allowed


def test_all_problems_are_reported_together() -> None:
    _, problems = options({"http-port": "x"}, {**ENVIRON, "HAPROXY_INGRESS_LOG_LEVEL": "loud"})
    assert [one.key for one in problems] == [
        "--http-port",
        "HAPROXY_INGRESS_LOG_LEVEL",
        "--manifests",
    ]


def test_a_path_with_a_comma_can_be_given_as_a_flag() -> None:
    assert options({"manifests": ("/a,b",)}, ENVIRON)[0].manifests == (Path("/a,b"),)


def test_an_empty_variable_is_not_set() -> None:
    assert options(SOURCE, {**ENVIRON, "HAPROXY_INGRESS_HTTP_PORT": ""})[0].http_port == 8080


def test_the_links_that_kubernetes_sets_are_not_for_us() -> None:
    links = {
        "HAPROXY_INGRESS_SERVICE_HOST": "10.0.0.1",
        "HAPROXY_INGRESS_PORT": "tcp://10.0.0.1:80",
        "HAPROXY_INGRESS_ADMIN_PORT": "tcp://10.0.0.1:10254",
        "HAPROXY_INGRESS_ADMIN_PORT_10254_TCP": "tcp://10.0.0.1:10254",
    }
    chosen, problems = options(SOURCE, {**ENVIRON, **links})
    assert not problems
    assert chosen.admin_port == 10254


@pytest.mark.parametrize(
    ("usable", "environ", "expected"),
    [
        pytest.param(True, ENVIRON, Path("/run/haproxy-ingress"), id="system"),
        pytest.param(False, ENVIRON, Path("/run/user/7/haproxy-ingress"), id="user"),
        pytest.param(False, {}, None, id="neither"),
    ],
)
def test_the_state_folder(
    usable: bool,
    environ: dict[str, str],
    expected: Path | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: usable)
    chosen, problems = options(SOURCE, environ)
    assert chosen.state_dir == expected
    assert [one.key for one in problems] == ([] if expected else ["--state-dir"])
