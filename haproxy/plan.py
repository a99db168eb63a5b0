"""The cheapest safe way from what runs to what should run. Decides, and does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import field, fields, frozen

from haproxy import keyring
from haproxy.capabilities import Capabilities
from haproxy.ids import with_ids
from haproxy.model import Backend, Config, Map, Row, Server, State
from haproxy.ops import (
    AddBackend,
    AddRow,
    AddServer,
    Cause,
    DelBackend,
    DelRow,
    DelServer,
    Op,
    Plan,
    Reason,
    ReplaceMap,
    SetAddress,
    SetRow,
    SetState,
    SetWeight,
    Step,
)

_SERVER_OPTIONS = frozenset({(), ("proto", "h2")})  # those that `add server` was seen to take
_OPENNESS = (State.MAINT, State.DRAIN, State.READY)


@frozen
class Changed:
    """Where two configurations may differ; elsewhere they are known to be the same.

    rows: keys, by map. served: keys, by crt-list. structure: the process, resolvers, frontends or
    profiles may differ.
    """

    backends: frozenset[str] = frozenset()
    rows: Mapping[str, frozenset[str]] = field(factory=dict)
    certificates: frozenset[str] = frozenset()
    served: Mapping[str, frozenset[str]] = field(factory=dict)
    structure: bool = False

    def __or__(self, other: Changed) -> Changed:
        return Changed(
            self.backends | other.backends,
            _joined(self.rows, other.rows),
            self.certificates | other.certificates,
            _joined(self.served, other.served),
            self.structure or other.structure,
        )

    def __bool__(self) -> bool:
        sets = (self.backends, self.certificates, *self.rows.values(), *self.served.values())
        return self.structure or any(sets)


Keys = Mapping[str, frozenset[str]]


def _joined(one: Keys, other: Keys) -> Keys:
    if not one or not other:
        return one or other
    none: frozenset[str] = frozenset()
    names = one.keys() | other.keys()
    return {name: one.get(name, none) | other.get(name, none) for name in names}


def plan(
    running: Config, desired: Config, can: Capabilities, changed: Changed | None = None
) -> Plan:
    """How a HAProxy that *can* gets from *running* to *desired*.

    changed: where they may differ; all is compared when it is not given. Servers in *desired*
    need no id.

    Whatever differs outside the fields that are known to be settable at runtime needs a reload,
    so a field added to the model tomorrow reloads until someone proves that it need not. The
    operations beside a reload are what need not wait for it; a row whose backend only comes with
    the reload waits, and so does the end of a backend: what waits may still refer to it. Backends,
    profiles and maps that nothing asks for any more need no reload.

    What is referred to comes before the reference and outlives it: servers, then rows, then the
    servers that leave, backends last.
    """
    if changed is None:
        changed = _everything(running, desired)
    reload = list(_structure(running, desired)) if changed.structure else []
    enter: list[Step] = []
    leave: list[Step] = []
    retired: list[Backend] = []
    added: set[str] = set()
    for name in sorted(changed.backends):
        old, new = running.backends.get(name), desired.backends.get(name)
        if new is None:
            retired += [old] if old else []
            continue
        if old is None:
            if not _addable(running, new, can):
                reload.append(_new_backend(running, new))
                continue
            op = AddBackend(name, new.profile, new.server_options)
            enter.append(_step(op, f"backend {name}", "profile", None, new.profile))
            added.add(name)
            old = Backend(name, new.profile, server_options=new.server_options)
        else:
            reload += _backend_structure(running, old, new)
        new = with_ids(new, old)
        enter += _entering(old, new)
        leave += _leaving(old, new.servers)
    reload += keyring.too_large(running, desired, changed.certificates)
    keys, no_keys = keyring.steps(running, desired, changed.certificates, changed.served)
    rows = _all_rows(running, desired, changed, added)
    if not reload:
        leave += _retiring(retired, can)
    return Plan((*enter, *keys, *rows, *leave, *no_keys), tuple(reload))


def _everything(running: Config, desired: Config) -> Changed:
    return Changed(
        frozenset(_differing(running.backends, desired.backends)),
        {
            name: frozenset(_differing_rows(running.maps[name], wanted))
            for name, wanted in desired.maps.items()
            if name in running.maps
        },
        frozenset(_differing(running.certificates, desired.certificates)),
        {
            name: frozenset(_differing(running.crt_lists[name].served, wanted.served))
            for name, wanted in desired.crt_lists.items()
            if name in running.crt_lists
        },
        structure=True,
    )


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for key, value in new.items():
        if old.get(key) is not value:
            yield key
    yield from (key for key in old if key not in new)


def _differing_rows(old: Map, new: Map) -> Iterable[str]:
    if new.ordered and list(old.rows) != list(new.rows):
        return new.rows.keys() | old.rows.keys()
    return _differing(old.rows, new.rows)


def _structure(running: Config, desired: Config) -> Iterator[Reason]:
    """Reasons in all but the backends and the rows of maps."""
    yield from _fields("global", running.process, desired.process, Cause.GLOBAL)
    before = {frontend.name: frontend for frontend in running.frontends}
    for frontend in desired.frontends:
        subject = f"frontend {frontend.name}"
        if old := before.pop(frontend.name, None):
            yield from _fields(subject, old, frontend, Cause.LISTENER)
        else:
            yield Reason(subject, "frontend", None, frontend.name, Cause.LISTENER)
    for name in before:
        yield Reason(f"frontend {name}", "frontend", name, None, Cause.LISTENER)
    yield from _files("map", running.maps, desired.maps, "rows")
    yield from _files("crt-list", running.crt_lists, desired.crt_lists, "served")
    for name, profile in desired.profiles.items():
        if name in running.profiles and running.profiles[name] != profile:
            yield Reason(f"profile {name}", "content", cause=Cause.NEW_PROFILE)
    seen = ("process", "frontends", "maps", "profiles", "backends", "certificates", "crt_lists")
    yield from _fields("configuration", running, desired, Cause.OTHER, known=seen)


def _files(
    kind: str, before: Mapping[str, object], after: Mapping[str, object], content: str
) -> Iterator[Reason]:
    """Files that the structure names: their content is data, all else is not."""
    for name, wanted in after.items():
        if existing := before.get(name):
            yield from _fields(f"{kind} {name}", existing, wanted, Cause.OTHER, known=(content,))
        else:
            yield Reason(f"{kind} {name}", kind, None, name)


def _fields(
    subject: str, old: Any, new: Any, cause: Cause, known: Iterable[str] = ()
) -> Iterator[Reason]:
    for attribute in fields(type(new)):
        if attribute.eq and attribute.name not in known:
            before, after = getattr(old, attribute.name), getattr(new, attribute.name)
            if before != after:
                yield Reason(subject, attribute.name, before, after, cause)


def _addable(running: Config, new: Backend, can: Capabilities) -> bool:
    plain = new == Backend(new.name, new.profile, new.servers, server_options=new.server_options)
    if not (can.dynamic_backends and plain and new.profile in running.profiles):
        return False
    return all(_plain(server, new) for server in new.servers.values())


def _plain(server: Server, backend: Backend) -> bool:
    """Whether a server of *backend* has nothing beyond what `AddServer` can carry."""
    carried = (server.name, server.address, server.port, server.weight, server.state, server.id)
    return server == Server(*carried) and backend.server_options in _SERVER_OPTIONS


def _new_backend(running: Config, new: Backend) -> Reason:
    known = new.profile in running.profiles
    cause = Cause.NEW_BACKEND if known else Cause.NEW_PROFILE
    return Reason(f"backend {new.name}", "profile", None, new.profile, cause, new.origins)


def _backend_structure(running: Config, old: Backend, new: Backend) -> Iterator[Reason]:
    known = new.profile in running.profiles
    cause = Cause.OTHER if known else Cause.NEW_PROFILE
    yield from _fields(f"backend {new.name}", old, new, cause, known=("servers",))
    settable = ("address", "port", "weight", "state", "id")
    for name, server in new.servers.items():
        subject = f"server {new.name}/{name}"
        if before := old.servers.get(name):
            yield from _fields(subject, before, server, Cause.OTHER, settable)
        elif not _plain(server, new):
            yield Reason(subject, "server", None, name)


def _entering(old: Backend, new: Backend) -> Iterator[Step]:
    for name, server in new.servers.items():
        subject = f"server {new.name}/{name}"
        if before := old.servers.get(name):
            yield from _changing(new.name, subject, before, server)
        elif _plain(server, new):
            where = f"{server.address}:{server.port}"
            op = AddServer(new.name, server, new.server_options)
            yield _step(op, subject, "address", None, where)


def _changing(backend: str, subject: str, old: Server, new: Server) -> Iterator[Step]:
    steps = []
    if (old.address, old.port) != (new.address, new.port):
        op = SetAddress(backend, new.name, new.address, new.port)
        before, after = f"{old.address}:{old.port}", f"{new.address}:{new.port}"
        steps.append(_step(op, subject, "address", before, after))
    if old.weight != new.weight:
        op_w = SetWeight(backend, new.name, new.weight)
        steps.append(_step(op_w, subject, "weight", old.weight, new.weight))
    if old.state is not new.state:
        step = _step(SetState(backend, new.name, new.state), subject, "state", old.state, new.state)
        # A server must not serve from an address that is about to change.
        opens = _OPENNESS.index(new.state) > _OPENNESS.index(old.state)
        steps.insert(len(steps) if opens else 0, step)
    yield from steps


def _retiring(backends: Iterable[Backend], can: Capabilities) -> Iterator[Step]:
    gone: list[Step] = []
    for backend in backends:
        yield from _leaving(backend, {})
        if can.dynamic_backends and not backend.lines:
            what = f"backend {backend.name}"
            gone.append(_step(DelBackend(backend.name), what, "backend", backend.name, None))
    yield from gone


def _leaving(old: Backend, staying: Mapping[str, Server]) -> Iterator[Step]:
    for name, server in old.servers.items():
        if name not in staying:
            subject = f"server {old.name}/{name}"
            if server.state is not State.MAINT:
                op = SetState(old.name, name, State.MAINT)
                yield _step(op, subject, "state", server.state, State.MAINT)
            yield _step(DelServer(old.name, name), subject, "address", server.address, None)


def _all_rows(running: Config, desired: Config, changed: Changed, added: set[str]) -> list[Step]:
    """New and changed rows in the order of the maps, then those that go, in the reverse one."""
    enter: list[Step] = []
    leave: list[Step] = []

    def there(row: Row) -> bool:
        # A row must not come into force before the backends that only a reload brings.
        return all(name in running.backends or name in added for name in row.needs)

    for name, new in desired.maps.items():
        if (keys := changed.rows.get(name)) and (old := running.maps.get(name)):
            coming, going = _rows(old, new, keys, there)
            enter += coming
            leave = going + leave
    return enter + leave


def _rows(
    old: Map, new: Map, keys: frozenset[str], there: Callable[[Row], bool]
) -> tuple[list[Step], list[Step]]:
    wanted = {key: row for key in keys if (row := new.rows.get(key)) and there(row)}
    if new.ordered:
        return _replaced(old, new, wanted, keys), []
    subject, coming, going = f"map {new.name}", [], []
    for key in sorted(keys):
        before, row = old.rows.get(key), wanted.get(key)
        if row is None:
            if before is not None and key not in new.rows:
                going.append(_step(DelRow(new.name, key), subject, key, before.value, None))
        elif before is None:
            op_a = AddRow(new.name, key, row.value)
            coming.append(_step(op_a, subject, key, None, row.value, row))
        elif before.value != row.value:
            op_s = SetRow(new.name, key, row.value)
            coming.append(_step(op_s, subject, key, before.value, row.value, row))
    return coming, going


def _replaced(old: Map, new: Map, wanted: Mapping[str, Row], keys: frozenset[str]) -> list[Step]:
    rows: dict[str, Row] = {}
    for key, row in new.rows.items():
        kept = row if key not in keys else wanted.get(key) or old.rows.get(key)
        if kept:
            rows[key] = kept
    if list(rows.items()) == list(old.rows.items()):
        return []
    return [_step(ReplaceMap(new.name, rows), f"map {new.name}", "rows", len(old.rows), len(rows))]


def _step(
    op: Op, subject: str, what: str, before: object, after: object, row: Row | None = None
) -> Step:
    return Step(op, Reason(subject, what, before, after, origin=row.origin if row else None))
