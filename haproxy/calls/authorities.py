"""Files of authorities: CA files, and the revocation lists of CRL files."""

from __future__ import annotations

import re
from typing import Literal

from attrs import frozen

from haproxy.calls.certificates import CertificateShown, begin, described, give_up, payload
from haproxy.calls.channel import Channel, ask, tell
from haproxy.capabilities import Feature
from haproxy.errors import BatchFailed, CommandRejected, InvalidValue
from haproxy.words import file_word, payloads

_ROW = re.compile(r"(\S+)(?: - (\d+) certificate\(s\))?")
_BLOCK = re.compile(r"-----BEGIN [^-]+-----\n.*?-----END [^-]+-----\n", re.DOTALL)
_COMMAND_BYTES = 500


@frozen
class Authority:
    """certificates: how many are in it; None for a CRL file."""

    name: str
    certificates: int | None


@frozen
class Authorities:
    """CA files or CRL files, by the file name that the configuration gives them.

    kind: which of them. ``@system-ca`` is one that HAProxy makes itself.
    """

    _channel: Channel
    kind: Literal["ca-file", "crl-file"]

    def list(self) -> tuple[Authority, ...]:
        return authorities(ask(self._channel, f"show ssl {self.kind}"))

    def show(self, name: str) -> tuple[CertificateShown, ...]:
        """The certificates in a CA file; nothing for an empty one."""
        self._only_ca("show")
        text = ask(self._channel, f"show ssl ca-file {file_word(name)}")
        shown = described(text, "show ssl ca-file")
        return tuple(one for one in shown if one.serial)

    def text(self, name: str) -> str:
        """What HAProxy says of a file, unread."""
        return ask(self._channel, f"show ssl {self.kind} {file_word(name)}")

    def new(self, name: str) -> None:
        """An empty one; one that exists already stays as it is."""
        tell(self._channel, f"new ssl {self.kind} {file_word(name)}")

    def set(self, name: str, pem: str) -> None:
        """Open a transaction with new content.

        CA files that are larger than one command are sent in parts, where HAProxy can add to
        them (2.7). Raises `InvalidValue` for what is too large.
        """
        limit_bytes = self._channel.can.limits.payload_bytes
        if len(pem.encode()) + _COMMAND_BYTES <= limit_bytes:
            self._begin(name, pem)
            return
        first, *others = self._parts(pem, limit_bytes)
        self._begin(name, first)
        try:
            for part in others:
                self.add(name, part)
        except (CommandRejected, BatchFailed):
            self._give_up(name)
            raise

    def add(self, name: str, pem: str) -> None:
        """Add to the transaction, or open one with what runs and *pem* (CA files, 2.7)."""
        self._only_ca("add")
        self._channel.can.require(Feature.ADD_CA_FILE)
        command = f"add ssl ca-file {file_word(name)} <<\n{payload(pem)}"
        tell(self._channel, command)

    def commit(self, name: str) -> None:
        tell(self._channel, f"commit ssl {self.kind} {file_word(name)}")

    def abort(self, name: str) -> None:
        """Give the transaction up; that there is none is no error."""
        tell(self._channel, f"abort ssl {self.kind} {file_word(name)}")

    def replace(self, name: str, pem: str) -> None:
        """`set` and `commit`. When HAProxy refuses, the old content stays."""
        self.set(name, pem)
        try:
            self.commit(name)
        except (CommandRejected, BatchFailed):
            self._give_up(name)
            raise

    def delete(self, name: str) -> None:
        """From memory; what uses it goes on with what it has. What is gone already is done."""
        tell(self._channel, f"del ssl {self.kind} {file_word(name)}")

    def _begin(self, name: str, pem: str) -> None:
        begin(self._channel, f"set ssl {self.kind} {file_word(name)}", name, pem)

    def _give_up(self, name: str) -> None:
        give_up(self._channel, f"abort ssl {self.kind} {file_word(name)}")

    def _parts(self, pem: str, limit_bytes: int) -> tuple[str, ...]:
        can_add = self.kind == "ca-file" and self._channel.can.has(Feature.ADD_CA_FILE)
        blocks = _BLOCK.findall(payload(pem)) if can_add else []
        if not blocks:
            raise InvalidValue(f"payload of set ssl {self.kind}", "...", f"{limit_bytes} bytes")
        return tuple(payloads(blocks, limit_bytes - _COMMAND_BYTES))

    def _only_ca(self, what: str) -> None:
        if self.kind != "ca-file":
            raise InvalidValue(f"{what} ssl", self.kind, "ca-file")


def authorities(text: str) -> tuple[Authority, ...]:
    """Read the answer to ``show ssl ca-file`` or ``crl-file``: names, and counts of the former."""
    rows = (_ROW.match(line) for line in text.split("\n") if line and line[0] != "#")
    return tuple(Authority(row[1], int(row[2]) if row[2] else None) for row in rows if row)
