"""Maps and ACLs: files of patterns, of which those of maps have values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from haproxy.calls.channel import Channel, ask, tell
from haproxy.commands import lines
from haproxy.errors import BatchFailed, CommandRejected, HAProxyError, UnreadableReply
from haproxy.ops import AddRow, DelRow, SetRow
from haproxy.tables import MapRow, map_rows
from haproxy.words import escaped, key_text, map_word, number_word, payloads, row_lines

_FILE = re.compile(
    r"(\d+) \((.*?)\) (.*?)(?: curr_ver=(\d+) next_ver=(\d+) entry_cnt=(\d+))", re.DOTALL
)
_VALUE = re.compile(r'value="(.*)", type="[^"]*"$')
_VERSION = re.compile(r"New version created: (\d+)")
_PAYLOAD_BYTES = 15_000  # with its command below the limit of every version


@frozen
class PatternFile:
    """A map or an ACL that runs.

    name: its file, empty for patterns that stand in the configuration itself; those go by
    ``#ID``. version: the one that look-ups read. prepared: the highest one that was made.
    """

    id: int
    name: str
    description: str
    version: int
    prepared: int
    entries: int


@frozen
class Maps:
    """Maps, by the file name that the configuration gives them.

    Keys should be unique: with doubles, which of them ``set`` and ``del`` change depends on the
    version.
    """

    _channel: Channel

    def files(self) -> tuple[PatternFile, ...]:
        return pattern_files("show map", ask(self._channel, "show map"))

    def rows(self, name: str, version: int | None = None) -> tuple[MapRow, ...]:
        """In HAProxy's order; of the *version* that was prepared, or of the one in use."""
        return map_rows(ask(self._channel, f"show map {_at(version)}{map_word(name)}"))

    def get(self, name: str, key: str) -> str | None:
        """What a look-up of *key* finds, as the map matches: by prefix, by suffix, ..."""
        return found(ask(self._channel, f"get map {map_word(name)} {escaped(key_text(key))}"))

    def add(self, name: str, key: str, value: str) -> None:
        """Append a row, even when there is one with that key: the first one is found."""
        tell(self._channel, *lines(AddRow(name, key, value)))

    def add_rows(self, name: str, rows: Mapping[str, str], version: int | None = None) -> None:
        """Append many, in payloads as large as HAProxy takes; to a prepared *version* too."""
        self._fill(name, row_lines(rows), version)

    def _fill(self, name: str, texts: list[str], version: int | None) -> None:
        head = f"add map {_at(version)}{map_word(name)} <<\n"
        parts = payloads(texts, _PAYLOAD_BYTES - len(head.encode()))
        if commands := tuple(head + part for part in parts):
            tell(self._channel, *commands)

    def set(self, name: str, key: str, value: str) -> None:
        """Raises `CommandRejected` when there is no row with that key."""
        tell(self._channel, *lines(SetRow(name, key, value)))

    def delete(self, name: str, key: str) -> None:
        """What is gone already is done."""
        tell(self._channel, *lines(DelRow(name, key)))

    def clear(self, name: str, version: int | None = None) -> None:
        """Remove all rows, or those of a *version* that was prepared."""
        tell(self._channel, f"clear map {_at(version)}{map_word(name)}")

    def prepare(self, name: str) -> int:
        """A new, empty version, to be filled and committed."""
        return prepared(self._channel, f"prepare map {map_word(name)}")

    def commit(self, name: str, version: int) -> None:
        """Let look-ups read *version*, from one request to the next."""
        tell(self._channel, f"commit map {_at(version)}{map_word(name)}")

    def replace(self, name: str, rows: Mapping[str, str]) -> None:
        """All rows at once, in their order: requests see the old ones or the new ones.

        When it fails, the old ones stay.
        """
        texts = row_lines(rows)  # before a version is made that nobody would fill
        version = self.prepare(name)
        try:
            self._fill(name, texts, version)
            self.commit(name, version)
        except (CommandRejected, BatchFailed):
            _forget(self._channel, f"clear map {_at(version)}{map_word(name)}")
            raise

    def update(self, name: str, rows: Mapping[str, str]) -> int:
        """Only what differs, row by row, so that no key that stays is ever missing.

        Order is kept for rows that stay; new ones are appended. Returns how many rows changed.
        """
        commands = tuple(differences(name, self.rows(name), rows))
        if commands:
            tell(self._channel, *commands)
        return len(commands)


@frozen
class Acls:
    """ACLs, by the file name that the configuration gives them."""

    _channel: Channel

    def files(self) -> tuple[PatternFile, ...]:
        return pattern_files("show acl", ask(self._channel, "show acl"))

    def patterns(self, name: str, version: int | None = None) -> tuple[str, ...]:
        text = ask(self._channel, f"show acl {_at(version)}{map_word(name)}")
        return tuple(acl_pattern(line) for line in text.split("\n") if line)

    def matches(self, name: str, value: str) -> bool:
        command = f"get acl {map_word(name)} {escaped(key_text(value))}"
        return ", match=yes" in ask(self._channel, command)

    def add(self, name: str, pattern: str, version: int | None = None) -> None:
        self.add_patterns(name, (pattern,), version)

    def add_patterns(self, name: str, patterns: Iterable[str], version: int | None = None) -> None:
        """One command each: HAProxy takes no payload here."""
        head = f"add acl {_at(version)}{map_word(name)}"
        if commands := tuple(f"{head} {escaped(key_text(one))}" for one in patterns):
            tell(self._channel, *commands)

    def delete(self, name: str, pattern: str) -> None:
        """What is gone already is done."""
        tell(self._channel, f"del acl {map_word(name)} {escaped(key_text(pattern))}")

    def clear(self, name: str, version: int | None = None) -> None:
        tell(self._channel, f"clear acl {_at(version)}{map_word(name)}")

    def prepare(self, name: str) -> int:
        return prepared(self._channel, f"prepare acl {map_word(name)}")

    def commit(self, name: str, version: int) -> None:
        tell(self._channel, f"commit acl {_at(version)}{map_word(name)}")

    def replace(self, name: str, patterns: Iterable[str]) -> None:
        """All patterns at once. When it fails, the old ones stay."""
        wanted = tuple(key_text(one) for one in patterns)
        version = self.prepare(name)
        try:
            self.add_patterns(name, wanted, version)
            self.commit(name, version)
        except (CommandRejected, BatchFailed):
            _forget(self._channel, f"clear acl {_at(version)}{map_word(name)}")
            raise


def _at(version: int | None) -> str:
    return "" if version is None else f"@{number_word('version', version, 0, 2**32 - 1)} "


def _forget(channel: Channel, command: str) -> None:
    """Give a transaction up; what went wrong before says more than what goes wrong here."""
    try:
        tell(channel, command)
    except HAProxyError:
        return


def prepared(channel: Channel, command: str) -> int:
    """The number of a new version. Raises `CommandRejected`."""
    reply = channel.run((command,))[0]
    match = _VERSION.search(reply)
    if not match:
        raise CommandRejected(command, reply)
    return int(match[1])


def differences(name: str, now: Iterable[MapRow], wanted: Mapping[str, str]) -> Iterator[str]:
    """Commands from one set of rows to another: those that stay, then new ones, then gone."""
    running = {row.key: row.value for row in reversed(tuple(now))}
    for key, value in wanted.items():
        if running.get(key, value) != value:
            yield from lines(SetRow(name, key, value))
    for key in (key for key in wanted if key not in running):
        yield from lines(AddRow(name, key, wanted[key]))
    for key in running:
        if key not in wanted:
            yield from lines(DelRow(name, key))


def pattern_files(command: str, text: str) -> tuple[PatternFile, ...]:
    """Read the answer to ``show map`` or ``show acl``: a ``#`` line, then one a file.

    Raises `UnreadableReply`.
    """
    rows = (line for line in text.split("\n") if line and not line.startswith("#"))
    return tuple(_pattern_file(command, row) for row in rows)


def _pattern_file(command: str, row: str) -> PatternFile:
    match = _FILE.match(row)
    if not match:
        raise UnreadableReply(command, "a line of another shape")
    number, name, description, *counts = match.groups()
    return PatternFile(int(number), name, description.rstrip("."), *map(int, counts))


def found(text: str) -> str | None:
    """Read the answer to ``get map``: comma separated, ``found=yes`` and ``value="..."`` in it."""
    match = _VALUE.search(text) if ", found=yes, " in text else None
    return match[1] if match else None


def acl_pattern(line: str) -> str:
    """One line of ``show acl FILE``: ``0xADDRESS pattern``. Raises `UnreadableReply`."""
    address, _, pattern = line.partition(" ")
    if not address.startswith("0x") or not pattern:
        raise UnreadableReply("show acl", "a line that is no pattern")
    return pattern
