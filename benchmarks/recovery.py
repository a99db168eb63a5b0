"""How long it takes until all is well again after a crash or a hang, under traffic.

worker, master  killed (SIGKILL) until a request is answered by a new one
daemon          killed and started again until it is ready and what changed meanwhile runs; the
                requests that failed, and whether HAProxy was reloaded
hang            HAProxy stopped (SIGSTOP) until that is known, and, once it goes on, until what
                changed meanwhile runs

    python benchmarks/recovery.py --rounds 10

The binary is $HAPROXY, or `haproxy` on PATH.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic, sleep

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.load import Load, load
from tests.integration.kit.objects import addresses
from tests.integration.kit.pods import Pods, fast_pods
from tests.integration.test_survival import (
    HOST,
    answers,
    ended,
    master,
    serving,
    site,
    stopped,
    wait,
    worker,
)

PATIENCE_S = 60.0
WARM = 200  # requests before each round
HANG_S = 2.0


@contextmanager
def stage(pods: Pods) -> Iterator[tuple[Daemon, Load]]:
    """A daemon with one Service, and traffic."""
    with (
        running({"web.yaml": site(["127.60.0.1"], pods.port)}) as daemon,
        load(daemon.port, HOST) as client,
    ):
        yield daemon, client


def killed(daemon: Daemon, client: Load, victim: Callable[[Daemon], int]) -> float:
    client.after(WARM)
    before = worker(daemon)
    os.kill(victim(daemon), signal.SIGKILL)
    return wait(lambda: ended(before) and answers(daemon), PATIENCE_S)


def replaced(daemon: Daemon, client: Load, pods: Pods, last: str) -> float:
    """The daemon is killed, a pod is replaced, the daemon is started again: from that start on."""
    client.after(WARM)
    daemon.process.kill()
    daemon.process.wait()
    daemon.write("web.yaml", site([last], pods.port))
    began_s = monotonic()
    daemon.restart()
    wait(lambda: serving(daemon) == [f"{last}:{pods.port}"], PATIENCE_S)
    return monotonic() - began_s


def hung(daemon: Daemon, client: Load, pods: Pods, last: str) -> tuple[float, float]:
    """Until it is known, and from its return until what changed meanwhile runs."""
    client.after(WARM)
    with stopped(worker(daemon)):
        noticed_s = wait(lambda: daemon.admin("/readyz").status == 503, PATIENCE_S)
        daemon.write("web.yaml", site([last], pods.port))
        sleep(HANG_S)
    return noticed_s, wait(lambda: serving(daemon) == [f"{last}:{pods.port}"], PATIENCE_S)


def row(what: str, seconds: Sequence[float]) -> None:
    shown = (f"{figure * 1e3:.0f}" for figure in (median(seconds), max(seconds)))
    print(f"| {what} | {' | '.join(shown)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = range(parser.parse_args().rounds)
    pods = addresses(len(rounds) + 1)
    print("| what | p50, ms | max, ms |\n|---|---:|---:|")
    with fast_pods() as made:
        for victim in (worker, master):
            times = []
            for _ in rounds:
                with stage(made) as (daemon, client):
                    times.append(killed(daemon, client, victim))
            row(f"{victim.__name__} killed", times)
        with stage(made) as (daemon, client):
            before = daemon.served()
            times = [replaced(daemon, client, made, pods[number]) for number in rounds]
            row("daemon killed, from its next start", times)
            reloads = daemon.served().reloads - before.reloads
            same = daemon.served().pid == before.pid
        answered, failed = client.total, len(client.failures)
        with stage(made) as (daemon, client):
            both = [hung(daemon, client, made, pods[number]) for number in rounds]
        row("hang noticed", [noticed_s for noticed_s, _ in both])
        row("in step after a hang", [step_s for _, step_s in both])
    print(
        f"\ndaemon killed: {answered} requests, {failed} failed, {reloads} reloads, "
        f"{'the same' if same else 'another'} worker"
    )


if __name__ == "__main__":
    main()
