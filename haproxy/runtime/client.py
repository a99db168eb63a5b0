"""The client of a worker's own socket."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Self

from attrs import define, field

from haproxy.calls import Client
from haproxy.capabilities import Capabilities, Limits
from haproxy.errors import (
    DeadlineExceeded,
    Interrupted,
    InvalidValue,
    UnreadableReply,
    WorkerReplaced,
)
from haproxy.protocol import CAUTIOUS, COMMAND_BYTES, encode_all
from haproxy.runtime.connection import Deadline, dial, stream
from haproxy.runtime.session import Session
from haproxy.tables import Info, info
from haproxy.verdicts import judge

DEADLINE_S = 5.0

_WHO = "show info"
_AGAIN_S = 0.005


@define(eq=False)
class RuntimeClient(Client):
    """A session with the worker that listens at a socket, and typed calls over it.

    address: path of a unix socket, or ``tcp:HOST:PORT``. deadline_s: how long a batch may take,
    dialling included, unless it is told otherwise; calls that need several batches, one after the
    other, such as `maps.replace`, may take it several times. patience_s: how long any one command
    of a batch may take; without it only the batch is bounded.

    The connection is made with the first call. HAProxy closes one that was idle for ``stats
    timeout`` (10 s by default), and an old worker's goes with that worker; the next call dials
    again. After any error but `CommandRejected` and `UnreadableReply` it is closed.
    """

    address: str
    deadline_s: float = DEADLINE_S
    patience_s: float | None = None
    _session: Session | None = field(default=None, init=False, repr=False)
    _can: Capabilities | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._session:
            self._session.close()
        self._session = self._can = None

    @property
    def can(self) -> Capabilities:
        """What this HAProxy can do; asked once a connection."""
        if self._session and self._session.stale:
            self.close()
        if self._can is None:
            self._can = Capabilities.of(info(self.execute((_WHO,))[0]).version)
        return self._can

    @property
    def relayed(self) -> bool:
        return False

    def execute(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """One reply per command, in order, all sent without waiting in between.

        A command is one line, or one that ends in ``<<``, a newline, and full lines of payload;
        `InvalidValue` says what else cannot be sent. HAProxy's refusals are replies like others.

        Raises `Unreachable`; `DeadlineExceeded` or `Interrupted`, which name the first command
        without a reply; `UnreadableReply` when the replies cannot be told apart.
        """
        batch = tuple(commands)
        return self._execute(batch, self._deadline(deadline_s), self._limits(batch))

    def run(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """As `execute`, by a worker that is not being replaced.

        The worker is asked with the same batch, last, and first too when the connection is not
        new. Where it was stopping before, nothing counts of what it did: another is dialled.

        Raises `WorkerReplaced` when it stops in the middle: nothing of the batch is known to be in
        effect. In the moment before, when the next worker has read its files and the old one does
        not know yet, what is done is lost unnoticed: who must know reads back after a reload.
        """
        batch = tuple(commands)
        deadline, limits = self._deadline(deadline_s), self._limits(batch)
        if self._session and not self._session.stale:
            replies = self._guarded((_WHO, *batch, _WHO), 1, deadline, limits)
            if not _stopping(replies[0]):
                return self._unless_replaced(replies)[1:]
            self.close()
        return self._unless_replaced(self._guarded((*batch, _WHO), 0, deadline, limits))

    def persist(self, command: str, deadline_s: float) -> str:
        """Repeats *command* until it is done or refused, or time is over; its last reply."""
        deadline = Deadline.after(deadline_s)
        while True:
            reply = self.run((command,))[0]
            if judge(command, reply) != "busy" or not deadline.left_s:
                return reply
            time.sleep(min(_AGAIN_S, deadline.left_s))

    def stream(self, command: str, deadline_s: float) -> Iterator[str]:
        """The lines that *command* goes on sending, on a connection of their own."""
        return stream(self.address, command, deadline_s)

    def info(self) -> Info:
        return info(self.execute((_WHO,))[0])

    def _deadline(self, deadline_s: float | None) -> Deadline:
        return Deadline.after(self.deadline_s if deadline_s is None else deadline_s)

    def _limits(self, batch: tuple[str, ...]) -> Limits:
        """Which version it is matters only for what not every one takes."""
        text = "\0".join(batch)
        longest = max(map(len, batch), default=0)
        if text.isascii() and "\n\n" not in text and longest < COMMAND_BYTES:
            return CAUTIOUS
        try:
            encode_all(batch)
        except InvalidValue:
            return self.can.limits
        return CAUTIOUS

    def _execute(
        self, batch: tuple[str, ...], deadline: Deadline, limits: Limits
    ) -> tuple[str, ...]:
        try:
            return self._open(deadline).execute(batch, deadline, self.patience_s, limits)
        except BaseException:
            self.close()
            raise

    def _guarded(
        self, batch: tuple[str, ...], before: int, deadline: Deadline, limits: Limits
    ) -> tuple[str, ...]:
        """Errors count the caller's commands only."""
        try:
            return self._execute(batch, deadline, limits)
        except (DeadlineExceeded, Interrupted) as error:
            error.answered = max(0, error.answered - before)
            error.replies = error.replies[before:]
            raise
        except UnreadableReply as error:
            error.replies = error.replies[before:]
            raise

    def _unless_replaced(self, replies: tuple[str, ...]) -> tuple[str, ...]:
        if _stopping(replies[-1]):
            self.close()
            raise WorkerReplaced(info(replies[-1]).pid)
        return replies[:-1]

    def _open(self, deadline: Deadline) -> Session:
        if self._session and self._session.stale:
            self.close()
        if not self._session:
            self._session = Session(dial(self.address, deadline))
        return self._session


def _stopping(text: str) -> bool:
    """Whether an answer to ``show info`` comes from a worker that is being replaced."""
    _, found, rest = text.partition("\nStopping: ")
    if not found and "\nPid: " not in text:
        raise UnreadableReply(_WHO, "no pid in it")
    return bool(found) and not rest.startswith("0")
