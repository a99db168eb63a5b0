"""The Runtime API over its sockets: the only client-side room that touches them."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from attrs import define, field, frozen

from haproxy.errors import (
    CommandRejected,
    DeadlineExceeded,
    Interrupted,
    InvalidValue,
    Unreachable,
    UnreadableReply,
)
from haproxy.protocol import Exchange, name_of
from haproxy.tables import Info, MapRow, ServerState, info, map_rows, servers_state

DEADLINE_S = 5.0

_READ_BYTES = 65_536
_REDIAL_S = 0.002  # a full backlog of a unix socket cannot be waited for


@frozen
class Deadline:
    """A moment by which everything is over. span_s: how long it was at the start."""

    span_s: float
    at: float

    @classmethod
    def after(cls, span_s: float) -> Self:
        return cls(span_s, time.monotonic() + span_s)

    @property
    def left_s(self) -> float:
        return max(0.0, self.at - time.monotonic())

    def exceeded(self, command: str, answered: int = 0) -> DeadlineExceeded:
        return DeadlineExceeded(command, answered, self.span_s)


@define(eq=False)
class RuntimeClient:
    """A session with the worker that listens at a socket.

    address: path of a unix socket, or ``tcp:HOST:PORT``. deadline_s: how long a call may take,
    dialling included, unless it is told otherwise.

    The connection is made with the first call. HAProxy closes one that was idle for ``stats
    timeout`` (10 s by default), and an old worker's goes with that worker; the next call dials
    again. After any error but `CommandRejected` and `UnreadableReply` it is closed.
    """

    address: str
    deadline_s: float = DEADLINE_S
    _session: Session | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._session:
            self._session.close()
        self._session = None

    def execute(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """One reply per command, in order, all sent without waiting in between.

        A command is one line, or one that ends in ``<<``, a newline, and full lines of payload;
        `InvalidValue` says what else cannot be sent. HAProxy's refusals are replies like others.

        Raises `Unreachable`; `DeadlineExceeded` or `Interrupted`, which name the first command
        without a reply; `UnreadableReply` when the replies cannot be told apart.
        """
        batch = tuple(commands)
        deadline = Deadline.after(self.deadline_s if deadline_s is None else deadline_s)
        try:
            return self._open(deadline).execute(batch, deadline)
        except BaseException:
            self.close()
            raise

    def info(self) -> Info:
        return info(self._one("show info"))

    def servers_state(self, backend: str | None = None) -> tuple[ServerState, ...]:
        """The servers of *backend*, or all. Raises `CommandRejected` for an unknown backend."""
        command = f"show servers state {backend}" if backend else "show servers state"
        return servers_state(_accepted(command, self._one(command), "Can't find backend"))

    def map_rows(self, name: str) -> tuple[MapRow, ...]:
        """The rows of a map in HAProxy's order. Raises `CommandRejected` for an unknown map."""
        command = f"show map {name}"
        return map_rows(_accepted(command, self._one(command), "Unknown map identifier"))

    def _one(self, command: str) -> str:
        return self.execute((command,))[0]

    def _open(self, deadline: Deadline) -> Session:
        if self._session and self._session.stale:
            self.close()
        if not self._session:
            self._session = Session(dial(self.address, deadline))
        return self._session


def _accepted(command: str, reply: str, refusal: str) -> str:
    if reply.startswith(refusal):
        raise CommandRejected(command, reply)
    return reply


@define(eq=False)
class Session:
    """A connection in prompt mode."""

    _connection: socket.socket
    _opened: bool = field(default=False, init=False)

    @property
    def stale(self) -> bool:
        """Closed by HAProxy, or talking without being asked."""
        return bool(_ready(self._connection, select.POLLIN, 0.0))

    def execute(self, commands: tuple[str, ...], deadline: Deadline) -> tuple[str, ...]:
        """One reply per command. Raises as `RuntimeClient.execute`, never `Unreachable`."""
        exchange = Exchange(commands, opens=not self._opened)
        self._opened = True
        rest = b""
        while not exchange.done:
            rest = rest or exchange.to_send()
            rest = self._turn(exchange, rest, deadline)
        if rest:
            raise UnreadableReply(name_of(commands[-1]), "answered before it was sent")
        return exchange.replies

    def close(self) -> None:
        self._connection.close()

    def _turn(self, exchange: Exchange, rest: bytes, deadline: Deadline) -> bytes:
        """Read what is there, else write what is possible; returns what is still to be written.

        HAProxy stops reading when nobody takes its replies, and what it said before it closed is
        worth more than the failure to write.
        """
        wanted = select.POLLIN | (select.POLLOUT if rest else 0)
        ready = _await(self._connection, wanted, deadline)
        if not ready:
            raise deadline.exceeded(exchange.waiting_for, len(exchange.replies))
        try:
            if ready == select.POLLOUT:
                return rest[_send(self._connection, rest) :]
            exchange.receive(self._connection.recv(_READ_BYTES))
        except OSError as error:
            raise Interrupted(exchange.waiting_for, len(exchange.replies)) from error
        if exchange.ended and not exchange.done:
            raise Interrupted(exchange.waiting_for, len(exchange.replies))
        return rest


def ask(address: str, command: str, deadline_s: float) -> str:
    """One command on a connection of its own; all that is answered until it is closed.

    address: path of a unix socket, or ``tcp:HOST:PORT``. Made for the master socket, which closes
    only when we have closed our half; a worker's socket answers the same way. An answer may be
    empty: the master of HAProxy 2.6 drops the connection on ``reload``.

    Raises `Unreachable` when nobody listens, `DeadlineExceeded` when the answer is not complete
    within *deadline_s*, `Interrupted` when the connection breaks before.
    """
    deadline = Deadline.after(deadline_s)
    name = name_of(command)
    answer = bytearray()
    with dial(address, deadline, name) as connection, _breaking(name):
        _write(connection, command.encode() + b"\n", deadline, name)
        connection.shutdown(socket.SHUT_WR)
        while data := _read(connection, deadline, name):
            answer += data
    return answer.decode(errors="backslashreplace")


def dial(address: str, deadline: Deadline, command: str = "connect") -> socket.socket:
    """A connected socket that never blocks. A host name takes what the system's resolver takes.

    Raises `Unreachable`, or `DeadlineExceeded` naming *command*.
    """
    while True:
        try:
            return _connected(address, deadline)
        except TimeoutError:
            raise deadline.exceeded(command) from None
        except BlockingIOError:
            if not deadline.left_s:
                raise deadline.exceeded(command) from None
            time.sleep(min(_REDIAL_S, deadline.left_s))
        except OSError as error:
            raise Unreachable(address, error.strerror or str(error)) from error


def _connected(address: str, deadline: Deadline) -> socket.socket:
    left_s = deadline.left_s or _REDIAL_S
    if address.startswith("tcp:"):
        connection = socket.create_connection(_host_port(address), left_s)
    else:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(left_s)
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
    connection.setblocking(False)
    return connection


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("tcp:").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidValue("address", address, "a path, or tcp:HOST:PORT")
    return host, int(port)


@contextmanager
def _breaking(command: str) -> Iterator[None]:
    """What the system says of a broken connection becomes `Interrupted`."""
    try:
        yield
    except OSError as error:
        raise Interrupted(command, 0) from error


def _send(connection: socket.socket, data: bytes | memoryview) -> int:
    try:
        return connection.send(data)
    except BlockingIOError:
        return 0


def _await(connection: socket.socket, events: int, deadline: Deadline) -> int:
    """Those of *events* that are possible now; 0 when the deadline came first."""
    ready = _ready(connection, events, deadline.left_s)
    return ready if deadline.left_s else 0


def _ready(connection: socket.socket, events: int, timeout_s: float) -> int:
    poll = select.poll()
    poll.register(connection, events)
    ready = poll.poll(timeout_s * 1000)
    return ready[0][1] if ready else 0


def _read(connection: socket.socket, deadline: Deadline, command: str) -> bytes:
    if not _await(connection, select.POLLIN, deadline):
        raise deadline.exceeded(command)
    return connection.recv(_READ_BYTES)


def _write(connection: socket.socket, data: bytes, deadline: Deadline, command: str) -> None:
    rest = memoryview(data)
    while rest:
        if not _await(connection, select.POLLOUT, deadline):
            raise deadline.exceeded(command)
        rest = rest[_send(connection, rest) :]
