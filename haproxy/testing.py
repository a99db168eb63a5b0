"""An in-memory HAProxy behind the Protocols of `haproxy.apply`, for tests of what drives one.

It obeys as a real one would: a plan's operations change what it runs, a reload loads what was
published. It can be told to refuse, to be busy and to be gone. It has no listeners: whether
requests arrive is a question for a real HAProxy.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, field

from haproxy.commands import lines
from haproxy.effects import after
from haproxy.errors import ConfigRefused, InvalidValue, ProcessChanged, Unreachable
from haproxy.model import Backend, Config, Map, Row, Server, State
from haproxy.ops import AddServer, Batch, DelServer, Op, Result
from haproxy.render import CONFIG_FILE


@define(eq=False)
class FakeHAProxy:
    """`Files`, `Process` and `Runtime` in one.

    config: the backends with their servers, and the maps, that run.

    refuse: says, for the bytes of ``haproxy.cfg`` and maps or for an operation, why it is refused;
    empty when it is not. busy: servers, as ``backend/name``, that still have connections.
    log: what it was told, in order.
    """

    refuse: Callable[[Mapping[str, bytes] | Op], str] = lambda _: ""
    busy: set[str] = field(factory=set)
    config: Config = field(factory=Config)
    worker: int = 0
    reloads: int = 0
    published: Mapping[str, bytes] = field(factory=dict)
    log: list[str] = field(factory=list)
    _before: Mapping[str, bytes] = field(factory=dict, init=False)

    def publish(self, files: Mapping[str, bytes]) -> None:
        if alert := self.refuse(files):
            raise ConfigRefused((alert,))
        self._before, self.published = self.published, dict(files)
        self.log.append("publish")

    def rollback(self) -> None:
        self.published = self._before
        self.log.append("rollback")

    def start(self) -> int:
        self.worker += 1
        self.config = _loaded(self.published)
        self.log.append("start")
        return self.worker

    def reload(self) -> int:
        self.worker += 1
        self.reloads += 1
        self.config = _loaded(self.published)
        self.log.append("reload")
        return self.worker

    def alive(self) -> bool:
        return self.worker > 0

    def stop(self, grace_s: float) -> None:  # noqa: ARG002  the Protocol's
        self.worker = 0
        self.log.append("stop")

    def pid(self) -> int:
        if not self.worker:
            raise Unreachable("fake", "nobody listens")
        return self.worker

    def run(self, ops: Sequence[Op], pid: int) -> Batch:
        if self.pid() != pid:
            raise ProcessChanged(pid, self.worker)
        results = tuple(self._one(op) for op in ops)
        return Batch(pid, results, len(ops))

    def read(self, known: Config, pid: int) -> Config:
        if self.pid() != pid:
            raise ProcessChanged(pid, self.worker)
        servers = {name: one.servers for name, one in self.config.backends.items()}
        rows = {name: one.rows for name, one in self.config.maps.items()}
        return evolve(
            known,
            backends={n: evolve(b, servers=servers[n]) for n, b in known.backends.items()},
            maps={n: evolve(m, rows=rows[n]) for n, m in known.maps.items()},
        )

    def _one(self, op: Op) -> Result:
        try:
            self.log += lines(op)
        except InvalidValue as error:
            return Result(op, "refused", str(error))
        if reply := self.refuse(op):
            return Result(op, "refused", reply)
        if isinstance(op, DelServer) and f"{op.backend}/{op.server}" in self.busy:
            return Result(op, "busy", "Server still has connections attached to it.")
        if isinstance(op, AddServer) and op.backend not in self.config.backends:
            return Result(op, "refused", "No such backend.")
        self.config = after(self.config, (op,))
        return Result(op)


def _loaded(files: Mapping[str, bytes]) -> Config:
    """What the *files* say of backends, servers and maps, read as HAProxy reads them."""
    backends: dict[str, Backend] = {}
    for line in files.get(CONFIG_FILE, b"").decode().splitlines():
        match shlex.split(line):
            case ["backend", name, "from", profile]:
                backend = backends[name] = Backend(name, profile, {})
            case ["server", name, where, "id", number, "weight", weight, *rest]:
                address, _, port = where.rpartition(":")
                state = State.MAINT if "disabled" in rest else State.READY
                values = (address.strip("[]"), int(port), int(weight), state, int(number))
                servers = {**backend.servers, name: Server(name, *values)}
                backend = backends[backend.name] = evolve(backend, servers=servers)
    maps = {
        name: Map(name, {row.split(" ", 1)[0]: Row(row.split(" ", 1)[1]) for row in rows})
        for name, data in files.items()
        if name != CONFIG_FILE and (rows := data.decode().splitlines()) is not None
    }
    return Config(backends=backends, maps=maps)
