"""A client: all nouns over one channel, and batches of commands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from haproxy.calls.authorities import Authorities
from haproxy.calls.backends import Backends
from haproxy.calls.certificates import Certificates
from haproxy.calls.channel import ask, settle
from haproxy.calls.crtlists import CrtLists
from haproxy.calls.events import Events
from haproxy.calls.patterns import Acls, Maps
from haproxy.calls.servers import Servers
from haproxy.calls.sessions import Sessions
from haproxy.calls.settings import Frontends, Settings, Variables
from haproxy.calls.stats import Stats
from haproxy.calls.sticktables import StickTables
from haproxy.capabilities import Capabilities, Feature
from haproxy.errors import (
    BatchBroken,
    CommandRejected,
    DeadlineExceeded,
    Interrupted,
    InvalidValue,
    Unreachable,
    UnreadableReply,
    WorkerReplaced,
)
from haproxy.protocol import name_of
from haproxy.tables import Info, MapRow, ServerState, info
from haproxy.verdicts import judge, message
from haproxy.words import name_word, server_word


class Client(ABC):
    """Typed calls to one worker, by noun: `maps`, `servers`, `certificates`, ...

    See `haproxy.calls` for what they raise, and `haproxy.calls.channel.Channel` for the rest.
    """

    @property
    @abstractmethod
    def can(self) -> Capabilities:
        """What this HAProxy can do."""

    @property
    @abstractmethod
    def relayed(self) -> bool:
        """Whether a master stands in between."""

    @abstractmethod
    def execute(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """One reply per command, in order; whatever HAProxy said."""

    @abstractmethod
    def run(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """As `execute`, by a worker that is not being replaced."""

    @abstractmethod
    def persist(self, command: str, deadline_s: float) -> str:
        """Repeats *command* until it is done or refused, or time is over; its last reply."""

    @abstractmethod
    def stream(self, command: str, deadline_s: float) -> Iterator[str]:
        """The lines that *command* goes on sending."""

    @property
    def stats(self) -> Stats:
        return Stats(self)

    @property
    def servers(self) -> Servers:
        return Servers(self)

    @property
    def backends(self) -> Backends:
        return Backends(self)

    @property
    def frontends(self) -> Frontends:
        return Frontends(self)

    @property
    def sessions(self) -> Sessions:
        return Sessions(self)

    @property
    def tables(self) -> StickTables:
        return StickTables(self)

    @property
    def maps(self) -> Maps:
        return Maps(self)

    @property
    def acls(self) -> Acls:
        return Acls(self)

    @property
    def certificates(self) -> Certificates:
        return Certificates(self)

    @property
    def crt_lists(self) -> CrtLists:
        return CrtLists(self)

    @property
    def ca_files(self) -> Authorities:
        return Authorities(self, "ca-file")

    @property
    def crl_files(self) -> Authorities:
        return Authorities(self, "crl-file")

    @property
    def settings(self) -> Settings:
        return Settings(self)

    @property
    def variables(self) -> Variables:
        return Variables(self)

    @property
    def events(self) -> Events:
        return Events(self)

    def info(self) -> Info:
        return info(ask(self, "show info"))

    def errors(self) -> str:
        """The last requests and responses that HAProxy could not parse, as it shows them."""
        return ask(self, "show errors")

    def startup_log(self) -> str:
        """What the worker said while it loaded its configuration."""
        return self.run(("show startup-logs",))[0]

    def echo(self, text: str) -> str:
        """*text* itself (3.1)."""
        self.can.require(Feature.ECHO)
        return message(self.run((f"echo {name_word('text', text)}",))[0])

    def wait(
        self, seconds: float, *, server: tuple[str, str] | None = None, backend: str = ""
    ) -> bool:
        """Wait in HAProxy until a server (backend, name) or a backend can be deleted (3.0; 3.4).

        Returns whether it can; after *seconds* it cannot. Without either: waits, returns True.
        Raises `CommandRejected` when waiting cannot help, such as for one not in maintenance.
        """
        self.can.require(Feature.WAIT_FOR_BACKEND if backend else Feature.WAIT)
        if self.relayed:
            raise InvalidValue("wait", "through the master", "a socket of the worker")
        command = f"wait {max(1, round(seconds * 1000))}ms"
        command += f" srv-removable {server_word(*server)}" if server else ""
        command += f" be-removable {name_word('backend', backend)}" if backend else ""
        reply = message(self.execute((command,), seconds + 5)[0])
        over = reply.startswith("Wait delay expired")
        if not over and judge(command, reply) != "done":
            raise CommandRejected(command, reply)
        return not over or not (server or backend)

    def batch(self, commands: Iterable[str], deadline_s: float | None = None) -> tuple[str, ...]:
        """Commands that change something, all sent without waiting in between; their replies.

        Raises `BatchFailed`, or `CommandRejected` when there is only one, unless all were done;
        `BatchBroken` when the answers do not all come. Both say what was applied.
        """
        batch = tuple(commands)
        try:
            replies = self.run(batch, deadline_s)
        except (WorkerReplaced, Unreachable) as error:
            raise BatchBroken((), (), tuple(map(name_of, batch))) from error
        except (DeadlineExceeded, Interrupted, UnreadableReply) as error:
            raise _broken(batch, error.replies) from error
        settle(batch, replies)
        return replies

    def servers_state(self, backend: str | None = None) -> tuple[ServerState, ...]:
        """`servers.state`."""
        return self.servers.state(backend)

    def map_rows(self, name: str) -> tuple[MapRow, ...]:
        """`maps.rows`."""
        return self.maps.rows(name)


def _broken(batch: tuple[str, ...], replies: tuple[str, ...]) -> BatchBroken:
    known = tuple(zip(batch, replies, strict=False))
    return BatchBroken(
        tuple(name_of(c) for c, r in known if judge(c, r) == "done"),
        tuple((name_of(c), r) for c, r in known if judge(c, r) != "done"),
        tuple(map(name_of, batch[len(known) :])),
    )
