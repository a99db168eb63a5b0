"""What holds of typed calls holds on the HAProxy in memory too, where `haproxy.apply` needs them.

It takes part here as the version that ``$HAPROXY`` is, so that both are held to the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from haproxy.runtime import RuntimeClient
from haproxy.testing import FakeHAProxy, FakeSocket
from tests.integration.contract import CONTRACTS, Contract, lists, members, reading, tls
from tests.integration.kit.certs import pair
from tests.integration.kit.real import CERTIFICATE, CRT_LIST, MAP, version

pytestmark = pytest.mark.integration

assert {lists, members, reading, tls}  # importing them registers their calls

CONFIG = f"""\
defaults profile
    mode http
defaults profile-tcp
    balance roundrobin
frontend front from profile
    bind unix@https ssl crt-list {CRT_LIST}
backend web from profile
    server s1 127.0.0.1:9 id 1 weight 1
    server checked 127.0.0.1:9 id 2 weight 1
backend counts from profile
"""
# It knows of a certificate what `apply` reads, its SHA-1 and whether it is used, and of the line
# of a crt-list one name.
BEYOND = {
    *("certificates.show", "certificates.set", "certificates.commit", "certificates.replace"),
    *("crt_lists.lines", "crt_lists.add", "crt_lists.delete"),
}
KNOWN = [
    pytest.param(one, id=one.name)
    for one in CONTRACTS.values()
    if one.apply and one.name not in BEYOND and (one.needs is None or version().has(one.needs))
]


@pytest.fixture
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeClient]:
    site = pair("a.test", "www.a.test")
    files = {
        "haproxy.cfg": CONFIG,
        MAP: "/a web\n/b two words\n",
        CERTIFICATE: site.chain + site.key,
        CRT_LIST: f"{CERTIFICATE}\n{CERTIFICATE} *.w.test\n",
    }
    haproxy = FakeHAProxy(version=f"{version()}.0", worker=1_000)
    haproxy.publish({name: text.encode() for name, text in files.items()})
    haproxy.start()
    haproxy.description = "structure-1"
    path: Path = tmp_path_factory.mktemp("d") / "s"
    with FakeSocket(haproxy, path) as double, RuntimeClient(double.address) as client:
        yield client


@pytest.mark.parametrize("contract", KNOWN)
def test_a_call_does_what_it_says(contract: Contract, client: RuntimeClient) -> None:
    contract.act(client)
