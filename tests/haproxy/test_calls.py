"""What the recorded replies of every version say, and that anything else is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
from attrs import define, field

from haproxy.calls import Client, CrtListLine, Weight
from haproxy.calls.authorities import authorities
from haproxy.calls.certificates import certificate_shown, payload, served_names
from haproxy.calls.crtlists import crt_list_lines
from haproxy.calls.events import sinks
from haproxy.calls.patterns import acl_pattern, differences, found, pattern_files
from haproxy.calls.servers import server_connections
from haproxy.calls.sessions import streams
from haproxy.calls.stats import json_info, json_stats, typed_info, typed_stats
from haproxy.calls.sticktables import stick_tables, table_entries
from haproxy.capabilities import Capabilities, Feature
from haproxy.errors import BatchFailed, CommandRejected, InvalidValue, UnreadableReply, Unsupported
from haproxy.model import State
from haproxy.tables import MapRow
from haproxy.verdicts import message
from tests.haproxy.recorded import VERSIONS, text

pytestmark = pytest.mark.parametrize("version", VERSIONS)


def test_info_and_stats(version: str) -> None:
    process = typed_info(text(version, "show-info-typed"))
    assert process["Name"] == "HAProxy"
    assert str(process["Version"]).startswith(version)
    assert isinstance(process["Pid"], int)
    (server,) = typed_stats(text(version, "show-stat-typed"))
    assert (server.kind, server.proxy, server.name, server.id) == ("server", "web", "s1", 1)
    assert server.fields["status"] == "no check"
    (backend,) = json_stats(text(version, "show-stat-json"))
    assert (backend.kind, backend.proxy, backend.name) == ("backend", "web", "BACKEND")
    assert backend.fields["type"] == 1


def test_connections(version: str) -> None:
    first, *_ = server_connections(text(version, "show-servers-conn"))
    assert (first.name, first.address, first.port, first.idle_limit) == ("s1", "127.0.0.1", 9, -1)
    assert set(first.idle_per_thread) == {0}


def test_streams_and_sinks(version: str) -> None:
    found_streams = streams(text(version, "show-sess"))
    assert {one.frontend for one in found_streams} == {"GLOBAL"}
    assert {(one.backend, one.server) for one in found_streams} == {("", "")}
    assert {sink.name for sink in sinks(text(version, "show-events"))} >= {"events", "buf0"}


def test_tables(version: str) -> None:
    (table,) = stick_tables(text(version, "show-table"))
    assert (table.name, table.type, table.size, table.used) == ("counts", "string", 1024, 0)
    (entry,) = table_entries(text(version, "show-table-entries"))
    assert (entry.key, entry.data["gpc0"]) == ("a b", 5)
    assert 3_599_000 < entry.expires_ms <= 3_600_000


def test_patterns(version: str) -> None:
    (hosts,) = (f for f in pattern_files("m", text(version, "show-map")) if f.name == "hosts.map")
    assert (hosts.entries, hosts.version) == (2, 0)
    assert pattern_files("a", text(version, "show-acl"))[0].name == "deny.acl"
    assert found(text(version, "get-map")) == "two words"
    assert found(text(version, "get-map-none")) is None
    lines = text(version, "show-acl-patterns").split("\n")
    assert [acl_pattern(line) for line in lines] == ["/x", "/y"]


def test_certificates(version: str) -> None:
    shown = certificate_shown(text(version, "show-cert-one"))
    assert (shown.name, shown.status) == ("site.pem", "Used")
    assert shown.names == ("a.test", "www.a.test")
    assert crt_list_lines(text(version, "show-crt-list-lines")) == (
        CrtListLine("site.pem", 1),
        CrtListLine("site.pem", 2, "alpn h2,http/1.1", ("*.w.test", "!x.w.test")),
    )
    assert ("ca.pem", 1) in {
        (one.name, one.certificates) for one in authorities(text(version, "show-ca-file"))
    }
    if Capabilities.of(version).has(Feature.SERVED_NAMES):
        assert {one.certificate for one in served_names(text(version, "show-sni"))} == {"site.pem"}


READERS: dict[str, Callable[[str], object]] = {
    "show-info-typed": typed_info,
    "show-stat-typed": typed_stats,
    "show-stat-json": json_stats,
    "show-servers-conn": server_connections,
    "show-sess": streams,
    "show-table": stick_tables,
    "show-table-entries": table_entries,
    "show-map": lambda reply: pattern_files("show map", reply),
    "show-acl-patterns": acl_pattern,
    "show-cert-one": certificate_shown,
    "show-crt-list-lines": crt_list_lines,
}


@pytest.mark.parametrize("name", READERS)
def test_another_answer_is_no_record(version: str, name: str) -> None:
    for other in ("unknown-command", "get-weight", "show-errors"):
        with pytest.raises(UnreadableReply):
            READERS[name](text(version, other))


@pytest.mark.parametrize("reader", [json_info, json_stats])
@pytest.mark.parametrize("reply", ["{}", "[1]", "[[]]", '[{"field": 1}]', "[[{}]]"])
def test_other_json_is_no_record(version: str, reader: Callable[[str], object], reply: str) -> None:
    with pytest.raises(UnreadableReply):
        reader(reply)


@define
class Scripted(Client):
    """Gives the replies that are recorded under these names."""

    version: str
    names: list[str]
    sent: list[str] = field(factory=list)

    @property
    def can(self) -> Capabilities:
        return Capabilities.of(self.version)

    @property
    def relayed(self) -> bool:
        return False

    def execute(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        batch = tuple(commands)
        self.sent += batch
        return tuple(text(self.version, self.names.pop(0)) for _ in batch)

    def run(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        return self.execute(commands, deadline_s)

    def persist(self, command: str, deadline_s: float) -> str:
        return self.execute((command,))[0]

    def stream(self, command: str, deadline_s: float) -> Iterator[str]:
        yield from text(self.version, self.names.pop(0)).split("\n")


def test_severities_change_nothing(version: str) -> None:
    names = ["severity-add-server", "severity-get-weight", "severity-del-server"]
    client = Scripted(version, [*names, "severity-add-server-again", "severity-unknown-map"])
    client.servers.add("web", "n", "127.0.0.1", 9, id=9)
    assert client.servers.weight("web", "s1") == Weight(1, 1)
    client.servers.delete("web", "n")
    with pytest.raises(CommandRejected, match=r"^(Already exists|'id' : custom id 9 already)"):
        client.servers.add("web", "n", "127.0.0.1", 9)
    with pytest.raises(CommandRejected, match=r"^Unknown map identifier"):
        client.maps.rows("none.map")
    assert message("[6]: a") == message("[notice]: a") == message("a") == "a"
    assert message("[NOTICE]   (7) : a") == "[NOTICE]   (7) : a"


def test_a_batch_says_which_command_was_refused(version: str) -> None:
    client = Scripted(version, ["set-weight", "set-weight-refused", "del-server-refused"])
    commands = ["set server web/n weight 3", "set server web/n weight 300", "del server web/s1"]
    with pytest.raises(BatchFailed) as caught:
        client.batch(commands)
    assert caught.value.applied == (commands[0],)
    assert [name for name, _ in caught.value.refused] == commands[1:]
    assert caught.value.unknown == ()
    assert not caught.value.transient


def test_a_replaced_map_that_fails_is_given_up(version: str) -> None:
    client = Scripted(version, ["prepare-map", "unknown-map", "set-weight"])
    with pytest.raises(CommandRejected):
        client.maps.replace("hosts.map", {"/a": "1"})
    assert client.sent[-1].startswith("clear map @")


def test_what_cannot_be_carried_is_not_sent(version: str) -> None:
    client = Scripted(version, [])
    refused: list[Callable[[], object]] = [
        lambda: client.maps.add("a map", "k", "v"),
        lambda: client.maps.add("m", "k", "v\nclear map m"),
        lambda: client.maps.replace("m", {"k": "v", "#0x1": "v"}),
        lambda: client.acls.add("a", "b c"),
        lambda: client.servers.set_state("web", "s;1", State.READY),
        lambda: client.servers.set_weight("web", "s1", 257),
        lambda: client.servers.set_health("web", "s1", "sideways"),  # type: ignore[arg-type] # so
        lambda: client.servers.add("web", "n", "a.test", 9),
        lambda: client.servers.add("web", "n", "127.0.0.1", 9, keywords={"inter": "1s\n"}),
        lambda: client.crt_lists.add("l", "c.pem", filters=("a b",)),
        lambda: client.crt_lists.add("l", "c.pem", options="alpn]"),
        lambda: client.tables.set("t", "k", {}),
        lambda: client.tables.set("t", "k", {"gpc0 1 data.gpc1": 1}),
        lambda: client.variables.set("sess.x", "1"),
        lambda: client.settings.set_rate("bogus", 1),  # type: ignore[arg-type] # so
        lambda: client.sessions.shutdown("0x1;quit"),
        lambda: client.ca_files.set("ca.pem", "x" * 100_000),
        lambda: next(client.events.follow("a b", 1)),
    ]
    for call in refused:
        with pytest.raises(InvalidValue):
            call()
    assert client.sent == []


def test_a_keyword_of_a_later_version_names_it(version: str) -> None:
    client = Scripted(version, ["add-server"])
    if version == "3.4":
        client.servers.add("web", "n", "127.0.0.1", 9, keywords={"healthcheck": "x"})
        return
    with pytest.raises(Unsupported) as caught:
        client.servers.add("web", "n", "127.0.0.1", 9, keywords={"healthcheck": "x"})
    assert str(caught.value) == (
        f"the keyword healthcheck of add server: HAProxy {version} lacks it; 3.4 has it"
    )


def test_differences_never_lose_a_key_that_stays(version: str) -> None:
    now = (MapRow("a", "1"), MapRow("b", "2"), MapRow("c", "3"))
    assert list(differences("m", now, {"d": "4", "b": "x", "a": "1"})) == [
        "set map m b x",
        "add map m d 4",
        "del map m c",
    ]
    assert list(differences("m", now, {"a": "1", "b": "2", "c": "3"})) == []


def test_a_pem_has_no_empty_lines(version: str) -> None:
    assert payload("-----BEGIN X-----\r\n\r\nabc  \n\n-----END X-----") == (
        "-----BEGIN X-----\nabc\n-----END X-----\n"
    )
