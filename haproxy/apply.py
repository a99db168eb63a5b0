"""Carry a plan out through three Protocols, and say what runs afterwards.

`Files`, `Process` and `Runtime` are all that is needed to change a HAProxy; whoever implements
them (`haproxy.local`, `haproxy.runtime`, `haproxy.testing`, or your own) can be driven by a plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from haproxy.ops import Batch, Op


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


class Process(Protocol):
    """The HAProxy that is run."""

    def start(self) -> int:
        """Start it on the published files, or take over one that already runs there.

        Returns the worker's pid once it serves. Raises `ProcessFailed`, `ConfigRefused`.
        """
        ...

    def reload(self) -> int:
        """Load the published files. Returns the new worker's pid once it serves.

        Raises `ConfigRefused` or `ProcessFailed`; the old worker then keeps serving.
        """
        ...

    def stop(self, grace_s: float) -> None:
        """Finish the requests that are in flight, for at most *grace_s*, then stop."""
        ...
