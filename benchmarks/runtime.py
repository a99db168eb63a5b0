"""How many commands a second go through the Runtime API, and how long a large map takes.

Each is measured in turns within one process, round after round, against one HAProxy that serves
nobody; the median of the rounds counts.

bare            a socket loop that sends what was encoded before and only counts replies: as fast
                as HAProxy answers this process
pipelined       `RuntimeClient.execute` with all commands at once
batch           `RuntimeClient.batch` by the hundred: every reply judged, the worker checked
run             `LiveRuntime.run` with operations: as `haproxy.apply` does it
one by one      a call and its reply per command, on one connection
haproxyadmin    the package of that name, which opens a connection per command

    python benchmarks/runtime.py --commands 2000 --rounds 9 --rows 20000

The binary is $HAPROXY, or `haproxy` on PATH. haproxyadmin comes with the extra `benchmark`.
"""

from __future__ import annotations

import argparse
import gc
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from attrs import define, field, frozen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from haproxy.live import LiveRuntime
from haproxy.model import Row
from haproxy.ops import AddRow, Op, ReplaceMap, SetWeight
from haproxy.protocol import encode
from haproxy.runtime import RuntimeClient
from tests.integration.kit.runtime import serving

WINDOW_BYTES = 8_192
PAYLOAD_BYTES = 8_000
BATCH = 100
END = b"\n> "

Act = Callable[[], object]


@frozen
class Work:
    """The same, in every way of doing it. before: brings the map back, unmeasured."""

    name: str
    commands: tuple[str, ...]
    ops: tuple[Op, ...]
    admin: Callable[[Any], None]
    before: tuple[str, ...] = ()


@define
class Bare:
    """A connection in prompt mode that only counts."""

    address: str
    _connection: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(self.address)
        self.send([b"prompt\n"])

    def send(self, commands: list[bytes]) -> None:
        """In one stream, as much as the socket takes; HAProxy stops reading when it is behind."""
        data, sent, seen, tail = b"".join(commands), 0, 0, b""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN | select.POLLOUT)
        while seen < len(commands):
            [(_, ready)] = poll.poll()
            if ready & select.POLLOUT:
                flags = socket.MSG_DONTWAIT
                sent += self._connection.send(data[sent : sent + WINDOW_BYTES], flags)
                if sent == len(data):
                    poll.modify(self._connection, select.POLLIN)
            if ready & select.POLLIN:
                tail += self._connection.recv(65_536)
                seen += tail.count(END)
                tail = tail[-2:]

    def close(self) -> None:
        self._connection.close()


def works(folder: Path, count: int) -> Iterator[Work]:
    name = str(folder / "hosts.map")
    weights = [(f"s{number % 2 + 1}", number % 256) for number in range(count)]

    def weigh(admin: Any) -> None:
        servers = {one.name: one for one in admin.servers(backend="web")}
        for server, weight in weights:
            servers[server].setweight(weight)

    yield Work(
        "set weight",
        tuple(f"set server web/{server} weight {weight}" for server, weight in weights),
        tuple(SetWeight("web", server, weight) for server, weight in weights),
        weigh,
    )
    rows = [(f"host-{number}.example.test/path", f"backend_{number}") for number in range(count)]

    def add(admin: Any) -> None:
        for key, value in rows:
            admin.add_map(name, key, value)

    yield Work(
        "add map",
        tuple(f"add map {name} {key} {value}" for key, value in rows),
        tuple(AddRow(name, key, value) for key, value in rows),
        add,
        (f"clear map {name}",),
    )


def ways(work: Work, address: str) -> Iterator[tuple[str, Act, Act]]:
    """Name, what is measured, what ends it."""
    bare, client, runtime = Bare(address), RuntimeClient(address, 120), LiveRuntime(address)
    encoded = [encode(command) for command in work.commands]

    def batches() -> None:
        for at in range(0, len(work.commands), BATCH):
            client.batch(work.commands[at : at + BATCH])

    def one_by_one() -> None:
        for command in work.commands:
            client.execute((command,))

    yield "bare", lambda: bare.send(encoded), bare.close
    yield "pipelined", lambda: client.execute(work.commands), client.close
    yield "batch", batches, client.close
    yield "run", lambda: runtime.run(work.ops, runtime.pid()), client.close
    yield "one by one", one_by_one, client.close
    if admin := haproxyadmin(address):
        yield "haproxyadmin", lambda: work.admin(admin), client.close


def haproxyadmin(address: str) -> Any:
    try:
        from haproxyadmin.haproxy import HAProxy  # noqa: PLC0415  an extra
    except ImportError:
        return None
    return HAProxy(socket_file=address, timeout=10)


def timed(act: Act) -> float:
    gc.collect()
    started = perf_counter()
    act()
    return perf_counter() - started


def in_turns(acts: dict[str, Act], rounds: int, before: Act = lambda: None) -> dict[str, float]:
    """The median of each, in seconds; who begins changes from round to round."""
    taken: dict[str, list[float]] = {name: [] for name in acts}
    names = list(acts)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before()
            taken[name].append(timed(acts[name]))
    return {name: median(times) for name, times in taken.items()}


@contextmanager
def resetting(address: str, commands: tuple[str, ...]) -> Iterator[Act]:
    with RuntimeClient(address, 120) as client:
        yield lambda: client.execute(commands) if commands else None


def commands(folder: Path, count: int, rounds: int) -> None:
    address = str(folder / "s")
    for work in works(folder, count):
        found = list(ways(work, address))
        with resetting(address, work.before) as before:
            taken = in_turns({name: act for name, act, _ in found}, rounds, before)
        for _, _, close in found:
            close()
        for name, seconds in taken.items():
            ratio = taken["bare"] / seconds
            print(f"| {work.name} | {name} | {count / seconds:,.0f} | {ratio:.2f} |", flush=True)


def stream(name: str, rows: dict[str, str], version: int) -> list[bytes]:
    """The whole replacement, encoded before; *version* is what ``prepare map`` will answer."""
    made, chunk, size = [f"prepare map {name}"], "", 0
    for key, value in rows.items():
        line = f"{key} {value}\n"
        if size + len(line) > PAYLOAD_BYTES:
            made.append(f"add map @{version} {name} <<\n{chunk}")
            chunk, size = "", 0
        chunk, size = chunk + line, size + len(line)
    made += [f"add map @{version} {name} <<\n{chunk}", f"commit map @{version} {name}"]
    return [encode(command) for command in made]


def next_version(client: RuntimeClient, name: str) -> int:
    line = next(one for one in client.execute(("show map",))[0].split("\n") if name in one)
    return int(line.partition("next_ver=")[2].split(maxsplit=1)[0]) + 1


def replacement(folder: Path, count: int, rounds: int) -> None:
    address, name = str(folder / "s"), str(folder / "hosts.map")
    rows = {f"host-{number}.example.test/path": f"backend_{number}" for number in range(count)}
    op = ReplaceMap(name, {key: Row(value) for key, value in rows.items()})
    bare, runtime = Bare(address), LiveRuntime(address)
    prepared: list[bytes] = []
    with RuntimeClient(address, 120) as client:

        def prepare() -> None:
            prepared[:] = stream(name, rows, next_version(client, name))

        acts: dict[str, Act] = {
            "bare": lambda: bare.send(prepared),
            "maps.replace": lambda: client.maps.replace(name, rows),
            "run": lambda: runtime.run((op,), runtime.pid()),
        }
        taken = in_turns(acts, rounds, prepare)
    bare.close()
    for way, seconds in taken.items():
        times = seconds / taken["bare"]
        print(f"| {count:,} rows | {way} | {seconds * 1000:.1f} ms | {times:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--commands", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    with serving() as folder:
        with RuntimeClient(str(folder / "s")) as client:
            print(f"HAProxy {client.info().version}, median of {options.rounds} rounds")
        if not haproxyadmin(str(folder / "s")):
            print("haproxyadmin is not installed: pip install '.[benchmark]'")
        print("\n| work | way | commands/s | of the bare loop |\n|---|---|---:|---:|")
        commands(folder, options.commands, options.rounds)
        print("\n| work | way | time | times the bare loop |\n|---|---|---:|---:|")
        replacement(folder, options.rows, options.rounds)


if __name__ == "__main__":
    main()
