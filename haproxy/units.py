"""Times and sizes as HAProxy writes them, and as plain numbers."""

from __future__ import annotations

import re

from haproxy.errors import InvalidValue

_TIME = re.compile(r"([0-9]{1,12})(us|ms|s|m|h|d)?")
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE = re.compile(r"([0-9]{1,12})([kmg]?)", re.IGNORECASE)
_BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
MAX_MS = 2**31 - 1  # HAProxy's timers are 32 bits wide


def milliseconds(text: str) -> int:
    """``500ms``, ``30s``, ``5m``, ``1h``, ``1d`` as milliseconds; a bare number is milliseconds.

    Raises `InvalidValue` for anything else, and for more than 24.8 days (HAProxy's timers).
    """
    match = _TIME.fullmatch(text)
    if match and match[2] != "us":
        value = int(match[1]) * _MS[match[2] or "ms"]
        if value <= MAX_MS:
            return value
    raise InvalidValue("time", text, "a number with ms, s, m, h or d, at most 24d")


def time(ms: int) -> str:
    """Milliseconds in the largest unit that says it exactly: 60000 is ``1m``."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % _MS[unit] == 0:
            return f"{ms // _MS[unit]}{unit}"
    return f"{ms}ms"


def size_bytes(text: str) -> int:
    """``512``, ``16k``, ``1m``, ``2g`` as bytes (powers of 1024).

    Raises `InvalidValue` for anything else.
    """
    if match := _SIZE.fullmatch(text):
        return int(match[1]) * _BYTES[match[2].lower()]
    raise InvalidValue("size", text, "a number with k, m or g")
