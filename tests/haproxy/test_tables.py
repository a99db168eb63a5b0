from __future__ import annotations

import pytest

from haproxy.errors import UnreadableReply
from haproxy.model import State
from haproxy.tables import MapRow, ServerState, info, map_rows, servers_state

INFO = """Name: HAProxy
Version: 2.6.12-1+deb12u4
Uptime: 0d 0h01m05s
Uptime_sec: 65
Pid: 4711
node: host:1
description: v1:abc
"""
COLUMNS = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight "
    "srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health "
    "srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord "
    "srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)


def table(*rows: str, columns: str = COLUMNS) -> str:
    return "\n".join(("1", columns, *rows))


def row(address: str = "10.0.0.1", operational: int = 2, admin: int = 0) -> str:
    rest = "5 1 3 1 0 2 0 0 0 1 - 80 - 0 0 - - 0"
    return f"3 shop_web_80 7 web-1 {address} {operational} {admin} {rest}"


def test_info() -> None:
    process = info(INFO)
    assert (process.version, process.pid, process.uptime_s) == ("2.6.12-1+deb12u4", 4711, 65)
    assert process.description == "v1:abc"
    assert process.fields["node"] == "host:1"


@pytest.mark.parametrize("missing", ["Version", "Pid", "Uptime_sec"])
def test_info_needs_who_and_since_when(missing: str) -> None:
    with pytest.raises(UnreadableReply, match=missing):
        info(INFO.replace(f"{missing}:", "Other:"))


def test_servers_state() -> None:
    expected = ServerState(
        backend="shop_web_80",
        name="web-1",
        id=7,
        address="10.0.0.1",
        port=80,
        weight=5,
        admin=0,
        operational=2,
    )
    assert servers_state(table(row())) == (expected,)
    assert expected.running
    assert servers_state(table()) == ()


@pytest.mark.parametrize(
    ("admin", "state"),
    [
        pytest.param(0x00, State.READY, id="ready"),
        pytest.param(0x01, State.MAINT, id="forced"),
        pytest.param(0x02, State.MAINT, id="inherited"),
        pytest.param(0x20, State.MAINT, id="by DNS"),
        pytest.param(0x05, State.MAINT, id="disabled in the configuration"),
        pytest.param(0x04, State.READY, id="was disabled in the configuration"),
        pytest.param(0x08, State.DRAIN, id="drain"),
        pytest.param(0x10, State.DRAIN, id="drain inherited"),
        pytest.param(0x09, State.MAINT, id="maintenance wins"),
    ],
)
def test_administrative_state(admin: int, state: State) -> None:
    assert servers_state(table(row(admin=admin)))[0].state is state


@pytest.mark.parametrize("address", ["-", "unix"])
def test_no_address(address: str) -> None:
    assert not servers_state(table(row(address)))[0].address


def test_columns_we_do_not_know_are_skipped() -> None:
    assert servers_state(table(row() + " x", columns=COLUMNS + " srv_new"))[0].name == "web-1"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("Can't find backend.", id="a refusal"),
        pytest.param("2\n" + COLUMNS, id="another version"),
        pytest.param("1\n" + row(), id="no columns"),
        pytest.param(table("3 b 7"), id="a short line"),
        pytest.param(table(row().replace(" 80 ", " http ")), id="no number"),
        pytest.param(table(row(), columns=COLUMNS.replace("srv_port", "x")), id="a column missing"),
    ],
)
def test_servers_state_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UnreadableReply):
        servers_state(text)


def test_map_rows() -> None:
    text = "0x55d3 a.test shop_web_80\n0x55d4 k v;  x \\ <<\n0x55d5 k \u2028\x85\n0x55d6 alone"
    assert map_rows(text) == (
        MapRow("a.test", "shop_web_80"),
        MapRow("k", "v;  x \\ <<"),
        MapRow("k", "\u2028\x85"),
        MapRow("alone", ""),
    )
    assert map_rows("") == ()


def test_map_rows_that_cannot_be_read() -> None:
    with pytest.raises(UnreadableReply):
        map_rows("Unknown map identifier. Please use #<id> or <file>.")
