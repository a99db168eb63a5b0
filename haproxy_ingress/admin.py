"""The admin port: health, metrics and what was decided, over HTTP.

It only shows: nothing can be changed through it. Every connection has a deadline, so that slow
or silent clients cannot pile up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, SHUT_RDWR
from socketserver import TCPServer
from threading import Thread
from time import monotonic
from typing import Any, Protocol
from urllib.parse import urlsplit

from attrs import define, field, frozen
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_LOG = logging.getLogger(__name__)
_READ = ("GET", "HEAD")
_DECISIONS_SHOWN = 50


class View(Protocol):
    """What there is to show. Called from the threads of the server, one a request."""

    def healthy(self) -> bool:
        """Whether the loop is alive."""
        ...

    def not_ready(self) -> str:
        """Why requests should not be sent here yet, or any more; empty when ready."""
        ...

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        ...

    def decisions(self) -> Sequence[Mapping[str, Any]]:
        """As in `journal.Decision.to_json`, newest first."""
        ...

    def status(self) -> Mapping[str, Any]:
        """What runs, as JSON values."""
        ...


class AdminFailed(Exception):
    """The admin port cannot be opened."""


@frozen
class _Page:
    body: bytes = field(repr=False)
    type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


def _text(text: str, status: HTTPStatus = HTTPStatus.OK) -> _Page:
    return _Page(f"{text}\n".encode(), status=status)


def _json(value: object) -> _Page:
    return _Page(json.dumps(value).encode() + b"\n", "application/json")


def _healthz(view: View) -> _Page:
    if view.healthy():
        return _text("ok")
    return _text("the loop has ended", HTTPStatus.SERVICE_UNAVAILABLE)


def _readyz(view: View) -> _Page:
    reason = view.not_ready()
    return _text(reason, HTTPStatus.SERVICE_UNAVAILABLE) if reason else _text("ok")


def _index(view: View) -> _Page:
    links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in _PAGES if path != "/")
    rows = "".join(_row(one) for one in view.decisions()[:_DECISIONS_SHOWN])
    ready = escape(view.not_ready()) or "ready"
    return _Page(_INDEX.format(ready=ready, links=links, rows=rows).encode(), "text/html")


def _row(decision: Mapping[str, Any]) -> str:
    causes = "\n".join(
        f"{one['kind']} {one['namespace']}/{one['name']} {one['change']}"
        for one in decision["causes"]
    )
    why = "\n".join([*decision["reasons"], *filter(None, [decision["error"]])])
    cells = (
        decision["time"], decision["action"], decision["result"], causes, why,
        f"{decision['total_s'] * 1e3:.1f}",
    )  # fmt: skip
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>\n"


_INDEX = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>haproxy-ingress</title>
<style>body{{font:15px sans-serif;margin:2em}} td,th{{padding:.2em .8em;text-align:left;
vertical-align:top;white-space:pre-wrap}} tr:nth-child(even){{background:#f4f4f4}}</style>
<h1>haproxy-ingress</h1>
<p>{ready}</p>
<ul>{links}</ul>
<h2>Last decisions</h2>
<table><tr><th>time<th>action<th>result<th>causes<th>reasons<th>total, ms</tr>
{rows}</table>
</html>
"""

_PAGES: dict[str, Callable[[View], _Page]] = {
    "/": _index,
    "/healthz": _healthz,
    "/readyz": _readyz,
    "/metrics": lambda view: _Page(view.metrics(), CONTENT_TYPE_PLAIN_0_0_4),
    "/api/v1/decisions": lambda view: _json(list(view.decisions())),
    "/api/v1/status": lambda view: _json(dict(view.status())),
}


def _answer(view: View, method: str, path: str) -> _Page:
    if method not in _READ:
        return _text("only GET and HEAD", HTTPStatus.METHOD_NOT_ALLOWED)
    page = _PAGES.get(path)
    if page is None:
        return _text("not found; there is: " + " ".join(_PAGES), HTTPStatus.NOT_FOUND)
    try:
        return page(view)
    except Exception:  # noqa: BLE001 - a probe gets an answer whatever fails
        _LOG.exception("admin page %s failed", path)
        return _text("internal error, see the log", HTTPStatus.INTERNAL_SERVER_ERROR)


class _Handler(BaseHTTPRequestHandler):
    """One request a connection."""

    server: _Server

    def parse_request(self) -> bool:
        """Answers here, before the base class looks for a method of its own for the verb."""
        if super().parse_request():
            self._send(_answer(self.server.view, self.command, urlsplit(self.path).path))
        return False

    def version_string(self) -> str:
        return "haproxy-ingress"

    def _send(self, page: _Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        if page.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", ", ".join(_READ))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        _LOG.debug("admin: %s", format % args)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, view: View, address: str, port: int, deadline_s: float) -> None:
        self.view = view
        self.deadline_s = deadline_s
        self.address_family = AF_INET6 if ip_address(address).version == 6 else AF_INET
        self._open: dict[Any, float] = {}
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        """Without the base's look-up of our own name, which may wait for a name server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open[request] = monotonic() + self.deadline_s
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Between requests: end those that took too long."""
        now = monotonic()
        for request, deadline in tuple(self._open.items()):
            if now > deadline and self._open.pop(request, 0):
                _end(request)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that went away is no error of ours."""
        _LOG.debug("admin: request of %s ended early", client_address, exc_info=True)


def _end(request: Any) -> None:
    try:
        request.shutdown(SHUT_RDWR)
    except OSError as error:
        _LOG.debug("admin: already gone: %s", error)


@define
class Admin:
    """The admin port of a *view*.

    address: an IP address. port: 0 means none, unless any_port is set: then the system chooses.
    deadline_s: how long a client may take for its request and our answer. poll_s: how often that
    is looked at, and how long `stop` may take.
    """

    view: View
    address: str
    port: int
    any_port: bool = False
    deadline_s: float = 10.0
    poll_s: float = 0.2
    _server: _Server | None = field(default=None, init=False)

    def start(self) -> None:
        """Listen, and serve from threads. Raises `AdminFailed` when the port cannot be had."""
        if not (self.port or self.any_port):
            return
        try:
            self._server = _Server(self.view, self.address, self.port, self.deadline_s)
        except OSError as error:
            problem = f"admin port {self.port} on {self.address}: {error.strerror or error}"
            raise AdminFailed(problem) from error
        self.port = self._server.server_port
        Thread(
            target=self._server.serve_forever, args=(self.poll_s,), name="admin", daemon=True
        ).start()

    def stop(self) -> None:
        """Close the port; requests under way are not waited for."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
