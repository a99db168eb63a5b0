"""The client against sockets that misbehave."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from haproxy.errors import (
    DeadlineExceeded,
    Interrupted,
    InvalidValue,
    ProcessChanged,
    Unreachable,
    UnreadableReply,
)
from haproxy.live import LiveRuntime
from haproxy.ops import SetWeight
from haproxy.runtime import Deadline, RuntimeClient, Session, ask


@pytest.fixture
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The path of a socket that takes connections and never answers."""
    path = str(tmp_path_factory.mktemp("q") / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        yield path


Script = Callable[[socket.socket], None]


@contextmanager
def played(path: Path, *scripts: Script) -> Iterator[str]:
    """A socket where the first connection meets the first script, and so on."""
    with ExitStack() as stack, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def play() -> None:
            for script in scripts:
                connection, _ = listener.accept()
                stack.callback(connection.close)
                with suppress(OSError):
                    script(connection)

        thread = threading.Thread(target=play)
        thread.start()
        yield str(path)
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < limit_s


def worker(pid: int) -> Script:
    """A HAProxy 3.2 with that pid, where everything succeeds in silence."""

    def script(connection: socket.socket) -> None:
        reply = f"Version: 3.2.0\nPid: {pid}\nUptime_sec: 1\n\n> ".encode()
        while data := connection.recv(1000):
            for line in data.splitlines():
                connection.sendall(reply if line == b"show info" else b"\n> ")

    return script


def test_a_worker_replaced_meanwhile_is_noticed(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("p") / "s"
    with played(path, worker(1), worker(2)) as address, pytest.raises(ProcessChanged) as caught:
        LiveRuntime(address).run([SetWeight("web", "s1", 0)], 1)
    assert (caught.value.expected, caught.value.found) == (1, 2)


def calls(address: str, deadline_s: float) -> list[Callable[[], object]]:
    """Everything that talks to a socket."""
    runtime = LiveRuntime(address, deadline_s=deadline_s)
    client = RuntimeClient(address, deadline_s)
    return [
        lambda: ask(address, "show info", deadline_s),
        runtime.pid,
        lambda: runtime.run([SetWeight("web", "s1", 0)], 1),
        lambda: client.execute(["show info"] * 1_000),
    ]


def test_a_socket_that_never_answers(silent: str) -> None:
    for call in calls(silent, 0.1):
        with within(3), pytest.raises(DeadlineExceeded):
            call()


def test_a_backlog_that_is_full_is_waited_for(silent: str) -> None:
    with ExitStack() as stack:
        while True:
            visitor = stack.enter_context(socket.socket(socket.AF_UNIX))
            visitor.setblocking(False)
            try:
                visitor.connect(silent)
            except BlockingIOError:
                break
        with within(3), pytest.raises(DeadlineExceeded):
            ask(silent, "show info", 0.1)


def drip(connection: socket.socket) -> None:
    """Answers forever, a byte at a time."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    while True:
        connection.sendall(b"x")


def endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 1_000)


@pytest.mark.parametrize("script", [drip, endless])
def test_an_answer_that_never_ends(
    tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    path = tmp_path_factory.mktemp("d") / "s"
    with (
        played(path, script) as address,
        RuntimeClient(address, 0.2) as client,
        within(3),
        pytest.raises(DeadlineExceeded),
    ):
        client.info()


def say(text: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(text)
        connection.close()

    return script


def test_a_connection_that_ends_in_the_middle(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("e") / "s"
    with (
        played(path, say(b"\n> one\n\n> tw")) as address,
        RuntimeClient(address) as client,
        pytest.raises(Interrupted) as caught,
    ):
        client.execute(["show one", "set ssl cert c <<\nPRIVATE\n", "show three"])
    assert (caught.value.command, caught.value.answered) == ("set ssl cert c <<", 1)
    assert "PRIVATE" not in str(caught.value)


def test_a_session_that_was_closed_while_idle_is_opened_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("r") / "s"
    closed = threading.Event()

    def once(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"\n> one\n\n> ")
        connection.close()
        closed.set()

    with played(path, once, once) as address, RuntimeClient(address) as client:
        for _ in range(2):
            assert client.execute(["show one"]) == ("one",)
            assert closed.wait(5)
            closed.clear()


@pytest.mark.parametrize("address", ["none", "x" * 200, "tcp:127.0.0.1:1"])
def test_nobody_there(tmp_path: Path, address: str) -> None:
    address = address if address.startswith("tcp:") else str(tmp_path / address)
    for call in calls(address, 1.0):
        with pytest.raises(Unreachable) as caught:
            call()
        assert caught.value.address == address
        assert caught.value.transient


@pytest.mark.parametrize("address", ["tcp:", "tcp:127.0.0.1", "tcp:127.0.0.1:x", "tcp:h:70000"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(InvalidValue):
        ask(address, "show info", 1)


def test_an_answer_before_the_question() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\n> one\n\n> ")
        with pytest.raises(UnreadableReply):
            Session(ours).execute(("show one",), Deadline.after(1))
