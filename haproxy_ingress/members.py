"""The servers of a backend: a Service port's EndpointSlices, through a View."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

from attrs import evolve, frozen

from haproxy.model import Server, State
from haproxy_ingress.naming import server_name
from haproxy_ingress.resources import Endpoint, EndpointSlice
from haproxy_ingress.store import View
from haproxy_ingress.translate import Need

K = TypeVar("K", bound=Hashable)
_RANK = {State.READY: 0, State.DRAIN: 1, State.MAINT: 2}


@frozen
class Members:
    """The servers of one needed backend, by name, in the order of their names."""

    servers: Mapping[str, Server]


@frozen
class _Candidate:
    """family: "IPv4" or "IPv6", as in the slice."""

    server: Server
    family: str


def members(need: Need, view: View) -> Members:
    """The servers of *need*.

    ready (or not said) is ready; serving and terminating drains, unless nothing is ready: then it
    serves; anything else is in maintenance until it is ready or gone. A pod with an address of
    either family counts once, in the Service's first family; so does an address in several
    slices.
    """
    if need.external:
        # Where the requests go is decided per request; see the profile of external names.
        return Members({"external": Server("external", "0.0.0.0", need.port)})
    service = view.service(need.namespace, need.service)
    family = service.ip_families[0] if service and service.ip_families else "IPv4"
    by_address: dict[tuple[str, int], _Candidate] = {}
    for slice_ in view.slices(need.namespace, need.service):
        for one in _candidates(slice_, need.port_name):
            _keep_better(by_address, (one.server.address, one.server.port), one, family)
    by_name: dict[str, _Candidate] = {}
    for one in by_address.values():
        _keep_better(by_name, one.server.name, one, family)
    servers = {name: one.server for name, one in sorted(by_name.items())}
    return Members(_with_last_resort(servers))


def _candidates(slice_: EndpointSlice, port_name: str) -> Iterator[_Candidate]:
    if slice_.address_type == "FQDN":
        return
    for port in slice_.ports:
        if port.name != port_name or port.port is None or port.protocol != "TCP":
            continue
        for endpoint in slice_.endpoints:
            # The API calls the addresses of one endpoint fungible; the first one does.
            if address := _address(endpoint):
                name = server_name(endpoint, address, port.port)
                server = Server(name, address, port.port, state=_state(endpoint))
                yield _Candidate(server, slice_.address_type)


def _address(endpoint: Endpoint) -> str:
    try:
        address = ipaddress.ip_address(endpoint.addresses[0])
    except (ValueError, IndexError):
        return ""
    # A zone means something on one machine only.
    return "" if getattr(address, "scope_id", None) else str(address)


def _state(endpoint: Endpoint) -> State:
    if endpoint.ready or (endpoint.ready is None and not endpoint.terminating):
        return State.READY
    serving = endpoint.serving or (endpoint.serving is None and endpoint.ready is None)
    return State.DRAIN if endpoint.terminating and serving else State.MAINT


def _keep_better(kept: dict[K, _Candidate], key: K, one: _Candidate, family: str) -> None:
    def rank(candidate: _Candidate) -> tuple[int, bool, bool, str, str]:
        server = candidate.server
        unnamed = server.name == f"{server.address}-{server.port}"
        return _RANK[server.state], candidate.family != family, unnamed, server.name, server.address

    if key not in kept or rank(one) < rank(kept[key]):
        kept[key] = one


def _with_last_resort(servers: dict[str, Server]) -> dict[str, Server]:
    """Draining servers serve when nothing else is left."""
    if any(server.state is State.READY for server in servers.values()):
        return servers
    return {
        name: evolve(server, state=State.READY) if server.state is State.DRAIN else server
        for name, server in servers.items()
    }
