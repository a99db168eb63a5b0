"""The admin port over real HTTP on loopback."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from attrs import define, field

from haproxy_ingress.admin import Admin, AdminFailed
from haproxy_ingress.diagnostics import Ref
from haproxy_ingress.journal import Cause, Decision

_ADDRESSES = Path("/proc/net/if_inet6")
IPV6_LOOPBACK = _ADDRESSES.exists() and f"{1:032x}" in _ADDRESSES.read_text()
DECISION = Decision(
    id=1,
    time_s=0.0,
    causes=(Cause(Ref("Ingress", "a", "<b>"), "added"),),
    reasons=("<script>alert(1)</script>",),
    error="<i>&",
).to_json()


@define
class Shown:
    """A view whose answers a test sets."""

    alive: bool = True
    reason: str = ""
    seen: list[dict[str, Any]] = field(factory=lambda: [DECISION])

    def healthy(self) -> bool:
        return self.alive

    def not_ready(self) -> str:
        return self.reason

    def metrics(self) -> bytes:
        return b"haproxy_ingress_x 1\n"

    def decisions(self) -> list[dict[str, Any]]:
        return self.seen

    def status(self) -> dict[str, Any]:
        return {"pid": 7}


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def admin(shown: Shown) -> Iterator[Admin]:
    admin = Admin(shown, "127.0.0.1", 0, any_port=True, deadline_s=0.3, poll_s=0.01)
    admin.start()
    yield admin
    admin.stop()


def ask(admin: Admin, method: str, path: str) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", admin.port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "alive", "reason", "status", "body"),
    [
        ("/healthz", True, "", 200, "ok\n"),
        ("/healthz", True, "no configuration yet", 200, "ok\n"),
        ("/healthz", False, "", 503, "the loop has ended\n"),
        ("/readyz", True, "", 200, "ok\n"),
        ("/readyz?verbose", True, "", 200, "ok\n"),
        ("/readyz", True, "no configuration yet", 503, "no configuration yet\n"),
    ],
)
def test_probes(
    admin: Admin, shown: Shown, path: str, alive: bool, reason: str, status: int, body: str
) -> None:
    shown.alive, shown.reason = alive, reason
    response, text = ask(admin, "GET", path)
    assert (response.status, text) == (status, body)


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "haproxy_ingress_x 1\n"),
        ("/api/v1/decisions", "application/json", json.dumps([DECISION]) + "\n"),
        ("/api/v1/status", "application/json", '{"pid": 7}\n'),
    ],
)
def test_pages(admin: Admin, path: str, kind: str, body: str) -> None:
    response, text = ask(admin, "GET", path)
    assert (response.status, response.headers["Content-Type"], text) == (200, kind, body)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/api/v1/decisions/", 404),
        ("GET", "/%2e%2e/etc/passwd", 404),
        ("POST", "/", 405),
        ("DELETE", "/api/v1/status", 405),
        ("OPTIONS", "/nope", 405),
        ("BREW", "/", 405),
        ("GET", "/" + "a" * 70_000, 414),
    ],
)
def test_everything_else_is_refused(admin: Admin, method: str, path: str, status: int) -> None:
    response, _ = ask(admin, method, path)
    assert response.status == status
    assert response.headers["Allow"] == ("GET, HEAD" if status == 405 else None)


def test_head_is_get_without_a_body(admin: Admin) -> None:
    response, text = ask(admin, "HEAD", "/api/v1/status")
    assert (response.status, response.headers["Content-Length"], text) == (200, "11", "")


def test_the_page_links_to_all_and_escapes_what_objects_say(admin: Admin, shown: Shown) -> None:
    shown.reason = "<b>waiting</b>"
    response, text = ask(admin, "GET", "/")
    assert response.headers["Content-Type"] == "text/html"
    for link in ("/healthz", "/readyz", "/metrics", "/api/v1/decisions", "/api/v1/status"):
        assert f'href="{link}"' in text
    assert "&lt;b&gt;waiting" in text
    assert "&lt;script&gt;" in text
    assert "Ingress a/&lt;b&gt; added" in text
    assert "&lt;i&gt;&amp;" in text
    assert "<script" not in text


def test_a_page_that_fails_says_so_and_the_next_works(
    admin: Admin, shown: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    shown.seen = [{}]
    assert ask(admin, "GET", "/")[0].status == 500
    assert "admin page / failed" in caplog.text
    assert ask(admin, "GET", "/healthz")[0].status == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_slow_client_is_cut_off_while_others_are_served(admin: Admin, sent: bytes) -> None:
    with create_connection(("127.0.0.1", admin.port), timeout=5) as slow:
        slow.sendall(sent)
        assert ask(admin, "GET", "/healthz")[0].status == 200
        assert slow.recv(1) == b""


def test_port_0_is_no_server(shown: Shown) -> None:
    admin = Admin(shown, "127.0.0.1", 0)
    admin.start()
    assert admin.port == 0
    admin.stop()


def test_a_port_in_use_is_one_clear_line(admin: Admin, shown: Shown) -> None:
    with pytest.raises(AdminFailed) as caught:
        Admin(shown, "127.0.0.1", admin.port).start()
    assert str(caught.value) == f"admin port {admin.port} on 127.0.0.1: Address already in use"


def test_it_listens_on_ipv6(shown: Shown) -> None:
    admin = Admin(shown, "::1", 0, any_port=True)
    if not IPV6_LOOPBACK:
        with pytest.raises(AdminFailed, match="on ::1: "):
            admin.start()
        return
    admin.start()
    connection = HTTPConnection("::1", admin.port, timeout=5)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()
    admin.stop()


def test_after_stop_nobody_listens(admin: Admin) -> None:
    admin.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(admin, "GET", "/healthz")
