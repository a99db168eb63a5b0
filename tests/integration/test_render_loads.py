"""A real HAProxy takes what is rendered, loads what is said to be loaded, and follows a plan."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from haproxy.apply import apply, load
from haproxy.capabilities import Capabilities
from haproxy.effects import loaded
from haproxy.errors import ConfigRefused
from haproxy.files import Layout, StateDirectory
from haproxy.ids import resolved
from haproxy.live import LiveRuntime
from haproxy.local import Binary, LocalProcess
from haproxy.model import (
    Backend,
    Bind,
    Config,
    Frontend,
    Line,
    Map,
    Profile,
    Resolvers,
    Row,
    Server,
    State,
    lines,
)
from haproxy.ops import Plan
from haproxy.plan import plan
from haproxy.render import Renderer, render
from tests.haproxy.configs import HOSTS, REGEX, ROUTES, changes_of, configs, settled
from tests.integration.kit.net import ask, free_port, request

pytestmark = pytest.mark.integration

HAPROXY = os.environ.get("HAPROXY", "haproxy")
CAN = Capabilities.of(Binary(HAPROXY).version())
# What a user may write that is special to a shell, to HAProxy's parser or to a map.
NASTY = ("$HOME ${HOME}", "#", "a # b", "it's", '"', "\\", "\\n", "ä 日本 \u2028!", ";|&<>`", "{ }")
ECHO = """
http-request return status 200 if { path / }
use_backend %[path,map_str(maps/routes.map)] if { path,map_str(maps/routes.map) -m found }
use_backend %[path,map_reg(maps/regex.map)] if { path,map_reg(maps/regex.map) -m found }
http-request set-var(txn.host) req.hdr(host),map_str(maps/hosts.map)
"""


@frozen
class Site:
    """A HAProxy of this test."""

    layout: Layout
    files: StateDirectory
    process: LocalProcess
    port: int

    @property
    def runtime(self) -> LiveRuntime:
        return LiveRuntime(str(self.layout.runtime_socket))

    def complete(self, config: Config) -> Config:
        """*config* with a socket, and a frontend that looks at all its maps."""
        process = evolve(config.process, runtime_socket=str(self.layout.runtime_socket))
        binds = (Bind("127.0.0.1", self.port),)
        front = Frontend("front", binds, lines(ECHO), default_backend="fixed")
        return evolve(config, process=process, frontends=(front,))


@contextmanager
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="hi-") as folder:
        layout = Layout.at(Path(folder) / "state")
        binary = Binary(HAPROXY)
        files = StateDirectory.open(layout, binary.check)
        process = LocalProcess(layout, binary)
        try:
            yield Site(layout, files, process, free_port())
        finally:
            process.stop(0.1)
            files.close()


@pytest.fixture(scope="module")
def here() -> Iterator[Site]:
    with site() as found:
        yield found


def everything(at: Site) -> Config:
    """All that a configuration can have."""
    hashed = Profile(
        balance="uri depth 3",
        connect_timeout_ms=1_500,
        server_timeout_ms=2_147_483_647,
        retries=0,
        retry_on=("conn-failure", "503"),
        rules=tuple(
            Line(("http-request", "set-header", f"x-{n}", word)) for n, word in enumerate(NASTY)
        ),
    )
    plain = Profile()
    servers = [
        Server("s1", "10.0.0.1", 80, 256, State.READY, 1),
        Server("s2", "fd00::1", 65_535, 0, State.DRAIN, 2**20 - 1),
        Server("s3.x_y:z-1", "10.0.0.3", 1, 9, State.MAINT, 3),
        Server("s4", "10.0.0.4", 80, 7, State.DRAIN, 4),
    ]
    routes = {f"k{n}{word.split()[0]}": Row(word) for n, word in enumerate(NASTY)}
    base = at.complete(Config())
    fixed = lines("http-request return status 404 content-type text/plain string 'not found'")
    return evolve(
        base,
        process=evolve(base.process, maxconn=100, fd_limit=2_000, threads=2, experimental=True),
        resolvers=(Resolvers("dns", ("127.0.0.1:53", "[::1]:53")), Resolvers("system")),
        profiles={one.name: one for one in (hashed, plain)},
        frontends=(
            base.frontends[0],
            Frontend("six", (Bind("::1", at.port, ("name", "it's # $x")), Bind("*", free_port()))),
        ),
        backends={
            "web": Backend("web", hashed.name, {one.name: one for one in servers}),
            "none": Backend("none", plain.name),
            "fixed": Backend("fixed", plain.name, lines=fixed),
        },
        maps={
            ROUTES: Map(ROUTES, {**routes, "/w": Row("web"), "/long": Row("x" * 15_000)}),
            REGEX: Map(REGEX, {"^/z(/|$)": Row("web"), "^/[\"'#\\\\]": Row("fixed")}, ordered=True),
            HOSTS: Map(HOSTS, {"it's": Row("'quoted' \"twice\""), "\\": Row("\\")}),
        },
    )


def test_a_configuration_of_everything_is_loaded_as_it_is_said_to_be(here: Site) -> None:
    config = everything(here)
    done = load(config, Renderer(), here.files, here.process.start)
    assert done.error is None
    assert done.running == loaded(config)
    read = here.runtime.read(config, done.pid)
    assert read == done.running
    assert list(read.maps[REGEX].rows) == list(config.maps[REGEX].rows)
    assert request(here.port, "/", "a.test").status == 200
    assert request(here.port, "/elsewhere", "a.test").body == b"not found"
    assert "web" in ask(here.layout.runtime_socket, "show backend").split()


@pytest.mark.parametrize("word", NASTY)
def test_a_word_is_sent_as_it_was_written(here: Site, word: str) -> None:
    """Where HAProxy takes a string as it is, it takes ours as it is."""
    config = here.complete(_plain())
    say = ("http-request", "return", "status", "200", "content-type", "text/plain", "string", word)
    config = evolve(config, frontends=(evolve(config.frontends[0], rules=(Line(say),)),))
    assert load(config, Renderer(), here.files, here.process.start).error is None
    assert request(here.port, "/", "a.test").body.decode() == word


def _plain() -> Config:
    plain = Profile()
    fixed = Backend("fixed", plain.name, lines=lines("http-request return status 404"))
    return Config(
        profiles={plain.name: plain},
        backends={"fixed": fixed},
        maps={ROUTES: Map(ROUTES), REGEX: Map(REGEX, ordered=True), HOSTS: Map(HOSTS)},
    )


def test_what_is_refused_is_blamed_on_who_asked_for_it(here: Site) -> None:
    config = here.complete(_plain())
    regex = Map(REGEX, {"^/a": Row("x", "A"), "^/(": Row("y", "B")}, ordered=True)
    with_row = evolve(config, maps={**config.maps, REGEX: regex})
    bad = Backend("bad", Profile().name, lines=(Line(("bo'gus", "#")),), origins=("C",))
    with_line = evolve(config, backends={**config.backends, "bad": bad})
    for broken, origin in ((with_row, "B"), (with_line, "C")):
        done = load(broken, Renderer(), here.files, None)
        assert isinstance(done.error, ConfigRefused)
        assert {who for who, _ in done.refused} == {origin}, done.error


@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(configs(), st.data())
def test_a_plan_leads_to_what_is_desired(here: Site, config: Config, data: st.DataObject) -> None:
    none: dict[str, Any] = {"certificates": {}, "crt_lists": {}}  # HAProxy would load none of them
    config = evolve(here.complete(resolved(config, Config())), **none)
    done = load(config, Renderer(), here.files, here.process.start)
    assert done.running is not None, done.error
    running = here.runtime.read(done.running, done.pid)
    assert running == done.running

    desired = evolve(here.complete(data.draw(changes_of(running, CAN))), **none)
    found = plan(running, desired, CAN)
    assert not found.reload
    outcome = apply(found, running, here.runtime, done.pid)
    assert (outcome.busy, outcome.refused) == ((), ())
    assert outcome.running == settled(running, desired, CAN)
    read = here.runtime.read(outcome.running, done.pid)
    assert read == outcome.running
    assert list(read.maps[REGEX].rows) == list(outcome.running.maps[REGEX].rows)
    assert plan(read, desired, CAN) == Plan()


def test_the_same_is_rendered_from_what_runs() -> None:
    """The files on disk follow what was done at runtime."""
    with site() as at:
        config = resolved(at.complete(_plain()), Config())
        web = Backend("web", Profile().name, {"s1": Server("s1", "10.0.0.1", 80)})
        config = resolved(evolve(config, backends={**config.backends, "web": web}), Config())
        pid = load(config, Renderer(), at.files, at.process.start).pid
        more = {"s1": evolve(web.servers["s1"], weight=5), "s0": Server("s0", "10.0.0.2", 80)}
        desired = evolve(config, backends={**config.backends, "web": evolve(web, servers=more)})
        outcome = apply(plan(config, desired, CAN), config, at.runtime, pid)
        assert render(outcome.running).files == render(resolved(desired, config)).files
        assert render(at.runtime.read(config, pid)).files == render(outcome.running).files
