"""From a desired configuration to HAProxy having it, round by round."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest

from haproxy.errors import (
    CommandRejected,
    ConfigRefused,
    ProcessChanged,
    ProcessFailed,
    Unreachable,
)
from haproxy.model import State
from haproxy.ops import AddRow, AddServer, Cause
from haproxy.render import CONFIG_FILE
from haproxy_ingress.resources import ServiceTarget
from haproxy_ingress.routing import HOSTS, ROUTES
from haproxy_ingress.sources import Change
from tests.haproxy_ingress.objects import gone, ingress, path, pods, put, rule, service
from tests.haproxy_ingress.rig import INTERVAL_S, PATIENCE_S, V3_4, Rig

FAILURE = ProcessFailed("told to fail")
SHOP = ingress("shop", rule("a.test"))
WEB_80 = "ns_web_80"
BASIS = put(service(), SHOP, pods("web", "10.0.0.1"))
FIRST, SECOND = "10.0.0.1-8080", "10.0.0.2-8080"


def scaled(*last: int) -> tuple[Change, ...]:
    """The pods of web."""
    return put(pods("web", *(f"10.0.0.{number}" for number in last)))


def new_service(name: str = "api") -> tuple[Change, ...]:
    target = ServiceTarget(name, 80)
    one = ingress(name, rule(f"{name}.test", path("/", target)))
    return put(service(name), one, pods(name, "10.0.1.1"))


@pytest.fixture
def rig() -> Rig:
    return Rig().started(*BASIS)


class TestStart:
    def test_haproxy_starts_with_what_is_there(self) -> None:
        rig = Rig()
        rig.change(*BASIS)
        rig.finish()
        assert rig.haproxy.log[:2] == ["publish", "start"]
        assert rig.in_step()
        (report,) = rig.reports
        assert (report.action, report.reasons, report.cause) == ("reload", ("start",), None)
        assert [str(one.ref) for one in report.causes] == [str(c.ref) for c in BASIS]

    def test_once_only(self) -> None:
        rig = Rig()
        rig.haproxy.gate.clear()
        rig.change(*BASIS)
        rig.again()
        rig.haproxy.gate.set()
        rig.finish()
        assert rig.haproxy.worker == 1
        assert rig.ended.empty()

    def test_what_changes_meanwhile_follows(self) -> None:
        rig = Rig()
        rig.haproxy.gate.clear()
        rig.change(*BASIS)
        rig.change(*scaled(1, 2))
        rig.haproxy.gate.set()
        rig.finish()
        assert rig.in_step()
        assert not rig.haproxy.reloads

    def test_a_failed_one_is_tried_again_later_and_later(self) -> None:
        rig = Rig()
        waits = []
        rig.haproxy.fail = FAILURE
        rig.change(*BASIS)
        for _ in range(8):
            rig.finish()
            assert rig.last.error is not None
            assert rig.driver.running is None
            waits.append(rig.driver.due_s() - rig.now_s)
            rig.haproxy.fail = FAILURE
            rig.pass_s(waits[-1] - 0.01)
            assert rig.ended.empty()
            rig.pass_s(0.01)
        assert waits == [1, 2, 4, 8, 16, 30, 30, 30]

    def test_draining_servers_are_settled_after_it(self) -> None:
        rig = Rig().started(*put(service(), SHOP), *scaled(1))
        assert rig.in_step()


class TestRuntime:
    """What needs no reload is applied at once, in one batch."""

    def test_an_isolated_change(self, rig: Rig) -> None:
        rig.change(*scaled(1, 2))
        assert rig.in_step()
        assert (rig.haproxy.batches, rig.haproxy.reloads) == (1, 0)
        report = rig.last
        assert report.action == "runtime"
        assert report.reasons == (f"server {WEB_80}/{SECOND}: address 10.0.0.2:8080 added",)
        assert report.error is None
        assert report.batch is not None
        assert report.batch.commands > 0

    def test_several_at_once_are_one_batch(self, rig: Rig) -> None:
        more = put(ingress("more", rule("b.test")), ingress("shop", rule("a.test", "/x")))
        rig.change(*scaled(2, 3), *more)
        assert rig.in_step()
        assert rig.haproxy.batches == 1
        assert len(rig.reports) == 1

    def test_rows(self, rig: Rig) -> None:
        rig.change(*put(ingress("shop", rule("b.test", "/x"))))
        assert rig.haproxy.rows(ROUTES) == {"b.test/x/": WEB_80}
        assert rig.haproxy.rows(HOSTS) == {"b.test": "-"}
        assert not rig.haproxy.reloads

    def test_what_leads_to_nothing_is_told(self, rig: Rig) -> None:
        rig.change(*put(service("unused")))
        assert rig.actions == ["none"]
        assert not rig.haproxy.log

    def test_a_round_without_a_change_is_not(self, rig: Rig) -> None:
        rig.again()
        assert not rig.reports

    def test_files_follow_a_second_later(self, rig: Rig) -> None:
        rig.change(*scaled(1, 2))
        assert rig.driver.due_s() == rig.now_s + 1.0
        rig.pass_s(1.0)
        rig.finish()
        assert b"10.0.0.2" in rig.haproxy.published[CONFIG_FILE]
        assert rig.haproxy.log[-1:] == ["publish"]
        assert rig.actions == ["runtime"]

    def test_files_that_cannot_follow_are_tried_again(self, rig: Rig) -> None:
        rig.change(*scaled(1, 2))
        rig.haproxy.refuse = lambda what: "no" if isinstance(what, Mapping) else ""
        rig.pass_s(1.0)
        rig.finish()
        assert isinstance(rig.last.error, ConfigRefused)
        rig.haproxy.refuse = lambda _: ""
        rig.settle()
        assert b"10.0.0.2" in rig.haproxy.published[CONFIG_FILE]


class TestReloads:
    """What needs one: the first at once, then one in an interval."""

    def test_a_new_service(self, rig: Rig) -> None:
        rig.change(*new_service())
        rig.finish()
        assert rig.in_step()
        assert rig.haproxy.reloads == 1
        report = rig.last
        assert (report.action, report.cause) == ("reload", Cause.NEW_BACKEND)
        assert report.reasons[0].startswith("backend ns_api_80: profile ")
        assert {one.ref.kind for one in report.causes} == {"Ingress", "Service", "EndpointSlice"}

    def test_no_request_finds_a_row_without_its_backend(self, rig: Rig) -> None:
        rig.haproxy.gate.clear()
        rig.change(*new_service())
        assert "api.test" not in rig.haproxy.rows(HOSTS)
        rig.haproxy.gate.set()
        rig.finish()
        assert rig.haproxy.rows(HOSTS)["api.test"] == "-"

    def test_none_where_backends_are_dynamic(self) -> None:
        rig = Rig(can=V3_4).started(*BASIS)
        rig.change(*new_service())
        assert rig.in_step()
        assert rig.actions == ["runtime"]

    def test_a_burst_is_one(self, rig: Rig) -> None:
        rig.haproxy.gate.clear()
        for number in range(20):
            rig.change(*new_service(f"s{number}"))
        rig.haproxy.gate.set()
        rig.finish()
        rig.settle()
        assert rig.haproxy.reloads == 2
        assert rig.in_step()

    def test_the_interval_is_kept(self, rig: Rig) -> None:
        began_s = rig.now_s
        rig.change(*new_service("one"))
        rig.finish()
        rig.change(*new_service("two"))
        assert rig.driver.due_s() == began_s + INTERVAL_S
        rig.pass_s(INTERVAL_S - 0.01)
        assert rig.haproxy.reloads == 1
        rig.pass_s(0.01)
        rig.finish()
        assert rig.haproxy.reloads == 2
        assert rig.driver.settled
        assert rig.in_step()

    def test_files_do_not_become_due_before_it(self, rig: Rig) -> None:
        rig.change(*new_service("one"))
        rig.finish()
        rig.change(*new_service("two"), *scaled(1, 2))
        assert rig.driver.due_s() == rig.now_s + INTERVAL_S
        rig.pass_s(INTERVAL_S / 2 + 0.5)
        assert rig.driver.due_s() > rig.now_s

    def test_one_that_is_not_wanted_any_more_is_left_out(self, rig: Rig) -> None:
        rig.change(*new_service("one"))
        rig.finish()
        rig.change(*new_service("two"))
        rig.change(*gone(ingress("two").ref))
        rig.pass_s(INTERVAL_S)
        rig.settle()
        assert rig.haproxy.reloads == 1
        assert rig.in_step()

    def test_a_failed_one_is_tried_again_and_the_old_worker_serves_on(self, rig: Rig) -> None:
        rig.haproxy.fail = FAILURE
        rig.change(*new_service())
        rig.finish()
        assert str(rig.last.error) == "told to fail"
        assert rig.haproxy.log[-1] == "rollback"
        rig.change(*scaled(1, 2))
        assert SECOND in rig.haproxy.servers(WEB_80)
        assert rig.driver.due_s() == rig.now_s + 1.0
        rig.pass_s(1.0)
        rig.finish()
        assert rig.in_step()

    def test_a_defect_of_ours_ends_the_load_too(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(rig.driver.loader, "files", None)
            rig.change(*new_service())
            rig.finish()
        assert str(rig.last.error).startswith("not loaded, a defect of ours: AttributeError")
        rig.settle()
        assert rig.in_step()


class TestDuringAReload:
    """Endpoints never wait for one."""

    def test_they_go_to_the_worker_that_serves(self, rig: Rig) -> None:
        rig.haproxy.gate.clear()
        rig.change(*new_service())
        rig.change(*scaled(1, 2))
        assert SECOND in rig.haproxy.servers(WEB_80)
        rig.haproxy.gate.set()
        rig.finish()
        assert rig.in_step()

    def test_and_are_settled_with_the_new_one(self, rig: Rig) -> None:
        """What it loaded is older than what changed since."""
        rig.haproxy.gate.clear()
        rig.change(*new_service())
        rig.change(*scaled(3))
        rig.haproxy.gate.set()
        done = rig.ended.get(timeout=PATIENCE_S)
        assert FIRST in rig.haproxy.servers(WEB_80)
        rig.driver.take(done)
        rig.again()
        assert list(rig.haproxy.servers(WEB_80)) == ["10.0.0.3-8080"]

    def test_a_takeover_before_its_news(self, rig: Rig) -> None:
        """The new worker answers, but the end of the load is still on its way to us."""
        rig.haproxy.gate.clear()
        rig.change(*new_service())
        rig.haproxy.gate.set()
        done = rig.ended.get(timeout=PATIENCE_S)
        rig.forget()
        rig.change(*scaled(1, 2))
        assert not rig.reports
        rig.driver.take(done)
        rig.again()
        assert rig.in_step()
        assert [report.error for report in rig.reports] == [None, None]


class TestRefusals:
    """What HAProxy refuses is blamed on who asked for it."""

    def test_a_configuration(self, rig: Rig) -> None:
        before = rig.haproxy.published
        rig.haproxy.refuse = lambda what: (
            _alert(what, "ns_api_80") if isinstance(what, Mapping) else ""
        )
        rig.change(*new_service())
        rig.finish()
        report = rig.last
        assert isinstance(report.error, ConfigRefused)
        assert [str(origin) for origin, _ in report.refused] == ["Ingress ns/api"]
        assert rig.haproxy.published is before

    def test_the_others_proceed_and_it_comes_back_when_mended(self, rig: Rig) -> None:
        rig.haproxy.refuse = lambda what: (
            _alert(what, "ns_api_80") if isinstance(what, Mapping) else ""
        )
        rig.change(*new_service("api"), *new_service("fine"))
        rig.finish()
        rig.quarantine(ingress("api").ref)
        rig.settle()
        assert rig.in_step()
        assert rig.haproxy.rows(ROUTES)["fine.test/"] == "ns_fine_80"
        assert rig.haproxy.rows(ROUTES)["api.test/"] == "_503"
        rig.haproxy.refuse = lambda _: ""
        mended = ingress("api", rule("mended.test", path("/", ServiceTarget("api", 80))))
        rig.change(*put(mended))
        rig.settle()
        assert rig.haproxy.rows(ROUTES)["mended.test/"] == "ns_api_80"

    def test_an_operation_with_an_owner(self, rig: Rig) -> None:
        rig.haproxy.refuse = lambda what: (
            "no such row" if isinstance(what, AddRow) and what.key == "a.test/bad/" else ""
        )
        rig.change(
            *put(ingress("bad", rule("a.test", "/bad")), ingress("ok", rule("a.test", "/ok")))
        )
        report = rig.last
        assert report.refused == ((ingress("bad").ref, "no such row"),)
        assert isinstance(report.error, CommandRejected)
        assert "a.test/ok/" in rig.haproxy.rows(ROUTES)

    def test_an_operation_without_one_is_read_back_and_then_reloaded(self, rig: Rig) -> None:
        rig.haproxy.refuse = lambda what: "no" if isinstance(what, AddServer) else ""
        rig.change(*scaled(1, 2))
        assert rig.last.refused == ()
        assert SECOND not in rig.haproxy.servers(WEB_80)
        rig.settle()
        assert rig.in_step()
        assert rig.haproxy.reloads == 1
        assert [one.cause for one in rig.reports if one.action == "reload"] == [Cause.DRIFT]

    def test_one_that_was_refused_once_is_done_the_second_time(self, rig: Rig) -> None:
        answers = iter(["busy just now"])
        rig.haproxy.refuse = lambda what: next(answers, "") if isinstance(what, AddServer) else ""
        rig.change(*scaled(1, 2))
        rig.settle()
        assert rig.in_step()
        assert not rig.haproxy.reloads


class TestBusyServers:
    """One that still has connections gets no requests, and goes when it is idle."""

    def test_later(self, rig: Rig) -> None:
        rig.haproxy.busy = {f"{WEB_80}/{FIRST}"}
        rig.change(*scaled(2))
        assert rig.haproxy.servers(WEB_80)[FIRST].state is State.MAINT
        tries_s = [rig.now_s]
        while len(tries_s) < 9:
            before = rig.haproxy.batches
            rig.step()
            if rig.haproxy.batches > before:
                tries_s.append(rig.now_s)
        waits = [round(later - sooner, 3) for sooner, later in pairwise(tries_s)]
        assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
        rig.haproxy.busy = set()
        rig.settle()
        assert list(rig.haproxy.servers(WEB_80)) == [SECOND]
        assert not rig.haproxy.reloads

    def test_trying_again_is_nothing_to_tell(self, rig: Rig) -> None:
        rig.haproxy.busy = {f"{WEB_80}/{FIRST}"}
        rig.change(*scaled(2))
        rig.pass_s(5.0)
        assert len(rig.reports) == 1

    def test_one_that_comes_back_serves_again(self, rig: Rig) -> None:
        rig.haproxy.busy = {f"{WEB_80}/{FIRST}"}
        rig.change(*scaled(2))
        rig.change(*scaled(1, 2))
        rig.settle()
        assert rig.in_step()


class TestWhenItIsNotKnownWhatRuns:
    def test_another_worker_is_read_and_brought_up_to_date(self, rig: Rig) -> None:
        rig.haproxy.replace()
        rig.change(*scaled(1, 2))
        assert isinstance(rig.last.error, ProcessChanged)
        rig.again()
        assert rig.in_step()
        assert rig.driver.pid == rig.haproxy.worker
        assert not rig.haproxy.reloads

    def test_rows_and_servers_that_it_lacks_come_back(self, rig: Rig) -> None:
        rig.change(*scaled(1, 2), *put(ingress("shop", rule("b.test"))))
        rig.haproxy.replace()  # the files on disk are older
        rig.change(*put(ingress("more", rule("c.test"))))
        rig.again()
        assert rig.in_step()

    def test_nobody_answers_for_a_while(self, rig: Rig) -> None:
        rig.haproxy.unreachable = True
        rig.change(*scaled(1, 2))
        assert isinstance(rig.last.error, Unreachable)
        rig.again()
        wait_s = rig.driver.due_s() - rig.now_s
        assert 0 < wait_s < 1
        rig.haproxy.unreachable = False
        rig.pass_s(wait_s)
        assert rig.in_step()

    def test_haproxy_is_gone(self, rig: Rig) -> None:
        rig.haproxy.stop(0.0)
        rig.again()
        rig.finish()
        assert rig.driver.pid == rig.haproxy.worker
        assert rig.in_step()
        assert rig.last.reasons == ("start",)

    def test_nothing_is_due_while_it_is_gone_but_the_next_start(self, rig: Rig) -> None:
        """What else was to be done can only be done with it; asking for it again is spinning."""
        rig.haproxy.busy = {f"{WEB_80}/{FIRST}"}
        rig.change(*scaled(2))
        rig.haproxy.stop(0.0)
        rig.haproxy.fail = FAILURE
        rig.again()
        rig.finish()
        rig.pass_s(0.5)
        assert rig.ended.empty()
        assert rig.driver.due_s() > rig.now_s


def test_moments_are_told_by_the_clock(rig: Rig) -> None:
    rig.change(*scaled(1, 2))
    report = rig.last
    assert report.arrived_s <= report.began_s <= report.planned_s <= report.ended_s == rig.now_s


def _alert(files: object, backend: str) -> str:
    """HAProxy's words about the line where a backend begins, if it is there."""
    assert isinstance(files, Mapping)
    lines = files[CONFIG_FILE].decode().splitlines()
    for number, line in enumerate(lines, start=1):
        if line.startswith(f"backend {backend} "):
            return f"[ALERT] (1) : config : parsing [{CONFIG_FILE}:{number}] : bad."
    return ""
