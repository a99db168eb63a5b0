"""The loop: changes become a desired configuration, HAProxy is brought there, the why is kept.

One thread, the one that calls `Controller.run`, owns everything from the store to HAProxy. Sources
and loads hand events over and wait for nothing. An isolated change is applied at once; what arrives
during an apply goes together in the next round.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from time import monotonic, time
from typing import Any

from attrs import define, field, frozen

from haproxy.apply import Files, Process, Runtime
from haproxy.capabilities import Capabilities
from haproxy.errors import HAProxyError
from haproxy.plan import Changed
from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why
from haproxy_ingress.driver import Driver, Report, Since
from haproxy_ingress.journal import Cause, Decision, Journal
from haproxy_ingress.loader import Finished
from haproxy_ingress.metrics import Metrics
from haproxy_ingress.pipeline import Pipeline
from haproxy_ingress.resources import Resource
from haproxy_ingress.sources import Change, Source
from haproxy_ingress.translate import Settings

MAX_SAID_A_ROUND = 100  # findings that one round logs
MAX_SHOWN = 1_000  # findings that the status lists

_OTHERS = Ref("other", "", "objects")
_TICK_S = 0.1  # how often it is looked whether HAProxy still lives
_DEAD_S = 30.0  # a loop that has been silent for so long is not alive
_ANSWER_S = 5.0


@frozen
class _Synced:
    """The source has delivered everything there is."""


@frozen
class _Stop:
    """The loop is to end."""


@frozen
class _Ask:
    """A question that only the loop's thread may answer."""

    question: Callable[[], dict[str, Any]]
    answer: Future[dict[str, Any]] = field(factory=Future)

    def reply(self) -> None:
        """A question that cannot be answered is the asker's trouble, not the loop's."""
        try:
            self.answer.set_result(self.question())
        except Exception as error:  # noqa: BLE001
            self.answer.set_exception(error)


_Event = Sequence[Change] | Finished | _Synced | _Stop | _Ask


@define(eq=False)
class Controller:
    """Keeps a HAProxy at what the objects of a source say.

    reload_interval_s: at most one reload in so long, the first at once. on_decision is called
    with every decision, on_diagnostic with every new finding, from the loop's thread.
    """

    source: Source
    settings: Settings
    files: Files
    process: Process
    runtime: Runtime
    can: Capabilities
    reload_interval_s: float = 2.0
    on_decision: Callable[[Decision], None] = lambda _: None
    on_diagnostic: Callable[[Diagnostic], None] = lambda _: None
    journal: Journal = field(factory=Journal, init=False)
    metrics: Metrics = field(factory=Metrics, init=False)
    _events: queue.SimpleQueue[_Event] = field(factory=queue.SimpleQueue, init=False)
    _pipeline: Pipeline = field(init=False)
    _driver: Driver = field(init=False)
    _changed: Changed = field(factory=Changed, init=False)
    _since: Since = field(factory=Since, init=False)
    _synced: bool = field(default=False, init=False)
    _stopping: bool = field(default=False, init=False)
    _fatal: HAProxyError | None = field(default=None, init=False)
    _decided: int = field(default=0, init=False)
    _beat_s: float = field(factory=monotonic, init=False)

    def __attrs_post_init__(self) -> None:
        self._pipeline = Pipeline(self.settings)
        self._driver = Driver(
            self.files,
            self.process,
            self.runtime,
            self.can,
            self.reload_interval_s,
            monotonic,
            self._events.put,
            self._report,
        )

    def run(self) -> None:
        """Serve until `stop` is called; HAProxy then still runs, stopping it is the caller's.

        Raises what kept HAProxy from its first start.
        """
        self.source.start(self._events.put, lambda: self._events.put(_Synced()))
        try:
            while not self._stopping:
                for event in self._wait():
                    self._take(event)
                self._work()
        finally:
            self.source.stop()
            self._driver.loader.close()
        if self._fatal:
            raise self._fatal

    def stop(self) -> None:
        """End `run` after what it is doing; from any thread, also from a signal handler."""
        self._events.put(_Stop())

    def healthy(self) -> bool:
        """Whether the loop is alive."""
        return monotonic() - self._beat_s < _DEAD_S

    def not_ready(self) -> str:
        """Why not, or empty: HAProxy serves what the source had when it was first complete."""
        if not self._synced:
            return "the source has not delivered everything yet"
        if not self._driver.running:
            return "HAProxy does not serve yet"
        silent = self._driver.silent
        return f"HAProxy does not answer: {silent}" if silent else ""

    def status(self) -> dict[str, Any]:
        """What runs and what is wrong, as JSON. Raises `TimeoutError` when the loop is stuck."""
        asked = _Ask(self._status)
        self._events.put(asked)
        return asked.answer.result(_ANSWER_S)

    def _status(self) -> dict[str, Any]:
        found = tuple(self._pipeline.diagnostics())
        shown = found[:MAX_SHOWN]
        return {
            "ready": not self.not_ready(),
            "haproxy_version": str(self.can),
            "worker_pid": self._driver.pid,
            "loading": self._driver.loader.loading or "",
            "quarantined": [str(ref) for ref in self._pipeline.quarantined],
            "diagnostics": [one.to_json() for one in shown],
            "diagnostics_left_out": len(found) - len(shown),
        }

    def _wait(self) -> Iterator[_Event]:
        """All events there are; none when something else is due before one comes."""
        left_s = self._driver.due_s() - monotonic() if self._synced else _TICK_S
        try:
            yield self._events.get(timeout=min(max(left_s, 0.0), _TICK_S))
            while True:
                yield self._events.get_nowait()
        except queue.Empty:
            return

    def _take(self, event: _Event) -> None:
        match event:
            case _Synced():
                self._synced = True
            case _Stop():
                self._stopping = True
            case _Ask():
                event.reply()
            case Finished():
                self._driver.take(event)
            case _:
                self._learn(event)

    def _learn(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.metrics.change(change.ref.kind)
            known = self._pipeline.store.objects.get(change.ref)
            if not change.keep and change.resource != known:
                self._since.causes.append(_cause(change, known))
                self._since.arrived_s = min(self._since.arrived_s, change.arrived_s)
        self._changed |= self._pipeline.update(changes, time())

    def _work(self) -> None:
        self._beat_s = monotonic()
        while self._synced and not self._stopping:
            changed, self._changed = self._changed, Changed()
            self._driver.round(self._pipeline.config, changed, self._since)
            self._tell(self._pipeline.news())
            if not self._changed:  # a refusal changes what is desired: once more, at once
                return

    def _tell(self, news: tuple[Diagnostic, ...]) -> None:
        for diagnostic in news[:MAX_SAID_A_ROUND]:
            self.on_diagnostic(diagnostic)
        if (more := len(news) - MAX_SAID_A_ROUND) > 0:
            said = f"{more} more findings, which /api/v1/status lists"
            self.on_diagnostic(Diagnostic(_OTHERS, Why.INVALID, "", said, Level.WARNING))

    def _report(self, report: Report) -> None:
        """Keep a decision, and take out of service what HAProxy refused."""
        for origin, words in report.refused:
            if isinstance(origin, Ref):
                self._changed |= self._pipeline.quarantine(origin, f"HAProxy refused it: {words}")
        if report.error is None and self._driver.settled and not self._changed:
            self._pipeline.accepted()
        elif not report.refused and not self._driver.running:
            self._fatal, self._stopping = report.error, True
        self._measure(report)
        self._decided += 1
        decision = _decision(self._decided, report)
        self.metrics.decided(decision)
        self.journal.add(decision)
        self.on_decision(decision)

    def _measure(self, report: Report) -> None:
        if report.batch:
            self.metrics.ran(report.batch)
        if report.cause:
            seconds = report.ended_s - report.began_s
            self.metrics.reloaded(report.cause, "failed" if report.error else "ok", seconds)
        self.metrics.quarantined(len(self._pipeline.quarantined))
        for kind, number in self._pipeline.store.counts.items():
            self.metrics.objects(kind, number)


def _cause(change: Change, known: Resource | None) -> Cause:
    if change.resource is None:
        return Cause(change.ref, "removed")
    return Cause(change.ref, "added" if known is None else "changed")


def _decision(number: int, report: Report) -> Decision:
    return Decision(
        id=number,
        time_s=time(),
        causes=report.causes,
        action=report.action,
        reasons=report.reasons,
        commands=report.batch.commands if report.batch else 0,
        result="quarantined" if report.refused else "failed" if report.error else "ok",
        error=str(report.error or ""),
        queued_s=report.began_s - report.arrived_s,
        plan_s=report.planned_s - report.began_s,
        apply_s=report.ended_s - report.planned_s,
        total_s=report.ended_s - report.arrived_s,
    )
