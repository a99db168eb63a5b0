"""The table of what versions can do, held against the HAProxy that ``$HAPROXY`` is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from haproxy.capabilities import SERVER_KEYWORDS, Capabilities, Feature, Limits
from haproxy.errors import InvalidValue, Unsupported
from haproxy.runtime import RuntimeClient
from tests.integration.contract.tls import filled
from tests.integration.kit.certs import pair
from tests.integration.kit.real import CA, CERTIFICATE, MAP, Running, running, version

pytestmark = pytest.mark.integration

HERE = version()

# What a keyword is tried with: its own value, and other keywords that it needs.
VALUES = {
    "addr": "127.0.0.1",
    "agent-addr": "127.0.0.1",
    "agent-inter": "5s",
    "agent-port": "9",
    "agent-send": "x",
    "alpn": "h2",
    "ca-file": CA,
    "check-alpn": "h2",
    "check-pool-conn-name": "x",
    "check-proto": "h2",
    "check-sni": "a.test",
    "ciphers": "HIGH",
    "ciphersuites": "TLS_AES_128_GCM_SHA256",
    "client-sigalgs": "RSA+SHA256",
    "cookie": "x",
    "crl-file": "r.pem",
    "crt": CERTIFICATE,
    "curves": "P-256",
    "downinter": "5s",
    "error-limit": "5",
    "fall": "3",
    "fastinter": "1s",
    "guid": "g-1",
    "hash-key": "addr",
    "healthcheck": "hc1",
    "idle-ping": "5s",
    "init-state": "up",
    "inter": "5s",
    "ktls": "off",
    "maxconn": "5",
    "maxqueue": "5",
    "minconn": "5",
    "npn": "h2",
    "observe": "layer4",
    "on-error": "mark-down",
    "on-marked-down": "shutdown-sessions",
    "on-marked-up": "shutdown-backup-sessions",
    "pool-conn-name": "str(x)",
    "pool-low-conn": "1",
    "pool-max-conn": "5",
    "pool-purge-delay": "5s",
    "port": "9",
    "proto": "h2",
    "proxy-v2-options": "ssl",
    "rise": "2",
    "set-proxy-v2-tlv-fmt": "%[src]",
    "shard": "1",
    "sigalgs": "RSA+SHA256",
    "slowstart": "5s",
    "sni": "str(a.test)",
    "source": "127.0.0.1",
    "ssl-max-ver": "TLSv1.3",
    "ssl-min-ver": "TLSv1.2",
    "track": "web/checked",
    "verify": "none",
    "verifyhost": "a.test",
    "ws": "auto",
}
NEEDS = {
    "agent-check": {"agent-port": "9"},
    "check-ssl": {"verify": "none"},
    "crl-file": {"ssl": "", "verify": "required", "ca-file": CA},
    "healthcheck": {"check": ""},
    "observe": {"check": ""},
    "ssl": {"verify": "none"},
}
SPELLED = {"set-proxy-v2-tlv-fmt": "set-proxy-v2-tlv-fmt(0xE1)"}

# A command that answers otherwise where the feature is.
TRIED = {
    Feature.ADD_CA_FILE: "add ssl ca-file none.pem <<\nx\n",
    Feature.WAIT: "wait 1ms",
    Feature.ECHO: "echo x",
    Feature.SERVED_NAMES: "show ssl sni",
    Feature.DYNAMIC_BACKENDS: "add backend",
    Feature.WAIT_FOR_BACKEND: "wait 1ms be-removable web",
    Feature.CHECK_ADDRESS: "set server web/checked check-addr 127.0.0.9",
}
LACKING = ("Unknown command", "Usage: wait", "invalid addr '127.0.0.9'")


@pytest.fixture(scope="module")
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("l")) as haproxy:
        yield haproxy


@pytest.fixture
def client(haproxy: Running) -> Iterator[RuntimeClient]:
    with RuntimeClient(haproxy.socket) as client:
        yield client


@pytest.mark.parametrize("feature", TRIED, ids=lambda one: one.name)
def test_the_table_says_of_a_feature_what_haproxy_says(
    client: RuntimeClient, feature: Feature
) -> None:
    (reply,) = client.execute([TRIED[feature]])
    assert reply.startswith(LACKING) is not HERE.has(feature), reply


@pytest.mark.parametrize("name", SERVER_KEYWORDS)
def test_the_table_says_of_a_keyword_what_haproxy_says(client: RuntimeClient, name: str) -> None:
    value = VALUES.get(name, "")
    spelled = SPELLED.get(name, name)
    server = f"k-{name}"
    words = {**NEEDS.get(name, {}), spelled: value}
    if name == "crl-file":
        filled(client)
    if HERE.version in SERVER_KEYWORDS[name].span:
        client.servers.add("web", server, "127.0.0.1", 9, keywords=words)
        return
    with pytest.raises(Unsupported) as caught:
        client.servers.add("web", server, "127.0.0.1", 9, keywords=words)
    assert caught.value.has == str(SERVER_KEYWORDS[name].span)
    (reply,) = client.execute([f"add server web/{server} 127.0.0.1:9 {spelled} {value}".strip()])
    assert "New server registered" not in reply


def test_a_keyword_that_takes_a_value_gets_one(client: RuntimeClient) -> None:
    for words in ({"check": "yes"}, {"inter": ""}, {"resolvers": "dns"}, {"x y": ""}):
        with pytest.raises(InvalidValue):
            client.servers.add("web", "k", "127.0.0.1", 9, keywords=words)


def add_map(size_bytes: int) -> str:
    """A command whose bytes on the wire are so many, the line that ends it included."""
    head, rows = f"add map {MAP} <<\n", list[str]()
    left = size_bytes - len(head) - 1
    while left > 200:
        rows.append(f"/{len(rows):06} " + "v" * 91 + "\n")
        left -= len(rows[-1])
    rows.append("/last " + "v" * (left - 7) + "\n")
    return head + "".join(rows)


def test_the_largest_payload_goes_through(client: RuntimeClient) -> None:
    command = add_map(HERE.limits.payload_bytes)
    client.maps.clear(MAP)
    assert client.execute([command]) == ("",)
    assert len(client.maps.rows(MAP)) == command.count("\n") - 1


def test_a_larger_payload_is_refused_before_it_is_sent(client: RuntimeClient) -> None:
    limit_bytes = HERE.limits.payload_bytes
    with pytest.raises(InvalidValue, match=f"at most {limit_bytes} bytes"):
        client.execute([add_map(limit_bytes + 1)])
    assert client.info().pid > 0


def test_the_longest_line_goes_through(client: RuntimeClient) -> None:
    client.maps.replace(MAP, {"/a": "web"})
    head = f"set map {MAP} /a "
    value = "v" * (HERE.limits.line_bytes - len(head) - 1)
    client.batch([head + value])
    assert client.maps.rows(MAP)[0].value == value
    with pytest.raises(InvalidValue, match=f"at most {HERE.limits.line_bytes} bytes"):
        client.batch([head + value + "v"])


def test_an_empty_line_in_a_payload_is_safe_or_refused(client: RuntimeClient) -> None:
    made = pair("b.test")
    command = f"set ssl cert {CERTIFICATE} <<\n{made.chain}\n{made.key}\n\n"
    if not HERE.has(Feature.END_PATTERN):
        with pytest.raises(InvalidValue):
            client.execute([command])
        return
    client.batch([command, f"commit ssl cert {CERTIFICATE}"])
    assert client.certificates.show(CERTIFICATE).names == ("b.test",)


def test_a_large_certificate_is_set_where_the_version_takes_it(client: RuntimeClient) -> None:
    made = pair("l.test")
    chain = made.chain + "".join(pair(f"{number}.test").chain for number in range(40))
    if not HERE.has(Feature.LARGE_PAYLOAD):
        with pytest.raises(InvalidValue, match="at most 16000 bytes"):
            client.certificates.replace(CERTIFICATE, chain + made.key)
        return
    client.certificates.replace(CERTIFICATE, chain + made.key)
    assert client.certificates.show(CERTIFICATE).names == ("l.test",)


def test_the_line_in_between_has_what_its_documentation_says() -> None:
    assert Capabilities((2, 8)).limits == Limits(16_000, 16_000, end_pattern=False)
    assert Capabilities((2, 9)).limits == Limits(16_000, 16_000, end_pattern=True)
    assert Capabilities((3, 4)).limits == Limits(16_000, 65_000, end_pattern=True)
    assert not Capabilities((2, 8)).has(Feature.WAIT)
    assert not Capabilities((3, 5)).has(Feature.CHECK_ADDRESS)


def test_haproxy_lists_the_keywords_of_the_table(client: RuntimeClient) -> None:
    """Since 3.2 it does; `id` and `weight` are arguments, `usesrc` is a part of `source`."""
    head, *listed = client.execute(["add server help"])[0].split("\n")
    if HERE.version < (3, 2):
        assert head.startswith("Require 'backend/server'")
        return
    known = {name for name, one in SERVER_KEYWORDS.items() if HERE.version in one.span}
    assert set(listed) - {"id", "weight", "usesrc"} == known
