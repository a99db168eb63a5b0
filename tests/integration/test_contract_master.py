"""The master's socket, and what a takeover does to a client of the worker's."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from haproxy.capabilities import Feature
from haproxy.errors import (
    BatchBroken,
    CommandRejected,
    DeadlineExceeded,
    HAProxyError,
    Unreachable,
    Unsupported,
    WorkerReplaced,
)
from haproxy.masters import MasterClient
from haproxy.runtime import RuntimeClient
from tests.integration.kit.real import CERTIFICATE, MAP, Running, running, version

pytestmark = pytest.mark.integration

HERE = version()


@pytest.fixture
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("m")) as haproxy:
        yield haproxy


@pytest.fixture
def master(haproxy: Running) -> MasterClient:
    return MasterClient(haproxy.master)


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < limit_s


def test_processes(master: MasterClient, haproxy: Running) -> None:
    found = master.processes()
    assert found.master == haproxy.process.pid
    assert (len(found.workers), found.old, found.reloads, found.failed) == (1, (), 0, 0)
    assert master.version().startswith(str(HERE))
    assert master.can == HERE


def test_a_reload_succeeds(master: MasterClient, haproxy: Running) -> None:
    before = master.processes().workers[0]
    done = master.reload()
    assert done.success
    assert done.pid not in {0, before}
    assert master.processes().workers == (done.pid,)
    assert master.worker().info().pid == done.pid
    assert ("New worker" in done.log or "new worker" in done.log) is HERE.reload_verdict
    with RuntimeClient(haproxy.socket) as client:
        assert client.info().pid == done.pid


def test_a_reload_fails_and_says_why(master: MasterClient, haproxy: Running) -> None:
    before = master.processes().workers[0]
    good = (haproxy.folder / "cfg").read_text()
    (haproxy.folder / "cfg").write_text(good + "\nbackend broken\n    nonsense\n")
    failed = master.reload()
    assert (failed.success, failed.pid) == (False, before)
    assert ("nonsense" in failed.log) is HERE.reload_verdict
    assert master.worker().info().pid == before
    (haproxy.folder / "cfg").write_text(good)
    assert master.reload().success


def test_a_hard_reload(master: MasterClient) -> None:
    if not HERE.has(Feature.HARD_RELOAD):
        with pytest.raises(Unsupported, match=r"hard-reload: HAProxy 2\.6 lacks it; 2\.9 has it"):
            master.hard_reload()
        return
    before = master.processes().workers[0]
    done = master.hard_reload()
    assert done.success
    assert done.pid != before


def test_the_log_of_the_last_start(master: MasterClient) -> None:
    if not HERE.has(Feature.MASTER_STARTUP_LOGS):
        with pytest.raises(Unsupported, match="show startup-logs"):
            master.startup_log()
        return
    assert "worker" in master.startup_log()


def test_workers_by_pid(master: MasterClient) -> None:
    pid = master.processes().workers[0]
    assert master.worker(pid).info().pid == pid
    with pytest.raises(Unreachable, match="no worker 1"):
        master.worker(1).info()
    with pytest.raises(Unreachable, match="no worker 1"):
        master.worker(1).maps.rows(MAP)


def test_a_session_that_was_idle_over_a_takeover_reaches_the_new_worker(
    master: MasterClient, haproxy: Running
) -> None:
    with RuntimeClient(haproxy.socket) as client:
        client.info()
        done = master.reload()
        client.servers.set_weight("web", "s1", 9)
        assert client.servers.weight("web", "s1").now == 9
        assert client.info().pid == done.pid
    assert master.worker().servers.weight("web", "s1").now == 9


def test_a_takeover_in_mid_batch_is_noticed(master: MasterClient, haproxy: Running) -> None:
    commands = ["set server web/s1 weight 9"] * 30_000
    with RuntimeClient(haproxy.socket, 30) as client:
        error = interrupted(client, commands, master)
        assert isinstance(error.__cause__, HAProxyError)
        assert len(error.applied) + len(error.unknown) == len(commands)
        assert error.transient
        client.servers.set_weight("web", "s1", 7)
        assert client.info().pid == master.processes().workers[0]
    assert master.worker().servers.weight("web", "s1").now == 7


def interrupted(client: RuntimeClient, commands: list[str], master: MasterClient) -> BatchBroken:
    """What a batch says when the reload beside it has taken over before its end."""
    for _ in range(20):
        client.info()
        reload = threading.Thread(target=master.reload)
        reload.start()
        try:
            client.batch(commands)
        except BatchBroken as error:
            return error
        finally:
            reload.join()
    pytest.fail("no batch was ever interrupted")


def test_a_worker_that_stops_between_two_answers_is_noticed(haproxy: Running) -> None:
    with RuntimeClient(haproxy.socket) as client:
        pid = client.info().pid
        client.execute(["disable frontend other"])
        os.kill(pid, signal.SIGUSR1)  # as a master does when another one has taken over
        haproxy.until(lambda: "Stopping: 1" in client.execute(["show info"])[0])
        with pytest.raises((WorkerReplaced, Unreachable)):  # nobody took over here
            client.servers.set_weight("web", "s1", 9)


def test_a_hung_worker_costs_the_deadline(haproxy: Running, master: MasterClient) -> None:
    pid = master.processes().workers[0]
    with RuntimeClient(haproxy.socket, 0.3) as client:
        client.info()
        os.kill(pid, signal.SIGSTOP)
        haproxy.until(lambda: stopped(pid))
        try:
            with within(3), pytest.raises(BatchBroken) as caught:
                client.batch(["set server web/s1 weight 1", "set server web/s1 weight 2"])
            with within(3), pytest.raises(DeadlineExceeded):
                MasterClient(haproxy.master, 0.3).worker().maps.rows(MAP)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert isinstance(caught.value.__cause__, DeadlineExceeded)
    assert caught.value.applied == ()
    assert caught.value.unknown == ("set server web/s1 weight 1", "set server web/s1 weight 2")


def stopped(pid: int) -> bool:
    """Each of its threads; the signal takes its time."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(one.read_text().rpartition(")")[2].split()[0] == "T" for one in threads)


def test_a_batch_says_which_command_was_refused(haproxy: Running) -> None:
    commands = [
        "set server web/s1 weight 3",
        "set server web/none weight 3",
        f"add map {MAP} /n v",
    ]
    with RuntimeClient(haproxy.socket) as client, pytest.raises(CommandRejected) as one:
        client.batch(commands[1:2])
    assert one.value.command == commands[1]
    with RuntimeClient(haproxy.socket) as client:
        with pytest.raises(HAProxyError) as caught:
            client.batch(commands)
        assert client.servers.weight("web", "s1").now == 3
    assert str(caught.value) == (
        "2 applied, 1 refused; No such server. (answering 'set server web/none weight 3')"
    )


def test_another_certificates_transaction_takes_no_key(haproxy: Running) -> None:
    """2.6 would put one certificate's PEM into the transaction of another."""
    pem = (haproxy.folder / CERTIFICATE).read_text()
    with RuntimeClient(haproxy.socket) as client:
        client.certificates.new("n.pem")
        client.certificates.set(CERTIFICATE, pem)
        with pytest.raises(CommandRejected) as caught:
            client.certificates.replace("n.pem", pem)
        assert "PRIVATE" not in repr(caught.value) + str(caught.value)
        client.certificates.abort(CERTIFICATE)
        client.certificates.replace("n.pem", pem)
        assert client.certificates.show("n.pem").names == ("a.test", "www.a.test")
