"""Bytes of the Runtime API: commands out, replies in, no IO.

One command a line in prompt mode, where every reply ends with ``\\n> `` on every HAProxy; the
forms that save the prompt differ between versions (``;`` gives one prompt a command before 3.2
and one a line since; blank lines separate replies reliably only since 3.0).

Tested on 2.6.12, 3.0.11, 3.2.26 and 3.4.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import Attribute, define, field

from haproxy.capabilities import Limits
from haproxy.errors import InvalidValue, UnreadableReply

OPENING = "prompt"
CAUTIOUS = Limits()  # what every version takes
COMMAND_BYTES = CAUTIOUS.line_bytes
WINDOW_BYTES = 8_192  # half a buffer, so that HAProxy always has room for a whole command

_END = b"\n> "
_WAITS = b"wait "
_PAYLOAD_PROMPTS = re.compile(rb"(?:\+ )+")
_UNESCAPED_SEMICOLON = re.compile(r"(?<!\\)(?:\\\\)*;")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PAYLOAD_CONTROL = re.compile(r"[\x00\r]")  # HAProxy takes a line of only \r for an empty one
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
    return "\n\n" in "\n" + payload


def _is_payload(line: str, payload: str, limits: Limits) -> bool:
    ends = f"\n{_PATTERN}\n" not in "\n" + payload if limits.end_pattern else True
    whole = line.endswith(_PAYLOAD) and payload.endswith("\n") and bool(payload.strip("\n"))
    empty = _has_empty_line(payload) and not limits.end_pattern
    return whole and ends and not empty and not _PAYLOAD_CONTROL.search(payload)


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


def _encodable(it: Exchange, _: Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for command in value:
        encode(command, it.limits)


@define
class Exchange:
    """Commands, and one reply to each of them.

    Write what `to_send` gives, pass whatever arrives to `receive` (in any chunking, ``b""`` at end
    of file), until it is `done` or `ended`.

    opens: the connection is new, so that it must be brought into prompt mode first. limits: what
    this HAProxy takes.
    """

    commands: tuple[str, ...] = field(converter=_commands, validator=_encodable, repr=False)
    opens: bool = True
    limits: Limits = CAUTIOUS
    ended: bool = field(default=False, init=False)
    _sizes: list[int] = field(factory=list, init=False)
    _replies: list[str] = field(factory=list, init=False, repr=False)
    _buffer: bytearray = field(factory=bytearray, init=False, repr=False)
    _searched: int = field(default=0, init=False)
    _unanswered_bytes: int = field(default=0, init=False)

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
        chunk = bytearray()
        if self._waits():
            return b""
        for data in self._unsent():
            if self._unanswered_bytes and self._unanswered_bytes + len(data) > WINDOW_BYTES:
                break
            self._sizes.append(len(data))
            self._unanswered_bytes += len(data)
            chunk += data
            if data.startswith(_WAITS):
                break
        return bytes(chunk)

    def receive(self, data: bytes) -> None:
        """Take what arrived.

        Raises `UnreadableReply` when there are more replies than commands were sent.
        """
        self.ended = not data
        self._buffer += data
        while (end := self._buffer.find(_END, self._searched)) >= 0:
            self._answer(bytes(self._buffer[:end]))
            del self._buffer[: end + len(_END)]
            self._searched = 0
        self._searched = max(0, len(self._buffer) - len(_END) + 1)
        if self._buffer and self.done:
            raise self._surplus()

    def _answer(self, reply: bytes) -> None:
        if len(self._replies) == len(self._sizes):
            raise self._surplus()
        index = len(self._replies)
        self._unanswered_bytes -= self._sizes[index]
        if "\n" in self._command(index) and (prompts := _PAYLOAD_PROMPTS.match(reply)):
            reply = reply[prompts.end() :]
        self._replies.append(reply.decode(errors="backslashreplace").strip("\n"))

    def _surplus(self) -> UnreadableReply:
        last = self._command(len(self._sizes) - 1) if self._sizes else OPENING
        return UnreadableReply(name_of(last), "more replies than commands")

    def _unsent(self) -> Iterator[bytes]:
        for index in range(len(self._sizes), len(self.commands) + self.opens):
            command = self._command(index)
            yield b"prompt\n" if self.opens and index == 0 else encode(command, self.limits)

    def _waits(self) -> bool:
        """Whether HAProxy is busy with a command that whatever comes next would interrupt."""
        last = len(self._sizes) - 1
        unanswered = len(self._replies) < len(self._sizes)
        return unanswered and self._command(last).encode().startswith(_WAITS)

    def _command(self, index: int) -> str:
        return OPENING if self.opens and index == 0 else self.commands[index - self.opens]
