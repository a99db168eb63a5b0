"""A HAProxy that only has a socket, a few servers and a map."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from haproxy.errors import Interrupted, Unreachable
from haproxy.runtime import Deadline, RuntimeClient

HAPROXY = os.environ.get("HAPROXY", "haproxy")
CONFIG = """
global
    stats socket unix@{folder}/s level admin
defaults profile
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front from profile
    bind unix@{folder}/http
    http-request deny if {{ src -f {folder}/denied.acl }}
    use_backend %[path,map({folder}/hosts.map,web)]
backend web from profile
    server s1 127.0.0.1:9 id 1
    server s2 127.0.0.1:9 id 2 weight 5
"""


@contextmanager
def serving() -> Iterator[Path]:
    """The folder of one that runs: `s` is its socket, `hosts.map` and `denied.acl` its tables."""
    with tempfile.TemporaryDirectory(prefix="hi-") as name:
        folder = Path(name)
        (folder / "cfg").write_text(CONFIG.format(folder=folder))
        (folder / "hosts.map").write_text("/a web\n/b two words\n")
        (folder / "denied.acl").write_text("192.0.2.1\n")
        command = [HAPROXY, "-f", str(folder / "cfg")]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                _await(folder / "s", process)
                yield folder
            finally:
                process.terminate()
                process.communicate(timeout=20)


def _await(socket: Path, process: subprocess.Popen[str]) -> None:
    deadline = Deadline.after(20)
    while deadline.left_s and process.poll() is None:
        try:
            with RuntimeClient(str(socket)) as client:
                client.info()
                return
        except (Unreachable, Interrupted):
            continue
    raise AssertionError("HAProxy does not answer")
