"""The Runtime API client against a real HAProxy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import frozen

from haproxy.capabilities import Capabilities
from haproxy.errors import (
    CommandRejected,
    DeadlineExceeded,
    Interrupted,
    InvalidValue,
    ProcessChanged,
    Unreachable,
)
from haproxy.live import LiveRuntime
from haproxy.model import Row, Server, State
from haproxy.ops import (
    AddBackend,
    AddRow,
    AddServer,
    DelBackend,
    DelRow,
    DelServer,
    Op,
    ReplaceMap,
    Result,
    SetAddress,
    SetRow,
    SetState,
    SetWeight,
)
from haproxy.runtime import RuntimeClient, ask
from haproxy.tables import MapRow, ServerState
from tests.integration.kit.net import free_port

pytestmark = pytest.mark.integration

HAPROXY = os.environ.get("HAPROXY", "haproxy")
EXAMPLE = Path(__file__).parents[2] / "examples" / "runtime_client.py"
CONFIG = """
global
    stats socket {folder}/s level admin
    stats socket ipv4@127.0.0.1:{port} level admin
    description structure-1
    hard-stop-after 5s
defaults profile
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front from profile
    bind {folder}/http
    use_backend %[path,map({folder}/hosts.map,web)]
backend web from profile
    server s1 127.0.0.1:9 id 1
"""


@frozen
class Live:
    """A HAProxy that runs for one test."""

    folder: Path
    process: subprocess.Popen[bytes]
    port: int

    @property
    def socket(self) -> str:
        return str(self.folder / "s")

    @property
    def master(self) -> str:
        return str(self.folder / "m")

    @property
    def map(self) -> str:
        return str(self.folder / "hosts.map")

    @property
    def runtime(self) -> LiveRuntime:
        return LiveRuntime(self.socket)

    @property
    def client(self) -> RuntimeClient:
        return RuntimeClient(self.socket)

    def run(self, *ops: Op) -> list[Result]:
        batch = self.runtime.run(ops, self.runtime.pid())
        assert [result.op for result in batch.results] == list(ops)
        return list(batch.results)

    def statuses(self, *ops: Op) -> list[str]:
        return [result.status for result in self.run(*ops)]

    def server(self, name: str, backend: str = "web") -> ServerState:
        with self.client as client:
            rows = {row.name: row for row in client.servers_state(backend)}
        return rows[name]

    def rows(self) -> list[MapRow]:
        with self.client as client:
            return list(client.map_rows(self.map))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait, but never for a HAProxy that is dead."""
        for _ in range(1_000):
            if condition():
                return
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"HAProxy exited with {self.process.wait(0.01)}: {self.said()}")
        pytest.fail(f"waited in vain: {self.said()}")

    def said(self) -> str:
        return (self.folder / "stderr").read_text()

    def answers(self) -> bool:
        try:
            return bool(ask(self.master, "show proc", 2)) and self.runtime.pid() > 0
        except (Unreachable, Interrupted):
            return False


@pytest.fixture
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("h")
    port = free_port()
    (folder / "cfg").write_text(CONFIG.format(folder=folder, port=port))
    (folder / "hosts.map").write_text("/a web\n")
    command = [HAPROXY, "-W", "-S", str(folder / "m"), "-f", str(folder / "cfg")]
    with (folder / "stderr").open("wb") as stderr, subprocess.Popen(command, stderr=stderr) as run:
        haproxy = Live(folder, run, port)
        try:
            haproxy.until(haproxy.answers)
            yield haproxy
        finally:
            run.terminate()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < limit_s


# Each operation, read back.


def test_a_server_is_added_as_it_should_be(live: Live) -> None:
    ready = Server("a", "10.0.0.1", 80, weight=3, id=10)
    drain = Server("b", "fd00::1", 8080, weight=0, state=State.DRAIN, id=11)
    maint = Server("c", "10.0.0.3", 80, state=State.MAINT, id=2**20 - 1)
    servers = (ready, drain, maint)
    assert live.statuses(*(AddServer("web", server) for server in servers)) == ["done"] * 3
    for server in servers:
        found = live.server(server.name)
        assert (found.id, found.address, found.port) == (server.id, server.address, server.port)
        assert (found.weight, found.state) == (server.weight, server.state)
        assert found.running == (server.state is not State.MAINT)


def test_a_server_that_is_there_already_is_left_alone(live: Live) -> None:
    assert live.statuses(SetState("web", "s1", State.MAINT)) == ["done"]
    [result] = live.run(AddServer("web", Server("s1", "10.0.0.1", 80, id=9)))
    assert (result.status, result.reply) == (
        "refused",
        "Already exists a server with the same name in backend.",
    )
    assert live.server("s1").state is State.MAINT
    assert live.server("s1").address == "127.0.0.1"


@pytest.mark.parametrize("address", ["10.1.2.3", "fd00::1"])
def test_an_address_is_changed(live: Live, address: str) -> None:
    assert live.statuses(SetAddress("web", "s1", address, 8081)) == ["done"]
    assert (live.server("s1").address, live.server("s1").port) == (address, 8081)
    assert live.statuses(SetAddress("web", "s1", address, 8081)) == ["done"]
    assert live.statuses(SetAddress("web", "s1", address, 8082)) == ["done"]
    assert live.server("s1").port == 8082


def test_an_address_that_is_done_is_what_runs(live: Live) -> None:
    for turn in range(60):
        address = f"10.0.0.{turn % 2 + 1}"
        assert live.statuses(SetAddress("web", "s1", address, 80)) == ["done"]
        assert live.server("s1").address == address


def test_an_address_that_does_not_arrive_is_no_success(live: Live) -> None:
    """Of two changes of one server in one batch, HAProxy since 3.0 may lose one."""
    for _ in range(20):
        ops = [SetAddress("web", "s1", f"10.0.0.{last}", 80) for last in (1, 2, 1)]
        statuses = live.statuses(*ops)
        arrived = live.server("s1").address == "10.0.0.1"
        assert statuses[-1] == ("done" if arrived else "refused")


def test_an_address_changed_on_the_way_out_is_not_missed(live: Live) -> None:
    live.run(AddServer("web", Server("a", "10.0.0.1", 80, state=State.MAINT, id=10)))
    ops = (SetAddress("web", "a", "10.0.0.2", 80), DelServer("web", "a"))
    assert live.statuses(*ops) == ["done", "done"]


@pytest.mark.parametrize("weight", [0, 256])
def test_a_weight_is_set(live: Live, weight: int) -> None:
    assert live.statuses(SetWeight("web", "s1", weight)) == ["done"]
    assert live.server("s1").weight == weight


@pytest.mark.parametrize("state", [State.MAINT, State.DRAIN, State.READY])
def test_a_state_is_set(live: Live, state: State) -> None:
    assert live.statuses(SetState("web", "s1", state)) == ["done"]
    assert live.server("s1").state is state


def test_a_server_is_deleted_once_it_is_in_maintenance(live: Live) -> None:
    assert live.statuses(DelServer("web", "s1")) == ["refused"]
    assert live.statuses(SetState("web", "s1", State.MAINT), DelServer("web", "s1")) == [
        "done",
        "done",
    ]
    with live.client as client:
        assert client.servers_state("web") == ()
    assert live.statuses(DelServer("web", "s1"), DelServer("gone", "s1")) == ["done", "done"]


def test_a_server_with_connections_is_busy(live: Live) -> None:
    with socket.create_server(("127.0.0.1", 0)) as pod, socket.socket(socket.AF_UNIX) as visitor:
        live.run(SetAddress("web", "s1", "127.0.0.1", pod.getsockname()[1]))
        visitor.connect(str(live.folder / "http"))
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        connection, _ = pod.accept()
        with connection:
            ops = (SetState("web", "s1", State.MAINT), DelServer("web", "s1"))
            assert live.statuses(*ops) == ["done", "busy"]


def test_rows_are_added_set_and_deleted(live: Live) -> None:
    ops = (AddRow(live.map, "/b", "1"), SetRow(live.map, "/a", "2"), DelRow(live.map, "/b"))
    assert live.statuses(*ops[:2]) == ["done", "done"]
    assert live.rows() == [MapRow("/a", "2"), MapRow("/b", "1")]
    assert live.statuses(ops[2], ops[2], SetRow(live.map, "/b", "1")) == ["done", "done", "refused"]
    assert live.rows() == [MapRow("/a", "2")]
    assert live.statuses(AddRow("other.map", "/b", "1"), AddRow(live.map, "/c", "1")) == [
        "refused",
        "done",
    ]


PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
VALUES = [
    "plain",
    "two words",
    "a;del server web/s1",
    "\\",
    "\\\\;",
    "\\ ;",
    "<<",
    "x <<",
    "x <<END",
    "'single' \"double\"",
    "# no comment",
    "@1",
    "%[path]",
    "é \u2028 \U0001f600",
    PRINTABLE,
    *(f"{char}x{char}" for char in PRINTABLE),
]


def test_values_arrive_as_they_are(live: Live) -> None:
    rows = {f"k{number}": Row(value) for number, value in enumerate(VALUES)}
    expected = [MapRow(key, row.value) for key, row in rows.items()]
    assert set(live.statuses(*(AddRow(live.map, key, row.value) for key, row in rows.items()))) == {
        "done"
    }
    assert live.rows()[1:] == expected
    live.run(*(SetRow(live.map, key, "other") for key in rows))
    assert set(live.statuses(*(SetRow(live.map, key, row.value) for key, row in rows.items()))) == {
        "done"
    }
    assert live.rows()[1:] == expected
    assert live.statuses(ReplaceMap(live.map, rows)) == ["done"]
    assert live.rows() == expected
    assert live.server("s1").running


def test_keys_arrive_as_they_are(live: Live) -> None:
    keys = [f"{char}k{char}" for char in PRINTABLE if char != "#"] + ["k#", "<<", "é", PRINTABLE]
    assert set(live.statuses(*(AddRow(live.map, key, "1") for key in keys))) == {"done"}
    assert [row.key for row in live.rows()[1:]] == keys
    assert set(live.statuses(*(SetRow(live.map, key, "2") for key in keys))) == {"done"}
    assert {row.value for row in live.rows()[1:]} == {"2"}
    assert set(live.statuses(*(DelRow(live.map, key) for key in keys))) == {"done"}
    assert live.rows() == [MapRow("/a", "web")]


def test_a_map_is_replaced_as_a_whole_and_in_order(live: Live) -> None:
    rows = {f"/{number * 7919 % 20_000}": Row(f"b {number}") for number in range(20_000)}
    assert live.statuses(ReplaceMap(live.map, rows)) == ["done"]
    assert live.rows() == [MapRow(key, row.value) for key, row in rows.items()]
    assert live.statuses(ReplaceMap(live.map, {})) == ["done"]
    assert live.rows() == []
    assert live.statuses(ReplaceMap("other.map", rows)) == ["refused"]


def test_a_backend_lives_and_dies(live: Live) -> None:
    with live.client as client:
        version = client.info().version
    added = (
        AddBackend("dynamic", "profile"),
        AddServer("dynamic", Server("a", "10.0.0.1", 80, id=1)),
    )
    if not Capabilities.of(version).dynamic_backends:
        assert live.statuses(*added, DelBackend("dynamic")) == ["refused"] * 3
        return
    assert live.statuses(*added) == ["done", "done"]
    assert live.server("a", "dynamic").running
    assert live.statuses(DelBackend("dynamic")) == ["busy"]
    removed = (
        SetState("dynamic", "a", State.MAINT),
        DelServer("dynamic", "a"),
        DelBackend("dynamic"),
    )
    assert live.statuses(*removed) == ["done"] * 3
    assert live.statuses(DelBackend("dynamic")) == ["done"]
    with live.client as client, pytest.raises(CommandRejected):
        client.servers_state("dynamic")


def test_a_batch_of_many_goes_through(live: Live) -> None:
    servers = [
        Server(f"pod-{number}", f"10.0.{number // 250}.{number % 250}", 80, id=number + 10)
        for number in range(1_000)
    ]
    assert set(live.statuses(*(AddServer("web", server) for server in servers))) == {"done"}
    moved = [SetAddress("web", server.name, "10.9.9.9", 81) for server in servers]
    assert set(live.statuses(*moved)) == {"done"}
    with live.client as client:
        assert all(row.address == "10.9.9.9" for row in client.servers_state("web")[1:])
        dumps = client.execute(["show servers state web"] * 100)
    assert len(dumps) == 100
    assert len(set(dumps)) <= 3  # it also says for how many seconds
    ops = [SetState("web", server.name, State.MAINT) for server in servers]
    gone = [DelServer("web", server.name) for server in servers]
    assert set(live.statuses(*ops, *gone)) == {"done"}


def test_one_value_that_cannot_be_carried_stops_no_other(live: Live) -> None:
    ops = (AddRow(live.map, "a b", "1"), AddRow(live.map, "c", "2"))
    assert live.statuses(*ops) == ["refused", "done"]


# Reading.


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_the_client_reads_records(live: Live, kind: str) -> None:
    address = live.socket if kind == "unix" else f"tcp:127.0.0.1:{live.port}"
    with RuntimeClient(address) as client:
        process = client.info()
        assert process.pid == live.runtime.pid()
        assert process.description == "structure-1"
        assert client.servers_state() == client.servers_state("web")
        with pytest.raises(CommandRejected):
            client.servers_state("other")
        with pytest.raises(CommandRejected):
            client.map_rows("other.map")
        assert client.execute(["bogus", "show version"])[1] == process.version


def test_ask_reads_to_the_end(live: Live) -> None:
    assert f"Pid: {live.runtime.pid()}\n" in ask(live.socket, "show info", 2)
    assert f"\n{live.runtime.pid()} " in ask(live.master, "show proc", 2)


def test_the_example_prints_what_runs(live: Live) -> None:
    command = [sys.executable, str(EXAMPLE), live.socket]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    assert f", pid {live.runtime.pid()}, " in shown
    assert "web/s1 127.0.0.1:9 ready weight 1\n" in shown


def test_the_example_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "none")]
    failed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert failed.returncode == 1
    assert "No such file" in failed.stderr
    assert "Traceback" not in failed.stderr


# Which worker it is.


def test_nothing_is_sent_to_another_worker(live: Live) -> None:
    pid = live.runtime.pid()
    with pytest.raises(ProcessChanged) as caught:
        live.runtime.run([SetWeight("web", "s1", 0)], pid + 1)
    assert (caught.value.expected, caught.value.found) == (pid + 1, pid)
    assert live.server("s1").weight == 1


def test_a_reload_is_noticed(live: Live) -> None:
    pid = live.runtime.pid()
    with live.client as old:
        old.info()
        live.process.send_signal(signal.SIGUSR2)
        live.until(lambda: live.answers() and live.runtime.pid() != pid)
        with pytest.raises(ProcessChanged):
            live.runtime.run([SetWeight("web", "s1", 0)], pid)
    assert live.server("s1").weight == 1
    assert live.statuses(SetWeight("web", "s1", 0)) == ["done"]


def test_a_stopped_haproxy_costs_no_more_than_the_deadline(live: Live) -> None:
    runtime = LiveRuntime(live.socket, deadline_s=0.2)
    pid = live.runtime.pid()
    with RuntimeClient(live.socket, 0.2) as client, stopped(pid):
        calls: list[Callable[[], object]] = [
            client.info,
            client.info,
            runtime.pid,
            lambda: runtime.run([SetWeight("web", "s1", 0)], pid),
            lambda: ask(live.socket, "show info", 0.2),
        ]
        for call in calls:
            with within(3), pytest.raises(DeadlineExceeded) as caught:
                call()
            assert caught.value.command in {"prompt", "show info"}
            assert caught.value.answered == 0
    assert live.runtime.pid() == pid


def test_what_cannot_be_sent_leaves_the_session_usable(live: Live) -> None:
    with live.client as client:
        with pytest.raises(InvalidValue):
            client.execute(["show info;show stat"])
        assert client.info().pid > 0
        assert client.execute([]) == ()
