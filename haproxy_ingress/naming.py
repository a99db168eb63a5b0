"""Names in HAProxy, as pure functions of the objects: the same on every replica."""

from __future__ import annotations

import re

from haproxy_ingress.resources import Endpoint

MAX_NAME = 253
MAX_LABEL = 63

_POD = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL = re.compile("[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

NOT_FOUND = "_404"
UNAVAILABLE = "_503"


def is_name(text: str) -> bool:
    """Whether an object may be called so: DNS labels joined by dots."""
    return len(text) <= MAX_NAME and bool(_SUBDOMAIN.fullmatch(text))


def is_namespace(text: str) -> bool:
    """Whether a namespace may be called so: a DNS label."""
    return len(text) <= MAX_LABEL and bool(_LABEL.fullmatch(text))


def backend_name(namespace: str, service: str, port: int) -> str:
    """``NAMESPACE_SERVICE_PORT``; unambiguous, as none of the three can hold an underscore."""
    return f"{namespace}_{service}_{port}"


def server_name(endpoint: Endpoint, address: str, port: int) -> str:
    """After the pod, else ``ADDRESS-PORT``; also where what is given can be no pod's name."""
    return endpoint.pod if _POD.fullmatch(endpoint.pod) else f"{address}-{port}"
