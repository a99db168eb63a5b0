"""A process of ours while it runs: what can be done to it, and what it says."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Self

from attrs import define, field

from haproxy.errors import ProcessFailed

_KEPT_LINES = 50
_LAST_WORDS_S = 2.0
_KILL_S = 2.0


@define(eq=False)
class Handle:
    """A process by a descriptor, so that its pid cannot come to mean another.

    reap: collects its exit status, when it is our child.
    """

    pid: int
    _descriptor: int
    _reap: Callable[[], object] | None = None

    @classmethod
    def of(cls, pid: int, reap: Callable[[], object] | None = None) -> Self:
        """Raises `ProcessFailed` when there is no such process."""
        try:
            return cls(pid, os.pidfd_open(pid), reap)
        except OSError as error:
            raise ProcessFailed(f"process {pid}: {error.strerror}") from error

    def ended(self, within_s: float = 0.0) -> bool:
        """Whether it is gone or let go, waiting for that at most *within_s*."""
        if self._descriptor < 0:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def send(self, number: signal.Signals) -> None:
        if not self.ended():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """Its whole group, or it alone when it leads none."""
        with suppress(ProcessLookupError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)
        self.send(signal.SIGKILL)
        self.ended(_KILL_S)

    def close(self) -> None:
        """Let go of it, and collect its exit status if it has ended."""
        if self._reap and self.ended():
            self._reap()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@define(eq=False)
class Output:
    """The last lines that a process printed, read in a thread. count: how many there were in all.

    log: gets each of them, in that thread.
    """

    _stream: IO[str]
    _log: Callable[[str], None]
    count: int = field(default=0, init=False)
    _lines: deque[str] = field(factory=lambda: deque(maxlen=_KEPT_LINES), init=False)
    _news: threading.Condition = field(factory=threading.Condition, init=False)
    _reader: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, name="haproxy-output", daemon=True)
        self._reader.start()

    def finish(self) -> None:
        """Wait, shortly, until the process and all its children have closed their end."""
        self._reader.join(_LAST_WORDS_S)

    def all(self) -> str:
        """The lines that are kept, once nothing more can come."""
        self.finish()
        return self._newest(_KEPT_LINES)

    def since(self, mark: int, until: str) -> str:
        """The lines after the first *mark* ones, waiting shortly for one that holds *until*."""
        with self._news:
            self._news.wait_for(
                lambda: until in self._newest(self.count - mark), timeout=_LAST_WORDS_S
            )
            return self._newest(self.count - mark)

    def _newest(self, number: int) -> str:
        with self._news:
            return "\n".join(list(self._lines)[-number:]) if number > 0 else ""

    def _read(self) -> None:
        with self._stream:  # closed whatever `log` does: a full pipe would block HAProxy
            for line in self._stream:
                with self._news:
                    self._lines.append(line.rstrip())
                    self.count += 1
                    self._news.notify_all()
                self._log(line.rstrip())
