"""Stick tables: what HAProxy remembers of clients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from attrs import frozen

from haproxy.calls.channel import Channel, ask, tell
from haproxy.errors import InvalidValue, UnreadableReply
from haproxy.words import name_word, number_word, text_word

_HEAD = re.compile(r"# table: (\S+), type: (\w+), size:(\d+), used:(\d+)")
_ENTRY = re.compile(r"0x[0-9a-f]+: key=(.*?) use=(\d+) exp=(\d+)(?: shard=\d+)?((?: \S+=.*)?)")
_DATA = re.compile(r" (\w+(?:\(\d+\)|\[\d+\])?)=(\S*)")
_TYPE = re.compile(r"[a-z0-9_]{1,40}(?:\[[0-9]{1,3}\])?")
_NUMBER = re.compile(r"-?\d+")
_ESCAPE = re.compile(r"\\(.)")

Comparison = Literal["eq", "ne", "le", "ge", "lt", "gt"]


@frozen
class StickTable:
    """type: of the keys. size: the most entries there may be. used: those there are."""

    name: str
    type: str
    size: int
    used: int


@frozen
class TableEntry:
    """uses: streams that track it now. expires_ms: how long it stays without being touched.

    data: what is stored, by HAProxy's names; ``http_req_rate(10000)`` is a rate over 10,000 ms.
    """

    key: str
    uses: int
    expires_ms: int
    data: Mapping[str, int | str]


@frozen
class StickTables:
    """Stick tables, by the name of the proxy that has them.

    A key that is not of the table's type is refused since 3.0; 2.6 takes another one for it.
    """

    _channel: Channel

    def list(self) -> tuple[StickTable, ...]:
        return stick_tables(ask(self._channel, "show table"))

    def entries(self, name: str, key: str = "") -> tuple[TableEntry, ...]:
        """Those of the table, or the one of *key*."""
        return table_entries(ask(self._channel, f"show table {_name(name)}{_key(key)}"))

    def entries_where(
        self, name: str, data: str, comparison: Comparison, value: int
    ) -> tuple[TableEntry, ...]:
        """Those whose stored *data*, such as ``http_req_rate``, compares so to *value*."""
        return table_entries(
            ask(self._channel, f"show table {_name(name)} {_where(data, comparison, value)}")
        )

    def set(self, name: str, key: str, data: Mapping[str, int]) -> None:
        """Set stored *data* of a key, which is made when it is not there."""
        pairs = "".join(
            f" data.{_type(one)} {number_word(one, value, 0, 2**64 - 1)}"
            for one, value in data.items()
        )
        if not key or not pairs:
            raise InvalidValue("table entry", key, "a key and data")
        tell(self._channel, f"set table {_name(name)}{_key(key)}{pairs}")

    def clear(self, name: str, key: str = "") -> None:
        """Remove all entries, or the one of *key*. Entries in use stay."""
        tell(self._channel, f"clear table {_name(name)}{_key(key)}")

    def clear_where(self, name: str, data: str, comparison: Comparison, value: int) -> None:
        tell(self._channel, f"clear table {_name(name)} {_where(data, comparison, value)}")


def _name(name: str) -> str:
    return name_word("table", name)


def _key(key: str) -> str:
    return f" key {text_word('key of a table', key)}" if key else ""


def _type(data: str) -> str:
    if not _TYPE.fullmatch(data):
        raise InvalidValue("data of a table", data, "a type such as gpc0 or gpc[0]")
    return data


def _where(data: str, comparison: str, value: int) -> str:
    if comparison not in {"eq", "ne", "le", "ge", "lt", "gt"}:
        raise InvalidValue("comparison", comparison, "eq, ne, le, ge, lt, gt")
    return f"data.{_type(data)} {comparison} {number_word(data, value, 0, 2**64 - 1)}"


def stick_tables(text: str) -> tuple[StickTable, ...]:
    """Read the answer to ``show table``: ``# table: NAME, type: T, size:N, used:N`` a line.

    Raises `UnreadableReply`.
    """
    return tuple(_head(line) for line in text.split("\n") if line)


def _head(line: str) -> StickTable:
    match = _HEAD.match(line)
    if not match:
        raise UnreadableReply("show table", "a line that is no table")
    return StickTable(match[1], match[2], int(match[3]), int(match[4]))


def table_entries(text: str) -> tuple[TableEntry, ...]:
    """Read the answer to ``show table NAME``: a line as of `stick_tables`, then one an entry.

    Raises `UnreadableReply`.
    """
    rows = (line for line in text.split("\n") if line and not line.startswith("# "))
    return tuple(_entry(line) for line in rows)


def _entry(line: str) -> TableEntry:
    match = _ENTRY.fullmatch(line.rstrip())
    if not match:
        raise UnreadableReply("show table", "a line that is no entry")
    key = _ESCAPE.sub(lambda found: found[1], match[1])
    data = {name: _value(value) for name, value in _DATA.findall(match[4])}
    return TableEntry(key, int(match[2]), int(match[3]), data)


def _value(text: str) -> int | str:
    return int(text) if _NUMBER.fullmatch(text) else text
