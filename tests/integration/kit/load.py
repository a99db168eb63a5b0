"""A client that sends requests all the while, and counts who answered and what failed."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from attrs import define, field

from tests.integration.kit.daemon import PATIENCE_S

TOO_LONG_S = 5.0


@define
class Load:
    """Requests to one host, on connections that are kept and on ones that are not.

    answers: by (epoch, who answered); an epoch begins with `mark`. failures: what went wrong,
    in words; anything but a whole 200 in time is a failure, a connection closed in the middle too.
    """

    port: int
    host: str
    answers: Counter[tuple[int, str]] = field(factory=Counter)
    failures: list[str] = field(factory=list)
    epoch: int = 0
    _more: threading.Condition = field(factory=threading.Condition)

    @property
    def total(self) -> int:
        return self.answers.total()

    def mark(self) -> int:
        """Begin an epoch: only requests sent from now on count as its own."""
        self.epoch += 1
        return self.epoch

    def since(self, epoch: int) -> Counter[str]:
        """Who answered the requests sent in *epoch* or later."""
        answers: Counter[str] = Counter()
        for (when, who), count in self.answers.copy().items():
            if when >= epoch:
                answers[who] += count
        return answers

    def after(self, count: int) -> Counter[str]:
        """Who answers *count* requests, or a few more, that are sent from now on."""
        epoch = self.mark()
        deadline = monotonic() + PATIENCE_S
        with self._more:
            while (answers := self.since(epoch)).total() < count:
                assert monotonic() < deadline, f"only {answers.total()} answers of {count}"
                self._more.wait(0.05)
        return answers


class _Client(asyncio.Protocol):
    """One connection, or one after the other: a request, its answer, the next request."""

    def __init__(self, load: Load, keep: bool, stopping: asyncio.Event) -> None:
        self.load, self.keep, self.stopping = load, keep, stopping
        ending = "" if keep else "Connection: close\r\n"
        self.request = f"GET /load HTTP/1.1\r\nHost: {load.host}\r\n{ending}\r\n".encode()
        self.transport: asyncio.Transport
        self.received = b""
        self.epoch, self.sent_s, self.waiting = 0, 0.0, False
        self.gone: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.gone = asyncio.get_running_loop().create_future()
        self._send()

    def _send(self) -> None:
        self.received, self.epoch, self.waiting = b"", self.load.epoch, True
        self.sent_s = monotonic()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(h[15:]) for h in lines if h.startswith(b"content-length:")), 0)
        if len(body) < length:
            return
        self.waiting = False
        if lines[0].startswith(b"http/1.1 200"):
            self.load.answers[self.epoch, body.decode()] += 1
        else:
            self.load.failures.append(lines[0].decode())
        if self.stopping.is_set() or not self.keep or b"connection: close" in lines:
            self.transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting:
            self.waiting = False
            self.load.failures.append(f"connection lost: {error or 'closed'}")
        if not self.gone.done():
            self.gone.set_result(None)

    def check(self, now_s: float) -> None:
        if self.waiting and now_s - self.sent_s > TOO_LONG_S:
            self.load.failures.append(f"no answer in {TOO_LONG_S} s")
            self.waiting = False
            self.transport.abort()


@contextmanager
def load(port: int, host: str, kept: int = 12, fresh: int = 4) -> Iterator[Load]:
    """Send requests to *host* until the end, which sees every request answered.

    kept: connections that are used again; fresh: clients that make a new one each time.
    """
    made = Load(port, host)
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=[_run(made, kept, fresh, stopping)]
    )
    thread.start()
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()


async def _run(made: Load, kept: int, fresh: int, stopping: asyncio.Event) -> None:
    clients = [_Client(made, n < kept, stopping) for n in range(kept + fresh)]
    watch = asyncio.create_task(_watch(clients))
    await asyncio.gather(*(_repeat(client) for client in clients))
    watch.cancel()


async def _repeat(client: _Client) -> None:
    loop = asyncio.get_running_loop()
    while not client.stopping.is_set():
        try:
            await loop.create_connection(lambda: client, "127.0.0.1", client.load.port)
        except OSError as error:
            client.load.failures.append(f"no connection: {error}")
            await asyncio.sleep(0.01)  # so that a closed port does not fill the memory
            continue
        await client.gone


async def _watch(clients: list[_Client]) -> None:
    while True:
        await asyncio.sleep(0.2)
        for client in clients:
            client.check(monotonic())
