"""Crt-lists: which certificate is served to which name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

from haproxy.calls.channel import Channel, ask, tell
from haproxy.errors import InvalidValue, UnreadableReply
from haproxy.words import file_word, number_word

_ROW = re.compile(r"(\S+):(\d+)(?: \[(.*?)\])?((?: \S+)*)")
_OPTIONS = re.compile(r"[A-Za-z0-9_.:/, +-]{1,400}")
_FILTER = re.compile(r"!?[A-Za-z0-9_.*-]{1,255}")


@frozen
class CrtListLine:
    """number: from 1; tells lines of one certificate apart. options: as between the brackets.

    filters: names, ``*.`` for one label, ``!`` in front of those that are excluded; none for the
    names in the certificate.
    """

    certificate: str
    number: int
    options: str = ""
    filters: tuple[str, ...] = ()


@frozen
class CrtLists:
    """Crt-lists, by file name. Nothing is written to files."""

    _channel: Channel

    def names(self) -> tuple[str, ...]:
        return tuple(line for line in ask(self._channel, "show ssl crt-list").split("\n") if line)

    def lines(self, name: str) -> tuple[CrtListLine, ...]:
        return crt_list_lines(ask(self._channel, f"show ssl crt-list -n {file_word(name)}"))

    def add(
        self, name: str, certificate: str, *, options: str = "", filters: Iterable[str] = ()
    ) -> None:
        """Append a line for a certificate that is not empty; twice the same makes two lines.

        options: such as ``alpn h2,http/1.1``. filters: see `CrtListLine`.
        """
        words = [file_word(certificate)]
        if options:
            words.append(f"[{_options(options)}]")
        words += map(_filter, filters)
        line = " ".join(words)
        tell(self._channel, f"add ssl crt-list {file_word(name)} <<\n{line}\n")

    def delete(self, name: str, certificate: str, number: int | None = None) -> None:
        """Remove a line; *number* says which when a certificate has several.

        Raises `CommandRejected` for the first line, which serves when no name matches.
        """
        which = "" if number is None else f":{number_word('line', number, 1, 2**31 - 1)}"
        tell(self._channel, f"del ssl crt-list {file_word(name)} {file_word(certificate)}{which}")


def _options(text: str) -> str:
    if not _OPTIONS.fullmatch(text):
        raise InvalidValue("options of a crt-list line", text, "words such as alpn h2")
    return text


def _filter(text: str) -> str:
    if not _FILTER.fullmatch(text):
        raise InvalidValue("filter of a crt-list line", text, "a DNS name, *. and ! in front")
    return text


def crt_list_lines(text: str) -> tuple[CrtListLine, ...]:
    """Read the answer to ``show ssl crt-list -n``: ``FILE:NUMBER [OPTIONS] FILTERS`` a line.

    Every version ends the value of ``alpn`` with a NUL. Raises `UnreadableReply`.
    """
    rows = (line.replace("\0", "").rstrip() for line in text.split("\n"))
    return tuple(_line(row) for row in rows if row and not row.startswith("#"))


def _line(row: str) -> CrtListLine:
    match = _ROW.fullmatch(row)
    if not match:
        raise UnreadableReply("show ssl crt-list", "a line of another shape")
    return CrtListLine(match[1], int(match[2]), match[3] or "", tuple(match[4].split()))
