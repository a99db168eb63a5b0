"""Counters and times for Prometheus, under the names that dashboards rely on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from attrs import frozen
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector

from haproxy.ops import Batch, Cause
from haproxy_ingress.journal import Decision

_PREFIX = "haproxy_ingress"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_FAST_S = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
_SLOW_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@frozen
class _Plain(Collector):
    """A registry without the ``_created`` samples that the library adds to every counter."""

    registry: CollectorRegistry

    def collect(self) -> Iterable[Metric]:
        for metric in self.registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric


class Metrics:
    """All that is measured, in a registry of its own. May be used from any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._changes = self._counter("changes_total", "Changes of objects that arrived.", "kind")
        self._decisions = self._counter(
            "decisions_total", "What changes led to.", "action", "result"
        )
        self._reloads = self._counter("reloads_total", "Reloads of HAProxy.", "reason", "result")
        self._commands = self._counter(
            "runtime_commands_total", "Runtime API operations.", "command", "result"
        )
        self._propagation = self._histogram(
            "propagation_seconds",
            "From the arrival of a change to HAProxy having it.",
            _FAST_S,
            "action",
        )
        self._reload_seconds = self._histogram("reload_seconds", "How long reloads took.", _SLOW_S)
        self._objects = self._gauge("objects", "Objects that are known.", "kind")
        self._quarantined = self._gauge("quarantined_objects", "Objects that HAProxy refused.")
        self._applied = self._gauge(
            "last_apply_success", "1 when the last decision was carried out."
        )
        self._build = self._gauge(
            "build_info", "What runs; always 1.", "version", "haproxy_version"
        )
        # A counter that springs into being at 1 hides its first increment from rate().
        for reason in Cause:
            for result in ("ok", "failed"):
                self._reloads.labels(reason.value, result)

    def _counter(self, name: str, doc: str, *labels: str) -> Counter:
        return Counter(name, doc, labels, namespace=_PREFIX, registry=self._registry)

    def _gauge(self, name: str, doc: str, *labels: str) -> Gauge:
        return Gauge(name, doc, labels, namespace=_PREFIX, registry=self._registry)

    def _histogram(
        self, name: str, doc: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            name, doc, labels, namespace=_PREFIX, registry=self._registry, buckets=buckets
        )

    def build(self, version: str, haproxy_version: str) -> None:
        """Which haproxy-ingress drives which HAProxy."""
        self._build.clear()
        self._build.labels(version, haproxy_version).set(1)

    def change(self, kind: str) -> None:
        """A change of an object of *kind* arrived."""
        self._changes.labels(kind).inc()

    def objects(self, kind: str, number: int) -> None:
        """So many objects of *kind* are known."""
        self._objects.labels(kind).set(number)

    def quarantined(self, number: int) -> None:
        """So many objects are left out since HAProxy refused what they ask for."""
        self._quarantined.set(number)

    def decided(self, decision: Decision) -> None:
        """A decision was carried out, or not.

        Only what reached HAProxy counts as propagated.
        """
        self._decisions.labels(decision.action, decision.result).inc()
        self._applied.set(decision.result != "failed")
        if decision.action != "none" and decision.result != "failed":
            self._propagation.labels(decision.action).observe(decision.total_s)

    def reloaded(self, reason: Cause, result: Literal["ok", "failed"], seconds: float) -> None:
        """HAProxy reloaded, or refused to; *reason* is the foremost one."""
        self._reloads.labels(reason.value, result).inc()
        self._reload_seconds.observe(seconds)

    def ran(self, batch: Batch) -> None:
        """HAProxy answered *batch*."""
        for result in batch.results:
            command = _WORDS.sub("-", type(result.op).__name__).lower()
            self._commands.labels(command, result.status).inc()

    def render(self) -> bytes:
        """Prometheus' text format, version 0.0.4."""
        return generate_latest(_Plain(self._registry))
