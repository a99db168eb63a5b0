"""Send one command to a HAProxy and print what it answers.

usage: python -m haproxy SOCKET COMMAND [--json] [--deadline S]

SOCKET is the path of a `stats socket`, or tcp:HOST:PORT. COMMAND is one argument, such as
'show info'; the payload of one that ends in << is read from standard input. --json prints records
for `show info`, `stat`, `servers state`, `servers conn`, `map`, `acl`, `backend`, `sess`, `table`,
`ssl cert` and `ssl crt-list`, and a list of lines for everything else. --deadline: seconds until
it is given up, 5 unless told otherwise.

Exit status: 0; 1 when HAProxy refused, with its words on standard error, or could not be reached;
2 for wrong usage.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping
from typing import Any

import attrs

from haproxy.errors import CommandRejected, HAProxyError, InvalidValue
from haproxy.protocol import name_of
from haproxy.runtime import DEADLINE_S, RuntimeClient
from haproxy.verdicts import judge

_SEVERITY = re.compile(r"\[([0-7])\]: ")
_ERROR = 3  # as syslog counts them
_READS = {"show", "get", "help", "echo", "dump", "wait"}


def main(arguments: list[str]) -> int:
    """Returns the exit status. Raises `SystemExit` for wrong usage."""
    options = _options(arguments)
    try:
        with RuntimeClient(options.socket, options.deadline) as client:
            shown = _shown(client, _with_payload(options.command), as_json=options.json)
    except InvalidValue as error:
        return _failed(2, str(error))
    except CommandRejected as error:
        return _failed(1, error.reply.strip())
    except HAProxyError as error:
        return _failed(1, str(error))
    sys.stdout.write(f"{shown}\n" if shown else "")
    return 0


def _failed(status: int, words: str) -> int:
    sys.stderr.write(f"{words}\n")
    return status


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m haproxy", description="See the documentation.")
    parser.add_argument("socket", metavar="SOCKET", help="a path, or tcp:HOST:PORT")
    parser.add_argument("command", metavar="COMMAND", help="one argument, such as 'show info'")
    parser.add_argument("--json", action="store_true", help="records instead of text")
    parser.add_argument("--deadline", type=_seconds, default=DEADLINE_S, metavar="S")
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value <= 0:
        raise ValueError
    return value


def _with_payload(command: str) -> str:
    if not command.endswith("<<"):
        return command
    payload = sys.stdin.read()
    return f"{command}\n{payload}" if payload.endswith("\n") else f"{command}\n{payload}\n"


def _shown(client: RuntimeClient, command: str, *, as_json: bool) -> str:
    if as_json:
        records = _records(client, command.split())
        if records is None:
            records = _text(client, command).splitlines()
        return json.dumps(_plain(records), ensure_ascii=False)
    return _text(client, command)


def _records(client: RuntimeClient, words: list[str]) -> object:
    """The result of the typed call for a command, None if it has none."""
    match words:
        case ["show", "info"]:
            return client.stats.process()
        case ["show", "stat"]:
            return client.stats.rows()
        case ["show", "servers", "state", *backend]:
            return client.servers.state(*backend[:1])
        case ["show", "servers", "conn", *backend]:
            return client.servers.connections(*backend[:1])
        case ["show", "backend"]:
            return client.backends.names()
        case ["show", "sess"]:
            return client.sessions.streams()
        case _:
            return _tables(client, words)


def _tables(client: RuntimeClient, words: list[str]) -> object:
    match words:
        case ["show", "map"]:
            return client.maps.files()
        case ["show", "map", name]:
            return client.maps.rows(name)
        case ["show", "acl"]:
            return client.acls.files()
        case ["show", "acl", name]:
            return client.acls.patterns(name)
        case ["show", "table"]:
            return client.tables.list()
        case ["show", "table", name]:
            return client.tables.entries(name)
        case ["show", "ssl", "cert"]:
            return client.certificates.names()
        case ["show", "ssl", "cert", name]:
            return client.certificates.show(name)
        case ["show", "ssl", "crt-list", name]:
            return client.crt_lists.lines(name)
    return None


def _text(client: RuntimeClient, command: str) -> str:
    """HAProxy's reply. Raises `CommandRejected`."""
    _, reply = client.execute(("set severity-output number", command))
    severity, text = _SEVERITY.match(reply), _SEVERITY.sub("", reply, count=1)
    refused = bool(severity and int(severity[1]) <= _ERROR) or text.startswith("Unknown command")
    if command.split(maxsplit=1)[0] not in _READS:
        refused = refused or judge(command, text) != "done"
    if refused:
        raise CommandRejected(name_of(command), text)
    return text.strip("\n")


def _plain(value: Any) -> Any:
    """What JSON can say."""
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))
        return {one.name.lstrip("_"): _plain(getattr(value, one.name)) for one in fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value if isinstance(value, str | int | float | None) else str(value)
    return [_plain(one) for one in value]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
