"""The shape of each kind that we read: which field goes where.

The old forms of Ingress and EndpointSlice differ in few fields, and are read into the same.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from haproxy_ingress.reader import MAX_PORT, Node
from haproxy_ingress.resources import (
    Endpoint,
    EndpointSlice,
    Ingress,
    IngressClass,
    Meta,
    Path,
    PathType,
    Resource,
    ResourceTarget,
    Rule,
    Secret,
    Service,
    ServicePort,
    ServiceTarget,
    SlicePort,
    Target,
    Tls,
)

MAX_ADDRESSES = 100  # the API's own bound, per endpoint
NAMESPACED = frozenset({"Ingress", "Service", "EndpointSlice", "Secret"})
SERVICE_NAME = "kubernetes.io/service-name"
IS_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"

_FAMILIES: tuple[Literal["IPv4", "IPv6", "FQDN"], ...] = ("IPv4", "IPv6", "FQDN")
_PATH_TYPES = tuple(PathType)

Backend = Callable[[Node], Target]


def _backend(node: Node) -> Target:
    if node.get("resource") is None:
        service = node.child("service", required=True)
        return ServiceTarget(service.name("name", required=True), _port(service.child("port")))
    if node.get("service") is not None:
        node.wrong("resource", "either service or resource")
    resource = node.child("resource")
    return ResourceTarget(
        resource.name("kind", required=True), resource.name("name", required=True)
    )


def _port(node: Node) -> int | str:
    if node.get("number") is None:
        return node.name("name", required=True)
    if node.get("name") is not None:
        node.wrong("number", "either name or number")
    return node.port("number") or 0


def _old_backend(node: Node) -> Target:
    """As it was before networking.k8s.io/v1."""
    if node.get("resource") is not None:
        return _backend(node)
    if node.get("servicePort") is None:
        node.wrong("servicePort", f"a number from 1 to {MAX_PORT} or a name")
    return ServiceTarget(node.name("serviceName", required=True), node.port_or_name("servicePort"))


def _ingress(backend: Backend, default: str, root: Node, meta: Meta) -> Ingress:
    spec = root.child("spec", required=True)
    return Ingress(
        meta=meta,
        ingress_class=spec.name("ingressClassName") or None,
        default_backend=backend(spec.child(default)) if spec.get(default) is not None else None,
        rules=tuple(_rule(rule, backend) for rule in spec.children("rules")),
        tls=tuple(Tls(tls.names("hosts"), tls.name("secretName")) for tls in spec.children("tls")),
    )


def _rule(node: Node, backend: Backend) -> Rule:
    paths = node.child("http").children("paths")
    return Rule(node.name("host"), tuple(_path(path, backend) for path in paths))


def _path(node: Node, backend: Backend) -> Path:
    path = node.text("path") or "/"
    if not path.startswith("/"):
        node.wrong("path", "a path that begins with /")
    return Path(
        path=path,
        type=node.choice("pathType", _PATH_TYPES, PathType.IMPLEMENTATION_SPECIFIC),
        target=backend(node.child("backend", required=True)),
    )


def _ingress_class(root: Node, meta: Meta) -> IngressClass:
    return IngressClass(
        meta=meta,
        controller=root.child("spec").name("controller"),
        default=meta.annotations.get(IS_DEFAULT_CLASS) == "true",
    )


def _service(root: Node, meta: Meta) -> Service:
    spec = root.child("spec", required=True)
    return Service(
        meta=meta,
        type=spec.choice(
            "type", ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"), "ClusterIP"
        ),
        cluster_ip=spec.name("clusterIP"),
        external_name=spec.name("externalName"),
        ports=tuple(_service_port(port) for port in spec.children("ports")),
        ip_families=spec.names("ipFamilies"),
    )


def _service_port(node: Node) -> ServicePort:
    return ServicePort(
        port=_required_port(node),
        name=node.name("name"),
        target_port=node.port_or_name("targetPort"),
        app_protocol=node.name("appProtocol"),
        protocol=node.name("protocol") or "TCP",
    )


def _required_port(node: Node) -> int:
    if node.get("port") is None:
        node.wrong("port", f"a number from 1 to {MAX_PORT}")
    return node.port("port") or 0


def _slice(root: Node, meta: Meta) -> EndpointSlice:
    family = root.choice("addressType", _FAMILIES, None)
    return EndpointSlice(
        meta=meta,
        service=root.child("metadata").child("labels").name(SERVICE_NAME),
        address_type=family,
        endpoints=tuple(_endpoint(one, family) for one in root.children("endpoints")),
        ports=tuple(_slice_port(port) for port in root.children("ports")),
    )


def _endpoint(node: Node, family: str) -> Endpoint:
    conditions, target = node.child("conditions"), node.child("targetRef")
    return Endpoint(
        addresses=_addresses(node, family),
        ready=conditions.flag("ready"),
        serving=conditions.flag("serving"),
        terminating=conditions.flag("terminating"),
        pod=target.name("name") if target.name("kind") == "Pod" else "",
    )


def _addresses(node: Node, family: str) -> tuple[str, ...]:
    addresses = node.names("addresses", MAX_ADDRESSES)
    if node.get("addresses") is None or node.get("addresses") == []:
        node.wrong("addresses", f"a list of 1 to {MAX_ADDRESSES} addresses")
    for index, address in enumerate(addresses):
        if address and not _is_address(address, family):
            node.wrong_item("addresses", index, address, f"an address of type {family}")
    return addresses


def _is_address(address: str, family: str) -> bool:
    try:
        match family:
            case "IPv4":
                ipaddress.IPv4Address(address)
            case "IPv6":
                return not ipaddress.IPv6Address(address).scope_id
    except ValueError:
        return False
    return True


def _slice_port(node: Node) -> SlicePort:
    return SlicePort(node.name("name"), node.port("port"), node.name("protocol") or "TCP")


def _secret(root: Node, meta: Meta) -> Secret:
    return Secret(meta, root.name("type"), root.secrets("data", "stringData"))


Read = Callable[[Node, Meta], Resource]

KINDS: Mapping[tuple[object, str], Read] = {
    ("networking.k8s.io/v1", "Ingress"): partial(_ingress, _backend, "defaultBackend"),
    ("networking.k8s.io/v1beta1", "Ingress"): partial(_ingress, _old_backend, "backend"),
    ("extensions/v1beta1", "Ingress"): partial(_ingress, _old_backend, "backend"),
    ("networking.k8s.io/v1", "IngressClass"): _ingress_class,
    ("networking.k8s.io/v1beta1", "IngressClass"): _ingress_class,
    ("v1", "Service"): _service,
    ("v1", "Secret"): _secret,
    ("discovery.k8s.io/v1", "EndpointSlice"): _slice,
    ("discovery.k8s.io/v1beta1", "EndpointSlice"): _slice,
}
