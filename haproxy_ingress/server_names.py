"""Which certificate serves which server name (SNI): the oldest Ingress decides.

For each name there may be one certificate of each algorithm, so that ECDSA and RSA stand side by
side and HAProxy chooses by what the client can do.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from haproxy.model import Certificate, Served
from haproxy_ingress.diagnostics import Diagnostic, Level, Why
from haproxy_ingress.edits import Edits
from haproxy_ingress.memo import Redone
from haproxy_ingress.tls import Wish
from haproxy_ingress.translate import Fragment

_Name = tuple[str, str]  # host, algorithm


@frozen
class _Claim:
    wish: Wish
    fragment: Fragment
    number: int

    @property
    def rank(self) -> tuple[tuple[bool, str, str, str], int]:
        return self.fragment.age, self.number


@define
class ServerNames:
    """The wishes of all fragments, and who has his.

    conflicts: by name. A certificate is there as long as a line serves it.
    """

    conflicts: dict[_Name, tuple[Diagnostic, ...]] = field(factory=dict, init=False)
    _claims: dict[_Name, list[_Claim]] = field(factory=dict, init=False)
    _winners: dict[_Name, Certificate] = field(factory=dict, init=False)
    _users: dict[str, dict[_Name, Certificate]] = field(factory=dict, init=False)

    def update(self, fragments: Iterable[Redone[Fragment]], edits: Edits) -> list[Diagnostic]:
        """Take in what differs. Returns the conflicts that are new."""
        names: set[_Name] = set()
        for redone in fragments:
            names |= self._withdraw(redone.before) | self._claim(redone.after)
        news: list[Diagnostic] = []
        touched: set[str] = set()
        # First what goes: two algorithms of a host may have had the same line, one after the other.
        for name in names:
            touched |= self._yield(name, edits)
        for name in names:
            touched |= self._win(name, edits)
            before = self.conflicts.pop(name, ())
            if found := tuple(self._conflicts(name)):
                self.conflicts[name] = found
                news += (one for one in found if one not in before)
        for file in touched:
            users = self._users.get(file, {})
            edits.certificate(file, next(iter(users.values()), None))
        return news

    def _withdraw(self, fragment: Fragment | None) -> set[_Name]:
        names = {_name(wish) for wish in fragment.security.wishes} if fragment else set()
        for name in names:
            kept = [one for one in self._claims.pop(name, ()) if one.fragment is not fragment]
            if kept:
                self._claims[name] = kept
        return names

    def _claim(self, fragment: Fragment | None) -> set[_Name]:
        if fragment is None:
            return set()
        for number, wish in enumerate(fragment.security.wishes):
            claims = self._claims.setdefault(_name(wish), [])
            insort(claims, _Claim(wish, fragment, number), key=lambda claim: claim.rank)
        return {_name(wish) for wish in fragment.security.wishes}

    def _yield(self, name: _Name, edits: Edits) -> set[str]:
        """Nobody serves *name* for now. Returns the files of the certificates concerned."""
        old = self._winners.pop(name, None)
        if old is None:
            return set()
        edits.served(Served(old.name, name[0]), there=False)
        users = self._users[old.name]
        users.pop(name, None)
        if not users:
            del self._users[old.name]
        return {old.name}

    def _win(self, name: _Name, edits: Edits) -> set[str]:
        """Who serves *name* now."""
        claims = self._claims.get(name)
        if not claims:
            return set()
        new = claims[0].wish.certificate
        self._winners[name] = new
        edits.served(Served(new.name, name[0], new.origin), there=True)
        self._users.setdefault(new.name, {})[name] = new
        return {new.name}

    def _conflicts(self, name: _Name) -> Iterator[Diagnostic]:
        claims = self._claims.get(name, [])
        for loser in claims[1:]:
            if loser.wish.certificate.name != claims[0].wish.certificate.name:
                owner = claims[0].fragment
                since = f" since {owner.age[1]}" if owner.age[1] else ""
                text = f"the certificate of host {name[0]} is that of {owner.ref}{since}"
                ref, where = loser.fragment.ref, loser.wish.where
                yield Diagnostic(ref, Why.CONFLICT, where, f"{text}; ignored here", Level.WARNING)


def _name(wish: Wish) -> _Name:
    return wish.host, wish.algorithm
