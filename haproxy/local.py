"""HAProxy as a process of this machine: check, start, reload, stop."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, cast

from attrs import define, field, frozen

from haproxy.child import Handle, Output
from haproxy.errors import (
    ConfigRefused,
    HAProxyError,
    ProcessFailed,
    Unreachable,
)
from haproxy.files import CONFIG, Layout
from haproxy.master import Master, alerts, refusal, wait_for
from haproxy.runtime import Deadline

_TERM_S = 2.0
_QUIET_S = 0.05
_QUIET_LOOKS = 2


@frozen
class Binary:
    """The program. path: a path, or a name on PATH. check_s: how long a check may take."""

    path: str = "haproxy"
    check_s: float = 60.0

    def version(self) -> str:
        """Such as ``2.6.12-1+deb12u4``. Raises `ProcessFailed`."""
        return self._version

    def check(self, folder: Path) -> None:
        """Have HAProxy judge the ``haproxy.cfg`` in *folder*.

        Raises `ConfigRefused` with its words, `ProcessFailed` when it cannot be asked.
        """
        done = self._run("-c", "-f", CONFIG, folder=folder)
        if done.returncode:
            ending = f"the check ended with status {done.returncode}"
            raise ConfigRefused(alerts(done.stdout) or (*done.stdout.splitlines()[-1:], ending))

    def spawn(self, layout: Layout) -> subprocess.Popen[str]:
        """Start it on the published files. Raises `ProcessFailed`.

        In a session of its own: Ctrl-C at the terminal is for us, who then stop it in order.
        """
        command = [
            *(self._program, "-W", "-S", f"{layout.master_socket},mode,600"),
            *("-p", str(layout.pid_file), "-f", str(layout.config)),
        ]
        try:
            return subprocess.Popen(  # noqa: S603  the user's own choice of a program
                command, cwd=layout.root, env=_environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="backslashreplace",
            )  # fmt: skip
        except OSError as error:
            raise ProcessFailed(f"{self.path}: {error.strerror}") from error

    @cached_property
    def _program(self) -> str:
        found = shutil.which(self.path)
        if found is None:
            raise ProcessFailed(f"{self.path}: no such program")
        return str(Path(found).absolute())

    @cached_property
    def _version(self) -> str:
        found = re.search(r"^HA-?Proxy version (\S+)", self._run("-v").stdout, re.MULTILINE)
        if not found:
            raise ProcessFailed(f"{self.path}: does not say which version of HAProxy it is")
        return found[1]

    def _run(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603  as above
                [self._program, *arguments], cwd=folder, env=_environment(), check=False,
                timeout=self.check_s, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="backslashreplace",
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            problem = f"{self.path} {arguments[0]} did not end within {self.check_s:g} s"
            raise ProcessFailed(problem) from None
        except OSError as error:
            raise ProcessFailed(f"{self.path}: {error.strerror}") from error


@define(eq=False)
class LocalProcess:
    """The `Process` that runs on the files under *layout*. One caller at a time.

    log: gets every line that HAProxy prints, in a thread of its own. start_s, reload_s: how long
    a start or a reload may take.
    """

    layout: Layout
    binary: Binary = Binary()
    log: Callable[[str], None] = lambda _: None
    start_s: float = 30.0
    reload_s: float = 60.0
    _handle: Handle | None = field(default=None, init=False)
    _output: Output | None = field(default=None, init=False)

    @property
    def master_pid(self) -> int | None:
        return self._handle.pid if self._handle else None

    def alive(self) -> bool:
        """Whether the master runs; without it no worker does."""
        handle = self._handle  # `stop` may take it away meanwhile
        return handle is not None and not handle.ended()

    def start(self) -> int:
        """Start it, or take over one that already runs there: the worker's pid once it serves.

        Raises `ConfigRefused`, or `ProcessFailed`: no program, a port in use, not in time.
        """
        deadline = Deadline.after(self.start_s)
        if self._take(self._left_behind(deadline)):
            return self.reload()
        self._forget()
        _end_orphans(self.layout)
        self._spawn()
        try:
            return wait_for(
                lambda: self._master.serving(deadline),
                deadline,
                self.alive,
                "HAProxy did not serve",
            )
        except ProcessFailed as error:
            raise self._not_started(error) from None

    def adopt(self) -> int | None:
        """Take over a HAProxy that a dead daemon left here, as it is: its worker's pid, or None.

        Raises `ProcessFailed` when it does not answer in time.
        """
        deadline = Deadline.after(self.start_s)
        if not self._take(self._left_behind(deadline)):
            return None
        return wait_for(
            lambda: self._master.serving(deadline), deadline, self.alive, "HAProxy does not serve"
        )

    def reload(self) -> int:
        """Load the published files. Returns the new worker's pid once it serves.

        Raises `ConfigRefused`, or `ProcessFailed`: a port in use, not in time, the master is gone.
        Unless it is gone, the old worker serves on.
        """
        output, mark = self._output, self._output.count if self._output else 0
        pid, log = self._master.reload(Deadline.after(self.reload_s), self.alive)
        if pid is not None:
            return pid
        if not log and output:
            log = output.since(mark, until="Loading failure!")
        raise refusal("HAProxy did not reload", log, f"{self.layout.current}/")

    def stop(self, grace_s: float) -> None:
        """Finish the requests that are in flight, for at most *grace_s*, then stop.

        New connections are refused from the start; idle clients delay nothing.
        """
        if self._handle is None:
            return
        self._handle.send(signal.SIGUSR1)
        self._drain(self._handle, Deadline.after(grace_s))
        self._end(self._handle)

    @property
    def _master(self) -> Master:
        return Master(str(self.layout.master_socket), str(self.layout.runtime_socket))

    def _left_behind(self, deadline: Deadline) -> int:
        """The pid of a living master of this directory, left by a daemon that was killed, or 0.

        Up to 3.0 a master that reloads refuses connections or leaves them unanswered, hence the
        pid file and the patience.
        """

        def found() -> int | None:
            try:
                return self._master.processes(deadline).master
            except Unreachable:
                return _pid_of_master(self.layout)
            except HAProxyError:
                return None

        return wait_for(found, deadline, lambda: True, "the HAProxy that runs there did not answer")

    def _take(self, master: int) -> bool:
        if master and master != self.master_pid:
            self._forget()
            self._handle = Handle.of(master)
        return master > 0

    def _spawn(self) -> None:
        child = self.binary.spawn(self.layout)
        self._output = Output(cast("IO[str]", child.stdout), self.log)
        try:
            self._handle = Handle.of(child.pid, reap=child.wait)
        except ProcessFailed:  # a kernel or sandbox without pidfd
            child.kill()
            child.wait()
            raise

    def _not_started(self, error: ProcessFailed) -> HAProxyError:
        handle, output = self._handle, self._output
        if handle is None or output is None:
            return error
        ended = handle.ended()
        self._end(handle)
        if not ended:
            return error
        return refusal("HAProxy did not start", output.all(), f"{self.layout.current}/")

    def _drain(self, handle: Handle, deadline: Deadline) -> None:
        """Look more than once: a request may just be on its way from a frontend to its backend."""
        quiet = 0
        while quiet < _QUIET_LOOKS and deadline.left_s:
            quiet = 0 if self._master.busy(deadline) else quiet + 1
            if handle.ended(min(_QUIET_S, deadline.left_s)):
                return

    def _end(self, handle: Handle) -> None:
        handle.send(signal.SIGTERM)
        if not handle.ended(_TERM_S):
            handle.kill()
        if self._output:
            self._output.finish()  # only then the workers are gone too, and their ports free
        self._forget()
        for path in (self.layout.master_socket, self.layout.runtime_socket, self.layout.pid_file):
            with suppress(OSError):
                path.unlink()

    def _forget(self) -> None:
        if self._handle:
            self._handle.close()
        self._handle = self._output = None


def _environment() -> dict[str, str]:
    """What HAProxy may know of ours: nothing that could be a secret."""
    return {"PATH": os.environ.get("PATH", os.defpath)}


def _pid_of_master(layout: Layout) -> int:
    """From the pid file, if that process is a HAProxy of this directory; else 0."""
    try:
        pid = int(layout.pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return pid if _belongs(layout, pid) else 0


def _belongs(layout: Layout, pid: int) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{layout.master_socket},mode,600".encode() in arguments


def _end_orphans(layout: Layout) -> None:
    """Kill the workers whose master is gone.

    They end by themselves, unless they are stopped or hang: then they would hold the port beside
    the new ones (SO_REUSEPORT), and clients would reach them.
    """
    for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
        if _belongs(layout, pid):
            with suppress(ProcessFailed), closing(Handle.of(pid)) as orphan:
                if _belongs(layout, pid):  # the descriptor is of the same process, not a later one
                    orphan.kill()
