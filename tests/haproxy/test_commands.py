from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from haproxy.commands import PAYLOAD_BYTES, conversation, lines
from haproxy.errors import InvalidValue
from haproxy.model import Row, Server, State
from haproxy.ops import (
    AddBackend,
    AddRow,
    AddServer,
    DelBackend,
    DelRow,
    DelServer,
    Op,
    ReplaceMap,
    Result,
    SetAddress,
    SetRow,
    SetState,
    SetWeight,
)
from haproxy.protocol import Exchange
from haproxy.verdicts import Status, judge

WEB = Server("web-1", "10.0.0.1", 80, weight=5, id=7)
ADD_WEB = "add server b/web-1 10.0.0.1:80 id 7 weight 5"
HOSTS = "maps/hosts.map"


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        pytest.param(AddServer("b", WEB), (ADD_WEB, "enable server b/web-1"), id="ready"),
        pytest.param(
            AddServer("b", evolve(WEB, state=State.DRAIN)),
            (ADD_WEB, "set server b/web-1 state drain"),
            id="never ready in between",
        ),
        pytest.param(AddServer("b", evolve(WEB, state=State.MAINT)), (ADD_WEB,), id="maint"),
        pytest.param(
            AddServer("b", Server("s", "FD00::1", 80, id=1, state=State.MAINT)),
            ("add server b/s [fd00::1]:80 id 1 weight 1",),
            id="IPv6 in brackets",
        ),
        pytest.param(
            AddServer("b", WEB, ("proto", "h2")),
            (f"{ADD_WEB} proto h2", "enable server b/web-1"),
            id="options",
        ),
        pytest.param(
            SetAddress("b", "s", "fd00::1", 81),
            ("set server b/s addr fd00::1 port 81",),
            id="IPv6 without brackets",
        ),
        pytest.param(SetWeight("b", "s", 0), ("set server b/s weight 0",), id="weight"),
        pytest.param(SetState("b", "s", State.MAINT), ("set server b/s state maint",), id="state"),
        pytest.param(DelServer("b", "s"), ("del server b/s",), id="del server"),
        pytest.param(AddRow(HOSTS, "a.test", "b"), (f"add map {HOSTS} a.test b",), id="add row"),
        pytest.param(SetRow(HOSTS, "a.test", "b"), (f"set map {HOSTS} a.test b",), id="set row"),
        pytest.param(DelRow(HOSTS, "a.test"), (f"del map {HOSTS} a.test",), id="del row"),
        pytest.param(
            ReplaceMap(HOSTS, {"a": Row("1"), "b": Row("2 3;<<\\")}),
            (
                f"prepare map {HOSTS}",
                f"add map @4 {HOSTS} <<\na 1\nb 2 3;<<\\\n",
                f"commit map @4 {HOSTS}",
            ),
            id="a payload is not escaped",
        ),
        pytest.param(
            ReplaceMap(HOSTS, {}), (f"prepare map {HOSTS}", f"commit map @4 {HOSTS}"), id="no rows"
        ),
        pytest.param(
            AddBackend("b", "p-1"),
            ("add backend b from p-1", "publish backend b"),
            id="add backend",
        ),
        pytest.param(DelBackend("b"), ("unpublish backend b", "del backend b"), id="del backend"),
    ],
)
def test_lines(op: Op, expected: tuple[str, ...]) -> None:
    assert lines(op, version=4) == expected


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        pytest.param("a b", r"a\ b", id="space"),
        pytest.param("a;del server b/s", r"a\;del\ server\ b/s", id="semicolon"),
        pytest.param("a\\;b", r"a\\\;b", id="backslash"),
        pytest.param("a\\", "a\\\\", id="backslash at the end"),
        pytest.param("x <<", r"x\ \<\<", id="would open a payload"),
        pytest.param("<<END", r"\<\<END", id="would open a payload with another end"),
        pytest.param("'\"#é", "'\"#é", id="means nothing to the command line"),
    ],
)
def test_values_stay_values(value: str, escaped: str) -> None:
    assert lines(SetRow(HOSTS, "k", value)) == (f"set map {HOSTS} k {escaped}",)
    assert lines(AddRow(HOSTS, "k", value)) == (f"add map {HOSTS} k {escaped}",)


def unchecked(**changes: object) -> Server:
    """A server that skipped the model's own checks."""
    server = Server("s", "10.0.0.1", 80, id=1)
    for name, value in changes.items():
        object.__setattr__(server, name, value)
    return server


@pytest.mark.parametrize(
    "op",
    [
        pytest.param(DelServer("b", "s;shutdown frontend f"), id="a command in a name"),
        pytest.param(DelServer("b", "s\ndel server b/t"), id="a line in a name"),
        pytest.param(DelServer("b/c", "s"), id="a slash in a name"),
        pytest.param(DelServer("", "s"), id="no name"),
        pytest.param(AddServer("b", unchecked(name="s check")), id="a keyword in a name"),
        pytest.param(AddServer("b", unchecked(address="10.0.0.1:1 check")), id="a keyword"),
        pytest.param(AddServer("b", unchecked(address="a.test")), id="a host name"),
        pytest.param(AddServer("b", unchecked(address="fe80::1%eth0")), id="a scope"),
        pytest.param(AddServer("b", unchecked(port=0)), id="port 0"),
        pytest.param(AddServer("b", unchecked(weight=257)), id="weight"),
        pytest.param(AddServer("b", Server("s", "10.0.0.1", 80)), id="an id that is not assigned"),
        pytest.param(AddServer("b", WEB, ("proto", "h2;help")), id="a command in an option"),
        pytest.param(AddServer("b", WEB, ("proto h2",)), id="two words in an option"),
        pytest.param(AddServer("b", WEB, ("proto", "")), id="an empty option"),
        pytest.param(SetAddress("b", "s", "10.0.0.1 port 1", 2), id="two ports"),
        pytest.param(SetAddress("b", "s", "10.0.0.1", 99999), id="a port HAProxy would wrap"),
        pytest.param(SetWeight("b", "s", -1), id="negative"),
        pytest.param(AddRow("m\n", "k", "v"), id="a line in the name of a map"),
        pytest.param(AddRow("#0", "k", "v"), id="a map by its number"),
        pytest.param(AddRow("@1", "k", "v"), id="a version for a map"),
        pytest.param(AddRow("m", "", "v"), id="no key"),
        pytest.param(AddRow("m", "a b", "v"), id="white space in a key"),
        pytest.param(AddRow("m", "a\tb", "v"), id="a tab in a key"),
        pytest.param(DelRow("m", "#0x7f"), id="the address of a row"),
        pytest.param(AddRow("m", "k", ""), id="no value"),
        pytest.param(AddRow("m", "k", "v\n\ndel map m k"), id="a line in a value"),
        pytest.param(AddRow("m", "k", "v\r"), id="a carriage return"),
        pytest.param(AddRow("m", "k", "v\x7f"), id="delete"),
        pytest.param(AddRow("m", "k", " v"), id="a space that HAProxy would skip"),
        pytest.param(AddRow("m", "k", "\udc80"), id="no Unicode"),
        pytest.param(AddRow("m", "k", "v" * 16_000), id="too long"),
        pytest.param(ReplaceMap("m", {"a": Row("1"), "b c": Row("2")}), id="a key of many"),
        pytest.param(ReplaceMap("m", {"a": Row("v" * 16_000)}), id="a row beyond the buffer"),
        pytest.param(AddBackend("b", "p mode tcp"), id="a keyword behind a profile"),
        pytest.param(DelBackend("b\x00"), id="nul"),
    ],
)
def test_what_a_command_cannot_carry_is_refused(op: Op) -> None:
    with pytest.raises(InvalidValue):
        lines(op)
    with pytest.raises(StopIteration) as end:
        next(conversation([op]))
    assert end.value.value[0].status == "refused"


def test_a_refused_value_is_not_shown() -> None:
    with pytest.raises(InvalidValue) as caught:
        lines(SetRow("users", "jane", "s3cret\n"))
    assert "s3cret" not in str(caught.value)


@given(key=st.text(min_size=1, max_size=40), value=st.text(min_size=1, max_size=40))
def test_no_row_is_more_than_one_command(key: str, value: str) -> None:
    try:
        commands = lines(AddRow("m", key, value)) + lines(ReplaceMap("m", {key: Row(value)}))
    except InvalidValue:
        return
    sent = Exchange(commands, opens=False).to_send()
    assert sent.count(b"\n") == 6
    assert sent.count(b"<<") == 1 + f"{key}{value}".count("<<")


def test_payloads_fit_into_the_buffer() -> None:
    rows = {f"host-{number}.test": Row("x" * 50) for number in range(2_000)}
    commands = lines(ReplaceMap("m", rows))
    payloads = [command.partition("\n")[2] for command in commands[1:-1]]
    assert max(map(len, payloads)) <= PAYLOAD_BYTES
    assert "".join(payloads) == "".join(f"{key} {row.value}\n" for key, row in rows.items())


UNKNOWN = "Unknown command: 'add', but maybe one of the following ones is a better match:\n  quit"


@pytest.mark.parametrize(
    ("command", "reply", "status"),
    [
        ("add server b/s 1.1.1.1:1", "New server registered.", "done"),
        ("add server b/s 1.1.1.1:1", "", "refused"),
        (
            "add server b/s 1.1.1.1:1",
            "Already exists a server with the same name in backend.",
            "refused",
        ),
        ("enable server b/s", "", "done"),
        ("enable server b/s", "No such server.", "refused"),
        ("set server b/s state maint", "", "done"),
        ("set server b/s state maint", "No such backend.", "refused"),
        ("set server b/s weight 3", "", "done"),
        (
            "set server b/s weight 3",
            "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.",
            "refused",
        ),
        (
            "set server b/s addr 1.1.1.1 port 1",
            "IP changed from '1.1.1.2' to '1.1.1.1' by 'stats socket command'",
            "done",
        ),
        (
            "set server b/s addr 1.1.1.1 port 1",
            "no need to change the addr, port changed from '2' to '1' by 'stats socket command'",
            "done",
        ),
        ("set server b/s addr 1.1.1.1 port 1", "nothing changed", "done"),
        ("set server b/s addr 1.1.1.1 port 1", "Invalid addr '1.1.1.1'", "refused"),
        ("set server b/s addr 1.1.1.1 port 1", "", "refused"),
        ("del server b/s", "Server deleted.", "done"),
        ("del server b/s", "No such server.", "done"),
        ("del server b/s", "No such backend.", "done"),
        (
            "del server b/s",
            "Server still has connections attached to it, cannot remove it.",
            "busy",
        ),
        ("del server b/s", "Only servers in maintenance mode can be deleted.", "refused"),
        ("add map m k v", "", "done"),
        ("add map m k v", "Unknown map identifier. Please use #<id> or <file>.", "refused"),
        ("set map m k v", "entry not found.", "refused"),
        ("del map m k", "", "done"),
        ("del map m k", "Key not found.", "done"),
        ("del map m k", "Unknown map identifier. Please use #<id> or <file>.", "refused"),
        ("prepare map m", "New version created: 3", "done"),
        ("prepare map m", "", "refused"),
        ("commit map @3 m", "", "done"),
        ("commit map @3 m", "Version number out of range.", "refused"),
        ("add backend b from p", "New backend registered.", "done"),
        (
            "add backend b from p",
            "New backend registered (no support for dynamic servers: static).",
            "done",
        ),
        ("add backend b from p", UNKNOWN, "refused"),
        ("publish backend b", "Backend published.", "done"),
        ("unpublish backend b", "Backend unpublished.", "done"),
        ("unpublish backend b", "No such backend.", "done"),
        ("del backend b", "Backend deleted.", "done"),
        (
            "del backend b",
            "Server b/s is going DOWN for maintenance.\nBackend deleted.",
            "done",
        ),
        ("del backend b", "Backend deleted.\nbut not quite", "refused"),
        ("del backend b", "Server b/s is going DOWN for maintenance.", "refused"),
        ("del backend b", "Backend still has attached streams on it.", "busy"),
        ("del backend b", "Only a backend without server can be deleted.", "busy"),
        ("del backend b", "Cannot delete a listen section.", "refused"),
        ("del server b/s", "Permission denied", "refused"),
        ("add map m k v", "Permission denied", "refused"),
    ],
)
def test_judge(command: str, reply: str, status: Status) -> None:
    assert judge(command, reply) == status
    assert judge(command, f"\n{reply}\n") == status


def converse(
    ops: list[Op], answer: Callable[[str], str]
) -> tuple[list[tuple[str, ...]], tuple[Result, ...]]:
    """The rounds of commands that *ops* lead to, and their results."""
    talk = conversation(ops)
    rounds: list[tuple[str, ...]] = []
    try:
        rounds.append(next(talk))
        while True:
            rounds.append(talk.send(tuple(answer(command) for command in rounds[-1])))
    except StopIteration as end:
        return rounds, end.value


SUCCESS = {
    "add server": "New server registered.",
    "del server": "Server deleted.",
    "prepare map": "New version created: 12",
    "add backend": "New backend registered.",
    "publish backend": "Backend published.",
}


def agree(command: str) -> str:
    return SUCCESS.get(" ".join(command.split()[:2]), "")


def test_operations_of_one_command_share_a_round() -> None:
    ops: list[Op] = [SetState("b", "s", State.MAINT), DelServer("b", "s"), DelRow("m", "k")]
    rounds, results = converse(ops, agree)
    assert rounds == [("set server b/s state maint", "del server b/s", "del map m k")]
    assert [result.op for result in results] == ops
    assert {result.status for result in results} == {"done"}


def test_steps_of_several_operations_share_rounds_in_order() -> None:
    ops: list[Op] = [AddServer("b", WEB), AddServer("c", WEB), AddRow("m", "k", "c")]
    rounds, results = converse(ops, agree)
    assert rounds == [
        (ADD_WEB, ADD_WEB.replace("b/", "c/", 1)),
        ("enable server b/web-1", "enable server c/web-1"),
        ("add map m k c",),
    ]
    assert [result.status for result in results] == ["done"] * 3


def test_a_server_that_could_not_be_added_is_not_enabled() -> None:
    rounds, results = converse([AddServer("b", WEB)], lambda _: "Already exists")
    assert rounds == [(ADD_WEB,)]
    assert results == (Result(AddServer("b", WEB), "refused", "Already exists"),)


def test_a_map_is_filled_under_the_version_that_haproxy_gave() -> None:
    rounds, results = converse([ReplaceMap("m", {"k": Row("v")})], agree)
    assert rounds == [("prepare map m",), ("add map @12 m <<\nk v\n",), ("commit map @12 m",)]
    assert results[0].status == "done"


def test_a_backend_that_cannot_go_yet_is_routed_to_as_before() -> None:
    def busy(command: str) -> str:
        if command.startswith("del backend"):
            return "Only a backend without server can be deleted."
        return f"Backend {command.split(maxsplit=1)[0]}ed."

    rounds, results = converse([DelBackend("b")], busy)
    assert rounds == [("unpublish backend b",), ("del backend b",), ("publish backend b",)]
    assert results[0].status == "busy"


def test_a_map_that_could_not_be_filled_is_not_committed() -> None:
    def half(command: str) -> str:
        return "out of memory" if command.startswith("add map") else agree(command)

    rounds, results = converse([ReplaceMap("m", {"k": Row("v")})], half)
    assert rounds[-1] == ("clear map @12 m",)
    assert (results[0].status, results[0].reply) == ("refused", "out of memory")


def test_one_value_that_cannot_be_carried_stops_no_other() -> None:
    ops: list[Op] = [AddRow("m", "a b", "1"), AddRow("m", "c", "2")]
    rounds, results = converse(ops, agree)
    assert rounds == [("add map m c 2",)]
    assert [result.status for result in results] == ["refused", "done"]


def test_nothing_to_do_is_no_round() -> None:
    assert converse([], agree) == ([], ())
