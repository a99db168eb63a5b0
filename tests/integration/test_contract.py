"""Every typed call on whatever HAProxy ``$HAPROXY`` is, or its refusal before anything is sent.

What each call does is in `tests.integration.contract`, once for all versions. Who speaks is a
parameter: a real HAProxy's own socket, or its master's.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

import pytest
from attrs import define

from haproxy.calls import Client
from haproxy.capabilities import Capabilities
from haproxy.errors import Unsupported
from haproxy.masters import MasterClient
from haproxy.runtime import RuntimeClient
from tests.integration.contract import CONTRACTS, Contract, lists, members, reading, tls
from tests.integration.kit.real import Running, running, version

pytestmark = pytest.mark.integration

assert {lists, members, reading, tls}  # importing them registers their calls


@pytest.fixture
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("c")) as haproxy:
        yield haproxy


@pytest.fixture(params=["worker", "master"])
def haproxy_socket(request: pytest.FixtureRequest, haproxy: Running) -> str:
    """The address of whoever speaks the Runtime API; ``master:`` in front of a master's."""
    return haproxy.socket if request.param == "worker" else f"master:{haproxy.master}"


@pytest.fixture
def client(haproxy_socket: str) -> Iterator[Client]:
    kind, _, master = haproxy_socket.rpartition("master:")
    if kind or haproxy_socket.startswith("master:"):
        yield MasterClient(master).worker()
        return
    with RuntimeClient(haproxy_socket) as client:
        yield client


@define
class Mute(Client):
    """Nothing may be sent."""

    version: Capabilities

    @property
    def can(self) -> Capabilities:
        return self.version

    @property
    def relayed(self) -> bool:
        return False

    def execute(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        pytest.fail(f"sent {tuple(commands)}")

    def run(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        pytest.fail(f"sent {tuple(commands)}")

    def persist(self, command: str, deadline_s: float) -> str:
        pytest.fail(f"sent {command}")

    def stream(self, command: str, deadline_s: float) -> Iterator[str]:
        pytest.fail(f"sent {command}")


def contracts(*, has: bool) -> list[object]:
    here = version()
    return [
        pytest.param(one, id=one.name)
        for one in CONTRACTS.values()
        if (one.needs is None or here.has(one.needs)) is has
    ]


@pytest.mark.parametrize("contract", contracts(has=True))
def test_a_call_does_what_it_says(contract: Contract, client: Client) -> None:
    contract.act(client)


@pytest.mark.parametrize("contract", contracts(has=False))
def test_what_the_version_lacks_is_refused_before_it_is_sent(contract: Contract) -> None:
    assert contract.needs
    with pytest.raises(Unsupported) as caught:
        contract.act(Mute(version()))
    assert caught.value.version == str(version())
    assert caught.value.has == str(contract.needs.span)


def nouns() -> dict[str, type]:
    """Where the calls are, by how they are reached from a client."""
    client = Mute(Capabilities((9, 9)))
    found = {name: getattr(client, name) for name in dir(Client) if not name.startswith("_")}
    return {n: type(o) for n, o in found.items() if type(o).__module__.startswith("haproxy.calls")}


def test_no_call_is_left_out() -> None:
    own = {"servers_state", "map_rows"}  # other names for servers.state and maps.rows
    plumbing = {"can", "relayed", "execute", "run", "persist", "stream"}
    of_client = {name for name, _ in inspect.getmembers(Client, inspect.isfunction)}
    calls = {name for name in of_client if not name.startswith("_")} - own - plumbing
    for noun, kind in nouns().items():
        methods = inspect.getmembers(kind, inspect.isfunction)
        calls |= {f"{noun}.{name}" for name, _ in methods if not name.startswith("_")}
    only_ca = {"crl_files.show", "crl_files.add"}
    assert set(CONTRACTS) == calls - only_ca
