"""Servers and backends of a `FakeHAProxy`, and what it says of itself, in HAProxy's words.

Every text here was seen on 2.6.12, 3.0.11, 3.2.26 and 3.4.7, and is compared with a real HAProxy's
by tests/integration/test_double.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from haproxy.errors import InvalidValue
from haproxy.fake_worker import Commands, Worker
from haproxy.model import Server, State
from haproxy.ops import (
    AddBackend,
    AddServer,
    DelBackend,
    DelServer,
    SetAddress,
    SetState,
    SetWeight,
)
from haproxy.render import CONFIG_FILE

COMMANDS = Commands()

_COLUMNS = """
    be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight
    srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state
    srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl
    srv_check_port srv_check_addr srv_agent_addr srv_agent_port
""".split()
_ADMIN = {State.READY: 0, State.DRAIN: 8, State.MAINT: 1}
_DISABLED = 4
_NO_MODE = "does not explicitly defines it"
_BY = " by 'stats socket command'"


@COMMANDS.named("show info")
def _(worker: Worker, _: list[str], __: str) -> str:
    haproxy = worker.haproxy
    stopping = int(not worker.serving)
    described = f"\ndescription: {haproxy.description}" if haproxy.description else ""
    return (
        f"Name: HAProxy\nVersion: {haproxy.version}\nNbthread: 1\nProcess_num: 1\n"
        f"Pid: {worker.pid}\nUptime: 0d 0h00m{worker.uptime_s:02}s\n"
        f"Uptime_sec: {worker.uptime_s}\nnode: fake{described}\nStopping: {stopping}"
    )


@COMMANDS.named("show version")
def _(worker: Worker, _: list[str], __: str) -> str:
    return worker.haproxy.version


@COMMANDS.named("show backend")
def _(worker: Worker, _: list[str], __: str) -> str:
    return "\n".join(["# name", *worker.haproxy.config.backends])


@COMMANDS.named("set timeout cli")
@COMMANDS.named("set severity-output")
def _(_: Worker, __: list[str], ___: str) -> str:
    return ""


# Servers.


@COMMANDS.named("show servers state")
def _(worker: Worker, words: list[str], _: str) -> str:
    if words and words[0] not in worker.haproxy.config.backends:
        return "Can't find backend."
    return "\n".join(["1", "# " + " ".join(_COLUMNS), *_states(worker, words[:1])])


def _states(worker: Worker, only: list[str]) -> Iterator[str]:
    for number, backend in enumerate(worker.haproxy.config.backends.values(), 2):
        for server in backend.servers.values() if backend.name in (only or [backend.name]) else ():
            disabled = f"{backend.name}/{server.name}" in worker.haproxy.disabled
            admin = _ADMIN[server.state] | (_DISABLED if disabled else 0)
            initial = worker.weights.get((backend.name, server.name), 1)
            running = 0 if server.state is State.MAINT else 2
            yield (
                f"{number} {backend.name} {server.id} {server.name} {server.address} {running} "
                f"{admin} {server.weight} {initial} {worker.uptime_s} "
                f"1 0 0 0 0 0 1 - {server.port} - 0 0 - - 0"
            )


@COMMANDS.named("get weight")
def _(worker: Worker, words: list[str], _: str) -> str:
    server = _server(worker, words)
    if isinstance(server, str):
        return server
    backend = words[0].partition("/")[0]
    return f"{server.weight} (initial {worker.weights.get((backend, server.name), 1)})"


def _server(worker: Worker, words: list[str]) -> Server | str:
    """The server that the first word names, or HAProxy's words about it."""
    backend, slash, name = (words or [""])[0].partition("/")
    if not slash:
        return "Require 'backend/server'."
    if backend not in worker.haproxy.config.backends:
        return "No such backend."
    return worker.haproxy.config.backends[backend].servers.get(name, "No such server.")


@COMMANDS.named("add server")
def _(worker: Worker, words: list[str], _: str) -> str:
    if len(words) < 2:
        return "'server' expects <name> and <addr>[:<port>] as arguments."
    (backend, _slash, name), (address, _colon, port) = words[0].partition("/"), _socket(words[1])
    ids = {one.id for of in worker.haproxy.config.backends.values() for one in of.servers.values()}
    options = dict(zip(words[2::2], words[3::2], strict=False))
    number = int(options.pop("id", 0)) or max(ids, default=0) + 1
    weight = int(options.pop("weight", 1))
    others = tuple(word for pair in options.items() for word in pair)
    server = Server(name, address, int(port), weight, State.MAINT, number)
    reply = worker.do(AddServer(backend, server, others))
    if not reply:
        worker.weights[backend, name] = weight
    return reply or "New server registered."


def _socket(text: str) -> tuple[str, str, str]:
    address, colon, port = text.rpartition(":")
    return address.strip("[]"), colon, port


@COMMANDS.named("set server")
def _(worker: Worker, words: list[str], _: str) -> str:
    server, (backend, _slash, name) = _server(worker, words), words[0].partition("/")
    if isinstance(server, str):
        return server
    match words[1:]:
        case ["weight", weight]:
            return _weigh(worker, SetWeight(backend, name, 0), weight)
        case ["state", state] if state in set(State):
            return worker.do(SetState(backend, name, State(state)))
        case ["state", *_]:
            return "'set server <srv> state' expects 'ready', 'drain' and 'maint'."
        case ["addr", address, *rest]:
            port = int(rest[1]) if rest[:1] == ["port"] else server.port
            return _move(worker, server, SetAddress(backend, name, address, port))
    return "usage: set server <backend>/<server> addr | agent | weight | state"


def _weigh(worker: Worker, op: SetWeight, weight: str) -> str:
    if not weight.isdigit():
        return "Empty weight string empty or preceded by garbage"
    if int(weight) > 256:
        return "Absolute weight can only be between 0 and 256 inclusive."
    return worker.do(SetWeight(op.backend, op.server, int(weight)))


def _move(worker: Worker, server: Server, op: SetAddress) -> str:
    old = worker.version < (3, 0)
    try:
        moved = Server(server.name, op.address, op.port)
    except InvalidValue:
        return f"Invalid addr '{op.address}'" + (_BY if old else "")
    same = ("no need to change the addr", "no need to change the port") if old else ("", "")
    address = f"IP changed from '{server.address}' to '{moved.address}'"
    port = f"port changed from '{server.port}' to '{op.port}'"
    said = [
        same[0] if server.address == moved.address else address,
        same[1] if server.port == op.port else port,
    ]
    done = ", ".join(filter(None, said))
    return worker.do(
        SetAddress(op.backend, op.server, moved.address, op.port),
        done + _BY if done else "nothing changed",
    )


@COMMANDS.named("enable server")
def _(worker: Worker, words: list[str], _: str) -> str:
    return _switch(worker, words, State.READY)


@COMMANDS.named("disable server")
def _(worker: Worker, words: list[str], _: str) -> str:
    return _switch(worker, words, State.MAINT)


def _switch(worker: Worker, words: list[str], state: State) -> str:
    server, (backend, _slash, name) = _server(worker, words), (words or [""])[0].partition("/")
    return server if isinstance(server, str) else worker.do(SetState(backend, name, state))


@COMMANDS.named("del server")
def _(worker: Worker, words: list[str], _: str) -> str:
    server, (backend, _slash, name) = _server(worker, words), (words or [""])[0].partition("/")
    if isinstance(server, str):
        return server
    return worker.do(DelServer(backend, name), "Server deleted.")


# Backends.


@COMMANDS.named("add backend", since=(3, 4))
def _(worker: Worker, words: list[str], _: str) -> str:
    haproxy = worker.haproxy
    match words:
        case [name, "from", profile, *others]:
            text = haproxy.published.get(CONFIG_FILE, b"").decode()
            section = re.search(rf"(?m)^defaults {re.escape(profile)}\n((?:[ \t].*\n)*)", text)
            new = name not in haproxy.config.backends
            if new and not section and profile not in haproxy.config.profiles:
                return f"Cannot find default proxy '{profile}'."
            if new and section and "mode " not in section[1] and "mode" not in others:
                return f"Mode is required as '{profile}' default proxy {_NO_MODE}."
            reply = worker.do(AddBackend(name, profile))
            if not reply:
                worker.unpublished.add(name)
            return reply or "New backend registered."
    return "Usage: add backend <name> from <defproxy> [mode <px_mode>] [guid <val>]."


@COMMANDS.named("publish backend", since=(3, 4))
def _(worker: Worker, words: list[str], _: str) -> str:
    if words[0] not in worker.haproxy.config.backends:
        return "No such backend."
    worker.unpublished.discard(words[0])
    return "Backend published."


@COMMANDS.named("unpublish backend", since=(3, 4))
def _(worker: Worker, words: list[str], _: str) -> str:
    if words[0] not in worker.haproxy.config.backends:
        return "No such backend."
    worker.unpublished.add(words[0])
    return "Backend unpublished."


@COMMANDS.named("del backend", since=(3, 4))
def _(worker: Worker, words: list[str], _: str) -> str:
    name = words[0]
    if name in worker.haproxy.config.backends and name not in worker.unpublished:
        return "Backend must be unpublished prior to its deletion."
    return worker.do(DelBackend(name), "Backend deleted.")
