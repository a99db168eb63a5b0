"""Sockets: dialling them, and one question on a connection of its own."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from attrs import frozen

from haproxy.errors import DeadlineExceeded, Interrupted, InvalidValue, Unreachable
from haproxy.protocol import name_of

READ_BYTES = 65_536

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


def stream(address: str, command: str, seconds: float) -> Iterator[str]:
    """The lines that *command* goes on sending, for so many *seconds* or until HAProxy closes.

    On a connection of its own. What is in the middle of a line by then is not returned.

    Raises `Unreachable`, `DeadlineExceeded` when not even dialling was possible in time, and
    `Interrupted` when the connection breaks.
    """
    deadline = Deadline.after(seconds)
    name = name_of(command)
    buffer = b""
    with dial(address, deadline, name) as connection, _breaking(name):
        _write(connection, command.encode() + b"\n", deadline, name)
        while ready_for(connection, select.POLLIN, deadline):
            if not (data := connection.recv(READ_BYTES)):
                return
            *lines, buffer = (buffer + data).split(b"\n")
            yield from (line.decode(errors="backslashreplace") for line in lines)


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


def send_some(connection: socket.socket, data: bytes | memoryview) -> int:
    try:
        return connection.send(data)
    except BlockingIOError:
        return 0


def ready_for(connection: socket.socket, events: int, deadline: Deadline) -> int:
    """Those of *events* that are possible now; 0 when the deadline came first."""
    ready = polled(connection, events, deadline.left_s)
    return ready if deadline.left_s else 0


def polled(connection: socket.socket, events: int, timeout_s: float) -> int:
    poll = select.poll()
    poll.register(connection, events)
    ready = poll.poll(timeout_s * 1000)
    return ready[0][1] if ready else 0


def _read(connection: socket.socket, deadline: Deadline, command: str) -> bytes:
    if not ready_for(connection, select.POLLIN, deadline):
        raise deadline.exceeded(command)
    return connection.recv(READ_BYTES)


def _write(connection: socket.socket, data: bytes, deadline: Deadline, command: str) -> None:
    rest = memoryview(data)
    while rest:
        if not ready_for(connection, select.POLLOUT, deadline):
            raise deadline.exceeded(command)
        rest = rest[send_some(connection, rest) :]
