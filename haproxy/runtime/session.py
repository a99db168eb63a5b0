"""A connection in prompt mode, on which commands are sent without waiting in between."""

from __future__ import annotations

import select
import socket

from attrs import define, field

from haproxy.capabilities import Limits
from haproxy.errors import DeadlineExceeded, Interrupted, UnreadableReply
from haproxy.protocol import CAUTIOUS, Exchange, name_of
from haproxy.runtime.connection import READ_BYTES, Deadline, polled, ready_for, send_some


@define(eq=False)
class Session:
    """A connection in prompt mode."""

    _connection: socket.socket
    _opened: bool = field(default=False, init=False)

    @property
    def stale(self) -> bool:
        """Closed by HAProxy, or talking without being asked."""
        return bool(polled(self._connection, select.POLLIN, 0.0))

    def execute(
        self,
        commands: tuple[str, ...],
        deadline: Deadline,
        patience_s: float | None = None,
        limits: Limits = CAUTIOUS,
    ) -> tuple[str, ...]:
        """One reply per command.

        patience_s: how long one command may take. limits: what this HAProxy takes.

        Raises as `RuntimeClient.execute`, never `Unreachable`.
        """
        exchange = Exchange(commands, not self._opened, limits)
        self._opened = True
        try:
            rest = self._exchanged(exchange, deadline, patience_s)
            if rest:
                raise UnreadableReply(name_of(commands[-1]), "answered before it was sent")
        except (DeadlineExceeded, Interrupted, UnreadableReply) as error:
            error.replies = exchange.replies
            raise
        return exchange.replies

    def close(self) -> None:
        self._connection.close()

    def _exchanged(self, exchange: Exchange, deadline: Deadline, patience_s: float | None) -> bytes:
        """Until the exchange is done; returns what was not sent by then."""
        rest, answered, sooner = b"", -1, deadline
        while not exchange.done:
            if patience_s is not None and len(exchange.replies) != answered:
                answered = len(exchange.replies)
                sooner = min(deadline, Deadline.after(patience_s), key=lambda one: one.at)
            rest = self._turn(exchange, rest or exchange.to_send(), sooner)
        return rest

    def _turn(self, exchange: Exchange, rest: bytes, deadline: Deadline) -> bytes:
        """Read what is there, else write what is possible; returns what is still to be written.

        HAProxy stops reading when nobody takes its replies, and what it said before it closed is
        worth more than the failure to write.
        """
        wanted = select.POLLIN | (select.POLLOUT if rest else 0)
        ready = ready_for(self._connection, wanted, deadline)
        if not ready:
            raise deadline.exceeded(exchange.waiting_for, len(exchange.replies))
        try:
            if ready == select.POLLOUT:
                return rest[send_some(self._connection, rest) :]
            exchange.receive(self._connection.recv(READ_BYTES))
        except OSError as error:
            raise Interrupted(exchange.waiting_for, len(exchange.replies)) from error
        if exchange.ended and not exchange.done:
            raise Interrupted(exchange.waiting_for, len(exchange.replies))
        return rest
