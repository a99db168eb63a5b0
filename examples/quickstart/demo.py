"""Serve the manifests beside this file, with small backends to answer; `make demo` runs it.

It needs nothing but the standard library and the installed `haproxy-ingress`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
HTTP_PORT = 8080
ADMIN_PORT = 10254
# As in the manifests; web-3 to web-6 wait to be taken in.
PODS = {
    **{f"web-{n}": (f"127.0.0.{n}", 9001) for n in range(1, 7)},
    "api-1": ("127.0.0.1", 9002),
    "blog-1": ("127.0.0.1", 9003),
}
START_S = 30.0
STOP_S = 1.5

TRY = f"""
Serving {os.path.relpath(HERE)}/ at http://localhost:{HTTP_PORT}. In another terminal, try

  curl http://localhost:{HTTP_PORT}/
      answered by web-1 and web-2 in turn

  curl http://localhost:{HTTP_PORT}/api/users
      answered by api-1

  curl http://localhost:{HTTP_PORT}/ -H 'Host: blog.localhost'
      answered by blog-1

To scale web, add an endpoint in {os.path.relpath(HERE / "web.yaml")}: the two lines to
uncomment are at its end, and web-3 to web-6 run already. Save, and ask again.

What was decided, and why:

  curl http://127.0.0.1:{ADMIN_PORT}/api/v1/decisions

The admin port is http://127.0.0.1:{ADMIN_PORT}/ (healthz, readyz, metrics, api/v1/status).

Ctrl-C ends the demo.
"""


class Failed(Exception):
    """Why there is no demo, in a line."""


def backend(pod: str) -> type[BaseHTTPRequestHandler]:
    """A handler that answers every GET with the name of the *pod*."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = f"{pod}\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The daemon's lines are what is worth reading."""

    return Handler


class Backend(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Nothing: a connection that ends early is none of the reader's business."""


def start_backends() -> None:
    for pod, address in PODS.items():
        try:
            server = Backend(address, backend(pod))
        except OSError as error:
            raise Failed(f"{address[0]}:{address[1]}, where {pod} would be: {error}") from error
        threading.Thread(target=server.serve_forever, daemon=True).start()


def refuse_taken_ports() -> None:
    # HAProxy would share a port with another HAProxy in silence, so it is asked for beforehand.
    for address, port in (("0.0.0.0", HTTP_PORT), ("127.0.0.1", ADMIN_PORT)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise Failed(f"port {port} is taken; end what listens there first") from error


def start_daemon(state: Path) -> subprocess.Popen[bytes]:
    command = Path(sys.executable).with_name("haproxy-ingress")
    if not command.exists():
        raise Failed(f"{command} is missing; run this through `make demo`")
    # A session of its own: Ctrl-C is for the demo, which then ends the daemon in good order.
    return subprocess.Popen(
        [
            command,
            "run",
            f"--manifests={HERE}",
            f"--state-dir={state}",
            f"--http-port={HTTP_PORT}",
            f"--admin-port={ADMIN_PORT}",
        ],
        start_new_session=True,
    )


def serves() -> bool:
    connection = HTTPConnection("127.0.0.1", HTTP_PORT, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def of_this_demo(state: Path) -> Iterator[int]:
    """The processes whose command line names the *state* folder: the daemon and its HAProxy."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(state).encode() in (process / "cmdline").read_bytes():
                yield int(process.name)
        except OSError:
            continue  # it ended meanwhile


def stop(daemon: subprocess.Popen[bytes], state: Path) -> None:
    for _ in range(2):  # the second signal cuts short what it still waits for
        daemon.terminate()
        try:
            daemon.wait(STOP_S)
            break
        except subprocess.TimeoutExpired:
            continue
    for pid in of_this_demo(state):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    daemon.wait()


def handles_interrupts(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1)


class Parent:
    """Whoever started the demo, watched for its end.

    make, interrupted alone rather than by a terminal, tells nobody: it only stops handling the
    signal and waits for its recipes.
    """

    def __init__(self) -> None:
        self.pid = os.getppid()
        self.handled = handles_interrupts(self.pid)

    def wants_the_end(self) -> bool:
        if os.getppid() != self.pid:
            return True
        return self.handled and not handles_interrupts(self.pid)


def run(stopped: threading.Event) -> None:
    parent = Parent()
    refuse_taken_ports()
    start_backends()
    state = Path(tempfile.mkdtemp(prefix="demo-"))
    try:
        daemon = start_daemon(state)
        try:
            announced = False
            deadline = time.monotonic() + START_S
            while not stopped.wait(0.1) and not parent.wants_the_end():
                if (status := daemon.poll()) is not None:
                    raise Failed(f"haproxy-ingress ended by itself, with status {status}")
                if not announced and serves():
                    print(TRY, flush=True)
                    announced = True
                if not announced and time.monotonic() > deadline:
                    raise Failed(f"nothing is served after {START_S:.0f} s")
        finally:
            stop(daemon, state)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def main() -> None:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    try:
        run(stopped)
    except Failed as failure:
        sys.exit(f"demo: {failure}")


if __name__ == "__main__":
    main()
