"""Quarantine, news, and what a defect of ours may not do. See test_pipeline_property.py too."""

from __future__ import annotations

import pytest
from attrs import evolve

from haproxy_ingress import pipeline as module
from haproxy_ingress.diagnostics import Diagnostic, Ref, Why
from haproxy_ingress.naming import UNAVAILABLE
from haproxy_ingress.pipeline import Pipeline
from haproxy_ingress.resources import Ingress, ServicePort, ServiceTarget, SlicePort
from haproxy_ingress.routing import HOSTS, REGEX, ROUTES
from haproxy_ingress.sources import Change
from haproxy_ingress.store import View
from haproxy_ingress.translate import Fragment, Settings, translate
from tests.haproxy_ingress.objects import (
    SPECIFIC,
    gone,
    ingress,
    path,
    pods,
    put,
    rule,
    service,
)

SHOP = ingress("shop", rule("a.test", "/x"))
CHANGED = ingress("shop", rule("a.test", "/changed"))
WEB_80 = "ns_web_80"


def rows(pipeline: Pipeline, name: str = ROUTES) -> dict[str, str]:
    return {key: row.value for key, row in pipeline.config.maps[name].rows.items()}


@pytest.fixture
def pipeline() -> Pipeline:
    """The shop, in service."""
    made = Pipeline(Settings())
    made.update(put(service(), SHOP))
    made.accepted()
    made.news()
    return made


class TestQuarantine:
    """What HAProxy refused is out until it changes; the others proceed."""

    def test_the_last_good_fragment_stands_in(self, pipeline: Pipeline) -> None:
        pipeline.update(put(CHANGED))
        assert rows(pipeline) == {"a.test/changed/": WEB_80}
        changed = pipeline.quarantine(SHOP.ref, "no")
        assert rows(pipeline) == {"a.test/x/": WEB_80}
        assert changed.rows[ROUTES] == {"a.test/x/", "a.test/changed/"}

    def test_what_is_new_is_denied(self, pipeline: Pipeline) -> None:
        new = ingress("new", rule("b.test", "/"), rule("a.test", "/x/y"))
        pipeline.update(put(new))
        pipeline.quarantine(new.ref, "no")
        assert rows(pipeline) == {
            "a.test/x/": WEB_80,
            "b.test/": UNAVAILABLE,
            "a.test/x/y/": UNAVAILABLE,
        }

    def test_what_was_accepted_as_it_is_is_denied_too(self, pipeline: Pipeline) -> None:
        """An operation may be refused later on; the same again would be refused again."""
        pipeline.quarantine(SHOP.ref, "no")
        assert rows(pipeline) == {"a.test/x/": UNAVAILABLE}

    def test_a_pattern_may_be_what_was_refused(self, pipeline: Pipeline) -> None:
        asked = {"haproxy-ingress.io/use-regex": "true"}
        new = ingress(
            "new", rule("b.test", path("/r+", kind=SPECIFIC), path("/y")), annotations=asked
        )
        pipeline.update(put(new))
        pipeline.quarantine(new.ref, "no")
        assert not rows(pipeline, REGEX)
        assert rows(pipeline)["b.test/y/"] == UNAVAILABLE
        assert rows(pipeline, HOSTS)["b.test"] == "-"

    def test_its_finding_is_news_once_and_stays(self, pipeline: Pipeline) -> None:
        pipeline.quarantine(SHOP.ref, "no")
        found = Diagnostic(SHOP.ref, Why.QUARANTINED, "", "no")
        assert pipeline.news() == (found,)
        assert pipeline.news() == ()
        assert found in set(pipeline.diagnostics())

    def test_lifted_when_the_object_changes(self, pipeline: Pipeline) -> None:
        pipeline.quarantine(SHOP.ref, "no")
        pipeline.update(put(CHANGED))
        assert not pipeline.quarantined
        assert rows(pipeline) == {"a.test/changed/": WEB_80}

    def test_not_lifted_when_it_is_delivered_again(self, pipeline: Pipeline) -> None:
        pipeline.quarantine(SHOP.ref, "no")
        pipeline.update(put(SHOP))
        assert list(pipeline.quarantined) == [SHOP.ref]
        assert rows(pipeline) == {"a.test/x/": UNAVAILABLE}

    def test_lifted_when_what_it_became_changes_with_its_service(self, pipeline: Pipeline) -> None:
        pipeline.quarantine(SHOP.ref, "no")
        pipeline.update(put(service("web", ServicePort(80, "renamed"))))
        assert not pipeline.quarantined
        assert rows(pipeline) == {"a.test/x/": WEB_80}

    def test_gone_with_the_object(self, pipeline: Pipeline) -> None:
        pipeline.quarantine(SHOP.ref, "no")
        pipeline.update(gone(SHOP.ref))
        assert not pipeline.quarantined
        assert not rows(pipeline)
        pipeline.update(put(SHOP))
        assert rows(pipeline) == {"a.test/x/": WEB_80}

    def test_what_stood_in_is_not_the_next_good_one(self, pipeline: Pipeline) -> None:
        pipeline.update(put(CHANGED))
        pipeline.quarantine(SHOP.ref, "no")
        pipeline.accepted()
        pipeline.update(put(ingress("shop", rule("a.test", "/third"))))
        pipeline.quarantine(SHOP.ref, "no again")
        assert rows(pipeline) == {"a.test/x/": WEB_80}

    def test_what_was_removed_meanwhile_is_not_good_any_more(self, pipeline: Pipeline) -> None:
        pipeline.update(gone(SHOP.ref))
        pipeline.accepted()
        pipeline.update(put(CHANGED))
        pipeline.quarantine(SHOP.ref, "no")
        assert rows(pipeline) == {"a.test/changed/": UNAVAILABLE}

    def test_a_stand_in_follows_its_service(self) -> None:
        """The pods of others, who use the same Service, come from its port as it is now."""
        pipeline = Pipeline(Settings())
        pipeline.update(put(service(), SHOP, ingress("other", rule("b.test"))))
        pipeline.accepted()
        ports = (SlicePort("http", 8080),)
        named = evolve(pods("web", "10.0.0.1"), ports=ports)
        pipeline.update(put(CHANGED, service("web", ServicePort(80, "http")), named))
        pipeline.quarantine(SHOP.ref, "no")
        assert rows(pipeline)["a.test/x/"] == WEB_80
        assert list(pipeline.config.backends[WEB_80].servers) == ["10.0.0.1-8080"]

    def test_what_we_do_not_have_changes_nothing(self, pipeline: Pipeline) -> None:
        assert not pipeline.quarantine(Ref("Ingress", "ns", "unknown"), "no")

    def test_of_the_default_backend(self) -> None:
        pipeline = Pipeline(Settings(default_backend=("ns", "web", "")))
        pipeline.update(put(service()))
        origin = pipeline.config.backends[WEB_80].origins[0]
        assert isinstance(origin, Ref)
        pipeline.quarantine(origin, "no")
        assert rows(pipeline) == {"/": UNAVAILABLE}
        pipeline.update(put(service("web", ServicePort(81))))
        assert rows(pipeline) == {"/": "ns_web_81"}


class TestNews:
    def test_what_is_wrong_is_news_once(self) -> None:
        pipeline = Pipeline(Settings())
        pipeline.update(put(SHOP))
        assert [one.why for one in pipeline.news()] == [Why.BACKEND_NOT_FOUND]
        pipeline.update(put(service("other")))
        assert not pipeline.news()

    def test_what_is_wrong_again_is_news_again(self) -> None:
        pipeline = Pipeline(Settings())
        pipeline.update(put(SHOP, service()))
        for _ in range(2):
            pipeline.update(gone(service().ref))
            assert [one.why for one in pipeline.news()] == [Why.BACKEND_NOT_FOUND]
            pipeline.update(put(service()))
            assert not pipeline.news()

    def test_what_a_source_could_not_read(self) -> None:
        pipeline = Pipeline(Settings())
        found = Diagnostic(SHOP.ref, Why.INVALID, "spec", "is missing")
        pipeline.update([Change(SHOP.ref, None, 0.0, (found,), keep=True)])
        assert pipeline.news() == (found,)
        assert tuple(pipeline.diagnostics()) == (found,)

    def test_a_default_backend_that_is_not_there(self) -> None:
        pipeline = Pipeline(Settings(default_backend=("ns", "web", "")))
        pipeline.update(())
        assert [str(one) for one in pipeline.news()] == [
            "Service ns/web: spec.ports: no such Service"
        ]


def test_a_defect_of_ours_is_a_finding_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def clumsy(one: Ingress, view: View, settings: Settings) -> Fragment | None:
        if one.meta.name == "bad":
            raise ZeroDivisionError("oops")
        return translate(one, view, settings)

    monkeypatch.setattr(module, "translate", clumsy)
    pipeline = Pipeline(Settings())
    bad = ingress("bad", rule("b.test"))
    pipeline.update(put(service(), bad, SHOP))
    assert rows(pipeline) == {"a.test/x/": WEB_80}
    (found,) = pipeline.diagnostics()
    assert found.ref == bad.ref
    assert found.message == "not translated, a defect of ours: ZeroDivisionError: oops"


def test_what_is_served() -> None:
    pipeline = Pipeline(Settings())
    other = ingress("other", rule("b.test"), ingress_class="nginx")
    pipeline.update(put(service(), SHOP, other))
    assert pipeline.served().keys() == {SHOP.ref}


def test_one_that_stops_being_ours_loses_its_routes(pipeline: Pipeline) -> None:
    pipeline.update(put(evolve(SHOP, ingress_class="nginx")))
    assert pipeline.config == Pipeline(Settings()).config


def test_nothing_but_what_changed_is_touched(pipeline: Pipeline) -> None:
    other = ingress("other", rule("b.test", path("/", ServiceTarget("api", 80))))
    before = pipeline.config
    pipeline.update(put(other, service("api")))
    assert pipeline.config.backends[WEB_80] is before.backends[WEB_80]
    assert pipeline.config.frontends is before.frontends
