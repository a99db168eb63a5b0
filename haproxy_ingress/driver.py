"""One HAProxy, kept at a desired configuration: plan, apply, load, read back.

Owned by one thread; loads run in another and come back through `Driver.take`. While a reload runs,
operations go on to the worker that serves; when the new one has taken over, what it loaded is what
runs, and the next round brings it up to date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice
from math import inf
from typing import Literal

from attrs import define, evolve, field, frozen

from haproxy.apply import Files, Outcome, Process, Runtime, apply
from haproxy.capabilities import Capabilities
from haproxy.errors import (
    CommandRejected,
    DeadlineExceeded,
    HAProxyError,
    Interrupted,
    ProcessChanged,
    Unreachable,
)
from haproxy.files import RETIRED_S
from haproxy.model import Config, Origin
from haproxy.ops import (
    AddServed,
    Batch,
    Cause,
    DelBackend,
    DelCertificate,
    DelServer,
    Op,
    Plan,
    Reason,
    ReplaceMap,
    Step,
)
from haproxy.plan import Changed, plan
from haproxy_ingress import journal
from haproxy_ingress.loader import Finished, Kind, Loader

_BUSY_S = 0.1  # how soon a server with connections is tried again, doubled each time
_LAST_BUSY_S = 5.0
_READ_BACK_S = 0.2
_PUBLISH_S = 1.0  # how long after an operation the files on disk follow
_NO_CERTIFICATE = re.compile("certificate .* (does not exist|is empty)!")
_LOOK_S = 0.4  # how often it is asked whether the worker is still there, when nothing else is
_SHOWN = 50  # reasons in a report; a burst has thousands of the same kind


@define
class Since:
    """What a report is about. arrived_s: of the oldest cause, by the monotonic clock."""

    causes: list[journal.Cause] = field(factory=list)
    arrived_s: float = inf

    def take(self, other: Since) -> None:
        """Add *other* and leave it empty."""
        self.causes += other.causes
        self.arrived_s = min(self.arrived_s, other.arrived_s)
        other.causes, other.arrived_s = [], inf


@frozen
class Report:
    """What was done, why, and how it went. Moments by the monotonic clock.

    batch: what HAProxy was sent, if it answered. cause: the foremost reason of a reload, None for
    a start. refused: who asked for what HAProxy refused, with its words.
    """

    action: Literal["none", "runtime", "reload"]
    causes: tuple[journal.Cause, ...]
    arrived_s: float
    began_s: float
    planned_s: float
    ended_s: float
    reasons: tuple[str, ...] = ()
    batch: Batch | None = None
    cause: Cause | None = None
    error: HAProxyError | None = None
    refused: tuple[tuple[Origin, str], ...] = ()


@define(eq=False)
class Driver:
    """Brings a HAProxy to what it should run, round by round, and reports what it did.

    interval_s: at most one reload in so long. clock: monotonic, in seconds. finished: gets the
    end of a load from its thread; it has to come back through `take`. silent: why HAProxy does not
    answer, empty while it does.
    """

    files: Files
    process: Process
    runtime: Runtime
    can: Capabilities
    interval_s: float
    clock: Callable[[], float]
    finished: Callable[[Finished], None]
    report: Callable[[Report], None]
    running: Config | None = field(default=None, init=False)
    pid: int = field(default=0, init=False)
    silent: str = field(default="", init=False)
    loader: Loader = field(init=False)
    _known: bool = field(default=True, init=False)  # whether `running` is what really runs
    _changed: Changed | None = field(factory=Changed, init=False)  # None: anything may differ
    _waiting: Changed = field(factory=Changed, init=False)  # for the reload that is wanted
    _since: Since = field(factory=Since, init=False)
    _wanted: tuple[Reason, ...] = field(default=(), init=False)  # why a reload is wanted
    _wanted_since: Since = field(factory=Since, init=False)
    _loading_since: Since = field(factory=Since, init=False)
    _busy: Changed = field(factory=Changed, init=False)  # what could not go yet
    _busy_s: float = field(default=_BUSY_S, init=False)
    _refused: frozenset[str] = field(factory=frozenset, init=False)
    _retry_at_s: float = field(default=inf, init=False)
    _publish_at_s: float = field(default=inf, init=False)
    _tidy_at_s: float = field(default=inf, init=False)
    _look_at_s: float = field(default=0.0, init=False)
    _news: tuple[str, ...] = field(default=(), init=False)  # of HAProxy, for the next report

    def __attrs_post_init__(self) -> None:
        parts = self.files, self.process, self.runtime, self.can
        self.loader = Loader(*parts, self.interval_s, self.clock, self.finished)

    def round(self, desired: Config, changed: Changed, since: Since) -> None:
        """Do what can be done now. changed: where *desired* differs from the last round's."""
        self._since.take(since)
        if self._changed is not None:
            self._changed |= changed
        now_s = self.clock()
        if self.running is None or not (self.loader.loading or self.process.alive()):
            self._start(desired, now_s)
            return
        if now_s >= self._look_at_s:
            self._look(now_s)
        running = self.running if self._known else self._read_back(self.running, now_s)
        if running is None:
            return
        differs = self._changed is None or bool(self._changed)
        if differs or self._since.causes or now_s >= self._retry_at_s:
            running = self._advance(desired, running, now_s)
        if self._known and not self.loader.loading:
            self._load(desired, running, now_s)
        if now_s >= self._tidy_at_s and not self.loader.loading:
            self._tidy_at_s = inf
            self.loader.tidy()

    def take(self, done: Finished) -> None:
        """The end of a load."""
        self.loader.end(done)
        loaded = done.loaded
        if loaded.running is not None and done.kind != "publish":
            self.running, self.pid = loaded.running, loaded.pid
            self._known, self._changed, self._waiting = True, None, Changed()
            self._busy, self._busy_s, self._retry_at_s = Changed(), _BUSY_S, inf
            self.silent = ""
        if loaded.error and done.kind == "reload":
            self._wanted += done.reasons
            self._wanted_since.take(self._copy(self._loading_since))
        if not loaded.error:
            self._tidy_at_s = done.ended_s + RETIRED_S
        if loaded.error and done.kind == "publish":
            self._publish_at_s = done.ended_s
        if done.kind == "adopt" and not loaded.error:
            # Told with the first plan: nothing of what is desired was judged by HAProxy yet.
            self._news = (f"worker {loaded.pid} taken over",)
            self._since.take(self._loading_since)
        elif done.kind != "publish" or loaded.error:
            self._tell_loaded(done)

    @property
    def settled(self) -> bool:
        """Whether what should run does, as far as it goes without a change."""
        return not self._wanted and self.loader.loading in (None, "publish")

    def due_s(self) -> float:
        """When the next round is due, by the clock, if nothing happens before."""
        if self.loader.loading:
            return self._retry_at_s if self._known else inf
        reload_s = self.loader.due_s if self._wanted else inf
        if self.running is None:
            reload_s = self.loader.start_due_s
        # A reload that is wanted brings the files along.
        publish_s = inf if self._wanted else max(self._publish_at_s, self.loader.publish_due_s)
        return min(self._retry_at_s, reload_s, publish_s, self._tidy_at_s)

    def _start(self, desired: Config, now_s: float) -> None:
        self._retry_at_s = self._publish_at_s = inf  # there is nobody to try it with
        if self.running is not None:
            self.silent = "it ended"
        if not self.loader.loading and now_s >= self.loader.start_due_s:
            self._loading_since.take(self._since)
            kind: Kind = "adopt" if self.running is None else "start"
            self.loader.begin(kind, desired, self.running or Config())

    def _look(self, now_s: float) -> None:
        """Whether the worker that we know still answers."""
        self._look_at_s = now_s + _LOOK_S
        if not self._known or self.loader.loading not in (None, "publish"):
            return
        try:
            found = self.runtime.pid()
        except HAProxyError as problem:
            self._lose(problem)
            now_s = self.clock()
            self.report(
                Report("none", (), now_s, now_s, now_s, now_s, ("no answer",), error=problem)
            )
            return
        if found != self.pid:
            self._known, self._retry_at_s = False, now_s

    def _lose(self, problem: HAProxyError) -> None:
        """From now on it is not known what runs."""
        self._known, self._retry_at_s = False, self.clock()
        if isinstance(problem, DeadlineExceeded | Interrupted | Unreachable):
            self.silent = str(problem)

    def _advance(self, desired: Config, running: Config, now_s: float) -> Config:
        """Plan, and carry out what needs no reload. Returns what runs then."""
        changed, self._changed = self._changed, Changed()
        if changed is not None:
            changed |= self._waiting | self._busy
        self._busy, self._retry_at_s = Changed(), inf
        found = plan(running, desired, self.can, changed)
        outcome, error, planned_s = None, None, self.clock()
        if found.steps:
            try:
                outcome = apply(found, running, self.runtime, self.pid)
                self.running = running = outcome.running
                self._settle(outcome, planned_s)
            except HAProxyError as problem:
                self._lose(problem)
                error = problem
                if isinstance(problem, ProcessChanged) and self.loader.loading:
                    return running  # taken over just now; the load's end is on its way to us
        news = tuple(reason for reason in found.reload if reason not in self._wanted)
        if news:
            self._wanted += news[: _SHOWN - len(self._wanted)]
            self._waiting |= changed or Changed()
            self._wanted_since.take(self._copy(self._since))
        since, self._since = self._since, Since()
        asked = since.causes and (found.steps or not news)
        told, self._news = self._news, ()
        if asked or error or told or not all(isinstance(op, DelServer) for op in found.ops):
            done = _applied(found, since, outcome, error, (now_s, planned_s, self.clock()))
            self.report(evolve(done, reasons=(*told, *done.reasons)))
        return running

    def _settle(self, outcome: Outcome, now_s: float) -> None:
        """Take note of what operations led to."""
        self._publish_at_s = min(self._publish_at_s, now_s + _PUBLISH_S)
        self._busy = _leaving(step.op for step in outcome.busy)
        self._retry_at_s = now_s + self._busy_s if self._busy else inf
        self._busy_s = min(self._busy_s * 2, _LAST_BUSY_S) if self._busy else _BUSY_S
        nobody = {str(step.reason) for step, reply in outcome.refused if not _blamed(step, reply)}
        if again := nobody & self._refused:
            # Read back and tried again in vain: only a reload settles it.
            self._wanted += tuple(Reason(text, "refused", cause=Cause.DRIFT) for text in again)
        elif nobody:
            self._known, self._retry_at_s = False, now_s
        self._refused = frozenset(nobody)

    def _read_back(self, running: Config, now_s: float) -> Config | None:
        """What really runs, where *running* is not sure; None when it cannot be told yet.

        A load that runs will tell; one that starts HAProxy again, too.
        """
        if self.loader.loading not in (None, "publish") or now_s < self._retry_at_s:
            return None
        try:
            pid = self.runtime.pid()
            self.running = self.runtime.read(running, pid)
        except HAProxyError as problem:
            self._lose(problem)
            self._retry_at_s += _READ_BACK_S
            return None
        if self.silent:
            self._news += ("HAProxy answers again",)
        if pid != self.pid:
            self._news += (f"worker {pid} answers, not {self.pid}",)
        self.pid, self.silent = pid, ""
        self._known, self._changed, self._retry_at_s = True, None, inf
        return self.running

    def _load(self, desired: Config, running: Config, now_s: float) -> None:
        """Begin the reload that is wanted, or bring the files up to what runs."""
        if self._wanted and now_s >= self.loader.due_s:
            wanted, self._wanted = self._wanted, ()
            # What was wanted may be gone by now; what is told is what differs still.
            forced = tuple(reason for reason in wanted if reason.cause is Cause.DRIFT)
            reasons = plan(running, desired, self.can).reload + forced
            if reasons:
                self._loading_since.take(self._wanted_since)
                self._publish_at_s = inf
                self.loader.begin("reload", desired, running, reasons)
                return
            self._wanted_since, self._waiting = Since(), Changed()
        if now_s >= max(self._publish_at_s, self.loader.publish_due_s) and not self._wanted:
            self._publish_at_s = inf
            self.loader.begin("publish", desired, running)

    def _tell_loaded(self, done: Finished) -> None:
        since, self._loading_since = self._loading_since, Since()
        start = done.kind in ("adopt", "start")
        self.report(
            Report(
                "reload",
                tuple(since.causes),
                min(since.arrived_s, done.began_s),
                done.began_s,
                done.began_s,
                done.ended_s,
                ("start",) if start else tuple(str(one) for one in done.reasons[:_SHOWN]),
                cause=None if start or not done.reasons else done.reasons[0].cause,
                error=done.loaded.error,
                refused=done.loaded.refused,
            )
        )

    @staticmethod
    def _copy(since: Since) -> Since:
        return Since(list(since.causes), since.arrived_s)


def _applied(
    found: Plan,
    since: Since,
    outcome: Outcome | None,
    error: HAProxyError | None,
    moments_s: tuple[float, float, float],
) -> Report:
    began_s, planned_s, ended_s = moments_s
    refused = outcome.refused if outcome else ()
    if refused:
        step, reply = refused[0]
        error = CommandRejected(str(step.reason), reply.strip())
    return Report(
        "runtime" if found.steps else "none",
        tuple(since.causes),
        min(since.arrived_s, began_s),
        began_s,
        planned_s,
        ended_s,
        tuple(str(step.reason) for step in islice(found.steps, _SHOWN)),
        outcome.batch if outcome else None,
        error=error,
        refused=tuple(
            (who, reply.strip()) for step, reply in refused for who in _blamed(step, reply)
        ),
    )


def _leaving(ops: Iterable[Op]) -> Changed:
    """Where to look again for what HAProxy still uses."""
    tried = tuple(ops)
    return Changed(
        frozenset(op.backend for op in tried if isinstance(op, DelServer | DelBackend)),
        certificates=frozenset(op.certificate for op in tried if isinstance(op, DelCertificate)),
    )


def _blamed(step: Step, reply: str) -> tuple[Origin, ...]:
    """Who asked for what was refused, if that can be told."""
    if isinstance(step.op, AddServed) and _NO_CERTIFICATE.search(reply):
        return ()  # it was refused before, or somebody else removed it
    if isinstance(step.op, ReplaceMap):
        return tuple(
            row.origin
            for key, row in step.op.rows.items()
            if row.origin is not None and key in reply
        )
    return () if step.reason.origin is None else (step.reason.origin,)
