"""Bytes of the Runtime API: commands out, replies in, no IO.

One command a line in prompt mode, where every reply ends with ``\\n> `` on every HAProxy; the
forms that save the prompt differ between versions (``;`` gives one prompt a command before 3.2
and one a line since; blank lines separate replies reliably only since 3.0).

Tested on 2.6.12, 3.0.11, 3.2.26 and 3.4.7.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate

from attrs import define, field

from haproxy.capabilities import Limits
from haproxy.errors import InvalidValue, UnreadableReply

OPENING = "prompt"
CAUTIOUS = Limits()  # what every version takes
COMMAND_BYTES = CAUTIOUS.line_bytes
WINDOW_BYTES = 8_192  # half a buffer, so that HAProxy always has room for a whole command

_END = b"\n> "
_WAITS = "wait "
_PAYLOAD_PROMPTS = re.compile(r"(?:\+ )+")
# Printable, without what may be special: ; \ < and the commands that nothing answers.
_PLAIN = re.compile(r"(?:(?!prompt|quit)[a-z][ -:=-\[\]-~]*+\n)*+")
_UNESCAPED_SEMICOLON = re.compile(r"(?<!\\)(?:\\\\)*;")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PAYLOAD_CONTROL = "\0\r"  # HAProxy takes a line of only \r for an empty one
_PAYLOAD = " <<"
_PATTERN = "%END%"


def name_of(command: str) -> str:
    """The command without its payload, which may hold a key: what an error may show."""
    return command.partition("\n")[0]


def encode(command: str, limits: Limits = CAUTIOUS) -> bytes:
    """*command* as bytes on the wire.

    A payload follows its command after ``<<`` and a newline, and ends with a newline.

    Raises `InvalidValue` for whatever would not be answered by exactly one reply: an empty line,
    an unescaped ``;``, ``prompt``, a control character, a payload that is missing or has an empty
    line where the version has no other end for it, more than *limits* allow.
    """
    line, newline, payload = command.partition("\n")
    if not line.strip() or line.split()[0] in (OPENING, "quit"):
        raise InvalidValue("command", _shown(line), "a command that is answered")
    if _CONTROL.search(line) or _UNESCAPED_SEMICOLON.search(line):
        raise InvalidValue(
            "command", _shown(line), "one line without control characters or bare ';'"
        )
    if newline and not _is_payload(line, payload, limits):
        raise InvalidValue("payload of", _shown(line), "after <<, full lines, none of them empty")
    if not newline and line.split()[-1].startswith("<<"):
        raise InvalidValue("command", _shown(line), "a payload after <<")
    if newline and _has_empty_line(payload):
        command = f"{line}{_PATTERN}\n{payload}{_PATTERN}"
    return _checked(command, line, limits.payload_bytes if newline else limits.line_bytes)


def _shown(line: str) -> str:
    """What the command does and to what; not the value, which may be secret."""
    return " ".join(line.split()[:3])


def _has_empty_line(payload: str) -> bool:
    return payload.startswith("\n") or "\n\n" in payload


def _is_payload(line: str, payload: str, limits: Limits) -> bool:
    ends = f"\n{_PATTERN}\n" not in "\n" + payload if limits.end_pattern else True
    whole = line.endswith(_PAYLOAD) and payload.endswith("\n") and bool(payload.strip("\n"))
    empty = _has_empty_line(payload) and not limits.end_pattern
    return whole and ends and not empty and not any(char in payload for char in _PAYLOAD_CONTROL)


def _checked(command: str, line: str, limit_bytes: int) -> bytes:
    try:
        data = command.encode() + b"\n"
    except UnicodeEncodeError:
        raise InvalidValue("command", _shown(line), "text that is valid Unicode") from None
    if len(data) > limit_bytes:
        raise InvalidValue("command", _shown(line), f"at most {limit_bytes} bytes with its payload")
    return data


def _commands(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value)


def encode_all(commands: tuple[str, ...], limits: Limits = CAUTIOUS) -> tuple[bytes, list[int]]:
    """`encode` for many: their bytes in one, and how long each is.

    Commands of plain ASCII, as nearly all are, are checked in one go: that costs a tenth.
    """
    text = "\n".join([*commands, ""])
    longest = max(map(len, commands), default=0)
    if text.count("\n") == len(commands) and longest < limits.line_bytes and _PLAIN.fullmatch(text):
        return text.encode("ascii"), [len(command) + 1 for command in commands]
    encoded = [encode(command, limits) for command in commands]
    return b"".join(encoded), list(map(len, encoded))


@define
class Exchange:
    """Commands, and one reply to each of them.

    Write what `to_send` gives, pass whatever arrives to `receive` (in any chunking, ``b""`` at end
    of file), until it is `done` or `ended`.

    opens: the connection is new, so that it must be brought into prompt mode first. limits: what
    this HAProxy takes.
    """

    commands: tuple[str, ...] = field(converter=_commands, repr=False)
    opens: bool = True
    limits: Limits = CAUTIOUS
    ended: bool = field(default=False, init=False)
    _data: bytes = field(init=False, repr=False)
    _ends: list[int] = field(init=False, repr=False)
    _pauses: list[int] = field(factory=list, init=False, repr=False)
    _payloads: bool = field(init=False, repr=False)
    _sent: int = field(default=0, init=False)
    _replies: list[str] = field(factory=list, init=False, repr=False)
    _buffer: bytearray = field(factory=bytearray, init=False, repr=False)
    _searched: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        data, sizes = encode_all(self.commands, self.limits)
        opening = f"{OPENING}\n".encode() if self.opens else b""
        self._data = opening + data
        self._ends = list(accumulate([len(opening), *sizes] if self.opens else sizes))
        self._payloads = data.count(b"\n") > len(sizes)
        if _WAITS.encode() in data:
            commands = enumerate(self.commands, int(self.opens))
            self._pauses = [at for at, command in commands if command.startswith(_WAITS)]

    @property
    def replies(self) -> tuple[str, ...]:
        """Those that are complete, in the order of the commands, without empty lines around."""
        return tuple(self._replies[self.opens :])

    @property
    def done(self) -> bool:
        return len(self._replies) == len(self.commands) + self.opens

    @property
    def waiting_for(self) -> str:
        """The first command without a reply, without its payload; empty when `done`."""
        return "" if self.done else name_of(self._command(len(self._replies)))

    def to_send(self) -> bytes:
        """The next commands, as many as HAProxy surely has room for.

        Empty when nothing is left, or when HAProxy has to answer first.
        """
        if self._waits():
            return b""
        answered, begin = self._end(len(self._replies)), self._end(self._sent)
        stop = bisect_right(self._ends, answered + WINDOW_BYTES, self._sent)
        if begin == answered and self._sent < len(self._ends):
            stop = max(stop, self._sent + 1)  # a command larger than the window goes alone
        stop = min([stop, *(at + 1 for at in self._pauses if at >= self._sent)])
        self._sent = stop
        return self._data[begin : self._end(stop)]

    def receive(self, data: bytes) -> None:
        """Take what arrived.

        Raises `UnreadableReply` when there are more replies than commands were sent.
        """
        self.ended = not data
        self._buffer += data
        if (end := self._buffer.rfind(_END, self._searched)) >= 0:
            complete = self._buffer[:end].decode(errors="backslashreplace")
            del self._buffer[: end + len(_END)]
            self._answer(complete.split(_END.decode()))
        self._searched = max(0, len(self._buffer) - len(_END) + 1)
        if self._buffer and self.done:
            raise self._surplus()

    def _answer(self, replies: list[str]) -> None:
        first, room = len(self._replies), self._sent - len(self._replies)
        expected = replies[:room]
        if self._payloads:
            expected = [self._unprompted(at, reply) for at, reply in enumerate(expected, first)]
        self._replies += [reply.strip("\n") for reply in expected]
        if len(replies) > room:
            raise self._surplus()

    def _unprompted(self, index: int, reply: str) -> str:
        prompts = _PAYLOAD_PROMPTS.match(reply) if "\n" in self._command(index) else None
        return reply[prompts.end() :] if prompts else reply

    def _surplus(self) -> UnreadableReply:
        last = self._command(self._sent - 1) if self._sent else OPENING
        return UnreadableReply(name_of(last), "more replies than commands")

    def _end(self, count: int) -> int:
        """Where the first *count* commands end."""
        return self._ends[count - 1] if count else 0

    def _waits(self) -> bool:
        """Whether HAProxy is busy with a command that whatever comes next would interrupt."""
        return len(self._replies) < self._sent and self._sent - 1 in self._pauses

    def _command(self, index: int) -> str:
        return OPENING if self.opens and index == 0 else self.commands[index - self.opens]
