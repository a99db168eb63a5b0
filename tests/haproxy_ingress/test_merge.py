"""Whose row it is, which hosts are known, and what is said to who comes second."""

from __future__ import annotations

import pytest
from attrs import evolve

from haproxy.model import Config
from haproxy_ingress.annotations import PREFIX as OURS
from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why
from haproxy_ingress.naming import NOT_FOUND, UNAVAILABLE
from haproxy_ingress.pipeline import Pipeline, compile_config
from haproxy_ingress.resources import Ingress, PathType, Resource, Service, ServiceTarget
from haproxy_ingress.routing import ANY_HOST, EXTERNAL, HOSTS, REGEX, ROUTES
from haproxy_ingress.translate import Settings
from tests.haproxy_ingress.objects import (
    EXACT,
    NAMESPACE,
    SPECIFIC,
    WEB,
    gone,
    ingress,
    path,
    pods,
    put,
    rule,
    service,
)

OLD, NEW = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
API = ServiceTarget("api", 80)
SERVICES = (service("web"), service("api"))
WEB_80, API_80 = f"{NAMESPACE}_web_80", f"{NAMESPACE}_api_80"
USE_REGEX = {f"{OURS}use-regex": "true"}


def compiled(*objects: Resource, daemon: Settings | None = None) -> Config:
    return compile_config((*SERVICES, *objects), daemon or Settings())[0]


def rows(config: Config, name: str) -> dict[str, str]:
    return {key: row.value for key, row in config.maps[name].rows.items()}


def regex(name: str, *patterns: str, host: str = "a.test") -> Ingress:
    made = (path(pattern, kind=SPECIFIC) for pattern in patterns)
    return ingress(name, rule(host, *made), annotations=USE_REGEX)


def on(name: str, target: ServiceTarget, created: str = "", text: str = "/x") -> Ingress:
    return ingress(name, rule("a.test", path(text, target)), created=created)


class TestConflicts:
    """Same host, path and type: the oldest Ingress wins, and the others hear of it."""

    @pytest.mark.parametrize(
        ("one", "other", "winner"),
        [
            pytest.param(on("b", WEB, OLD), on("a", API, NEW), WEB_80, id="older"),
            pytest.param(on("b", WEB, OLD), on("a", API), WEB_80, id="without-a-time-is-young"),
            pytest.param(on("a", WEB, OLD), on("b", API, OLD), WEB_80, id="same-time-by-name"),
            pytest.param(on("a", WEB), on("b", API), WEB_80, id="no-times-by-name"),
            pytest.param(
                on("a", WEB, OLD), on("b", API, NEW, "/x/"), WEB_80, id="another-spelling"
            ),
        ],
    )
    def test_who_wins(self, one: Ingress, other: Ingress, winner: str) -> None:
        for order in ((one, other), (other, one)):
            assert rows(compiled(*order), ROUTES) == {"a.test/x/": winner}

    @pytest.mark.parametrize(
        ("created", "since"), [(OLD, f" since {OLD}"), ("", "")], ids=["dated", "undated"]
    )
    def test_what_the_other_is_told(self, created: str, since: str) -> None:
        one, other = on("a", WEB, created), on("b", API, created and NEW)
        _, found = compile_config((*SERVICES, one, other), Settings())
        message = f"host a.test, prefix path /x belongs to Ingress ns/a{since}; ignored here"
        where = "spec.rules[0].http.paths[0]"
        assert found == (Diagnostic(other.ref, Why.CONFLICT, where, message, Level.WARNING),)

    def test_any_host_is_a_star(self) -> None:
        both = (ingress("a", rule("")), ingress("b", rule("")))
        _, found = compile_config((*SERVICES, *both), Settings())
        assert [one.message for one in found] == [
            "host *, prefix path / belongs to Ingress ns/a; ignored here"
        ]

    @pytest.mark.parametrize("kind", [EXACT, SPECIFIC])
    def test_none_between_types_of_path(self, kind: PathType) -> None:
        one = ingress("a", rule("a.test", path("/x", WEB)))
        other = ingress("b", rule("a.test", path("/x", API, kind)), annotations=USE_REGEX)
        _, found = compile_config((*SERVICES, one, other), Settings())
        assert not found

    def test_the_loser_takes_over_when_the_winner_goes(self) -> None:
        one, other = on("a", WEB), on("b", API)
        pipeline = Pipeline(Settings())
        pipeline.update(put(*SERVICES, one, other))
        assert [found.ref for found in pipeline.news()] == [other.ref]
        changed = pipeline.update(gone(one.ref))
        assert rows(pipeline.config, ROUTES) == {"a.test/x/": API_80}
        assert changed.rows == {ROUTES: frozenset({"a.test/x/"})}
        assert not list(pipeline.diagnostics())

    def test_an_older_one_takes_the_row_over(self) -> None:
        pipeline = Pipeline(Settings())
        pipeline.update(put(*SERVICES, on("b", API, NEW)))
        pipeline.update(put(on("c", WEB, OLD)))
        assert rows(pipeline.config, ROUTES) == {"a.test/x/": WEB_80}
        assert [found.ref.name for found in pipeline.news()] == ["b"]

    def test_a_conflict_that_goes_on_is_no_news(self) -> None:
        one, other = on("a", WEB), on("b", API)
        pipeline = Pipeline(Settings())
        pipeline.update(put(*SERVICES, one, other))
        pipeline.news()
        pipeline.update(put(ingress("c", rule("a.test", "/y"))))
        assert not pipeline.news()


class TestDefaults:
    """A default backend yields to any path of its host, the daemon's to all."""

    def test_to_a_path_that_takes_all(self) -> None:
        one = ingress("a", rule("a.test", "/x"), default=WEB, created=OLD)
        other = ingress("b", rule("a.test", path("/", API)), created=NEW)
        config, found = compile_config((*SERVICES, one, other), Settings())
        assert rows(config, ROUTES) == {"a.test/x/": WEB_80, "a.test/": API_80}
        assert not found

    def test_two_of_one_host(self) -> None:
        one = ingress("a", rule("a.test", "/x"), default=WEB)
        other = ingress("b", rule("a.test", "/y"), default=API)
        config, found = compile_config((*SERVICES, one, other), Settings())
        assert rows(config, ROUTES)["a.test/"] == WEB_80
        assert [d.message for d in found] == [
            "host a.test, default path / belongs to Ingress ns/a; ignored here"
        ]

    def test_of_the_daemon(self) -> None:
        daemon = Settings(default_backend=(NAMESPACE, "api", ""))
        assert rows(compiled(daemon=daemon), ROUTES) == {"/": API_80}
        taken = compiled(ingress("a", default=WEB), daemon=daemon)
        assert rows(taken, ROUTES) == {"/": WEB_80}

    def test_none_at_all(self) -> None:
        config = compiled()
        assert not rows(config, ROUTES)
        assert config.frontends[0].default_backend == NOT_FOUND
        assert config.backends.keys() == {NOT_FOUND, UNAVAILABLE}


class TestHosts:
    """A host is known while it has a row; its flag says whether it has regular expressions."""

    def test_known_while_there_is_a_row(self) -> None:
        pipeline = Pipeline(Settings())
        pipeline.update(put(*SERVICES, on("a", WEB), on("b", WEB, text="/y")))
        assert rows(pipeline.config, HOSTS) == {"a.test": "-"}
        pipeline.update(gone(on("a", WEB).ref))
        assert rows(pipeline.config, HOSTS) == {"a.test": "-"}
        pipeline.update(gone(on("b", WEB).ref))
        assert not rows(pipeline.config, HOSTS)

    def test_regular_expressions_come_and_go(self) -> None:
        pipeline = Pipeline(Settings())
        pipeline.update(put(*SERVICES, on("a", WEB)))
        changed = pipeline.update(put(regex("b", "/r")))
        assert rows(pipeline.config, HOSTS) == {"a.test": "r"}
        assert changed.rows[HOSTS] == {"a.test"}
        pipeline.update(gone(Ref("Ingress", NAMESPACE, "b")))
        assert rows(pipeline.config, HOSTS) == {"a.test": "-"}

    def test_rules_without_a_host(self) -> None:
        config = compiled(regex("a", "/r", host=""))
        assert rows(config, HOSTS) == {ANY_HOST: "r"}
        assert not rows(compiled(), HOSTS)

    def test_a_new_one_waits_for_all_its_backends(self) -> None:
        config = compiled(ingress("a", rule("a.test", "/x", path("/y", API))))
        assert config.maps[HOSTS].rows["a.test"].needs == (API_80, WEB_80)
        assert config.maps[ROUTES].rows["a.test/x/"].needs == (WEB_80,)

    def test_of_the_same_path_twice_only_one_counts(self) -> None:
        pipeline = Pipeline(Settings())
        pipeline.update(put(*SERVICES, on("a", WEB), on("b", WEB)))
        pipeline.update(gone(on("a", WEB).ref, on("b", WEB).ref))
        assert not rows(pipeline.config, HOSTS)


def test_regular_expressions_come_longest_first_then_by_text() -> None:
    config = compiled(regex("a", "/b", "/long.*"), regex("b", "/a", "/longer.*"))
    assert list(rows(config, REGEX)) == [
        r"^a\.test(?:/longer.*)",
        r"^a\.test(?:/long.*)",
        r"^a\.test(?:/a)",
        r"^a\.test(?:/b)",
    ]


class TestBackends:
    def test_shared_by_all_who_need_it(self) -> None:
        config = compiled(on("a", WEB), on("b", WEB, text="/y"), pods("web", "10.0.0.1"))
        of = config.backends[WEB_80]
        assert of.origins == (Ref("Ingress", NAMESPACE, "a"), Ref("Ingress", NAMESPACE, "b"))
        assert list(of.servers) == ["10.0.0.1-8080"]

    def test_gone_with_the_last_one(self) -> None:
        pipeline = Pipeline(Settings())
        pipeline.update(put(*SERVICES, on("a", WEB), on("b", WEB, text="/y")))
        pipeline.update(gone(Ref("Ingress", NAMESPACE, "a")))
        assert WEB_80 in pipeline.config.backends
        changed = pipeline.update(gone(Ref("Ingress", NAMESPACE, "b")))
        assert WEB_80 not in pipeline.config.backends
        assert changed.backends == {WEB_80}

    def test_who_loses_a_row_still_has_its_backend(self) -> None:
        """So that it takes over at once when the winner goes."""
        assert API_80 in compiled(on("a", WEB), on("b", API)).backends

    def test_an_external_name_is_a_row(self) -> None:
        far = evolve(service("web"), type="ExternalName", external_name="far.test")
        pipeline = Pipeline(Settings())
        pipeline.update(put(far, on("a", WEB)))
        assert rows(pipeline.config, EXTERNAL) == {WEB_80: "far.test"}
        pipeline.update(put(Service(far.meta, ports=far.ports)))
        assert not rows(pipeline.config, EXTERNAL)

    def test_a_change_of_pods_is_a_change_of_one_backend(self) -> None:
        pipeline = Pipeline(Settings())
        pipeline.update(put(*SERVICES, on("a", WEB), on("b", API, text="/y")))
        before = pipeline.config
        changed = pipeline.update(put(pods("web", "10.0.0.1")))
        assert changed.backends == {WEB_80}
        assert not changed.rows
        assert not changed.structure
        assert pipeline.config.backends[API_80] is before.backends[API_80]
