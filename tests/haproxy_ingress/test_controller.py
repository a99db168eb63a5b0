"""The loop: from objects in memory to a HAProxy in memory, and what is told about it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from threading import Thread

import pytest
from attrs import define, field

from haproxy.errors import HAProxyError, ProcessFailed
from haproxy.ops import AddRow
from haproxy.render import CONFIG_FILE
from haproxy_ingress.controller import Controller
from haproxy_ingress.diagnostics import Diagnostic, Why
from haproxy_ingress.journal import Decision
from haproxy_ingress.resources import Resource, ServiceTarget
from haproxy_ingress.routing import ROUTES
from haproxy_ingress.sources.memory import MemorySource
from haproxy_ingress.translate import Settings
from tests.haproxy_ingress.objects import SPECIFIC, ingress, path, pods, rule, service
from tests.haproxy_ingress.rig import PATIENCE_S, V2_6, GatedHAProxy

WEB_80 = "ns_web_80"
SHOP = ingress("shop", rule("a.test"))
BASIS: tuple[Resource, ...] = (service(), SHOP, pods("web", "10.0.0.1"))


@define(eq=False)
class Running:
    """A controller in a thread of its own; its decisions and findings arrive in queues."""

    haproxy: GatedHAProxy = field(factory=GatedHAProxy)
    source: MemorySource = field(factory=MemorySource)
    decisions: queue.SimpleQueue[Decision] = field(factory=queue.SimpleQueue)
    findings: queue.SimpleQueue[Diagnostic] = field(factory=queue.SimpleQueue)
    raised: list[HAProxyError] = field(factory=list)
    controller: Controller = field(init=False)
    thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        fake = self.haproxy
        self.controller = Controller(
            self.source, Settings(), fake, fake, fake, V2_6, reload_interval_s=0.01,
            on_decision=self.decisions.put, on_diagnostic=self.findings.put,
        )  # fmt: skip
        self.thread = Thread(target=self._run, name="controller")

    def _run(self) -> None:
        try:
            self.controller.run()
        except HAProxyError as error:
            self.raised.append(error)

    def start(self, *objects: Resource) -> Decision:
        """The first decision."""
        self.source.put_all(objects)
        self.thread.start()
        return self.next()

    def next(self) -> Decision:
        return self.decisions.get(timeout=PATIENCE_S)

    def found(self) -> Diagnostic:
        return self.findings.get(timeout=PATIENCE_S)

    def stop(self) -> None:
        self.controller.stop()
        if self.thread.ident is not None:
            self.thread.join(PATIENCE_S)
            assert not self.thread.is_alive()


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.stop()


def new_service(name: str) -> tuple[Resource, ...]:
    one = ingress(name, rule(f"{name}.test", path("/", ServiceTarget(name, 80))))
    return service(name), one


def test_start(running: Running) -> None:
    decision = running.start(*BASIS)
    assert (decision.id, decision.action, decision.result) == (1, "reload", "ok")
    assert decision.reasons == ("start",)
    assert [(str(one.ref), one.change) for one in decision.causes] == [
        ("Service ns/web", "added"),
        ("Ingress ns/shop", "added"),
        ("EndpointSlice ns/web-1", "added"),
    ]
    assert list(running.haproxy.servers(WEB_80)) == ["10.0.0.1-8080"]


def test_without_any_object(running: Running) -> None:
    assert running.start().reasons == ("start",)


def test_a_change_at_runtime(running: Running) -> None:
    running.start(*BASIS)
    running.source.put(pods("web", "10.0.0.1", "10.0.0.2"))
    decision = running.next()
    assert (decision.action, decision.result, decision.error) == ("runtime", "ok", "")
    assert [str(one) for one in decision.causes] == ["EndpointSlice ns/web-1 changed"]
    assert decision.reasons == (f"server {WEB_80}/10.0.0.2-8080: address 10.0.0.2:8080 added",)
    assert decision.commands > 0
    assert not running.haproxy.reloads


def test_the_parts_of_a_decision_make_its_whole(running: Running) -> None:
    running.start(*BASIS)
    running.source.put(pods("web", "10.0.0.2"))
    one = running.next()
    assert min(one.queued_s, one.plan_s, one.apply_s) >= 0
    assert one.queued_s + one.plan_s + one.apply_s == pytest.approx(one.total_s)


def test_removal_and_what_changes_nothing(running: Running) -> None:
    running.start(*BASIS)
    running.source.put(service("unused"))
    assert running.next().action == "none"
    running.source.delete(SHOP.ref)
    decision = running.next()
    assert [str(one) for one in decision.causes] == ["Ingress ns/shop removed"]
    assert not running.haproxy.rows(ROUTES)


def test_a_reload_has_its_reason(running: Running) -> None:
    running.start(*BASIS)
    running.source.put_all(new_service("api"))
    decisions = [running.next()]
    while decisions[-1].action != "reload":
        decisions.append(running.next())
    assert decisions[-1].reasons[0].startswith("backend ns_api_80: profile ")
    assert running.haproxy.reloads == 1


def test_the_journal_has_the_newest_first(running: Running) -> None:
    running.start(*BASIS)
    running.source.put(pods("web", "10.0.0.2"))
    running.next()
    assert [one.id for one in running.controller.journal.decisions()] == [2, 1]


def test_findings_are_told(running: Running) -> None:
    running.start(SHOP)
    assert running.found().why is Why.BACKEND_NOT_FOUND


class TestRefusals:
    def test_of_a_configuration(self, running: Running) -> None:
        """At the start: one Ingress is out, the others are served."""
        running.haproxy.refuse = _refuse_backend("ns_bad_80")
        first = running.start(*BASIS, *new_service("bad"))
        assert (first.action, first.result) == ("reload", "quarantined")
        assert running.next().result == "ok"
        assert running.haproxy.rows(ROUTES) == {"a.test/": WEB_80, "bad.test/": "_503"}
        assert running.found().why is Why.QUARANTINED
        status = running.controller.status()
        assert status["quarantined"] == ["Ingress ns/bad"]
        assert [one["reason"] for one in status["diagnostics"]] == ["Quarantined"]

    def test_mended(self, running: Running) -> None:
        running.haproxy.refuse = _refuse_backend("ns_bad_80")
        running.start(*BASIS, *new_service("bad"))
        running.next()
        target = ServiceTarget("web", 80)
        running.source.put(ingress("bad", rule("bad.test", path("/", target))))
        assert running.next().result == "ok"
        assert running.haproxy.rows(ROUTES)["bad.test/"] == WEB_80
        assert running.controller.status()["quarantined"] == []

    def test_of_a_row(self, running: Running) -> None:
        """The last good routes stand in, at once."""
        running.start(*BASIS)
        running.haproxy.refuse = lambda what: (
            "no" if isinstance(what, AddRow) and "bad" in what.key else ""
        )
        running.source.put(ingress("shop", rule("a.test", "/bad")))
        decision = running.next()
        assert (decision.action, decision.result) == ("runtime", "quarantined")
        assert "no (answering " in decision.error
        assert running.next().result == "ok"
        assert running.haproxy.rows(ROUTES) == {"a.test/": WEB_80}

    def test_while_a_load_runs(self, running: Running) -> None:
        """The last good routes stand in for the worker that serves and for the next one."""
        running.start(*BASIS)
        running.haproxy.gate.clear()
        running.source.put_all(new_service("api"))
        running.haproxy.refuse = lambda what: (
            "no" if isinstance(what, AddRow) and "bad" in what.key else ""
        )
        running.source.put(ingress("shop", rule("a.test", "/bad")))
        running.haproxy.gate.set()
        while running.haproxy.rows(ROUTES).get("api.test/") is None:
            running.next()
        running.controller.status()
        assert running.haproxy.rows(ROUTES)["a.test/"] == WEB_80


class TestReadiness:
    def test_from_the_first_configuration_on(self, running: Running) -> None:
        assert running.controller.not_ready() == "the source has not delivered everything yet"
        running.haproxy.gate.clear()
        running.source.put_all(BASIS)
        running.thread.start()
        assert running.controller.status()["loading"] in {"", "adopt"}
        assert running.controller.not_ready() in {
            "the source has not delivered everything yet",
            "HAProxy does not serve yet",
        }
        running.haproxy.gate.set()
        running.next()
        assert running.controller.not_ready() == ""
        assert running.controller.healthy()

    def test_status_from_another_thread(self, running: Running) -> None:
        running.start(*BASIS)
        assert running.controller.status() == {
            "ready": True,
            "haproxy_version": "2.6",
            "worker_pid": running.haproxy.worker,
            "loading": "",
            "quarantined": [],
            "diagnostics": [],
            "diagnostics_left_out": 0,
        }


class TestTheEnd:
    def test_stop_leaves_haproxy_running(self, running: Running) -> None:
        running.start(*BASIS)
        running.stop()
        assert running.haproxy.alive()
        running.source.put(pods("web", "10.0.0.9"))
        assert list(running.haproxy.servers(WEB_80)) == ["10.0.0.1-8080"]
        assert not running.raised

    def test_what_keeps_haproxy_from_its_first_start_is_raised(self, running: Running) -> None:
        running.haproxy.fail = ProcessFailed("no such program")
        assert running.start(*BASIS).error == "no such program"
        running.thread.join(PATIENCE_S)
        assert [str(one) for one in running.raised] == ["no such program"]

    def test_a_load_is_waited_for(self, running: Running) -> None:
        running.haproxy.gate.clear()
        running.source.put_all(BASIS)
        running.thread.start()
        running.controller.status()
        running.controller.stop()
        running.haproxy.gate.set()
        running.thread.join(PATIENCE_S)
        assert not running.thread.is_alive()


def test_regular_expressions_and_paths_go_together(running: Running) -> None:
    running.start(*BASIS)
    asked = {"haproxy-ingress.io/use-regex": "true"}
    running.source.put(
        ingress("re", rule("a.test", path("/v[0-9]", kind=SPECIFIC)), annotations=asked)
    )
    assert running.next().result == "ok"
    assert running.haproxy.rows("maps/regex.map") == {r"^a\.test(?:/v[0-9])": WEB_80}


def _refuse_backend(name: str) -> Callable[[object], str]:
    def refuse(what: object) -> str:
        if isinstance(what, Mapping):
            for number, line in enumerate(what[CONFIG_FILE].decode().splitlines(), start=1):
                if line.startswith(f"backend {name} "):
                    return f"[ALERT] (1) : config : parsing [{CONFIG_FILE}:{number}] : bad."
        return ""

    return refuse
