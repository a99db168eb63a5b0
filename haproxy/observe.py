"""What a worker says it has, as a `Config`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve

from haproxy.model import Backend, Config, Map, Row, Server, State
from haproxy.tables import MapRow, ServerState


def observed(
    known: Config, servers: Iterable[ServerState], rows: Mapping[str, Iterable[MapRow]]
) -> Config:
    """*known* with the *servers* and the *rows* (by map) that were read back.

    Backends and maps that *known* does not have are left out: they are none of ours.
    """
    found: dict[str, dict[str, Server]] = {name: {} for name in known.backends}
    for server in servers:
        if server.backend in found and server.address and server.port:
            found[server.backend][server.name] = _server(server)
    backends = {name: _backend(known.backends[name], found[name]) for name in found}
    maps = {name: _map(known.maps[name], read) for name, read in rows.items()}
    return evolve(known, backends=backends, maps={**known.maps, **maps})


def _backend(known: Backend, servers: dict[str, Server]) -> Backend:
    return known if known.servers == servers else evolve(known, servers=servers)


def _map(known: Map, rows: Iterable[MapRow]) -> Map:
    found = {row.key: Row(row.value) for row in rows}
    return known if known.rows == found else evolve(known, rows=found)


def _server(row: ServerState) -> Server:
    return Server(row.name, row.address, row.port, row.weight, State(row.state), row.id)
