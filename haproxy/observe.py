"""What a worker says it has, as a `Config`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from haproxy.model import Backend, Certificate, Config, CrtList, Map, Row, Served, Server, State
from haproxy.tables import MapRow, ServerState


@frozen
class Seen:
    """What was read back: servers, rows by map, SHA-1 by certificate, lines by crt-list."""

    servers: Iterable[ServerState] = ()
    rows: Mapping[str, Iterable[MapRow]] = field(factory=dict)
    fingerprints: Mapping[str, str] = field(factory=dict)
    lines: Mapping[str, Iterable[tuple[str, str]]] = field(factory=dict)


def observed(known: Config, seen: Seen) -> Config:
    """*known* with what was *seen* to run.

    Backends, maps and crt-lists that *known* does not have are left out: they are none of ours. A
    certificate is taken for the one that *known* has of its name if their fingerprints agree.
    """
    found: dict[str, dict[str, Server]] = {name: {} for name in known.backends}
    for server in seen.servers:
        if server.backend in found and server.address and server.port:
            found[server.backend][server.name] = _server(server)
    backends = {name: _backend(known.backends[name], found[name]) for name in found}
    maps = {name: _map(known.maps[name], read) for name, read in seen.rows.items()}
    lists = {name: _crt_list(known.crt_lists[name], read) for name, read in seen.lines.items()}
    return evolve(
        known,
        backends=backends,
        maps={**known.maps, **maps},
        certificates={
            name: _certificate(name, found, known.certificates.get(name))
            for name, found in seen.fingerprints.items()
        },
        crt_lists={**known.crt_lists, **lists},
    )


def _backend(known: Backend, servers: dict[str, Server]) -> Backend:
    return known if known.servers == servers else evolve(known, servers=servers)


def _map(known: Map, rows: Iterable[MapRow]) -> Map:
    found = {row.key: Row(row.value) for row in rows}
    return known if known.rows == found else evolve(known, rows=found)


def _crt_list(known: CrtList, read: Iterable[tuple[str, str]]) -> CrtList:
    served = {one.key: one for name, sni in read for one in (Served(name, sni),)}
    return known if known.served == served else evolve(known, served=served)


def _certificate(name: str, fingerprint: str, known: Certificate | None) -> Certificate:
    if known and known.fingerprint == fingerprint:
        return known
    return Certificate(name, "", fingerprint)


def _server(row: ServerState) -> Server:
    return Server(row.name, row.address, row.port, row.weight, State(row.state), row.id)
