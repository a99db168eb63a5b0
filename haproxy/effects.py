"""What operations do to a configuration: the model of HAProxy that a plan relies on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve

from haproxy.model import Backend, Config, Map, Row, Server, State
from haproxy.ops import (
    AddBackend,
    AddRow,
    AddServer,
    DelBackend,
    DelRow,
    DelServer,
    Op,
    ReplaceMap,
    SetAddress,
    SetRow,
    SetState,
    SetWeight,
)


def after(config: Config, ops: Iterable[Op]) -> Config:
    """What runs once *ops* were carried out on *config*. Each container is copied at most once."""
    backends = dict(config.backends)
    servers: dict[str, dict[str, Server]] = {}
    rows: dict[str, dict[str, Row]] = {}

    def members(backend: str) -> dict[str, Server]:
        if backend not in servers:
            servers[backend] = dict(backends[backend].servers)
        return servers[backend]

    def table(name: str) -> dict[str, Row]:
        if name not in rows:
            rows[name] = dict(config.maps[name].rows)
        return rows[name]

    for op in ops:
        match op:
            case AddServer(backend, server):
                members(backend)[server.name] = server
            case DelServer(backend, name):
                members(backend).pop(name, None)
            case SetAddress(backend, name, address, port):
                _set(members(backend), name, address=address, port=port)
            case SetWeight(backend, name, weight):
                _set(members(backend), name, weight=weight)
            case SetState(backend, name, state):
                _set(members(backend), name, state=state)
            case AddRow(name, key, value) | SetRow(name, key, value):
                table(name)[key] = Row(value)
            case DelRow(name, key):
                table(name).pop(key, None)
            case ReplaceMap(name, new):
                rows[name] = dict(new)
            case AddBackend(name, profile):
                backends[name] = Backend(name, profile)
            case DelBackend(name):
                backends.pop(name, None)
                servers.pop(name, None)
    backends |= {name: evolve(backends[name], servers=new) for name, new in servers.items()}
    maps: dict[str, Map] = {name: evolve(config.maps[name], rows=new) for name, new in rows.items()}
    return evolve(config, backends=backends, maps={**config.maps, **maps})


def loaded(config: Config) -> Config:
    """What runs once HAProxy loaded the files of *config*.

    Only draining servers differ: the configuration can say no more than weight 0.
    """
    draining = {
        name: evolve(backend, servers={n: _loaded(s) for n, s in backend.servers.items()})
        for name, backend in config.backends.items()
        if any(server.state is State.DRAIN for server in backend.servers.values())
    }
    return evolve(config, backends={**config.backends, **draining}) if draining else config


def _loaded(server: Server) -> Server:
    return evolve(server, state=State.READY, weight=0) if server.state is State.DRAIN else server


def _set(servers: dict[str, Server], name: str, **fields: Any) -> None:
    if name in servers:
        servers[name] = evolve(servers[name], **fields)
