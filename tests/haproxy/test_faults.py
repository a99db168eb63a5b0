"""A HAProxy that misbehaves: nothing outlasts its deadline, and errors say what is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from haproxy.errors import (
    BatchBroken,
    DeadlineExceeded,
    Interrupted,
    ProcessChanged,
    Unreachable,
    UnreadableReply,
)
from haproxy.live import LiveRuntime
from haproxy.model import Backend, Config, Map, Profile, Row, Server
from haproxy.ops import AddRow, AddServer, ReplaceMap, SetWeight
from haproxy.runtime import RuntimeClient
from haproxy.testing import (
    Close,
    Drip,
    FakeHAProxy,
    FakeSocket,
    Fault,
    Hang,
    Notice,
    Refuse,
    Restart,
)

P = Profile()
HOSTS = "maps/hosts.map"
S1, S2 = Server("s1", "10.0.0.1", 80, id=1), Server("s2", "10.0.0.2", 80, id=2)
CONFIG = Config(
    profiles={P.name: P},
    backends={"web": Backend("web", P.name, {"s1": S1})},
    maps={HOSTS: Map(HOSTS, {"a": Row("web")})},
)
VERSIONS = ("2.6.12", "3.0.11", "3.2.26", "3.4.7")
OPS = (SetWeight("web", "s1", 7), AddRow(HOSTS, "b", "web"), AddServer("web", S2))


@pytest.fixture(params=VERSIONS)
def double(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FakeSocket]:
    path = tmp_path_factory.mktemp("d") / "s"
    with FakeSocket(FakeHAProxy.serving(CONFIG, request.param), path) as found:
        yield found


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < limit_s


def run(double: FakeSocket, deadline_s: float = 5.0) -> list[str]:
    runtime = LiveRuntime(double.address, deadline_s=deadline_s)
    batch = runtime.run(OPS, double.haproxy.pid())
    return [result.status for result in batch.results]


def test_what_is_done_through_the_socket_is_done(double: FakeSocket) -> None:
    assert run(double) == ["done"] * 3
    web = double.haproxy.config.backends["web"]
    assert (web.servers["s1"].weight, web.servers["s2"]) == (7, S2)
    assert double.haproxy.config.maps[HOSTS].rows == {"a": Row("web"), "b": Row("web")}
    assert double.haproxy.log[-4:] == [
        *("set server web/s1 weight 7", f"add map {HOSTS} b web"),
        "add server web/s2 10.0.0.2:80 id 2 weight 1",
        "enable server web/s2",
    ]


@pytest.mark.parametrize(
    ("fault", "command", "answered"),
    [
        (Hang(), "prompt", 0),
        (Hang("show info"), "show info", 0),
        (Hang("add map"), f"add map {HOSTS} b web", 1),
        (Hang("enable server"), "enable server web/s2", 3),
    ],
)
def test_a_hang_costs_the_deadline_and_is_named(
    double: FakeSocket, fault: Fault, command: str, answered: int
) -> None:
    double.faults.append(fault)
    with within(3), pytest.raises(DeadlineExceeded) as caught:
        run(double, 0.2)
    assert (caught.value.command, caught.value.answered) == (command, answered)


def test_a_connection_that_ends_in_mid_reply_is_named(double: FakeSocket) -> None:
    double.faults.append(Close("add server"))
    with pytest.raises(Interrupted) as caught:
        run(double)
    assert caught.value.command == "add server web/s2 10.0.0.2:80 id 2 weight 1"
    assert caught.value.answered == 2
    assert "s2" in double.haproxy.config.backends["web"].servers  # which nobody could know


def test_a_reply_byte_by_byte_is_a_reply(double: FakeSocket) -> None:
    double.faults.append(Drip())
    assert run(double) == ["done"] * 3
    with RuntimeClient(double.address) as client:
        assert client.servers_state()[0].name == "s1"


def test_a_refusal_stops_no_other(double: FakeSocket) -> None:
    double.faults.append(Refuse("add map", "no room"))
    assert run(double) == ["done", "refused", "done"]
    assert "b" not in double.haproxy.config.maps[HOSTS].rows


def test_a_notice_before_a_reply_is_none(double: FakeSocket) -> None:
    double.faults.append(Notice("add server", "Server web/s9 is going DOWN for maintenance."))
    assert run(double) == ["done"] * 3


def test_a_notice_without_a_question_costs_the_connection(double: FakeSocket) -> None:
    with RuntimeClient(double.address) as client:
        client.info()
        double.say("[NOTICE]   (1) : something happened.\n")
        assert client.info().pid == double.haproxy.pid()


def test_a_prompt_too_many_is_noticed(double: FakeSocket) -> None:
    double.faults.append(Notice("show version", "one\n\n> two"))
    with RuntimeClient(double.address) as client, pytest.raises(UnreadableReply):
        client.execute(["show version"])


@pytest.mark.parametrize("on", ["set server", "add map", "enable server"])
def test_a_restart_in_mid_batch_is_noticed(double: FakeSocket, on: str) -> None:
    before = double.haproxy.pid()
    double.faults.append(Restart(on))
    with pytest.raises(ProcessChanged) as caught:
        run(double)
    after = double.haproxy.pid()
    assert (caught.value.expected, caught.value.found) == (before, after)
    assert double.haproxy.config.backends == CONFIG.backends  # to no effect
    assert run(double) == ["done"] * 3


def test_an_old_session_is_answered_by_the_old_worker(double: FakeSocket) -> None:
    with RuntimeClient(double.address) as old:
        before = old.info().pid
        double.haproxy.restart()
        assert old.info().pid == before
        assert old.execute(["set server web/s1 weight 9"]) == ("",)
        assert old.execute(["get weight web/s1"]) == ("9 (initial 1)",)
        assert old.servers_state("web")[0].weight == 1  # what it reads, it reads of who serves
    assert double.haproxy.config.backends["web"].servers["s1"].weight == 1


def test_a_batch_of_changes_says_what_was_applied_and_what_is_not_known(
    double: FakeSocket,
) -> None:
    commands = [f"set server web/s1 weight {weight}" for weight in (2, 3, 4)]
    double.faults.append(Close(commands[1]))
    with RuntimeClient(double.address) as client, pytest.raises(BatchBroken) as caught:
        client.batch(commands)
    assert caught.value.applied == (commands[0],)
    assert caught.value.unknown == tuple(commands[1:])


def test_a_large_transaction_that_hangs_costs_one_deadline(double: FakeSocket) -> None:
    double.faults.append(Hang("commit map"))
    rows = {f"k{number}": Row("web") for number in range(2_000)}
    runtime = LiveRuntime(double.address, deadline_s=0.3)
    with within(5), pytest.raises(DeadlineExceeded) as caught:
        runtime.run((ReplaceMap(HOSTS, rows),), double.haproxy.pid())
    assert caught.value.command.startswith("commit map @1")


def test_all_that_is_asked_of_a_hung_one_ends(double: FakeSocket) -> None:
    pid = double.haproxy.pid()
    double.faults.append(Hang())
    runtime = LiveRuntime(double.address, deadline_s=0.1)
    client = RuntimeClient(double.address, 0.1)
    calls: list[Callable[[], object]] = [
        *(runtime.pid, runtime.identity, lambda: runtime.read(CONFIG, pid)),
        *(client.info, client.servers_state, lambda: client.can),
    ]
    for call in calls:
        with within(3), pytest.raises(DeadlineExceeded):
            call()


def test_what_cannot_be_bound_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="AF_UNIX"), FakeSocket(FakeHAProxy(), tmp_path / ("x" * 120)):
        pass


def test_nobody_listens_afterwards(tmp_path_factory: pytest.TempPathFactory) -> None:
    double = FakeSocket(FakeHAProxy.serving(CONFIG), tmp_path_factory.mktemp("d") / "s")
    with double:
        assert LiveRuntime(double.address).pid() == double.haproxy.pid()
    with pytest.raises(Unreachable):
        LiveRuntime(double.address).pid()
