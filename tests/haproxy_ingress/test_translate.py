"""One Ingress as routes and needs, and what is said about the rest of it."""

from __future__ import annotations

import pytest
from attrs import evolve

from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why
from haproxy_ingress.naming import NOT_FOUND, UNAVAILABLE
from haproxy_ingress.resources import (
    Ingress,
    IngressClass,
    PathType,
    Resource,
    ResourceTarget,
    Service,
    ServicePort,
    ServiceTarget,
)
from haproxy_ingress.routing import MAX_PATH, Kind
from haproxy_ingress.store import View
from haproxy_ingress.translate import (
    CLASS_ANNOTATION,
    EXTERNAL_PROFILE,
    Fragment,
    Need,
    Settings,
    default_fragment,
    is_ours,
    translate,
)
from tests.haproxy_ingress.objects import (
    EXACT,
    PREFIX,
    SETTINGS,
    SPECIFIC,
    WEB,
    ingress,
    ingress_class,
    path,
    rule,
    said,
    service,
    store,
)

USE_REGEX = {"haproxy-ingress.io/use-regex": "true"}
TWO_PORTS = service("web", ServicePort(80, "http"), ServicePort(443, "https"))


def fragment(one: Ingress, *others: Resource) -> Fragment:
    made = translate(one, View(store(one, *others)), SETTINGS)
    assert made is not None
    return made


def backends(one: Ingress, *others: Resource) -> list[str]:
    return [route.backend for route in fragment(one, *others).routes]


class TestClasses:
    """Which Ingresses are ours."""

    @pytest.mark.parametrize(
        ("named", "classes", "ours"),
        [
            pytest.param("haproxy", (), True, id="our-name-without-an-object"),
            pytest.param("nginx", (), False, id="another-name-without-an-object"),
            pytest.param("haproxy", (ingress_class("haproxy"),), True, id="our-controller"),
            pytest.param("edge", (ingress_class("edge"),), True, id="any-class-of-our-controller"),
            pytest.param(
                "haproxy", (ingress_class("haproxy", "other/one"),), False, id="our-name-not-ours"
            ),
            pytest.param(None, (), False, id="no-class"),
            pytest.param("", (), False, id="empty-class"),
            pytest.param(None, (ingress_class("edge", default=True),), True, id="ours-is-default"),
            pytest.param(None, (ingress_class("edge"),), False, id="ours-is-not-default"),
            pytest.param(
                None, (ingress_class("x", "other/one", default=True),), False, id="other-default"
            ),
            pytest.param(
                None,
                (ingress_class("x", "o/o", default=True), ingress_class("y", default=True)),
                True,
                id="one-of-two-defaults-is-ours",
            ),
            pytest.param(
                "nginx", (ingress_class("edge", default=True),), False, id="named-is-not-default"
            ),
        ],
    )
    def test_by_class(
        self, named: str | None, classes: tuple[IngressClass, ...], ours: bool
    ) -> None:
        one = ingress("shop", ingress_class=named)
        assert is_ours(one, View(store(*classes)), SETTINGS) is ours

    @pytest.mark.parametrize(
        ("old", "new", "ours"),
        [("haproxy", "nginx", True), ("nginx", "haproxy", False), ("haproxy", None, True)],
    )
    def test_the_old_annotation_comes_first(self, old: str, new: str | None, ours: bool) -> None:
        one = ingress("shop", annotations={CLASS_ANNOTATION: old}, ingress_class=new)
        assert is_ours(one, View(store()), SETTINGS) is ours

    def test_without_class_on_demand(self) -> None:
        daemon = evolve(SETTINGS, without_class=True)
        assert is_ours(ingress("shop", ingress_class=None), View(store()), daemon)
        assert not is_ours(ingress("shop", ingress_class="nginx"), View(store()), daemon)

    def test_what_is_not_ours_has_no_fragment(self) -> None:
        one = ingress("shop", rule(), ingress_class="nginx")
        assert translate(one, View(store(one)), SETTINGS) is None

    def test_a_class_that_may_come_is_read(self) -> None:
        view = View(store())
        is_ours(ingress("shop"), view, SETTINGS)
        assert view.reads == {Ref("IngressClass", "", "haproxy")}


class TestPorts:
    """A port of a Service, by number or name."""

    @pytest.mark.parametrize(
        ("wanted", "of", "port"),
        [
            pytest.param(80, TWO_PORTS, 80, id="number"),
            pytest.param("https", TWO_PORTS, 443, id="name"),
            pytest.param("443", TWO_PORTS, 443, id="number-in-quotes"),
            pytest.param(None, service("web", ServicePort(81)), 81, id="the-only-one"),
            pytest.param(
                "80", service("web", ServicePort(9, "80")), 9, id="a-name-comes-before-its-digits"
            ),
            pytest.param(
                53,
                service("web", ServicePort(53, "u", protocol="UDP"), ServicePort(53, "t")),
                53,
                id="TCP-where-UDP-has-the-same-number",
            ),
        ],
    )
    def test_found(self, wanted: int | str | None, of: Service, port: int) -> None:
        made = fragment(ingress("shop", rule("", path("/", ServiceTarget("web", wanted)))), of)
        assert [need.port for need in made.needs] == [port]
        assert made.routes[0].backend == f"ns_web_{port}"
        assert not made.diagnostics

    @pytest.mark.parametrize(
        ("wanted", "others", "message"),
        [
            pytest.param(80, (), "Service web does not exist; answers 503", id="no-service"),
            pytest.param(81, (TWO_PORTS,), "Service web has no port 81; answers 503", id="number"),
            pytest.param("x", (TWO_PORTS,), "Service web has no port x; answers 503", id="name"),
            pytest.param(
                None,
                (TWO_PORTS,),
                "Service web has no port to choose by itself; answers 503",
                id="the-only-one-of-two",
            ),
        ],
    )
    def test_missing(
        self, wanted: int | str | None, others: tuple[Service, ...], message: str
    ) -> None:
        one = ingress(
            "shop", rule("a.test", path("/", ServiceTarget("web", wanted)), path("/x", WEB))
        )
        made = fragment(one, *others)
        assert made.routes[0].backend == UNAVAILABLE
        assert made.diagnostics[0] == Diagnostic(
            one.ref, Why.BACKEND_NOT_FOUND, "spec.rules[0].http.paths[0].backend", message
        )

    def test_the_other_paths_work(self) -> None:
        one = ingress("shop", rule("", path("/x", ServiceTarget("none", 80)), path("/y")))
        assert backends(one, service()) == [UNAVAILABLE, "ns_web_80"]

    def test_only_udp(self) -> None:
        made = fragment(ingress("shop", rule()), service("web", ServicePort(80, protocol="UDP")))
        assert made.routes[0].backend == UNAVAILABLE
        assert [one.message for one in made.diagnostics] == ["port 80 is UDP, not TCP; answers 503"]

    def test_a_name_too_long_for_haproxy(self) -> None:
        target = ServiceTarget("w" * 64, 80)
        made = fragment(ingress("shop", rule("", path("/", target))), service("w" * 64))
        assert said(made.diagnostics) == [("Unsupported", "spec.rules[0].http.paths[0].backend")]
        assert not made.needs

    def test_the_name_of_a_port_goes_with_the_need(self) -> None:
        made = fragment(ingress("shop", rule()), TWO_PORTS)
        assert made.needs == (Need("ns", "web", 80, "http"),)

    def test_a_backend_is_needed_once(self) -> None:
        made = fragment(ingress("shop", rule("", "/x", "/y")), service())
        assert made.needs == (Need("ns", "web", 80),)


class TestExternalNames:
    """HAProxy resolves them when a request comes."""

    @pytest.mark.parametrize("name", ["far.test", "FAR.test", "far.test."])
    def test_any_port(self, name: str) -> None:
        far = evolve(service(), type="ExternalName", external_name=name, ports=())
        made = fragment(ingress("shop", rule("", path("/", ServiceTarget("web", 8443)))), far)
        assert made.needs == (Need("ns", "web", 8443, "", "far.test", EXTERNAL_PROFILE),)

    @pytest.mark.parametrize("name", ["", ".", "*.test", "not a name", "far.test..", "a_b.test"])
    def test_no_name(self, name: str) -> None:
        far = evolve(service(), type="ExternalName", external_name=name)
        made = fragment(ingress("shop", rule()), far)
        assert made.routes[0].backend == UNAVAILABLE
        assert said(made.diagnostics) == [("Unsupported", "spec.rules[0].http.paths[0].backend")]

    def test_a_port_by_name_must_be_there(self) -> None:
        far = evolve(service(), type="ExternalName", external_name="far.test")
        one = ingress("shop", rule("", path("/", ServiceTarget("web", "https"))))
        assert backends(one, far) == [UNAVAILABLE]


def test_resource_backend() -> None:
    made = fragment(ingress("shop", rule("", path("/", ResourceTarget("Bucket", "b")))))
    assert made.routes[0].backend == NOT_FOUND
    assert [one.message for one in made.diagnostics] == [
        "resource backend Bucket b: not supported, answers 404"
    ]


@pytest.mark.parametrize(
    ("kind", "annotations", "expected"),
    [
        (EXACT, {}, Kind.EXACT),
        (PREFIX, {}, Kind.PREFIX),
        (SPECIFIC, {}, Kind.PREFIX),
        (EXACT, USE_REGEX, Kind.EXACT),
        (PREFIX, USE_REGEX, Kind.PREFIX),
        (SPECIFIC, USE_REGEX, Kind.REGEX),
    ],
)
def test_path_types(kind: PathType, annotations: dict[str, str], expected: Kind) -> None:
    one = ingress("shop", rule("", path("/x", kind=kind)), annotations=annotations)
    assert [route.kind for route in fragment(one, service()).routes] == [expected]


class TestInvalid:
    """What cannot be a route is left out, and the rest goes on."""

    @pytest.mark.parametrize("host", ["not a host", "*", "a_b.test", "1.2.3.4:80", "a.test."])
    def test_host(self, host: str) -> None:
        made = fragment(ingress("shop", rule(host), rule("b.test")), service())
        assert [route.host for route in made.routes] == ["b.test"]
        assert [str(one) for one in made.diagnostics] == [
            (
                f"Ingress ns/shop: spec.rules[0].host: {host!r} is not allowed; "
                "allowed: a DNS name, or *. and one; ignored"
            )
        ]

    def test_hosts_are_lower_case(self) -> None:
        made = fragment(ingress("shop", rule("A.Test")), service())
        assert [route.host for route in made.routes] == ["a.test"]

    @pytest.mark.parametrize(
        "text",
        ["", "x", "*", "/" + "x" * MAX_PATH, "/" + "é" * (MAX_PATH // 6 + 1)],
        ids=["empty", "relative", "star", "long", "long-when-encoded"],
    )
    def test_path(self, text: str) -> None:
        made = fragment(ingress("shop", rule("", path(text), path("/y"))), service())
        assert [route.path for route in made.routes] == ["/y"]
        assert said(made.diagnostics) == [("Invalid", "spec.rules[0].http.paths[0].path")]

    def test_the_longest_path(self) -> None:
        text = "/" + "x" * (MAX_PATH - 1)
        assert fragment(ingress("shop", rule("", path(text))), service()).routes

    def test_long_values_are_cut_in_messages(self) -> None:
        made = fragment(ingress("shop", rule("", path("x" * 100))), service())
        assert f"'{'x' * 77}...'" in made.diagnostics[0].message

    @pytest.mark.parametrize(
        "pattern",
        [
            pytest.param("/(", id="open"),
            pytest.param("/x)|(?:.*", id="closes-what-is-around-it"),
            pytest.param("/[", id="set"),
            pytest.param("/*{2}*", id="repeat"),
            pytest.param(r"/\Qx)\E", id="quoting-of-PCRE2"),
            pytest.param(r"/\c)", id="control-escape-of-PCRE2"),
            pytest.param("/(?#", id="comment"),
            pytest.param("/(?x)#", id="extended-swallows-what-is-around-it"),
            pytest.param("/(?x:a#)", id="scoped-extended"),
            pytest.param("/(*ACCEPT)", id="verb-of-PCRE2"),
            pytest.param("/(?x:a#\n)", id="line-break"),
            pytest.param("/\x7f", id="control-character"),
            pytest.param("/" + "(" * 900 + ")" * 900, id="deep"),
        ],
    )
    def test_regex(self, pattern: str) -> None:
        one = ingress("shop", rule("", path(pattern, kind=SPECIFIC)), annotations=USE_REGEX)
        made = fragment(one, service())
        assert said(made.diagnostics) == [("Invalid", "spec.rules[0].http.paths[0].path")]
        assert not made.routes

    @pytest.mark.parametrize(
        "pattern",
        [
            # Python sees ) inside the last set as the end of its group, PCRE2 the first ) as the
            # end of what holds the pattern to its host.
            "/[[:alpha:](])|.*(?:[[:alpha:])]",
            "/[a[:digit:](])|.*(?:[a[:digit:])]",
            "/[^[.x.](])|.*(?:[[.x.])]",
            r"/[[:\]x:](])|.*(?:[[:\]x:])]",
            r"/[[:a\\:](])|.*(?:[[:a\\:])]",
        ],
    )
    def test_a_set_that_pcre2_reads_differently(self, pattern: str) -> None:
        one = ingress("shop", rule("", path(pattern, kind=SPECIFIC)), annotations=USE_REGEX)
        made = fragment(one, service())
        assert "POSIX class" in made.diagnostics[0].message
        assert not made.routes

    @pytest.mark.parametrize(
        "pattern",
        ["/v[0-9]+/(.*)", "/x(/|$)(.*)", "/a[.]b[.]c", "/[:]", "/a b", r"/\[x\]", "/[[]", "/é"],
    )
    def test_regex_that_is_fine(self, pattern: str) -> None:
        one = ingress("shop", rule("", path(pattern, kind=SPECIFIC)), annotations=USE_REGEX)
        made = fragment(one, service())
        assert [route.kind for route in made.routes] == [Kind.REGEX]
        assert not made.diagnostics


class TestDefaultBackends:
    """spec.defaultBackend yields to all paths."""

    def test_without_rules_it_takes_all(self) -> None:
        made = fragment(ingress("shop", default=WEB), service())
        assert [(one.key, one.kind) for one in made.routes] == [("/", Kind.DEFAULT)]

    def test_with_rules_it_is_that_of_their_hosts(self) -> None:
        one = ingress("shop", rule("a.test", "/x"), rule("b.test"), rule("a.test"), default=WEB)
        made = fragment(one, service())
        defaults = [route.host for route in made.routes if route.kind is Kind.DEFAULT]
        assert defaults == ["a.test", "b.test"]

    def test_rules_that_are_all_invalid_do_not_make_it_a_catch_all(self) -> None:
        made = fragment(ingress("shop", rule("not a host"), default=WEB), service())
        assert not made.routes

    def test_a_missing_one_is_said_once(self) -> None:
        one = ingress("shop", rule("a.test"), rule("b.test"), default=ServiceTarget("none", 1))
        made = fragment(one, service())
        assert said(made.diagnostics) == [("BackendNotFound", "spec.defaultBackend")]


class TestAnnotations:
    def test_what_is_not_understood(self) -> None:
        one = ingress("shop", rule(), annotations={"haproxy-ingress.io/use-regex": "maybe"})
        (found,) = fragment(one, service()).diagnostics
        assert (found.why, found.level) == (Why.ANNOTATION_INVALID, Level.ERROR)
        assert found.field == "metadata.annotations[haproxy-ingress.io/use-regex]"
        assert "maybe" in found.message
        assert "allowed: " in found.message

    @pytest.mark.parametrize(
        ("key", "hint"),
        [
            ("use-regexp", "did you mean haproxy-ingress.io/use-regex?"),
            ("colour-of-the-sky", ""),
        ],
    )
    def test_what_is_unknown(self, key: str, hint: str) -> None:
        one = ingress("shop", rule(), annotations={f"haproxy-ingress.io/{key}": "x"})
        (found,) = fragment(one, service()).diagnostics
        assert (found.why, found.level) == (Why.ANNOTATION_UNKNOWN, Level.WARNING)
        assert found.hint == hint

    def test_those_of_others_are_not_ours_to_judge(self) -> None:
        one = ingress("shop", rule(), annotations={"example.com/use-regex": "maybe"})
        assert not fragment(one, service()).diagnostics


class TestDefaultService:
    """--default-backend-service, the last resort."""

    @pytest.mark.parametrize(
        ("port", "number"), [("", 80), ("443", 443), ("https", 443)], ids=["first", "no", "name"]
    )
    def test_found(self, port: str, number: int) -> None:
        made = default_fragment(
            View(store(TWO_PORTS)), Settings(default_backend=("ns", "web", port))
        )
        assert made is not None
        assert [(one.key, one.kind, one.backend) for one in made.routes] == [
            ("/", Kind.LAST, f"ns_web_{number}")
        ]

    def test_none(self) -> None:
        assert default_fragment(View(store()), SETTINGS) is None

    def test_a_protocol_we_do_not_speak_is_said(self) -> None:
        view = View(store(service("web", ServicePort(80, app_protocol="https"))))
        made = default_fragment(view, Settings(default_backend=("ns", "web", "80")))
        assert made is not None
        assert len(made.routes) == 1
        assert said(made.diagnostics) == [("Unsupported", "spec.ports")]
        assert made.diagnostics[0].level is Level.WARNING

    @pytest.mark.parametrize(
        ("others", "why", "message"),
        [
            ((), Why.BACKEND_NOT_FOUND, "no such Service"),
            ((TWO_PORTS,), Why.BACKEND_NOT_FOUND, "the default backend has no port 81"),
            (
                (service("web", ServicePort(81, protocol="UDP")),),
                Why.UNSUPPORTED,
                "port 81 is UDP, not TCP",
            ),
        ],
    )
    def test_missing(self, others: tuple[Service, ...], why: Why, message: str) -> None:
        view = View(store(*others))
        made = default_fragment(view, Settings(default_backend=("ns", "web", "81")))
        assert made is not None
        assert not made.routes
        assert [(one.why, one.message) for one in made.diagnostics] == [(why, message)]
        assert view.reads == {Ref("Service", "ns", "web")}


def test_endpoint_slices_are_never_read() -> None:
    one = ingress("shop", rule())
    view = View(store(one, service()))
    translate(one, view, SETTINGS)
    assert {ref.kind for ref in view.reads} == {"IngressClass", "Service"}
