"""Names in HAProxy, as pure functions of the objects: the same on every replica."""

from __future__ import annotations

from haproxy_ingress.resources import Endpoint

NOT_FOUND = "_404"
UNAVAILABLE = "_503"


def backend_name(namespace: str, service: str, port: int) -> str:
    """``NAMESPACE_SERVICE_PORT``; unambiguous, as none of the three can hold an underscore."""
    return f"{namespace}_{service}_{port}"


def server_name(endpoint: Endpoint, address: str, port: int) -> str:
    """After the pod, else ``ADDRESS-PORT``."""
    return endpoint.pod or f"{address}-{port}"
