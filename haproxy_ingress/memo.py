"""Redo only the translations whose reads changed; reads of what was absent count too."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from attrs import define, field, frozen

from haproxy_ingress.diagnostics import Ref
from haproxy_ingress.store import Store, View

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@frozen
class Redone(Generic[V]):
    """A translation before and after; None where there was or is none."""

    before: V | None
    after: V | None


@define
class Memo(Generic[K, V]):
    """Remembers ``compute(key, view)`` per key, and who read what."""

    compute: Callable[[K, View], V]
    _values: dict[K, V] = field(factory=dict, init=False)
    _reads: dict[K, frozenset[Ref]] = field(factory=dict, init=False)
    _readers: dict[Ref, set[K]] = field(factory=dict, init=False)

    def update(
        self,
        store: Store,
        touched: Iterable[Ref],
        add: Iterable[K] = (),
        drop: Iterable[K] = (),
    ) -> dict[K, Redone[V]]:
        """Redo what reads anything *touched* or is new, forget what is dropped.

        Returns what differs from before, by key.
        """
        results: dict[K, Redone[V]] = {}
        for key in drop:
            if key in self._values:
                results[key] = Redone(self._values.pop(key), None)
                self._forget(key)
        stale = set(add)
        for ref in touched:
            stale |= self._readers.get(ref, set())
        for key in stale:
            view = View(store)
            before, now = self._values.get(key), self.compute(key, view)
            self._remember(key, now, frozenset(view.reads))
            if before != now:
                results[key] = Redone(before, now)
        return results

    def get(self, key: K) -> V | None:
        return self._values.get(key)

    def values(self) -> Iterable[V]:
        return self._values.values()

    def _remember(self, key: K, value: V, reads: frozenset[Ref]) -> None:
        self._values[key] = value
        if self._reads.get(key) != reads:
            self._forget(key)
            self._reads[key] = reads
            for ref in reads:
                self._readers.setdefault(ref, set()).add(key)

    def _forget(self, key: K) -> None:
        for ref in self._reads.pop(key, ()):
            readers = self._readers[ref]
            readers.discard(key)
            if not readers:
                del self._readers[ref]
