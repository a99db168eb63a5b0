from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given

from haproxy.effects import after, loaded
from haproxy.model import Backend, Config, Map, Row, Server, State
from haproxy.ops import (
    AddBackend,
    AddRow,
    AddServer,
    DelBackend,
    DelRow,
    DelServer,
    Op,
    ReplaceMap,
    SetAddress,
    SetRow,
    SetState,
    SetWeight,
)
from tests.haproxy.configs import running_configs, serving

HOSTS = "maps/hosts.map"
S1 = Server("s1", "10.0.0.1", 80, id=1)
S2 = Server("s2", "10.0.0.2", 80, id=2)
WEB = Backend("web", "p", {"s1": S1})
OTHER = Backend("other", "p", {"s1": S1})
CONFIG = Config(
    backends={"web": WEB, "other": OTHER}, maps={HOSTS: Map(HOSTS, {"a": Row("1"), "b": Row("2")})}
)


def servers(*these: Server) -> Config:
    web = evolve(WEB, servers={server.name: server for server in these})
    return evolve(CONFIG, backends={"web": web, "other": OTHER})


def rows(**values: str) -> Config:
    return evolve(CONFIG, maps={HOSTS: Map(HOSTS, {key: Row(v) for key, v in values.items()})})


@pytest.mark.parametrize(
    ("ops", "config"),
    [
        pytest.param([], CONFIG, id="nothing"),
        pytest.param([AddServer("web", S2)], servers(S1, S2), id="add server"),
        pytest.param([DelServer("web", "s1")], servers(), id="del server"),
        pytest.param([DelServer("web", "none")], CONFIG, id="del server that is gone"),
        pytest.param(
            [SetAddress("web", "s1", "::1", 81)],
            servers(evolve(S1, address="::1", port=81)),
            id="set address",
        ),
        pytest.param([SetWeight("web", "s1", 7)], servers(evolve(S1, weight=7)), id="set weight"),
        pytest.param(
            [SetState("web", "s1", State.DRAIN)],
            servers(evolve(S1, state=State.DRAIN)),
            id="set state",
        ),
        pytest.param([SetWeight("web", "none", 7)], CONFIG, id="set what is gone"),
        pytest.param(
            [AddServer("web", S2), SetWeight("web", "s2", 5), DelServer("web", "s1")],
            servers(evolve(S2, weight=5)),
            id="one after the other",
        ),
        pytest.param([AddRow(HOSTS, "c", "3")], rows(a="1", b="2", c="3"), id="add row"),
        pytest.param([SetRow(HOSTS, "a", "9")], rows(a="9", b="2"), id="set row"),
        pytest.param([DelRow(HOSTS, "a")], rows(b="2"), id="del row"),
        pytest.param([DelRow(HOSTS, "none")], CONFIG, id="del row that is gone"),
        pytest.param([ReplaceMap(HOSTS, {"z": Row("0")})], rows(z="0"), id="replace map"),
        pytest.param(
            [ReplaceMap(HOSTS, {"z": Row("0")}), AddRow(HOSTS, "y", "1")],
            rows(z="0", y="1"),
            id="replace map, then add row",
        ),
        pytest.param(
            [AddBackend("new", "q"), AddServer("new", S2)],
            evolve(CONFIG, backends={**CONFIG.backends, "new": Backend("new", "q", {"s2": S2})}),
            id="add backend and a server of it",
        ),
        pytest.param(
            [DelServer("other", "s1"), DelBackend("other")],
            evolve(CONFIG, backends={"web": WEB}),
            id="del backend after its server",
        ),
        pytest.param([DelBackend("none")], CONFIG, id="del backend that is gone"),
    ],
)
def test_what_runs_after(ops: list[Op], config: Config) -> None:
    before = repr(CONFIG)
    assert after(CONFIG, ops) == config
    assert repr(CONFIG) == before  # nothing is changed in place


def test_what_is_not_touched_stays_the_same_object() -> None:
    found = after(CONFIG, [SetWeight("web", "s1", 7)])
    assert found.backends["other"] is OTHER
    assert found.maps[HOSTS] is CONFIG.maps[HOSTS]


@pytest.mark.parametrize(
    ("server", "then"),
    [
        (S1, S1),
        (evolve(S1, state=State.MAINT, weight=9), evolve(S1, state=State.MAINT, weight=9)),
        (evolve(S1, state=State.DRAIN, weight=9), evolve(S1, weight=0)),
    ],
)
def test_a_draining_server_is_loaded_as_one_of_weight_0(server: Server, then: Server) -> None:
    assert loaded(servers(server, S2)) == servers(then, S2)


def test_loading_what_has_no_draining_server_changes_nothing() -> None:
    assert loaded(CONFIG) is CONFIG


@given(running_configs())
def test_the_in_memory_haproxy_loads_what_is_said_to_be_loaded(config: Config) -> None:
    haproxy = serving(config)
    assert haproxy.read(config, haproxy.pid()) == loaded(config)
