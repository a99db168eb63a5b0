"""Servers with manners of their own, one function a connection, and a HAProxy alone before them."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field

from haproxy.model import Config
from haproxy.render import render
from tests.integration.kit.net import DEADLINE_S


@define
class Conversation:
    """One connection that a server accepted. requests: heads so far, on all of them."""

    connection: socket.socket
    requests: list[str]
    _received: bytes = field(default=b"", init=False)

    def receive(self) -> str:
        """The head of the next request, whose body is read too; empty at the end."""
        while b"\r\n\r\n" not in self._received:
            if not (data := self.connection.recv(65_536)):
                return ""
            self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = next(
            (int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")),
            0,
        )
        while len(body) < length:
            body += self.connection.recv(65_536)
        self._received = body[length:]
        self.requests.append(head.decode("latin-1"))
        return self.requests[-1]

    def answer(self, body: bytes = b"fine") -> None:
        self.connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )


Manner = Callable[[Conversation], None]


@define
class Servers:
    """requests: by address, the heads of what arrived there."""

    port: int
    requests: dict[str, list[str]]

    def methods(self, address: str) -> list[str]:
        return [head.partition(" ")[0] for head in self.requests[address]]


@contextmanager
def servers(port: int, manners: dict[str, Manner]) -> Iterator[Servers]:
    """Servers on *port* of several addresses, each with its manner."""
    made = Servers(port, {address: [] for address in manners})
    threads: list[threading.Thread] = []
    open_now: list[socket.socket] = []
    listeners = [socket.create_server((address, port), backlog=64) for address in manners]

    def accept(listener: socket.socket, address: str) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_now.append(connection)
                conversation = Conversation(connection, made.requests[address])
                start(converse, conversation, manners[address])

    def converse(conversation: Conversation, manner: Manner) -> None:
        with conversation.connection, suppress(OSError):
            manner(conversation)

    def start(what: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments)
        threads.append(thread)
        thread.start()

    for listener, address in zip(listeners, manners, strict=True):
        start(accept, listener, address)
    try:
        yield made
    finally:
        for one in (*listeners, *open_now):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for listener in listeners:
            listener.close()


@contextmanager
def haproxy(config: Config, port: int) -> Iterator[None]:
    """A HAProxy that runs *config*, which listens on *port* of 127.0.0.1."""
    with tempfile.TemporaryDirectory(prefix="alone-") as folder:
        for name, content in render(config).files.items():
            Path(folder, name).write_bytes(content)
        command = [os.environ.get("HAPROXY", "haproxy"), "-db", "-f", f"{folder}/haproxy.cfg"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            _until_listening(process, port)
            yield
        finally:
            process.terminate()
            process.communicate()


def _until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    while True:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S),
        ):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            assert process.stderr
            raise AssertionError(f"HAProxy does not start: {process.stderr.read().decode()}")
