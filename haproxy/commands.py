"""Operations as command lines, and replies as results. No IO.

Source: management.txt, "Unix Socket commands"; every text here tried on 2.6.12, 3.0.11, 3.2.26
and 3.4.7.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import singledispatch
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import groupby

from haproxy.errors import InvalidValue
from haproxy.model import Certificate, Row, State
from haproxy.ops import (
    AddBackend,
    AddCertificate,
    AddRow,
    AddServed,
    AddServer,
    DelBackend,
    DelCertificate,
    DelRow,
    DelServed,
    DelServer,
    Op,
    ReplaceMap,
    Result,
    SetAddress,
    SetCertificate,
    SetRow,
    SetState,
    SetWeight,
)
from haproxy.protocol import encode
from haproxy.verdicts import judge

PAYLOAD_BYTES = 8_000  # with its command well below HAProxy's buffer of 16384

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
_OPTION = re.compile(r"[A-Za-z0-9_.:/,-]{1,255}")
_FILE = re.compile(r"[A-Za-z0-9_./*-]{1,400}")
_WHITE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SPECIAL = re.compile(r"[\\; <]")  # a last word that ends in << would open a payload
_VERSION = re.compile(r"New version created: (\d+)")


def conversation(
    ops: Iterable[Op],
) -> Generator[tuple[str, ...], tuple[str, ...], tuple[Result, ...]]:
    """Yields rounds of commands, takes the replies of each round, returns a result per operation.

    Operations are carried out in order, with as few rounds as that allows. One whose values a
    command cannot carry is refused; nothing of it is sent, and the others go on.
    """
    results: list[Result] = []
    for _, group in groupby(ops, _kind):
        results += yield from _in_step(tuple(group))
    return tuple(results)


def _kind(op: Op) -> object:
    if isinstance(op, AddCertificate | SetCertificate):
        return id(op)  # HAProxy has one certificate transaction at a time
    return type(op) if isinstance(op, AddServer | ReplaceMap | AddBackend | DelBackend) else None


def _in_step(
    ops: tuple[Op, ...],
) -> Generator[tuple[str, ...], tuple[str, ...], list[Result]]:
    """All of *ops* at once, each a command further every round."""
    talks = tuple(dialogue(op) for op in ops)
    results: dict[int, Result] = {}
    replies: dict[int, str | None] = dict.fromkeys(range(len(ops)))
    while replies:
        commands: dict[int, str] = {}
        for index, reply in replies.items():
            try:
                commands[index] = talks[index].send(reply)  # type: ignore[arg-type] # None starts
            except StopIteration as end:
                results[index] = end.value
            except InvalidValue as error:
                results[index] = Result(ops[index], "refused", str(error))
        answers = (yield tuple(commands.values())) if commands else ()
        replies = dict(zip(commands, answers, strict=True))
    return [results[index] for index in range(len(ops))]


def dialogue(op: Op) -> Generator[str, str, Result]:
    """Yields the commands of *op*, takes the reply to each, returns the result.

    A command goes out only when the one before it was done: enabling a server that could not be
    added would enable another one of its name.

    Raises `InvalidValue` before the first command when a value cannot be carried.
    """
    if isinstance(op, DelServed):
        return (yield from _del_served(op))
    commands, sent, reply = lines(op), 0, ""
    while sent < len(commands):
        reply = yield commands[sent]
        if (status := judge(commands[sent], reply)) != "done":
            yield from _cleanup(op, sent, commands)
            return Result(op, status, reply)
        if isinstance(op, ReplaceMap) and sent == 0:
            commands = lines(op, int(_version(reply)))
        sent += 1
    return Result(op, "done", reply)


def _version(reply: str) -> str:
    match = _VERSION.search(reply)
    return match[1] if match else "0"


def _cleanup(op: Op, sent: int, commands: tuple[str, ...]) -> Iterator[str]:
    if isinstance(op, ReplaceMap) and sent > 0:
        yield commands[-1].replace("commit map ", "clear map ", 1)
    if isinstance(op, DelBackend) and sent > 0:  # what stays must go on being routed to
        yield f"publish backend {_name('backend', op.backend)}"
    if isinstance(op, AddCertificate | SetCertificate) and sent > 0:
        yield commands[-1].replace("commit ", "abort ", 1)
    if isinstance(op, AddCertificate) and sent > 0:
        yield f"del ssl cert {_file(op.certificate.name)}"


def _del_served(op: DelServed) -> Generator[str, str, Result]:
    """A line goes by its number, for several lines may have the same certificate."""
    crt_list, (first, served) = _file(op.crt_list), (op.served.certificate, op.served.sni)
    listed = yield f"show ssl crt-list -n {crt_list}"
    for line in listed.split("\n"):
        match = re.fullmatch(r"(\S+):(\d+) (\S+)", line.rstrip("\0 "))
        if match and (match[1], match[3]) == (first, served):
            command = f"del ssl crt-list {crt_list} {_file(first)}:{match[2]}"
            reply = yield command
            return Result(op, judge(command, reply), reply)
    return Result(op, "done")


def lines(op: Op, version: int = 0) -> tuple[str, ...]:
    """The commands that carry *op* out, in their order.

    version: for `ReplaceMap`, what HAProxy answered to the first of them.

    Raises `InvalidValue` for a value that a command cannot carry.
    """
    commands = _replace(op, version) if isinstance(op, ReplaceMap) else _lines(op)
    for command in commands:
        encode(command)
    return commands


@singledispatch
def _lines(op: object) -> tuple[str, ...]:
    raise TypeError(f"no operation: {type(op).__name__}")


@_lines.register
def _(op: AddServer) -> tuple[str, ...]:
    server, where = op.server, _server(op.backend, op.server.name)
    socket = _socket(server.address, server.port)
    identity = _number("id", server.id, 1, 2**31 - 1)
    weight = _number("weight", server.weight, 0, 256)
    options = "".join(f" {_option(word)}" for word in op.options)
    add = f"add server {where} {socket} id {identity} weight {weight}{options}"
    match server.state:
        case State.MAINT:
            return (add,)
        case State.DRAIN:
            return (add, f"set server {where} state drain")
        case State.READY:
            return (add, f"enable server {where}")


@_lines.register
def _(op: SetAddress) -> tuple[str, ...]:
    address, port = _address(op.address), _number("port", op.port, 1, 65535)
    return (f"set server {_server(op.backend, op.server)} addr {address} port {port}",)


@_lines.register
def _(op: SetWeight) -> tuple[str, ...]:
    weight = _number("weight", op.weight, 0, 256)
    return (f"set server {_server(op.backend, op.server)} weight {weight}",)


@_lines.register
def _(op: SetState) -> tuple[str, ...]:
    return (f"set server {_server(op.backend, op.server)} state {State(op.state)}",)


@_lines.register
def _(op: DelServer) -> tuple[str, ...]:
    return (f"del server {_server(op.backend, op.server)}",)


@_lines.register
def _(op: AddRow) -> tuple[str, ...]:
    return (f"add map {_map(op.map)} {_escaped(_key(op.key))} {_escaped(_value(op.value))}",)


@_lines.register
def _(op: SetRow) -> tuple[str, ...]:
    return (f"set map {_map(op.map)} {_escaped(_key(op.key))} {_escaped(_value(op.value))}",)


@_lines.register
def _(op: DelRow) -> tuple[str, ...]:
    return (f"del map {_map(op.map)} {_escaped(_key(op.key))}",)


@_lines.register
def _(op: AddBackend) -> tuple[str, ...]:
    name = _name("backend", op.backend)
    return (f"add backend {name} from {_name('profile', op.profile)}", f"publish backend {name}")


@_lines.register
def _(op: DelBackend) -> tuple[str, ...]:
    name = _name("backend", op.backend)
    return (f"unpublish backend {name}", f"del backend {name}")


@_lines.register
def _(op: AddCertificate) -> tuple[str, ...]:
    return (f"new ssl cert {_file(op.certificate.name)}", *_filled(op.certificate))


@_lines.register
def _(op: SetCertificate) -> tuple[str, ...]:
    return _filled(op.certificate)


@_lines.register
def _(op: DelCertificate) -> tuple[str, ...]:
    return (f"del ssl cert {_file(op.certificate)}",)


@_lines.register
def _(op: AddServed) -> tuple[str, ...]:
    line = f"{_file(op.served.certificate)} {_file(op.served.sni)}"
    return (f"add ssl crt-list {_file(op.crt_list)} <<\n{line}\n",)


@_lines.register
def _(op: DelServed) -> tuple[str, ...]:
    return (f"show ssl crt-list -n {_file(op.crt_list)}",)


def _filled(certificate: Certificate) -> tuple[str, ...]:
    name = _file(certificate.name)
    return (f"set ssl cert {name} <<\n{certificate.pem}", f"commit ssl cert {name}")


def _replace(op: ReplaceMap, version: int) -> tuple[str, ...]:
    name = _map(op.map)
    fill = (f"add map @{version} {name} <<\n{payload}" for payload in _payloads(op.rows))
    return (f"prepare map {name}", *fill, f"commit map @{version} {name}")


def _payloads(rows: Mapping[str, Row]) -> Iterator[str]:
    chunk: list[str] = []
    size = 0
    for key, row in rows.items():
        line = f"{_key(key)} {_value(row.value)}\n"
        if size + len(line.encode()) > PAYLOAD_BYTES and chunk:
            yield "".join(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line.encode())
    if chunk:
        yield "".join(chunk)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda match: "\\" + match[0], text)


def _name(field: str, value: str) -> str:
    if not _NAME.fullmatch(value):
        raise InvalidValue(field, value, "1 to 255 of A-Z a-z 0-9 _ . : -")
    return value


def _server(backend: str, server: str) -> str:
    return f"{_name('backend', backend)}/{_name('server', server)}"


def _option(word: str) -> str:
    if not _OPTION.fullmatch(word):
        raise InvalidValue("option of a server", word, "1 to 255 of A-Z a-z 0-9 _ . : / , -")
    return word


def _number(field: str, value: int, least: int, most: int) -> int:
    if not least <= int(value) <= most:
        raise InvalidValue(field, str(value), f"{least} to {most}")
    return int(value)


def _ip(address: str) -> IPv4Address | IPv6Address:
    try:
        parsed = ip_address(address)
    except ValueError:
        raise InvalidValue("address", address, "an IPv4 or IPv6 address") from None
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        raise InvalidValue("address", address, "an address without a scope")
    return parsed


def _address(address: str) -> str:
    return str(_ip(address))


def _socket(address: str, port: int) -> str:
    ip, number = _ip(address), _number("port", port, 1, 65535)
    return f"[{ip}]:{number}" if ip.version == 6 else f"{ip}:{number}"


def _map(name: str) -> str:
    if not name or name[0] in "#@" or _WHITE_OR_CONTROL.search(name):
        raise InvalidValue("map", name, "a file name without white space")
    return _escaped(name)


def _file(name: str) -> str:
    if not _FILE.fullmatch(name):
        raise InvalidValue("crt-list", name, "a file name, or a DNS name or a wildcard of one")
    return name


def _key(key: str) -> str:
    # HAProxy takes #... for the address of a row in memory.
    if not key or key.startswith("#") or _WHITE_OR_CONTROL.search(key):
        raise InvalidValue("key of a map", key, "text without white space that starts not with #")
    return _unicode("key of a map", key)


def _value(value: str) -> str:
    # The value itself stays out of the error: it may be a secret.
    if not value or value != value.strip() or _CONTROL.search(value):
        allowed = "text without control characters or white space at its ends"
        raise InvalidValue("value of a map row", "...", allowed)
    return _unicode("value of a map row", value)


def _unicode(field: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValue(field, "...", "text that is valid Unicode") from None
    return value
