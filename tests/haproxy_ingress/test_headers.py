"""The rules about forwarded headers, as far as text can tell; requests are sent elsewhere."""

from __future__ import annotations

import re

import pytest

from haproxy.model import Row
from haproxy.render import map_file
from haproxy_ingress import headers
from haproxy_ingress.headers import HOPS, TRUSTED, chain, trusted_map
from haproxy_ingress.merge import base
from haproxy_ingress.pipeline import compile_config
from haproxy_ingress.translate import Settings

RULES = [" ".join(line.words) for line in chain()]
OURS = [
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"),
    *("x-forwarded-scheme", "x-forwarded-anything", "x-original-forwarded-for"),
    *("x-original-uri", "x-real-ip", "x-scheme"),
]
FOREIGN = [
    *("x-forward", "x-forwarded", "x-real-ip2", "x-schemes", "x-original", "x-original-host"),
    *("my-x-real-ip", "forwarded-for", "proxy-authorization", "ssl-clients", "ssl-client"),
    *("x-request-id", "host", "cookie", "x_custom_header"),
]


def setting(header: str) -> list[int]:
    """The places of the rules that set *header*."""
    return [number for number, rule in enumerate(RULES) if f"set-header {header} " in rule]


@pytest.mark.parametrize("name", [*OURS, "proxy", "forwarded", "ssl-client-verify"])
def test_what_a_stranger_cannot_say(name: str) -> None:
    assert re.search(headers._FORGED, name)


@pytest.mark.parametrize("name", ["proxy", "ssl-client-verify", "ssl_client-x"])
def test_what_nobody_can_say(name: str) -> None:
    assert re.search(headers._MISSPELLED, name)


@pytest.mark.parametrize("name", [*OURS, "x-request-id", "ssl-client-cert"])
def test_no_spelling_with_underscores_is_let_through(name: str) -> None:
    for spelled in (name.replace("-", "_"), name.replace("-", "_", 1)):
        assert re.search(headers._FORGED, spelled)
        assert re.search(headers._MISSPELLED, spelled)


@pytest.mark.parametrize("name", OURS)
def test_a_trusted_sender_is_believed_when_it_spells_well(name: str) -> None:
    assert not re.search(headers._MISSPELLED, name)


@pytest.mark.parametrize("name", FOREIGN)
def test_other_headers_stay(name: str) -> None:
    assert not re.search(headers._FORGED, name)
    assert not re.search(headers._MISSPELLED, name)


def test_forged_headers_go_before_any_is_set_for_good() -> None:
    removed = max(n for n, rule in enumerate(RULES) if "del-header" in rule)
    early = [RULES[number] for number in setting("X-Forwarded-For") if number < removed]
    assert all("req.hdrs,regsub" in rule for rule in early)  # several lists made one
    for header in ("X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-ID"):
        assert min(setting(header)) > removed


def test_the_client_is_found_before_it_is_named_and_after_the_sender() -> None:
    sources = [number for number, rule in enumerate(RULES) if "set-src" in rule]
    assert len(sources) == HOPS
    assert max(setting("X-Forwarded-For")) < min(sources)
    assert max(sources) < min(setting("X-Real-IP"))


def test_nothing_waits() -> None:
    waiting = ("wait-for", "do-resolve", "lua", "send-spoe", "tarpit", "body")
    assert not [rule for rule in RULES if any(word in rule for word in waiting)]


def test_rules_come_before_those_that_route() -> None:
    (frontend,) = base(Settings()).frontends
    assert frontend.rules[: len(chain())] == chain()


def test_the_failure_of_a_rule_is_only_forgiven_where_nothing_depends_on_it() -> None:
    off = RULES.index("http-request strict-mode off")
    on = RULES.index("http-request strict-mode on")
    assert [rule.split()[2] for rule in RULES[off + 1 : on]] == ["X-Original-URI"]


def test_networks_are_rows() -> None:
    settings = Settings(trusted_proxies=("10.0.0.0/8", "2001:db8::/32"))
    config, _ = compile_config((), settings)
    rows = {"10.0.0.0/8": Row("trusted"), "2001:db8::/32": Row("trusted")}
    assert config.maps[TRUSTED].rows == rows
    assert map_file(trusted_map(("10.0.0.0/8",))) == b"10.0.0.0/8 trusted\n"


def test_nobody_is_trusted_unless_we_are_told_so() -> None:
    assert not base(Settings()).maps[TRUSTED].rows


def test_the_proxy_protocol_is_a_matter_of_every_listener() -> None:
    (frontend,) = base(Settings(proxy_protocol=True)).frontends
    assert all(bind.options[:1] == ("accept-proxy",) for bind in frontend.binds)
    (frontend,) = base(Settings()).frontends
    assert not any("accept-proxy" in bind.options for bind in frontend.binds)
