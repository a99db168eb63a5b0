"""Print what runs behind a Runtime API socket.

usage: python examples/runtime_client.py SOCKET

SOCKET is the path of a HAProxy's `stats socket`, or tcp:HOST:PORT.
"""

from __future__ import annotations

import sys

from haproxy.errors import HAProxyError
from haproxy.runtime import RuntimeClient


def main(address: str) -> None:
    with RuntimeClient(address, deadline_s=2.0) as haproxy:
        process = haproxy.info()
        print(f"HAProxy {process.version}, pid {process.pid}, up for {process.uptime_s} s")
        for server in haproxy.servers_state():
            socket = f"{server.address}:{server.port}"
            print(f"{server.backend}/{server.name} {socket} {server.state} weight {server.weight}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except HAProxyError as error:
        sys.exit(str(error))
