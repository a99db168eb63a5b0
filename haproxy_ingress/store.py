"""What every object is now, and which translations a change concerns.

Level-triggered: a change says which object, the store says what is. Translations look at it
through a `View`, which notes what they read, also what they looked for and did not find.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from attrs import field, mutable

from haproxy_ingress.certificates import KeyPair, kept, read_key_pair
from haproxy_ingress.diagnostics import Diagnostic, Ref
from haproxy_ingress.resources import (
    EndpointSlice,
    Ingress,
    IngressClass,
    Resource,
    Secret,
    Service,
)
from haproxy_ingress.sources import Change

TLS_TYPE = "kubernetes.io/tls"
ANY_CLASS = Ref("IngressClasses", "", "")  # read by who asks for the default class
_R = TypeVar("_R", bound=Resource)


def slices_ref(namespace: str, service: str) -> Ref:
    """Stands for the set of EndpointSlices of a Service."""
    return Ref("EndpointSlices", namespace, service)


@mutable
class Store:
    """Objects by reference, EndpointSlices also by Service; diagnostics of unreadable objects.

    counts: objects by kind. key_pairs: what TLS Secrets hold, or held when they were last good.
    """

    objects: dict[Ref, Resource] = field(factory=dict, init=False)
    diagnostics: dict[Ref, tuple[Diagnostic, ...]] = field(factory=dict, init=False)
    counts: Counter[str] = field(factory=Counter, init=False)
    key_pairs: dict[Ref, KeyPair] = field(factory=dict, init=False, repr=False)
    _pairs_before: dict[Ref, KeyPair] = field(factory=dict, init=False, repr=False)
    default_classes: dict[str, IngressClass] = field(factory=dict, init=False)
    _slices: dict[Ref, dict[Ref, EndpointSlice]] = field(factory=dict, init=False)

    def update(self, changes: Iterable[Change], now_s: float = 0.0) -> frozenset[Ref]:
        """Take the changes in. Returns what is touched: objects, slice sets, `ANY_CLASS`.

        now_s: in seconds since 1970, for certificates that expire.
        """
        touched: set[Ref] = set()
        for change in changes:
            self._note(change)
            if not change.keep and (found := self._put(change.ref, change.resource)):
                touched |= found
                self._key_pair(change.ref, change.resource, now_s)
        return frozenset(touched)

    def refuse(self, ref: Ref, problem: str) -> None:
        """What the Secret *ref* holds is of no use after all; what it held before may be."""
        refused, before = self.key_pairs.get(ref), self._pairs_before.pop(ref, KeyPair())
        if refused and before.certificate != refused.certificate:
            self.key_pairs[ref] = kept(before, problem)
        else:
            self.key_pairs[ref] = KeyPair(problem=problem)

    def slices(self, ref: Ref) -> Iterable[EndpointSlice]:
        """The slices of a set, in the order of their names."""
        return (one for _, one in sorted(self._slices.get(ref, {}).items()))

    def _note(self, change: Change) -> None:
        if change.diagnostics:
            self.diagnostics[change.ref] = change.diagnostics
        else:
            self.diagnostics.pop(change.ref, None)

    def _put(self, ref: Ref, new: Resource | None) -> set[Ref]:
        old = self.objects.get(ref)
        if old == new:
            return set()
        self.counts[ref.kind] += (new is not None) - (old is not None)
        if new is None:
            del self.objects[ref]
        else:
            self.objects[ref] = new
        touched = {ref}
        if isinstance(old, EndpointSlice):
            touched.add(self._unlink(ref, old))
        if isinstance(new, EndpointSlice):
            touched.add(home := slices_ref(new.meta.namespace, new.service))
            self._slices.setdefault(home, {})[ref] = new
        if isinstance(old or new, IngressClass):
            touched.add(ANY_CLASS)
            self._class(ref, new)
        return touched

    def _key_pair(self, ref: Ref, new: Resource | None, now_s: float) -> None:
        if isinstance(new, Secret) and new.type == TLS_TYPE:
            pem = (new.data.get("tls.crt", b""), new.data.get("tls.key", b""))
            before = self.key_pairs.get(ref, KeyPair())
            self.key_pairs[ref] = found = read_key_pair(ref, *pem, now_s, before)
            if found.certificate is not before.certificate:
                self._pairs_before[ref] = before
        else:
            self.key_pairs.pop(ref, None)
            self._pairs_before.pop(ref, None)

    def _class(self, ref: Ref, new: Resource | None) -> None:
        if isinstance(new, IngressClass) and new.default:
            self.default_classes[ref.name] = new
        else:
            self.default_classes.pop(ref.name, None)

    def _unlink(self, ref: Ref, old: EndpointSlice) -> Ref:
        home = slices_ref(old.meta.namespace, old.service)
        siblings = self._slices[home]
        del siblings[ref]
        if not siblings:
            del self._slices[home]
        return home


@mutable
class View:
    """A look at the store that remembers what was looked at, found or not."""

    _store: Store
    reads: set[Ref] = field(factory=set, init=False)

    def ingress(self, ref: Ref) -> Ingress | None:
        return self._get(ref, Ingress)

    def service(self, namespace: str, name: str) -> Service | None:
        return self._get(Ref("Service", namespace, name), Service)

    def ingress_class(self, name: str) -> IngressClass | None:
        return self._get(Ref("IngressClass", "", name), IngressClass)

    def default_classes(self) -> Iterable[IngressClass]:
        """All classes marked as default."""
        self.reads.add(ANY_CLASS)
        return self._store.default_classes.values()

    def key_pair(self, namespace: str, name: str) -> KeyPair | None:
        """What a Secret of type kubernetes.io/tls holds."""
        ref = Ref("Secret", namespace, name)
        self.reads.add(ref)
        return self._store.key_pairs.get(ref)

    def slices(self, namespace: str, service: str) -> tuple[EndpointSlice, ...]:
        ref = slices_ref(namespace, service)
        self.reads.add(ref)
        return tuple(self._store.slices(ref))

    def _get(self, ref: Ref, kind: type[_R]) -> _R | None:
        self.reads.add(ref)
        found = self._store.objects.get(ref)
        return found if isinstance(found, kind) else None
