"""The closed set of runtime operations, and the plan that is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import attrs
from attrs import frozen

from haproxy.model import Certificate, Origin, Row, Served, Server, State


@frozen
class AddServer:
    """A server that is not there yet; it starts in the state that `server` says.

    options: the backend's `server_options`.
    """

    backend: str
    server: Server
    options: tuple[str, ...] = ()


@frozen
class SetAddress:
    backend: str
    server: str
    address: str
    port: int


@frozen
class SetWeight:
    backend: str
    server: str
    weight: int


@frozen
class SetState:
    backend: str
    server: str
    state: State


@frozen
class DelServer:
    """A server in maintenance goes; refused as busy while it still has connections."""

    backend: str
    server: str


@frozen
class AddRow:
    map: str
    key: str
    value: str


@frozen
class SetRow:
    map: str
    key: str
    value: str


@frozen
class DelRow:
    map: str
    key: str


@frozen
class ReplaceMap:
    """All rows at once, in their order, as one transaction."""

    map: str
    rows: Mapping[str, Row]


@frozen
class AddBackend:
    """``add backend NAME from PROFILE`` and ``publish backend`` (HAProxy 3.4).

    server_options: what its servers will be added with; HAProxy need not know it before.
    """

    backend: str
    profile: str
    server_options: tuple[str, ...] = ()


@frozen
class DelBackend:
    """``unpublish backend`` and ``del backend`` (HAProxy 3.4); it must have no server."""

    backend: str


@frozen
class AddCertificate:
    """A certificate that is not there yet. pem: see `haproxy.model.Certificate`."""

    certificate: Certificate


@frozen
class SetCertificate:
    """The same certificate renewed; connections that are open go on with the old one."""

    certificate: Certificate


@frozen
class DelCertificate:
    """Refused as busy while a crt-list has it."""

    certificate: str


@frozen
class AddServed:
    crt_list: str
    served: Served


@frozen
class DelServed:
    crt_list: str
    served: Served


Op = (
    AddServer | SetAddress | SetWeight | SetState | DelServer
    | AddRow | SetRow | DelRow | ReplaceMap
    | AddBackend | DelBackend
    | AddCertificate | SetCertificate | DelCertificate | AddServed | DelServed
)  # fmt: skip


class Cause(StrEnum):
    """Why a reload: a closed list, so that it can label a metric."""

    NEW_BACKEND = "new-backend"
    NEW_PROFILE = "new-profile"
    GLOBAL = "global"
    LISTENER = "listener"
    USERS = "users"
    TCP_SERVICE = "tcp-service"
    DRIFT = "drift"
    FORCED = "forced"
    OTHER = "other"


@frozen
class Reason:
    """Which field of which object differs, before and after.

    subject: the object in HAProxy's words, such as ``backend default_web_80``.
    """

    subject: str
    field: str
    before: object = None
    after: object = None
    cause: Cause = Cause.OTHER
    origin: Origin = attrs.field(default=None, eq=False)

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.subject}: {self.field} {self.after} added"
        if self.after is None:
            return f"{self.subject}: {self.field} {self.before} removed"
        return f"{self.subject}: {self.field} {self.before} -> {self.after}"


@frozen
class Step:
    """One operation and the reason for it."""

    op: Op
    reason: Reason = attrs.field(eq=False)


@frozen
class Plan:
    """What to do: operations now, and a reload if there is a reason for one.

    The operations are those that need no reload; they do not wait for it.
    """

    steps: tuple[Step, ...] = ()
    reload: tuple[Reason, ...] = ()

    @property
    def ops(self) -> tuple[Op, ...]:
        return tuple(step.op for step in self.steps)

    @property
    def action(self) -> Literal["none", "runtime", "reload"]:
        return "reload" if self.reload else "runtime" if self.steps else "none"


@frozen
class Result:
    """What became of one operation.

    busy: it may succeed later (a server that still has connections). reply: HAProxy's words.
    """

    op: Op
    status: Literal["done", "busy", "refused"] = "done"
    reply: str = ""


@frozen
class Batch:
    """What became of several: one result per operation, in order.

    pid: the worker that answered. commands: how many were sent.
    """

    pid: int
    results: tuple[Result, ...]
    commands: int
