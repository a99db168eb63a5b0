"""From changes to the desired `Config`: store, translations and merge as one incremental step.

Pure but for its own memory: no clock, no log, no IO. One thread owns it.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from attrs import define, evolve, field

from haproxy.model import Config
from haproxy.plan import Changed
from haproxy_ingress.diagnostics import Diagnostic, Ref, Why, bounded
from haproxy_ingress.members import Members, members
from haproxy_ingress.memo import Memo, Redone
from haproxy_ingress.merge import Merge, base
from haproxy_ingress.naming import UNAVAILABLE
from haproxy_ingress.resources import Resource
from haproxy_ingress.routing import Kind
from haproxy_ingress.soundness import unsound
from haproxy_ingress.sources import Change
from haproxy_ingress.store import Store, View
from haproxy_ingress.translate import (
    Fragment,
    Need,
    Settings,
    default_fragment,
    translate,
)

_DEFAULT = Ref("--default-backend-service", "", "")  # the daemon's own wish, beside the Ingresses


@define
class Pipeline:
    """What should run, kept up to date change by change."""

    settings: Settings
    store: Store = field(factory=Store, init=False)
    quarantined: dict[Ref, Diagnostic] = field(factory=dict, init=False)
    _merge: Merge = field(init=False)
    _fragments: Memo[Ref, Fragment | None] = field(init=False)
    _members: Memo[Need, Members] = field(init=False)
    _users: Counter[Need] = field(factory=Counter, init=False)
    _effective: dict[Ref, Fragment] = field(factory=dict, init=False)
    _good: dict[Ref, Fragment] = field(factory=dict, init=False)
    _news: list[Diagnostic] = field(factory=list, init=False)
    _unproven: set[Ref] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._merge = Merge(base(self.settings))
        self._fragments = Memo(self._translate)
        self._members = Memo(members)

    @property
    def config(self) -> Config:
        """What should run. Servers have no id yet."""
        return self._merge.config

    def update(self, changes: Iterable[Change], now_s: float = 0.0) -> Changed:
        """Take changes in. Returns where `config` may differ from before.

        now_s: in seconds since 1970, for certificates that expire.
        """
        changes = tuple(map(_judged, changes))
        known = {change.ref: self.store.diagnostics.get(change.ref, ()) for change in changes}
        touched = self.store.update(changes, now_s)
        self._news += (
            found
            for change in changes
            for found in change.diagnostics
            if found not in known[change.ref]
        )
        return self._redo(touched)

    def _redo(self, touched: frozenset[Ref]) -> Changed:
        ingresses = {ref for ref in touched if ref.kind == "Ingress"}
        gone = {ref for ref in ingresses if ref not in self.store.objects}
        add = {_DEFAULT, *(ingresses - gone)}
        redone = self._fragments.update(self.store, touched, add=add, drop=gone)
        for ref in (touched | redone.keys()) & self.quarantined.keys():
            del self.quarantined[ref]
        for one in redone.values():
            known = one.before.diagnostics if one.before else ()
            now = one.after.diagnostics if one.after else ()
            self._news += (found for found in now if found not in known)
        return self._commit(redone.keys() | ingresses, touched)

    def quarantine(self, ref: Ref, message: str) -> Changed:
        """Take an object out that HAProxy refused, until it changes.

        Its last good fragment stands in; without one its routes answer 503. Hosts of a Secret get
        the certificate it held before; without one the default certificate.
        """
        found = Diagnostic(ref, Why.QUARANTINED, "", message)
        self._news.append(found)
        if ref.kind == "Secret":
            self.store.refuse(ref, message)
            changed = self._redo(frozenset({ref}))
            self.quarantined[ref] = found
            return changed
        self.quarantined[ref] = found
        return self._commit({ref}, frozenset())

    def accepted(self) -> None:
        """What `config` holds now was accepted by HAProxy."""
        for ref in self._unproven:
            if fragment := self._effective.get(ref):
                self._good[ref] = fragment
            else:
                self._good.pop(ref, None)
        self._unproven.clear()

    def news(self) -> tuple[Diagnostic, ...]:
        """What was found since it was last asked."""
        news = tuple(dict.fromkeys((*self._news, *self._merge.news)))
        self._news.clear()
        self._merge.news.clear()
        return news

    def diagnostics(self) -> Iterator[Diagnostic]:
        """Everything that is wrong now."""
        for found in self.store.diagnostics.values():
            yield from found
        for fragment in self._fragments.values():
            yield from fragment.diagnostics if fragment else ()
        yield from self._merge.all_conflicts()
        yield from self.quarantined.values()

    def served(self) -> Mapping[Ref, Fragment]:
        """The fragments that `config` is made of, by Ingress."""
        return self._effective

    def _commit(self, refs: Iterable[Ref], touched: frozenset[Ref]) -> Changed:
        fragments: dict[Ref, Redone[Fragment]] = {}
        needs: set[Need] = set()
        for ref in refs:
            before, now = self._effective.get(ref), self._choose(ref)
            if before == now:
                continue
            fragments[ref] = Redone(before, now)
            self._unproven.add(ref)
            needs |= self._count(before, -1) | self._count(now, +1)
            if now is None:
                self._effective.pop(ref, None)
            else:
                self._effective[ref] = now
        drop = {need for need in needs if not self._users[need]}
        add = {need for need in needs - drop if self._members.get(need) is None}
        for need in drop:
            del self._users[need]
        servers = self._members.update(self.store, touched, add=add, drop=drop)
        return self._merge.update(fragments, servers)

    def _choose(self, ref: Ref) -> Fragment | None:
        fragment = self._fragments.get(ref)
        if fragment is None or ref not in self.quarantined:
            return fragment
        good = self._good.get(ref)
        stand_in = _renewed(good, fragment) if good else fragment
        return stand_in if stand_in != fragment else _denying(fragment)

    def _count(self, fragment: Fragment | None, by: int) -> set[Need]:
        needs = set(fragment.needs if fragment else ())
        for need in needs:
            self._users[need] += by
        return needs

    def _translate(self, ref: Ref, view: View) -> Fragment | None:
        if ref == _DEFAULT:
            return default_fragment(view, self.settings)
        ingress = view.ingress(ref)
        if ingress is None:
            return None
        try:
            fragment = translate(ingress, view, self.settings)
            return fragment and evolve(fragment, diagnostics=bounded(fragment.diagnostics))
        except Exception:  # noqa: BLE001  our defect must not stop the other objects
            where = traceback.format_exc(limit=-1).strip().splitlines()[-1]
            problem = Diagnostic(ref, Why.INVALID, "", f"not translated, a defect of ours: {where}")
            return Fragment(ref, ingress.meta.age, diagnostics=(problem,))


def _judged(change: Change) -> Change:
    """A resource that parsing would have refused is as unreadable as one that it did refuse."""
    if change.parsed or change.resource is None:
        return change
    if not (found := unsound(change.ref, change.resource)):
        return change
    return evolve(change, resource=None, diagnostics=(*change.diagnostics, *found), keep=True)


def _renewed(good: Fragment, now: Fragment) -> Fragment:
    """*good* with its Services, as far as *now* knows them, and its certificates, as they are."""
    needs = {need.name: need for need in now.needs}
    kept = tuple(needs.get(need.name, need) for need in good.needs)
    return evolve(good, needs=kept, security=now.security, diagnostics=now.diagnostics)


def _denying(fragment: Fragment) -> Fragment:
    """The same routes answering 503, without those whose pattern may be what was refused."""
    routes = (route for route in fragment.routes if route.kind is not Kind.REGEX)
    return evolve(
        fragment, routes=tuple(evolve(route, backend=UNAVAILABLE) for route in routes), needs=()
    )


def compile_config(
    resources: Iterable[Resource], settings: Settings, now_s: float = 0.0
) -> tuple[Config, tuple[Diagnostic, ...]]:
    """The configuration of *resources* from scratch, and what is wrong with them."""
    pipeline = Pipeline(settings)
    pipeline.update([Change(each.ref, each, 0.0) for each in resources], now_s)
    return pipeline.config, tuple(pipeline.diagnostics())
