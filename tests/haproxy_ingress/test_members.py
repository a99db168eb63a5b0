"""EndpointSlices as the servers of a backend."""

from __future__ import annotations

import itertools

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from haproxy.model import Server, State
from haproxy_ingress.members import members
from haproxy_ingress.resources import Endpoint, EndpointSlice, Resource, SlicePort
from haproxy_ingress.store import View
from haproxy_ingress.translate import EXTERNAL_PROFILE, Need
from tests.haproxy_ingress.objects import pods, service, slice_, store

WEB = Need("ns", "web", 80)
READY, DRAIN, MAINT = State.READY, State.DRAIN, State.MAINT
OTHER_READY = Endpoint(("10.0.0.9",), ready=True)


def servers(*objects: Resource, need: Need = WEB) -> list[Server]:
    return list(members(need, View(store(*objects))).servers.values())


def addresses(*objects: Resource, need: Need = WEB) -> list[str]:
    return [f"{one.address} {one.port}" for one in servers(*objects, need=need)]


def states(*endpoints: Endpoint) -> dict[str, State]:
    found = servers(slice_("web", *endpoints))
    return {server.address: server.state for server in found}


@pytest.mark.parametrize(
    ("ready", "serving", "terminating", "state"),
    [
        pytest.param(True, None, None, READY, id="ready"),
        pytest.param(None, None, None, READY, id="nothing-said"),
        pytest.param(False, None, None, MAINT, id="not-ready"),
        pytest.param(False, True, False, MAINT, id="serving-but-not-ready"),
        pytest.param(False, False, True, MAINT, id="terminating-and-done"),
        pytest.param(False, None, True, MAINT, id="terminating-and-not-said-to-serve"),
        pytest.param(False, True, True, DRAIN, id="terminating-and-serving"),
        pytest.param(None, True, True, DRAIN, id="terminating-and-serving-without-ready"),
        pytest.param(None, None, True, DRAIN, id="terminating-and-nothing-else-said"),
        pytest.param(None, False, True, MAINT, id="terminating-and-not-serving"),
        pytest.param(True, True, True, READY, id="ready-to-the-end"),
    ],
)
def test_conditions(
    ready: bool | None, serving: bool | None, terminating: bool | None, state: State
) -> None:
    one = Endpoint(("10.0.0.1",), ready, serving, terminating)
    assert states(one, OTHER_READY) == {"10.0.0.1": state, "10.0.0.9": READY}


class TestTheLastResort:
    """What drains serves when nothing else is left."""

    def test_all_drain(self) -> None:
        one = Endpoint(("10.0.0.1",), False, True, True)
        assert states(one, evolve(one, addresses=("10.0.0.2",))) == {
            "10.0.0.1": READY,
            "10.0.0.2": READY,
        }

    def test_what_does_not_serve_stays_out(self) -> None:
        drains = Endpoint(("10.0.0.1",), False, True, True)
        out = Endpoint(("10.0.0.2",), ready=False)
        assert states(drains, out) == {"10.0.0.1": READY, "10.0.0.2": MAINT}

    def test_none_at_all(self) -> None:
        assert states(Endpoint(("10.0.0.1",), ready=False)) == {"10.0.0.1": MAINT}
        assert not servers()


class TestPorts:
    def test_the_port_of_the_slice_counts(self) -> None:
        assert addresses(pods("web", "10.0.0.1", port=9000)) == ["10.0.0.1 9000"]

    def test_by_the_name_of_the_port_of_the_service(self) -> None:
        ports = (SlicePort("http", 8080), SlicePort("https", 8443))
        one = slice_("web", Endpoint(("10.0.0.1",)), ports=ports)
        assert addresses(one, need=Need("ns", "web", 443, "https")) == ["10.0.0.1 8443"]
        assert not addresses(one)

    def test_pods_with_different_target_ports(self) -> None:
        found = addresses(
            pods("web", "10.0.0.1", port=8080, name="a"),
            pods("web", "10.0.0.2", port=9090, name="b"),
        )
        assert found == ["10.0.0.1 8080", "10.0.0.2 9090"]

    @pytest.mark.parametrize("port", [SlicePort("", None), SlicePort("", 80, "UDP")])
    def test_what_no_proxy_can_use(self, port: SlicePort) -> None:
        assert not addresses(slice_("web", Endpoint(("10.0.0.1",)), ports=(port,)))


class TestSlices:
    def test_several(self) -> None:
        found = addresses(pods("web", "10.0.0.2", name="a"), pods("web", "10.0.0.1", name="b"))
        assert found == ["10.0.0.1 8080", "10.0.0.2 8080"]

    def test_those_of_others(self) -> None:
        assert not addresses(pods("api", "10.0.0.1"))

    def test_an_address_in_two_of_them_counts_once(self) -> None:
        """While a pod moves from one to the other; the better news is the newer one."""
        old = slice_("web", Endpoint(("10.0.0.1",), ready=False), name="a")
        assert [s.state for s in servers(old, pods("web", "10.0.0.1", name="b"))] == [READY]

    def test_names_of_hosts_are_not_addresses(self) -> None:
        assert not addresses(slice_("web", Endpoint(("far.test",)), family="FQDN"))


class TestFamilies:
    """A pod with two addresses counts once, in the first family of the Service."""

    V4 = slice_("web", Endpoint(("10.0.0.1",), pod="web-0"), name="a")
    V6 = slice_("web", Endpoint(("fd00::1",), pod="web-0"), name="b", family="IPv6")

    @pytest.mark.parametrize(
        ("families", "address"),
        [((), "10.0.0.1"), (("IPv4", "IPv6"), "10.0.0.1"), (("IPv6", "IPv4"), "fd00::1")],
    )
    def test_dual_stack(self, families: tuple[str, ...], address: str) -> None:
        of = evolve(service(), ip_families=families)
        assert [one.address for one in servers(of, self.V4, self.V6)] == [address]

    def test_a_family_that_is_ready_comes_first(self) -> None:
        not_yet = evolve(self.V4, endpoints=(Endpoint(("10.0.0.1",), False, pod="web-0"),))
        assert [one.address for one in servers(not_yet, self.V6)] == ["fd00::1"]

    def test_one_family_only(self) -> None:
        assert [one.address for one in servers(self.V6)] == ["fd00::1"]

    def test_addresses_have_one_spelling(self) -> None:
        one = slice_("web", Endpoint(("FD00:0::01",)), family="IPv6")
        assert [(s.name, s.address) for s in servers(one)] == [("fd00::1-8080", "fd00::1")]


class TestNames:
    def test_after_the_pod(self) -> None:
        one = slice_("web", Endpoint(("10.0.0.1",), pod="web-7d9-x"))
        assert [server.name for server in servers(one)] == ["web-7d9-x"]

    @pytest.mark.parametrize("pod", ["", "not a name", "a/b", "Ω", "-x", "x" * 254, "a_b"])
    def test_else_after_address_and_port(self, pod: str) -> None:
        one = slice_("web", Endpoint(("10.0.0.1",), pod=pod))
        assert [server.name for server in servers(one)] == ["10.0.0.1-8080"]

    def test_the_pods_name_wins_for_an_address_that_has_both(self) -> None:
        named = slice_("web", Endpoint(("10.0.0.1",), pod="web-0"), name="z")
        assert [one.name for one in servers(pods("web", "10.0.0.1"), named)] == ["web-0"]


@pytest.mark.parametrize(
    "given", [(), ("",), ("no address",), ("10.0.0.256",), ("10.0.0.1:80",), ("fe80::1%eth0",)]
)
def test_what_is_no_address_is_left_out(given: tuple[str, ...]) -> None:
    assert states(Endpoint(given), OTHER_READY) == {"10.0.0.9": READY}


def test_of_several_addresses_the_first_one_serves() -> None:
    assert list(states(Endpoint(("10.0.0.1", "10.0.0.2")))) == ["10.0.0.1"]


def test_any_address_is_taken_loopback_too() -> None:
    assert list(states(Endpoint(("127.0.0.1",)))) == ["127.0.0.1"]


def test_an_external_name_has_one_server_that_stands_for_it() -> None:
    need = Need("ns", "web", 8443, external="far.test", profile=EXTERNAL_PROFILE)
    view = View(store())
    assert list(members(need, view).servers.values()) == [Server("external", "0.0.0.0", 8443)]
    assert not view.reads


endpoints = st.builds(
    Endpoint,
    st.sampled_from([("10.0.0.1",), ("10.0.0.2",), ("fd00::1",)]),
    *[st.sampled_from([None, True, False])] * 3,
    st.sampled_from(["", "web-0", "web-1"]),
)


@given(st.lists(st.lists(endpoints, max_size=3), min_size=1, max_size=3))
def test_the_order_of_slices_and_endpoints_does_not_matter(given: list[list[Endpoint]]) -> None:
    def made(order: int) -> list[Server]:
        slices: list[EndpointSlice] = []
        for number, members_ in enumerate(given):
            members_ = members_[::order]
            for family in ("IPv4", "IPv6"):
                right = [e for e in members_ if (":" in e.addresses[0]) == (family == "IPv6")]
                name = f"{family.lower()}-{number * order}"
                slices.append(slice_("web", *right, name=name, family=family))
        return servers(*slices)

    assert made(1) == made(-1)
    for one, other in itertools.combinations(made(1), 2):
        assert one.name != other.name
        assert (one.address, one.port) != (other.address, other.port)
