"""``haproxy-ingress run``: the parts made from the options, put together, and taken apart again."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import time
from types import FrameType
from typing import Any

from attrs import define, field, frozen

from haproxy.apply import Process
from haproxy.capabilities import Capabilities
from haproxy.errors import FilesFailed, HAProxyError, InvalidValue
from haproxy.files import Layout, StateDirectory
from haproxy.live import LiveRuntime
from haproxy.local import Binary, LocalProcess
from haproxy_ingress import logs
from haproxy_ingress.admin import Admin, AdminFailed
from haproxy_ingress.controller import Controller
from haproxy_ingress.journal import Decision
from haproxy_ingress.options import Options
from haproxy_ingress.selfsigned import self_signed
from haproxy_ingress.sources.manifests import ManifestsSource
from haproxy_ingress.tls import DEFAULT_CERTIFICATE
from haproxy_ingress.translate import Settings

GRACE_S = 25.0  # Kubernetes kills a pod after 30 s
HURRIED_S = 1.0
BATCH_S = 1.0  # the loop waits for it, and who asks the loop
LOOK_S = 0.5

_SWITCH_S = 0.0005  # a change must not wait for a load that renders beside it

_LOG = logging.getLogger(__name__)
_IPV6 = Path("/proc/net/if_inet6")


class BadSetting(Exception):
    """An option that only trying it shows to be wrong."""


class Failed(Exception):
    """Why the daemon cannot run, in one line."""


def run(options: Options, version: str) -> None:
    """Serve until SIGTERM or SIGINT, then drain HAProxy and stop it.

    Raises `BadSetting`, or `Failed`. After a failure a HAProxy that serves is left alone: the next
    start takes it over.
    """
    sys.setswitchinterval(_SWITCH_S)
    shutdown = Shutdown(options.shutdown_delay_ms / 1e3)
    shutdown.listen()
    binary, can = _haproxy(options)
    layout = _layout(options)
    try:
        with _opened(StateDirectory.open(layout, binary.check)) as files:
            process = LocalProcess(layout, binary, log=logs.haproxy_said)
            controller = _controller(options, files, process, layout, can)
            controller.metrics.build(version, binary.version())
            _LOG.info("haproxy-ingress %s on HAProxy %s", version, binary.version())
            _serve(options, controller, process, shutdown)
    except (HAProxyError, AdminFailed, OSError) as error:
        raise Failed(str(error)) from error


def _serve(options: Options, controller: Controller, process: Process, shutdown: Shutdown) -> None:
    admin = Admin(Dashboard(controller, shutdown), options.admin_address, options.admin_port)
    admin.start()
    _LOG.info("state in %s, admin port %s on %s", options.state_dir, admin.port, admin.address)
    try:
        shutdown.tell(controller.stop)
        controller.run()
        shutdown.drain(process)
    finally:
        admin.stop()


def _haproxy(options: Options) -> tuple[Binary, Capabilities]:
    binary = Binary(options.haproxy)
    try:
        return binary, Capabilities.of(binary.version())
    except HAProxyError as error:
        raise BadSetting(f"--haproxy: {error}") from error


def _layout(options: Options) -> Layout:
    if options.state_dir is None:
        raise BadSetting("--state-dir: is needed")
    try:
        return Layout.at(options.state_dir)
    except InvalidValue as error:
        raise BadSetting(f"--state-dir: {error}") from error


def _controller(
    options: Options,
    files: StateDirectory,
    process: LocalProcess,
    layout: Layout,
    can: Capabilities,
) -> Controller:
    return Controller(
        ManifestsSource(options.manifests),
        settings(options, str(layout.runtime_socket), _default_certificate(files)),
        files=files,
        process=process,
        runtime=LiveRuntime(str(layout.runtime_socket), can, BATCH_S, LOOK_S),
        can=can,
        reload_interval_s=options.reload_interval_ms / 1e3,
        on_decision=Settled(logs.decided),
        on_diagnostic=logs.found,
    )


@define(eq=False)
class Settled:
    """Hands decisions on; with the first one what was read at the start is there to stay.

    Looking for garbage there took most of the time of a start and tens of milliseconds every now
    and then afterwards.
    """

    decided: Callable[[Decision], None]
    _first: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        gc.disable()

    def __call__(self, decision: Decision) -> None:
        if self._first:
            self._first = False
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            gc.enable()
        self.decided(decision)


def _default_certificate(files: StateDirectory) -> bytes:
    """The one that serves already: another would be a change."""
    try:
        return files.current(DEFAULT_CERTIFICATE)
    except FilesFailed:
        return b""


def settings(options: Options, runtime_socket: str, certificate: bytes = b"") -> Settings:
    """What *options* say about translation. certificate: what served by default before."""
    return Settings(
        ingress_class=options.ingress_class,
        controller_name=options.controller_name,
        without_class=options.watch_ingress_without_class,
        default_backend=options.default_backend_service,
        bind_addresses=_addresses(options),
        http_port=options.http_port,
        https_port=options.https_port,
        public_https_port=options.public_https_port,
        default_certificate=self_signed(time(), certificate) if options.https_port else None,
        default_tls_secret=options.default_tls_secret,
        nameservers=options.nameservers,
        trusted_proxies=options.trusted_proxies,
        proxy_protocol=options.proxy_protocol,
        runtime_socket=runtime_socket,
    )


def _addresses(options: Options) -> tuple[str, ...]:
    """``*`` is IPv6 too, unless the kernel has none: HAProxy would not start."""
    both = ("*", "::") if _IPV6.exists() else ("*",)
    given = (both if address == "*" else (address,) for address in options.bind_addresses)
    return tuple(dict.fromkeys(address for addresses in given for address in addresses))


@contextmanager
def _opened(files: StateDirectory) -> Iterator[StateDirectory]:
    try:
        yield files
    finally:
        files.close()


class _Hurried(Exception):
    """A signal while HAProxy drains."""


@define(eq=False)
class Shutdown:
    """From the first signal to the end: not ready, a delay, the loop's end, a drain.

    A second signal cuts the delay and the drain short. delay_s: how long to serve on after the
    first.
    """

    delay_s: float
    leaving: bool = field(default=False, init=False)
    _hurried: bool = field(default=False, init=False)
    _draining: bool = field(default=False, init=False)
    # Its put may interrupt a put, which is what a signal handler does.
    _signals: SimpleQueue[int] = field(factory=SimpleQueue, init=False)

    def listen(self) -> None:
        """Take the signals from now on; until `tell` they wait."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def tell(self, stop: Callable[[], None]) -> None:
        """Call *stop* when it is time."""
        Thread(target=self._follow, args=(stop,), name="shutdown", daemon=True).start()

    def drain(self, process: Process) -> None:
        """Stop *process* with grace."""
        try:
            self._draining = True
            process.stop(HURRIED_S if self._hurried else GRACE_S)
        except _Hurried:
            process.stop(HURRIED_S)
        finally:
            self._draining = False

    def _note(self, number: int, _: FrameType | None) -> None:
        if self._draining:
            self._draining = False
            raise _Hurried
        self._signals.put(number)

    def _follow(self, stop: Callable[[], None]) -> None:
        number = self._signals.get()
        self.leaving = True
        _LOG.info("%s: ending", signal.Signals(number).name)
        try:
            self._signals.get(timeout=self.delay_s)
            self._hurried = True
        except Empty:
            pass
        stop()


@frozen
class Dashboard:
    """What the admin port shows of a running controller."""

    controller: Controller
    shutdown: Shutdown

    def healthy(self) -> bool:
        return self.controller.healthy()

    def not_ready(self) -> str:
        return "shutting down" if self.shutdown.leaving else self.controller.not_ready()

    def metrics(self) -> bytes:
        return self.controller.metrics.render()

    def decisions(self) -> Sequence[Mapping[str, Any]]:
        return [decision.to_json() for decision in self.controller.journal.decisions()]

    def status(self) -> Mapping[str, Any]:
        return self.controller.status()
