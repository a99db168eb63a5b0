"""Whatever changes come, in whatever batches: the result is that of compiling from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from haproxy.ids import resolved
from haproxy.model import Config
from haproxy.plan import Changed
from haproxy.render import render
from haproxy_ingress.annotations import PREFIX as OURS
from haproxy_ingress.diagnostics import Diagnostic, Ref, Why
from haproxy_ingress.pipeline import Pipeline, compile_config
from haproxy_ingress.resources import (
    Endpoint,
    Ingress,
    Path,
    PathType,
    Resource,
    ResourceTarget,
    Rule,
    Secret,
    Service,
    ServicePort,
    ServiceTarget,
    SlicePort,
)
from haproxy_ingress.selfsigned import self_signed
from haproxy_ingress.sources import Change
from haproxy_ingress.store import TLS_TYPE
from haproxy_ingress.translate import CLASS_ANNOTATION, Settings
from tests.haproxy_ingress.objects import ingress, ingress_class, service, slice_
from tests.haproxy_ingress.pairs import made, secret, tls

CLASSES = (None, "haproxy", "edge", "other")
HOSTS = ("", "a.test", "A.test", "*.test", "not a host")
PATHS = ("/", "/x", "/x/", "//x", "/x y", "/x(/|$)", "/y/%2e%2e/x", "/(")
SERVICES = ("web", "api")
PORTS = (80, 81, "http", None)
NAMES = ("one", "two", "three")
TIMES = ("", "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "fd00::1", "no address")

settings_of_the_daemon = st.builds(
    Settings,
    without_class=st.booleans(),
    https_port=st.sampled_from([0, 8443]),
    default_certificate=st.just(self_signed(0.0)),
    default_tls_secret=st.none() | st.just(("ns", "a")),
    default_backend=st.none() | st.just(("ns", "web", "")) | st.just(("ns", "api", "http")),
)

targets = st.builds(ServiceTarget, st.sampled_from(SERVICES), st.sampled_from(PORTS)) | st.just(
    ResourceTarget("Bucket", "b")
)
paths = st.builds(Path, st.sampled_from(PATHS), st.sampled_from(PathType), targets)
rules = st.builds(Rule, st.sampled_from(HOSTS), st.lists(paths, max_size=3).map(tuple))
wishes = st.fixed_dictionaries(
    {},
    optional={
        CLASS_ANNOTATION: st.sampled_from(["haproxy", "edge"]),
        f"{OURS}use-regex": st.sampled_from(["true", "false", "perhaps"]),
        f"{OURS}use-regexp": st.just("true"),
    },
)
entries = st.builds(
    tls,
    st.sampled_from(["a", "b", "none", ""]),
    st.sampled_from(["a.test", "*.test", "A.test", "not a host"]),
) | st.builds(tls, st.sampled_from(["a", "b"]))
A, OTHER, B = made(), made("ed25519"), made(number=1)
GOOD = [(of.chain, of.pem()) for of in (A, OTHER, B)]
BROKEN = [(A.chain, B.pem()), (b"", A.pem()), (A.chain, b"garbage")]
secrets = st.builds(
    lambda name, pair, kind: secret(name, kind=kind, crt=pair[0], key=pair[1]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(GOOD + BROKEN),
    st.sampled_from([TLS_TYPE, TLS_TYPE, TLS_TYPE, "Opaque"]),
)
ingresses = st.builds(
    lambda name, ruled, created, asked, of, default, secured: evolve(
        ingress(
            name, *ruled, created=created, annotations=asked, ingress_class=of, default=default
        ),
        tls=tuple(secured),
    ),
    st.sampled_from(NAMES),
    st.lists(rules, max_size=2),
    st.sampled_from(TIMES),
    wishes,
    st.sampled_from(CLASSES),
    st.none() | targets,
    st.lists(entries, max_size=2),
)
ports = st.sampled_from(
    [
        (ServicePort(80),),
        (ServicePort(80, "http"),),
        (ServicePort(80, "web"), ServicePort(81, "http")),
        (ServicePort(80, "http"), ServicePort(80, "quic", protocol="UDP")),
        (),
    ]
)
services = st.builds(
    lambda name, given, families: evolve(service(name), ports=given, ip_families=families),
    st.sampled_from(SERVICES),
    ports,
    st.sampled_from([(), ("IPv6", "IPv4")]),
) | st.builds(
    lambda name, far: evolve(service(name), type="ExternalName", external_name=far, ports=()),
    st.sampled_from(SERVICES),
    st.sampled_from(["far.test", "no name", ""]),
)
flags = st.sampled_from([None, True, False])
endpoints = st.builds(
    lambda address, ready, serving, terminating, pod: Endpoint(
        (address,), ready, serving, terminating, pod
    ),
    st.sampled_from(ADDRESSES),
    flags,
    flags,
    flags,
    st.sampled_from(["", "web-0", "web-1", "not/a pod"]),
)
slices = st.builds(
    lambda of, name, members, port, family: slice_(
        of, *members, ports=port, name=name, family=family
    ),
    st.sampled_from((*SERVICES, "")),
    st.sampled_from(NAMES),
    st.lists(endpoints, max_size=3),
    st.sampled_from(
        [(SlicePort("", 8080),), (SlicePort("http", 8081), SlicePort("web", 8082)), ()]
    ),
    st.sampled_from(["IPv4", "IPv6", "FQDN"]),
)
classes = st.builds(
    lambda name, controller, default: ingress_class(name, controller, default=default),
    st.sampled_from(["haproxy", "edge", "other"]),
    st.sampled_from(["", "example.com/other"]),
    default=st.booleans(),
)
resources = ingresses | services | slices | classes | secrets
# An object, and whether it goes: what goes need not be there.
steps = st.tuples(resources, st.integers(0, 3).map(lambda number: number == 0))
batches = st.lists(st.lists(steps, max_size=4), max_size=8)

Steps = Iterable[tuple[Resource, bool]]


def changes(steps: Steps) -> tuple[Change, ...]:
    return tuple(Change(one.ref, None if leaves else one, 0.0) for one, leaves in steps)


def files(config: Config) -> Mapping[str, bytes]:
    return render(resolved(config, Config())).files


def differing(old: Config, new: Config) -> Changed:
    """Where two configurations differ, found by comparing all."""
    return Changed(
        frozenset(
            name
            for name in old.backends.keys() | new.backends.keys()
            if old.backends.get(name) != new.backends.get(name)
        ),
        {
            name: frozenset(
                key
                for key in of.rows.keys() | new.maps[name].rows.keys()
                if of.rows.get(key) != new.maps[name].rows.get(key)
            )
            for name, of in old.maps.items()
        },
        unequal(old.certificates, new.certificates),
        {
            name: unequal(of.served, new.crt_lists[name].served)
            for name, of in old.crt_lists.items()
        },
    )


def unequal(old: Mapping[str, object], new: Mapping[str, object]) -> frozenset[str]:
    return frozenset(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def covers(told: Changed, real: Changed) -> bool:
    none: frozenset[str] = frozenset()
    rows = (told.rows.get(name, none) >= keys for name, keys in real.rows.items())
    lines = (told.served.get(name, none) >= keys for name, keys in real.served.items())
    whole = told.backends >= real.backends and told.certificates >= real.certificates
    return whole and all(rows) and all(lines)


def structure(config: Config) -> Config:
    """All but the backends, the rows and the certificates."""
    maps = {name: evolve(of, rows={}) for name, of in config.maps.items()}
    lists = {name: evolve(of, served={}) for name, of in config.crt_lists.items()}
    return evolve(config, backends={}, maps=maps, certificates={}, crt_lists=lists)


def lasting(before: Resource | None, now: Resource) -> Resource:
    """What a resource comes to: a broken TLS Secret is what it was when it was last good."""
    if not (isinstance(before, Secret) and isinstance(now, Secret)):
        return now
    broken = (now.data["tls.crt"], now.data["tls.key"]) in BROKEN
    return before if broken and before.type == now.type == TLS_TYPE else now


def without_certificates(found: Iterable[Diagnostic]) -> set[Diagnostic]:
    """What a Secret was before decides what is said of it."""
    return {one for one in found if one.why is not Why.CERTIFICATE_INVALID}


@settings(max_examples=300, deadline=None)
@given(settings_of_the_daemon, batches)
def test_step_by_step_is_as_from_scratch(
    daemon: Settings, given: list[list[tuple[Resource, bool]]]
) -> None:
    pipeline = Pipeline(daemon)
    there: dict[Ref, Resource] = {}
    for batch in given:
        before = pipeline.config
        told = pipeline.update(changes(batch))
        for one, leaves in batch:
            before_it = there.pop(one.ref, None)
            if not leaves:
                there[one.ref] = lasting(before_it, one)
        scratch, found = compile_config(there.values(), daemon)
        assert pipeline.config == scratch
        assert files(pipeline.config) == files(scratch)
        assert without_certificates(pipeline.diagnostics()) == without_certificates(found)
        assert covers(told, differing(before, pipeline.config))
        assert structure(before) == structure(pipeline.config)


@settings(deadline=None)
@given(settings_of_the_daemon, st.lists(resources, unique_by=lambda one: one.ref), st.randoms())
def test_the_order_of_the_objects_does_not_matter(
    daemon: Settings, given: list[Resource], random: object
) -> None:
    shuffled = list(given)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    config, found = compile_config(given, daemon)
    other, also_found = compile_config(shuffled, daemon)
    assert files(config) == files(other)
    assert set(found) == set(also_found)


@settings(deadline=None)
@given(st.lists(resources, unique_by=lambda one: one.ref))
def test_when_all_is_gone_nothing_is_left(given: list[Resource]) -> None:
    pipeline = Pipeline(Settings())
    empty = pipeline.config
    pipeline.update(changes((one, False) for one in given))
    pipeline.update(changes((one, True) for one in given))
    assert pipeline.config == empty
    assert not set(pipeline.diagnostics())
    assert not pipeline.served()


@settings(deadline=None)
@given(st.lists(resources, unique_by=lambda one: one.ref))
def test_what_is_the_same_again_changes_nothing(given: list[Resource]) -> None:
    pipeline = Pipeline(Settings())
    pipeline.update(changes((one, False) for one in given))
    config = pipeline.config
    pipeline.news()
    assert not pipeline.update(changes((one, False) for one in given))
    assert pipeline.config is config
    assert not pipeline.news()


@settings(deadline=None)
@given(batches, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_after_a_quarantine_all_is_as_from_scratch(
    given: list[list[tuple[Resource, bool]]], name: str, other: str
) -> None:
    """Once the Ingresses that were out have changed, nothing remembers that they were."""
    pipeline = Pipeline(Settings())
    there: dict[Ref, Resource] = {}
    for number, batch in enumerate(given):
        told = pipeline.update(changes(batch))
        for one, leaves in batch:
            there.pop(one.ref, None)
            if not leaves:
                there[one.ref] = one
        assert told is not None
        if number % 2:
            pipeline.accepted()
        before = pipeline.config
        told = pipeline.quarantine(ingress((name, other)[number % 2]).ref, "refused")
        assert covers(told, differing(before, pipeline.config))
    out = [ingress(each) for each in NAMES]
    pipeline.update(changes((one, True) for one in out))
    pipeline.update(changes((one, False) for one in there.values() if isinstance(one, Ingress)))
    scratch, found = compile_config(there.values(), Settings())
    assert files(pipeline.config) == files(scratch)
    assert set(pipeline.diagnostics()) - set(pipeline.quarantined.values()) == set(found)


def test_the_pools_make_conflicts_and_servers() -> None:
    """A guard for the properties above: what they draw from does meet."""
    there: list[Resource] = [
        ingress("one", Rule("a.test", (Path("/x", PathType.PREFIX, ServiceTarget("web", 80)),))),
        ingress("two", Rule("A.test", (Path("//x", PathType.PREFIX, ServiceTarget("web")),))),
        Service(service("web").meta, ports=(ServicePort(80),)),
        slice_("web", Endpoint(("10.0.0.1",))),
    ]
    config, found = compile_config(there, Settings())
    assert len(found) == 1
    assert len(config.backends["ns_web_80"].servers) == 1
