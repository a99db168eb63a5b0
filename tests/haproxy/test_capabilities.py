from __future__ import annotations

import pytest

from haproxy.capabilities import Capabilities
from haproxy.errors import InvalidValue


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
