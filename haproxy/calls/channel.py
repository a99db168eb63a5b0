"""What a typed call needs of a connection, and how it asks and tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from haproxy.capabilities import Capabilities
from haproxy.errors import BatchFailed, CommandRejected
from haproxy.protocol import name_of
from haproxy.verdicts import judge, message

# How an answer to `show` or `get` begins that is none.
_REFUSALS = (
    "Unknown ", "No such ", "Can't ", "didn't find", "Permission denied", "Invalid ",
    "This command is restricted", "Variable not found", "Require ", "Missing ", "'",
)  # fmt: skip


class Channel(Protocol):
    """A way to one worker.

    All raise `Unreachable`; `DeadlineExceeded` or `Interrupted`, which name the first command
    without a reply; `UnreadableReply` when replies cannot be told apart.
    """

    @property
    def can(self) -> Capabilities:
        """What the HAProxy at the other end can do."""
        ...

    @property
    def relayed(self) -> bool:
        """Whether a master stands in between, through which nothing can be waited for."""
        ...

    def execute(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """One reply per command, in order."""
        ...

    def run(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """As `execute`, by a worker that is not being replaced.

        Raises `WorkerReplaced` when it was meanwhile.
        """
        ...

    def persist(self, command: str, deadline_s: float) -> str:
        """Repeats *command* until it is done or refused, or time is over; its last reply."""
        ...

    def stream(self, command: str, deadline_s: float) -> Iterator[str]:
        """The lines that *command* goes on sending, without newlines, for *deadline_s* seconds."""
        ...


def ask(channel: Channel, command: str) -> str:
    """The answer to a command that shows something. Raises `CommandRejected` for a refusal."""
    reply = message(channel.run((command,))[0])
    if reply.startswith(_REFUSALS):
        raise CommandRejected(name_of(command), reply)
    return reply


def tell(channel: Channel, *commands: str) -> None:
    """Commands that change something.

    Raises `CommandRejected` when the only one was refused, `BatchFailed` when one of several was.
    """
    settle(commands, channel.run(commands))


def settle(commands: tuple[str, ...], replies: tuple[str, ...]) -> None:
    """Raises as `tell` unless all *commands* were done."""
    pairs = tuple(zip(commands, replies, strict=True))
    refused = tuple((name_of(c), message(r)) for c, r in pairs if judge(c, r) != "done")
    if refused and len(commands) == 1:
        raise CommandRejected(*refused[0])
    if refused:
        done = tuple(name_of(c) for c, r in pairs if judge(c, r) == "done")
        raise BatchFailed(done, refused)
