"""Where objects come from: the Source protocol.

A source hands over `Change`s from a thread of its own and does nothing else: it neither decides
nor waits for what its changes lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import field, frozen

from haproxy_ingress.diagnostics import Diagnostic, Ref
from haproxy_ingress.resources import Resource


@frozen
class Change:
    """What an object is now.

    resource: None when it is gone. diagnostics: what was wrong in reading it; a change may carry
    these only (`keep`), when the object was unreadable and its last readable version stays.
    arrived_s: when the source heard of it, by the monotonic clock. parsed: `parsing` made the
    resource, so that it need not be looked through again.
    """

    ref: Ref
    resource: Resource | None
    arrived_s: float
    diagnostics: tuple[Diagnostic, ...] = field(default=())
    keep: bool = False
    parsed: bool = field(default=False, eq=False)


Deliver = Callable[[Sequence[Change]], None]


class Source(Protocol):
    """Delivers every object there is once, in batches, then reports `synced`, then changes."""

    def start(self, deliver: Deliver, synced: Callable[[], None]) -> None:
        """Begin; returns at once. Calls come from a thread of the source."""
        ...

    def stop(self) -> None:
        """End, and return when no further call will come."""
        ...
