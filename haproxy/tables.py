"""What HAProxy shows, as records. No IO.

Source: management.txt; tried on 2.6.12, 3.0.11, 3.2.26 and 3.4.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from attrs import field, frozen

from haproxy.errors import UnreadableReply
from haproxy.model import State

_IN_MAINTENANCE = 0x23  # forced, inherited, by DNS; 0x04 only says "disabled in the configuration"
_DRAINING = 0x18  # forced, inherited
_ROW = re.compile(r"0x[0-9a-f]+ ([^ ]+)(?: (.*))?")
_NUMBER = re.compile(r"-?[0-9]+")


@frozen
class Info:
    """One process, as it describes itself.

    version: as HAProxy writes it, such as ``2.6.12-1+deb12u4``. uptime_s: whole seconds.
    description: the text of ``description`` in ``global``, or empty.
    fields: everything that ``show info`` says, by its name there.
    """

    version: str
    pid: int
    uptime_s: int
    description: str = ""
    fields: Mapping[str, str] = field(factory=dict, repr=False)


@frozen
class Identity:
    """A worker by its own word: what it is, what it loaded, and the backends that it has.

    description: the name of the structure, see `haproxy.outline`.
    """

    pid: int
    version: str
    description: str = ""
    backends: frozenset[str] = frozenset()


@frozen
class ServerState:
    """One server, as it runs.

    address: an IP literal, empty for a unix socket or a name that is not resolved; port: 0 then.
    weight: what was set last, 0..256. admin: the mask of administrative states.
    operational: 0 stopped, 1 starting, 2 running, 3 stopping.
    """

    backend: str
    name: str
    id: int
    address: str
    port: int
    weight: int
    admin: int
    operational: int

    @property
    def state(self) -> State:
        if self.admin & _IN_MAINTENANCE:
            return State.MAINT
        return State.DRAIN if self.admin & _DRAINING else State.READY

    @property
    def running(self) -> bool:
        return self.operational == 2


@frozen
class MapRow:
    key: str
    value: str


def info(text: str) -> Info:
    """Read the answer to ``show info``: lines of ``Name: value``.

    Raises `UnreadableReply` when the version, the pid or the uptime is missing.
    """
    pairs = (line.partition(":") for line in text.split("\n") if ":" in line)
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    command = "show info"
    if not fields.get("Version"):
        raise UnreadableReply(command, "no Version")
    return Info(
        version=fields["Version"],
        pid=_number(command, fields, "Pid"),
        uptime_s=_number(command, fields, "Uptime_sec"),
        description=fields.get("description", ""),
        fields=fields,
    )


def backend_names(text: str) -> frozenset[str]:
    """Read the answer to ``show backend``: a comment, then one name a line."""
    return frozenset(line for line in text.split("\n") if line and not line.startswith("#"))


def servers_state(text: str) -> tuple[ServerState, ...]:
    """Read the answer to ``show servers state``.

    text: a version line, a ``#`` line that names the columns, then one line per server.

    Returns one record per server in HAProxy's order. Raises `UnreadableReply` if the version is
    not 1 or a column we need is missing. Columns we do not know are skipped.
    """
    return tuple(_server(row) for row in _rows("show servers state", text.split("\n")))


def _rows(command: str, rows: list[str]) -> Iterator[dict[str, str]]:
    if rows[:1] != ["1"] or not rows[1:2] or not rows[1].startswith("# "):
        raise UnreadableReply(command, "not a table of version 1")
    names = rows[1].removeprefix("# ").split()
    for row in filter(None, rows[2:]):
        values = row.split()
        if len(values) != len(names):
            raise UnreadableReply(command, f"{len(values)} values in {len(names)} columns")
        yield dict(zip(names, values, strict=True))


def _server(row: Mapping[str, str]) -> ServerState:
    command = "show servers state"
    address = row.get("srv_addr", "-")
    return ServerState(
        backend=_text(command, row, "be_name"),
        name=_text(command, row, "srv_name"),
        id=_number(command, row, "srv_id"),
        address="" if address in {"-", "unix"} else address,
        port=_number(command, row, "srv_port"),
        weight=_number(command, row, "srv_uweight"),
        admin=_number(command, row, "srv_admin_state"),
        operational=_number(command, row, "srv_op_state"),
    )


def map_rows(text: str) -> tuple[MapRow, ...]:
    """Read the answer to ``show map FILE``: lines of ``0xADDRESS key value``.

    Returns the rows in HAProxy's order, doubles included: a look-up takes the first of them.

    Raises `UnreadableReply` for a line of another shape.
    """
    return tuple(_map_row(line) for line in text.split("\n") if line)


def _map_row(line: str) -> MapRow:
    match = _ROW.fullmatch(line)
    if not match:
        raise UnreadableReply("show map", "a line that is no row")
    return MapRow(match[1], match[2] or "")


def certificate_names(text: str) -> tuple[str, ...]:
    """Read the answer to ``show ssl cert``: a ``#`` line, then a file name a line.

    Those of a transaction that is open, which start with ``*``, are left out.
    """
    names = (line.strip() for line in text.split("\n"))
    return tuple(name for name in names if name and name[0] not in "#*")


def fingerprint(text: str) -> str:
    """The SHA-1 in the answer to ``show ssl cert FILE``, empty for an empty certificate."""
    match = re.search(r"^SHA1 FingerPrint: ([0-9A-F]+)$", text, re.MULTILINE)
    return match[1] if match else ""


def crt_list_lines(text: str) -> tuple[tuple[str, str], ...]:
    """Read the answer to ``show ssl crt-list FILE``: file names and server names.

    Lines without a server name, such as the default's (``!*``), are left out.
    """
    rows = (line.rstrip("\0 ").split() for line in text.split("\n") if not line.startswith("#"))
    return tuple((row[0], row[-1]) for row in rows if len(row) > 1 and row[-1][0] != "!")


def _text(command: str, fields: Mapping[str, str], name: str) -> str:
    if name not in fields:
        raise UnreadableReply(command, f"no {name}")
    return fields[name]


def _number(command: str, fields: Mapping[str, str], name: str) -> int:
    text = _text(command, fields, name)
    if not _NUMBER.fullmatch(text):
        raise UnreadableReply(command, f"{name} is no number")
    return int(text)
