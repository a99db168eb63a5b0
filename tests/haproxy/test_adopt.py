from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given

from haproxy.adopt import adopt
from haproxy.apply import Loaded, apply, load
from haproxy.capabilities import Capabilities
from haproxy.errors import HAProxyError, ProcessFailed
from haproxy.ids import resolved
from haproxy.model import Backend, Config, Map, Profile, Row, Server, State, lines
from haproxy.ops import AddBackend, AddRow, AddServer, DelServer, Plan, SetState, SetWeight
from haproxy.plan import plan
from haproxy.render import CONFIG_FILE, Renderer
from haproxy.testing import FakeHAProxy
from tests.haproxy.configs import configs

V2_6, V3_4 = Capabilities((2, 6)), Capabilities((3, 4))
HOSTS = "maps/hosts.map"
P, OTHER = Profile(), Profile(retries=7)
S1, S2 = Server("s1", "10.0.0.1", 80, id=1), Server("s2", "10.0.0.2", 80, id=2)
WEB = Backend("web", P.name, {"s1": S1})
FIXED = Backend("fixed", P.name, lines=lines("http-request return status 404"))
CONFIG = Config(
    profiles={P.name: P},
    backends={"web": WEB, "fixed": FIXED},
    maps={HOSTS: Map(HOSTS, {"a.test": Row("web")})},
)


class Hung(FakeHAProxy):
    def adopt(self) -> int | None:
        raise ProcessFailed("it hangs")


def left(config: Config = CONFIG, version: str = "2.6.12") -> FakeHAProxy:
    """One that serves *config*; who started it is dead."""
    haproxy = FakeHAProxy(version=version)
    assert load(config, Renderer(), haproxy, haproxy.start).error is None
    haproxy.log.clear()
    return haproxy


def take(haproxy: FakeHAProxy, desired: Config = CONFIG, can: Capabilities = V2_6) -> Loaded | None:
    return adopt(desired, Renderer(), haproxy, haproxy, haproxy, can)


def taken(haproxy: FakeHAProxy, desired: Config = CONFIG, can: Capabilities = V2_6) -> Config:
    found = take(haproxy, desired, can)
    assert found
    assert found.running is not None
    assert found.pid == haproxy.pid()
    assert found.description == haproxy.description
    return found.running


def with_web(backend: Backend) -> Config:
    return evolve(CONFIG, backends={**CONFIG.backends, "web": backend})


def test_the_same_is_the_same_and_nothing_is_done() -> None:
    haproxy = left()
    running = taken(haproxy)
    assert running == CONFIG
    assert plan(running, CONFIG, V2_6) == Plan()
    assert not haproxy.log


def test_what_was_changed_at_runtime_is_read_back() -> None:
    haproxy = left()
    done = (AddServer("web", S2), SetWeight("web", "s1", 7), AddRow(HOSTS, "b.test", "web"))
    haproxy.run([*done, SetState("web", "s2", State.DRAIN)], haproxy.pid())
    running = taken(haproxy)
    s1, s2 = evolve(S1, weight=7), evolve(S2, state=State.DRAIN)
    assert running.backends["web"] == evolve(WEB, servers={"s1": s1, "s2": s2})
    assert running.maps[HOSTS].rows == {"a.test": Row("web"), "b.test": Row("web")}


def test_also_when_the_files_followed() -> None:
    haproxy = left()
    haproxy.run([DelServer("web", "s1")], haproxy.pid())
    gone = Config(CONFIG.process, (), CONFIG.profiles, (), {"fixed": FIXED}, CONFIG.maps)
    load(gone, Renderer(), haproxy, None, haproxy.description)
    assert taken(haproxy, gone).backends == {"fixed": FIXED}


def test_only_servers_rows_and_backends_may_differ() -> None:
    desired = evolve(with_web(evolve(WEB, servers={"s2": S2})), maps={HOSTS: Map(HOSTS)})
    running = taken(left(), desired)
    assert not plan(running, desired, V2_6).reload
    more = evolve(CONFIG, backends={**CONFIG.backends, "new": Backend("new", P.name)})
    assert [one.subject for one in plan(taken(left(), more), more, V2_6).reload] == ["backend new"]


@pytest.mark.parametrize(
    "desired",
    [
        evolve(CONFIG, process=evolve(CONFIG.process, threads=2)),
        evolve(CONFIG, process=evolve(CONFIG.process, experimental=True)),
    ],
)
def test_another_structure_has_to_be_loaded(desired: Config) -> None:
    assert take(left(), desired) is None


def test_backends_that_changed_beyond_their_servers_are_differences() -> None:
    both = {P.name: P, OTHER.name: OTHER}
    for backend in (
        evolve(WEB, profile=OTHER.name),
        evolve(WEB, lines=FIXED.lines),
        evolve(WEB, server_options=("proto", "h2")),
    ):
        desired = evolve(with_web(backend), profiles=both)
        running = taken(left(evolve(CONFIG, profiles=both)), desired)
        assert plan(running, desired, V2_6).reload


def test_a_map_that_was_not_loaded_is_a_difference() -> None:
    desired = evolve(CONFIG, maps={**CONFIG.maps, "maps/new": Map("maps/new")})
    assert plan(taken(left(), desired), desired, V2_6).reload


def test_a_profile_of_the_same_name_and_other_text_has_to_be_loaded() -> None:
    """Another version of this package may write the same profile differently."""
    haproxy = left()
    text = haproxy.published[CONFIG_FILE].replace(b"retries 2", b"retries 3")
    haproxy.published = {**haproxy.published, CONFIG_FILE: text}
    assert take(haproxy) is None


class TestWhatCannotBeTold:
    def test_nobody_is_there(self) -> None:
        assert take(FakeHAProxy()) is None

    def test_it_is_of_another_version(self) -> None:
        assert take(left(version="3.4.7")) is None

    def test_it_has_no_description(self) -> None:
        haproxy = left()
        haproxy.description = ""
        assert take(haproxy) is None

    def test_the_files_were_never_loaded(self) -> None:
        """Who published them died before the reload."""
        haproxy = left()
        load(with_web(evolve(WEB, profile=OTHER.name)), Renderer(), haproxy, None)
        assert take(haproxy) is None

    def test_there_are_no_files(self) -> None:
        haproxy = left()
        haproxy.published = {}
        assert take(haproxy) is None

    def test_it_does_not_answer(self) -> None:
        haproxy = Hung(version="2.6.12")
        load(CONFIG, Renderer(), haproxy, haproxy.start)
        assert take(haproxy) is None

    def test_a_backend_that_came_at_runtime_before_the_files_followed(self) -> None:
        haproxy = left(version="3.4.7")
        haproxy.run([AddBackend("new", P.name)], haproxy.pid())
        desired = evolve(CONFIG, backends={**CONFIG.backends, "new": Backend("new", P.name)})
        assert plan(taken(haproxy, desired, V3_4), desired, V3_4).reload
        assert taken(haproxy, CONFIG, V3_4) == CONFIG

    def test_how_servers_were_made_before_the_files_followed(self) -> None:
        haproxy = left(with_web(evolve(WEB, servers={})))
        haproxy.run([AddServer("web", S1)], haproxy.pid())
        assert plan(taken(haproxy), CONFIG, V2_6).reload


@given(configs(), configs())
def test_whoever_takes_over_gets_there(running: Config, desired: Config) -> None:
    """By operations alone, or it knows that it takes a reload."""
    haproxy = left(resolved(running, Config()), "3.4.7")
    found = take(haproxy, desired, V3_4)
    if found is None or found.running is None:
        return
    way = plan(found.running, desired, V3_4)
    try:
        outcome = apply(way, found.running, haproxy, haproxy.pid())
    except HAProxyError as error:
        raise AssertionError(way) from error
    assert not outcome.refused
    if not (way.reload or outcome.busy):
        assert haproxy.read(desired, haproxy.pid()) == resolved(desired, found.running)
