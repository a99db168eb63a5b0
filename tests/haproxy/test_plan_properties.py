"""What holds of every plan, and of the ids it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from haproxy.capabilities import Capabilities
from haproxy.effects import after
from haproxy.ids import Resolver, resolved, with_ids
from haproxy.keyring import MAX_PEM_BYTES
from haproxy.model import ID_SPACE, Backend, Config, Server
from haproxy.ops import AddRow, DelRow, Plan, SetRow
from haproxy.plan import Changed, plan
from haproxy.testing import FakeHAProxy
from tests.haproxy.configs import (
    CRT_LIST,
    REGEX,
    ROUTES,
    V2_6,
    V3_4,
    changes_of,
    configs,
    running_configs,
    settled,
)

cans = st.sampled_from([V2_6, V3_4])
S1 = Server("s1", "10.0.0.1", 80, id=1)
WEB = Backend("web", "p", {"s1": S1, "s2": Server("s2", "10.0.0.2", 80, id=2)})
FRESH = Server("s3", "10.0.0.3", 80)
FRESH_ID = 247_224  # a function of the address and the port


def exactly(running: Config, desired: Config) -> Changed:
    """Where two configurations differ, as one who compares values would say."""

    def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))

    rows = {name: differing(running.maps[name].rows, of.rows) for name, of in desired.maps.items()}
    old, new = running.maps[REGEX].rows, desired.maps[REGEX].rows
    if list(old) != list(new):
        rows[REGEX] = frozenset(old) | frozenset(new)
    served = differing(running.crt_lists[CRT_LIST].served, desired.crt_lists[CRT_LIST].served)
    return Changed(
        differing(running.backends, desired.backends),
        rows,
        differing(running.certificates, desired.certificates),
        {CRT_LIST: served},
    )


@given(running_configs(), cans, st.data())
def test_what_can_be_set_at_runtime_arrives_without_a_reload(
    running: Config, can: Capabilities, data: st.DataObject
) -> None:
    desired = data.draw(changes_of(running, can))
    found = plan(running, desired, can)
    assert found.reload == ()
    reached, expected = after(running, found.ops), settled(running, desired, can)
    assert reached == expected
    assert list(reached.maps[REGEX].rows) == list(expected.maps[REGEX].rows)
    assert plan(reached, desired, can) == Plan()


@given(running_configs(), configs(), cans)
def test_knowing_where_to_look_gives_the_same_plan(
    running: Config, desired: Config, can: Capabilities
) -> None:
    assert plan(running, desired, can, exactly(running, desired)) == plan(running, desired, can)


@given(running_configs(), cans)
def test_there_is_nothing_to_do_where_nothing_differs(running: Config, can: Capabilities) -> None:
    assert plan(running, running, can) == Plan()


@given(running_configs(), configs(), cans)
def test_no_step_refers_to_what_is_not_there(
    running: Config, desired: Config, can: Capabilities
) -> None:
    """A HAProxy that refuses such a step refuses none, and no row ever leads into nothing."""
    haproxy = FakeHAProxy(config=running, worker=1)
    for op in plan(running, desired, can).ops:
        before = haproxy.config
        (result,) = haproxy.run((op,), 1).results
        assert (result.status, result.reply) == ("done", "")
        for row in (
            *haproxy.config.maps[ROUTES].rows.values(),
            *haproxy.config.maps[REGEX].rows.values(),
        ):
            target = haproxy.config.backends[row.value]
            if row.value not in desired.backends:
                assert target.servers == running.backends[row.value].servers
        match op:
            case AddRow(name, key):
                assert key not in before.maps[name].rows
            case SetRow(name, key) | DelRow(name, key):
                assert key in before.maps[name].rows


def served_names(config: Config) -> set[str]:
    return {one.sni for one in config.crt_lists[CRT_LIST].served.values()}


@given(running_configs(), configs(), st.sets(st.sampled_from(["certs/a.pem", "certs/b.pem"])))
def test_a_name_is_never_without_a_certificate(
    running: Config, desired: Config, large: set[str]
) -> None:
    """Nor a line without its certificate, also while some are too large for a command."""
    padding = "# \n" * MAX_PEM_BYTES
    grown = {
        name: evolve(one, pem=one.pem + padding, fingerprint="0") if name in large else one
        for name, one in desired.certificates.items()
    }
    haproxy = FakeHAProxy(config=running, worker=1)
    kept = served_names(running) & served_names(desired)
    found = plan(running, evolve(desired, certificates=grown), V2_6)
    for op in found.ops:
        (result,) = haproxy.run((op,), 1).results
        assert result.status == "done"
        assert kept <= served_names(haproxy.config)
        lines = haproxy.config.crt_lists[CRT_LIST].served.values()
        assert {line.certificate for line in lines} <= haproxy.config.certificates.keys()
    if not found.reload:
        assert haproxy.config.crt_lists == desired.crt_lists


class TestIds:
    @given(running_configs(), configs())
    def test_that_run_are_kept_and_all_are_unique(self, running: Config, desired: Config) -> None:
        for name, backend in resolved(desired, running).backends.items():
            ids = [server.id for server in backend.servers.values()]
            assert len(set(ids)) == len(ids)
            assert all(1 <= number < ID_SPACE for number in ids)
            for server in running.backends.get(name, Backend(name, "p")).servers.values():
                assert backend.servers.get(server.name, server).id == server.id

    @given(configs())
    def test_are_the_same_after_a_fresh_start_from_the_same_objects(self, desired: Config) -> None:
        turned = {
            name: evolve(one, servers=dict(reversed(list(one.servers.items()))))
            for name, one in desired.backends.items()
        }
        fresh = resolved(desired, Config())
        assert resolved(evolve(desired, backends=turned), Config()) == fresh
        assert resolved(fresh, Config()) == fresh

    def test_are_not_given_again_while_their_server_is_leaving(self) -> None:
        twin = Server("twin", S1.address, S1.port)
        running = with_ids(evolve(WEB, servers={"s1": evolve(S1, id=0)}), None)
        assert with_ids(evolve(WEB, servers={"twin": twin}), None).servers["twin"].id == (
            running.servers["s1"].id
        )
        new = with_ids(evolve(WEB, servers={"twin": twin}), running).servers["twin"]
        assert new.id == running.servers["s1"].id + 1

    def test_that_are_asked_for_are_given_if_the_hash_ring_has_room(self) -> None:
        taken, free = evolve(FRESH, id=ID_SPACE + 1), evolve(FRESH, name="s4", id=4)
        servers = with_ids(evolve(WEB, servers={"s3": taken, "s4": free}), WEB).servers
        assert servers["s3"].id == FRESH_ID
        assert servers["s4"].id == 4

    def test_wrap_around_at_the_end_of_the_ring(self) -> None:
        last = [Server(name, "10.0.0.1", 16833) for name in ("s8", "s9")]
        servers = with_ids(evolve(WEB, servers={one.name: one for one in last}), None).servers
        assert [server.id for server in servers.values()] == [ID_SPACE - 1, 1]

    def test_cost_nothing_again_for_what_is_the_same_object(self) -> None:
        resolver = Resolver()
        desired = Config(backends={"web": evolve(WEB, servers={"s3": FRESH})})
        first = resolver.resolve(desired, Config())
        again = resolver.resolve(evolve(desired), Config())
        assert again == first == resolved(desired, Config())
        assert again.backends["web"] is first.backends["web"]
        assert resolver.resolve(desired, first).backends["web"] == first.backends["web"]
