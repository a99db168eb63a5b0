"""Events: what HAProxy writes into its rings in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from haproxy.calls.channel import Channel, ask
from haproxy.errors import CommandRejected
from haproxy.words import name_word

_SINK = re.compile(r"\s+(\S+)\s*: type=(\w+), (\d+) dropped, (.*)")


@frozen
class Sink:
    """type: ``buffer`` for one that can be read. dropped: events that found no room."""

    name: str
    type: str
    dropped: int
    description: str


@frozen
class Events:
    _channel: Channel

    def sinks(self) -> tuple[Sink, ...]:
        return sinks(ask(self._channel, "show events"))

    def read(self, sink: str) -> tuple[str, ...]:
        """What is in a ring now, the oldest first."""
        text = ask(self._channel, f"show events {name_word('sink', sink)}")
        return tuple(line for line in text.split("\n") if line)

    def follow(self, sink: str, seconds: float, *, new_only: bool = False) -> Iterator[str]:
        """Events as they come, for so many *seconds*, on a connection of their own.

        new_only: without those that are there already. Raises `CommandRejected` for a sink that
        is none, `InvalidValue` through a master.
        """
        command = f"show events {name_word('sink', sink)} -w{' -n' if new_only else ''}"
        for line in self._channel.stream(command, seconds):
            if line.startswith("No such event sink"):
                raise CommandRejected(command, line)
            if line:
                yield line


def sinks(text: str) -> tuple[Sink, ...]:
    """Read the answer to ``show events``: a line of help, then one a sink."""
    found = filter(None, map(_SINK.fullmatch, text.split("\n")))
    return tuple(Sink(row[1], row[2], int(row[3]), row[4]) for row in found)
