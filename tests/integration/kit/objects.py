"""Kubernetes objects as dicts, with as few words as a test needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = dict[str, Any]


def meta(name: str, **more: Any) -> Object:
    return {"name": name, "namespace": "default", **more}


def service(name: str, port: int = 80, **spec: Any) -> Object:
    """A Service with one port, unless *spec* says otherwise."""
    spec = {"ports": [{"port": port, "name": "http"}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(name), "spec": spec}


def pod(address: str, name: str = "", **conditions: bool) -> Object:
    """An endpoint; ready unless *conditions* say otherwise."""
    endpoint: Object = {"addresses": [address], "conditions": {"ready": True, **conditions}}
    if name:
        endpoint["targetRef"] = {"kind": "Pod", "name": name, "namespace": "default"}
    return endpoint


def endpoints(
    of: str,
    pods: Iterable[str | Object],
    port: int,
    suffix: str = "1",
    family: str = "IPv4",
    port_name: str = "http",
) -> Object:
    """A slice of the Service *of*; a pod given as an address is ready and named after it."""
    listed = [p if isinstance(p, dict) else pod(p, f"pod-{p.replace('.', '-')}") for p in pods]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta(f"{of}-{suffix}", labels={"kubernetes.io/service-name": of}),
        "addressType": family,
        "ports": [{"name": port_name, "port": port}],
        "endpoints": listed,
    }


def ingress(
    name: str,
    host: str,
    paths: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """An Ingress of our class: Prefix *paths* of *host*, each to port 80 of a Service."""
    rules = [
        {
            "path": path,
            "pathType": "Prefix",
            "backend": {"service": {"name": to, "port": {"number": 80}}},
        }
        for path, to in paths.items()
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": meta(name, annotations=dict(annotations or {})),
        "spec": {
            "ingressClassName": "haproxy",
            "rules": [{"host": host, "http": {"paths": rules}}],
        },
    }


def addresses(count: int, start: int = 1, net: str = "127.50") -> list[str]:
    """*count* different pod addresses."""
    return [f"{net}.{n // 250}.{n % 250 + 1}" for n in range(start, start + count)]
