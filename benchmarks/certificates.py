"""How long it takes until one more certificate is served, beside those that are there already.

A daemon on a folder of manifests starts with so many Secrets, each with an Ingress for a host of
its own. Then Secrets with an Ingress come one at a time, each a file that is renamed into the
folder after the one before has come to rest; then as many are renewed. Three times are taken:

served      a TLS client is shown the new certificate (asked over and over); from just before the
            rename, so the watcher, the reading of the file and the handshake are part of it
decided     the daemon's own `total_s`: from the arrival of the change to HAProxy having it
applied     its `apply_s`: from the first command to the last reply

    python benchmarks/certificates.py --certificates 10 1000 --changes 100

The binary is $HAPROXY, or `haproxy` on PATH.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.integration.kit.certs import Pair, pair, secret, served
from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.objects import Object, ingress, service

MEASURES = ("served", "decided", "applied")
Measured = dict[str, list[float]]


def site(number: int, of: Pair) -> list[Object]:
    """A Secret, and the Ingress that uses it for a host of its own."""
    made = ingress(f"site-{number}", host(number), {"/": "web"})
    made["spec"]["tls"] = [{"hosts": [host(number)], "secretName": f"site-{number}"}]
    return [secret(f"site-{number}", of), made]


def host(number: int) -> str:
    return f"h{number}.test"


def change(daemon: Daemon, number: int) -> tuple[float, float, float]:
    """Seconds until a new certificate for a host is served, and the daemon's own account."""
    new = pair(host(number))
    known = daemon.decisions()[0]["id"]
    objects = site(number, new)
    began_s = time.perf_counter()
    daemon.write(f"{number}.yaml", objects)
    while served(daemon.https_port, host(number)).serial_number != new.serial:
        pass
    served_s = time.perf_counter() - began_s
    daemon.wait_for(lambda: daemon.decisions()[0]["id"] > known)
    decided = [one for one in daemon.decisions() if one["id"] > known]
    assert [one["action"] for one in decided] == ["runtime"], decided
    return served_s, decided[0]["total_s"], decided[0]["apply_s"]


def measure(count: int, changes: int) -> Iterator[tuple[str, Measured]]:
    there = [each for number in range(count) for each in site(number, pair(host(number)))]
    began_s = time.perf_counter()
    with running({"web.yaml": [service("web")], "all.yaml": there}) as daemon:
        print(f"{count} certificates: ready after {time.perf_counter() - began_s:.2f} s")
        before = daemon.served()
        numbers = range(count, count + changes)
        for what in ("new", "renewed"):
            columns = zip(*(change(daemon, number) for number in numbers), strict=True)
            yield what, dict(zip(MEASURES, map(list, columns), strict=True))
        assert daemon.served() == before, "it was reloaded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--certificates", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--changes", type=int, default=100)
    asked = parser.parse_args()
    rows = []
    for count in asked.certificates:
        for what, measured in measure(count, asked.changes):
            for name, values in measured.items():
                cuts = quantiles(values, n=100, method="inclusive")
                shown = (f"{value * 1e3:.2f}" for value in (cuts[49], cuts[98], max(values)))
                rows.append(f"| {count} | {what} | {name} | " + " | ".join(shown) + " |")
    print("| certificates | change | measure | p50, ms | p99, ms | max, ms |")
    print("|---:|---|---|---:|---:|---:|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
