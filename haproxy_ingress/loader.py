"""Loads run beside the worker: one at a time, the first at once, then not too often.

Rendering, checking and reloading take time that no endpoint should wait for. The thread here only
works on frozen values and hands its result over as an event.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Literal

from attrs import define, field, frozen

from haproxy.adopt import adopt
from haproxy.apply import Files, Loaded, Process, Runtime, load
from haproxy.capabilities import Capabilities
from haproxy.errors import ProcessFailed
from haproxy.ids import Resolver
from haproxy.model import Config
from haproxy.ops import Reason
from haproxy.render import Renderer

Kind = Literal["adopt", "start", "reload", "publish"]
# A HAProxy that ends soon after its start is started later, each time: it would take all there is.
_STEADY_S = 10.0
_FIRST_RESTART_S, _LAST_RESTART_S = 0.1, 5.0
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 30.0
_REFUSED_RETRY_S = 0.05  # somebody was blamed; what is left deserves to be tried soon


@frozen
class Finished:
    """The end of a load. began_s, ended_s: by the monotonic clock.

    kind: that of `Loader.begin`; ``start`` when there was nothing to adopt.
    """

    kind: Kind
    reasons: tuple[Reason, ...]
    loaded: Loaded
    began_s: float
    ended_s: float


@define
class Loader:
    """The load that runs, and when the next one may begin.

    interval_s: the least time between the begins of two reloads. clock: monotonic, in seconds.
    due_s, start_due_s, publish_due_s: when the next reload, start or publication may begin.
    """

    files: Files
    process: Process
    runtime: Runtime
    can: Capabilities
    interval_s: float
    clock: Callable[[], float]
    finished: Callable[[Finished], None]
    loading: Kind | None = field(default=None, init=False)
    due_s: float = field(default=0.0, init=False)
    start_due_s: float = field(default=0.0, init=False)
    publish_due_s: float = field(default=0.0, init=False)
    _description: str = field(default="", init=False)  # of the worker that runs
    _failures: int = field(default=0, init=False)
    _started_s: float = field(default=-inf, init=False)
    _restarts: int = field(default=0, init=False)  # that came soon after a start
    _resolver: Resolver = field(factory=Resolver, init=False)
    _renderer: Renderer = field(factory=Renderer, init=False)
    _thread: ThreadPoolExecutor = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")

    def begin(
        self, kind: Kind, desired: Config, running: Config, reasons: tuple[Reason, ...] = ()
    ) -> None:
        """Render *desired*, publish it and, unless it is only to be published, have it loaded.

        To adopt is to take over what runs there without a load, if that is possible.
        """
        self.loading = kind
        self._thread.submit(self._work, kind, desired, running, reasons, self.clock())

    def end(self, done: Finished) -> None:
        """Take note of an end: a failure delays the next try, longer each time."""
        self.loading = None
        error, refused = done.loaded.error, bool(done.loaded.refused)
        self._failures = self._failures + 1 if error else 0
        if error:
            first = _REFUSED_RETRY_S if refused else _FIRST_RETRY_S
            doubled = first * 2 ** min(self._failures - 1, 10)
            self.due_s = self.publish_due_s = done.ended_s + min(doubled, _LAST_RETRY_S)
            self.start_due_s = self.due_s
            return
        if done.kind != "publish":
            self._description = done.loaded.description
        if done.kind == "start":
            self._started(done)
        elif done.kind == "reload":
            self.due_s = done.began_s + self.interval_s
        elif done.kind == "publish":
            # At most a tenth of the time, however large the configuration is.
            self.publish_due_s = done.ended_s + 9 * (done.ended_s - done.began_s)

    def tidy(self) -> None:
        """Forget the files of before, when nothing is being loaded."""
        self._thread.submit(self.files.tidy)

    def _started(self, done: Finished) -> None:
        soon = done.began_s - self._started_s < _STEADY_S
        self._restarts = self._restarts + 1 if soon else 0
        doubled = _FIRST_RESTART_S * 2 ** min(self._restarts - 1, 10)
        wait_s = min(doubled, _LAST_RESTART_S) if self._restarts else 0.0
        self._started_s, self.start_due_s = done.ended_s, done.ended_s + wait_s

    def close(self) -> None:
        """Return when nothing is being loaded any more."""
        self._thread.shutdown(wait=True)

    def _work(
        self,
        kind: Kind,
        desired: Config,
        running: Config,
        reasons: tuple[Reason, ...],
        began_s: float,
    ) -> None:
        try:
            kind, done = self._load(kind, self._resolver.resolve(desired, running))
        except Exception as error:  # noqa: BLE001  who waits for the end must hear of one
            done = Loaded(error=ProcessFailed(f"not loaded, a defect of ours: {error!r}"))
        self.finished(Finished(kind, reasons, done, began_s, self.clock()))

    def _load(self, kind: Kind, config: Config) -> tuple[Kind, Loaded]:
        if kind == "publish":
            return kind, load(config, self._renderer, self.files, None, self._description)
        if kind == "reload":
            return kind, load(config, self._renderer, self.files, self.process.reload)
        if kind == "adopt" and (found := self._adopted(config)):
            return kind, found
        return "start", load(config, self._renderer, self.files, self.process.start)

    def _adopted(self, config: Config) -> Loaded | None:
        parts = self._renderer, self.files, self.process, self.runtime, self.can
        return adopt(config, *parts)
