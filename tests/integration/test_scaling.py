"""Pods come and go under load: HAProxy is never reloaded and no client notices.

Each test has a Service of its own behind the same daemon, and a client that sends requests from
before its first change until after its last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import define

from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.load import Load, load
from tests.integration.kit.objects import Object, addresses, endpoints, ingress, pod, service
from tests.integration.kit.pods import Pods

pytestmark = pytest.mark.integration

SERVICES = ["scaled", "replaced", "rolled", "flapping", "sliced", "dual", "dual6", "ported", "gone"]
ENOUGH = 4_000  # requests after a change: each of 100 pods gets its share of them
IN_TOTAL = 8_000  # at least, in each test


@define
class Stage:
    """One Service, the daemon that serves it and the client that uses it."""

    name: str
    daemon: Daemon
    client: Load
    pods: Pods

    def scale(self, pods: list[str] | list[Object], port: int = 0, suffix: str = "1") -> None:
        """Replace a slice of the Service."""
        listed = endpoints(self.name, pods, port or self.pods.port, suffix)
        self.daemon.write(f"{self.name}-{suffix}.yaml", listed)

    def settle(self, pods: list[str], port: int = 0) -> None:
        """*pods* serve, every one of them, and nobody else does."""
        self.settle_on([f"{address}:{port or self.pods.port}" for address in pods])

    def settle_on(self, servers: list[str]) -> None:
        self.daemon.wait_for(lambda: self.daemon.serving(self.name) == sorted(servers))
        assert set(self.client.after(ENOUGH)) == set(servers)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Every Service of this file exists from the start, without a pod."""
    routes = [ingress(name, f"{name}.test", {"/": name}) for name in SERVICES]
    families = {"dual": ["IPv4", "IPv6"], "dual6": ["IPv6", "IPv4"]}
    services = [
        service(name, ipFamilies=families[name]) if name in families else service(name)
        for name in SERVICES
    ]
    with running({"all.yaml": routes + services}) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def undisturbed(daemon: Daemon) -> Iterator[None]:
    """The worker that serves is the same one at the end, and HAProxy counts no reload."""
    before = daemon.served()
    yield
    assert daemon.served() == before
    daemon.loadable()


@contextmanager
def stage(name: str, daemon: Daemon, pods: Pods, *slices: Object) -> Iterator[Stage]:
    """*slices* of the Service *name* are there, and a client that must not see a failure."""
    for number, listed in enumerate(slices, start=1):
        daemon.write(f"{name}-{number}.yaml", listed)
    daemon.wait_for(lambda: daemon.request("/", f"{name}.test").status == 200)
    with load(daemon.port, f"{name}.test") as client:
        yield Stage(name, daemon, client, pods)
        client.after(max(0, IN_TOTAL - client.total))
    assert client.failures == []
    assert client.total >= IN_TOTAL


def test_scaling_from_2_to_100_to_3(daemon: Daemon, fast: Pods) -> None:
    with stage("scaled", daemon, fast, endpoints("scaled", addresses(2), fast.port)) as scaled:
        for count in (2, 100, 3):
            scaled.scale(addresses(count))
            scaled.settle(addresses(count))


def test_scaling_in_steps(daemon: Daemon, fast: Pods) -> None:
    """As a deployment does: one pod more, one pod less, twenty times in a row."""
    with stage(
        "rolled", daemon, fast, endpoints("rolled", addresses(3, net="127.51"), fast.port)
    ) as rolled:
        for step in range(1, 20):
            rolled.scale(addresses(4, start=step, net="127.51"))
            rolled.scale(addresses(3, start=step + 1, net="127.51"))
        rolled.settle(addresses(3, start=20, net="127.51"))


def test_replacing_all_pods(daemon: Daemon, fast: Pods) -> None:
    first, second = addresses(10, net="127.52"), addresses(10, net="127.53")
    with stage("replaced", daemon, fast, endpoints("replaced", first, fast.port)) as replaced:
        for pods in (second, first, second):
            replaced.scale(pods)
            replaced.settle(pods)


def test_readiness_that_flaps(daemon: Daemon, fast: Pods) -> None:
    """A pod that is not ready gets nothing; one that is ready again gets its share."""
    steady, flapping, last = "127.54.0.1", "127.54.0.2", "127.54.0.3"

    def pods(ready: bool) -> list[Object]:
        return [pod(steady, "steady"), pod(flapping, "flapping", ready=ready)]

    start = endpoints("flapping", pods(ready=True), fast.port)
    with stage("flapping", daemon, fast, start) as service:
        for _ in range(20):
            service.scale(pods(ready=False))
            service.scale(pods(ready=True))
        service.scale([*pods(ready=False), pod(last, "last")])  # so that this state is new
        service.settle([steady, last])
        service.scale(pods(ready=True))
        service.settle([steady, flapping])


def test_terminating_pods_get_no_new_requests(daemon: Daemon, fast: Pods) -> None:
    """They drain while others are ready, and serve when nothing else is left."""
    staying, leaving = "127.55.0.1", "127.55.0.2"
    draining = pod(leaving, "leaving", ready=False, serving=True, terminating=True)
    start = endpoints("gone", [staying, leaving], fast.port)
    with stage("gone", daemon, fast, start) as service:
        service.scale([pod(staying, "staying"), draining])
        service.settle([staying])
        service.scale([draining])
        service.settle([leaving])
        service.scale([staying])
        service.settle([staying])


def test_two_slices(daemon: Daemon, fast: Pods) -> None:
    """Pods are those of all slices; one that moves from one to the other stays."""
    first, both, second = "127.56.0.1", "127.56.0.2", "127.56.0.3"
    slices = [
        endpoints("sliced", [first, both], fast.port, "1"),
        endpoints("sliced", [second], fast.port, "2"),
    ]
    with stage("sliced", daemon, fast, *slices) as sliced:
        sliced.settle([first, both, second])
        sliced.scale([both, second], suffix="2")  # in both for a while
        sliced.settle([first, both, second])
        sliced.scale([first], suffix="1")
        sliced.settle([first, both, second])
        (daemon.manifests / "sliced-1.yaml").unlink()
        sliced.settle([both, second])


@pytest.mark.parametrize(
    ("name", "first"), [("dual", "127.57.0.1"), ("dual6", "::1")], ids=["v4-first", "v6-first"]
)
def test_dual_stack_pods_count_once(daemon: Daemon, fast: Pods, name: str, first: str) -> None:
    """A pod with an address of each family is one server, at the Service's first family."""
    slices = [
        endpoints(name, [pod("127.57.0.1", "pod")], fast.port, "1"),
        endpoints(name, [pod("::1", "pod")], fast.port, "2", family="IPv6"),
    ]
    with stage(name, daemon, fast, *slices) as dual:
        dual.settle([first])
        (daemon.manifests / f"{name}-2.yaml").unlink()
        dual.settle(["127.57.0.1"])
        daemon.write(f"{name}-2.yaml", slices[1])
        dual.settle([first])


def test_different_target_ports(daemon: Daemon, fast: Pods) -> None:
    """While a deployment moves to another port, each pod is reached on its own."""
    old, new = addresses(3, net="127.58"), addresses(3, start=4, net="127.58")
    with stage("ported", daemon, fast, endpoints("ported", old, fast.port, "1")) as ported:
        ported.scale(new, fast.other_port, suffix="2")
        ported.settle_on(
            [f"{a}:{fast.port}" for a in old] + [f"{a}:{fast.other_port}" for a in new]
        )
        ported.scale([], suffix="1")
        ported.settle(new, fast.other_port)
        ported.scale(new, fast.port, suffix="2")  # the same pods on another port
        ported.settle(new, fast.port)
