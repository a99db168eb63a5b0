"""An in-memory HAProxy behind the Protocols of `haproxy.apply`.

It obeys as a real one would: a plan's operations change what it runs, a reload loads what was
published. It can be told to refuse, to be busy and to be gone. It has no listeners: whether
requests arrive is a question for a real HAProxy.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from attrs import define, evolve, field

from haproxy.commands import lines
from haproxy.effects import after
from haproxy.errors import (
    ConfigRefused,
    FilesFailed,
    InvalidValue,
    ProcessChanged,
    Unreachable,
)
from haproxy.model import Backend, Certificate, Config, CrtList, Map, Row, Served, Server, State
from haproxy.ops import (
    AddBackend,
    AddCertificate,
    AddRow,
    AddServed,
    AddServer,
    Batch,
    DelBackend,
    DelCertificate,
    DelRow,
    DelServed,
    DelServer,
    Op,
    ReplaceMap,
    Result,
    SetCertificate,
    SetRow,
)
from haproxy.outline import outline
from haproxy.protocol import name_of
from haproxy.render import CONFIG_FILE, render
from haproxy.tables import Identity
from haproxy.verdicts import Status

UNKNOWN_MAP = "Unknown map identifier. Please use #<id> or <file>."
NO_EDIT = "Can't edit the crt-list:"
IN_USE = "in use, can't be deleted!"
CLASH = "name is already used by other proxy"


@define(eq=False)
class FakeHAProxy:
    """`Files`, `Process` and `Runtime` in one.

    config: the backends with their servers, and the maps, that run.

    refuse: says, for the bytes of ``haproxy.cfg`` and maps or for an operation, why it is refused;
    empty when it is not. busy: servers, as ``backend/name``, that still have connections.
    log: what it was told, in order. version: which HAProxy it claims to be. retired: what the
    workers before this one ran last, by pid. disabled: servers, as ``backend/name``, that its
    configuration says are. lock: held while it changes, for its voice
    (`haproxy.testing.FakeSocket`) has a thread of its own.
    """

    refuse: Callable[[Mapping[str, bytes] | Op], str] = lambda _: ""
    busy: set[str] = field(factory=set)
    config: Config = field(factory=Config)
    worker: int = 0
    reloads: int = 0
    published: Mapping[str, bytes] = field(factory=dict, repr=False)
    log: list[str] = field(factory=list)
    version: str = "2.6.12"
    description: str = ""
    disabled: set[str] = field(factory=set, init=False)
    retired: dict[int, Config] = field(factory=dict, init=False, repr=False)
    lock: threading.RLock = field(factory=threading.RLock, init=False, repr=False)
    _before: Mapping[str, bytes] = field(factory=dict, init=False, repr=False)
    _last: int = field(default=0, init=False)  # worker; no two have the same pid

    @classmethod
    def serving(cls, config: Config, version: str = "2.6.12") -> Self:
        """One that was started on *config*."""
        haproxy = cls(version=version)
        haproxy.publish(render(config).files)
        haproxy.start()
        return haproxy

    def publish(self, files: Mapping[str, bytes]) -> None:
        if alert := self.refuse(files):
            raise ConfigRefused((alert,))
        self._before, self.published = self.published, dict(files)
        self.log.append("publish")

    def rollback(self) -> None:
        self.published = self._before
        self.log.append("rollback")

    def tidy(self) -> None:
        self._before = self.published

    def current(self, name: str) -> bytes:
        if name not in self.published:
            raise FilesFailed(name, "no such file")
        return self.published[name]

    def adopt(self) -> int | None:
        return self.worker or None

    def start(self) -> int:
        self.log.append("start")
        return self._fork()

    def reload(self) -> int:
        self.reloads += 1
        self.log.append("reload")
        return self._fork()

    def alive(self) -> bool:
        return self.worker > 0

    def stop(self, grace_s: float) -> None:  # noqa: ARG002  the Protocol's
        self._last, self.worker = max(self._last, self.worker), 0
        self.log.append("stop")

    def pid(self) -> int:
        if not self.worker:
            raise Unreachable("fake", "nobody listens")
        return self.worker

    def identity(self) -> Identity:
        names = frozenset(self.config.backends)
        return Identity(self.pid(), self.version, self.description, names)

    def run(self, ops: Sequence[Op], pid: int) -> Batch:
        if self.pid() != pid:
            raise ProcessChanged(pid, self.worker)
        with self.lock:
            results = tuple(self._one(op) for op in ops)
        return Batch(pid, results, len(ops))

    def read(self, known: Config, pid: int) -> Config:
        if self.pid() != pid:
            raise ProcessChanged(pid, self.worker)
        servers = {name: one.servers for name, one in self.config.backends.items()}
        rows = {name: one.rows for name, one in self.config.maps.items()}
        return evolve(
            known,
            backends={
                n: evolve(b, servers=servers[n]) for n, b in known.backends.items() if n in servers
            },
            maps={n: evolve(m, rows=rows[n]) for n, m in known.maps.items() if n in rows},
            certificates=self.config.certificates,
            crt_lists=self.config.crt_lists,
        )

    def restart(self) -> int:
        """Another worker on the published files, that nobody here asked for. Returns its pid."""
        return self._fork()

    def _fork(self) -> int:
        with self.lock:
            self.retired[self.worker] = self.config
            self._last = self.worker = max(self._last, self.worker) + 1
            self.config = _loaded(self.published)
            self.disabled = {
                f"{name}/{server.name}"
                for name, backend in self.config.backends.items()
                for server in backend.servers.values()
                if server.state is State.MAINT
            }
            self.description = outline(self.published.get(CONFIG_FILE, b"").decode()).description
            return self.worker

    def _one(self, op: Op) -> Result:
        try:
            self.log += map(name_of, lines(op))
        except InvalidValue as error:
            return Result(op, "refused", str(error))
        return self.carry_out(op)

    def carry_out(self, op: Op) -> Result:
        """What becomes of *op*; without words when it was done and changed something."""
        if reply := self.refuse(op):
            return Result(op, "refused", reply)
        status, reply = self.judge(op)
        if not reply:
            self.config = after(self.config, (op,))
            if isinstance(op, DelServer):
                self.disabled.discard(f"{op.backend}/{op.server}")
        return Result(op, status, reply)

    def judge(self, op: Op) -> tuple[Status, str]:
        """Whether *op* can be carried out on what runs; without HAProxy's words when it can."""
        match op:
            case AddRow(name) | SetRow(name) | DelRow(name) | ReplaceMap(name):
                return self._editable(op)
            case AddBackend(name):
                known = name in self.config.backends
                taken = f"Error during backend creation : {CLASH} 'backend {name}'."
                return ("refused", taken) if known else ("done", "")
            case AddCertificate() | SetCertificate() | DelServed():
                return "done", ""
            case AddServed(_, line):
                known = line.certificate in self.config.certificates
                missing = f"certificate '{line.certificate}' does not exist!"
                return ("done", "") if known else ("refused", f"{NO_EDIT} {missing}")
            case DelCertificate(name):
                served = (o for one in self.config.crt_lists.values() for o in one.served.values())
                used = any(line.certificate == name for line in served) or any(
                    one.default == name for one in self.config.crt_lists.values()
                )
                busy = f"Can't remove the certificate: certificate '{name}' {IN_USE}"
                return ("busy", busy) if used else ("done", "")
        backend = self.config.backends.get(op.backend)
        if backend is None:
            gone = isinstance(op, DelServer | DelBackend)
            return "done" if gone else "refused", "No such backend."
        if isinstance(op, DelBackend):
            busy = "Only a backend without server can be deleted."
            return ("busy", busy) if backend.servers else ("done", "")
        if isinstance(op, AddServer):
            return _addable(backend, op.server)
        server = backend.servers.get(op.server)
        if server is None:
            return "done" if isinstance(op, DelServer) else "refused", "No such server."
        return self._deletable(op, server) if isinstance(op, DelServer) else ("done", "")

    def _editable(self, op: AddRow | SetRow | DelRow | ReplaceMap) -> tuple[Status, str]:
        if op.map not in self.config.maps:
            return "refused", UNKNOWN_MAP
        if isinstance(op, SetRow | DelRow) and op.key not in self.config.maps[op.map].rows:
            gone = isinstance(op, DelRow)
            return ("done", "Key not found.") if gone else ("refused", "entry not found.")
        return "done", ""

    def _deletable(self, op: DelServer, server: Server) -> tuple[Status, str]:
        if server.state is not State.MAINT:
            return "refused", "Only servers in maintenance mode can be deleted."
        if f"{op.backend}/{op.server}" in self.busy:
            return "busy", "Server still has connections attached to it, cannot remove it."
        return "done", ""


def _addable(backend: Backend, server: Server) -> tuple[Status, str]:
    if server.name in backend.servers:
        return "refused", "Already exists a server with the same name in backend."
    for other in backend.servers.values():
        if other.id == server.id:
            where = f"at {CONFIG_FILE}:1 ('server {other.name}')"
            return "refused", f"'id' : custom id {server.id} already used {where}."
    return "done", ""


def _loaded(files: Mapping[str, bytes]) -> Config:
    """What the *files* say of backends, servers and maps, read as HAProxy reads them."""
    backends: dict[str, Backend] = {}
    lists: dict[str, CrtList] = {}
    for line in files.get(CONFIG_FILE, b"").decode().split("\n"):
        match shlex.split(line):
            case ["backend", name, "from", profile]:
                backend = backends[name] = Backend(name, profile, {})
            case ["server", name, where, "id", number, "weight", weight, *rest]:
                address, _, port = where.rpartition(":")
                state = State.MAINT if "disabled" in rest else State.READY
                values = (address.strip("[]"), int(port), int(weight), state, int(number))
                servers = {**backend.servers, name: Server(name, *values)}
                options = tuple(word for word in rest if word != "disabled")
                changed = evolve(backend, servers=servers, server_options=options)
                backend = backends[backend.name] = changed
            case ["bind", *words] if "crt-list" in words:
                crt_list = words[words.index("crt-list") + 1]
                lists[crt_list] = _crt_list(crt_list, files[crt_list].decode())
    texts = {n: data.decode() for n, data in files.items() if n != CONFIG_FILE and n not in lists}
    pems = {name: Certificate.of(name, text) for name, text in texts.items() if "-----" in text}
    maps = {name: _map(name, text) for name, text in texts.items() if name not in pems}
    return Config(backends=backends, maps=maps, certificates=pems, crt_lists=lists)


def _crt_list(name: str, text: str) -> CrtList:
    default, *rows = (row.split() for row in text.splitlines())
    served = (Served(*row) for row in rows)
    return CrtList(name, default[0], {one.key: one for one in served})


def _map(name: str, text: str) -> Map:
    pairs = (row.partition(" ") for row in text.split("\n") if row)
    return Map(name, {key: Row(value) for key, _, value in pairs})
