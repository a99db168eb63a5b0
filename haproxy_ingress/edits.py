"""Changes to a `Config` while they gather: what differs, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from attrs import define, evolve, field

from haproxy.model import Backend, Certificate, Config, CrtList, Map, Row, Served
from haproxy.plan import Changed
from haproxy_ingress.tls import CRT_LIST

T = TypeVar("T")


@define
class Edits:
    """A new configuration in the making; containers are copied when first touched."""

    _config: Config
    _backends: dict[str, Backend | None] = field(factory=dict, init=False)
    _rows: dict[str, dict[str, Row | None]] = field(factory=dict, init=False)
    _certificates: dict[str, Certificate | None] = field(factory=dict, init=False)
    _served: dict[str, Served | None] = field(factory=dict, init=False)

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

    def certificate(self, name: str, new: Certificate | None) -> None:
        if self._config.certificates.get(name) != new:
            self._certificates[name] = new

    def served(self, line: Served, there: bool) -> None:
        """A line of the crt-list comes or goes; what is said last counts."""
        known = line.key in self._config.crt_lists[CRT_LIST].served
        self._served.pop(line.key, None)
        if there != known:
            self._served[line.key] = line if there else None

    def done(self) -> tuple[Config, Changed]:
        rows = {name: edits for name, edits in self._rows.items() if edits}
        changed = Changed(
            frozenset(self._backends),
            {name: frozenset(edits) for name, edits in rows.items()},
            frozenset(self._certificates),
            {CRT_LIST: frozenset(self._served)} if self._served else {},
        )
        if not changed:
            return self._config, changed
        maps = {name: _edited(self._config.maps[name], edits) for name, edits in rows.items()}
        config = evolve(
            self._config,
            backends=_with(self._config.backends, self._backends),
            maps={**self._config.maps, **maps},
            certificates=_with(self._config.certificates, self._certificates),
            crt_lists=self._crt_lists(),
        )
        return config, changed

    def _crt_lists(self) -> Mapping[str, CrtList]:
        lists = self._config.crt_lists
        if not self._served:
            return lists
        served = _with(lists[CRT_LIST].served, self._served)
        return {**lists, CRT_LIST: evolve(lists[CRT_LIST], served=served)}


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
