"""Configurations as hypothesis makes them: small, so that they meet often."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve
from hypothesis import strategies as st

from haproxy.capabilities import Capabilities
from haproxy.ids import resolved
from haproxy.model import (
    Backend,
    Bind,
    Certificate,
    Config,
    CrtList,
    Frontend,
    Map,
    Profile,
    Row,
    Served,
    Server,
    State,
    lines,
)
from haproxy.render import render
from haproxy.testing import FakeHAProxy

V2_6, V3_4 = Capabilities((2, 6)), Capabilities((3, 4))
ROUTES, REGEX, HOSTS = "maps/routes.map", "maps/regex.map", "maps/hosts.map"
PROFILES = {profile.name: profile for profile in (Profile(), Profile(retries=3))}
FIXED = Backend("fixed", Profile().name, lines=lines("http-request return status 404"))
CRT_LIST, DEFAULT = "certs/list.txt", "certs/_default.pem"
KEYS = [f"/{letter}" for letter in "abcde"]

servers = st.builds(
    Server,
    name=st.sampled_from(["s1", "s2", "s3", "s4"]),
    address=st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]),
    port=st.integers(8080, 8081),
    weight=st.sampled_from([0, 1, 256]),
    state=st.sampled_from(State),
)


@st.composite
def backends(draw: st.DrawFn, profile: str) -> Backend:
    members = draw(st.lists(servers, max_size=4, unique_by=lambda one: one.name))
    name = draw(st.sampled_from(["b1", "b2", "b3", "b4"]))
    # The profile is part of the name, as it has to be for whoever changes profiles at runtime.
    return Backend(f"{name}-{profile[-4:]}", profile, {one.name: one for one in members})


@st.composite
def tables(draw: st.DrawFn, targets: Iterable[str]) -> dict[str, Map]:
    values = st.sampled_from(sorted(targets)).map(lambda name: Row(name, needs=(name,)))
    rows = st.dictionaries(st.sampled_from(KEYS), values)
    regex = draw(st.permutations(list(draw(rows).items())))
    flags = st.dictionaries(st.sampled_from(["a.test", "b.test"]), st.just(Row("known")))
    return {
        ROUTES: Map(ROUTES, draw(rows)),
        REGEX: Map(REGEX, dict(regex), ordered=True),
        HOSTS: Map(HOSTS, draw(flags)),
    }


def certificate(name: str, content: str) -> Certificate:
    pem = f"-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n"
    return Certificate.of(name, pem)


@st.composite
def certificates(draw: st.DrawFn) -> dict[str, Certificate]:
    """The default one, and some others."""
    names = [f"certs/{letter}.pem" for letter in "abc"]
    found = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(["AAAA", "BBBB"])))
    found[DEFAULT] = draw(st.sampled_from(["CCCC", "DDDD"]))
    return {name: certificate(name, content) for name, content in found.items()}


@st.composite
def crt_lists(draw: st.DrawFn, there: Iterable[str]) -> dict[str, CrtList]:
    """Lines of the certificates that are *there*."""
    hosts = st.sampled_from(["a.test", "b.test", "*.w.test"])
    names = sorted(set(there) - {DEFAULT})
    if not names:
        return {CRT_LIST: CrtList(CRT_LIST, DEFAULT)}
    lines = draw(st.lists(st.builds(Served, st.sampled_from(names), hosts), max_size=4))
    return {CRT_LIST: CrtList(CRT_LIST, DEFAULT, {one.key: one for one in lines})}


@st.composite
def configs(draw: st.DrawFn, names: Iterable[str] | None = None) -> Config:
    """names: of the backends there may be."""
    some = st.sampled_from(sorted(PROFILES)).flatmap(backends)
    found = {one.name: one for one in draw(st.lists(some, max_size=4))}
    found = {name: one for name, one in found.items() if names is None or name in names}
    found[FIXED.name] = FIXED
    front = Frontend("http", (Bind("127.0.0.1", 1, ("ssl", "crt-list", CRT_LIST)),))
    keys = draw(certificates())
    return Config(
        profiles=PROFILES,
        frontends=(front,),
        backends=found,
        maps=draw(tables(found)),
        certificates=keys,
        crt_lists=draw(crt_lists(keys)),
    )


def running_configs() -> st.SearchStrategy[Config]:
    return configs().map(lambda config: resolved(config, Config()))


def changes_of(running: Config, can: Capabilities) -> st.SearchStrategy[Config]:
    """What *running* may become at runtime. Some of it stays the same object."""
    names = None if can.dynamic_backends else running.backends
    return st.builds(_partly, st.just(running), configs(names), st.sets(st.sampled_from(KEYS)))


def _partly(running: Config, desired: Config, same: set[str]) -> Config:
    rows = desired.maps[ROUTES].rows
    kept = {
        key: row
        for key, row in running.maps[ROUTES].rows.items()
        if key in same and key in rows and row.value in desired.backends
    }
    routes = evolve(desired.maps[ROUTES], rows={**rows, **kept})
    return evolve(desired, maps={**desired.maps, ROUTES: routes})


def serving(config: Config, **others: Any) -> FakeHAProxy:
    """A HAProxy in memory that runs *config*."""
    haproxy = FakeHAProxy(**others)
    haproxy.publish(render(config).files)
    haproxy.start()
    return haproxy


def settled(running: Config, desired: Config, can: Capabilities) -> Config:
    """What is to run in the end: *desired*, and what only a reload removes, emptied."""
    gone = {
        name: evolve(backend, servers={})
        for name, backend in running.backends.items()
        if name not in desired.backends and not can.dynamic_backends
    }
    found = resolved(desired, running)
    return evolve(found, backends={**found.backends, **gone})
