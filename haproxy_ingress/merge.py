"""Fragments and members as one `Config`; conflicts are judged here, the oldest Ingress wins.

Incremental: an update costs what differs, not what is there. The result is the same as of a merge
from scratch, in whatever order things came; a property test holds the two equal.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from attrs import define, evolve, field, frozen

from haproxy.model import (
    Backend,
    Bind,
    Config,
    Frontend,
    Global,
    Line,
    Map,
    Resolvers,
    Row,
    Server,
    lines,
)
from haproxy.plan import Changed
from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why
from haproxy_ingress.members import Members
from haproxy_ingress.memo import Redone
from haproxy_ingress.naming import NOT_FOUND, UNAVAILABLE
from haproxy_ingress.routing import (
    ANY_HOST,
    EXTERNAL,
    HOSTS,
    PLAIN_FLAG,
    REGEX,
    REGEX_FLAG,
    ROUTES,
    Kind,
    chain,
)
from haproxy_ingress.translate import (
    DEFAULT_PROFILE,
    EXTERNAL_PROFILE,
    Fragment,
    Need,
    Route,
    Settings,
)

T = TypeVar("T")

_MAPS = {  # a host is known last, when its routes are there
    EXTERNAL: Map(EXTERNAL),
    ROUTES: Map(ROUTES),
    REGEX: Map(REGEX, ordered=True),
    HOSTS: Map(HOSTS),
}


@frozen
class _Claim:
    """One Ingress's wish for a row. Defaults yield to any path, then age decides."""

    route: Route
    fragment: Fragment
    number: int

    @property
    def rank(self) -> tuple[Kind, tuple[bool, str, str, str], int]:
        return max(self.route.kind, Kind.PREFIX), self.fragment.age, self.number


@define
class Merge:
    """All fragments as one configuration.

    config: the result so far. conflicts: by row. news: the conflicts that are new; for whoever
    reads them to clear.
    """

    config: Config
    conflicts: dict[str, tuple[Diagnostic, ...]] = field(factory=dict, init=False)
    news: list[Diagnostic] = field(factory=list, init=False)
    _claims: dict[str, list[_Claim]] = field(factory=dict, init=False)
    _rows: Counter[tuple[str, bool]] = field(factory=Counter, init=False)
    _needs: dict[str, dict[Ref, Need]] = field(factory=dict, init=False)
    _servers: dict[Need, Mapping[str, Server]] = field(factory=dict, init=False)

    def update(
        self,
        fragments: Mapping[Ref, Redone[Fragment]],
        members: Mapping[Need, Redone[Members]],
    ) -> Changed:
        """Take in what differs. Returns where `config` may differ from before."""
        edits = _Edits(self.config)
        hosts: dict[str, str] = {}
        for redone in fragments.values():
            hosts |= self._withdraw(redone.before) | self._claim(redone.after)
        backends: dict[str, set[str]] = {host: set() for host in hosts.values()}
        for key, host in hosts.items():
            backends[host] |= self._judge(key, host, edits)
        for host, needed in backends.items():
            self._host(host, needed, edits)
        names = {need.name for need in members}
        for ref, redone in fragments.items():
            names |= self._need(ref, redone)
        for need, redone_members in members.items():
            if redone_members.after is None:
                self._servers.pop(need, None)
            else:
                self._servers[need] = redone_members.after.servers
        for name in names:
            self._backend(name, edits)
        self.config, changed = edits.done()
        return changed

    def _withdraw(self, fragment: Fragment | None) -> dict[str, str]:
        routes = fragment.routes if fragment else ()
        for route in routes:
            kept = [c for c in self._claims.pop(route.key, ()) if c.fragment is not fragment]
            if kept:
                self._claims[route.key] = kept
        return {route.key: route.host for route in routes}

    def _claim(self, fragment: Fragment | None) -> dict[str, str]:
        if fragment is None:
            return {}
        for number, route in enumerate(fragment.routes):
            insort(
                self._claims.setdefault(route.key, []),
                _Claim(route, fragment, number),
                key=lambda claim: claim.rank,
            )
        return {route.key: route.host for route in fragment.routes}

    def _judge(self, key: str, host: str, edits: _Edits) -> set[str]:
        """The row of *key*. Returns the backend it needs."""
        claims = self._claims.get(key, [])
        winner = claims[0] if claims else None
        before = self.conflicts.pop(key, ())
        regex = key.startswith("^")
        there = edits.row(REGEX if regex else ROUTES, key, _row(winner))
        if winner:
            rivals = (one for one in claims[1:] if one.rank[0] == winner.rank[0])
            if found := tuple(_conflict(winner, rival) for rival in rivals):
                self.conflicts[key] = found
                self.news += (one for one in found if one not in before)
        self._rows[host, regex] += bool(winner) - there
        return {winner.route.backend} if winner else set()

    def _host(self, host: str, needed: set[str], edits: _Edits) -> None:
        """Whether *host* is known, and has regular expressions.

        A new one needs all its backends: until it is whole, a wildcard or no host serves it.
        """
        flag = REGEX_FLAG if self._rows[host, True] else PLAIN_FLAG
        known = self._rows[host, True] or self._rows[host, False]
        row = Row(flag, needs=tuple(sorted(needed))) if known else None
        edits.row(HOSTS, host or ANY_HOST, row)

    def _need(self, ref: Ref, redone: Redone[Fragment]) -> set[str]:
        before = redone.before.needs if redone.before else ()
        now = redone.after.needs if redone.after else ()
        for need in before:
            self._needs[need.name].pop(ref, None)
        for need in now:
            self._needs.setdefault(need.name, {})[ref] = need
        return {need.name for need in (*before, *now)}

    def _backend(self, name: str, edits: _Edits) -> None:
        if users := self._needs.get(name):
            # They differ only where one stands for what a Service was before it changed.
            need = next(reversed(users.values()))
            origins = tuple(sorted(users))
            servers = self._servers.get(need, {})
            edits.backend(name, Backend(name, need.profile.name, servers, origins=origins))
            external = Row(need.external, origins[0]) if need.external else None
            edits.row(EXTERNAL, name, external)
        else:
            self._needs.pop(name, None)
            edits.backend(name, None)
            edits.row(EXTERNAL, name, None)


@define
class _Edits:
    """A new configuration in the making; containers are copied when first touched."""

    _config: Config
    _backends: dict[str, Backend | None] = field(factory=dict, init=False)
    _rows: dict[str, dict[str, Row | None]] = field(factory=dict, init=False)

    def backend(self, name: str, new: Backend | None) -> None:
        if self._config.backends.get(name) != new:
            self._backends[name] = new

    def row(self, table: str, key: str, new: Row | None) -> bool:
        """Set or remove a row. Returns whether it was there before this update."""
        old = self._config.maps[table].rows.get(key)
        edits = self._rows.setdefault(table, {})
        if old != new:
            edits[key] = new
        else:
            edits.pop(key, None)
        return old is not None

    def done(self) -> tuple[Config, Changed]:
        rows = {name: edits for name, edits in self._rows.items() if edits}
        changed = Changed(
            frozenset(self._backends), {name: frozenset(edits) for name, edits in rows.items()}
        )
        if not changed:
            return self._config, changed
        maps = {name: _edited(self._config.maps[name], edits) for name, edits in rows.items()}
        backends = _with(self._config.backends, self._backends)
        config = evolve(self._config, backends=backends, maps={**self._config.maps, **maps})
        return config, changed


def base(settings: Settings) -> Config:
    """The structure, which no object changes: listeners, the fixed chain, fixed backends."""
    profiles = {profile.name: profile for profile in (DEFAULT_PROFILE, EXTERNAL_PROFILE)}
    binds = tuple(Bind(address, settings.http_port) for address in settings.bind_addresses)
    answers = (
        Backend(NOT_FOUND, DEFAULT_PROFILE.name, lines=_answer(404, "default backend - 404")),
        Backend(UNAVAILABLE, DEFAULT_PROFILE.name, lines=_answer(503, "no such service - 503")),
    )
    return Config(
        process=Global(runtime_socket=settings.runtime_socket, experimental=True),
        resolvers=(Resolvers("dns", settings.nameservers),),
        profiles=profiles,
        frontends=(Frontend("http", binds, chain(), NOT_FOUND),),
        backends={backend.name: backend for backend in answers},
        maps=_MAPS,
    )


def _answer(status: int, body: str) -> tuple[Line, ...]:
    return lines(f'http-request return status {status} content-type text/plain string "{body}"')


def _row(claim: _Claim | None) -> Row | None:
    if claim is None:
        return None
    backend = claim.route.backend
    return Row(backend, claim.fragment.ref, needs=(backend,))


def _conflict(winner: _Claim, loser: _Claim) -> Diagnostic:
    owner = winner.fragment
    route = loser.route
    what = f"host {route.host or '*'}, {route.kind.name.lower()} path {route.path or '/'}"
    since = f" since {owner.age[1]}" if owner.age[1] else ""
    return Diagnostic(
        loser.fragment.ref,
        Why.CONFLICT,
        route.where,
        f"{what} belongs to {owner.ref}{since}; ignored here",
        Level.WARNING,
    )


def _edited(of: Map, edits: Mapping[str, Row | None]) -> Map:
    rows = _with(of.rows, edits)
    if of.ordered:  # longest text first
        rows = dict(sorted(rows.items(), key=lambda row: (-len(row[0]), row[0])))
    return evolve(of, rows=rows)


def _with(old: Mapping[str, T], edits: Mapping[str, T | None]) -> dict[str, T]:
    new = dict(old)
    for key, value in edits.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = value
    return new
