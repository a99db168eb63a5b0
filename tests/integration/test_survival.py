"""Crashes, hangs and strangers, under traffic: service resumes by itself as it should be.

HAProxy's worker and master and the daemon are killed without warning; HAProxy is stopped for a
while; somebody else reloads it; files cannot be written.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic

import pytest

from tests.integration.kit.daemon import PATIENCE_S, Daemon, running
from tests.integration.kit.load import load
from tests.integration.kit.net import ask
from tests.integration.kit.objects import Object, endpoints, ingress, service
from tests.integration.kit.pods import Pods

pytestmark = pytest.mark.integration

HOST = "web.test"
ONE, TWO, THREE = "127.60.0.1", "127.60.0.2", "127.60.0.3"
ENOUGH = 300
STOPPED_S = 5.0
SOON_S = 5.0  # a generous bound for what takes a tenth of it


def site(pods: list[str], port: int, *more: Object) -> list[Object]:
    """A Service with *pods*, and its route."""
    return [
        ingress("web", HOST, {"/": "web"}),
        service("web"),
        endpoints("web", pods, port),
        *more,
    ]


def another(name: str, port: int) -> list[Object]:
    """A Service more: up to HAProxy 3.2 a reload."""
    objects: list[Object] = [ingress(name, f"{name}.test", {"/": name}), service(name)]
    return [*objects, endpoints(name, [THREE], port)]


@pytest.fixture
def daemon(fast: Pods) -> Iterator[Daemon]:
    """Serves one Service, whose second pod came at runtime."""
    with running({"web.yaml": site([ONE], fast.port)}) as daemon:
        scale(daemon, [ONE, TWO], fast)
        yield daemon


def scale(daemon: Daemon, pods: list[str], fast: Pods) -> None:
    daemon.write("web.yaml", site(pods, fast.port))
    settle(daemon, pods, fast)


def settle(daemon: Daemon, pods: list[str], fast: Pods) -> None:
    servers = [f"{address}:{fast.port}" for address in pods]
    daemon.wait_for(lambda: serving(daemon) == servers)


def serving(daemon: Daemon) -> list[str]:
    try:
        return daemon.serving("web")
    except OSError:
        return []


def ids(daemon: Daemon) -> dict[str, str]:
    """The id of each server, by its name."""
    table = ask(daemon.state / "haproxy.sock", "show servers state").splitlines()[2:]
    rows = [line.split() for line in table if line]
    return {row[3]: row[2] for row in rows if row[1].startswith("default_web_")}


def worker(daemon: Daemon) -> int:
    return daemon.served().pid


def master(daemon: Daemon) -> int:
    rows = [row.split() for row in ask(daemon.state / "master.sock", "show proc").splitlines()]
    return next(int(row[0]) for row in rows if row[1:2] == ["master"])


def workers(daemon: Daemon) -> list[str]:
    """Every process on the state directory that is no daemon."""
    return [line for line in daemon.left() if "haproxy_ingress" not in line]


def answers(daemon: Daemon) -> bool:
    try:
        return daemon.request("/", HOST).status == 200
    except (OSError, AssertionError):
        return False


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait(what: Callable[[], object], limit_s: float = 30.0) -> float:
    """How long it took until *what* was true, which is asked without a pause."""
    began_s = monotonic()
    while not what():
        assert monotonic() - began_s < limit_s
    return monotonic() - began_s


@pytest.mark.parametrize("victim", [worker, master])
def test_haproxy_is_killed(daemon: Daemon, fast: Pods, victim: Callable[[Daemon], int]) -> None:
    """It serves again with the routes, endpoints and ids that it had."""
    before, known = daemon.served(), ids(daemon)
    with load(daemon.port, HOST) as client:
        client.after(ENOUGH)
        os.kill(victim(daemon), signal.SIGKILL)
        took_s = wait(lambda: ended(before.pid) and answers(daemon))
        settle(daemon, [ONE, TWO], fast)
        failed = len(client.failures)
        assert set(client.after(ENOUGH)) == {f"{ONE}:{fast.port}", f"{TWO}:{fast.port}"}
        assert len(client.failures) == failed
    assert took_s < SOON_S
    assert worker(daemon) != before.pid
    assert ids(daemon) == known
    daemon.wait_for(lambda: daemon.admin("/readyz").status == 200)
    assert daemon.decisions()[0]["reasons"] == ["start"]
    assert len(workers(daemon)) == 2


def test_a_stopped_worker_without_a_master_holds_no_port(daemon: Daemon, fast: Pods) -> None:
    """It could not end itself, and would share the port with the next one in silence."""
    orphan = worker(daemon)
    os.kill(orphan, signal.SIGSTOP)
    os.kill(master(daemon), signal.SIGKILL)
    daemon.wait_for(lambda: not any(line.startswith(f"{orphan} ") for line in daemon.left()))
    settle(daemon, [ONE, TWO], fast)
    with load(daemon.port, HOST) as client:
        client.after(ENOUGH)
    assert not client.failures


def test_the_daemon_is_killed(daemon: Daemon, fast: Pods) -> None:
    """HAProxy serves on; the next daemon takes it over as it is, and knows what happened since."""
    before, known, files = daemon.served(), ids(daemon), config(daemon)
    with load(daemon.port, HOST) as client, kept(daemon) as connection:
        client.after(ENOUGH)
        daemon.process.kill()
        daemon.process.wait()
        client.after(ENOUGH)
        daemon.write("web.yaml", site([TWO, THREE], fast.port))
        daemon.restart()
        settle(daemon, [TWO, THREE], fast)
        assert set(client.after(ENOUGH)) == {f"{TWO}:{fast.port}", f"{THREE}:{fast.port}"}
        assert get(connection) == 200
    assert not client.failures
    assert daemon.served() == before
    assert ids(daemon)[name_of(TWO)] == known[name_of(TWO)]
    decisions = daemon.decisions()
    assert [one["action"] for one in decisions] == ["runtime"]
    assert decisions[0]["reasons"][0] == f"worker {before.pid} taken over"
    daemon.wait_for(lambda: THREE in config(daemon))
    assert description(config(daemon)) == description(files)


def test_the_daemon_is_killed_and_nothing_changed(daemon: Daemon, fast: Pods) -> None:
    before = daemon.served()
    daemon.process.kill()
    daemon.process.wait()
    daemon.restart()
    assert daemon.served() == before
    (decision,) = daemon.decisions()
    assert (decision["action"], decision["commands"]) == ("none", 0), decision["reasons"]
    scale(daemon, [THREE], fast)
    assert daemon.served() == before


def test_again_and_again(daemon: Daemon, fast: Pods) -> None:
    """Also before the files have followed what was changed at runtime."""
    before = daemon.served()
    for pods in ([THREE], [ONE, TWO, THREE], [TWO]):
        scale(daemon, pods, fast)
        daemon.process.kill()
        daemon.process.wait()
        daemon.restart()
        settle(daemon, pods, fast)
    assert daemon.served() == before


def test_the_structure_changed_meanwhile(daemon: Daemon, fast: Pods) -> None:
    """A new Service is a reload, up to HAProxy 3.2; afterwards all is as if nothing had been."""
    before = daemon.served()
    daemon.process.kill()
    daemon.process.wait()
    daemon.write("more.yaml", another("more", fast.port))
    with load(daemon.port, HOST) as client:
        daemon.restart()
        daemon.wait_for(lambda: daemon.pod("/", "more.test") == THREE)
        client.after(ENOUGH)
    assert not client.failures
    dynamic = daemon.version() >= (3, 4)
    assert daemon.served().reloads == before.reloads + (0 if dynamic else 1)
    assert len(workers(daemon)) >= 2


def test_a_listener_changed_meanwhile(daemon: Daemon, fast: Pods) -> None:
    before = daemon.served()
    daemon.process.kill()
    daemon.process.wait()
    daemon.command = (*daemon.command, "--bind-address", "127.0.0.2")
    daemon.restart()
    assert daemon.served().reloads == before.reloads + 1
    settle(daemon, [ONE, TWO], fast)


def test_haproxy_speaks_to_a_pipe_that_nobody_reads(daemon: Daemon, fast: Pods) -> None:
    """The pipe of its output ends with the daemon that made it."""
    daemon.process.kill()
    daemon.process.wait()
    before = daemon.served()
    for _ in range(3):
        ask(daemon.state / "master.sock", "reload")
        reloads = before.reloads
        wait(lambda reloads=reloads: reloaded(daemon) > reloads)  # type: ignore[misc]
        before = daemon.served()
    assert answers(daemon)
    daemon.restart()
    settle(daemon, [ONE, TWO], fast)
    assert daemon.served() == before
    daemon.write("more.yaml", another("more", fast.port))
    daemon.wait_for(lambda: daemon.pod("/", "more.test") == THREE)


def reloaded(daemon: Daemon) -> int:
    try:
        rows = [row.split() for row in ask(daemon.state / "master.sock", "show proc").splitlines()]
    except OSError:
        return -1
    return next((int(row[2]) for row in rows if row[1:2] == ["master"]), -1)


def test_haproxy_hangs(daemon: Daemon, fast: Pods) -> None:
    """Nothing waits for it longer than a moment, and it is up to date soon after it returns."""
    before = daemon.served()
    with load(daemon.port, HOST) as client:
        client.after(ENOUGH)
        slowest_s = 0.0
        with stopped(before.pid):
            noticed_s = wait(lambda: daemon.admin("/readyz").status == 503)
            daemon.write("web.yaml", site([THREE], fast.port))
            end_s = monotonic() + STOPPED_S - noticed_s
            while monotonic() < end_s:
                for path in ("/healthz", "/api/v1/status", "/api/v1/decisions"):
                    slowest_s = max(slowest_s, wait(lambda p=path: daemon.admin(p).status == 200))  # type: ignore[misc]
        took_s = wait(lambda: serving(daemon) == [f"{THREE}:{fast.port}"])
        assert set(client.after(ENOUGH)) == {f"{THREE}:{fast.port}"}
    assert noticed_s < SOON_S
    assert slowest_s < SOON_S
    assert took_s < SOON_S
    assert daemon.served() == before
    assert daemon.admin("/readyz").status == 200
    assert client.total > ENOUGH


def test_the_master_hangs(daemon: Daemon, fast: Pods) -> None:
    """The worker serves and takes commands; only reloads wait."""
    before = daemon.served()
    with stopped(master(daemon)):
        scale(daemon, [THREE], fast)
        daemon.write("more.yaml", another("more", fast.port))
        scale(daemon, [ONE], fast)
    daemon.wait_for(lambda: daemon.pod("/", "more.test") == THREE)
    settle(daemon, [ONE], fast)
    assert daemon.served().reloads <= before.reloads + 1


def test_somebody_else_reloads(daemon: Daemon, fast: Pods) -> None:
    """Their worker has what lay on disk, and is soon brought up to date."""
    before = daemon.served()
    scale(daemon, [ONE, THREE], fast)
    with load(daemon.port, HOST) as client:
        ask(daemon.state / "master.sock", "reload")
        wait(lambda: reloaded(daemon) > before.reloads)
        settle(daemon, [ONE, THREE], fast)
        daemon.wait_for(lambda: daemon.admin("/api/v1/status").json()["worker_pid"] != before.pid)
        scale(daemon, [TWO], fast)
        assert set(client.after(ENOUGH)) == {f"{TWO}:{fast.port}"}
    assert not client.failures
    assert daemon.served().reloads == before.reloads + 1
    reasons = [reason for one in daemon.decisions() for reason in one["reasons"]]
    assert any(reason.endswith(f"answers, not {before.pid}") for reason in reasons)


def test_files_cannot_be_written(daemon: Daemon, fast: Pods) -> None:
    """What needs none of them goes on; one clear line says why; later all is made up for."""
    before = daemon.served()
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (20_000, hard))
    paths = {f"/{'x' * 100}/{number}": "web" for number in range(300)}
    daemon.write("long.yaml", ingress("long", HOST, paths))
    daemon.wait_for(lambda: any("File too large" in one["error"] for one in daemon.decisions()))
    scale(daemon, [THREE], fast)
    daemon.write("more.yaml", another("more", fast.port))
    daemon.loadable()
    scale(daemon, [ONE], fast)
    assert daemon.served().pid == before.pid
    errors = {one["error"] for one in daemon.decisions() if one["error"]}
    assert all("File too large" in error and "\n" not in error for error in errors), errors
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    daemon.wait_for(lambda: daemon.pod("/", "more.test") == THREE)
    daemon.wait_for(lambda: f"{ONE}:{fast.port}" in config(daemon))
    daemon.loadable()


@pytest.mark.parametrize("upgraded", [False, True], ids=["slow", "upgraded"])
def test_what_is_in_flight_is_finished(upgraded: bool) -> None:
    """After SIGTERM a slow response and an upgraded connection come to their end; then it exits."""
    with socket.create_server(("127.0.0.1", 0)) as pod:
        pod.settimeout(PATIENCE_S)
        port = int(pod.getsockname()[1])
        with running({"web.yaml": site(["127.0.0.1"], port)}) as daemon:
            with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as client:
                client.sendall(UPGRADE if upgraded else SLOW)
                inside, _ = pod.accept()
                with inside:
                    inside.recv(65_536)
                    inside.sendall(UPGRADED if upgraded else b"HTTP/1.1 200 OK\r\n\r\nslow")
                    first = client.recv(65_536)
                    daemon.process.terminate()
                    daemon.wait_for(lambda: not listens(daemon.port))
                    inside.sendall(b" and all of it")
                    inside.shutdown(socket.SHUT_RDWR)
                rest = b"".join(iter(lambda: client.recv(65_536), b""))
            assert (first + rest).endswith(b" and all of it")
            assert daemon.process.wait(10) == 0
            assert not daemon.left()


SLOW = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
UPGRADE = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n".encode()
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def kept(daemon: Daemon) -> Iterator[HTTPConnection]:
    """A keep-alive connection that must outlast everything."""
    connection = HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    try:
        assert get(connection) == 200
        connection.auto_open = 0
        yield connection
    finally:
        connection.close()


def get(connection: HTTPConnection) -> int:
    connection.request("GET", "/", headers={"Host": HOST})
    with connection.getresponse() as response:
        response.read()
        return response.status


def config(daemon: Daemon) -> str:
    return (daemon.state / "haproxy.cfg").read_text()


def description(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("  description "))


def name_of(address: str) -> str:
    return f"pod-{address.replace('.', '-')}"
