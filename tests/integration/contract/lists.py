"""Maps, ACLs and stick tables."""

from __future__ import annotations

import pytest

from haproxy.calls import Client, TableEntry
from haproxy.errors import CommandRejected, InvalidValue
from haproxy.tables import MapRow
from tests.integration.contract import call
from tests.integration.kit.real import ACL, MAP

UNKNOWN = "Unknown (map|ACL) identifier"
ROWS = (MapRow("/a", "web"), MapRow("/b", "two words"))


@call("maps.files")
def maps_files(client: Client) -> None:
    (found,) = (file for file in client.maps.files() if file.name == MAP)
    assert (found.entries, found.version, found.prepared) == (2, 0, 0)
    assert f"#{found.id}".startswith("#")
    client.maps.replace(MAP, {"/c": "1"})
    (found,) = (file for file in client.maps.files() if file.name == MAP)
    assert (found.entries, found.version, found.prepared) == (1, 1, 1)


@call("maps.rows", apply=True)
def maps_rows(client: Client) -> None:
    assert client.maps.rows(MAP) == ROWS
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.maps.rows("none.map")


@call("maps.get")
def maps_get(client: Client) -> None:
    assert client.maps.get(MAP, "/b") == "two words"
    assert client.maps.get(MAP, "/none") is None
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.maps.get("none.map", "/a")


@call("maps.add", apply=True)
def maps_add(client: Client) -> None:
    client.maps.add(MAP, "/n", 'x y;z\\ << "')
    assert client.maps.rows(MAP) == (*ROWS, MapRow("/n", 'x y;z\\ << "'))
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.maps.add("none.map", "/a", "1")
    with pytest.raises(InvalidValue):
        client.maps.add(MAP, "/a b", "1")


@call("maps.add_rows", apply=True)
def maps_add_rows(client: Client) -> None:
    rows = {f"/{number}": "v" * 100 for number in range(1_000)}
    client.maps.add_rows(MAP, rows)
    assert client.maps.rows(MAP)[2:] == tuple(MapRow(*row) for row in rows.items())
    client.maps.add_rows(MAP, {})
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.maps.add_rows("none.map", {"/a": "1"})


@call("maps.set", apply=True)
def maps_set(client: Client) -> None:
    client.maps.set(MAP, "/a", "other;<<")
    assert client.maps.rows(MAP) == (MapRow("/a", "other;<<"), ROWS[1])
    with pytest.raises(CommandRejected, match="entry not found"):
        client.maps.set(MAP, "/none", "1")


@call("maps.delete", apply=True)
def maps_delete(client: Client) -> None:
    for _ in range(2):
        client.maps.delete(MAP, "/a")
        assert client.maps.rows(MAP) == ROWS[1:]
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.maps.delete("none.map", "/a")


@call("maps.clear", apply=True)
def maps_clear(client: Client) -> None:
    version = client.maps.prepare(MAP)
    client.maps.add_rows(MAP, {"/c": "1"}, version)
    client.maps.clear(MAP, version)
    assert client.maps.rows(MAP) == ROWS
    client.maps.clear(MAP)
    assert client.maps.rows(MAP) == ()
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.maps.clear("none.map")


@call("maps.prepare", apply=True)
def maps_prepare(client: Client) -> None:
    first = client.maps.prepare(MAP)
    assert client.maps.prepare(MAP) == first + 1
    assert client.maps.rows(MAP, first) == ()
    assert client.maps.rows(MAP) == ROWS
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.maps.prepare("none.map")


@call("maps.commit", apply=True)
def maps_commit(client: Client) -> None:
    version = client.maps.prepare(MAP)
    client.maps.add_rows(MAP, {"/c": "1"}, version)
    assert client.maps.rows(MAP) == ROWS
    client.maps.commit(MAP, version)
    assert client.maps.rows(MAP) == (MapRow("/c", "1"),)
    with pytest.raises(CommandRejected, match="Version number out of range"):
        client.maps.commit(MAP, version + 7)


@call("maps.replace", apply=True)
def maps_replace(client: Client) -> None:
    rows = {f"/{number * 7919 % 5_000}": f"b {number}" for number in range(5_000)}
    client.maps.replace(MAP, rows)
    assert client.maps.rows(MAP) == tuple(MapRow(*row) for row in rows.items())
    client.maps.replace(MAP, {})
    assert client.maps.rows(MAP) == ()
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.maps.replace("none.map", rows)
    with pytest.raises(InvalidValue):
        client.maps.replace(MAP, {"/a": "1", "b c": "2"})


@call("maps.update", apply=True)
def maps_update(client: Client) -> None:
    wanted = {"/b": "two words", "/a": "new", "/c": "3", "/d": "4"}
    assert client.maps.update(MAP, wanted) == 3
    expected = [MapRow("/a", "new"), ROWS[1], MapRow("/c", "3"), MapRow("/d", "4")]
    assert list(client.maps.rows(MAP)) == expected
    assert client.maps.update(MAP, wanted) == 0
    assert client.maps.update(MAP, {"/d": "4"}) == 3
    assert client.maps.rows(MAP) == (MapRow("/d", "4"),)


@call("acls.files")
def acls_files(client: Client) -> None:
    (found,) = (file for file in client.acls.files() if file.name == ACL)
    assert found.entries == 2


@call("acls.patterns")
def acls_patterns(client: Client) -> None:
    assert client.acls.patterns(ACL) == ("/x", "/y")
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.acls.patterns("none.acl")


@call("acls.matches")
def acls_matches(client: Client) -> None:
    assert client.acls.matches(ACL, "/x")
    assert not client.acls.matches(ACL, "/z")
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.acls.matches("none.acl", "/x")


@call("acls.add")
def acls_add(client: Client) -> None:
    client.acls.add(ACL, "/z;<<")
    assert client.acls.patterns(ACL) == ("/x", "/y", "/z;<<")
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.acls.add("none.acl", "/z")


@call("acls.add_patterns")
def acls_add_patterns(client: Client) -> None:
    many = tuple(f"/{number}" for number in range(500))
    client.acls.add_patterns(ACL, many)
    assert client.acls.patterns(ACL)[2:] == many


@call("acls.delete")
def acls_delete(client: Client) -> None:
    for _ in range(2):
        client.acls.delete(ACL, "/x")
        assert client.acls.patterns(ACL) == ("/y",)
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.acls.delete("none.acl", "/x")


@call("acls.clear")
def acls_clear(client: Client) -> None:
    client.acls.clear(ACL)
    assert client.acls.patterns(ACL) == ()


@call("acls.prepare")
def acls_prepare(client: Client) -> None:
    version = client.acls.prepare(ACL)
    client.acls.add(ACL, "/z", version)
    assert client.acls.patterns(ACL, version) == ("/z",)
    client.acls.clear(ACL, version)
    assert client.acls.patterns(ACL) == ("/x", "/y")


@call("acls.commit")
def acls_commit(client: Client) -> None:
    version = client.acls.prepare(ACL)
    client.acls.add(ACL, "/z", version)
    client.acls.commit(ACL, version)
    assert client.acls.patterns(ACL) == ("/z",)
    with pytest.raises(CommandRejected, match="Version number out of range"):
        client.acls.commit(ACL, version + 7)


@call("acls.replace")
def acls_replace(client: Client) -> None:
    client.acls.replace(ACL, ("/1", "/2"))
    assert client.acls.patterns(ACL) == ("/1", "/2")
    with pytest.raises(CommandRejected, match=UNKNOWN):
        client.acls.replace("none.acl", ("/1",))


@call("tables.list")
def tables_list(client: Client) -> None:
    (table,) = client.tables.list()
    assert (table.name, table.type, table.size, table.used) == ("counts", "string", 1024, 0)


@call("tables.set")
def tables_set(client: Client) -> None:
    client.tables.set("counts", "a b=c\\;d", {"gpc0": 5})
    (entry,) = client.tables.entries("counts")
    assert (entry.key, entry.uses, entry.data["gpc0"]) == ("a b=c\\;d", 0, 5)
    assert 3_500_000 < entry.expires_ms <= 3_600_000
    with pytest.raises(CommandRejected, match="Unknown data type"):
        client.tables.set("counts", "k", {"none": 5})
    with pytest.raises(CommandRejected, match="No such table"):
        client.tables.set("none", "k", {"gpc0": 5})


@call("tables.entries")
def tables_entries(client: Client) -> None:
    assert client.tables.entries("counts") == ()
    client.tables.set("counts", "one", {"gpc0": 1})
    client.tables.set("counts", "two", {"gpc0": 2})
    assert _keys(client.tables.entries("counts")) == ["one", "two"]
    (entry,) = client.tables.entries("counts", "two")
    assert entry.data == {"gpc0": 2, "http_req_rate(10000)": 0}
    with pytest.raises(CommandRejected, match="No such table"):
        client.tables.entries("none")


@call("tables.entries_where")
def tables_entries_where(client: Client) -> None:
    client.tables.set("counts", "one", {"gpc0": 1})
    client.tables.set("counts", "two", {"gpc0": 2})
    assert _keys(client.tables.entries_where("counts", "gpc0", "gt", 1)) == ["two"]


@call("tables.clear")
def tables_clear(client: Client) -> None:
    for key in ("one", "two", "three"):
        client.tables.set("counts", key, {"gpc0": 1})
    client.tables.clear("counts", "two")
    assert _keys(client.tables.entries("counts")) == ["one", "three"]
    client.tables.clear("counts")
    assert client.tables.entries("counts") == ()
    with pytest.raises(CommandRejected, match="No such table"):
        client.tables.clear("none")


@call("tables.clear_where")
def tables_clear_where(client: Client) -> None:
    client.tables.set("counts", "one", {"gpc0": 1})
    client.tables.set("counts", "two", {"gpc0": 2})
    client.tables.clear_where("counts", "gpc0", "le", 1)
    assert _keys(client.tables.entries("counts")) == ["two"]


def _keys(entries: tuple[TableEntry, ...]) -> list[str]:
    return sorted(entry.key for entry in entries)
