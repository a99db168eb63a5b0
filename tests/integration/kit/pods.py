"""Stand-ins for any number of pods: all of 127.0.0.0/8 is loopback, so one listener is them all."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

from tests.integration.kit.net import DEADLINE_S, free_port


@frozen
class Pods:
    """Pods on every address of 127.0.0.0/8 and on ::1, each on two ports."""

    port: int
    other_port: int


@contextmanager
def echo_pods() -> Iterator[Pods]:
    """Pods that answer with JSON: `pod` and `port` (as dialled), `method`, `target`, `headers`.

    `headers` is a list of [name, value] as received. One Python thread: for tests that look.
    """
    pods = Pods(free_port(), free_port())
    loop = asyncio.new_event_loop()
    listening = threading.Event()
    stopping = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=[_serve(pods, listening, stopping)]
    )
    thread.start()
    try:
        assert listening.wait(DEADLINE_S), "the pods do not listen"
        yield pods
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()


async def _serve(pods: Pods, listening: threading.Event, stopping: asyncio.Event) -> None:
    servers = [
        await asyncio.start_server(_converse, address, port, backlog=1024)
        for address in ("0.0.0.0", "::1")
        for port in (pods.port, pods.other_port)
    ]
    listening.set()
    await stopping.wait()
    for server in servers:
        server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    address, port, *_ = writer.get_extra_info("sockname")
    closing = False
    with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        while not closing:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *rest = head.rstrip("\r\n").split("\r\n")
            method, target, _ = first.split(" ")
            headers = [[name, value.strip()] for name, _, value in (h.partition(":") for h in rest)]
            closing = ["connection", "close"] in [[n.lower(), v.lower()] for n, v in headers]
            length = next((int(v) for n, v in headers if n.lower() == "content-length"), 0)
            await reader.readexactly(length)
            seen = {"pod": address, "port": port, "method": method, "target": target}
            body = json.dumps({**seen, "headers": headers}).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), b"" if method == "HEAD" else body)
            )
            await writer.drain()
    writer.close()


FAST = """
global
  maxconn 8000
defaults
  mode http
  timeout client 60s
  timeout connect 5s
  timeout server 60s
frontend pods
{binds}
  http-request return status 200 content-type text/plain lf-string "%[dst]:%[dst_port]"
"""


@contextmanager
def fast_pods() -> Iterator[Pods]:
    """Pods that answer ``ADDRESS:PORT`` as dialled, by a HAProxy of their own: for load."""
    pods = Pods(free_port(), free_port())
    ports = (pods.port, pods.other_port)
    binds = "\n".join(f"  bind 0.0.0.0:{p}\n  bind [::1]:{p} v6only" for p in ports)
    with tempfile.TemporaryDirectory(prefix="pods-") as folder:
        config = Path(folder, "pods.cfg")
        config.write_text(FAST.format(binds=binds))
        process = subprocess.Popen(
            [os.environ.get("HAPROXY", "haproxy"), "-db", "-f", str(config)],
            stderr=subprocess.PIPE,
        )
        try:
            _until_listening(process, pods.other_port)
            yield pods
        finally:
            process.terminate()
            process.communicate()


def _until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    while True:
        with suppress(OSError), socket.create_connection(("::1", port), timeout=DEADLINE_S):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            assert process.stderr
            raise AssertionError(f"the pods do not start: {process.stderr.read().decode()}")
