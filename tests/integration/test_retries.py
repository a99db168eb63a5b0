"""Servers that misbehave: what is tried again, how often, and what is sent once only.

The profile is the one that every Service gets, with shorter timeouts where a test waits for one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import evolve

from haproxy.model import Backend, Bind, Config, Frontend, Profile, Server
from haproxy_ingress.translate import DEFAULT_PROFILE
from tests.integration.kit.net import DEADLINE_S, Response, free_port, request
from tests.integration.kit.servers import Conversation, Manner, Servers, haproxy, servers

pytestmark = pytest.mark.integration

BAD, GOOD = "127.62.0.1", "127.62.0.2"
IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]
OTHERS = ["POST", "PATCH", "PURGE"]
TRIES = 3
SOON = evolve(DEFAULT_PROFILE, server_timeout_ms=200, connect_timeout_ms=200)


def behaves(conversation: Conversation) -> None:
    while conversation.receive():
        conversation.answer()


def closes_after_the_request(conversation: Conversation) -> None:
    conversation.receive()


def resets_after_the_request(conversation: Conversation) -> None:
    conversation.receive()
    conversation.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def closes_in_the_middle(conversation: Conversation) -> None:
    conversation.receive()
    conversation.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")


def says_nothing(conversation: Conversation) -> None:
    conversation.receive()
    conversation.receive()  # until it is given up


def answers_once(conversation: Conversation) -> None:
    """And closes on the second request of a connection, as if it had been idle for too long."""
    conversation.receive()
    conversation.answer()
    conversation.receive()


@contextmanager
def site(
    manners: dict[str, Manner], profile: Profile = DEFAULT_PROFILE, absent: tuple[str, ...] = ()
) -> Iterator[tuple[int, Servers]]:
    """A HAProxy before *manners*, and before servers where nobody listens."""
    port, back = free_port(), free_port()
    found = [
        Server(f"s{number}", address, back, id=number)
        for number, address in enumerate((*absent, *manners), start=1)
    ]
    config = Config(
        profiles={profile.name: profile},
        frontends=(Frontend("f", (Bind("127.0.0.1", port),), (), "b"),),
        backends={"b": Backend("b", profile.name, {one.name: one for one in found})},
    )
    with servers(back, manners) as made, haproxy(config, port):
        yield port, made


def ask(port: int, method: str = "GET") -> Response:
    return request(port, "/", "a.test", method, ["Content-Length: 0"])


@pytest.mark.parametrize("method", [*IDEMPOTENT, *OTHERS])
def test_a_server_that_refuses_is_passed_over(method: str) -> None:
    with site({GOOD: behaves}, absent=(BAD,)) as (port, made):
        for _ in range(6):
            assert ask(port, method).status == 200
        assert made.methods(GOOD) == [method] * 6


def test_a_server_that_does_not_accept_in_time_is_passed_over() -> None:
    back, port = free_port(), free_port()
    full = socket.create_server((BAD, back), backlog=0)
    waiting = [socket.socket() for _ in range(4)]
    with full, servers(back, {GOOD: behaves}) as made:
        for one in waiting:
            one.setblocking(False)
            one.connect_ex((BAD, back))
        found = [Server("s1", BAD, back, id=1), Server("s2", GOOD, back, id=2)]
        config = Config(
            profiles={SOON.name: SOON},
            frontends=(Frontend("f", (Bind("127.0.0.1", port),), (), "b"),),
            backends={"b": Backend("b", SOON.name, {one.name: one for one in found})},
        )
        with haproxy(config, port):
            assert [ask(port, method).status for method in ("GET", "POST")] == [200, 200]
        assert made.methods(GOOD) == ["GET", "POST"]
        for one in waiting:
            one.close()


@pytest.mark.parametrize("manner", [closes_after_the_request, resets_after_the_request])
@pytest.mark.parametrize("method", IDEMPOTENT)
def test_what_is_harmless_goes_to_another_server(method: str, manner: Manner) -> None:
    with site({BAD: manner, GOOD: behaves}) as (port, made):
        for _ in range(4):
            assert ask(port, method).status == 200
        assert made.methods(GOOD) == [method] * 4
        assert made.methods(BAD)


@pytest.mark.parametrize("manner", [closes_after_the_request, resets_after_the_request])
@pytest.mark.parametrize("method", OTHERS)
def test_what_may_have_been_processed_is_sent_once(method: str, manner: Manner) -> None:
    with site({BAD: manner, GOOD: behaves}) as (port, made):
        answers = [ask(port, method).status for _ in range(4)]
        assert sorted(answers) == [200, 200, 502, 502]
        assert len(made.methods(BAD)) == len(made.methods(GOOD)) == 2


@pytest.mark.parametrize(("method", "count"), [("GET", TRIES), ("PUT", TRIES), ("POST", 1)])
def test_so_many_tries_and_no_more(method: str, count: int) -> None:
    with site({BAD: closes_after_the_request}) as (port, made):
        assert ask(port, method).status == 502
        assert made.methods(BAD) == [method] * count


@pytest.mark.parametrize(("method", "count"), [("GET", TRIES), ("POST", 1)])
def test_a_late_answer_is_waited_for_in_so_many_tries(method: str, count: int) -> None:
    with site({BAD: says_nothing}, SOON) as (port, made):
        assert ask(port, method).status == 504
        assert made.methods(BAD) == [method] * count


def test_an_answer_that_has_begun_is_never_asked_for_again() -> None:
    with site({BAD: closes_in_the_middle}) as (port, made):
        assert ask(port).body == b"only this"
        assert made.methods(BAD) == ["GET"]


@pytest.mark.parametrize(("method", "count"), [("GET", 2), ("POST", 1)])
def test_a_kept_connection_that_breaks(method: str, count: int) -> None:
    """The second request goes out on the connection of the first one."""
    with site({BAD: answers_once}) as (port, made):
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
            for asked in ("GET", method):
                head = f"{asked} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"
                connection.sendall(head.encode())
                answered = connection.recv(65_536)
        assert made.methods(BAD) == ["GET", *[method] * count]
        assert (b" 200 OK" in answered) == (method == "GET")


def test_an_upgraded_connection_is_only_under_the_timeout_for_tunnels() -> None:
    def switches(conversation: Conversation) -> None:
        conversation.receive()
        upgraded = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
        conversation.connection.sendall(upgraded)
        while data := conversation.connection.recv(100):
            conversation.connection.sendall(data.upper())

    with (
        site({GOOD: switches}, SOON) as (port, _),
        socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection,
    ):
        head = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
        connection.sendall(head)
        assert b" 101 " in connection.recv(65_536)
        connection.settimeout(5 * SOON.server_timeout_ms / 1e3)
        with pytest.raises(TimeoutError):  # it is still open
            connection.recv(1)
        connection.settimeout(DEADLINE_S)
        connection.sendall(b"still here")
        assert connection.recv(100) == b"STILL HERE"


def test_the_defaults() -> None:
    profile = DEFAULT_PROFILE
    assert profile.connect_timeout_ms == 5_000
    assert profile.server_timeout_ms == 60_000
    assert profile.tunnel_timeout_ms == 3_600_000
    assert profile.retries == TRIES - 1
    assert Frontend("f", ()).client_timeout_ms == 60_000
