"""Certificates after a crash: those that should be there, without a reload if it can be helped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.integration.kit.certs import pair, secret, served
from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.objects import Object, endpoints, ingress, service
from tests.integration.kit.pods import Pods

pytestmark = pytest.mark.integration

A, RENEWED, B = pair("a.test"), pair("a.test", key=1), pair("b.test", key=2)
NOBODY = "nobody.test"


def secure(name: str) -> Object:
    made = ingress(name, f"{name}.test", {"/": "web"})
    made["spec"]["tls"] = [{"hosts": [f"{name}.test"], "secretName": name}]
    return made


@pytest.fixture
def daemon(echo: Pods) -> Iterator[Daemon]:
    """a.test is there from the start, b.test came at runtime."""
    web = [service("web"), endpoints("web", ["127.61.0.1"], echo.port)]
    with running({"web.yaml": web, "a.yaml": [secret("a", A), secure("a")]}) as daemon:
        daemon.write("b.yaml", [secret("b", B), secure("b")])
        becomes(daemon, "b.test", B.serial)
        yield daemon


def serial(daemon: Daemon, host: str) -> int:
    try:
        return served(daemon.https_port, host).serial_number
    except OSError:
        return 0


def becomes(daemon: Daemon, host: str, number: int) -> None:
    daemon.wait_for(lambda: serial(daemon, host) == number)


def test_the_worker_is_killed(daemon: Daemon) -> None:
    default = serial(daemon, NOBODY)
    os.kill(daemon.served().pid, signal.SIGKILL)
    for host, number in ("a.test", A.serial), ("b.test", B.serial), (NOBODY, default):
        becomes(daemon, host, number)


def test_the_daemon_is_killed(daemon: Daemon) -> None:
    """Nothing changed: no command; the generated default certificate stays as well."""
    before, default = daemon.served(), serial(daemon, NOBODY)
    daemon.process.kill()
    daemon.process.wait()
    daemon.restart()
    (decision,) = daemon.decisions()
    assert (decision["action"], decision["commands"]) == ("none", 0), decision["reasons"]
    assert [serial(daemon, host) for host in ("a.test", "b.test")] == [A.serial, B.serial]
    assert serial(daemon, NOBODY) == default
    assert daemon.served() == before


def test_the_daemon_is_killed_and_certificates_change_meanwhile(daemon: Daemon) -> None:
    before = daemon.served()
    daemon.process.kill()
    daemon.process.wait()
    daemon.write("a.yaml", [secret("a", RENEWED), secure("a")])
    (daemon.manifests / "b.yaml").unlink()
    daemon.restart()
    becomes(daemon, "a.test", RENEWED.serial)
    daemon.wait_for(lambda: serial(daemon, "b.test") != B.serial)
    assert daemon.served() == before
    daemon.write("b.yaml", [secret("b", B), secure("b")])
    becomes(daemon, "b.test", B.serial)
    assert daemon.served() == before
