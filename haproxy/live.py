"""The `Runtime` of `haproxy.apply` over a socket: batches of operations, and what really runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

from attrs import define, evolve, frozen

from haproxy.capabilities import Capabilities
from haproxy.commands import conversation
from haproxy.errors import DeadlineExceeded, Interrupted, ProcessChanged
from haproxy.model import Config
from haproxy.observe import Seen, observed
from haproxy.ops import Batch, DelServer, Op, Result, SetAddress
from haproxy.runtime import DEADLINE_S, Deadline, Session, dial
from haproxy.tables import (
    Identity,
    ServerState,
    backend_names,
    certificate_names,
    crt_list_lines,
    fingerprint,
    info,
    map_rows,
    servers_state,
)

_READ_BACK_S = 0.005  # 10,000 new addresses were all visible within 10 ms
_READINGS = 20
_MISSING = ("Unknown map", "didn't find", "crt-list", "Can't")
_PART = 200  # commands; on a busy machine each may take some 10 ms


@define(eq=False)
class LiveRuntime:
    """The `Runtime` of `haproxy.apply` over a socket.

    address: as for `RuntimeClient`. can: what this HAProxy can do; by default it is asked with
    every batch. deadline_s: how long a part of a batch (200 commands) or of what is read back may
    take. look_s: how long it may take to ask which worker it is.

    Every batch has connections of its own, for a new one always reaches the worker that listens
    now, while an old one goes on reaching a worker that has been replaced.
    """

    address: str
    can: Capabilities | None = None
    deadline_s: float = DEADLINE_S
    look_s: float = DEADLINE_S

    def pid(self) -> int:
        return self._pid(self._soon())

    def run(self, ops: Sequence[Op], pid: int) -> Batch:
        """See `haproxy.apply.Runtime`.

        An operation with a value that no command can carry is refused; nothing of it is sent.
        """
        deadline = self._soon()
        with self._session(deadline) as session:
            process = info(session.execute(("show info",), deadline)[0])
            _expect(pid, process.pid)
            results, sent = _converse(session, ops, self.deadline_s)
            if (self.can or Capabilities.of(process.version)).version >= (3, 0):
                results = _read_back(session, results, Deadline.after(self.deadline_s))
        _expect(pid, self.pid())
        return Batch(pid, results, sent)

    def read(self, known: Config, pid: int) -> Config:
        """See `haproxy.apply.Runtime`. Its cost grows with what there is."""
        deadline = self._soon()
        with self._session(deadline) as session:
            _expect(pid, info(session.execute(("show info",), deadline)[0]).pid)
            return observed(*_seen(_Reader(session, self.deadline_s), known))

    def identity(self) -> Identity:
        deadline = self._soon()
        with self._session(deadline) as session:
            text, backends = session.execute(("show info", "show backend"), deadline)
        said = info(text)
        return Identity(said.pid, said.version, said.description, backend_names(backends))

    def _soon(self) -> Deadline:
        return Deadline.after(min(self.look_s, self.deadline_s))

    def _pid(self, deadline: Deadline) -> int:
        with self._session(deadline) as session:
            return info(session.execute(("show info",), deadline)[0]).pid

    @contextmanager
    def _session(self, deadline: Deadline) -> Iterator[Session]:
        session = Session(dial(self.address, deadline, "show info"))
        try:
            yield session
        finally:
            session.close()


@frozen
class _Reader:
    """Asks for one table after the other, so that a hung HAProxy is noticed at once."""

    session: Session
    deadline_s: float

    def __call__(self, command: str) -> str:
        return self.session.execute((command,), Deadline.after(self.deadline_s))[0]

    def tables(self, show: str, names: Iterable[str]) -> dict[str, str]:
        """Those that are there, by name."""
        found = ((name, self(f"{show} {name}")) for name in names)
        return {name: text for name, text in found if not text.startswith(_MISSING)}


def _seen(ask: _Reader, known: Config) -> tuple[Config, Seen]:
    """*known* without what this worker does not have at all, and what it has."""
    backends = backend_names(ask("show backend"))
    servers = servers_state(ask("show servers state"))
    maps = ask.tables("show map", known.maps)
    lists = ask.tables("show ssl crt-list", known.crt_lists)
    names = certificate_names(ask("show ssl cert")) if known.crt_lists else ()
    shown = ask.tables("show ssl cert", names)
    there = evolve(
        known,
        backends={name: one for name, one in known.backends.items() if name in backends},
        maps={name: known.maps[name] for name in maps},
        crt_lists={name: known.crt_lists[name] for name in lists},
    )
    return there, Seen(
        servers,
        {name: map_rows(text) for name, text in maps.items()},
        {name: fingerprint(text) for name, text in shown.items()},
        {name: crt_list_lines(text) for name, text in lists.items()},
    )


def _expect(expected: int, found: int) -> None:
    if found != expected:
        raise ProcessChanged(expected, found)


def _converse(
    session: Session, ops: Sequence[Op], deadline_s: float
) -> tuple[tuple[Result, ...], int]:
    """The results, and how many commands were sent."""
    rounds, sent = conversation(ops), 0
    try:
        commands = next(rounds)
        while True:
            replies = _in_parts(session, commands, sent, deadline_s)
            sent += len(commands)
            commands = rounds.send(replies)
    except StopIteration as end:
        return end.value, sent


def _in_parts(
    session: Session, commands: tuple[str, ...], before: int, deadline_s: float
) -> tuple[str, ...]:
    """A hung HAProxy is noticed at once, and a large batch may still take its time."""
    replies: list[str] = []
    for part in _parts(commands):
        try:
            replies += session.execute(part, Deadline.after(deadline_s))
        except (DeadlineExceeded, Interrupted) as error:
            error.answered += before + len(replies)
            raise
    return tuple(replies)


def _parts(commands: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for at in range(0, len(commands), _PART):
        yield commands[at : at + _PART]


def _read_back(
    session: Session, results: tuple[Result, ...], deadline: Deadline
) -> tuple[Result, ...]:
    """Since HAProxy 3.0 an address changes after the reply, and of two changes one may be lost."""
    wanted = _addresses(results)
    for _ in range(_READINGS):
        wanted = _missing(session, wanted, deadline)
        if not wanted:
            return results
        time.sleep(min(_READ_BACK_S, deadline.left_s))
    return tuple(_unless_missing(result, wanted) for result in results)


Addresses = Mapping[tuple[str, str], tuple[str, int]]


def _addresses(results: tuple[Result, ...]) -> Addresses:
    """Where servers should be now, by backend and name: the last word on each."""
    wanted: dict[tuple[str, str], tuple[str, int]] = {}
    for op in (result.op for result in results if result.status == "done"):
        if isinstance(op, SetAddress):
            wanted[op.backend, op.server] = (str(ip_address(op.address)), op.port)
        elif isinstance(op, DelServer):
            wanted.pop((op.backend, op.server), None)
    return wanted


def _missing(session: Session, wanted: Addresses, deadline: Deadline) -> Addresses:
    backends = sorted({backend for backend, _ in wanted})
    tables = session.execute(tuple(f"show servers state {name}" for name in backends), deadline)
    found = {(row.backend, row.name): (row.address, row.port) for row in _readable(tables)}
    return {server: socket for server, socket in wanted.items() if found.get(server) != socket}


def _readable(tables: tuple[str, ...]) -> Iterator[ServerState]:
    for table in tables:
        if not table.startswith("Can't find backend"):
            yield from servers_state(table)


def _unless_missing(result: Result, missing: Addresses) -> Result:
    op = result.op
    if isinstance(op, SetAddress) and (op.backend, op.server) in missing:
        return evolve(result, status="refused")
    return result
