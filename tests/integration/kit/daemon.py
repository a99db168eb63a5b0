"""The daemon as a process of its own, on manifests in a folder, looked at from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import yaml
from attrs import define, frozen

from tests.integration.kit.net import Response, ask, free_port, request
from tests.integration.kit.objects import Object

PATIENCE_S = 30.0
POLL_S = 0.005


@frozen
class Served:
    """HAProxy's own account of itself: the worker's pid, and how often it was reloaded."""

    pid: int
    reloads: int


@define
class Daemon:
    """A running ``haproxy-ingress run``.

    base: a folder of its own, with the manifests, the state directory and what it printed.
    """

    base: Path
    process: subprocess.Popen[bytes]
    port: int
    admin_port: int
    https_port: int
    haproxy: str
    command: tuple[str, ...]

    @property
    def manifests(self) -> Path:
        return self.base / "manifests"

    @property
    def state(self) -> Path:
        return self.base / "state"

    @property
    def printed(self) -> str:
        return (self.base / "printed").read_text(errors="replace")

    # what a user does

    def write(self, name: str, content: str | Object | list[Object]) -> None:
        """Replace the manifest *name* at once, from a file beside the watched folder."""
        text = content if isinstance(content, str) else dump(content)
        staged = self.base / "staged"
        staged.write_text(text)
        (self.manifests / name).parent.mkdir(parents=True, exist_ok=True)
        staged.replace(self.manifests / name)

    def request(self, target: str, host: Any, method: str = "GET", **more: Any) -> Response:
        return request(self.port, target, host, method, **more)

    def pod(self, target: str, host: str) -> str:
        """The address of the pod that answers, or ``status N``."""
        response = self.request(target, host)
        if response.status != 200:
            return f"status {response.status}"
        if response.headers["content-type"] == "application/json":
            return str(response.json()["pod"])
        return response.body.decode().rpartition(":")[0]

    def admin(self, path: str) -> Response:
        return request(self.admin_port, path, "localhost")

    def decisions(self) -> list[dict[str, Any]]:
        """Newest first."""
        decisions: list[dict[str, Any]] = self.admin("/api/v1/decisions").json()
        return decisions

    def wait_for(self, what: Callable[[], object]) -> None:
        """Until *what* is true, which is something that a user can see."""
        deadline = monotonic() + PATIENCE_S
        while not what():
            if monotonic() > deadline:
                raise AssertionError(f"never came true within {PATIENCE_S} s\n{self.printed}")
            self._pause()

    def _pause(self) -> None:
        try:
            self.process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError(f"the daemon ended: {self.process.returncode}\n{self.printed}")

    # what HAProxy says

    def served(self) -> Served:
        """From ``show proc``: the count is the master's, failed reloads included.

        Up to 3.0 the master answers nobody while it reloads.
        """
        self.wait_for(self._processes)
        rows = [row.split() for row in self._processes().splitlines()]
        master = next(row for row in rows if row[1:2] == ["master"])
        current = rows[rows.index(["#", "workers"]) :]
        worker = next(row for row in current if row[1:2] == ["worker"])
        return Served(int(worker[0]), int(master[2]))

    def version(self) -> tuple[int, int]:
        """Of HAProxy, by its own word."""
        info = ask(self.state / "haproxy.sock", "show info").splitlines()
        number = next(line.partition(": ")[2] for line in info if line.startswith("Version: "))
        major, minor, *_ = number.split(".")
        return int(major), int(minor)

    def _processes(self) -> str:
        try:
            return ask(self.state / "master.sock", "show proc")
        except OSError:
            return ""

    def serving(self, service: str) -> list[str]:
        """``ADDRESS:PORT`` of every server that takes requests for a Service, sorted."""
        answer = ask(self.state / "haproxy.sock", "show servers state").splitlines()
        names = answer[1].lstrip("# ").split()
        rows = [dict(zip(names, line.split(), strict=False)) for line in answer[2:] if line]
        return sorted(
            f"{row['srv_addr']}:{row['srv_port']}"
            for row in rows
            if row["be_name"].startswith(f"default_{service}_")
            and not int(row["srv_admin_state"]) & 0x3B  # maintenance or drain
            and row["srv_uweight"] != "0"
        )

    def loadable(self) -> None:
        """What lies in the state directory could be loaded now."""
        command = [self.haproxy, "-c", "-f", str(self.state / "haproxy.cfg")]
        check = subprocess.run(command, capture_output=True, text=True, check=False)
        assert check.returncode == 0, check.stderr

    # its end, and beginning again

    def restart(self) -> None:
        """The same again on the same folders, after the last one ended."""
        self.process = _start(self.base, self.command)
        self.wait_for(lambda: _ready(self))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end: it ends well, and takes everything it started with it."""
        self.process.send_signal(how)
        assert self.process.wait(PATIENCE_S) == 0, self.printed
        assert not (left := self.left()), f"left behind: {left}\n{self.printed}"

    def left(self) -> list[str]:
        """The processes that live in its session or on its state directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has just ended
            ours = int(stat[3]) == self.process.pid or str(self.state) in command
            if ours and stat[0] != "Z" and int(entry.name) != os.getpid():
                found.append(f"{entry.name} {command}")
        return found

    def kill(self) -> None:
        """After a failure: whatever is left of it."""
        for line in self.left():
            os.kill(int(line.split()[0]), signal.SIGKILL)
        self.process.wait()


def dump(content: Object | list[Object]) -> str:
    return yaml.safe_dump_all(content if isinstance(content, list) else [content])


@contextmanager
def running(
    manifests: Mapping[str, str | Object | list[Object]] | None = None, *flags: str
) -> Iterator[Daemon]:
    """A daemon that is ready, with *manifests* (file name -> content) there from the start.

    It is stopped at the end, and has to end well.
    """
    base = Path(tempfile.mkdtemp(prefix="hi-"))
    daemon = _launch(base, manifests or {}, flags)
    try:
        daemon.wait_for(lambda: _ready(daemon))
        yield daemon
        if daemon.process.poll() is None:
            daemon.stop()
    finally:
        daemon.kill()
        shutil.rmtree(base)


def _launch(
    base: Path, manifests: Mapping[str, str | Object | list[Object]], flags: tuple[str, ...]
) -> Daemon:
    port, admin_port, https_port = free_port(), free_port(), free_port()
    haproxy = os.environ.get("HAPROXY", "haproxy")
    (base / "manifests").mkdir()
    for name, content in manifests.items():
        text = content if isinstance(content, str) else dump(content)
        (base / "manifests" / name).write_text(text)
    command = [sys.executable, "-m", "haproxy_ingress", "run", "--haproxy", haproxy]
    command += ["--manifests", str(base / "manifests"), "--state-dir", str(base / "state")]
    command += ["--bind-address", "127.0.0.1", "--http-port", str(port)]
    command += ["--https-port", str(https_port), "--admin-port", str(admin_port), *flags]
    process = _start(base, command)
    return Daemon(base, process, port, admin_port, https_port, haproxy, tuple(command))


def _start(base: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with (base / "printed").open("ab") as printed:
        return subprocess.Popen(
            command, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True
        )


def _ready(daemon: Daemon) -> bool:
    try:
        return daemon.admin("/readyz").status == 200
    except OSError:
        return False
