"""What of a rendered ``haproxy.cfg`` only a load can change, read from its text.

Two texts with the same outline load the same structure: they may differ in servers, and in what
lies in other files (rows, certificates). The text is one that `haproxy.render` wrote: a section
begins in the first column, and its lines are indented.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping

from attrs import field, frozen

NAME = "haproxy-ingress"


@frozen
class Kept:
    """A backend without its servers.

    options: what every server line ends in; None when there is no server to tell.
    """

    profile: str
    lines: str = ""
    options: tuple[str, ...] | None = None


@frozen
class Outline:
    """The structure of a configuration.

    description: the text of ``description``, which is no part of the structure. fixed: all other
    sections. profiles: the text of each ``defaults`` section by its name.
    """

    description: str = ""
    fixed: tuple[str, ...] = ()
    profiles: Mapping[str, str] = field(factory=dict)
    backends: Mapping[str, Kept] = field(factory=dict)

    @property
    def name(self) -> str:
        """What a HAProxy that loaded this says of itself: the same for the same structure."""
        backends = [(name, kept.profile, kept.lines) for name, kept in self.backends.items()]
        parts = repr((self.fixed, sorted(self.profiles.items()), sorted(backends)))
        return f"{NAME} {hashlib.sha256(parts.encode()).hexdigest()[:16]}"


def outline(text: str) -> Outline:
    """Read a ``haproxy.cfg`` that was rendered."""
    description, fixed = "", []
    profiles: dict[str, str] = {}
    backends: dict[str, Kept] = {}
    for head, body in _sections(text):
        match head.split(" "):
            case ["backend", name, "from", profile]:
                backends[name] = _kept(profile, body)
            case ["defaults", name]:
                profiles[name] = "\n".join(body)
            case ["global"]:
                described = [line for line in body if line.startswith("  description ")]
                description = " ".join(shlex.split(described[0])[1:]) if described else ""
                fixed.append("\n".join([head, *(line for line in body if line not in described)]))
            case _:
                fixed.append("\n".join([head, *body]))
    return Outline(description, tuple(fixed), profiles, backends)


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    head, body = "", list[str]()
    for line in filter(None, text.split("\n")):
        if line.startswith(" "):
            body.append(line)
            continue
        if head:
            yield head, body
        head, body = line, []
    if head:
        yield head, body


def _kept(profile: str, body: list[str]) -> Kept:
    servers = [line for line in body if line.startswith("  server ")]
    rest = [line for line in body if not line.startswith("  server ")]
    return Kept(profile, "\n".join(rest), _options(servers[0]) if servers else None)


def _options(server: str) -> tuple[str, ...]:
    """What follows name, address, id and weight."""
    return tuple(word for word in shlex.split(server)[7:] if word != "disabled")
