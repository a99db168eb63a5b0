"""One real HAProxy with a little of everything, in a folder of its own, for tests of its sockets.

The binary is ``$HAPROXY``, or ``haproxy`` on PATH. File names are relative, so that whoever speaks
to it, or to a double of it, uses the same ones.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import frozen

from haproxy.capabilities import Capabilities
from haproxy.errors import DeadlineExceeded, Interrupted, Unreachable, UnreadableReply
from haproxy.masters import MasterClient
from haproxy.runtime import RuntimeClient
from tests.integration.kit.certs import pair
from tests.integration.kit.net import free_port

HAPROXY = os.environ.get("HAPROXY", "haproxy")
MAP, ACL, CRT_LIST, CERTIFICATE, CA = "hosts.map", "deny.acl", "certs.list", "site.pem", "ca.pem"
CONFIG = """
global
    stats socket unix@s level admin
    stats socket ipv4@127.0.0.1:{port} level admin
    stats timeout 1m
    description structure-1
    hard-stop-after 5s
    log ring@events local0
resolvers dns
    nameserver none 127.0.0.1:{port}
ring events
    format raw
    maxlen 1200
    size 32764
defaults profile
    mode http
    balance roundrobin
    log global
    timeout connect 5s
    timeout client 60s
    timeout server 60s
defaults profile-tcp
    balance roundrobin
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front from profile
    bind unix@http
    bind unix@https ssl crt-list certs.list
    http-request track-sc0 path table counts
    http-request deny if {{ path -f deny.acl }}
    use_backend %[path,map(hosts.map,web)]
frontend other from profile
    bind unix@other
backend web from profile
    server s1 127.0.0.1:9 id 1
    server checked 127.0.0.1:9 check inter 1h id 2 agent-check agent-port 9 agent-inter 1h
    server secure 127.0.0.1:9 ssl verify required ca-file ca.pem id 3
    server named www.test:80 id 4 resolvers dns init-addr none
backend counts from profile
    stick-table type string size 1k expire 1h store gpc0,http_req_rate(10s)
{more}"""
# What only 3.4 has; `ktls` is an experiment there.
MORE_3_4 = """
global
    expose-experimental-directives
healthcheck hc1
    type tcp-check
"""


@frozen
class Running:
    """A HAProxy that runs for one test. port: of its Runtime API on TCP."""

    folder: Path
    process: subprocess.Popen[bytes]
    port: int

    @property
    def socket(self) -> str:
        return str(self.folder / "s")

    @property
    def master(self) -> str:
        return str(self.folder / "m")

    def said(self) -> str:
        return (self.folder / "stderr").read_text()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait, but never for a HAProxy that is dead."""
        for _ in range(1_000):
            if condition():
                return
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"HAProxy exited with {self.process.wait(0.01)}: {self.said()}")
        pytest.fail(f"waited in vain: {self.said()}")

    def answers(self) -> bool:
        try:
            with RuntimeClient(self.socket, 2) as client:
                return client.info().pid in MasterClient(self.master).processes().workers
        except (Unreachable, Interrupted, DeadlineExceeded, UnreadableReply):
            return False


def version() -> Capabilities:
    """What the binary is."""
    said = subprocess.run([HAPROXY, "-v"], capture_output=True, text=True, check=True).stdout
    return Capabilities.of(said.split("version ")[1])


def write(folder: Path, port: int) -> None:
    """Everything that the configuration needs."""
    site = pair("a.test", "www.a.test")
    more = MORE_3_4 if version().version >= (3, 4) else ""
    (folder / "cfg").write_text(CONFIG.format(port=port, more=more))
    (folder / MAP).write_text("/a web\n/b two words\n")
    (folder / ACL).write_text("/x\n/y\n")
    (folder / CERTIFICATE).write_text(site.chain + site.key)
    (folder / CA).write_text(pair("ca.test", key=1).chain)
    (folder / CRT_LIST).write_text(
        f"{CERTIFICATE}\n{CERTIFICATE} [alpn h2,http/1.1] *.w.test !x.w.test\n"
    )


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    port = free_port()
    write(folder, port)
    command = [HAPROXY, "-W", "-S", "unix@m", "-f", "cfg"]
    with (
        (folder / "stderr").open("wb") as stderr,
        subprocess.Popen(command, stderr=stderr, cwd=folder) as process,
    ):
        haproxy = Running(folder, process, port)
        try:
            haproxy.until(haproxy.answers)
            yield haproxy
        finally:
            process.terminate()
