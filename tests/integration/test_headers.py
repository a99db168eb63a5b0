"""What backends are told about clients, whatever clients say: row by row, through a real HAProxy.

Clients come from several addresses of 127.0.0.0/8; some of them are trusted.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping

import pytest
from attrs import field, frozen

from haproxy_ingress.headers import HOPS, MAX_REQUEST_ID
from tests.integration.kit.certs import connect, pair, secret
from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.net import DEADLINE_S, Response, parse, read_all
from tests.integration.kit.objects import Object, endpoints, ingress, service
from tests.integration.kit.pods import Pods

pytestmark = pytest.mark.integration

HOST = "a.test"
STRANGER, PROXY, OUTER, SINGLE = "127.0.0.1", "127.1.0.1", "127.1.0.9", "127.2.0.5"
TRUSTED = ("127.1.0.0/16", "127.2.0.5", "2001:db8:1::/48")
CLIENT = "198.51.100.7"  # reached through proxies only
GENERATED = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
PORT = "PORT"

Seen = Mapping[str, tuple[str, ...]]

# What a stranger who says nothing looks like.
PLAIN: Seen = {
    "host": (HOST,),
    "x-forwarded-for": (STRANGER,),
    "x-original-forwarded-for": (),
    "x-real-ip": (STRANGER,),
    "x-forwarded-host": (HOST,),
    "x-forwarded-port": (PORT,),
    "x-forwarded-proto": ("http",),
    "x-forwarded-scheme": ("http",),
    "x-scheme": ("http",),
    "x-original-uri": ("/a?b=c",),
    "x-request-id": (GENERATED,),
    "proxy": (),
    "forwarded": (),
}

# Every header that is ours, in the words of someone who lies.
FORGED = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Original-Forwarded-For: 6.6.6.7",
    "X-Real-IP: 6.6.6.8",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Scheme: wss",
    "X-Scheme: ftp",
    "X-Original-URI: /evil",
    "X-Request-ID: mine-1",
    "X-Forwarded-Prefix: /evil",
    "X-Forwarded-User: root",
    "Forwarded: for=6.6.6.9",
    "Proxy: evil.test:1",
    "SSL-Client-Verify: SUCCESS",
    "SSL-Client-Subject-DN: CN=evil",
    "SSL-Client-Cert: evil",
)


@frozen
class Row:
    """sent: header lines. seen: what of `PLAIN` is otherwise. source: the client's address."""

    sent: tuple[str, ...] = ()
    seen: Seen = field(factory=dict)
    source: str = STRANGER
    target: str = "/a?b=c"


def through(
    *addresses: str, client: str = CLIENT, original: tuple[str, ...] = ()
) -> dict[str, tuple[str, ...]]:
    """The list a backend sees, the last of which is the sender, and who is the client."""
    listed = (", ".join(addresses),)
    return {
        "x-forwarded-for": listed,
        "x-real-ip": (client,),
        "x-original-forwarded-for": original,
    }


def trusting(**headers: str) -> dict[str, tuple[str, ...]]:
    """Seen from `PROXY`, with other headers by their names."""
    named = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    return {"x-forwarded-for": (PROXY,), "x-real-ip": (PROXY,), **named}


def misspelled(header: str) -> str:
    name, _, value = header.partition(":")
    return f"{name.replace('-', '_')}:{value}"


HTTPS = {"x_forwarded_proto": "https", "x_forwarded_scheme": "https", "x_scheme": "https"}
LONG_LIST = ", ".join(["6.6.6.6"] * 500)

# fmt: off
ROWS = {
    # From a stranger: nothing is believed.
    "says-nothing": Row(),
    "forges-all": Row(FORGED, {
        "x-original-forwarded-for": ("6.6.6.6",), "x-request-id": ("mine-1",),
        "x-forwarded-prefix": (), "x-forwarded-user": (),
        "ssl-client-verify": (), "ssl-client-subject-dn": (), "ssl-client-cert": (),
    }),
    "forges-all-in-upper-case": Row(tuple(map(str.upper, FORGED)), {
        "x-original-forwarded-for": ("6.6.6.6",), "x-request-id": ("MINE-1",),
        "ssl-client-verify": (), "ssl-client-subject-dn": (), "ssl-client-cert": (),
    }),
    "forges-all-twice": Row(FORGED * 2, {
        "x-original-forwarded-for": ("6.6.6.6, 6.6.6.6",),
        "x-forwarded-prefix": (), "ssl-client-verify": (), "ssl-client-cert": (),
    }),
    "forges-all-with-underscores": Row(tuple(map(misspelled, FORGED)), {
        misspelled(header).lower().partition(":")[0]: () for header in FORGED
    } | {"x-original-forwarded-for": ()}),
    "forges-empty-headers": Row(
        tuple(header.partition(":")[0] + ":" for header in FORGED),
        {"ssl-client-verify": (), "x-forwarded-prefix": ()},
    ),
    "half-an-underscore": Row(
        ("x-forwarded_for: 6.6.6.6", "ssl_client-verify: SUCCESS", "X_Request-ID: 1"),
        {"x-forwarded_for": (), "ssl_client-verify": (), "x_request-id": ()},
    ),
    "several-lists": Row(
        ("X-Forwarded-For: 1.1.1.1", "Accept: */*", "x-forwarded-for: 2.2.2.2, 3.3.3.3",
         "X-Forwarded-For:4.4.4.4", "X-Real-IP: 5.5.5.5"),
        {"x-original-forwarded-for": ("1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4",), "accept": ("*/*",)},
    ),
    "a-list-that-is-long": Row(
        (f"X-Forwarded-For: {LONG_LIST}",), {"x-original-forwarded-for": (LONG_LIST,)}),
    "a-list-that-is-no-list": Row(
        ('X-Forwarded-For: <script>"%[src]',), {"x-original-forwarded-for": ('<script>"%[src]',)}),
    "other-headers-stay": Row(
        ("X-Forward: 1", "X-Real: 2", "Proxy-Authorization: 3", "X-Original: 4", "ssl-client: 5",
         "x_custom: 6", "Cookie: a=b"),
        {"x-forward": ("1",), "x-real": ("2",), "proxy-authorization": ("3",), "x-original": ("4",),
         "ssl-client": ("5",), "x_custom": ("6",), "cookie": ("a=b",)},
    ),
    "names-ours-in-connection": Row(
        ("Connection: close, X-Forwarded-For, X-Real-IP", "Connection: SSL-Client-Verify"),
        {"connection": ()},
    ),
    "upgrade-to-http2": Row(
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        {"upgrade": ()}),
    "upgrade-from-a-trusted-sender": Row(
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"), {**trusting(), "upgrade": ()},
        PROXY),
    "a-stranger-next-to-a-trusted-one": Row(
        FORGED, through("127.2.0.6", client="127.2.0.6", original=("6.6.6.6",))
        | {"x-request-id": ("mine-1",)}, "127.2.0.6"),

    # X-Request-ID: from anyone, as long as it is harmless.
    "id-kept": Row(("X-Request-ID: 7f-A_z.0:/+=@~",), {"x-request-id": ("7f-A_z.0:/+=@~",)}),
    "id-as-long-as-may-be": Row(
        ("X-Request-ID: " + "a" * MAX_REQUEST_ID,), {"x-request-id": ("a" * MAX_REQUEST_ID,)}),
    "id-too-long": Row(("X-Request-ID: " + "a" * (MAX_REQUEST_ID + 1),)),
    "id-far-too-long": Row(("X-Request-ID: " + "a" * 9_000,)),
    "id-empty": Row(("X-Request-ID:",)),
    "id-of-two-words": Row(("X-Request-ID: a b",)),
    "id-with-quotes": Row(('X-Request-ID: a"b',)),
    "id-not-ascii": Row(("X-Request-ID: \xe4",)),
    "id-twice": Row(("X-Request-ID: a", "X-Request-ID: b")),
    "id-twice-one-of-them-bad": Row(("X-Request-ID: a", "X-Request-ID: b c")),

    # X-Original-URI: as sent.
    "uri-as-sent": Row(
        target="//x/../%7euser?q=%20", seen={"x-original-uri": ("//x/../%7euser?q=%20",)}),
    "uri-absolute": Row(target="http://a.test/x?y", seen={"x-original-uri": ("/x?y",)}),
    "uri-long": Row(target="/" + "a" * 6_000, seen={"x-original-uri": ("/" + "a" * 6_000,)}),
    "uri-without-room-for-a-second": Row(target="/" + "a" * 12_000, seen={"x-original-uri": ()}),
    "uri-without-room-and-forged": Row(
        ("X-Original-URI: /evil",), target="/" + "a" * 12_000, seen={"x-original-uri": ()}),

    # From a trusted sender: its list is kept, and its word about the client's end of things.
    "trusted-says-nothing": Row((), trusting(), PROXY),
    "trusted-single-address": Row(
        (f"X-Forwarded-For: {CLIENT}",), through(CLIENT, SINGLE), SINGLE),
    "trusted-says-all": Row(FORGED, {
        **through("6.6.6.6", PROXY, client="6.6.6.6", original=("6.6.6.7",)),
        "x-forwarded-host": ("evil.test",), "x-forwarded-port": ("666",),
        "x-forwarded-proto": ("https",), "x-forwarded-scheme": ("https",), "x-scheme": ("https",),
        "x-request-id": ("mine-1",), "x-forwarded-prefix": ("/evil",),
        "x-forwarded-user": ("root",), "forwarded": ("for=6.6.6.9",),
        "ssl-client-verify": (), "ssl-client-subject-dn": (), "ssl-client-cert": (),
    }, PROXY),
    "trusted-says-all-with-underscores": Row(tuple(map(misspelled, FORGED)), trusting() | {
        misspelled(header).lower().partition(":")[0]: ()
        for header in FORGED if not header.startswith("Forwarded")
    } | {"forwarded": ("for=6.6.6.9",)}, PROXY),
    "trusted-proto": Row(("X-Forwarded-Proto: https",), trusting(**HTTPS), PROXY),
    "trusted-host": Row(
        ("X-Forwarded-Host: b.test:444",), trusting(x_forwarded_host="b.test:444"), PROXY),
    "trusted-port": Row(("X-Forwarded-Port: 443",), trusting(x_forwarded_port="443"), PROXY),
    "trusted-empty": Row(
        ("X-Forwarded-For:", "X-Forwarded-Proto:", "X-Forwarded-Host:", "X-Forwarded-Port:"),
        trusting(), PROXY),
    "trusted-list": Row(
        (f"X-Forwarded-For: 6.6.6.6, {CLIENT}",), through("6.6.6.6", CLIENT, PROXY), PROXY),
    "trusted-lists": Row(
        ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", f"X-Forwarded-For: {CLIENT}"),
        through("6.6.6.6", CLIENT, PROXY) | {
            "x-forwarded-proto": ("https",), "x-forwarded-scheme": ("https",),
            "x-scheme": ("https",)}, PROXY),
    "trusted-behind-trusted": Row(
        (f"X-Forwarded-For: 6.6.6.6, {CLIENT}, {OUTER}",),
        through("6.6.6.6", CLIENT, OUTER, PROXY), PROXY),
    "as-many-as-are-seen-through": Row(
        (f"X-Forwarded-For: {CLIENT}" + f", {OUTER}" * (HOPS - 1),),
        through(CLIENT, *[OUTER] * (HOPS - 1), PROXY), PROXY),
    "one-more-than-is-seen-through": Row(
        (f"X-Forwarded-For: {CLIENT}" + f", {OUTER}" * HOPS,),
        through(CLIENT, *[OUTER] * HOPS, PROXY, client=OUTER), PROXY),
    "trusted-all-the-way": Row(
        (f"X-Forwarded-For: {OUTER}",), through(OUTER, PROXY, client=OUTER), PROXY),
    "unknown-ends-the-search": Row(
        (f"X-Forwarded-For: {CLIENT}, unknown",), through(CLIENT, "unknown", PROXY, client=PROXY),
        PROXY),
    "unknown-behind-a-trusted-one": Row(
        (f"X-Forwarded-For: {CLIENT}, _hidden, {OUTER}",),
        through(CLIENT, "_hidden", OUTER, PROXY, client=OUTER), PROXY),
    "client-with-port": Row(
        (f"X-Forwarded-For: {CLIENT}:4711",), through(f"{CLIENT}:4711", PROXY), PROXY),
    "client-of-ipv6": Row(
        ("X-Forwarded-For: 2001:db8::7",), through("2001:db8::7", PROXY, client="2001:db8::7"),
        PROXY),
    "proxy-of-ipv6": Row(
        ("X-Forwarded-For: 2001:db8::7, 2001:db8:1::9",),
        through("2001:db8::7", "2001:db8:1::9", PROXY, client="2001:db8::7"), PROXY),
}
# fmt: on


@pytest.fixture(scope="module")
def served(echo: Pods) -> Iterator[Daemon]:
    flags = (word for network in TRUSTED for word in ("--trusted-proxies", network))
    with running(manifests(echo), *flags) as daemon:
        yield daemon


def manifests(pods: Pods) -> dict[str, list[Object]]:
    objects = [ingress("i", HOST, {"/": "web"}), service("web")]
    return {"all.yaml": [*objects, endpoints("web", ["127.60.0.1"], pods.port)]}


def seen(answer: Response, name: str) -> tuple[str, ...]:
    assert answer.status == 200, answer
    return tuple(value for header, value in answer.json()["headers"] if header.lower() == name)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_backend_sees(served: Daemon, row: Row) -> None:
    answer = served.request(row.target, HOST, headers=row.sent, source=row.source)
    for name, expected in {**PLAIN, **row.seen}.items():
        found = seen(answer, name)
        if expected == (GENERATED,):
            assert re.fullmatch(GENERATED, " ".join(found)), name
        else:
            assert found == tuple(v.replace(PORT, str(served.port)) for v in expected), name


def test_no_upgrade_to_http2_hides_among_others(served: Daemon) -> None:
    answer = served.request("/", HOST, headers=["Connection: Upgrade", "Upgrade: other, H2C"])
    assert set(seen(answer, "upgrade")) <= {"other"}


def test_each_request_has_an_id_of_its_own(served: Daemon) -> None:
    found = {seen(served.request("/", HOST), "x-request-id") for _ in range(20)}
    assert len(found) == 20


def test_host_is_what_was_sent(served: Daemon) -> None:
    host = f"A.Test:{served.port}"
    answer = served.request("/", host)
    assert seen(answer, "host") == seen(answer, "x-forwarded-host") == (host,)


def test_requests_on_one_connection_are_judged_each_for_itself(served: Daemon) -> None:
    """The sender stays the sender, although it was taken for the client once."""
    where = ("127.0.0.1", served.port)
    with socket.create_connection(where, DEADLINE_S, (PROXY, 0)) as connection:
        for client in (CLIENT, "198.51.100.8", CLIENT):
            head = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: {client}\r\n\r\n"
            connection.sendall(head.encode())
            answer = parse(connection.recv(65_536))
            assert seen(answer, "x-forwarded-for") == (f"{client}, {PROXY}",)
            assert seen(answer, "x-real-ip") == (client,)


def test_whom_to_trust_is_data(served: Daemon) -> None:
    assert "127.1.0.0/16 trusted" in (served.state / "maps/trusted.map").read_text()


def test_trust_of_everyone(echo: Pods) -> None:
    everyone = ("--trusted-proxies", "0.0.0.0/0", "--trusted-proxies", "::/0")
    with running(manifests(echo), *everyone) as daemon:
        answer = daemon.request("/", HOST, headers=[f"X-Forwarded-For: {CLIENT}, {OUTER}"])
        assert seen(answer, "x-forwarded-for") == (f"{CLIENT}, {OUTER}, {STRANGER}",)
        assert seen(answer, "x-real-ip") == (CLIENT,)


def test_tls_may_end_at_a_trusted_sender(echo: Pods) -> None:
    """Who is sent to HTTPS is decided by what the client speaks, if someone trusted says so."""
    objects = manifests(echo)
    key_pair = pair(HOST)
    objects["all.yaml"][0]["spec"]["tls"] = [{"hosts": [HOST], "secretName": "s"}]
    objects["all.yaml"].append(secret("s", key_pair))
    with running(objects, "--trusted-proxies", PROXY) as daemon:
        said = ["X-Forwarded-Proto: https"]
        assert daemon.request("/", HOST, headers=said, source=PROXY).status == 200
        assert daemon.request("/", HOST, headers=said).status == 308
        assert daemon.request("/", HOST, source=PROXY).status == 308
        with connect(daemon.https_port, HOST) as connection:
            connection.sendall(
                f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = parse(read_all(connection))
        for name in ("x-forwarded-proto", "x-forwarded-scheme", "x-scheme"):
            assert seen(answer, name) == ("https",)
        assert seen(answer, "x-forwarded-port") == (str(daemon.https_port),)
        assert "will still be processed before" not in daemon.printed
