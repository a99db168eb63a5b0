"""The client of a master's socket: its processes, its reload, and its workers behind it.

Source: management.txt, "Master CLI"; tried on 2.6.12, 3.0.11, 3.2.26 and 3.4.7.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Self

from attrs import define, field, frozen

from haproxy.calls import Client
from haproxy.capabilities import Capabilities, Feature
from haproxy.errors import (
    CommandRejected,
    DeadlineExceeded,
    Interrupted,
    InvalidValue,
    Unreachable,
    UnreadableReply,
)
from haproxy.master import Processes, processes, verdict, wait_for
from haproxy.protocol import encode, name_of
from haproxy.runtime import DEADLINE_S, Deadline, ask
from haproxy.tables import info
from haproxy.verdicts import judge, message

RELOAD_S = 60.0

_AGAIN_S = 0.01
_NO_WORKER = "Can't find the target"
_SILENT = (Unreachable, Interrupted, DeadlineExceeded, UnreadableReply)


@frozen
class Reload:
    """What became of a reload.

    success: whether a new worker serves; if not, the old one goes on. pid: of the one that
    serves. log: what was said while loading; empty on 2.6, which says it on standard error only.
    """

    success: bool
    pid: int
    log: str = ""


@frozen
class MasterClient:
    """The master CLI, which a HAProxy started with ``-W -S ADDRESS`` has.

    address: path of a unix socket, or ``tcp:HOST:PORT``. deadline_s: how long a call may take.

    Every command has a connection of its own: no version frames several of them reliably here.
    Up to 3.0 nobody answers while a reload goes on.
    """

    address: str
    deadline_s: float = DEADLINE_S

    def execute(self, command: str, deadline_s: float | None = None) -> str:
        """What the master answers, without empty lines around.

        Raises `Unreachable`, `DeadlineExceeded`, `Interrupted`, `InvalidValue`.
        """
        encode(command)
        answer = ask(self.address, command, self.deadline_s if deadline_s is None else deadline_s)
        return answer.strip("\n")

    def version(self) -> str:
        return self.execute("show version")

    @property
    def can(self) -> Capabilities:
        return Capabilities.of(self.version())

    def processes(self) -> Processes:
        return processes(self.execute("show proc"))

    def startup_log(self) -> str:
        """What was said during the last load (2.7)."""
        self.can.require(Feature.MASTER_STARTUP_LOGS)
        return self.execute("show startup-logs")

    def worker(self, pid: int | None = None) -> WorkerClient:
        """The worker that serves, or the one with that *pid*, which may be an old one."""
        return WorkerClient(self, pid)

    def reload(self, deadline_s: float = RELOAD_S) -> Reload:
        """Load the configuration again, and wait until it is known what became of it.

        One caller at a time. Raises `CommandRejected` while another reload goes on,
        `ProcessFailed` when the end did not come in time.
        """
        return self._reload("reload", deadline_s)

    def hard_reload(self, deadline_s: float = RELOAD_S) -> Reload:
        """The same, and the old workers' connections are cut (2.9)."""
        self.can.require(Feature.HARD_RELOAD)
        return self._reload("hard-reload", deadline_s)

    def _reload(self, command: str, deadline_s: float) -> Reload:
        deadline = Deadline.after(deadline_s)
        before = self.processes()
        try:
            success, log = verdict(ask(self.address, command, deadline.left_s))
        except _SILENT:  # as 2.6 does every time, and 3.2 when somebody else reloads too
            success, log = None, ""
        if "Another reload is still in progress" in log:
            raise CommandRejected(command, log)
        problem = "the reload did not come to an end"
        now = wait_for(lambda: self._ended(before, deadline), deadline, lambda: True, problem)
        new = [pid for pid in now.workers if pid not in before.all_workers]
        succeeded = success if success is not None else bool(new) and not now.failed
        return Reload(succeeded, (new or [*now.all_workers, 0])[0], log)

    def _ended(self, before: Processes, deadline: Deadline) -> Processes | None:
        try:
            now = processes(ask(self.address, "show proc", min(self.deadline_s, deadline.left_s)))
        except _SILENT:
            return None
        return now if now.reloads > before.reloads and now.all_workers else None


@define(eq=False)
class WorkerClient(Client):
    """Typed calls to a worker through its master; a connection for every command.

    pid: which one; None for the one that serves. Slower than the worker's own socket, and nothing
    can be waited for in HAProxy.
    """

    master: MasterClient
    pid: int | None = None
    _can: Capabilities | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._can = None

    @property
    def can(self) -> Capabilities:
        if self._can is None:
            self._can = Capabilities.of(info(self.execute(("show info",))[0]).version)
        return self._can

    @property
    def relayed(self) -> bool:
        return True

    def execute(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """One reply per command, in order.

        Raises as `RuntimeClient.execute`, and `Unreachable` when there is no such worker.
        """
        batch = tuple(commands)
        lines = [self._line(command) for command in batch]
        target = self._target()
        span_s = self.master.deadline_s if deadline_s is None else deadline_s
        deadline, replies = Deadline.after(span_s), list[str]()
        for command, line in zip(batch, lines, strict=True):
            try:
                replies.append(self._reply(name_of(command), f"{target} {line}", deadline))
            except (DeadlineExceeded, Interrupted) as error:
                error.command, error.answered = name_of(command), len(replies)
                error.replies = tuple(replies)
                raise
        return tuple(replies)

    def run(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """As `execute`: the master knows which worker serves."""
        return self.execute(commands, deadline_s)

    def persist(self, command: str, deadline_s: float) -> str:
        deadline = Deadline.after(deadline_s)
        while True:
            reply = self.execute((command,))[0]
            if judge(command, reply) != "busy" or not deadline.left_s:
                return reply
            time.sleep(min(_AGAIN_S, deadline.left_s))

    def stream(self, command: str, deadline_s: float) -> Iterator[str]:  # noqa: ARG002  Client's
        """Raises `InvalidValue`: what a master passes on, it cuts off as soon as it is quiet."""
        raise InvalidValue(name_of(command), "through the master", "a socket of the worker")

    def _target(self) -> str:
        """Since 3.0 one of a hundred commands to a pid that is none is never answered."""
        if self.pid is None:
            return "@1"
        if self.pid not in self.master.processes().all_workers:
            raise Unreachable(self.master.address, f"no worker {self.pid}")
        return f"@!{self.pid}"

    def _line(self, command: str) -> str:
        """The bytes of a payload begin behind the target, which the master takes away."""
        try:
            data = encode(command)
        except InvalidValue:
            data = encode(command, self.can.limits)
        return data.decode().removesuffix("\n")

    def _reply(self, name: str, line: str, deadline: Deadline) -> str:
        if not deadline.left_s:
            raise deadline.exceeded(name)
        answer = ask(self.master.address, line, deadline.left_s)
        if message(answer).startswith(_NO_WORKER):
            raise Unreachable(self.master.address, answer.strip())
        if not answer.endswith("\n"):
            raise Interrupted(name, 0)
        return answer.strip("\n")
