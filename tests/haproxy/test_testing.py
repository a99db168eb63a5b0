"""The in-memory HAProxy answers as a real one does."""

from __future__ import annotations

import pytest
from attrs import evolve

from haproxy.errors import ConfigRefused, ProcessChanged, Unreachable
from haproxy.model import Backend, Config, Map, Profile, Row, Server, State
from haproxy.ops import (
    AddBackend,
    AddRow,
    AddServer,
    DelBackend,
    DelRow,
    DelServer,
    Op,
    ReplaceMap,
    Result,
    SetAddress,
    SetRow,
    SetState,
    SetWeight,
)
from haproxy.render import CONFIG_FILE, render
from haproxy.testing import FakeHAProxy
from tests.haproxy.configs import serving

HOSTS = "maps/hosts.map"
UNKNOWN = "Unknown map identifier. Please use #<id> or <file>."
CLASH = "Error during backend creation : name is already used by other proxy 'backend web'."
P = Profile()
S1 = Server("s1", "10.0.0.1", 80, 5, id=1)
OFF = Server("off", "fd00::1", 81, state=State.MAINT, id=2)
S3 = Server("s3", "10.0.0.3", 80, id=3)
TWIN = evolve(S3, id=1)
CONFIG = Config(
    profiles={P.name: P},
    backends={
        "web": Backend("web", P.name, {"s1": S1, "off": OFF}),
        "empty": Backend("empty", P.name),
    },
    maps={HOSTS: Map(HOSTS, {"a": Row("two words"), "b": Row("x\u2028y")})},
)


@pytest.fixture
def haproxy() -> FakeHAProxy:
    return serving(CONFIG)


@pytest.mark.parametrize(
    ("op", "status", "reply"),
    [
        (AddServer("web", S3), "done", ""),
        (AddServer("none", S3), "refused", "No such backend."),
        (AddServer("web", S1), "refused", "Already exists a server with the same name in backend."),
        (
            AddServer("web", evolve(S3, id=1)),
            "refused",
            "'id' : custom id 1 already used at haproxy.cfg:1 ('server s1').",
        ),
        (SetWeight("web", "s1", 7), "done", ""),
        (SetWeight("web", "none", 7), "refused", "No such server."),
        (SetAddress("none", "s1", "::1", 1), "refused", "No such backend."),
        (SetState("web", "s1", State.MAINT), "done", ""),
        (DelServer("web", "off"), "done", ""),
        (DelServer("web", "s1"), "refused", "Only servers in maintenance mode can be deleted."),
        (DelServer("web", "none"), "done", "No such server."),
        (DelServer("none", "s1"), "done", "No such backend."),
        (AddRow(HOSTS, "c", "v"), "done", ""),
        (AddRow("maps/none", "c", "v"), "refused", UNKNOWN),
        (SetRow("maps/none", "c", "v"), "refused", UNKNOWN),
        (DelRow("maps/none", "c"), "refused", UNKNOWN),
        (ReplaceMap("maps/none", {}), "refused", UNKNOWN),
        (AddBackend("new", P.name), "done", ""),
        (AddBackend("web", P.name), "refused", CLASH),
        (DelBackend("empty"), "done", ""),
        (DelBackend("web"), "busy", "Only a backend without server can be deleted."),
        (DelBackend("none"), "done", "No such backend."),
    ],
)
def test_an_operation_is_carried_out_or_answered_with_why_not(
    haproxy: FakeHAProxy, op: Op, status: str, reply: str
) -> None:
    before = haproxy.config
    (result,) = haproxy.run([op], haproxy.pid()).results
    assert (result.op, result.status, result.reply) == (op, status, reply)
    assert (haproxy.config == before) is bool(reply)


def test_a_server_that_still_has_connections_is_busy(haproxy: FakeHAProxy) -> None:
    haproxy.busy.add("web/off")
    (result,) = haproxy.run([DelServer("web", "off")], haproxy.pid()).results
    assert result.status == "busy"
    assert "off" in haproxy.config.backends["web"].servers


def test_it_refuses_what_it_is_told_to(haproxy: FakeHAProxy) -> None:
    haproxy.refuse = lambda _: "because"
    op = SetWeight("web", "s1", 7)
    assert haproxy.run([op], haproxy.pid()).results == (Result(op, "refused", "because"),)
    with pytest.raises(ConfigRefused, match="because"):
        haproxy.publish({})


def test_it_logs_the_commands_that_a_real_one_would_get(haproxy: FakeHAProxy) -> None:
    haproxy.log.clear()
    haproxy.run([SetWeight("web", "s1", 7), DelRow(HOSTS, "a")], haproxy.pid())
    assert haproxy.log == ["set server web/s1 weight 7", "del map maps/hosts.map a"]


def test_it_runs_what_was_published(haproxy: FakeHAProxy) -> None:
    assert haproxy.read(CONFIG, haproxy.pid()) == CONFIG


def test_a_reload_loads_what_was_published_and_forgets_the_rest(haproxy: FakeHAProxy) -> None:
    haproxy.run([SetWeight("web", "s1", 7)], haproxy.pid())
    before = haproxy.pid()
    assert haproxy.reload() == haproxy.pid() != before
    assert haproxy.reloads == 1
    assert haproxy.read(CONFIG, haproxy.pid()) == CONFIG


def test_a_rollback_brings_back_the_files_before(haproxy: FakeHAProxy) -> None:
    before = haproxy.published
    haproxy.publish({CONFIG_FILE: b""})
    haproxy.rollback()
    assert haproxy.published == before == render(CONFIG).files


def test_it_answers_only_as_the_worker_it_is(haproxy: FakeHAProxy) -> None:
    with pytest.raises(ProcessChanged):
        haproxy.run([], haproxy.pid() + 1)
    with pytest.raises(ProcessChanged):
        haproxy.read(CONFIG, haproxy.pid() + 1)


def test_it_has_no_map_that_was_not_loaded(haproxy: FakeHAProxy) -> None:
    known = evolve(CONFIG, maps={**CONFIG.maps, "maps/new": Map("maps/new")})
    assert haproxy.read(known, haproxy.pid()) == CONFIG


def test_it_has_no_backend_that_was_not_loaded(haproxy: FakeHAProxy) -> None:
    new = Backend("new", P.name, {"s3": S3})
    known = evolve(CONFIG, backends={"new": new})
    assert haproxy.read(known, haproxy.pid()).backends == {}


def test_once_stopped_it_is_gone_and_a_start_is_another_worker(haproxy: FakeHAProxy) -> None:
    before = haproxy.pid()
    haproxy.stop(1.0)
    assert not haproxy.alive()
    with pytest.raises(Unreachable):
        haproxy.pid()
    assert haproxy.start() != before
