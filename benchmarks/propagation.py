"""How long it takes until a new pod serves: p50, p99 and maximum over many single changes.

Two ways in: a manifest is replaced and the daemon watches it (`file`), or a change is handed to a
controller in this process (`memory`). Each change replaces the one pod of a Service by a new one,
after the change before it has come to rest. Three times are taken, from just before the
file is renamed into its place or the object is put:

has it      HAProxy shows the new server as ready (its Runtime API, asked over and over)
answers     the new pod has answered a request (sent over and over on one connection)
decided     the controller's own `total_s`: from the arrival of the change to HAProxy having it

    python benchmarks/propagation.py --ingresses 10 100 1000 --changes 500

The binary is $HAPROXY, or `haproxy` on PATH.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from attrs import define, field, frozen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from haproxy.capabilities import Capabilities
from haproxy.files import Layout, StateDirectory
from haproxy.live import LiveRuntime
from haproxy.local import Binary, LocalProcess
from haproxy.model import State
from haproxy.runtime import RuntimeClient
from haproxy_ingress.controller import Controller
from haproxy_ingress.sources.memory import MemorySource
from haproxy_ingress.translate import Settings
from tests.integration.kit.daemon import dump, running
from tests.integration.kit.net import free_port
from tests.integration.kit.objects import Object, endpoints, ingress, service
from tests.integration.kit.pods import Pods, fast_pods

PATIENCE_S = 10.0
MEASURES = ("has it", "answers", "decided")


@frozen
class Target:
    """What is measured: how a slice is changed, and where to look for the effect.

    change: makes the change and returns when it began, by the performance counter.
    decided_s: the `total_s` of every decision since the start.
    """

    change: Callable[[Object], float]
    decided_s: Callable[[], list[float]]
    port: int
    runtime: str


@define
class Timings:
    """Seconds, by measure."""

    seconds: dict[str, list[float]] = field(factory=lambda: {name: [] for name in MEASURES})

    def rows(self) -> Iterator[tuple[str, ...]]:
        for name, values in self.seconds.items():
            cuts = quantiles(values, n=100, method="inclusive")
            yield name, *(f"{value * 1e3:.2f}" for value in (cuts[49], cuts[98], max(values)))


def objects(count: int, pods: Pods) -> list[Object]:
    """*count* Ingresses, each with a Service of its own that has one pod."""
    made: list[Object] = []
    for number in range(count):
        name = f"s{number}"
        made += [ingress(name, f"{name}.test", {"/": name, "/api": name}), service(name)]
        made.append(slice_of(number, address(number, 0), pods))
    return made


def slice_of(number: int, pod: str, pods: Pods) -> Object:
    return endpoints(f"s{number}", [pod], pods.port)


def address(service: int, generation: int) -> str:
    """A pod's address, which no other generation and no other Service has."""
    serial = generation * 1_000 + service
    return f"127.{100 + serial // 62_500}.{serial // 250 % 250}.{serial % 250 + 1}"


def measure(target: Target, ingresses: int, changes: int, pods: Pods) -> Timings:
    """One change after the other, each to another Service."""
    timings = Timings()
    with RuntimeClient(target.runtime) as runtime:
        for number in range(changes):
            which = number * 7 % ingresses  # 7 has no factor in common with 10, 100 or 1,000
            pod = address(which, 1 + number // ingresses)
            once(target, runtime, which, pod, pods, timings)
    timings.seconds["decided"] = target.decided_s()
    return timings


def once(
    target: Target, runtime: RuntimeClient, which: int, pod: str, pods: Pods, timings: Timings
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=PATIENCE_S)
    connection.connect()
    changed = slice_of(which, pod, pods)
    start_s = target.change(changed)
    wait(lambda: ready(runtime, which) == {pod})
    has_it_s = time.perf_counter()
    wait(lambda: ask(connection, f"s{which}.test") == f"{pod}:{pods.port}")
    answers_s = time.perf_counter()
    connection.close()
    wait(lambda: present(runtime, which) == {pod})  # at rest: what left is gone
    timings.seconds["has it"].append(has_it_s - start_s)
    timings.seconds["answers"].append(answers_s - start_s)


def ready(runtime: RuntimeClient, which: int) -> set[str]:
    rows = runtime.servers_state(f"default_s{which}_80")
    return {row.address for row in rows if row.state is State.READY}


def present(runtime: RuntimeClient, which: int) -> set[str]:
    return {row.address for row in runtime.servers_state(f"default_s{which}_80")}


def ask(connection: http.client.HTTPConnection, host: str) -> str:
    connection.request("GET", "/", headers={"Host": host})
    return connection.getresponse().read().decode()


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("a change did not arrive")


@contextmanager
def by_file(made: list[Object]) -> Iterator[Target]:
    """The daemon as a process; every slice has a file of its own."""
    slices = {f"{one['metadata']['name']}.yaml": one for one in made if is_slice(one)}
    rest: list[Object] = [one for one in made if not is_slice(one)]
    with running({"all.yaml": rest, **slices}) as daemon:

        def change(changed: Object) -> float:
            staged = daemon.base / "staged"
            staged.write_text(dump(changed))
            start_s = time.perf_counter()
            staged.replace(daemon.manifests / f"{changed['metadata']['name']}.yaml")
            return start_s

        def decided_s() -> list[float]:
            return [one["total_s"] for one in daemon.decisions() if one["action"] == "runtime"]

        yield Target(change, decided_s, daemon.port, str(daemon.state / "haproxy.sock"))


def is_slice(one: Object) -> bool:
    return bool(one["kind"] == "EndpointSlice")


@contextmanager
def by_memory(made: list[Object]) -> Iterator[Target]:
    """A controller in a thread of this process, on a source that is handed objects."""
    binary = Binary(os.environ.get("HAPROXY", "haproxy"))
    with tempfile.TemporaryDirectory(prefix="hi-") as folder:
        layout = Layout.at(Path(folder, "state"))
        source, port = MemorySource(), free_port()
        runtime = str(layout.runtime_socket)
        can = Capabilities.of(binary.version())
        files = StateDirectory.open(layout, binary.check)
        process = LocalProcess(layout, binary)
        controller = Controller(
            source,
            Settings(bind_addresses=("127.0.0.1",), http_port=port, runtime_socket=runtime),
            files=files,
            process=process,
            runtime=LiveRuntime(runtime, can),
            can=can,
        )
        source.put_all(made)
        thread = threading.Thread(target=controller.run)
        thread.start()

        def change(changed: Object) -> float:
            start_s = time.perf_counter()
            source.put(changed)
            return start_s

        def decided_s() -> list[float]:
            decisions = controller.journal.decisions()
            return [one.total_s for one in decisions if one.action == "runtime"]

        try:
            wait(lambda: not controller.not_ready())
            yield Target(change, decided_s, port, runtime)
        finally:
            controller.stop()
            thread.join()
            process.stop(1.0)
            files.close()


WAYS = {"file": by_file, "memory": by_memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ingresses", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    chosen = parser.parse_args()
    print("| way in | Ingresses | measure | p50, ms | p99, ms | max, ms |")
    print("|---|---:|---|---:|---:|---:|")
    with fast_pods() as pods:
        for way in chosen.ways:
            for count in chosen.ingresses:
                with WAYS[way](objects(count, pods)) as target:
                    timings = measure(target, count, chosen.changes, pods)
                for row in timings.rows():
                    print(f"| {way} | {count} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
