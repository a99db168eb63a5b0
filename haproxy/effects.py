"""What operations do to a configuration: the model of HAProxy that a plan relies on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import define, evolve, field

from haproxy.model import Backend, Certificate, Config, Row, Served, Server, State
from haproxy.ops import (
    AddBackend,
    AddCertificate,
    AddRow,
    AddServed,
    AddServer,
    DelBackend,
    DelCertificate,
    DelRow,
    DelServed,
    DelServer,
    Op,
    ReplaceMap,
    SetAddress,
    SetCertificate,
    SetRow,
    SetState,
    SetWeight,
)


def after(config: Config, ops: Iterable[Op]) -> Config:
    """What runs once *ops* were carried out on *config*. Each container is copied at most once."""
    edit = _Edit(config)
    for op in ops:
        edit.do(op)
    return edit.done()


@define
class _Edit:
    """A configuration while operations change it; containers are copied when first touched."""

    config: Config
    backends: dict[str, Backend] = field(init=False)
    certificates: dict[str, Certificate] = field(init=False)
    _servers: dict[str, dict[str, Server]] = field(factory=dict, init=False)
    _rows: dict[str, dict[str, Row]] = field(factory=dict, init=False)
    _served: dict[str, dict[str, Served]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.backends = dict(self.config.backends)
        self.certificates = dict(self.config.certificates)

    def do(self, op: Op) -> None:
        match op:
            case AddServer(backend, server):
                self._members(backend)[server.name] = server
            case DelServer(backend, name):
                self._members(backend).pop(name, None)
            case SetAddress(backend, name, address, port):
                self._set(backend, name, address=address, port=port)
            case SetWeight(backend, name, weight):
                self._set(backend, name, weight=weight)
            case SetState(backend, name, state):
                self._set(backend, name, state=state)
            case AddRow(name, key, value) | SetRow(name, key, value):
                self._table(name)[key] = Row(value)
            case DelRow(name, key):
                self._table(name).pop(key, None)
            case ReplaceMap(name, new):
                self._rows[name] = dict(new)
            case AddBackend(name, profile, options):
                self.backends[name] = Backend(name, profile, server_options=options)
            case DelBackend(name):
                self.backends.pop(name, None)
                self._servers.pop(name, None)
            case AddCertificate(certificate) | SetCertificate(certificate):
                self.certificates[certificate.name] = certificate
            case DelCertificate(name):
                self.certificates.pop(name, None)
            case AddServed(name, line):
                self._lines(name)[line.key] = line
            case DelServed(name, line):
                self._lines(name).pop(line.key, None)

    def done(self) -> Config:
        config, backends = self.config, self.backends
        servers = {name: evolve(backends[name], servers=new) for name, new in self._servers.items()}
        maps = {name: evolve(config.maps[name], rows=new) for name, new in self._rows.items()}
        lists = {n: evolve(config.crt_lists[n], served=new) for n, new in self._served.items()}
        return evolve(
            config,
            backends={**backends, **servers},
            maps={**config.maps, **maps},
            certificates=self.certificates,
            crt_lists={**config.crt_lists, **lists},
        )

    def _members(self, backend: str) -> dict[str, Server]:
        if backend not in self._servers:
            self._servers[backend] = dict(self.backends[backend].servers)
        return self._servers[backend]

    def _table(self, name: str) -> dict[str, Row]:
        if name not in self._rows:
            self._rows[name] = dict(self.config.maps[name].rows)
        return self._rows[name]

    def _lines(self, name: str) -> dict[str, Served]:
        if name not in self._served:
            self._served[name] = dict(self.config.crt_lists[name].served)
        return self._served[name]

    def _set(self, backend: str, name: str, **fields: Any) -> None:
        servers = self._members(backend)
        if name in servers:
            servers[name] = evolve(servers[name], **fields)


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
