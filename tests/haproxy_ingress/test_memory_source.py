"""The source for programs: what is put is delivered, when, and in which thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from haproxy_ingress.diagnostics import Ref
from haproxy_ingress.resources import IngressClass, Meta
from haproxy_ingress.sources import Change
from haproxy_ingress.sources.memory import MemorySource

ONE = IngressClass(Meta("one"), "example.org/c")
TWO = IngressClass(Meta("two"), "example.org/c")
ONE_AS_DICT: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "one"},
    "spec": {"controller": "example.org/c"},
}


class Log:
    """Remembers the batches, and `None` for synced."""

    def __init__(self) -> None:
        self.entries: list[Sequence[Change] | None] = []

    def deliver(self, batch: Sequence[Change]) -> None:
        self.entries.append(list(batch))

    def synced(self) -> None:
        self.entries.append(None)


def started(source: MemorySource) -> Log:
    log = Log()
    source.start(log.deliver, log.synced)
    return log


def source() -> MemorySource:
    return MemorySource(clock=lambda: 7.0)


def test_what_was_put_before_the_start_comes_in_one_batch_and_then_synced() -> None:
    memory = source()
    memory.put(IngressClass(Meta("one"), "old"))
    memory.put_all([TWO, ONE])
    assert started(memory).entries == [[Change(ONE.ref, ONE, 7.0), Change(TWO.ref, TWO, 7.0)], None]


def test_an_empty_source_is_synced_at_once() -> None:
    assert started(source()).entries == [None]


def test_what_is_put_later_comes_at_once_and_a_batch_stays_a_batch() -> None:
    memory = source()
    log = started(memory)
    memory.put_all([ONE, TWO])
    memory.delete(ONE.ref)
    assert log.entries[1:] == [
        [Change(ONE.ref, ONE, 7.0), Change(TWO.ref, TWO, 7.0)],
        [Change(ONE.ref, None, 7.0)],
    ]


def test_dicts_and_lists_are_read() -> None:
    memory = source()
    log = started(memory)
    memory.put({"apiVersion": "v1", "kind": "List", "items": [ONE_AS_DICT, {"kind": "Ingress"}]})
    assert log.entries[1] is not None
    one, other = log.entries[1]
    assert one == Change(ONE.ref, ONE, 7.0)
    assert (other.ref, other.keep) == (Ref("", "", ""), True)
    assert other.diagnostics


def test_a_broken_object_keeps_its_last_version() -> None:
    memory = source()
    log = started(memory)
    memory.put({**ONE_AS_DICT, "spec": 1})
    assert log.entries[1] is not None
    (change,) = log.entries[1]
    assert (change.ref, change.resource, change.keep) == (ONE.ref, None, True)
    assert change.diagnostics[0].field == "spec"


def test_kinds_that_are_not_read_are_passed_over() -> None:
    memory = source()
    log = started(memory)
    memory.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}})
    assert log.entries == [None]


def test_nothing_comes_after_stop() -> None:
    memory = source()
    log = started(memory)
    memory.stop()
    memory.put(ONE)
    assert log.entries == [None]


def test_many_threads_may_put() -> None:
    memory = source()
    log = started(memory)
    threads = [
        threading.Thread(target=memory.put, args=(IngressClass(Meta(f"c{number}")),))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({batch[0].ref for batch in log.entries if batch}) == 20
