"""Fragments and members as one `Config`; conflicts are judged here, the oldest Ingress wins.

Incremental: an update costs what differs, not what is there. The result is the same as of a merge
from scratch, in whatever order things came; a property test holds the two equal.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from attrs import define, field, frozen

from haproxy.model import (
    Backend,
    Bind,
    Certificate,
    Config,
    CrtList,
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
from haproxy_ingress import headers
from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why
from haproxy_ingress.edits import Edits
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
    TLS_FLAG,
    Kind,
    chain,
    switch,
    to_https,
)
from haproxy_ingress.server_names import ServerNames
from haproxy_ingress.tls import CRT_LIST, DEFAULT_CERTIFICATE
from haproxy_ingress.translate import (
    DEFAULT_PROFILE,
    EXTERNAL_PROFILE,
    Fragment,
    Need,
    Route,
    Settings,
)

_IN_ORDER = attrgetter("kind", "namespace", "name")  # of references; theirs takes 50 times as long
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
    _names: ServerNames = field(factory=ServerNames, init=False)
    _secure: Counter[str] = field(factory=Counter, init=False)
    _fallback: Certificate | None = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._fallback = self.config.certificates.get(DEFAULT_CERTIFICATE)

    def all_conflicts(self) -> Iterable[Diagnostic]:
        """Every conflict there is, of routes and of certificates."""
        return (
            one
            for found in (*self.conflicts.values(), *self._names.conflicts.values())
            for one in found
        )

    def update(
        self,
        fragments: Mapping[Ref, Redone[Fragment]],
        members: Mapping[Need, Redone[Members]],
    ) -> Changed:
        """Take in what differs. Returns where `config` may differ from before."""
        edits = Edits(self.config)
        hosts: dict[str, str] = {}
        for redone in fragments.values():
            hosts |= self._withdraw(redone.before) | self._claim(redone.after)
        self.news += self._names.update(fragments.values(), edits)
        for redone in fragments.values():
            self._default_certificate(redone, edits)
        secured = self._secured(fragments.values())
        backends: dict[str, set[str]] = {host: set() for host in (*hosts.values(), *secured)}
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

    def _default_certificate(self, redone: Redone[Fragment], edits: Edits) -> None:
        before = redone.before and redone.before.default_certificate
        after = redone.after and redone.after.default_certificate
        if before or after:
            edits.certificate(DEFAULT_CERTIFICATE, after or self._fallback)

    def _secured(self, fragments: Iterable[Redone[Fragment]]) -> set[str]:
        """The hosts that may have become secure, or may be no longer."""
        hosts: set[str] = set()
        for redone in fragments:
            before = redone.before.security.hosts if redone.before else frozenset()
            after = redone.after.security.hosts if redone.after else frozenset()
            self._secure.subtract(before - after)
            self._secure.update(after - before)
            hosts |= before ^ after
        return hosts

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

    def _judge(self, key: str, host: str, edits: Edits) -> set[str]:
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

    def _host(self, host: str, needed: set[str], edits: Edits) -> None:
        """Whether *host* is known, has regular expressions, and is secure.

        A new one needs all its backends: until it is whole, a wildcard or no host serves it.
        """
        flags = REGEX_FLAG if self._rows[host, True] else ""
        flags += TLS_FLAG if self._secure[host] else ""
        known = self._rows[host, True] or self._rows[host, False]
        row = Row(flags or PLAIN_FLAG, needs=tuple(sorted(needed))) if known else None
        edits.row(HOSTS, host or ANY_HOST, row)

    def _need(self, ref: Ref, redone: Redone[Fragment]) -> set[str]:
        before = redone.before.needs if redone.before else ()
        now = redone.after.needs if redone.after else ()
        for need in before:
            self._needs[need.name].pop(ref, None)
        for need in now:
            self._needs.setdefault(need.name, {})[ref] = need
        return {need.name for need in (*before, *now)}

    def _backend(self, name: str, edits: Edits) -> None:
        if users := self._needs.get(name):
            # They differ only where one stands for what a Service was before it changed.
            need = next(reversed(users.values()))
            origins = tuple(sorted(users, key=_IN_ORDER))
            servers = self._servers.get(need, {})
            profile, options = need.profile.name, need.server_options
            backend = Backend(name, profile, servers, server_options=options, origins=origins)
            edits.backend(name, backend)
            external = Row(need.external, origins[0]) if need.external else None
            edits.row(EXTERNAL, name, external)
        else:
            self._needs.pop(name, None)
            edits.backend(name, None)
            edits.row(EXTERNAL, name, None)


def base(settings: Settings) -> Config:
    """The structure, which no object changes: listeners, the fixed chain, fixed backends."""
    profiles = {profile.name: profile for profile in (DEFAULT_PROFILE, EXTERNAL_PROFILE)}
    answers = (
        Backend(NOT_FOUND, DEFAULT_PROFILE.name, lines=_answer(404, "default backend - 404")),
        Backend(UNAVAILABLE, DEFAULT_PROFILE.name, lines=_answer(503, "no such service - 503")),
    )
    secure = to_https(settings.public_https_port) if settings.https_port else ()
    rules = headers.chain() + chain() + secure + switch()
    default = settings.default_certificate if settings.https_port else None
    return Config(
        process=Global(runtime_socket=settings.runtime_socket, experimental=True),
        resolvers=(Resolvers("dns", settings.nameservers),),
        profiles=profiles,
        frontends=(Frontend("http", tuple(_binds(settings)), rules, NOT_FOUND),),
        backends={backend.name: backend for backend in answers},
        maps={headers.TRUSTED: headers.trusted_map(settings.trusted_proxies), **_MAPS},
        certificates={DEFAULT_CERTIFICATE: default} if default else {},
        crt_lists={CRT_LIST: CrtList(CRT_LIST, DEFAULT_CERTIFICATE)} if default else {},
    )


def _binds(settings: Settings) -> Iterator[Bind]:
    tls = ("ssl", "crt-list", CRT_LIST, "alpn", "h2,http/1.1", "ssl-min-ver", "TLSv1.2")
    proxy = ("accept-proxy",) if settings.proxy_protocol else ()
    for address in settings.bind_addresses:
        if settings.http_port:
            yield Bind(address, settings.http_port, proxy)
        if settings.https_port:
            yield Bind(address, settings.https_port, proxy + tls)


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
