"""What the commands of a `FakeHAProxy` have in common: a worker to carry them out on."""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import define, field

from haproxy.capabilities import Capabilities
from haproxy.fake import FakeHAProxy
from haproxy.model import Certificate, Row
from haproxy.ops import Op


@define(eq=False)
class Worker:
    """One worker of a HAProxy, as its sessions see it.

    haproxy: its state; one of its own once it has been replaced. drafts: rows of maps, by map and
    version, that are not committed; versions: the current and the last one. weights: what servers
    began with. numbers: lines of crt-lists. serving: whether it has not been replaced.
    """

    haproxy: FakeHAProxy
    pid: int
    drafts: dict[str, dict[int, dict[str, Row]]] = field(factory=dict, init=False)
    versions: dict[str, tuple[int, int]] = field(factory=dict, init=False)
    transaction: Certificate | None = field(default=None, init=False)
    unpublished: set[str] = field(factory=set, init=False)
    numbers: dict[str, dict[str, int]] = field(factory=dict, init=False)
    weights: dict[tuple[str, str], int] = field(init=False)
    serving: bool = field(default=True, init=False)
    _since: float = field(factory=time.monotonic, init=False)

    def __attrs_post_init__(self) -> None:
        backends = self.haproxy.config.backends.values()
        servers = ((backend.name, one) for backend in backends for one in backend.servers.values())
        self.weights = {(backend, one.name): one.weight for backend, one in servers}

    @property
    def uptime_s(self) -> int:
        return int(time.monotonic() - self._since)

    @property
    def version(self) -> tuple[int, int]:
        return Capabilities.of(self.haproxy.version).version

    def do(self, op: Op, done: str = "") -> str:
        """Carry out *op*; HAProxy's words, *done* when it had nothing to object."""
        return self.haproxy.carry_out(op).reply or done

    def keep_apart(self) -> None:
        """A worker that was replaced goes on with what it had, and no one else sees it."""
        if self.haproxy.worker != self.pid and self.pid in self.haproxy.retired:
            last, self.serving = self.haproxy, False
            self.haproxy = FakeHAProxy(
                config=last.retired[self.pid],
                worker=self.pid,
                version=last.version,
                description=last.description,
                published=last.published,
            )


Act = Callable[[Worker, list[str], str], str]


class Commands(dict[str, tuple[tuple[int, int], Act]]):
    """By their first words: the version that has them, and what they do.

    Such a function takes the words after those, and the payload; it returns HAProxy's reply
    without the empty line.
    """

    def named(self, words: str, since: tuple[int, int] = (2, 6)) -> Callable[[Act], Act]:
        def keep(act: Act) -> Act:
            self[words] = (since, act)
            return act

        return keep
