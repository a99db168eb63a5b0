"""Backends: which there are, and since 3.4 new ones."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from haproxy.calls.channel import Channel, ask, settle, tell
from haproxy.capabilities import Feature
from haproxy.errors import InvalidValue
from haproxy.words import name_word


@frozen
class Backends:
    """Backends, by name. Dynamic ones are gone after a reload unless the configuration has them.

    On 3.4 some directives in the `defaults` section that a new backend comes from end HAProxy:
    `errorfiles`, `option external-check`, `http-request cache-use`.
    """

    _channel: Channel

    def names(self) -> tuple[str, ...]:
        rows = ask(self._channel, "show backend").split("\n")
        return tuple(row.strip() for row in rows if row.strip() and not row.startswith("#"))

    def add(
        self,
        name: str,
        profile: str,
        *,
        mode: Literal["http", "tcp"] | None = None,
        guid: str = "",
    ) -> None:
        """A backend from the named `defaults` section *profile*, not yet published (3.4).

        mode: needed when the profile does not say. guid: a name of its own for statistics.
        """
        self._channel.can.require(Feature.DYNAMIC_BACKENDS)
        command = f"add backend {_word(name)} from {name_word('profile', profile)}"
        if mode not in {None, "http", "tcp"}:
            raise InvalidValue("mode", str(mode), "http, tcp")
        command += f" mode {mode}" if mode else ""
        command += f" guid {name_word('guid', guid)}" if guid else ""
        tell(self._channel, command)

    def publish(self, name: str) -> None:
        """Let ``use_backend`` find it (3.4)."""
        self._tell(f"publish backend {_word(name)}")

    def unpublish(self, name: str) -> None:
        """Let rules pass it by (3.4). What is gone already is done."""
        self._tell(f"unpublish backend {_word(name)}")

    def delete(self, name: str, wait_s: float = 0.0) -> None:
        """One that is unpublished and has no servers (3.4). What is gone already is done.

        wait_s: how long to wait for its streams to end. Raises `CommandRejected` when they did
        not, or when something refers to it.
        """
        self._channel.can.require(Feature.DYNAMIC_BACKENDS)
        command = f"del backend {_word(name)}"
        if wait_s and not self._channel.relayed:
            waiting = f"wait {round(wait_s * 1000)}ms be-removable {_word(name)}"
            self._channel.execute((waiting,), wait_s + 1)
        settle((command,), (self._channel.persist(command, wait_s),))

    def _tell(self, command: str) -> None:
        self._channel.can.require(Feature.DYNAMIC_BACKENDS)
        tell(self._channel, command)


def _word(name: str) -> str:
    return name_word("backend", name)
