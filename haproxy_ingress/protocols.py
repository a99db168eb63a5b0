"""What the ``appProtocol`` of a Service port means for the servers behind it."""

from __future__ import annotations

_PLAIN = frozenset({"", "http", "kubernetes.io/ws"})
_H2C = frozenset({"kubernetes.io/h2c", "h2c", "grpc"})


def spoken(app_protocol: str) -> tuple[tuple[str, ...], str]:
    """The options of the servers of a port, and what is not supported about it, else empty."""
    name = app_protocol.lower()
    if name in _H2C:
        return ("proto", "h2"), ""
    allowed = ", ".join(sorted((_PLAIN | _H2C) - {""}))
    return (), "" if name in _PLAIN else f"is not supported, HTTP is used; supported: {allowed}"
