"""What `make demo` runs, with its own ports: one at a time on a machine."""

from __future__ import annotations

import fcntl
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples/quickstart/demo.py"
STARTS_S = 40.0
ENDS_S = 4.0


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    with (Path(tempfile.gettempdir()) / "haproxy-ingress-demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-u", str(DEMO)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            patience = threading.Timer(STARTS_S, process.kill)
            patience.start()
            try:
                yield process
            finally:
                patience.cancel()
                process.terminate()


def printed(demo: subprocess.Popen[str]) -> str:
    """All that it prints until it serves; what it cannot say in time, its killing ends."""
    assert demo.stdout
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    return "".join(lines)


def curl(line: str) -> str:
    """The answer to a line as it is printed, by a shell's reading of it."""
    command = [*shlex.split(line), "--silent", "--show-error", "--fail"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_printed_lines_answer_as_printed(demo: subprocess.Popen[str]) -> None:
    text = printed(demo)
    promises = re.findall(r"^  (curl .*)\n      answered by (.*)$", text, re.MULTILINE)
    assert len(promises) == 3
    for line, promise in promises:
        pods = set(re.findall(r"[a-z]+-\d", promise))
        assert {curl(line).strip() for _ in range(4)} == pods
    admin = re.findall(r"^  (curl .*/api/v1/decisions)$", text, re.MULTILINE)
    assert [curl(line)[0] for line in admin] == ["["]


def test_it_is_gone_soon_after_ctrl_c(demo: subprocess.Popen[str]) -> None:
    printed(demo)
    before = monotonic()
    demo.send_signal(signal.SIGINT)
    assert demo.wait(ENDS_S) == 0
    assert monotonic() - before < ENDS_S
