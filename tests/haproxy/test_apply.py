from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from attrs import evolve

from haproxy.apply import Loaded, apply, load
from haproxy.capabilities import Capabilities
from haproxy.errors import (
    ConfigRefused,
    FilesFailed,
    HAProxyError,
    InvalidValue,
    ProcessChanged,
    ProcessFailed,
    Unreachable,
)
from haproxy.model import Backend, Config, Line, Map, Profile, Row, Server, State
from haproxy.ops import AddRow, DelServer, Op, SetRow
from haproxy.plan import plan
from haproxy.render import CONFIG_FILE, Renderer, render
from haproxy.testing import FakeHAProxy
from tests.haproxy.configs import serving

V2_6 = Capabilities((2, 6))
HOSTS = "maps/hosts.map"
P = Profile()
S1, S2 = Server("s1", "10.0.0.1", 80, id=1), Server("s2", "10.0.0.2", 80, id=2)
CONFIG = Config(
    profiles={P.name: P},
    backends={"web": Backend("web", P.name, {"s1": S1, "s2": S2}, origins=("ingress",))},
    maps={HOSTS: Map(HOSTS, {"a.test": Row("web", "ingress")})},
)


def changed(rows: Mapping[str, Row], *servers: Server) -> Config:
    web = evolve(CONFIG.backends["web"], servers={server.name: server for server in servers})
    return evolve(CONFIG, backends={"web": web}, maps={HOSTS: Map(HOSTS, rows)})


class TestApply:
    def test_what_was_done_runs(self) -> None:
        haproxy = serving(CONFIG)
        desired = changed({"b.test": Row("web")}, S1, Server("s3", "10.0.0.3", 80))
        found = plan(CONFIG, desired, V2_6)
        outcome = apply(found, CONFIG, haproxy, haproxy.pid())
        assert outcome.running == haproxy.read(CONFIG, haproxy.pid())
        assert plan(outcome.running, desired, V2_6).steps == ()
        assert (outcome.busy, outcome.refused) == ((), ())
        assert outcome.batch.pid == haproxy.pid()
        assert [result.op for result in outcome.batch.results] == list(found.ops)

    def test_a_server_with_connections_is_busy_and_goes_later(self) -> None:
        haproxy = serving(CONFIG, busy={"web/s2"})
        desired = changed({"a.test": Row("web")}, S1)
        outcome = apply(plan(CONFIG, desired, V2_6), CONFIG, haproxy, haproxy.pid())
        assert [step.op for step in outcome.busy] == [DelServer("web", "s2")]
        assert outcome.running.backends["web"].servers["s2"].state is State.MAINT

        haproxy.busy.clear()
        again = plan(outcome.running, desired, V2_6)
        assert again.ops == (DelServer("web", "s2"),)
        assert apply(again, outcome.running, haproxy, haproxy.pid()).running == desired

    def test_what_was_refused_does_not_run_and_stops_nothing_else(self) -> None:
        def refuse(what: Mapping[str, bytes] | Op) -> str:
            return "no\n" if what == SetRow(HOSTS, "a.test", "x") else ""

        haproxy = serving(CONFIG, refuse=refuse)
        desired = changed({"a.test": Row("x", "me"), "b.test": Row("web")}, S1, S2)
        outcome = apply(plan(CONFIG, desired, V2_6), CONFIG, haproxy, haproxy.pid())
        ((step, reply),) = outcome.refused
        assert (step.op, reply) == (SetRow(HOSTS, "a.test", "x"), "no\n")
        assert step.reason.origin == "me"
        assert outcome.running.maps[HOSTS].rows == {"a.test": Row("web"), "b.test": Row("web")}

    def test_a_value_that_no_command_can_carry_is_refused(self) -> None:
        haproxy = serving(CONFIG)
        desired = changed({"a.test": Row("web"), "b c": Row("web")}, S1, S2)
        outcome = apply(plan(CONFIG, desired, V2_6), CONFIG, haproxy, haproxy.pid())
        ((step, reply),) = outcome.refused
        assert step.op == AddRow(HOSTS, "b c", "web")
        assert "without white space" in reply

    def test_nothing_is_sent_to_another_worker(self) -> None:
        haproxy = serving(CONFIG)
        before, pid = haproxy.config, haproxy.pid()
        haproxy.reload()
        with pytest.raises(ProcessChanged) as caught:
            apply(plan(CONFIG, changed({}, S1), V2_6), CONFIG, haproxy, pid)
        assert (caught.value.expected, caught.value.found) == (pid, haproxy.pid())
        assert haproxy.config == before

    def test_nobody_is_there(self) -> None:
        with pytest.raises(Unreachable):
            apply(plan(CONFIG, changed({}, S1), V2_6), CONFIG, FakeHAProxy(), 1)


def failing(error: HAProxyError) -> Callable[[], int]:
    def fail() -> int:
        raise error

    return fail


class TestLoad:
    def test_what_was_loaded_runs(self) -> None:
        haproxy = FakeHAProxy()
        drained = changed({}, evolve(S1, state=State.DRAIN))
        done = load(drained, Renderer(), haproxy, haproxy.start)
        expected = Loaded(changed({}, evolve(S1, weight=0)), haproxy.pid())
        assert done == evolve(expected, description=render(CONFIG).description)
        assert haproxy.published == render(drained).files
        assert haproxy.log == ["publish", "start"]

    def test_what_is_only_published_is_for_the_next_start(self) -> None:
        haproxy = FakeHAProxy()
        done = load(CONFIG, Renderer(), haproxy, None, "what runs")
        assert done == Loaded(CONFIG, 0, description="what runs")
        assert b"\n  description 'what runs'\n" in haproxy.published[CONFIG_FILE]
        assert haproxy.log == ["publish"]
        assert not haproxy.alive()

    def test_what_is_refused_is_blamed_on_who_asked_and_touches_nothing(self) -> None:
        haproxy = serving(CONFIG)
        bad = Backend("bad", P.name, lines=(Line(("bogus",)),), origins=("you",))
        desired = evolve(CONFIG, backends={**CONFIG.backends, "bad": bad})
        config = render(desired).files[CONFIG_FILE].decode().split("\n")
        alert = f"parsing [haproxy.cfg:{config.index('  bogus') + 1}] : unknown keyword 'bogus'"
        haproxy.refuse = lambda _: alert
        done = load(desired, Renderer(), haproxy, haproxy.reload)
        assert done.refused == (("you", alert),)
        assert isinstance(done.error, ConfigRefused)
        assert done.running is None
        assert haproxy.published == render(CONFIG).files
        assert haproxy.reloads == 0

    def test_what_only_the_reload_refuses_is_blamed_too(self) -> None:
        haproxy = serving(CONFIG)
        number = (
            render(CONFIG)
            .files[CONFIG_FILE]
            .decode()
            .split("\n")
            .index("backend web from " + P.name)
        )
        alert = f"parsing [haproxy.cfg:{number + 1}] : no"
        done = load(CONFIG, Renderer(), haproxy, failing(ConfigRefused((alert, "and so on"))))
        assert done.refused == (("ingress", alert),)
        assert haproxy.log[-1] == "rollback"

    def test_a_reload_that_failed_leaves_the_files_of_what_serves(self) -> None:
        haproxy = serving(CONFIG)
        error = ProcessFailed("a port is in use")
        assert load(changed({}, S1), Renderer(), haproxy, failing(error)) == Loaded(error=error)
        assert haproxy.published == render(CONFIG).files
        assert haproxy.log[-2:] == ["publish", "rollback"]

    @pytest.mark.parametrize(
        ("key", "value"), [("a b", "web"), ("#a", "web"), ("a", ""), ("a", "x" * 16_000)]
    )
    def test_a_row_that_no_file_can_hold_is_blamed_on_who_asked(self, key: str, value: str) -> None:
        haproxy = serving(CONFIG)
        done = load(changed({key: Row(value, "you")}), Renderer(), haproxy, haproxy.reload)
        assert isinstance(done.error, InvalidValue)
        assert done.refused == (("you", str(done.error)),)
        assert haproxy.reloads == 0

    def test_a_row_that_no_file_can_hold_and_nobody_asked_for(self) -> None:
        done = load(changed({"a b": Row("web")}), Renderer(), FakeHAProxy(), None)
        assert isinstance(done.error, InvalidValue)
        assert done.refused == ()

    def test_files_that_cannot_be_written(self) -> None:
        error = FilesFailed("/", "disk full")
        done = load(CONFIG, Renderer(), Disk(error), FakeHAProxy().start)
        assert done == Loaded(error=error)

    def test_files_that_cannot_be_put_back_do_not_hide_why_it_failed(self) -> None:
        """The first start has nothing to put back."""
        error = ProcessFailed("a port is in use")
        disk = Disk(back=FilesFailed("/", "there is no generation before this one"))
        done = load(CONFIG, Renderer(), disk, failing(error))
        assert done == Loaded(error=error)
        (note,) = error.__notes__
        assert "no generation before" in note


class Disk:
    """Files that fail."""

    def __init__(self, error: HAProxyError | None = None, back: HAProxyError | None = None) -> None:
        self.error, self.back = error, back

    def publish(self, files: Mapping[str, bytes]) -> None:
        if self.error:
            raise self.error

    def rollback(self) -> None:
        if self.back:
            raise self.back

    def current(self, name: str) -> bytes:
        raise FilesFailed(name, "no such file")

    def tidy(self) -> None: ...
