"""Short spellings of the objects that tests are about, all in one namespace."""

from __future__ import annotations

from collections.abc import Iterable

from haproxy_ingress.diagnostics import Diagnostic, Ref
from haproxy_ingress.resources import (
    Endpoint,
    EndpointSlice,
    Ingress,
    IngressClass,
    Meta,
    Path,
    PathType,
    Resource,
    Rule,
    Service,
    ServicePort,
    ServiceTarget,
    SlicePort,
    Target,
)
from haproxy_ingress.sources import Change
from haproxy_ingress.store import Store
from haproxy_ingress.translate import Settings

NAMESPACE = "ns"
SETTINGS = Settings()
WEB = ServiceTarget("web", 80)
EXACT, PREFIX, SPECIFIC = PathType


def path(text: str = "/", target: Target = WEB, kind: PathType = PREFIX) -> Path:
    return Path(text, kind, target)


def rule(host: str = "a.test", *paths: Path | str) -> Rule:
    """Without paths: one that matches everything."""
    made = (one if isinstance(one, Path) else path(one) for one in paths)
    return Rule(host, tuple(made) or (path(),))


def ingress(
    name: str = "shop",
    *rules: Rule,
    created: str = "",
    annotations: dict[str, str] | None = None,
    ingress_class: str | None = "haproxy",
    default: Target | None = None,
) -> Ingress:
    meta = Meta(name, NAMESPACE, created, annotations or {})
    return Ingress(meta, ingress_class, default, rules)


def service(name: str = "web", *ports: ServicePort, **fields: object) -> Service:
    return Service(Meta(name, NAMESPACE), ports=ports or (ServicePort(80),), **fields)  # type: ignore[arg-type]


def pods(service: str = "web", *addresses: str, port: int = 8080, name: str = "") -> EndpointSlice:
    """A slice of ready endpoints that belong to no pod."""
    endpoints = tuple(Endpoint((address,)) for address in addresses)
    return slice_(service, *endpoints, ports=(SlicePort("", port),), name=name)


def slice_(
    service: str,
    *endpoints: Endpoint,
    ports: Iterable[SlicePort] = (SlicePort("", 8080),),
    family: str = "IPv4",
    name: str = "",
) -> EndpointSlice:
    meta = Meta(name or f"{service}-1", NAMESPACE)
    return EndpointSlice(meta, service, family, endpoints, tuple(ports))  # type: ignore[arg-type]


def ingress_class(name: str, controller: str = "", *, default: bool = False) -> IngressClass:
    return IngressClass(Meta(name), controller or SETTINGS.controller_name, default)


def put(*resources: Resource) -> tuple[Change, ...]:
    return tuple(Change(one.ref, one, 0.0) for one in resources)


def gone(*refs: Ref) -> tuple[Change, ...]:
    return tuple(Change(ref, None, 0.0) for ref in refs)


def store(*resources: Resource) -> Store:
    made = Store()
    made.update(put(*resources))
    return made


def said(found: Iterable[Diagnostic]) -> list[tuple[str, str]]:
    """Reason and field of each."""
    return [(one.why.value, one.field) for one in found]
