"""What keeps the daemon from its first start is one clear line, and no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def base() -> Iterator[Path]:
    """A short path: those of sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="hi-") as folder:
        (Path(folder) / "manifests").mkdir()
        yield Path(folder)


def refused(base: Path, state: Path, *flags: str) -> str:
    """Why it did not start: the last line on stderr."""
    command = [sys.executable, "-m", "haproxy_ingress", "run", "--admin-port", "0"]
    command += ["--haproxy", os.environ.get("HAPROXY", "haproxy"), "--bind-address", "127.0.0.1"]
    command += ["--manifests", str(base / "manifests"), "--state-dir", str(state), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_port_in_use(base: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refused(base, base / "state", "--http-port", str(port), "--https-port", "0")
    assert said.startswith("haproxy-ingress: HAProxy did not start: ")
    assert "cannot bind socket" in said
    assert f"127.0.0.1:{port}" in said


def test_a_state_directory_that_cannot_be_made(base: Path) -> None:
    (base / "file").write_text("")
    said = refused(base, base / "file" / "state", "--http-port", "0", "--https-port", "0")
    assert said == f"haproxy-ingress: {base}/file/state: Not a directory"
