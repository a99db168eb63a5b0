"""A driver with an in-memory HAProxy, a clock that stands still and loads that end when told."""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence
from math import inf
from threading import Event

from attrs import define, field

from haproxy.capabilities import Capabilities
from haproxy.errors import HAProxyError, Unreachable
from haproxy.model import Config, Server
from haproxy.ops import Batch, Op
from haproxy.plan import Changed
from haproxy.testing import FakeHAProxy
from haproxy_ingress.diagnostics import Ref
from haproxy_ingress.driver import Driver, Report, Since
from haproxy_ingress.journal import Cause
from haproxy_ingress.loader import Finished
from haproxy_ingress.pipeline import Pipeline
from haproxy_ingress.sources import Change
from haproxy_ingress.translate import Settings

PATIENCE_S = 20.0
INTERVAL_S = 2.0
V2_6, V3_4 = Capabilities((2, 6)), Capabilities((3, 4))


@define(eq=False)
class GatedHAProxy(FakeHAProxy):
    """Loads wait while the gate is closed. fail: what the next load ends with, after publishing."""

    gate: Event = field(factory=Event)
    fail: HAProxyError | None = None
    unreachable: bool = False
    batches: int = 0

    def __attrs_post_init__(self) -> None:
        self.gate.set()

    def publish(self, files: Mapping[str, bytes]) -> None:
        assert self.gate.wait(PATIENCE_S)
        super().publish(files)

    def start(self) -> int:
        self._may_fail()
        return super().start()

    def reload(self) -> int:
        self._may_fail()
        return super().reload()

    def run(self, ops: Sequence[Op], pid: int) -> Batch:
        if self.unreachable:
            raise Unreachable("fake", "told to be")
        self.batches += 1
        return super().run(ops, pid)

    def pid(self) -> int:
        if self.unreachable:
            raise Unreachable("fake", "told to be")
        return super().pid()

    def replace(self) -> None:
        """Somebody else starts another worker on the published files."""
        super().start()

    def servers(self, backend: str) -> dict[str, Server]:
        return dict(self.config.backends[backend].servers)

    def rows(self, name: str) -> dict[str, str]:
        return {key: row.value for key, row in self.config.maps[name].rows.items()}

    def _may_fail(self) -> None:
        error, self.fail = self.fail, None
        if error:
            raise error


@define(eq=False)
class Rig:
    """The moves of a game: change objects, let time pass, let a load end."""

    can: Capabilities = V2_6
    now_s: float = 1_000.0
    haproxy: GatedHAProxy = field(factory=GatedHAProxy)
    pipeline: Pipeline = field(factory=lambda: Pipeline(Settings()))
    reports: list[Report] = field(factory=list)
    ended: queue.SimpleQueue[Finished] = field(factory=queue.SimpleQueue)
    driver: Driver = field(init=False)

    def __attrs_post_init__(self) -> None:
        fake = self.haproxy
        self.driver = Driver(
            files=fake, process=fake, runtime=fake, can=self.can, interval_s=INTERVAL_S,
            clock=lambda: self.now_s, finished=self.ended.put, report=self.reports.append,
        )  # fmt: skip

    def started(self, *changes: Change) -> Rig:
        """Serves what *changes* say; what was done for that is forgotten."""
        self.change(*changes)
        self.finish()
        self.pass_s(INTERVAL_S)
        self.settle()
        self.forget()
        return self

    def change(self, *changes: Change) -> None:
        """Objects change, and there is a round."""
        changed = self.pipeline.update(changes)
        causes = [Cause(change.ref, "changed") for change in changes]
        self.driver.round(self.pipeline.config, changed, Since(causes, self.now_s))

    def quarantine(self, ref: Ref) -> None:
        changed = self.pipeline.quarantine(ref, "refused")
        self.driver.round(self.pipeline.config, changed, Since())

    def again(self) -> None:
        """A round without a change."""
        self.driver.round(self.pipeline.config, Changed(), Since())

    def pass_s(self, seconds: float) -> None:
        """Time passes, and there is a round."""
        self.now_s += seconds
        self.again()

    def finish(self) -> Finished:
        """The load that runs ends, and there is a round."""
        done = self.ended.get(timeout=PATIENCE_S)
        self.driver.take(done)
        self.again()
        return done

    def settle(self) -> None:
        """Until nothing is due any more."""
        for _ in range(100):
            if not self.driver.loader.loading and self.driver.due_s() == inf:
                return
            self.step()
        raise AssertionError(f"never settled; due in {self.driver.due_s() - self.now_s} s")

    def step(self) -> None:
        """What comes next: the end of a load, or what is due."""
        if self.driver.loader.loading:
            self.finish()
        else:
            self.now_s = max(self.now_s, self.driver.due_s())
            self.again()

    def forget(self) -> None:
        self.reports.clear()
        self.haproxy.log.clear()
        self.haproxy.reloads = self.haproxy.batches = 0

    @property
    def last(self) -> Report:
        return self.reports[-1]

    @property
    def actions(self) -> list[str]:
        return [report.action for report in self.reports]

    def in_step(self) -> bool:
        """Whether HAProxy runs what it should."""
        wanted: Config = self.pipeline.config
        fake = self.haproxy.config
        names = {
            name: {s.name: (s.address, s.port, s.state) for s in of.servers.values()}
            for name, of in wanted.backends.items()
        }
        found = {
            name: {
                s.name: (s.address, s.port, s.state) for s in fake.backends[name].servers.values()
            }
            for name in names
            if name in fake.backends
        }
        rows = {name: of.rows for name, of in wanted.maps.items()}
        return names == found and rows == {name: fake.maps[name].rows for name in rows}
