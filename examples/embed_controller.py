"""A controller of one's own: objects made in Python, served by a HAProxy of this machine.

usage: python examples/embed_controller.py STATE_DIR [PORT]

Each line on standard input is "NAME PORT [ADDRESS ...]": from now on /NAME is served by that port
of those addresses. The end of the input ends the controller, and HAProxy with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import ip_address
from threading import Thread

from haproxy import (
    Binary,
    Capabilities,
    HAProxyError,
    Layout,
    LiveRuntime,
    LocalProcess,
    StateDirectory,
)
from haproxy_ingress import (
    Controller,
    Endpoint,
    EndpointSlice,
    Ingress,
    MemorySource,
    Meta,
    Path,
    PathType,
    Resource,
    Rule,
    Service,
    ServicePort,
    ServiceTarget,
    Settings,
    SlicePort,
)


def objects(name: str, port: int, addresses: list[str]) -> Iterator[Resource]:
    """What Kubernetes would hold for "NAME is served by these"."""
    meta, target = Meta(name, "default"), ServiceTarget(name, 80)
    yield Ingress(meta, "haproxy", rules=(Rule("", (Path(f"/{name}", PathType.PREFIX, target),)),))
    yield Service(meta, ports=(ServicePort(80),))
    endpoints = tuple(Endpoint((str(ip_address(address)),)) for address in addresses)
    yield EndpointSlice(meta, name, "IPv4", endpoints, (SlicePort("", port),))


def read(source: MemorySource) -> None:
    """Hand over what standard input says, until it ends."""
    for line in sys.stdin:
        try:
            name, port, *addresses = line.split()
            source.put_all(objects(name, int(port), addresses))
        except ValueError as error:
            print(f"{line.strip()!r}: {error}", file=sys.stderr)


def main(state_dir: str, port: int) -> None:
    layout, binary, source = Layout.at(state_dir), Binary(), MemorySource()
    files = StateDirectory.open(layout, binary.check)
    process = LocalProcess(layout, binary)
    socket = str(layout.runtime_socket)
    controller = Controller(
        source,
        Settings(bind_addresses=("127.0.0.1",), http_port=port, runtime_socket=socket),
        files=files,
        process=process,
        runtime=LiveRuntime(socket),
        can=Capabilities.of(binary.version()),
        on_decision=lambda decision: print(decision.to_log_line(), flush=True),
    )

    def follow() -> None:
        read(source)
        controller.stop()

    Thread(target=follow, daemon=True).start()
    try:
        controller.run()
    finally:
        process.stop(grace_s=5.0)
        files.close()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 8080)
    except HAProxyError as error:
        sys.exit(str(error))
