"""Every exception of this package.

Exceptions are for the world outside (sockets, files, processes, replies). `transient` says
whether doing the same again later may succeed. No message ever holds a payload: payloads may be
private keys.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field


class HAProxyError(Exception):
    """The base of all errors of this package."""

    transient: ClassVar[bool] = False


@define(eq=False)
class InvalidValue(HAProxyError, ValueError):
    """A value that the model or a command cannot carry; nothing was sent or written.

    field: what the value was for. allowed: what would have been accepted.
    """

    field: str
    value: str
    allowed: str

    def __str__(self) -> str:
        shown = self.value if len(self.value) <= 80 else self.value[:77] + "..."
        return f"{self.field}: {shown!r} is not allowed; allowed: {self.allowed}"


@define(eq=False)
class Unsupported(HAProxyError):
    """This HAProxy lacks what was asked for; nothing was sent.

    what: a command or a part of one. version: the line that runs. has: the lines that have it.
    """

    what: str
    version: str
    has: str

    def __str__(self) -> str:
        return f"{self.what}: HAProxy {self.version} lacks it; {self.has} has it"


@define(eq=False)
class Unreachable(HAProxyError):
    """Nobody answers at the address of a socket."""

    transient = True
    address: str
    cause: str

    def __str__(self) -> str:
        return f"{self.address}: {self.cause}"


@define(eq=False)
class DeadlineExceeded(HAProxyError):
    """HAProxy did not answer in time.

    command: the first one without a reply; whether it was carried out is not known.
    answered: how many commands of the batch were answered before. replies: the answers to them.
    """

    transient = True
    command: str
    answered: int
    deadline_s: float
    replies: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return (
            f"no answer to {self.command!r} within {self.deadline_s:g} s "
            f"({self.answered} answered before)"
        )


@define(eq=False)
class Interrupted(HAProxyError):
    """The connection ended in the middle of a batch.

    command: the first one without a reply; whether it was carried out is not known. answered,
    replies: how many were answered before, and how.
    """

    transient = True
    command: str
    answered: int
    replies: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"connection closed before the answer to {self.command!r} ({self.answered} answered)"


@define(eq=False)
class ProcessChanged(HAProxyError):
    """Another worker answers than the batch was meant for; nothing is known to be applied."""

    transient = True
    expected: int
    found: int

    def __str__(self) -> str:
        return f"worker {self.found} answers where {self.expected} was expected"


@define(eq=False)
class WorkerReplaced(HAProxyError):
    """The worker that answered is stopping: a reload took over; what it was told is lost.

    pid: of the worker that answered.
    """

    transient = True
    pid: int

    def __str__(self) -> str:
        return f"worker {self.pid} was replaced while it was being told"


@define(eq=False)
class CommandRejected(HAProxyError):
    """HAProxy understood us and said no.

    command: the line as sent, without payload. reply: HAProxy's own words, unedited.
    """

    command: str
    reply: str

    def __str__(self) -> str:
        return f"{self.reply.strip().rstrip('.')} (answering {self.command!r})"


@define(eq=False)
class UnreadableReply(HAProxyError):
    """A reply that does not have the shape that the manual promises.

    replies: those to the commands before it, when it came in a batch.
    """

    command: str
    problem: str
    replies: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.command!r}: {self.problem}"


@define(eq=False)
class BatchFailed(HAProxyError):
    """Not all commands of a batch were carried out; all were answered, or see `BatchBroken`.

    All are named without payload and in their order. applied: what HAProxy did. refused: what it
    did not, and its words. unknown: what was not answered, and perhaps not even sent.
    """

    applied: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = "; ".join(f"{reply.strip()} (answering {name!r})" for name, reply in self.refused)
        lost = f"not known: {', '.join(map(repr, self.unknown))}" if self.unknown else ""
        counts = f"{len(self.applied)} applied, {len(self.refused)} refused"
        return "; ".join(filter(None, (counts, said, lost)))


@define(eq=False)
class BatchBroken(BatchFailed):
    """A batch that came to no end; its cause (`__cause__`) says why."""

    transient = True


@define(eq=False)
class ConfigRefused(HAProxyError):
    """``haproxy -c`` or a reload refused a configuration; what served before still serves.

    alerts: HAProxy's own words, one line each.
    """

    alerts: tuple[str, ...]

    def __str__(self) -> str:
        return "configuration refused: " + ("; ".join(self.alerts) or "no reason given")


@define(eq=False)
class ProcessFailed(HAProxyError):
    """HAProxy could not be started, reloaded or stopped."""

    transient = True
    problem: str

    def __str__(self) -> str:
        return self.problem


@define(eq=False)
class FilesFailed(HAProxyError):
    """The state directory could not be read or written; what was there before is untouched."""

    transient = True
    path: str
    cause: str

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}"


@define(eq=False)
class AlreadyRunning(HAProxyError):
    """Another process holds the lock of the state directory."""

    path: str

    def __str__(self) -> str:
        return f"{self.path}: in use by another haproxy-ingress"
