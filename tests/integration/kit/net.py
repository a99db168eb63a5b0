"""Ports that are free, a client that sends exactly what it is told, and HAProxy's sockets."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import frozen

DEADLINE_S = 10.0


# Below the range that outgoing connections are given.
_PORTS = iter(random.sample(range(15_000, 30_000), 15_000))


def free_port() -> int:
    """A port nobody listens on, and that nobody else was given: who asked may not listen yet."""
    for port in _PORTS:
        with socket.socket() as probe, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            try:
                probe.bind(("0.0.0.0", port))
                datagrams.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise AssertionError("every port is in use")


@frozen
class Response:
    """An answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def request(
    port: int,
    target: str,
    host: str | Iterable[str] | None,
    method: str = "GET",
    headers: Iterable[str] = (),
    version: str = "1.1",
    source: str = "127.0.0.1",
) -> Response:
    """One request on a connection of its own; *target* and headers go out as they are.

    host: the value of the Host header, several for several headers, None for none. source: the
    client's address.
    """
    hosts = [host] if isinstance(host, str) else [] if host is None else list(host)
    lines = [f"{method} {target} HTTP/{version}", *(f"Host: {value}" for value in hosts)]
    lines += [*headers, "Connection: close", "", ""]
    place = (source, 0)
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S, place) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        return parse(read_all(connection))


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def parse(data: bytes) -> Response:
    """The response that *data*, everything up to the end of the connection, holds."""
    head, separator, body = data.partition(b"\r\n\r\n")
    assert separator, f"no complete response: {data[:200]!r}"
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in rest)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    return Response(int(first.split(" ", 2)[1]), headers, body)


def _unchunked(data: bytes) -> bytes:
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        count = int(size.partition(b";")[0], 16)
        if not count:
            return body
        body, data = body + data[:count], data[count + 2 :]


def ask(path: Path, command: str) -> str:
    """HAProxy's answer to one command on a socket of its Runtime API or of its master."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(path))
        connection.sendall(f"{command}\n".encode())
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection).decode()
