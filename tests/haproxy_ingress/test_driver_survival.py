"""HAProxy or the daemon before was killed, hangs, or was replaced: the driver gets it back."""

from __future__ import annotations

import pytest

from haproxy.errors import ProcessFailed, Unreachable
from haproxy_ingress.resources import ServiceTarget
from haproxy_ingress.sources import Change
from tests.haproxy_ingress.objects import ingress, path, pods, put, rule, service
from tests.haproxy_ingress.rig import Rig

WEB_80 = "ns_web_80"
FIRST, SECOND = "10.0.0.1-8080", "10.0.0.2-8080"
BASIS = put(service(), ingress("shop", rule("a.test")), pods("web", "10.0.0.1"))
API = ingress("api", rule("b.test", path("/", ServiceTarget("api", 80))))
MORE = put(service("api"), API, pods("api", "10.0.1.1"))
LOOK_S = 0.5


def scaled(*last: int) -> tuple[Change, ...]:
    return put(pods("web", *(f"10.0.0.{number}" for number in last)))


@pytest.fixture
def rig() -> Rig:
    return Rig().started(*BASIS)


def successor(rig: Rig, *changes: Change) -> Rig:
    """Another daemon for the same HAProxy, after the one before died."""
    rig.haproxy.log.clear()
    after = Rig(haproxy=rig.haproxy)
    after.change(*BASIS, *changes)
    after.finish()
    return after


class TestAdoption:
    def test_the_same_objects_need_nothing(self, rig: Rig) -> None:
        before = rig.haproxy.worker
        after = successor(rig)
        after.settle()
        assert after.driver.pid == rig.haproxy.worker == before
        assert not rig.haproxy.log
        (report,) = after.reports
        assert (report.action, report.error) == ("none", None)
        assert report.reasons == (f"worker {before} taken over",)
        assert {one.ref.kind for one in report.causes} == {"Ingress", "Service", "EndpointSlice"}

    def test_what_changed_meanwhile_is_done_at_runtime(self, rig: Rig) -> None:
        after = successor(rig, *scaled(2))
        after.settle()
        assert after.in_step()
        assert list(rig.haproxy.servers(WEB_80)) == [SECOND]
        assert not rig.haproxy.reloads
        assert after.actions == ["runtime"]

    def test_ids_stay(self, rig: Rig) -> None:
        rig.change(*scaled(1, 2))
        known = {name: one.id for name, one in rig.haproxy.servers(WEB_80).items()}
        after = successor(rig, *scaled(1, 2, 3))
        after.settle()
        now = {name: one.id for name, one in rig.haproxy.servers(WEB_80).items()}
        assert known.items() <= now.items()

    def test_another_service_is_a_reload(self, rig: Rig) -> None:
        after = successor(rig, *MORE)
        after.settle()
        assert after.in_step()
        assert rig.haproxy.reloads == 1

    def test_one_that_was_left_with_another_structure_is_loaded_anew(self, rig: Rig) -> None:
        rig.haproxy.description = "somebody else's"
        after = successor(rig)
        assert rig.haproxy.log == ["publish", "start"]
        assert after.last.reasons == ("start",)

    def test_files_that_follow_keep_the_name_of_what_was_loaded(self, rig: Rig) -> None:
        rig.change(*scaled(2))
        rig.settle()
        again = successor(successor(rig, *scaled(2)), *scaled(1, 2))
        again.settle()
        assert again.in_step()
        assert not rig.haproxy.reloads


class TestHung:
    def test_it_is_noticed_without_a_change(self, rig: Rig) -> None:
        rig.haproxy.unreachable = True
        rig.pass_s(LOOK_S)
        assert rig.driver.silent
        assert isinstance(rig.last.error, Unreachable)
        assert rig.last.reasons == ("no answer",)

    def test_it_is_told_once(self, rig: Rig) -> None:
        rig.haproxy.unreachable = True
        for _ in range(20):
            rig.pass_s(LOOK_S)
        assert len(rig.reports) == 1

    def test_changes_wait_and_are_done_when_it_is_back(self, rig: Rig) -> None:
        rig.haproxy.unreachable = True
        rig.pass_s(LOOK_S)
        rig.change(*scaled(2))
        rig.change(*MORE)
        rig.pass_s(5.0)
        assert not rig.driver.loader.loading
        rig.haproxy.unreachable = False
        rig.pass_s(LOOK_S)
        assert not rig.driver.silent
        rig.settle()
        assert rig.in_step()
        assert any("HAProxy answers again" in report.reasons for report in rig.reports)

    def test_nothing_changed_nothing_is_done(self, rig: Rig) -> None:
        rig.haproxy.unreachable = True
        rig.pass_s(LOOK_S)
        rig.haproxy.unreachable = False
        rig.pass_s(LOOK_S)
        assert rig.last.reasons == ("HAProxy answers again",)
        assert (rig.last.action, rig.last.error) == ("none", None)
        assert not rig.haproxy.log


class TestReplaced:
    def test_another_worker_is_noticed_without_a_change(self, rig: Rig) -> None:
        rig.change(*scaled(1, 2))
        before = rig.driver.pid
        rig.haproxy.replace()  # the files on disk are older
        rig.pass_s(LOOK_S)
        assert rig.driver.pid == rig.haproxy.worker != before
        assert f"worker {rig.driver.pid} answers, not {before}" in rig.last.reasons
        assert rig.in_step()
        assert not rig.haproxy.reloads

    def test_a_backend_that_it_lacks_is_a_reload(self, rig: Rig) -> None:
        older = dict(rig.haproxy.published)
        rig.change(*MORE)
        rig.settle()
        rig.haproxy.published = older
        rig.haproxy.replace()
        rig.pass_s(LOOK_S)
        rig.settle()
        assert rig.in_step()


class TestGone:
    def test_it_is_started_at_once_whatever_the_budget_of_reloads(self, rig: Rig) -> None:
        rig.change(*MORE)
        rig.finish()
        rig.haproxy.stop(0.0)
        rig.again()
        assert rig.driver.silent
        rig.finish()
        assert not rig.driver.silent
        assert rig.in_step()

    def test_ids_stay(self, rig: Rig) -> None:
        rig.change(*scaled(1, 2))
        known = dict(rig.haproxy.servers(WEB_80))
        rig.haproxy.stop(0.0)
        rig.again()
        rig.finish()
        assert rig.haproxy.servers(WEB_80) == known

    def test_one_that_ends_again_and_again_is_not_started_all_the_time(self, rig: Rig) -> None:
        waits = []
        for _ in range(10):
            rig.haproxy.stop(0.0)
            rig.again()
            waits.append(round(max(rig.driver.loader.start_due_s - rig.now_s, 0.0), 1))
            assert bool(rig.driver.loader.loading) == (not waits[-1])
            rig.pass_s(waits[-1] + 0.001)
            rig.finish()
        assert waits == [0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]

    def test_one_that_ends_now_and_then_is_started_at_once(self, rig: Rig) -> None:
        for _ in range(3):
            rig.haproxy.stop(0.0)
            rig.again()
            rig.finish()
            assert rig.in_step()
            rig.pass_s(20.0)

    def test_a_start_that_fails_is_tried_later_and_later(self, rig: Rig) -> None:
        rig.haproxy.stop(0.0)
        rig.haproxy.fail = ProcessFailed("told to fail")
        rig.again()
        rig.finish()
        assert rig.last.error is not None
        rig.pass_s(0.9)
        assert not rig.driver.loader.loading
        rig.pass_s(0.1)
        rig.finish()
        assert rig.in_step()
