"""Limits of the process and of frontends, frontends themselves, and variables."""

from __future__ import annotations

import re
from typing import Literal

from attrs import frozen

from haproxy.calls.channel import Channel, ask, tell
from haproxy.errors import CommandRejected, InvalidValue, UnreadableReply
from haproxy.words import name_word, number_word, text_word

Rate = Literal["connections", "sessions", "ssl-sessions", "http-compression"]

_RATES = ("connections", "sessions", "ssl-sessions", "http-compression")
_MOST = 2**31 - 1
_VARIABLE = re.compile(r"proc\.[A-Za-z0-9_.]{1,100}")
_VALUE = re.compile(r"\S+: type=(\S+) value=<(.*)>", re.DOTALL)


@frozen
class Settings:
    """Limits of the whole process."""

    _channel: Channel

    def set_maxconn(self, maxconn: int) -> None:
        """Connections at once, up to what the process started with."""
        tell(self._channel, f"set maxconn global {number_word('maxconn', maxconn, 0, _MOST)}")

    def set_rate(self, what: Rate, per_s: int) -> None:
        """At most so many a second, of kilobytes for ``http-compression``; 0 for any number."""
        if what not in _RATES:
            raise InvalidValue("rate", what, ", ".join(_RATES))
        limit = number_word("rate", per_s, 0, _MOST)
        tell(self._channel, f"set rate-limit {what} global {limit}")


@frozen
class Frontends:
    """Frontends, by name."""

    _channel: Channel

    def set_maxconn(self, name: str, maxconn: int) -> None:
        """Connections at once; others wait."""
        number = number_word("maxconn", maxconn, 0, _MOST)
        tell(self._channel, f"set maxconn frontend {_name(name)} {number}")

    def disable(self, name: str) -> None:
        """Take no new connections, until `enable`."""
        tell(self._channel, f"disable frontend {_name(name)}")

    def enable(self, name: str) -> None:
        tell(self._channel, f"enable frontend {_name(name)}")

    def shutdown(self, name: str) -> None:
        """Close its listeners for good."""
        tell(self._channel, f"shutdown frontend {_name(name)}")


@frozen
class Variables:
    """Variables of the process, ``proc.NAME``."""

    _channel: Channel

    def get(self, name: str) -> str | None:
        """The value as text; None when it was never set."""
        command = f"get var {_variable(name)}"
        try:
            reply = ask(self._channel, command)
        except CommandRejected as error:
            if error.reply.startswith("Variable not found"):
                return None
            raise
        if not (match := _VALUE.fullmatch(reply)):
            raise UnreadableReply(command, "no value in it")
        return match[2]

    def set(self, name: str, value: str) -> None:
        """Set it to a text. Every version takes that for an experiment and marks itself tainted.

        Raises `InvalidValue` through a master, where leave to experiment does not last.
        """
        if self._channel.relayed:
            raise InvalidValue("set var", "through the master", "a socket of the worker")
        text = text_word("value of a variable", value.replace("%", "%%"))
        command = f"set var {_variable(name)} fmt {text}"
        tell(self._channel, "experimental-mode on", command)


def _name(name: str) -> str:
    return name_word("frontend", name)


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise InvalidValue("variable", name, "proc. and A-Z a-z 0-9 _ .")
    return name
