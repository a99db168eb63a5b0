"""The client against sockets that misbehave: what is known then, and what is never said."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from haproxy.errors import (
    BatchBroken,
    DeadlineExceeded,
    HAProxyError,
    Interrupted,
    InvalidValue,
    UnreadableReply,
    WorkerReplaced,
)
from haproxy.masters import MasterClient
from haproxy.runtime import RuntimeClient
from tests.haproxy.test_runtime import Script, played, within

KEY = "c2VjcmV0LWtleS1tYXRlcmlhbA"
PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n"
INFO = "Version: 3.2.0\nPid: 7\nUptime_sec: 1\nStopping: {stopping}\n"
COMMANDS = [f"set server web/s1 weight {weight}" for weight in (1, 2, 3)]


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c") / "s"


def answers(*replies: str, stopping: int = 0, then: bytes = b"", closes: bool = False) -> Script:
    """A worker in prompt mode that answers `show info`, and these replies to all else.

    then: what it says to the next command. closes: whether it closes behind that; otherwise it
    keeps quiet.
    """

    def script(connection: socket.socket) -> None:
        rest, buffer = list(replies), b""
        while data := connection.recv(65_536):
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                if line == b"prompt":
                    connection.sendall(b"\n> ")
                elif line == b"show info":
                    connection.sendall(INFO.format(stopping=stopping).encode() + b"\n> ")
                elif rest:
                    connection.sendall(f"{rest.pop(0)}\n\n> ".encode())
                else:
                    connection.sendall(then)
                    if closes:
                        connection.close()
                    return

    return script


def broken(address: str, deadline_s: float = 5.0, patience_s: float | None = None) -> BatchBroken:
    client = RuntimeClient(address, deadline_s, patience_s)
    with client, within(3), pytest.raises(BatchBroken) as caught:
        client.batch(COMMANDS)
    return caught.value


def test_a_connection_that_ends_in_mid_batch(path: Path) -> None:
    with played(path, answers("", "No such server.", then=b"\n", closes=True)) as address:
        error = broken(address)
    assert error.applied == (COMMANDS[0],)
    assert error.refused == ((COMMANDS[1], "No such server."),)
    assert error.unknown == (COMMANDS[2],)
    assert isinstance(error.__cause__, Interrupted)
    assert error.__cause__.command == COMMANDS[2]
    assert error.transient
    assert str(error) == (
        "1 applied, 1 refused; No such server. (answering 'set server web/s1 weight 2'); "
        "not known: 'set server web/s1 weight 3'"
    )


def test_a_connection_that_is_reset_in_mid_batch(path: Path) -> None:
    def resets(connection: socket.socket) -> None:
        connection.recv(10)  # of more: to close with unread bytes is to reset
        connection.sendall(b"\n> \n> ")
        connection.close()

    with played(path, resets) as address:
        error = broken(address)
    assert error.applied in {(), (COMMANDS[0],)}
    assert error.unknown == tuple(COMMANDS[len(error.applied) :])


def test_a_reply_that_does_not_come_costs_the_deadline(path: Path) -> None:
    with played(path, answers("")) as address:
        error = broken(address, 0.2)
    assert (error.applied, error.unknown) == ((COMMANDS[0],), tuple(COMMANDS[1:]))
    assert isinstance(error.__cause__, DeadlineExceeded)
    assert (error.__cause__.command, error.__cause__.deadline_s) == (COMMANDS[1], 0.2)


def test_one_command_may_be_given_less_time_than_the_batch(path: Path) -> None:
    with played(path, answers("")) as address:
        error = broken(address, 60, patience_s=0.2)
    assert isinstance(error.__cause__, DeadlineExceeded)
    assert (error.__cause__.command, error.__cause__.deadline_s) == (COMMANDS[1], 0.2)


def test_replies_too_many_are_noticed(path: Path) -> None:
    with played(path, answers("", then=b"\n> " * 9)) as address:
        error = broken(address)
    assert isinstance(error.__cause__, UnreadableReply)
    assert error.applied[:1] == (COMMANDS[0],)


def test_a_worker_that_is_replaced_in_mid_batch(path: Path) -> None:
    with played(path, answers("", "", "", stopping=1)) as address:
        error = broken(address)
    assert (error.applied, error.unknown) == ((), tuple(COMMANDS))
    assert isinstance(error.__cause__, WorkerReplaced)
    assert error.__cause__.pid == 7


def test_a_worker_that_was_replaced_while_nothing_was_said(path: Path) -> None:
    """What it is told first has no effect, so that the next one may be told again."""
    old, new = answers(*[""] * 3, stopping=1), answers(*[""] * 3)
    with played(path, old, new) as address, RuntimeClient(address) as client:
        client.info()
        assert client.batch(COMMANDS) == ("", "", "")
        client.info()


def test_nobody_who_knows_its_pid(path: Path) -> None:
    def stranger(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"\n> " + b"220 welcome\n\n> " * 4)

    with (
        played(path, stranger) as address,
        RuntimeClient(address) as client,
        pytest.raises(UnreadableReply, match="show info"),
    ):
        client.maps.delete("m", "k")


def test_an_answer_of_the_master_that_was_cut(path: Path) -> None:
    def cuts(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"half an ans")
        connection.close()

    with played(path, cuts) as address, pytest.raises(Interrupted) as caught:
        MasterClient(address).worker().execute(["show info"])
    assert (caught.value.command, caught.value.answered) == ("show info", 0)


def secretive(address: str) -> list[Callable[[], object]]:
    """Everything that carries a key."""
    client = RuntimeClient(address, 0.2)
    master = MasterClient(address, 0.2).worker()
    command = f"set ssl cert c.pem <<\n{PEM}"
    return [
        lambda: client.certificates.replace("c.pem", PEM),
        lambda: client.certificates.replace("c.pem", PEM * 2_000),
        lambda: client.certificates.set("c.pem", PEM + "\0"),
        lambda: client.certificates.set("no such name", PEM),
        lambda: client.batch([command, "show info"]),
        lambda: client.execute([command]),
        lambda: client.execute([f"{command}\n\n{PEM}"]),
        lambda: client.execute([f"set ssl cert c.pem <<\n{PEM}".rstrip()]),
        lambda: client.ca_files.replace("c.pem", PEM),
        lambda: client.maps.add("m", "k", f"{KEY}\n"),
        lambda: client.maps.add_rows("m", {"k": f" {KEY}"}),
        lambda: master.certificates.replace("c.pem", PEM),
    ]


def silent(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(silent, id="never answers"),
        pytest.param(answers(then=b"", closes=True), id="closes"),
        pytest.param(answers("No.", "No.", "No.", "No."), id="refuses"),
        pytest.param(answers(then=b"\n> " * 9), id="says too much"),
    ],
)
@pytest.mark.parametrize("number", range(12))
def test_no_error_and_no_log_line_holds_a_key(
    path: Path, script: Script, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with played(path, *[script] * 3) as address:
        call = secretive(address)[number]
        with within(5), pytest.raises((HAProxyError, InvalidValue)) as caught:
            call()
        for _ in range(3):  # so that nobody waits for a connection that never comes
            with socket.socket(socket.AF_UNIX) as visitor:
                visitor.connect(address)
    errors = [caught.value, *chain(caught.value)]
    texts = [str(one) + repr(one) for one in errors] + [str(vars(one)) for one in errors]
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in "".join([*texts, shown, caplog.text])


def chain(error: BaseException) -> list[BaseException]:
    below = error.__cause__ or error.__context__
    return [below, *chain(below)] if below else []


def test_no_repr_holds_a_key(path: Path) -> None:
    with played(path, answers(PEM, PEM)) as address, RuntimeClient(address) as client:
        client.execute(["dump ssl cert c.pem"])
        assert KEY not in repr(client) + repr(client.certificates)
