"""What is spoken besides plain HTTP/1.1: upgrades, HTTP/2 on either side, the PROXY protocol."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.http2 import request_h2, speaks_h2
from tests.integration.kit.net import DEADLINE_S, Response, free_port, parse, read_all
from tests.integration.kit.objects import Object, endpoints, ingress, service
from tests.integration.kit.pods import Pods
from tests.integration.kit.servers import Conversation, servers

pytestmark = pytest.mark.integration

HOST = "a.test"
ONE, OTHER = "127.61.0.1", "127.61.0.2"


def site(port: int, *pods: str, protocol: str = "") -> dict[str, list[Object]]:
    ports = [{"port": 80, "name": "http"} | ({"appProtocol": protocol} if protocol else {})]
    objects = [ingress("i", HOST, {"/": "web"}), service("web", ports=ports)]
    return {"all.yaml": [*objects, endpoints("web", pods, port)]}


# Upgrades.

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TEXT, CLOSE = 0x81, 0x88


def accepted(key: str) -> str:
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def frame(kind: int, payload: bytes, mask: bytes = b"") -> bytes:
    """A WebSocket frame (RFC 6455, 5.2) of less than 64 KiB; a client's has a mask."""
    size, bit = len(payload), 0x80 if mask else 0
    head = bytes([kind, bit | size]) if size < 126 else struct.pack(">BBH", kind, bit | 126, size)
    return head + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes) -> bytes:
    if not mask:
        return payload
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def read_frame(connection: socket.socket) -> tuple[int, bytes]:
    kind, size = read_exactly(connection, 2)
    mask_bit, size = size & 0x80, size & 0x7F
    if size == 126:
        (size,) = struct.unpack(">H", read_exactly(connection, 2))
    mask = read_exactly(connection, 4) if mask_bit else b""
    return kind, masked(read_exactly(connection, size), mask)


def read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("closed in the middle of a frame")
        data += part
    return data


def speaks_websocket(conversation: Conversation) -> None:
    """Says hello, then sends back what it gets, until it is told to close."""
    head = conversation.receive()
    lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    assert lines["upgrade"] == "websocket"
    conversation.connection.sendall(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accepted(KEY)}\r\n\r\n".encode()
    )
    conversation.connection.sendall(frame(TEXT, b"hello"))
    kind = TEXT
    while kind != CLOSE:
        kind, payload = read_frame(conversation.connection)
        conversation.connection.sendall(frame(kind, payload))


@contextmanager
def websocket(port: int) -> Iterator[socket.socket]:
    head = (
        f"GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(head.encode())
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += connection.recv(1)
        answer = parse(received)
        assert answer.status == 101, answer
        assert answer.headers["sec-websocket-accept"] == accepted(KEY)
        yield connection


@pytest.mark.parametrize("protocol", ["", "kubernetes.io/ws"])
def test_a_websocket_passes_both_ways(protocol: str) -> None:
    port = free_port()
    with (
        servers(port, {ONE: speaks_websocket}) as made,
        running(site(port, ONE, protocol=protocol)) as daemon,
        websocket(daemon.port) as connection,
    ):
        assert read_frame(connection) == (TEXT, b"hello")
        for payload in (b"a", b"b" * 125, b"c" * 126, b"d" * 40_000):
            connection.sendall(frame(TEXT, payload, b"\1\2\3\4"))
            assert read_frame(connection) == (TEXT, payload)
        connection.sendall(frame(CLOSE, b"", b"\1\2\3\4"))
        assert read_frame(connection) == (CLOSE, b"")
        assert connection.recv(1) == b""
        assert "x-forwarded-for: 127.0.0.1" in made.requests[ONE][0]


def test_a_websocket_outlives_the_routes_that_led_to_it() -> None:
    port = free_port()
    with (
        servers(port, {ONE: speaks_websocket}),
        running(site(port, ONE)) as daemon,
        websocket(daemon.port) as connection,
    ):
        assert read_frame(connection) == (TEXT, b"hello")
        daemon.write("all.yaml", site(port, OTHER)["all.yaml"])
        daemon.wait_for(lambda: daemon.serving("web") == [f"{OTHER}:{port}"])
        connection.sendall(frame(TEXT, b"still here", b"\1\2\3\4"))
        assert read_frame(connection) == (TEXT, b"still here")


# HTTP/2.


def test_clients_may_speak_http2(echo: Pods) -> None:
    with running(site(echo.port, ONE)) as daemon:
        forged = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https"), ("proxy", "x")]
        answer = request_h2(daemon.port, "/a?b", HOST, headers=forged)
        assert answer.status == 200
        seen = Response(200, {}, answer.body).json()
        assert (seen["pod"], seen["target"]) == (ONE, "/a?b")
        headers = dict(seen["headers"])
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-original-forwarded-for"] == "6.6.6.6"
        assert headers["x-forwarded-proto"] == "http"
        assert headers["x-forwarded-host"] == headers["host"] == HOST
        assert "proxy" not in headers


@pytest.mark.parametrize("protocol", ["kubernetes.io/h2c", "h2c", "grpc"])
def test_servers_that_say_so_are_spoken_to_in_http2(protocol: str) -> None:
    port = free_port()
    with (
        servers(port, {ONE: speaks_h2, OTHER: speaks_h2}),
        running(site(port, ONE, protocol=protocol)) as daemon,
    ):
        over_h1 = daemon.request("/x", HOST).json()
        assert over_h1["protocol"] == "h2"
        assert over_h1["headers"]["x-forwarded-for"] == "127.0.0.1"
        answer = request_h2(daemon.port, "/x", HOST, "POST", [("te", "trailers")])
        assert (answer.status, answer.trailers) == (200, {"grpc-status": "0"})


def test_servers_added_at_runtime_speak_http2_too() -> None:
    port = free_port()
    with (
        servers(port, {ONE: speaks_h2, OTHER: speaks_h2}),
        running(site(port, ONE, protocol="h2c")) as daemon,
    ):
        before = daemon.served()
        daemon.write("all.yaml", site(port, OTHER, protocol="h2c")["all.yaml"])
        daemon.wait_for(lambda: daemon.serving("web") == [f"{OTHER}:{port}"])
        assert daemon.request("/", HOST).json()["protocol"] == "h2"
        assert daemon.served() == before
        daemon.loadable()


def test_a_service_may_change_what_it_speaks(echo: Pods) -> None:
    port = free_port()
    with servers(port, {ONE: speaks_h2}), running(site(echo.port, OTHER)) as daemon:
        assert daemon.pod("/", HOST) == OTHER
        daemon.write("all.yaml", site(port, ONE, protocol="h2c")["all.yaml"])
        daemon.wait_for(lambda: b'"h2"' in daemon.request("/", HOST).body)
        daemon.write("all.yaml", site(echo.port, OTHER)["all.yaml"])
        daemon.wait_for(lambda: b'"pod"' in daemon.request("/", HOST).body)


def test_an_unknown_protocol_is_said_and_plain_http_is_spoken(echo: Pods) -> None:
    with running(site(echo.port, ONE, protocol="kubernetes.io/wss")) as daemon:
        assert daemon.pod("/", HOST) == ONE
        assert "appProtocol kubernetes.io/wss of port 80 of Service web" in daemon.printed


# The PROXY protocol.

CLIENT, CLIENT6 = "198.51.100.7", "2001:db8::7"


def v1(family: str = "TCP4", client: str = CLIENT, us: str = "203.0.113.1") -> bytes:
    return f"PROXY {family} {client} {us} 4711 443\r\n".encode()


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"  # the proxy itself asks, for a health check say


def v2(client: str = CLIENT, us: str = "203.0.113.1") -> bytes:
    source, destination = ip_address(client), ip_address(us)
    kind = 0x11 if source.version == 4 else 0x21
    places = source.packed + destination.packed + struct.pack(">HH", 4711, 443)
    return SIGNATURE + struct.pack(">BBH", 0x21, kind, len(places)) + places


@pytest.fixture(scope="module")
def proxied(echo: Pods) -> Iterator[Daemon]:
    with running(site(echo.port, ONE), "--proxy-protocol") as daemon:
        yield daemon


def ask_through(port: int, preamble: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        head = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        connection.sendall(preamble + head)
        try:
            return read_all(connection)
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    ("preamble", "client", "port"),
    [
        pytest.param(v1(), CLIENT, "443", id="v1"),
        pytest.param(v1("TCP6", CLIENT6, "2001:db8::1"), CLIENT6, "443", id="v1-ipv6"),
        pytest.param(b"PROXY UNKNOWN\r\n", "127.0.0.1", "", id="v1-unknown"),
        pytest.param(v2(), CLIENT, "443", id="v2"),
        pytest.param(v2(CLIENT6, "2001:db8::1"), CLIENT6, "443", id="v2-ipv6"),
        pytest.param(LOCAL, "127.0.0.1", "", id="v2-local"),
    ],
)
def test_the_proxy_protocol_says_who_the_client_is(
    proxied: Daemon, preamble: bytes, client: str, port: str
) -> None:
    answer = parse(ask_through(proxied.port, preamble))
    headers = dict(answer.json()["headers"])
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == client
    assert headers["x-forwarded-port"] == (port or str(proxied.port))


@pytest.mark.parametrize(
    "preamble",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"PROXY TCP4 nonsense\r\n", id="nonsense"),
        pytest.param(b"PROXY TCP4 " + b"1" * 200 + b"\r\n", id="too-long"),
    ],
)
def test_who_does_not_speak_it_is_refused(proxied: Daemon, preamble: bytes) -> None:
    assert b"200 OK" not in ask_through(proxied.port, preamble)


def test_it_is_refused_where_nobody_asked_for_it(echo: Pods) -> None:
    with running(site(echo.port, ONE)) as daemon:
        assert ask_through(daemon.port, b"").startswith(b"HTTP/1.1 200")
        assert parse(ask_through(daemon.port, v1())).status == 400
