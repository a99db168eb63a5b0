"""The state directory and the process, with a real HAProxy."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from attrs import define, field

from haproxy.errors import AlreadyRunning, ConfigRefused, FilesFailed, InvalidValue, ProcessFailed
from haproxy.files import Layout, StateDirectory
from haproxy.local import Binary, LocalProcess
from haproxy.master import Master
from haproxy.runtime import Deadline, ask
from tests.integration.kit.net import free_port

pytestmark = pytest.mark.integration

HAPROXY = os.environ.get("HAPROXY", "haproxy")
SOON_S = 10.0


@contextmanager
def listener() -> Iterator[socket.socket]:
    """A port of another process: nobody may share it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(SOON_S)
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


@define(eq=False)
class Site:
    """A small configuration: ``/`` is answered with a map's value, ``/slow`` by *upstream*."""

    layout: Layout
    upstream: int = 9
    port: int = field(factory=free_port)

    def files(self, word: str = "one", port: int = 0, extra: str = "") -> Mapping[str, bytes]:
        text = f"""\
global
    default-path config
    stats socket {self.layout.runtime_socket} mode 600 level admin
    hard-stop-after 30s
defaults
    mode http
    option idle-close-on-response
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend http
    bind 127.0.0.1:{port or self.port}
    acl root path /
    http-request return content-type text/plain lf-string "%[path,map(maps/words.map)]" if root
    default_backend slow
    {extra}
backend slow
    server s1 127.0.0.1:{self.upstream}
"""
        return {"haproxy.cfg": text.encode(), "maps/words.map": f"/ {word}\n".encode()}

    def get(self, client: socket.socket, path: str = "/") -> str:
        """The body of the answer, on a connection that stays."""
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        return body(client)

    def client(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SOON_S)

    def word(self) -> str:
        with self.client() as client:
            return self.get(client)


def body(client: socket.socket) -> str:
    with client.makefile("rb") as stream:
        headers = dict(
            line.split(b": ", 1) for line in iter(stream.readline, b"\r\n") if b": " in line
        )
        return stream.read(int(headers[b"content-length"])).decode()


def answer(connection: socket.socket, text: str) -> None:
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


def snapshot(root: Path) -> dict[str, bytes | str]:
    """Every file and link, without sockets."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def loadable(layout: Layout) -> bool:
    command = [HAPROXY, "-c", "-f", str(layout.root / "haproxy.cfg")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def haproxies(layout: Layout) -> set[int]:
    """The living processes that were started on this directory, by their pids."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile; of a zombie nothing is left to read
            if f"{layout.master_socket},mode,600".encode() in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
    return found


@pytest.fixture
def layout() -> Iterator[Layout]:
    """A short path: those of sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="hi-") as folder:
        layout = Layout.at(Path(folder) / "state")
        yield layout
        survivors = haproxies(layout)
        for pid in survivors:
            os.kill(pid, signal.SIGKILL)
        assert not survivors


@pytest.fixture
def directory(layout: Layout) -> Iterator[StateDirectory]:
    with closing(StateDirectory.open(layout, Binary(HAPROXY).check)) as directory:
        yield directory


@pytest.fixture
def upstream() -> Iterator[socket.socket]:
    with listener() as server:
        yield server


@pytest.fixture
def site(directory: StateDirectory, upstream: socket.socket) -> Site:
    site = Site(directory.layout, port_of(upstream))
    directory.publish(site.files())
    return site


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def process(layout: Layout, said: list[str]) -> Iterator[LocalProcess]:
    process = LocalProcess(layout, Binary(HAPROXY), said.append)
    yield process
    process.stop(0.0)


class TestFiles:
    def test_what_is_published_is_private_and_under_the_fixed_names(
        self, site: Site, layout: Layout
    ) -> None:
        assert (layout.root / "maps/words.map").read_bytes() == b"/ one\n"
        assert (layout.root / "certs").is_dir()
        assert loadable(layout)
        for path in [layout.root, *layout.root.rglob("*")]:
            expected = 0o700 if path.is_dir() else 0o600
            assert path.is_symlink() or path.stat().st_mode & 0o777 == expected, path

    def test_what_did_not_change_is_not_written_again(
        self, site: Site, layout: Layout, directory: StateDirectory
    ) -> None:
        before = (layout.current / "maps/words.map").stat().st_ino
        directory.publish(site.files(extra="maxconn 100"))
        assert (layout.current / "maps/words.map").stat().st_ino == before
        assert b"maxconn 100" in (layout.root / "haproxy.cfg").read_bytes()

    def test_what_haproxy_refuses_leaves_everything_as_it_was(
        self, site: Site, layout: Layout, directory: StateDirectory
    ) -> None:
        before = snapshot(layout.root)
        with pytest.raises(ConfigRefused) as caught:
            directory.publish(site.files("two", extra="nonsense"))
        assert snapshot(layout.root) == before
        assert len(caught.value.alerts) == 1
        assert "parsing [haproxy.cfg:16] : unknown keyword 'nonsense'" in caught.value.alerts[0]

    def test_the_row_of_a_map_that_haproxy_refuses_is_named(
        self, site: Site, directory: StateDirectory
    ) -> None:
        rule = "http-request set-var(txn.x) path,map_reg(maps/regex.map)"
        files = {**site.files(extra=rule), "maps/regex.map": b"/a a\n/(b b\n"}
        with pytest.raises(ConfigRefused, match=r"at line 2 of file 'maps/regex.map'"):
            directory.publish(files)

    def test_a_first_candidate_that_is_refused_leaves_nothing_to_load(
        self, layout: Layout, directory: StateDirectory
    ) -> None:
        with pytest.raises(ConfigRefused):
            directory.publish({"haproxy.cfg": b"nonsense\n"})
        assert snapshot(layout.root) == {"lock": b""}

    def test_rollback_brings_back_what_was_there(
        self, site: Site, layout: Layout, directory: StateDirectory
    ) -> None:
        before = snapshot(layout.current)
        directory.publish(site.files("two"))
        directory.rollback()
        assert snapshot(layout.current) == before
        assert loadable(layout)

    def test_it_is_loadable_at_every_moment(
        self, site: Site, layout: Layout, directory: StateDirectory
    ) -> None:
        verdicts: list[bool] = []
        over = threading.Event()

        def look() -> None:
            while not over.is_set():
                verdicts.append(loadable(layout))

        onlooker = threading.Thread(target=look)
        onlooker.start()
        try:
            for number in range(60):
                rule = f"http-request set-var(txn.x) path,map(maps/m{number}.map)"
                files = {**site.files(extra=rule), f"maps/m{number}.map": b"/ x\n"}
                directory.publish(files)
        finally:
            over.set()
            onlooker.join()
        assert len(verdicts) > 5
        assert all(verdicts)

    def test_one_owner_at_a_time(self, layout: Layout, directory: StateDirectory) -> None:
        with pytest.raises(AlreadyRunning, match="in use"):
            StateDirectory.open(layout, directory.check)
        directory.close()
        StateDirectory.open(layout, directory.check).close()

    def test_a_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(FilesFailed, match=r"file.*Not a directory"):
            StateDirectory.open(Layout(tmp_path / "file/state"), Binary(HAPROXY).check)

    def test_a_full_disk_leaves_everything_as_it_was(
        self, site: Site, layout: Layout, directory: StateDirectory
    ) -> None:
        before = snapshot(layout.root)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        files = {**site.files("two"), "maps/large.map": b"# large\n" * 10_000}
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(FilesFailed, match="File too large"):
                directory.publish(files)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert snapshot(layout.root) == before

    def test_a_path_too_long_for_sockets(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidValue, match="sockets"):
            Layout.at(tmp_path / ("x" * 80))

    def test_without_a_program_nothing_is_published(self, site: Site, layout: Layout) -> None:
        other = Layout(layout.root / "other")
        with closing(StateDirectory.open(other, Binary("/no/haproxy").check)) as directory:
            with pytest.raises(ProcessFailed, match="/no/haproxy: no such program"):
                directory.publish(site.files())
            assert not list(other.root.glob("gen-*"))


class TestStart:
    def test_it_serves_when_start_returns(
        self, site: Site, process: LocalProcess, said: list[str]
    ) -> None:
        pid = process.start()
        assert site.word() == "one"
        assert process.alive()
        assert haproxies(site.layout) == {pid, process.master_pid}
        process.stop(1.0)
        assert not process.alive()
        assert any("worker" in line for line in said)

    def test_its_version(self) -> None:
        shown = subprocess.run([HAPROXY, "-v"], capture_output=True, text=True, check=True).stdout
        assert f"version {Binary(HAPROXY).version()} " in shown

    def test_it_knows_no_secret_and_is_out_of_reach_of_ctrl_c(
        self, site: Site, process: LocalProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PASSWORD", "hunter2")
        process.start()
        assert process.master_pid is not None
        assert b"hunter2" not in Path(f"/proc/{process.master_pid}/environ").read_bytes()
        assert os.getsid(process.master_pid) == process.master_pid

    def test_a_port_in_use_is_one_clear_line(
        self, site: Site, process: LocalProcess, directory: StateDirectory, upstream: socket.socket
    ) -> None:
        taken = port_of(upstream)
        directory.publish(site.files(port=taken))
        with pytest.raises(ProcessFailed) as caught:
            process.start()
        line = str(caught.value)
        assert line.startswith("HAProxy did not start: Binding [haproxy.cfg:12] for frontend http")
        assert "Address already in use" in line
        assert f"127.0.0.1:{taken}" in line
        assert len(line.splitlines()) == 1
        assert not process.alive()

    def test_a_missing_program(self, site: Site) -> None:
        process = LocalProcess(site.layout, Binary("/no/haproxy"))
        with pytest.raises(ProcessFailed, match="/no/haproxy: no such program"):
            process.start()

    def test_it_starts_again_after_a_crash(self, site: Site, process: LocalProcess) -> None:
        first = process.start()
        assert process.master_pid is not None
        ended = os.pidfd_open(process.master_pid)
        os.kill(first, signal.SIGKILL)
        assert select.select([ended], [], [], SOON_S)[0]
        os.close(ended)
        assert not process.alive()
        assert process.start() != first
        assert site.word() == "one"


class TestReload:
    def test_a_new_worker_serves_what_was_published(
        self, site: Site, process: LocalProcess, directory: StateDirectory
    ) -> None:
        first = process.start()
        for word in ("two", "three"):
            directory.publish(site.files(word))
            second = process.reload()
            assert second != first
            assert f"Pid: {second}\n" in ask(str(site.layout.runtime_socket), "show info", SOON_S)
            assert site.word() == word
            first = second

    def test_what_only_shows_on_loading_leaves_the_old_worker(
        self, site: Site, process: LocalProcess, directory: StateDirectory, upstream: socket.socket
    ) -> None:
        first = process.start()
        directory.publish(site.files("two", port=port_of(upstream)))
        for _ in range(2):  # 3.1 and later do not count a second failure
            with pytest.raises(ProcessFailed, match=r"did not reload: .*Address already in use"):
                process.reload()
            assert site.word() == "one"
            assert process.alive()
        directory.rollback()
        assert process.reload() != first
        assert site.word() == "one"

    def test_a_configuration_that_went_bad_on_disk(self, site: Site, process: LocalProcess) -> None:
        process.start()
        with site.layout.config.open("a") as stream:
            stream.write("nonsense\n")
        with pytest.raises(ConfigRefused) as caught:
            process.reload()
        assert [line for line in caught.value.alerts if "parsing [haproxy.cfg:" in line]
        assert site.word() == "one"

    def test_a_dead_master_is_told_at_once(self, site: Site, process: LocalProcess) -> None:
        process.start()
        assert process.master_pid is not None
        os.killpg(process.master_pid, signal.SIGKILL)
        with pytest.raises(ProcessFailed, match="HAProxy ended"):
            process.reload()


class TestStop:
    def test_an_idle_client_delays_nothing(self, site: Site, process: LocalProcess) -> None:
        process.start()
        with site.client() as client:
            assert site.get(client) == "one"
            began = time.monotonic()
            process.stop(SOON_S)
            assert time.monotonic() - began < 1.0
        assert not list(site.layout.root.glob("*.sock"))
        assert not haproxies(site.layout)

    @pytest.mark.parametrize("reloaded", [False, True], ids=["current", "old"])
    def test_a_request_in_flight_is_finished(
        self, site: Site, process: LocalProcess, upstream: socket.socket, reloaded: bool
    ) -> None:
        process.start()
        with site.client() as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n")
            connection, _ = upstream.accept()
            if reloaded:
                process.reload()
            stopping = threading.Thread(target=process.stop, args=(SOON_S,))
            stopping.start()
            stopping.join(0.7)
            waited = stopping.is_alive()
            with connection:
                answer(connection, "late")
                received = body(client)
            stopping.join(2.0)
            assert waited
            assert received == "late"
            assert not stopping.is_alive()

    def test_grace_comes_to_an_end(
        self, site: Site, process: LocalProcess, upstream: socket.socket
    ) -> None:
        process.start()
        with site.client() as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n")
            connection, _ = upstream.accept()
            began = time.monotonic()
            process.stop(0.5)
            assert 0.5 <= time.monotonic() - began < 1.5
            connection.close()

    def test_one_that_hangs_is_killed(self, site: Site, process: LocalProcess) -> None:
        process.start()
        assert process.master_pid is not None
        os.killpg(process.master_pid, signal.SIGSTOP)
        began = time.monotonic()
        process.stop(0.2)
        assert time.monotonic() - began < 5.0
        assert not haproxies(site.layout)

    def test_stopping_twice_or_before_the_start(self, site: Site, process: LocalProcess) -> None:
        process.stop(0.0)
        process.start()
        process.stop(0.0)
        process.stop(0.0)
        assert not process.alive()


OWNER = """
import sys
from haproxy.files import Layout, StateDirectory
from haproxy.local import Binary, LocalProcess

layout, binary = Layout.at(sys.argv[1]), Binary(sys.argv[2])
directory = StateDirectory.open(layout, binary.check)
process = LocalProcess(layout, binary, lambda line: print(line, flush=True))
print("started", process.start(), flush=True)
sys.stdin.readline()
process.reload()
"""


@pytest.fixture
def owner(site: Site, directory: StateDirectory) -> Iterator[subprocess.Popen[str]]:
    """Another daemon that has the directory and started HAProxy on it."""
    directory.close()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(site.layout.root), HAPROXY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        read_until(owner, "started")
        yield owner
        owner.kill()


def read_until(owner: subprocess.Popen[str], word: str) -> None:
    assert owner.stdout is not None
    assert any(word in line for line in owner.stdout)


class TestTakeOver:
    def test_a_master_left_behind_is_taken_over_and_not_doubled(
        self, site: Site, owner: subprocess.Popen[str], process: LocalProcess
    ) -> None:
        before = self.master_of(site.layout)
        owner.kill()
        owner.wait()
        with closing(StateDirectory.open(site.layout, Binary(HAPROXY).check)) as directory:
            directory.publish(site.files("two"))
            worker = process.start()
            assert process.master_pid == before
            assert site.word() == "two"
            assert worker in haproxies(site.layout)
            directory.publish(site.files("three"))
            process.reload()  # whoever read its output is gone
            assert site.word() == "three"
            process.stop(1.0)
            assert not haproxies(site.layout)

    def test_also_one_in_the_middle_of_a_reload(
        self,
        site: Site,
        owner: subprocess.Popen[str],
        process: LocalProcess,
        upstream: socket.socket,
    ) -> None:
        before = self.master_of(site.layout)
        config = site.layout.config
        good = config.read_bytes()
        bad = site.files(port=port_of(upstream))["haproxy.cfg"]  # binding is tried for 2 s
        config.write_bytes(bad)
        print(file=owner.stdin, flush=True)
        read_until(owner, "Paused frontend http")
        owner.kill()
        owner.wait()
        config.write_bytes(good)
        process.start()
        assert process.master_pid == before
        assert site.word() == "one"

    def test_one_that_hangs_is_not_doubled(self, site: Site, process: LocalProcess) -> None:
        process.start()
        second = LocalProcess(site.layout, process.binary, start_s=0.5)
        assert process.master_pid is not None
        os.killpg(process.master_pid, signal.SIGSTOP)
        with pytest.raises(ProcessFailed, match="runs there did not answer"):
            second.start()
        os.killpg(process.master_pid, signal.SIGCONT)

    def test_starting_twice_is_a_reload(self, site: Site, process: LocalProcess) -> None:
        first = process.start()
        master = process.master_pid
        assert process.start() != first
        assert process.master_pid == master

    @staticmethod
    def master_of(layout: Layout) -> int:
        master = Master(str(layout.master_socket), str(layout.runtime_socket))
        return master.processes(Deadline.after(SOON_S)).master
