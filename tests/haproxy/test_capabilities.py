from __future__ import annotations

import pytest

from haproxy.capabilities import Capabilities, Feature, Limits
from haproxy.errors import InvalidValue, Unsupported
from haproxy.protocol import CAUTIOUS


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.6", (2, 6)),
        ("2.6.12-1+deb12u4", (2, 6)),
        ("3.0.11-1+deb13u3", (3, 0)),
        ("3.4-dev7-af5ee9-13", (3, 4)),
        ("3.10.1", (3, 10)),
        ("10.0", (10, 0)),
    ],
)
def test_a_version_is_its_line(text: str, version: tuple[int, int]) -> None:
    can = Capabilities.of(text)
    assert can.version == version
    assert str(can) == ".".join(map(str, version))


@pytest.mark.parametrize(
    "text", ["", "3", "v3.0", "2.5.14", "1.8", "0.0", "2.6666", "three", " 3.0"]
)
def test_an_old_version_or_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"HAProxy version: .* allowed: 2\.6 and later"):
        Capabilities.of(text)


@pytest.mark.parametrize(
    ("version", "reload_verdict", "dynamic_backends"),
    [
        ("2.6", False, False),
        ("2.7", True, False),
        ("3.0", True, False),
        ("3.2", True, False),
        ("3.3", True, False),
        ("3.4", True, True),
        ("4.0", True, True),
    ],
)
def test_what_a_line_can_do(version: str, reload_verdict: bool, dynamic_backends: bool) -> None:
    can = Capabilities.of(version)
    assert can.reload_verdict is reload_verdict
    assert can.dynamic_backends is dynamic_backends


def test_what_is_lacking_is_named_with_who_has_it() -> None:
    can = Capabilities.of("2.6.12")
    with pytest.raises(Unsupported) as caught:
        can.require(Feature.DYNAMIC_BACKENDS)
    assert (caught.value.what, caught.value.version, caught.value.has) == (
        "add backend",
        "2.6",
        "3.4",
    )
    assert not caught.value.transient
    Capabilities.of("3.4").require(Feature.DYNAMIC_BACKENDS)


def test_what_was_lost_on_the_way_is_named_with_who_had_it() -> None:
    Capabilities.of("3.2").require(Feature.CHECK_ADDRESS)
    with pytest.raises(Unsupported, match=r"HAProxy 3\.4 lacks it; 2\.6 up to before 3\.4 has it"):
        Capabilities.of("3.4").require(Feature.CHECK_ADDRESS)


@pytest.mark.parametrize("feature", Feature)
def test_every_feature_is_somewhere_and_has_a_name(feature: Feature) -> None:
    assert any(Capabilities(version).has(feature) for version in ((2, 6), (3, 2), (3, 4)))
    assert feature.what
    assert str(feature.span)


def test_keywords_of_servers() -> None:
    can = Capabilities.of("2.6")
    assert can.require_keyword("inter").valued
    assert not can.require_keyword("check").valued
    assert Capabilities.of("3.0").require_keyword("set-proxy-v2-tlv-fmt(0xE1)").valued
    for name in ("resolvers", "init-addr", "enabled", "usesrc", "check(1)x", "", "id"):
        with pytest.raises(InvalidValue):
            can.require_keyword(name)
    with pytest.raises(Unsupported, match="the keyword cookie of add server"):
        can.require_keyword("cookie")


def test_limits_grow_with_the_versions() -> None:
    assert Limits() == CAUTIOUS
    for version in ((2, 6), (3, 0), (3, 2), (3, 4)):
        limits = Capabilities(version).limits
        assert CAUTIOUS.line_bytes <= limits.line_bytes < 16_384
        assert CAUTIOUS.payload_bytes <= limits.payload_bytes < 65_500
