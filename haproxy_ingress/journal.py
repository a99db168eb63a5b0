"""What was decided, and why: the one record behind the log, the API and the metrics."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal

from attrs import define, field, frozen

from haproxy_ingress.diagnostics import Ref

Action = Literal["none", "runtime", "reload"]
Outcome = Literal["ok", "failed", "quarantined"]

_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SHOWN = 3


@frozen
class Cause:
    """An object whose change led to a decision."""

    ref: Ref
    change: Literal["added", "changed", "removed"]

    def to_json(self) -> dict[str, str]:
        return {
            "kind": self.ref.kind,
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "change": self.change,
        }

    def __str__(self) -> str:
        return f"{self.ref} {self.change}"


@frozen
class Decision:
    """What a change, or several at a time, led to.

    id: counts up from 1. time_s: when it was done, in seconds since 1970.
    reasons: what differed, one text each. commands: how many HAProxy got. error: empty when ok.
    queued_s, plan_s, apply_s: the parts of total_s, which runs from the arrival of the oldest
    cause to the moment HAProxy had it.
    """

    id: int
    time_s: float
    causes: tuple[Cause, ...] = ()
    action: Action = "none"
    reasons: tuple[str, ...] = ()
    commands: int = 0
    result: Outcome = "ok"
    error: str = ""
    queued_s: float = 0.0
    plan_s: float = 0.0
    apply_s: float = 0.0
    total_s: float = 0.0

    @property
    def time(self) -> str:
        """`time_s` as RFC 3339 writes it, in UTC, to the millisecond."""
        text = datetime.fromtimestamp(self.time_s, UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")

    def to_json(self) -> dict[str, Any]:
        """The fields that the API promises, in their order."""
        return {
            "id": self.id,
            "time": self.time,
            "causes": [cause.to_json() for cause in self.causes],
            "action": self.action,
            "reasons": list(self.reasons),
            "commands": self.commands,
            "result": self.result,
            "error": self.error,
            "queued_s": self.queued_s,
            "plan_s": self.plan_s,
            "apply_s": self.apply_s,
            "total_s": self.total_s,
        }

    def to_log_line(self) -> str:
        """All of it in one line, whatever the texts hold."""
        parts = (
            f"decision {self.id}: {self.action} {self.result}",
            f"{self.commands} command{'' if self.commands == 1 else 's'} in {self._times()}",
            self.causes and "cause: " + _few(self.causes),
            self.reasons and "reason: " + _few(self.reasons),
            self.error and "error: " + self.error,
        )
        return _UNPRINTABLE.sub(" ", "; ".join(part for part in parts if part))

    def _times(self) -> str:
        parts = ("queued", self.queued_s), ("plan", self.plan_s), ("apply", self.apply_s)
        spent = ", ".join(f"{name} {seconds * 1e3:.1f}" for name, seconds in parts)
        return f"{self.total_s * 1e3:.1f} ms ({spent})"


def _few(items: Sequence[object]) -> str:
    """The first items, and how many more there are."""
    more = len(items) - _SHOWN
    return ", ".join(map(str, items[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


@define
class Journal:
    """The last decisions. One thread writes, any may read.

    limit: how many are kept.
    """

    limit: int = 1000
    _decisions: deque[Decision] = field(init=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._decisions = deque(maxlen=self.limit)

    def add(self, decision: Decision) -> None:
        with self._lock:
            self._decisions.appendleft(decision)

    def decisions(self) -> tuple[Decision, ...]:
        """Newest first."""
        with self._lock:
            return tuple(self._decisions)
