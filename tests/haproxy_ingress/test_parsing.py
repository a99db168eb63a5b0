"""From dicts to resources, and what is said about what cannot be read."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy_ingress.diagnostics import Level, Ref, Why
from haproxy_ingress.kinds import KINDS
from haproxy_ingress.parsing import Parsed, expand, parse
from haproxy_ingress.reader import MAX_ITEMS, MAX_PROBLEMS
from haproxy_ingress.resources import (
    Endpoint,
    EndpointSlice,
    Ingress,
    IngressClass,
    Meta,
    Path,
    PathType,
    Resource,
    ResourceTarget,
    Rule,
    Service,
    ServicePort,
    ServiceTarget,
    SlicePort,
    Tls,
)

NETWORKING = "networking.k8s.io/v1"
DISCOVERY = "discovery.k8s.io/v1"


def obj(kind: str, version: str = NETWORKING, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "a", "namespace": "ns"},
        **more,
    }


def ingress(**spec: Any) -> dict[str, Any]:
    return obj("Ingress", spec=spec)


def backend() -> dict[str, Any]:
    return {"service": {"name": "web", "port": {"number": 80}}}


def path(**more: Any) -> dict[str, Any]:
    return {"path": "/x", "pathType": "Prefix", "backend": backend(), **more}


def with_path(**more: Any) -> dict[str, Any]:
    return ingress(rules=[{"host": "a.test", "http": {"paths": [path(**more)]}}])


def with_metadata(**more: Any) -> dict[str, Any]:
    return {**ingress(), "metadata": {"name": "a", "namespace": "ns", **more}}


def slice_(**more: Any) -> dict[str, Any]:
    return obj("EndpointSlice", DISCOVERY, addressType="IPv4", **more)


def resource(one: object) -> Resource:
    ref, read, found = parse(one)
    assert not found
    assert read is not None
    assert read.ref == ref
    return read


A = Meta("a", "ns")
WEB = ServiceTarget("web", 80)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, Ingress(A), id="empty"),
        pytest.param({"rules": None, "tls": None}, Ingress(A), id="null"),
        pytest.param({"ingressClassName": "x"}, Ingress(A, "x"), id="class"),
        pytest.param({"defaultBackend": backend()}, Ingress(A, None, WEB), id="default-backend"),
        pytest.param(
            {"rules": [{"host": "a.test", "http": {"paths": [path()]}}, {"host": "b.test"}]},
            Ingress(
                A,
                rules=(
                    Rule("a.test", (Path("/x", PathType.PREFIX, WEB),)),
                    Rule("b.test"),
                ),
            ),
            id="rules",
        ),
        pytest.param(
            {"tls": [{"hosts": ["a.test", "b.test"], "secretName": "s"}, {}]},
            Ingress(A, tls=(Tls(("a.test", "b.test"), "s"), Tls())),
            id="tls",
        ),
    ],
)
def test_ingress(spec: dict[str, Any], expected: Ingress) -> None:
    assert resource(ingress(**spec)) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({"pathType": "Exact"}, Path("/x", PathType.EXACT, WEB), id="exact"),
        pytest.param(
            {"pathType": None}, Path("/x", PathType.IMPLEMENTATION_SPECIFIC, WEB), id="no-type"
        ),
        pytest.param({"path": ""}, Path("/", PathType.PREFIX, WEB), id="empty-path"),
        pytest.param({"path": None}, Path("/", PathType.PREFIX, WEB), id="no-path"),
        pytest.param(
            {"backend": {"service": {"name": "web", "port": {"name": "http"}}}},
            Path("/x", PathType.PREFIX, ServiceTarget("web", "http")),
            id="port-name",
        ),
        pytest.param(
            {"backend": {"resource": {"apiGroup": "k8s.example", "kind": "Bucket", "name": "b"}}},
            Path("/x", PathType.PREFIX, ResourceTarget("Bucket", "b")),
            id="resource",
        ),
    ],
)
def test_path(more: dict[str, Any], expected: Path) -> None:
    read = resource(with_path(**more))
    assert isinstance(read, Ingress)
    assert read.rules == (Rule("a.test", (expected,)),)


@pytest.mark.parametrize("version", ["extensions/v1beta1", "networking.k8s.io/v1beta1"])
@pytest.mark.parametrize(
    ("port", "expected"), [(80, 80), ("80", 80), ("http", "http"), ("8o", "8o")]
)
def test_old_ingress(version: str, port: object, expected: object) -> None:
    old = {"serviceName": "web", "servicePort": port}
    rules = [{"http": {"paths": [{"backend": old}]}}]
    read = resource(obj("Ingress", version, spec={"backend": old, "rules": rules}))
    target = ServiceTarget("web", expected)  # type: ignore[arg-type]
    path = Path("/", PathType.IMPLEMENTATION_SPECIFIC, target)
    assert read == Ingress(A, None, target, (Rule("", (path,)),))


@pytest.mark.parametrize("version", [NETWORKING, "networking.k8s.io/v1beta1"])
@pytest.mark.parametrize(("value", "default"), [("true", True), ("false", False), ("True", False)])
def test_ingress_class(version: str, value: str, default: bool) -> None:
    annotations = {"ingressclass.kubernetes.io/is-default-class": value}
    one = obj("IngressClass", version, spec={"controller": "example.org/c"})
    one["metadata"]["annotations"] = annotations
    expected = IngressClass(Meta("a", "", "", annotations), "example.org/c", default)
    assert resource(one) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, Service(A), id="empty"),
        pytest.param(
            {"type": "ExternalName", "externalName": "db.example"},
            Service(A, "ExternalName", external_name="db.example"),
            id="external-name",
        ),
        pytest.param(
            {"clusterIP": "None", "ipFamilies": ["IPv6", "IPv4"]},
            Service(A, cluster_ip="None", ip_families=("IPv6", "IPv4")),
            id="headless",
        ),
        pytest.param(
            {
                "ports": [
                    {"port": 80},
                    {
                        "name": "h2",
                        "port": 81,
                        "targetPort": "web",
                        "appProtocol": "kubernetes.io/h2c",
                        "protocol": "SCTP",
                    },
                    {"name": "quoted", "port": 82, "targetPort": "8082"},
                ]
            },
            Service(
                A,
                ports=(
                    ServicePort(80),
                    ServicePort(81, "h2", "web", "kubernetes.io/h2c", "SCTP"),
                    ServicePort(82, "quoted", 8082),
                ),
            ),
            id="ports",
        ),
    ],
)
def test_service(spec: dict[str, Any], expected: Service) -> None:
    assert resource(obj("Service", "v1", spec=spec)) == expected


@pytest.mark.parametrize("version", [DISCOVERY, "discovery.k8s.io/v1beta1"])
@pytest.mark.parametrize(
    ("more", "endpoints", "ports"),
    [
        pytest.param({}, (), (), id="empty"),
        pytest.param({"endpoints": None, "ports": None}, (), (), id="null"),
        pytest.param(
            {"ports": [{"name": None, "port": None}, {"name": "http", "port": 80}]},
            (),
            (SlicePort(), SlicePort("http", 80)),
            id="ports",
        ),
        pytest.param(
            {"endpoints": [{"addresses": ["10.0.0.1"]}]}, (Endpoint(("10.0.0.1",)),), (), id="bare"
        ),
        pytest.param(
            {
                "endpoints": [
                    {
                        "addresses": ["10.0.0.1", "10.0.0.2"],
                        "conditions": {"ready": True, "serving": None, "terminating": False},
                        "targetRef": {"kind": "Pod", "name": "p"},
                    },
                    {"addresses": ["127.0.0.1"], "targetRef": {"kind": "Node", "name": "n"}},
                ]
            },
            (
                Endpoint(("10.0.0.1", "10.0.0.2"), True, None, False, "p"),
                Endpoint(("127.0.0.1",)),
            ),
            (),
            id="full",
        ),
    ],
)
def test_endpoint_slice(
    version: str,
    more: dict[str, Any],
    endpoints: tuple[Endpoint, ...],
    ports: tuple[SlicePort, ...],
) -> None:
    one = obj("EndpointSlice", version, addressType="IPv4", **more)
    one["metadata"] |= {
        "labels": {"kubernetes.io/service-name": "web", "other": 1},
        "annotations": {"not": "read"},
    }
    assert resource(one) == EndpointSlice(A, "web", "IPv4", endpoints, ports)


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        (None, ""),
        ("2024-05-01T12:00:00Z", "2024-05-01T12:00:00Z"),
        ("2024-05-01T12:00:00.123456789Z", "2024-05-01T12:00:00Z"),
        ("2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00Z"),
        (datetime(2024, 5, 1, 12, tzinfo=UTC), "2024-05-01T12:00:00Z"),
        (datetime(2024, 5, 1, 12), "2024-05-01T12:00:00Z"),  # noqa: DTZ001
        (datetime(999, 5, 1, tzinfo=UTC), "0999-05-01T00:00:00Z"),
        (datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=2))), "2024-04-30T22:00:00Z"),
    ],
)
def test_creation_time(given_: object, read: str) -> None:
    assert resource(with_metadata(creationTimestamp=given_)).meta.created == read


def test_metadata() -> None:
    last = "kubectl.kubernetes.io/last-applied-configuration"
    read = resource(with_metadata(namespace=None, annotations={"a/b": "1\n\t2", last: "{}\n"}))
    assert read.meta == Meta("a", "default", annotations={"a/b": "1\n\t2"})


TIME = "a time such as 2024-05-01T12:00:00Z"
TEXT = "a text (in YAML, put it in quotes)"
PATHS = "spec.rules[0].http.paths[0]"


@pytest.mark.parametrize(
    ("broken", "field", "message"),
    [
        pytest.param(
            with_path(path=5), f"{PATHS}.path", f"5 is not allowed; allowed: {TEXT}", id="type"
        ),
        pytest.param(
            with_path(path="x" * 200),
            f"{PATHS}.path",
            f"'{'x' * 77}...' is not allowed; allowed: a path that begins with /",
            id="relative",
        ),
        pytest.param(
            with_path(path="/a\nb"),
            f"{PATHS}.path",
            "'/a\\nb' is not allowed; allowed: a text without control characters",
            id="control",
        ),
        pytest.param(
            with_path(path="/\ud800"),
            f"{PATHS}.path",
            "'/\\ud800' is not allowed; allowed: a text without control characters",
            id="surrogate",
        ),
        pytest.param(
            with_path(path="/" + "ä" * 40_000),
            f"{PATHS}.path",
            f"'/{'ä' * 76}...' is not allowed; allowed: at most 65536 bytes",
            id="long",
        ),
        pytest.param(
            with_path(pathType="prefix"),
            f"{PATHS}.pathType",
            "'prefix' is not allowed; allowed: Exact, Prefix, ImplementationSpecific",
            id="choice",
        ),
        pytest.param(
            with_path(backend=None),
            f"{PATHS}.backend",
            "is missing; allowed: a mapping",
            id="missing",
        ),
        pytest.param(
            with_path(backend={"service": {"name": "a", "port": {"number": True}}}),
            f"{PATHS}.backend.service.port.number",
            "true is not allowed; allowed: a number from 1 to 65535",
            id="port",
        ),
        pytest.param(
            with_path(backend={"service": {"name": "a", "port": {"number": 10**5000}}}),
            f"{PATHS}.backend.service.port.number",
            "a very large number is not allowed; allowed: a number from 1 to 65535",
            id="huge-port",
        ),
        pytest.param(
            with_path(backend=backend() | {"resource": {"kind": "b"}}),
            f"{PATHS}.backend.resource",
            "a mapping is not allowed; allowed: either service or resource",
            id="two-targets",
        ),
        pytest.param(
            with_path(backend={"service": {"name": "a", "port": {"number": 1, "name": "x"}}}),
            f"{PATHS}.backend.service.port.number",
            "1 is not allowed; allowed: either name or number",
            id="two-ports",
        ),
        pytest.param(
            ingress(rules={}), "spec.rules", "a mapping is not allowed; allowed: a list", id="list"
        ),
        pytest.param(
            ingress(rules=[None]),
            "spec.rules[0]",
            "null is not allowed; allowed: a mapping",
            id="null-item",
        ),
        pytest.param(
            ingress(tls=[{"hosts": ["a", 1.5]}]),
            "spec.tls[0].hosts[1]",
            f"1.5 is not allowed; allowed: {TEXT}",
            id="list-item",
        ),
        pytest.param(
            ingress(rules=[{}] * (MAX_ITEMS + 1)),
            "spec.rules",
            "a list is not allowed; allowed: at most 10000 items",
            id="too-many",
        ),
        pytest.param(
            ingress(rules=[{"host": "a" * 254}]),
            "spec.rules[0].host",
            f"'{'a' * 77}...' is not allowed; allowed: at most 253 bytes",
            id="long-name",
        ),
        pytest.param(
            obj("Ingress", spec=None), "spec", "is missing; allowed: a mapping", id="no-spec"
        ),
        pytest.param(
            with_metadata(annotations={"a/b": True}),
            "metadata.annotations['a/b']",
            f"true is not allowed; allowed: {TEXT}",
            id="annotation",
        ),
        pytest.param(
            with_metadata(annotations={"a/b": "\x1b"}),
            "metadata.annotations['a/b']",
            "'\\x1b' is not allowed; allowed: a text without control characters",
            id="annotation-control",
        ),
        pytest.param(
            with_metadata(annotations={1: "a"}),
            "metadata.annotations",
            f"1 is not allowed; allowed: {TEXT}",
            id="annotation-key",
        ),
        pytest.param(
            with_metadata(creationTimestamp=date(2024, 5, 1)),
            "metadata.creationTimestamp",
            f"a date is not allowed; allowed: {TIME}",
            id="date",
        ),
        pytest.param(
            with_metadata(creationTimestamp="2024-13-01T00:00:00Z"),
            "metadata.creationTimestamp",
            f"'2024-13-01T00:00:00Z' is not allowed; allowed: {TIME}",
            id="no-such-month",
        ),
        pytest.param(
            with_metadata(creationTimestamp="0001-01-01T00:00:00+02:00"),
            "metadata.creationTimestamp",
            f"'0001-01-01T00:00:00+02:00' is not allowed; allowed: {TIME}",
            id="before-time",
        ),
        pytest.param(
            obj("Service", "v1", spec={"type": "Cluster"}),
            "spec.type",
            "'Cluster' is not allowed; allowed: ClusterIP, NodePort, LoadBalancer, ExternalName",
            id="service-type",
        ),
        pytest.param(
            obj("Service", "v1", spec={"ports": [{"port": 1, "targetPort": "0"}]}),
            "spec.ports[0].targetPort",
            "'0' is not allowed; allowed: a number from 1 to 65535 or a name",
            id="target-port",
        ),
        pytest.param(
            obj("Service", "v1", spec={"ports": [{}]}),
            "spec.ports[0].port",
            "is missing; allowed: a number from 1 to 65535",
            id="service-port",
        ),
        pytest.param(
            obj("Ingress", "extensions/v1beta1", spec={"backend": {"serviceName": "a"}}),
            "spec.backend.servicePort",
            "is missing; allowed: a number from 1 to 65535 or a name",
            id="old-port",
        ),
        pytest.param(
            slice_(endpoints=[{"addresses": ["10.0.0.300"]}]),
            "endpoints[0].addresses[0]",
            "'10.0.0.300' is not allowed; allowed: an address of type IPv4",
            id="address",
        ),
        pytest.param(
            {**slice_(endpoints=[{"addresses": ["fe80::1%eth0"]}]), "addressType": "IPv6"},
            "endpoints[0].addresses[0]",
            "'fe80::1%eth0' is not allowed; allowed: an address of type IPv6",
            id="scoped-address",
        ),
        pytest.param(
            slice_(endpoints=[{"addresses": []}]),
            "endpoints[0].addresses",
            "a list is not allowed; allowed: a list of 1 to 100 addresses",
            id="no-address",
        ),
        pytest.param(
            slice_(endpoints=[{"addresses": ["10.0.0.1"], "conditions": {"ready": "true"}}]),
            "endpoints[0].conditions.ready",
            "'true' is not allowed; allowed: true or false",
            id="condition",
        ),
        pytest.param(
            {**slice_(), "addressType": None},
            "addressType",
            "is missing; allowed: IPv4, IPv6, FQDN",
            id="address-type",
        ),
    ],
)
def test_what_is_broken_is_named(broken: dict[str, Any], field: str, message: str) -> None:
    ref, read, (found, *more) = parse(broken)
    assert (ref, read) == (Ref(broken["kind"], "ns", "a"), None)
    assert not more or broken["kind"] == "Ingress"
    assert (found.ref, found.why, found.level) == (ref, Why.INVALID, Level.ERROR)
    assert (found.field, found.message) == (field, message)


def test_all_that_is_broken_is_named_up_to_a_bound() -> None:
    _, _, found = parse(ingress(ingressClassName=1, rules=[{"host": 1}, {"host": 2}]))
    assert [one.field for one in found] == [
        "spec.ingressClassName",
        "spec.rules[0].host",
        "spec.rules[1].host",
    ]
    assert len(parse(ingress(rules=[{"host": 1}] * 100)).diagnostics) == MAX_PROBLEMS


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        (None, "metadata"),
        ({}, "metadata.name"),
        ({"name": 1}, "metadata.name"),
        ({"name": "A"}, "metadata.name"),
        ({"name": "a..b"}, "metadata.name"),
        ({"name": "a\n"}, "metadata.name"),
        ({"name": "a" * 254}, "metadata.name"),
        ({"name": "a", "namespace": "a.b"}, "metadata.namespace"),
        ({"name": "a", "namespace": "a" * 64}, "metadata.namespace"),
    ],
)
def test_an_object_without_a_usable_name_has_no_ref(metadata: object, field: str) -> None:
    ref, read, found = parse({**ingress(), "metadata": metadata})
    assert (ref, read) == (None, None)
    assert found[0].field == field


@pytest.mark.parametrize("one", [obj("Pod", "v1"), obj("Ingress", "example.org/v1"), obj("x\n")])
def test_other_kinds_are_passed_over(one: object) -> None:
    assert parse(one) == Parsed(None, None, ())


@pytest.mark.parametrize("one", [None, 1, "a", [], {}, {"kind": "Ingress"}, {"apiVersion": "v1"}])
def test_what_is_no_object_is_a_warning(one: object) -> None:
    ref, read, (found,) = parse(one)
    assert (ref, read, found.level) == (None, None, Level.WARNING)


def nested(depth: int) -> dict[str, Any]:
    inner = ingress() if depth == 0 else nested(depth - 1)
    return inner if depth == 0 else {"apiVersion": "v1", "kind": "List", "items": [inner]}


@pytest.mark.parametrize(
    ("document", "objects"),
    [
        pytest.param(None, (), id="nothing"),
        pytest.param(1, (1,), id="no-object"),
        pytest.param(ingress(), (ingress(),), id="object"),
        pytest.param({"kind": "List", "items": [1, 2]}, (1, 2), id="list"),
        pytest.param({"kind": "List", "items": None}, (), id="null"),
        pytest.param(nested(8), (ingress(),), id="deep"),
        pytest.param(obj("ServiceList", "v1", items=[]), (), id="empty"),
        pytest.param(
            obj("ServiceList", "v1", items=[{"spec": {}}]),
            ({"apiVersion": "v1", "kind": "Service", "spec": {}},),
            id="items-without-kind",
        ),
        pytest.param(obj("AllowList", "x/v1", items=[1]), (obj("AllowList", "x/v1", items=[1]),)),
    ],
)
def test_expand(document: object, objects: tuple[object, ...]) -> None:
    assert expand(document) == objects


@pytest.mark.parametrize("broken", [nested(9), {"apiVersion": "v1", "kind": "List", "items": 1}])
def test_a_broken_list_is_said(broken: object) -> None:
    (rest,) = expand(broken)
    assert "at most 8 deep" in parse(rest).diagnostics[0].message


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.datetimes()
    | st.sampled_from(["IPv4", "10.0.0.1", "a", "Prefix", "/", "ClusterIP", "80"])
)
KEYS = st.text(max_size=5) | st.sampled_from(
    "metadata name namespace annotations labels creationTimestamp spec rules host http paths path "
    "pathType backend service port number resource kind serviceName servicePort defaultBackend tls "
    "hosts secretName ingressClassName controller ports targetPort type clusterIP ipFamilies "
    "endpoints addresses conditions ready targetRef addressType items".split()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)
VERSIONED = st.sampled_from([*KINDS, ("v1", "List"), ("v1", "ServiceList")])


@given(VALUES)
def test_any_json_is_read_or_refused(document: object) -> None:
    for one in expand(document):
        assert (parse(one).resource is None) or not parse(one).diagnostics


@given(VERSIONED, st.dictionaries(KEYS, VALUES, max_size=6), VALUES, st.booleans())
def test_any_fields_are_read_or_refused(
    kind: tuple[str, str], fields: dict[str, object], spec: object, named: bool
) -> None:
    one = {**fields, "apiVersion": kind[0], "kind": kind[1], "spec": spec}
    if named:
        one["metadata"] = {"name": "a"}
    before = copy.deepcopy(one)
    for each in expand(one):
        ref, read, found = parse(each)
        assert read is None or (ref == read.ref and not found)
        assert all(len(diagnostic.message) < 400 for diagnostic in found)
    assert repr(one) == repr(before)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_secret_text_that_no_file_can_hold(text: str) -> None:
    ref, read, (found,) = parse(obj("Secret", "v1", stringData={"a": text}))
    assert (ref, read) == (Ref("Secret", "ns", "a"), None)
    assert found.field == "stringData['a']"
    assert found.message == "a value that is not shown; allowed: text that is valid Unicode"
