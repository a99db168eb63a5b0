"""The HAProxy in memory against a real one: the same is asked of both, and compared.

What is compared is what `haproxy.apply` can notice: replies, results, errors and what runs.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from haproxy.apply import apply, load
from haproxy.capabilities import Capabilities
from haproxy.errors import HAProxyError, ProcessChanged
from haproxy.files import Layout, StateDirectory
from haproxy.ids import resolved
from haproxy.live import LiveRuntime
from haproxy.local import Binary, LocalProcess
from haproxy.model import (
    Backend,
    Bind,
    Certificate,
    Config,
    CrtList,
    Frontend,
    Global,
    Map,
    Profile,
    Row,
    Served,
    Server,
    State,
    lines,
)
from haproxy.ops import (
    AddBackend,
    AddCertificate,
    AddRow,
    AddServed,
    AddServer,
    DelBackend,
    DelCertificate,
    DelRow,
    DelServed,
    DelServer,
    Op,
    Plan,
    ReplaceMap,
    SetAddress,
    SetCertificate,
    SetRow,
    SetState,
    SetWeight,
)
from haproxy.plan import plan
from haproxy.render import Renderer
from haproxy.runtime import RuntimeClient, ask
from haproxy.testing import FakeHAProxy, FakeSocket
from tests.haproxy.configs import HOSTS, REGEX, ROUTES, changes_of, configs
from tests.integration.kit.certs import Pair, pair
from tests.integration.kit.net import free_port

pytestmark = pytest.mark.integration

BINARY = Binary(os.environ.get("HAPROXY", "haproxy"))
VERSION = BINARY.version()
CAN = Capabilities.of(VERSION)
P = Profile()
CERTS = "certs/list"
LOOK_UP = f"""
use_backend %[path,map_str({ROUTES})] if {{ path,map_str({ROUTES}) -m found }}
use_backend %[path,map_reg({REGEX})] if {{ path,map_reg({REGEX}) -m found }}
http-request set-var(txn.host) req.hdr(host),map_str({HOSTS})
"""


def certificate(name: str, made: Pair) -> Certificate:
    return Certificate.of(name, made.chain + made.key)


A, B, N = (certificate(f"certs/{name}.pem", pair(f"{name}.test")) for name in "abn")


@frozen
class Both:
    """A real HAProxy, and its double."""

    real: str
    double: str
    config: Config

    @property
    def addresses(self) -> tuple[str, str]:
        return self.real, self.double

    def same(self, act: Callable[[str], object]) -> object:
        """What both answer, which must be the same."""
        real, double = (self._outcome(act, address) for address in self.addresses)
        assert double == real
        return real

    def _outcome(self, act: Callable[[str], object], address: str) -> object:
        try:
            return act(address)
        except HAProxyError as error:
            return type(error), str(error).replace(address, "ADDRESS")

    def run(self, *ops: Op) -> list[tuple[str, str]]:
        def act(address: str) -> list[tuple[str, str]]:
            runtime = LiveRuntime(address)
            results = runtime.run(ops, runtime.pid()).results
            return [(one.status, comparable(one.reply)) for one in results]

        found = self.same(act)
        assert isinstance(found, list)
        self.read()
        return found

    def read(self) -> None:
        def act(address: str) -> Config:
            runtime = LiveRuntime(address)
            return runtime.read(self.config, runtime.pid())

        self.same(act)


def comparable(reply: str) -> str:
    """Without what differs between any two HAProxies."""
    reply = re.sub(r"Unknown command.*(?s:.*)", "Unknown command", reply)
    reply = re.sub(
        r"^[^ ]* \((.*)\) pattern loaded .* line \d+\.", r"\1", reply, flags=re.MULTILINE
    )
    reply = re.sub(r"at [^ ]+:\d+ ", "at FILE:0 ", reply)
    reply = re.sub(r"\t- [^ ]+:\d+", "\t- FILE:0", reply)
    # It may say again what the command before it said (seen on 3.4).
    reply = re.sub(r"^Server deleted\.\n", "", reply)
    return re.sub(r"0x[0-9a-f]+", "0x0", reply)


@contextmanager
def both(config: Config) -> Iterator[Both]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hi-"))
        layout = Layout.at(Path(folder) / "state")
        files = StateDirectory.open(layout, BINARY.check)
        stack.callback(files.close)
        process = LocalProcess(layout, BINARY)
        stack.callback(process.stop, 0.1)
        config = evolve(config, process=Global(runtime_socket=str(layout.runtime_socket)))
        done = load(config, Renderer(), files, process.start)
        assert done.running is not None, done.error
        fake = FakeHAProxy.serving(config, VERSION)
        double = stack.enter_context(FakeSocket(fake, Path(folder) / "double"))
        yield Both(str(layout.runtime_socket), double.address, done.running)


def whole() -> Config:
    options = ("ssl", "crt-list", CERTS)
    servers = [
        Server("s1", "10.0.0.1", 80, 5, id=1),
        Server("off", "fd00::1", 81, 3, State.MAINT, 2),
    ]
    return Config(
        profiles={P.name: P},
        frontends=(Frontend("front", (Bind("127.0.0.1", free_port(), options),), lines(LOOK_UP)),),
        backends={
            "web": Backend("web", P.name, {one.name: one for one in servers}),
            "empty": Backend("empty", P.name),
        },
        maps={
            ROUTES: Map(ROUTES, {"/a": Row("web"), "/b": Row("two words")}),
            REGEX: Map(REGEX, ordered=True),
            HOSTS: Map(HOSTS),
        },
        certificates={one.name: one for one in (A, B)},
        crt_lists={CERTS: CrtList(CERTS, A.name, {s.key: s for s in (Served(B.name, "b.test"),)})},
    )


@pytest.fixture
def sides() -> Iterator[Both]:
    with both(whole()) as found:
        yield found


S3 = Server("s3", "10.0.0.3", 80, 7, id=3)
BATCHES: dict[str, tuple[Op, ...]] = {
    "servers-come": (
        AddServer("web", S3),
        AddServer("web", evolve(S3, name="s4", id=4, state=State.DRAIN, address="fd00::2")),
        AddServer("empty", evolve(S3, state=State.MAINT, id=1)),
        AddServer("web", evolve(S3, name="h2", id=9), ("proto", "h2")),
    ),
    "servers-that-cannot-come": (
        AddServer("none", S3),
        AddServer("web", evolve(S3, name="s1")),
        AddServer("web", evolve(S3, id=1)),
    ),
    "servers-change": (
        SetWeight("web", "s1", 0),
        SetState("web", "s1", State.DRAIN),
        SetAddress("web", "s1", "10.0.0.9", 80),
        SetAddress("web", "off", "fd00::9", 82),
        SetState("web", "off", State.READY),
    ),
    "servers-stay-as-they-are": (
        SetAddress("web", "s1", "10.0.0.1", 80),
        SetWeight("web", "s1", 5),
        SetState("web", "off", State.MAINT),
    ),
    "a-port-changes": (SetAddress("web", "s1", "10.0.0.1", 81),),
    "servers-that-are-not-there": (
        SetWeight("web", "none", 1),
        SetWeight("none", "s1", 1),
        SetState("web", "none", State.READY),
        SetAddress("none", "s1", "10.0.0.1", 1),
        SetAddress("web", "none", "10.0.0.1", 1),
        DelServer("web", "none"),
        DelServer("none", "s1"),
    ),
    "servers-go": (
        DelServer("web", "s1"),
        SetState("web", "s1", State.MAINT),
        DelServer("web", "s1"),
        DelServer("web", "off"),
    ),
    "rows": (
        AddRow(ROUTES, "/c", "x; y \\ <<"),
        SetRow(ROUTES, "/a", "other"),
        SetRow(ROUTES, "/none", "other"),
        DelRow(ROUTES, "/b"),
        DelRow(ROUTES, "/b"),
    ),
    "maps-that-are-not-there": (
        AddRow("maps/none.map", "/c", "x"),
        SetRow("maps/none.map", "/c", "x"),
        DelRow("maps/none.map", "/c"),
        ReplaceMap("maps/none.map", {"/c": Row("x")}),
    ),
    "a-map-is-replaced": (
        ReplaceMap(
            ROUTES, {f"/{number * 7 % 3_000}": Row(f"b {number}") for number in range(3000)}
        ),
        ReplaceMap(HOSTS, {}),
        ReplaceMap(REGEX, {"^/z": Row("web"), "^/a": Row("web")}),
    ),
    "backends": (
        AddBackend("new", P.name),
        AddServer("new", evolve(S3, id=1)),
        DelBackend("new"),
        AddBackend("web", P.name),
        AddBackend("other", "no-such-profile"),
        SetState("new", "s3", State.MAINT),
        DelServer("new", "s3"),
        DelBackend("new"),
        DelBackend("none"),
    ),
    "certificates": (
        AddCertificate(N),
        AddServed(CERTS, Served(N.name, "n.test")),
        AddServed(CERTS, Served(N.name, "m.test")),
        DelCertificate(N.name),
        DelServed(CERTS, Served(B.name, "b.test")),
        DelServed(CERTS, Served(N.name, "n.test")),
        DelServed(CERTS, Served(N.name, "none.test")),
        DelCertificate(B.name),
        DelCertificate(B.name),
        SetCertificate(certificate(A.name, pair("a.test", key=1))),
        AddServed(CERTS, Served(N.name, "n.test")),
    ),
    "certificates-that-cannot-be": (
        AddCertificate(Certificate("certs/bad.pem", "-----no-----\n", "")),
        SetCertificate(Certificate(A.name, "-----no-----\n", "")),
        SetCertificate(evolve(N, name="certs/none.pem")),
        AddServed(CERTS, Served("certs/none.pem", "n.test")),
        DelCertificate("certs/none.pem"),
        DelCertificate(A.name),
        AddServed("certs/none", Served(A.name, "n.test")),
    ),
}


@pytest.mark.parametrize("ops", BATCHES.values(), ids=BATCHES)
def test_a_batch_has_the_same_results_and_leaves_the_same(sides: Both, ops: tuple[Op, ...]) -> None:
    sides.run(*ops)


COMMANDS = (
    "show version",
    "bogus",
    "show bogus",
    "show backend",
    "show servers state none",
    f"show map {ROUTES}",
    "show map none",
    "get weight web/s1",
    "set server web/s1 weight x",
    "set server web/s1 weight 257",
    "set server web/s1 state bogus",
    "set server web/s1 addr x port 1",
    "enable server web",
    "add server web/x",
    f"prepare map {ROUTES}",
    f"prepare map {ROUTES}",
    f"add map @2 {ROUTES} <<\nk v\nk2 v 2\n",
    f"show map @2 {ROUTES}",
    f"add map @9 {ROUTES} <<\nk v\n",
    f"commit map @9 {ROUTES}",
    f"commit map @1 {ROUTES}",
    f"show map {ROUTES}",
    f"commit map @2 {ROUTES}",
    f"show map {ROUTES}",
    f"clear map {ROUTES}",
    f"show map {ROUTES}",
    "clear map none",
    "show ssl cert",
    f"new ssl cert {N.name}",
    f"new ssl cert {N.name}",
    f"commit ssl cert {N.name}",
    f"abort ssl cert {N.name}",
    f"add ssl crt-list {CERTS} <<\n{N.name} n.test\n",
    f"set ssl cert {N.name} <<\n{N.pem}",
    "show ssl cert",
    f"set ssl cert {N.name} <<\n{N.pem}",
    f"set ssl cert {A.name} <<\n{A.pem}",
    f"commit ssl cert {A.name}",
    f"abort ssl cert {N.name}",
    f"set ssl cert {N.name} <<\n{N.pem}",
    f"commit ssl cert {N.name}",
    "show ssl crt-list",
    f"show ssl crt-list -n {CERTS}",
    "show ssl crt-list none",
    f"del ssl crt-list {CERTS} {A.name}",
    f"del ssl crt-list {CERTS} {N.name}",
    f"del ssl crt-list none {N.name}",
    f"del ssl crt-list {CERTS} {B.name}:9",
    f"del ssl crt-list {CERTS} {B.name}",
)


def test_a_command_has_the_same_reply(sides: Both) -> None:
    for command in COMMANDS:

        def act(address: str, command: str = command) -> str:
            with RuntimeClient(address) as client:
                return comparable(client.execute([command])[0])

        sides.same(act)


def test_the_client_reads_the_same_records(sides: Both) -> None:
    def act(address: str) -> object:
        with RuntimeClient(address) as client:
            process = client.info()
            return process.version, client.servers_state(), client.map_rows(ROUTES)

    sides.same(act)
    for read in (RuntimeClient.servers_state, RuntimeClient.map_rows):

        def refused(address: str, read: Callable[[RuntimeClient, str], object] = read) -> object:
            with RuntimeClient(address) as client:
                return read(client, "none")

        sides.same(refused)


def test_a_connection_for_one_line_ends_the_same_way(sides: Both) -> None:
    for line in ("show version", "show version;show version", "show version\nshow version", "quit"):

        def act(address: str, line: str = line) -> str:
            return ask(address, line, 5.0)

        sides.same(act)


def test_another_pid_is_refused_the_same_way(sides: Both) -> None:
    for address in sides.addresses:
        with pytest.raises(ProcessChanged):
            LiveRuntime(address).run([SetWeight("web", "s1", 0)], 1_000_000)


@settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(configs(), st.data())
def test_a_plan_does_the_same(config: Config, data: st.DataObject) -> None:
    front = Frontend("front", (Bind("127.0.0.1", free_port()),), lines(LOOK_UP), "fixed")
    plain = evolve(resolved(config, Config()), frontends=(front,), certificates={}, crt_lists={})
    with both(plain) as sides:
        running = sides.config
        desired = evolve(data.draw(changes_of(running, CAN)), process=running.process)
        desired = evolve(desired, frontends=running.frontends, certificates={}, crt_lists={})
        found = plan(running, desired, CAN)
        assert not found.reload

        def act(address: str) -> object:
            runtime = LiveRuntime(address)
            outcome = apply(found, running, runtime, runtime.pid())
            read = runtime.read(outcome.running, runtime.pid())
            assert plan(read, desired, CAN) == Plan()
            replies = [comparable(result.reply) for result in outcome.batch.results]
            return outcome.running, outcome.busy, outcome.refused, replies, read

        sides.same(act)
