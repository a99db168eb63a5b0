"""The Runtime API of a `FakeHAProxy` on a real unix socket."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from attrs import define, field

from haproxy.fake import FakeHAProxy
from haproxy.fake_wire import Wire
from haproxy.fake_worker import Worker
from haproxy.faults import Fault

_READ_BYTES = 65_536
_JOIN_S = 10.0


@define(eq=False)
class FakeSocket:
    """What *haproxy* says to those who connect to *path*, while this is entered.

    ::

        with FakeSocket(FakeHAProxy.serving(config, "3.2.0"), tmp_path / "s") as socket:
            LiveRuntime(socket.address).run(ops, socket.haproxy.pid())

    It speaks as the release line of ``haproxy.version`` does, and knows the commands that
    `haproxy.apply` needs. What is done through the socket is done to *haproxy*, and the other way
    round. faults: how it misbehaves; may be changed at any time.

    A thread of its own answers; it ends with the ``with`` block. The file stays, as HAProxy's does.
    """

    haproxy: FakeHAProxy
    path: str | Path
    faults: list[Fault] = field(factory=list)
    _sessions: dict[socket.socket, _Session] = field(factory=dict, init=False, repr=False)
    _selector: selectors.BaseSelector = field(
        factory=selectors.DefaultSelector, init=False, repr=False
    )
    _listener: socket.socket = field(init=False, repr=False)
    _wake: tuple[socket.socket, socket.socket] = field(init=False, repr=False)
    _thread: threading.Thread = field(init=False, repr=False)
    _worker: Worker | None = field(default=None, init=False, repr=False)

    @property
    def address(self) -> str:
        """For `RuntimeClient` and `LiveRuntime`."""
        return str(self.path)

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listener.bind(self.address)
        except BaseException:
            self._listener.close()
            raise
        self._listener.listen(100)
        self._listener.setblocking(False)
        self._wake = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake[0], selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="fake haproxy", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake[1].close()
        self._thread.join(_JOIN_S)
        for connection in [*self._sessions, self._listener, self._wake[0]]:
            connection.close()
        self._sessions.clear()
        self._selector.close()

    def say(self, text: str) -> None:
        """To all sessions, without being asked."""
        for connection in list(self._sessions):
            with suppress(OSError):
                connection.send(text.encode())

    def _run(self) -> None:
        while True:
            for key, events in self._selector.select():
                act: Callable[[int], None] | None = key.data
                if act is None:
                    return
                act(events)

    def _accept(self, _: int) -> None:
        with suppress(OSError):
            connection, _address = self._listener.accept()
            session = _Session(connection, Wire(self._serving(), self.faults))
            connection.setblocking(False)
            self._sessions[connection] = session
            self._watch(session, selectors.EVENT_READ)

    def _serving(self) -> Worker:
        """A session belongs to the worker that serves when it is opened."""
        pid = self.haproxy.worker
        if self._worker is None or self._worker.pid != pid:
            self._worker = Worker(self.haproxy, pid)
        return self._worker

    def _watch(self, session: _Session, events: int) -> None:
        def act(ready: int) -> None:
            wanted = session.turn(ready)
            self._selector.unregister(session.connection)
            if wanted:
                self._watch(session, wanted)
            else:
                self._sessions.pop(session.connection).connection.close()

        self._selector.register(session.connection, events, act)


@define(eq=False)
class _Session:
    connection: socket.socket
    wire: Wire
    _pieces: list[bytes] = field(factory=list, repr=False)

    def turn(self, ready: int) -> int:
        """Reads or writes what is possible; what to wait for next, 0 when it is over."""
        try:
            if ready & selectors.EVENT_READ:
                data = self.connection.recv(_READ_BYTES)
                if not data:
                    return 0
                self._pieces += self.wire.receive(data)
            self._write()
        except OSError:
            return 0
        if self._pieces:
            return selectors.EVENT_WRITE
        return 0 if self.wire.ended else selectors.EVENT_READ

    def _write(self) -> None:
        """HAProxy reads no more while nobody takes what it says."""
        while self._pieces:
            try:
                sent = self.connection.send(self._pieces[0])
            except BlockingIOError:
                return
            self._pieces[:1] = [rest] if (rest := self._pieces[0][sent:]) else []
