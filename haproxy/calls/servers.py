"""Servers: as they run, added, changed and deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from attrs import frozen

from haproxy.calls.channel import Channel, ask, settle, tell
from haproxy.capabilities import Feature
from haproxy.commands import lines
from haproxy.errors import InvalidValue, UnreadableReply
from haproxy.model import State
from haproxy.ops import DelServer, SetAddress, SetState, SetWeight
from haproxy.tables import ServerState, servers_state
from haproxy.words import (
    address_word,
    name_word,
    number_word,
    server_word,
    socket_word,
    text_word,
)

_WEIGHT = re.compile(r"(\d+) \(initial (\d+)\)")
_ARRAY = re.compile(r"(\w+)\[(\d+)\]")


@frozen
class Weight:
    """now: in use, 0..256. initial: what the configuration or ``add server`` said."""

    now: int
    initial: int


@frozen
class ServerConnections:
    """The connections from HAProxy to one server.

    address: an IP literal, or empty. used: now in use. idle: now kept for later, of which safe
    ones carried a second request already. idle_limit: -1 for none. purge_delay_ms: how long one
    is kept. fields: all columns by HAProxy's name; 3.4 added some.
    """

    backend: str
    name: str
    address: str
    port: int
    purge_delay_ms: int
    used: int
    idle: int
    safe_idle: int
    unsafe_idle: int
    idle_limit: int
    idle_per_thread: tuple[int, ...]
    fields: Mapping[str, str]


@frozen
class Servers:
    """Servers, by the names of their backend and their own."""

    _channel: Channel

    def state(self, backend: str | None = None) -> tuple[ServerState, ...]:
        """Those of *backend*, or all, in HAProxy's order."""
        return servers_state(ask(self._channel, _of("show servers state", backend)))

    def connections(self, backend: str | None = None) -> tuple[ServerConnections, ...]:
        """Of those of *backend*, or of all."""
        return server_connections(ask(self._channel, _of("show servers conn", backend)))

    def weight(self, backend: str, server: str) -> Weight:
        reply = ask(self._channel, f"get weight {server_word(backend, server)}")
        if not (match := _WEIGHT.match(reply)):
            raise UnreadableReply("get weight", "no weight in it")
        return Weight(int(match[1]), int(match[2]))

    def add(
        self,
        backend: str,
        server: str,
        address: str,
        port: int,
        *,
        id: int | None = None,  # noqa: A002  HAProxy's name for it
        weight: int | None = None,
        keywords: Mapping[str, str] | None = None,
    ) -> None:
        """A new server, in maintenance; checks do not run until `enable_health`.

        id: 1..2**31-1; without one HAProxy reuses ids, and sticky clients move. weight: 0..256.
        keywords: such as ``{"check": "", "inter": "2s"}``, empty for those that take no value;
        those of ``default-server`` count for nothing here.

        Raises `Unsupported` for a keyword that this version does not take.
        """
        words = [f"add server {server_word(backend, server)} {socket_word(address, port)}"]
        if id is not None:
            words.append(f"id {number_word('id', id, 1, 2**31 - 1)}")
        if weight is not None:
            words.append(f"weight {number_word('weight', weight, 0, 256)}")
        words += (self._keyword(name, value) for name, value in (keywords or {}).items())
        tell(self._channel, " ".join(words))

    def delete(self, backend: str, server: str, wait_s: float = 0.0) -> None:
        """A server in maintenance; what is gone already is done.

        wait_s: how long to wait for its connections to end, with ``wait`` where HAProxy has it
        (3.0), by trying again where not. Raises `CommandRejected` when they did not.
        """
        (command,) = lines(DelServer(backend, server))
        if wait_s and self._channel.can.has(Feature.WAIT) and not self._channel.relayed:
            where = server_word(backend, server)
            waiting = f"wait {round(wait_s * 1000)}ms srv-removable {where}"
            self._channel.execute((waiting,), wait_s + 1)
        settle((command,), (self._channel.persist(command, wait_s),))

    def set_address(self, backend: str, server: str, address: str, port: int) -> None:
        """Since 3.0 it takes effect some ms after the answer; one change per server at a time."""
        tell(self._channel, *lines(SetAddress(backend, server, address, port)))

    def set_weight(self, backend: str, server: str, weight: int) -> None:
        """0..256; backends that balance statically take only 0 and their initial weight."""
        tell(self._channel, *lines(SetWeight(backend, server, weight)))

    def set_state(self, backend: str, server: str, state: State) -> None:
        tell(self._channel, *lines(SetState(backend, server, state)))

    def set_health(
        self, backend: str, server: str, health: Literal["up", "stopping", "down"]
    ) -> None:
        """What the checks would say; the next one that says otherwise wins."""
        _one_of("health", health, ("up", "stopping", "down"))
        self._set(backend, server, f"health {health}")

    def set_agent(self, backend: str, server: str, agent: Literal["up", "down"]) -> None:
        _one_of("agent", agent, ("up", "down"))
        self._set(backend, server, f"agent {agent}")

    def set_agent_address(
        self, backend: str, server: str, address: str, port: int | None = None
    ) -> None:
        self._set(backend, server, f"agent-addr {address_word(address)}{_port(port)}")

    def set_agent_port(self, backend: str, server: str, port: int) -> None:
        self._set(backend, server, f"agent-port {number_word('port', port, 1, 65535)}")

    def set_agent_send(self, backend: str, server: str, text: str) -> None:
        """What is sent to the agent before its answer is read."""
        self._set(backend, server, f"agent-send {text_word('text for an agent', text)}")

    def set_check_address(
        self, backend: str, server: str, address: str, port: int | None = None
    ) -> None:
        """Where checks go. Up to 3.2: 3.4 refuses every address."""
        self._channel.can.require(Feature.CHECK_ADDRESS)
        self._set(backend, server, f"check-addr {address_word(address)}{_port(port)}")

    def set_check_port(self, backend: str, server: str, port: int) -> None:
        self._set(backend, server, f"check-port {number_word('port', port, 1, 65535)}")

    def set_fqdn(self, backend: str, server: str, name: str) -> None:
        """Of a server that has ``resolvers``."""
        self._set(backend, server, f"fqdn {name_word('host name', name)}")

    def set_ssl(self, backend: str, server: str, on: bool) -> None:
        """Of a server that was configured with TLS settings."""
        self._set(backend, server, f"ssl {'on' if on else 'off'}")

    def enable_health(self, backend: str, server: str) -> None:
        tell(self._channel, f"enable health {server_word(backend, server)}")

    def disable_health(self, backend: str, server: str) -> None:
        tell(self._channel, f"disable health {server_word(backend, server)}")

    def enable_agent(self, backend: str, server: str) -> None:
        tell(self._channel, f"enable agent {server_word(backend, server)}")

    def disable_agent(self, backend: str, server: str) -> None:
        tell(self._channel, f"disable agent {server_word(backend, server)}")

    def set_maxconn(self, backend: str, server: str, maxconn: int) -> None:
        """How many connections at once; 0 for any number."""
        number = number_word("maxconn", maxconn, 0, 2**31 - 1)
        tell(self._channel, f"set maxconn server {server_word(backend, server)} {number}")

    def shutdown_sessions(self, backend: str, server: str) -> None:
        """Cut everything that is connected to it."""
        tell(self._channel, f"shutdown sessions server {server_word(backend, server)}")

    def _set(self, backend: str, server: str, what: str) -> None:
        tell(self._channel, f"set server {server_word(backend, server)} {what}")

    def _keyword(self, name: str, value: str) -> str:
        keyword = self._channel.can.require_keyword(name)
        if keyword.valued != bool(value):
            allowed = "a value" if keyword.valued else "no value"
            raise InvalidValue(f"keyword {name} of a server", value, allowed)
        return f"{name} {text_word(f'keyword {name}', value)}" if value else name


def _of(command: str, backend: str | None) -> str:
    return f"{command} {name_word('backend', backend)}" if backend else command


def _port(port: int | None) -> str:
    return "" if port is None else f" port {number_word('port', port, 1, 65535)}"


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidValue(field, value, ", ".join(allowed))


def server_connections(text: str) -> tuple[ServerConnections, ...]:
    """Read the answer to ``show servers conn``: a ``#`` line with the columns, one a server.

    The last column, ``NAME[COUNT]``, stands for COUNT of them. Raises `UnreadableReply`.
    """
    head, *rows = text.split("\n")
    if not head.startswith("# "):
        raise UnreadableReply("show servers conn", "no columns")
    names = tuple(_columns(head.removeprefix("# ").split()))
    return tuple(_connections(names, row.split()) for row in rows if row)


def _columns(names: list[str]) -> Iterator[str]:
    for name in names:
        if match := _ARRAY.fullmatch(name):
            yield from (f"{match[1]}/{number}" for number in range(int(match[2])))
        else:
            yield name


def _connections(names: tuple[str, ...], values: list[str]) -> ServerConnections:
    command = "show servers conn"
    if len(names) != len(values):
        raise UnreadableReply(command, f"{len(values)} values in {len(names)} columns")
    row = dict(zip(names, values, strict=True))
    per_thread = (value for name, value in row.items() if name.startswith("idle_per_thr/"))
    try:
        backend, _, name = row["bkname/svname"].partition("/")
        return ServerConnections(
            backend,
            name,
            row["addr"].removeprefix("-"),
            int(row["port"].removeprefix("-") or 0),
            int(row["purge_delay"]),
            int(row["used_cur"]),
            int(row["idle_cur"]),
            int(row["safe_nb"]),
            int(row["unsafe_nb"]),
            int(row["idle_lim"]),
            tuple(map(int, per_thread)),
            row,
        )
    except (KeyError, ValueError):
        raise UnreadableReply(command, "a column that is missing or no number") from None
