"""What the options become, and how the daemon ends."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from attrs import define, evolve, field

from haproxy_ingress import daemon
from haproxy_ingress.daemon import GRACE_S, HURRIED_S, BadSetting, Shutdown, run, settings
from haproxy_ingress.merge import base
from haproxy_ingress.options import Options

PATIENCE_S = 10.0


@pytest.mark.parametrize(
    ("given", "ipv6", "addresses"),
    [
        pytest.param(("*",), True, ("*", "::"), id="any"),
        pytest.param(("*",), False, ("*",), id="any-without-ipv6"),
        pytest.param(("127.0.0.1", "::1"), True, ("127.0.0.1", "::1"), id="some"),
        pytest.param(("*", "::"), True, ("*", "::"), id="any-and-again"),
    ],
)
def test_addresses(
    given: tuple[str, ...],
    ipv6: bool,
    addresses: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(daemon, "_IPV6", tmp_path if ipv6 else tmp_path / "none")
    assert settings(Options(bind_addresses=given), "").bind_addresses == addresses


def test_port_0_listens_nowhere() -> None:
    binds = base(settings(Options(http_port=0, https_port=0), "")).frontends[0].binds
    assert binds == ()


def test_settings() -> None:
    options = Options(
        ingress_class="edge",
        controller_name="example.com/x",
        watch_ingress_without_class=True,
        default_backend_service=("a", "b", "80"),
        bind_addresses=("127.0.0.1",),
        http_port=81,
        nameservers=("10.0.0.1:53",),
    )
    made = settings(options, "/s/haproxy.sock")
    assert made.ingress_class == "edge"
    assert made.controller_name == "example.com/x"
    assert made.without_class
    assert made.default_backend == ("a", "b", "80")
    assert made.http_port == 81
    assert made.nameservers == ("10.0.0.1:53",)
    assert made.runtime_socket == "/s/haproxy.sock"


@define
class Drained:
    """A process that notes how it was stopped. interrupt: a signal comes while it drains."""

    graces: list[float] = field(factory=list)
    interrupt: bool = False

    def start(self) -> int:
        return 1

    def adopt(self) -> int | None:
        return None

    def reload(self) -> int:
        return 1

    def alive(self) -> bool:
        return True

    def stop(self, grace_s: float) -> None:
        self.graces.append(grace_s)
        if self.interrupt:
            self.interrupt = False
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_loop_and_haproxy_drains(number: signal.Signals) -> None:
    shutdown, stopped, process = Shutdown(0.0), Event(), Drained()
    shutdown.listen()
    shutdown.tell(stopped.set)
    os.kill(os.getpid(), number)
    assert stopped.wait(PATIENCE_S)
    assert shutdown.leaving
    shutdown.drain(process)
    assert process.graces == [GRACE_S]


def test_without_a_signal_nobody_leaves() -> None:
    shutdown, stopped = Shutdown(0.0), Event()
    shutdown.tell(stopped.set)
    assert not stopped.wait(0.05)
    assert not shutdown.leaving


def test_a_signal_before_the_loop_is_not_lost() -> None:
    shutdown, stopped = Shutdown(0.0), Event()
    shutdown.listen()
    signal.raise_signal(signal.SIGTERM)
    shutdown.tell(stopped.set)
    assert stopped.wait(PATIENCE_S)


def test_a_second_signal_cuts_the_delay_and_the_drain_short() -> None:
    shutdown, stopped, process = Shutdown(3600.0), Event(), Drained()
    shutdown.listen()
    shutdown.tell(stopped.set)
    signal.raise_signal(signal.SIGTERM)
    assert not stopped.wait(0.05)
    assert shutdown.leaving
    signal.raise_signal(signal.SIGTERM)
    assert stopped.wait(PATIENCE_S)
    shutdown.drain(process)
    assert process.graces == [HURRIED_S]


def test_a_signal_during_the_drain_cuts_it_short() -> None:
    shutdown, process = Shutdown(0.0), Drained(interrupt=True)
    shutdown.listen()
    shutdown.drain(process)
    assert process.graces == [GRACE_S, HURRIED_S]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param(Options(haproxy="/nope"), "--haproxy: /nope: no such program", id="none"),
        pytest.param(Options(haproxy="true"), "--haproxy: true: does not say", id="another"),
        pytest.param(Options(state_dir=None), "--state-dir: is needed", id="no-state-dir"),
        pytest.param(
            Options(state_dir=Path("/tmp/a b")), "--state-dir: .*'/tmp/a b' is not", id="space"
        ),
    ],
)
def test_what_only_trying_shows_to_be_wrong(options: Options, problem: str, tmp_path: Path) -> None:
    haproxy = tmp_path / "haproxy"
    haproxy.write_text("#!/bin/sh\necho 'HAProxy version 3.4.7-1 2026/01/01'\n")
    haproxy.chmod(0o755)
    if options.haproxy == "haproxy":
        options = evolve(options, haproxy=str(haproxy))
    with pytest.raises(BadSetting, match=problem):
        run(options, "0")


def test_a_haproxy_that_is_too_old(tmp_path: Path) -> None:
    haproxy = tmp_path / "haproxy"
    haproxy.write_text("#!/bin/sh\necho 'HAProxy version 2.4.1 2021/06/17'\n")
    haproxy.chmod(0o755)
    with pytest.raises(BadSetting, match=r"2\.4\.1.*2\.6 and later"):
        run(Options(haproxy=str(haproxy)), "0")
