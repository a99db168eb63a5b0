"""The master of a master-worker HAProxy: its processes, its reload, what its workers still do.

Sources: management.txt, "Master CLI"; tried on 2.6.12, 3.0.11, 3.2.26 and 3.4.7.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from typing import TypeVar

from attrs import frozen

from haproxy.errors import (
    ConfigRefused,
    DeadlineExceeded,
    HAProxyError,
    Interrupted,
    ProcessFailed,
    Unreachable,
    UnreadableReply,
)
from haproxy.runtime import Deadline, ask

_T = TypeVar("_T")

_ASK_S = 2.0
_SHORT_S, _LONG_S = 0.005, 0.05
_ROW = re.compile(r"(\d+)\s+(master|worker)\s+(\d+)(?:\s+\[failed: (\d+)\])?\s")
_LEVEL = re.compile(r"\[(ALERT|WARNING|NOTICE|INFO|DIAG|[A-Z]+)\]\s+(?:\S+\s+)?\(\d+\)\s*:\s*(.*)")
_SUMMARY = re.compile(
    r"config : (Error\(s\) found in|Fatal errors found in)|.*main\(\)\] Some protocols failed to"
)
_OTHER_RELOAD = "Another reload is still in progress"
_SILENT = (Unreachable, Interrupted, DeadlineExceeded, UnreadableReply)


@frozen
class Processes:
    """One HAProxy's processes.

    master, workers, old: pids; after a failed reload 3.1 and later count the worker that serves
    as an old one. reloads: how many since the master started. failed: how many of the last ones
    failed without a success since; 3.1 and later only say 1.
    """

    master: int
    reloads: int
    failed: int
    workers: tuple[int, ...]
    old: tuple[int, ...]

    @property
    def all_workers(self) -> tuple[int, ...]:
        return self.workers + self.old


def processes(text: str) -> Processes:
    """Read the answer to ``show proc``. Raises `UnreadableReply` when it names no master."""
    found: dict[str, list[int]] = {"# workers": [], "# old workers": []}
    section, master = "", None
    for line in text.splitlines():
        row = _ROW.match(line)
        if line.startswith("#"):
            section = line.strip()
        elif row and row[2] == "master":
            master = row
        elif row and section in found:
            found[section].append(int(row[1]))
    if master is None:
        raise UnreadableReply("show proc", "no master in it")
    counts = int(master[3]), int(master[4] or 0)
    return Processes(int(master[1]), *counts, *(tuple(pids) for pids in found.values()))


def verdict(text: str) -> tuple[bool | None, str]:
    """Read the answer to ``reload``: whether it succeeded, and what was said while loading.

    None when it does not tell: 2.6 answers nothing, later lines sometimes something else.
    """
    head, _, log = text.partition("\n")
    found = re.fullmatch(r"Success=([01])", head.strip())
    return (found[1] == "1", log.removeprefix("--\n")) if found else (None, text)


def in_flight(text: str) -> int:
    """How many requests the backends have, from an answer to ``show stat``.

    Raises `UnreadableReply` without the columns for it.
    """
    rows = csv.DictReader(text.removeprefix("# ").splitlines())
    if not rows.fieldnames or not {"svname", "scur"} <= set(rows.fieldnames):
        raise UnreadableReply("show stat", "no column scur")
    return sum(int(row["scur"] or 0) for row in rows if row["svname"] == "BACKEND")


def alerts(log: str, folder: str = "") -> tuple[str, ...]:
    """HAProxy's reasons in what it said: its alerts, without pids and closing summaries.

    folder: what to cut off names of files in front.
    """
    kept: list[str] = []
    level = ""
    for line in (log.replace(folder, "") if folder else log).splitlines():
        head = _LEVEL.match(line)
        level = head[1] if head else level
        if level == "ALERT" and line.strip():
            kept.append(head[2].strip() if head else line.strip())
    reasons = [line for line in kept if not _SUMMARY.match(line)]
    return tuple(dict.fromkeys(reasons or kept))


def refusal(doing: str, log: str, folder: str = "") -> ConfigRefused | ProcessFailed:
    """The error for a load that failed. A port in use is no fault of the configuration."""
    reasons = alerts(log, folder)
    taken = [line for line in reasons if "cannot bind" in line]
    if reasons and not taken:
        return ConfigRefused(reasons)
    said = [line.strip() for line in log.splitlines() if line.strip()]
    return ProcessFailed(f"{doing}: {'; '.join(taken or said[-1:]) or 'no reason given'}")


@frozen
class Master:
    """The master CLI of one HAProxy, and the worker behind it.

    address, runtime: paths of the master's socket and of the worker's.
    """

    address: str
    runtime: str

    def processes(self, deadline: Deadline) -> Processes:
        """What runs now.

        Raises `Unreachable` (up to 3.0 also during a reload), `DeadlineExceeded`, `Interrupted`,
        `UnreadableReply`.
        """
        return processes(ask(self.address, "show proc", min(_ASK_S, deadline.left_s)))

    def serving(self, deadline: Deadline) -> int | None:
        """The pid of the newest worker if it answers on its socket; None when not (yet).

        After a reload that failed, that is the one before it.
        """
        try:
            now = self.processes(deadline)
            pid = _pid(ask(self.runtime, "show info", min(_ASK_S, deadline.left_s)))
        except _SILENT:
            return None
        return pid if pid in (now.all_workers if now.failed else now.workers) else None

    def reload(self, deadline: Deadline, alive: Callable[[], bool]) -> tuple[int | None, str]:
        """Load the configuration again.

        alive: whether the master still runs. One caller at a time.

        Returns the new worker's pid, or None when it was refused, and what was said while
        loading, if the master tells (2.7 and later).

        Raises `ProcessFailed` when the master is gone or does not come to an end in time.
        """
        before, success, log = wait_for(
            lambda: self._ask_reload(deadline), deadline, alive, "the master took no reload"
        )
        if success is False:
            return None, log

        def settled() -> int | None:
            now = self._seen(deadline)
            if now is None or now.reloads <= before.reloads:
                return None
            pid = self.serving(deadline)
            return 0 if now.failed else None if pid in before.all_workers else pid

        pid = wait_for(settled, deadline, alive, "the reload did not come to an end")
        return pid or None, log

    def busy(self, deadline: Deadline) -> bool:
        """Whether any worker, old ones too, has a request in flight; True when it cannot be told.

        Through the master: a worker that is stopping has closed its own socket.
        """
        try:
            return any(self._requests(pid) for pid in self.processes(deadline).all_workers)
        except HAProxyError:
            return True

    def _ask_reload(self, deadline: Deadline) -> tuple[Processes, bool | None, str] | None:
        """What ran before and the answer; None while another reload, a dead daemon's, goes on."""
        before = self._seen(deadline)
        if before is None:
            return None
        try:
            success, log = verdict(ask(self.address, "reload", deadline.left_s))
        except _SILENT:
            success, log = None, ""
        return None if _OTHER_RELOAD in log else (before, success, log)

    def _requests(self, pid: int) -> int:
        answer = ask(self.address, f"@!{pid} show stat -1 2 -1", _ASK_S)
        return 0 if answer.startswith("Can't find the target") else in_flight(answer)

    def _seen(self, deadline: Deadline) -> Processes | None:
        try:
            return self.processes(deadline)
        except _SILENT:
            return None


def wait_for(
    probe: Callable[[], _T | None], deadline: Deadline, alive: Callable[[], bool], problem: str
) -> _T:
    """What *probe* returns as soon as it is not None.

    Raises `ProcessFailed`: when *alive* turns false, or with *problem* at the deadline.
    """
    pause_s = _SHORT_S
    while (result := probe()) is None:
        if not alive():
            raise ProcessFailed("HAProxy ended")
        if not deadline.left_s:
            raise ProcessFailed(f"{problem} within {deadline.span_s:g} s")
        time.sleep(min(pause_s, deadline.left_s))
        pause_s = min(pause_s * 1.5, _LONG_S)
    return result


def _pid(info: str) -> int | None:
    found = re.search(r"^Pid: (\d+)$", info, re.MULTILINE)
    return int(found[1]) if found else None
