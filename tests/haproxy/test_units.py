from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.errors import InvalidValue
from haproxy.units import MAX_MS, milliseconds, size_bytes, time


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("250", 250),
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("24d", 2_073_600_000),
        ("2147483647", MAX_MS),
    ],
)
def test_a_time_is_read_as_milliseconds(text: str, ms: int) -> None:
    assert milliseconds(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        *("", "s", "1.5s", "-1s", "+1", "1 s", " 1s", "1s\n", "1w", "1S", "10us", "٣s"),
        pytest.param("2147483648", id="longer than HAProxy's timers"),
        pytest.param("25d", id="longer than HAProxy's timers, in days"),
        pytest.param("9" * 13, id="too many digits"),
    ],
)
def test_another_text_is_no_time(text: str) -> None:
    with pytest.raises(InvalidValue, match="allowed: a number with ms, s, m, h or d") as caught:
        milliseconds(text)
    assert caught.value.field == "time"
    assert caught.value.value == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        *((0, "0ms"), (1, "1ms"), (1_500, "1500ms"), (30_000, "30s"), (60_000, "1m")),
        *((90_000, "90s"), (3_600_000, "1h"), (86_400_000, "1d"), (90_000_000, "25h")),
    ],
)
def test_a_time_is_written_in_the_largest_unit_that_says_it_exactly(ms: int, text: str) -> None:
    assert time(ms) == text


@given(st.integers(0, MAX_MS))
def test_what_is_written_is_read_as_the_same(ms: int) -> None:
    assert milliseconds(time(ms)) == ms


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("0", 0), ("512", 512), ("16k", 16_384), ("16K", 16_384)),
        *(("1m", 1_048_576), ("2g", 2_147_483_648), ("2G", 2_147_483_648)),
    ],
)
def test_a_size_is_read_as_bytes(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "k", "1.5k", "-1", "1kb", "1 k", "1t", "٣k"])
def test_another_text_is_no_size(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"size: .* allowed: a number with k, m or g"):
        size_bytes(text)
