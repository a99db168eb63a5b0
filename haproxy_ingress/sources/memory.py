"""Objects that a program hands over itself: for users of the library and for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from attrs import define, field

from haproxy_ingress.diagnostics import Ref
from haproxy_ingress.parsing import expand, parse
from haproxy_ingress.resources import Resource
from haproxy_ingress.sources import Change, Deliver


@define(eq=False)
class MemorySource:
    """Delivers what is put, at once and in the caller's thread.

    What was put before `start` is delivered by it, in one batch. `deliver` must not call back.
    """

    _clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _deliver: Deliver | None = field(default=None, init=False)
    _waiting: dict[Ref, Change] = field(factory=dict, init=False)

    def start(self, deliver: Deliver, synced: Callable[[], None]) -> None:
        """Deliver what is waiting, and from now on everything as it comes."""
        with self._lock:
            self._deliver = deliver
            waiting, self._waiting = tuple(self._waiting.values()), {}
            if waiting:
                deliver(waiting)
            synced()

    def stop(self) -> None:
        """Deliver no more; what is put from now on waits for the next `start`."""
        with self._lock:
            self._deliver = None

    def put(self, obj: object) -> None:
        """Add or replace an object: a resource, or a dict as the API has it (a List too)."""
        self.put_all((obj,))

    def put_all(self, objects: Iterable[object]) -> None:
        """Add or replace several objects in one batch."""
        arrived_s = self._clock()
        self._hand_over([c for obj in objects for c in _changes(obj, arrived_s)])

    def delete(self, ref: Ref) -> None:
        """Remove an object, known or not."""
        self._hand_over([Change(ref, None, self._clock())])

    def _hand_over(self, changes: list[Change]) -> None:
        with self._lock:
            if self._deliver is None:
                self._waiting.update({change.ref: change for change in changes})
            elif changes:
                self._deliver(changes)


def _changes(obj: object, arrived_s: float) -> Iterable[Change]:
    if isinstance(obj, Resource):
        yield Change(obj.ref, obj, arrived_s)
        return
    for one in expand(obj):
        ref, resource, found = parse(one)
        if ref is not None:
            yield Change(ref, resource, arrived_s, found, resource is None, parsed=True)
        elif found:  # nothing names it, so nothing it said before can be kept
            yield Change(found[0].ref, None, arrived_s, found, keep=True)
