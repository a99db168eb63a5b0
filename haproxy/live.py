"""The `Runtime` of `haproxy.apply` over a socket: batches of operations, and what really runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

from attrs import define, evolve

from haproxy.capabilities import Capabilities
from haproxy.commands import conversation
from haproxy.errors import DeadlineExceeded, Interrupted, ProcessChanged, UnreadableReply
from haproxy.model import Config
from haproxy.observe import Seen, observed
from haproxy.ops import Batch, DelServer, Op, Result, SetAddress
from haproxy.runtime import DEADLINE_S, Deadline, Session, dial
from haproxy.tables import (
    ServerState,
    certificate_names,
    crt_list_lines,
    fingerprint,
    info,
    map_rows,
    servers_state,
)

_READ_BACK_S = 0.005  # 10,000 new addresses were all visible within 10 ms
_READINGS = 20
_PART = 200  # commands; on a busy machine each may take some 10 ms


@define(eq=False)
class LiveRuntime:
    """The `Runtime` of `haproxy.apply` over a socket.

    address: as for `RuntimeClient`. can: what this HAProxy can do; by default it is asked with
    every batch. deadline_s: how long it may take to ask which worker it is, to carry out a part
    of a batch (200 commands), and to read back.

    Every batch has connections of its own, for a new one always reaches the worker that listens
    now, while an old one goes on reaching a worker that has been replaced.
    """

    address: str
    can: Capabilities | None = None
    deadline_s: float = DEADLINE_S

    def pid(self) -> int:
        return self._pid(Deadline.after(self.deadline_s))

    def run(self, ops: Sequence[Op], pid: int) -> Batch:
        """See `haproxy.apply.Runtime`.

        An operation with a value that no command can carry is refused; nothing of it is sent.
        """
        deadline = Deadline.after(self.deadline_s)
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
        deadline = Deadline.after(self.deadline_s)
        with self._session(deadline) as session:
            _expect(pid, info(session.execute(("show info",), deadline)[0]).pid)
            return observed(known, _seen(session, known, deadline))

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


def _seen(session: Session, known: Config, deadline: Deadline) -> Seen:
    maps, lists = tuple(known.maps), tuple(known.crt_lists)
    show = [f"show map {name}" for name in maps] + [f"show ssl crt-list {name}" for name in lists]
    commands = ("show servers state", "show ssl cert", *show)
    servers, certificates, *tables = session.execute(commands, deadline)
    for command, text in zip(show, tables, strict=True):
        if text.startswith(("Unknown map", "didn't find", "crt-list")):
            raise UnreadableReply(command, text.strip())
    names = certificate_names(certificates) if lists else ()
    shown = session.execute(tuple(f"show ssl cert {name}" for name in names), deadline)
    return Seen(
        servers_state(servers),
        {name: map_rows(text) for name, text in zip(maps, tables, strict=False)},
        {name: fingerprint(text) for name, text in zip(names, shown, strict=True)},
        {name: crt_list_lines(t) for name, t in zip(lists, tables[len(maps) :], strict=True)},
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
