"""Carry a plan out through three Protocols, and say what runs afterwards.

`Files`, `Process` and `Runtime` are all that is needed to change a HAProxy; whoever implements
them (`haproxy.local`, `haproxy.runtime`, `haproxy.testing`, or your own) can be driven by a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from haproxy.effects import after, loaded
from haproxy.errors import ConfigRefused, HAProxyError, InvalidValue
from haproxy.model import Config, Origin
from haproxy.ops import Batch, Op, Plan, Step
from haproxy.render import Rendered, Renderer
from haproxy.tables import Identity


class Runtime(Protocol):
    """The Runtime API of the worker that serves."""

    def pid(self) -> int:
        """The worker that answers now. Raises `Unreachable`, `DeadlineExceeded`, `Interrupted`."""
        ...

    def run(self, ops: Sequence[Op], pid: int) -> Batch:
        """Carry *ops* out in order, in one batch on one connection, on the worker *pid*.

        A refused operation is a result, not an exception, and does not stop the others.

        Raises `ProcessChanged` before anything is sent when another worker answers, or afterwards
        when the worker was replaced meanwhile: then nothing is known to be applied. Raises
        `Unreachable`, `DeadlineExceeded` or `Interrupted` when nothing is known.
        """
        ...

    def read(self, known: Config, pid: int) -> Config:
        """*known* as far as worker *pid* really has it, with its servers and its rows.

        Raises as `run`, and `UnreadableReply`.
        """
        ...

    def identity(self) -> Identity:
        """Who answers now. Raises as `pid`, and `UnreadableReply`."""
        ...


class Files(Protocol):
    """Where the configuration lies."""

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Replace all files by *files* (path relative to the configuration -> content), or none.

        Raises `ConfigRefused` when HAProxy does not accept them, `FilesFailed` when they cannot
        be written; in both cases the files that were there are untouched.
        """
        ...

    def rollback(self) -> None:
        """Back to the files before the last `publish`; for a reload that failed."""
        ...

    def tidy(self) -> None:
        """Remove what was published before, such as keys; nobody loads it any more."""
        ...

    def current(self, name: str) -> bytes:
        """The file *name* of those that are live. Raises `FilesFailed`, also when none is."""
        ...


class Process(Protocol):
    """The HAProxy that is run."""

    def start(self) -> int:
        """Start it on the published files, or take over one that already runs there.

        Returns the worker's pid once it serves. Raises `ProcessFailed`, `ConfigRefused`.
        """
        ...

    def adopt(self) -> int | None:
        """Take over one that already runs there as it is: the worker's pid, None without any.

        Raises `ProcessFailed`.
        """
        ...

    def reload(self) -> int:
        """Load the published files. Returns the new worker's pid once it serves.

        Raises `ConfigRefused` or `ProcessFailed`; the old worker then keeps serving.
        """
        ...

    def alive(self) -> bool:
        """Whether HAProxy still runs."""
        ...

    def stop(self, grace_s: float) -> None:
        """Finish the requests that are in flight, for at most *grace_s*, then stop."""
        ...


@frozen
class Outcome:
    """What came of the operations of a plan.

    running: what runs now. busy: what may succeed later. refused: with HAProxy's words.
    """

    running: Config
    batch: Batch
    busy: tuple[Step, ...] = ()
    refused: tuple[tuple[Step, str], ...] = ()


def apply(plan: Plan, running: Config, runtime: Runtime, pid: int) -> Outcome:
    """Carry out the operations of *plan* on worker *pid*, of which *running* is known to run.

    Raises as `Runtime.run`; then what runs has to be read back.
    """
    batch = runtime.run(plan.ops, pid)
    results = tuple(zip(plan.steps, batch.results, strict=True))
    return Outcome(
        after(running, [result.op for result in batch.results if result.status == "done"]),
        batch,
        tuple(step for step, result in results if result.status == "busy"),
        tuple((step, result.reply) for step, result in results if result.status == "refused"),
    )


@frozen
class Loaded:
    """What came of loading a configuration.

    running: what the new worker *pid* runs; None when it was refused or failed, for `error`.
    refused: who asked for the lines that HAProxy refused, with its words.
    description: what the worker says of itself.
    """

    running: Config | None = None
    pid: int = 0
    error: HAProxyError | None = None
    refused: tuple[tuple[Origin, str], ...] = ()
    description: str = ""


def load(
    config: Config,
    renderer: Renderer,
    files: Files,
    take_over: Callable[[], int] | None,
    description: str = "",
) -> Loaded:
    """Publish *config* and have it loaded by *take_over* (`Process.start` or `Process.reload`).

    Without *take_over* the files are only published, for the next start; *description* is then
    that of the worker that runs. Servers need ids.
    Never raises a `HAProxyError`; whatever fails, the files on disk are those that served before.
    """
    try:
        rendered = renderer.render(config, description)
    except InvalidValue as error:
        return Loaded(error=error, refused=_asked_for(config, error))
    try:
        files.publish(rendered.files)
    except HAProxyError as error:
        return Loaded(error=error, refused=_blamed(rendered, error))
    try:
        pid = take_over() if take_over else 0
        return Loaded(loaded(config), pid, description=rendered.description)
    except HAProxyError as error:
        try:
            files.rollback()
        except HAProxyError as another:
            error.add_note(f"the files before it could not be put back: {another}")
        return Loaded(error=error, refused=_blamed(rendered, error))


def _blamed(rendered: Rendered, error: HAProxyError) -> tuple[tuple[Origin, str], ...]:
    alerts = error.alerts if isinstance(error, ConfigRefused) else ()
    return tuple((origin, alert) for alert in alerts for origin in rendered.origins(alert))


def _asked_for(config: Config, error: InvalidValue) -> tuple[tuple[Origin, str], ...]:
    """Who asked for a map row that no file can hold."""
    of = config.maps.get(error.field)
    row = of.rows.get(error.value) if of else None
    return ((row.origin, str(error)),) if row and row.origin is not None else ()
