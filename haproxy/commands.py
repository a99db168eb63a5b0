"""Operations as command lines, and replies as results. No IO.

Source: management.txt, "Unix Socket commands"; every text here tried on 2.6.12, 3.0.11, 3.2.26
and 3.4.7.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from functools import singledispatch
from itertools import groupby

from haproxy.errors import InvalidValue
from haproxy.model import Certificate, State
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
from haproxy.words import (
    address_word,
    escaped,
    file_word,
    key_text,
    map_word,
    name_word,
    number_word,
    option_word,
    payloads,
    row_lines,
    server_word,
    socket_word,
    value_text,
)

PAYLOAD_BYTES = 15_000  # with its command, and some digits, below what every version takes

_TRANSACTION = re.compile(r"updated for certificate (\S+)!|transaction is about '([^']+)'")
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
        if other := _transaction_of_another(commands[sent], reply):
            yield f"abort ssl cert {file_word(other)}"
            reply = yield commands[sent]
        if (status := judge(commands[sent], reply)) != "done":
            yield from _cleanup(op, sent, commands)
            return Result(op, status, reply)
        if isinstance(op, ReplaceMap) and sent == 0:
            version = f" @{int(_version(reply))} "
            commands = tuple(command.replace(" @0 ", version, 1) for command in commands)
        sent += 1
    return Result(op, "done", reply)


def _version(reply: str) -> str:
    match = _VERSION.search(reply)
    return match[1] if match else "0"


def _transaction_of_another(command: str, reply: str) -> str:
    """The certificate whose transaction somebody left open, or empty.

    HAProxy has one at a time: 2.6 puts what is set into it, whatever its name; others refuse.
    """
    words = command.split(maxsplit=4)
    match = _TRANSACTION.search(reply)
    if match is None or words[:3] != ["set", "ssl", "cert"]:
        return ""
    found: str = match[1] or match[2]
    return "" if found == words[3] else found


def _cleanup(op: Op, sent: int, commands: tuple[str, ...]) -> Iterator[str]:
    if isinstance(op, ReplaceMap) and sent > 0:
        yield commands[-1].replace("commit map ", "clear map ", 1)
    if isinstance(op, DelBackend) and sent > 0:  # what stays must go on being routed to
        yield f"publish backend {name_word('backend', op.backend)}"
    if isinstance(op, AddCertificate | SetCertificate) and sent > 0:
        yield commands[-1].replace("commit ", "abort ", 1)
    if isinstance(op, AddCertificate) and sent > 0:
        yield f"del ssl cert {file_word(op.certificate.name)}"


def _del_served(op: DelServed) -> Generator[str, str, Result]:
    """A line goes by its number, for several lines may have the same certificate."""
    crt_list, (first, served) = file_word(op.crt_list), (op.served.certificate, op.served.sni)
    listed = yield f"show ssl crt-list -n {crt_list}"
    for line in listed.split("\n"):
        match = re.fullmatch(r"(\S+):(\d+) (\S+)", line.rstrip("\0 "))
        if match and (match[1], match[3]) == (first, served):
            command = f"del ssl crt-list {crt_list} {file_word(first)}:{match[2]}"
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
    server, where = op.server, server_word(op.backend, op.server.name)
    socket = socket_word(server.address, server.port)
    identity = number_word("id", server.id, 1, 2**31 - 1)
    weight = number_word("weight", server.weight, 0, 256)
    options = "".join(f" {option_word(word)}" for word in op.options)
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
    address, port = address_word(op.address), number_word("port", op.port, 1, 65535)
    return (f"set server {server_word(op.backend, op.server)} addr {address} port {port}",)


@_lines.register
def _(op: SetWeight) -> tuple[str, ...]:
    weight = number_word("weight", op.weight, 0, 256)
    return (f"set server {server_word(op.backend, op.server)} weight {weight}",)


@_lines.register
def _(op: SetState) -> tuple[str, ...]:
    return (f"set server {server_word(op.backend, op.server)} state {State(op.state)}",)


@_lines.register
def _(op: DelServer) -> tuple[str, ...]:
    return (f"del server {server_word(op.backend, op.server)}",)


@_lines.register
def _(op: AddRow) -> tuple[str, ...]:
    return (
        f"add map {map_word(op.map)} {escaped(key_text(op.key))} {escaped(value_text(op.value))}",
    )


@_lines.register
def _(op: SetRow) -> tuple[str, ...]:
    return (
        f"set map {map_word(op.map)} {escaped(key_text(op.key))} {escaped(value_text(op.value))}",
    )


@_lines.register
def _(op: DelRow) -> tuple[str, ...]:
    return (f"del map {map_word(op.map)} {escaped(key_text(op.key))}",)


@_lines.register
def _(op: AddBackend) -> tuple[str, ...]:
    name = name_word("backend", op.backend)
    return (
        f"add backend {name} from {name_word('profile', op.profile)}",
        f"publish backend {name}",
    )


@_lines.register
def _(op: DelBackend) -> tuple[str, ...]:
    name = name_word("backend", op.backend)
    return (f"unpublish backend {name}", f"del backend {name}")


@_lines.register
def _(op: AddCertificate) -> tuple[str, ...]:
    return (f"new ssl cert {file_word(op.certificate.name)}", *_filled(op.certificate))


@_lines.register
def _(op: SetCertificate) -> tuple[str, ...]:
    return _filled(op.certificate)


@_lines.register
def _(op: DelCertificate) -> tuple[str, ...]:
    return (f"del ssl cert {file_word(op.certificate)}",)


@_lines.register
def _(op: AddServed) -> tuple[str, ...]:
    line = f"{file_word(op.served.certificate)} {file_word(op.served.sni)}"
    return (f"add ssl crt-list {file_word(op.crt_list)} <<\n{line}\n",)


@_lines.register
def _(op: DelServed) -> tuple[str, ...]:
    return (f"show ssl crt-list -n {file_word(op.crt_list)}",)


def _filled(certificate: Certificate) -> tuple[str, ...]:
    name = file_word(certificate.name)
    return (f"set ssl cert {name} <<\n{certificate.pem}", f"commit ssl cert {name}")


def _replace(op: ReplaceMap, version: int) -> tuple[str, ...]:
    name = map_word(op.map)
    rows = row_lines({key: row.value for key, row in op.rows.items()})
    head = f"add map @{version} {name} <<\n"
    fill = (head + part for part in payloads(rows, PAYLOAD_BYTES - len(head.encode())))
    return (f"prepare map {name}", *fill, f"commit map @{version} {name}")
