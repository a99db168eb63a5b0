"""Streams: what goes through HAProxy at this moment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from haproxy.calls.channel import Channel, ask, tell
from haproxy.errors import InvalidValue, UnreadableReply

_ROW = re.compile(r"(0x[0-9a-f]+): (.*)")
_ID = re.compile(r"0x[0-9a-f]+")
_TIME = re.compile(r"(\d+)([dhms])")
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


@frozen
class Stream:
    """One stream, such as a request.

    id: its address in memory, by which it can be shut down. source: ``ADDRESS:PORT``, or
    ``unix:NUMBER``. backend, server: empty before there is one. age_s: whole seconds.
    fields: everything else, by HAProxy's names; they differ between versions.
    """

    id: str
    protocol: str
    source: str
    frontend: str
    backend: str
    server: str
    age_s: int
    fields: Mapping[str, str]


@frozen
class Sessions:
    _channel: Channel

    def streams(self) -> tuple[Stream, ...]:
        """All, this call's own one among them."""
        return streams(ask(self._channel, "show sess"))

    def details(self, stream: str) -> str:
        """All that HAProxy says of the stream with that id; no two versions say it alike."""
        return ask(self._channel, f"show sess {_id(stream)}")

    def shutdown(self, stream: str) -> None:
        """Cut the stream with that id. Raises `CommandRejected` when it is gone already."""
        tell(self._channel, f"shutdown session {_id(stream)}")


def _id(stream: str) -> str:
    if not _ID.fullmatch(stream):
        raise InvalidValue("stream", stream, "an id such as 0x55d3cc33e620")
    return stream


def streams(text: str) -> tuple[Stream, ...]:
    """Read the answer to ``show sess``: ``0xID: NAME=VALUE ...`` a line.

    Raises `UnreadableReply`.
    """
    return tuple(_stream(line) for line in text.split("\n") if line)


def _stream(line: str) -> Stream:
    match = _ROW.match(line)
    if not match:
        raise UnreadableReply("show sess", "a line that is no stream")
    pairs = (word.partition("=") for word in match[2].split(" "))
    fields = {name: value for name, _, value in pairs if name}
    return Stream(
        id=match[1],
        protocol=_taken(fields, "proto"),
        source=_taken(fields, "src"),
        frontend=_taken(fields, "fe"),
        backend=_taken(fields, "be"),
        server=_taken(fields, "srv"),
        age_s=_seconds(fields.get("age", "")),
        fields=fields,
    )


def _taken(fields: dict[str, str], name: str) -> str:
    value = fields.pop(name, "")
    return "" if value in {"<NONE>", "<none>"} else value


def _seconds(text: str) -> int:
    """Of a time such as ``1m23s``."""
    return sum(int(count) * _SECONDS[unit] for count, unit in _TIME.findall(text))
