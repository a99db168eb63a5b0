"""HTTP/2 without TLS and without an upgrade: a server's manner, and a client."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable

from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
)

from tests.integration.kit.net import DEADLINE_S
from tests.integration.kit.servers import Conversation

Headers = dict[str, str]


def speaks_h2(conversation: Conversation) -> None:
    """Answers every request with what it was, as JSON, and with the trailer ``grpc-status``."""
    connection = conversation.connection
    talk = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
    talk.initiate_connection()
    connection.sendall(talk.data_to_send())
    heads: dict[int, Headers] = {}
    bodies: dict[int, bytes] = {}
    while data := connection.recv(65_536):
        for event in talk.receive_data(data):
            match event:
                case RequestReceived():
                    assert event.stream_id
                    heads[event.stream_id] = _headers(event.headers)
                    bodies[event.stream_id] = b""
                case DataReceived():
                    assert event.stream_id
                    bodies[event.stream_id] += event.data or b""
                case StreamEnded():
                    assert event.stream_id
                    _answer(talk, event.stream_id, heads, bodies)
        connection.sendall(talk.data_to_send())


def _answer(
    talk: H2Connection, stream: int, heads: dict[int, Headers], bodies: dict[int, bytes]
) -> None:
    seen = {"protocol": "h2", "headers": heads[stream], "body": bodies[stream].decode()}
    talk.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
    talk.send_data(stream, json.dumps(seen).encode())
    talk.send_headers(stream, [("grpc-status", "0")], end_stream=True)


@define
class Answer:
    status: int = 0
    headers: Headers = field(factory=dict)
    body: bytes = b""
    trailers: Headers = field(factory=dict)
    ended: bool = False

    def take(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                self.headers = _headers(event.headers)
                self.status = int(self.headers[":status"])
            case DataReceived():
                self.body += event.data or b""
            case TrailersReceived():
                self.trailers = _headers(event.headers)
            case StreamEnded():
                self.ended = True


def request_h2(
    port: int, path: str, host: str, method: str = "GET", headers: Iterable[tuple[str, str]] = ()
) -> Answer:
    """One request with prior knowledge: the connection's first bytes are HTTP/2's preface."""
    talk = H2Connection(H2Configuration(header_encoding="latin-1"))
    head = [(":method", method), (":scheme", "http"), (":authority", host), (":path", path)]
    answer = Answer()
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        talk.initiate_connection()
        talk.send_headers(1, [*head, *headers], end_stream=True)
        connection.sendall(talk.data_to_send())
        while not answer.ended and (data := connection.recv(65_536)):
            for event in talk.receive_data(data):
                answer.take(event)
            connection.sendall(talk.data_to_send())
    return answer


def _headers(pairs: Iterable[tuple[str | bytes, str | bytes]] | None) -> Headers:
    return {_text(name): _text(value) for name, value in pairs or ()}


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
