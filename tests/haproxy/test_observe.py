from __future__ import annotations

from attrs import evolve

from haproxy.model import Backend, Config, Map, Row, Server, State
from haproxy.observe import Seen, observed
from haproxy.tables import MapRow, ServerState

HOSTS = "maps/hosts.map"
WEB = Backend("web", "p", {"s1": Server("s1", "10.0.0.1", 80, id=1)}, origins=("me",))
KNOWN = Config(
    backends={"web": WEB, "empty": Backend("empty", "p")},
    maps={HOSTS: Map(HOSTS, {"a": Row("1", origin="me")}), "maps/x": Map("maps/x")},
)
S1 = ServerState("web", "s1", 1, "10.0.0.1", 80, 1, admin=0, operational=2)
ROWS = {HOSTS: [MapRow("a", "1")]}


def test_what_runs_as_known_stays_the_same_objects() -> None:
    found = observed(KNOWN, Seen([S1], ROWS))
    assert found == KNOWN
    assert found.backends["web"] is WEB
    assert found.maps[HOSTS] is KNOWN.maps[HOSTS]


def test_a_server_is_as_it_was_read() -> None:
    read = ServerState("web", "s9", 7, "fd00::1", 81, 9, admin=0x01, operational=0)
    found = observed(KNOWN, Seen([read], {}))
    servers = {"s9": Server("s9", "fd00::1", 81, 9, State.MAINT, 7)}
    assert found.backends["web"] == evolve(WEB, servers=servers)
    assert found.backends["web"].origins == ("me",)


def test_an_id_that_is_none_of_ours_is_read_as_well() -> None:
    found = observed(KNOWN, Seen([evolve(S1, id=2**31 - 1)], {}))
    assert found.backends["web"].servers["s1"].id == 2**31 - 1


def test_a_backend_without_servers_has_none() -> None:
    assert observed(KNOWN, Seen([], {})).backends["web"].servers == {}


def test_what_has_no_address_is_none_of_our_servers() -> None:
    unix = evolve(S1, name="unix", address="", port=0)
    assert observed(KNOWN, Seen([unix, S1], {})) == KNOWN


def test_a_backend_that_is_none_of_ours_is_left_out() -> None:
    assert observed(KNOWN, Seen([S1, evolve(S1, backend="stats")], {})) == KNOWN


def test_rows_are_as_they_were_read_and_in_that_order() -> None:
    found = observed(KNOWN, Seen([S1], {HOSTS: [MapRow("b", "2 3"), MapRow("a", "0")]}))
    assert list(found.maps[HOSTS].rows.items()) == [("b", Row("2 3")), ("a", Row("0"))]
    assert found.maps["maps/x"] is KNOWN.maps["maps/x"]
