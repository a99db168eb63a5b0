"""How a `haproxy.testing.FakeSocket` can misbehave."""

from __future__ import annotations

from attrs import frozen


@frozen
class Fault:
    """What befalls commands. on: how those begin that it befalls; empty for all of them."""

    on: str = ""

    def meets(self, command: str) -> bool:
        return command.startswith(self.on)


@frozen
class Hang(Fault):
    """Neither it nor what follows on its connection is carried out, or ever answered."""


@frozen
class Close(Fault):
    """It is carried out, and in the middle of the reply the connection ends."""


@frozen
class Drip(Fault):
    """The reply is written a byte at a time."""


@frozen
class Refuse(Fault):
    """It is not carried out but answered with *words*."""

    words: str = "Permission denied"


@frozen
class Notice(Fault):
    """Before the reply stand *words* that have nothing to do with it."""

    words: str = "[NOTICE]   (1) : something happened."


@frozen
class Restart(Fault):
    """Once it was answered another worker serves. Happens once.

    The sessions that are open go on with the old worker, to no effect.
    """
