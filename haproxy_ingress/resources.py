"""The Kubernetes objects that we read, as frozen values with only the fields that we read.

Shapes follow the API's reference (networking.k8s.io/v1, discovery.k8s.io/v1, core/v1) in snake
case. `haproxy_ingress.parsing` makes them from plain JSON dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from attrs import Factory, field, frozen

from haproxy_ingress.diagnostics import Ref


@frozen
class Meta:
    """created: creationTimestamp as written, empty when the object has none."""

    name: str
    namespace: str = ""
    created: str = ""
    annotations: Mapping[str, str] = Factory(dict)
    labels: Mapping[str, str] = Factory(dict)

    @property
    def age(self) -> tuple[bool, str, str, str]:
        """Sorts the oldest first; an object without a time counts as younger than all with one."""
        return (not self.created, self.created, self.namespace, self.name)


@frozen
class ServiceTarget:
    """A Service port that a rule names; port is a number, a name, or None (the only port)."""

    service: str
    port: int | str | None = None


@frozen
class ResourceTarget:
    """A resource backend; we have none of these."""

    kind: str
    name: str


Target = ServiceTarget | ResourceTarget


class PathType(StrEnum):
    EXACT = "Exact"
    PREFIX = "Prefix"
    IMPLEMENTATION_SPECIFIC = "ImplementationSpecific"


@frozen
class Path:
    path: str
    type: PathType
    target: Target


@frozen
class Rule:
    """host is empty for any host."""

    host: str = ""
    paths: tuple[Path, ...] = ()


@frozen
class Tls:
    hosts: tuple[str, ...] = ()
    secret: str = ""


@frozen
class Ingress:
    meta: Meta
    ingress_class: str | None = None
    default_backend: Target | None = None
    rules: tuple[Rule, ...] = ()
    tls: tuple[Tls, ...] = ()

    @property
    def ref(self) -> Ref:
        return Ref("Ingress", self.meta.namespace, self.meta.name)


@frozen
class IngressClass:
    """controller: spec.controller. default: is-default-class is "true"."""

    meta: Meta
    controller: str = ""
    default: bool = False

    @property
    def ref(self) -> Ref:
        return Ref("IngressClass", "", self.meta.name)


@frozen
class ServicePort:
    """target_port as written (a number or a name); app_protocol empty when not given."""

    port: int
    name: str = ""
    target_port: int | str | None = None
    app_protocol: str = ""
    protocol: str = "TCP"


@frozen
class Service:
    meta: Meta
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: str = ""
    external_name: str = ""
    ports: tuple[ServicePort, ...] = ()
    ip_families: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        return Ref("Service", self.meta.namespace, self.meta.name)


@frozen
class Endpoint:
    """One endpoint of a slice. Conditions as in the API, None when not given.

    pod: targetRef.name when targetRef.kind is Pod, else empty.
    """

    addresses: tuple[str, ...]
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None
    pod: str = ""


@frozen
class SlicePort:
    """port None means all ports, which no proxy can use."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"


@frozen
class EndpointSlice:
    """service: the label kubernetes.io/service-name, empty when it belongs to none."""

    meta: Meta
    service: str = ""
    address_type: Literal["IPv4", "IPv6", "FQDN"] = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()

    @property
    def ref(self) -> Ref:
        return Ref("EndpointSlice", self.meta.namespace, self.meta.name)


@frozen
class Secret:
    """data: decoded; never shown."""

    meta: Meta
    type: str = ""
    data: Mapping[str, bytes] = field(factory=dict, repr=False)

    @property
    def ref(self) -> Ref:
        return Ref("Secret", self.meta.namespace, self.meta.name)


Resource = Ingress | IngressClass | Service | EndpointSlice | Secret
