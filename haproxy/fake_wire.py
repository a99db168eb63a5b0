"""One session with a `FakeHAProxy`, from bytes to bytes, faults included. No IO.

Framing as seen on 2.6.12, 3.0.11, 3.2.26 and 3.4.7: every reply ends with an empty line and, in
prompt mode, ``> ``. Before 3.2 there is such a prompt after each command of a line with ``;``, and
a ``+ `` for every line of a payload; since then one for the line, and a ``+ `` only when the
payload was not complete in what arrived. Without prompt mode the first line is the only one since
3.0, and then the connection ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import define, field

from haproxy import fake_members, fake_tables
from haproxy.fake_worker import Act, Worker
from haproxy.faults import Close, Drip, Fault, Hang, Notice, Refuse, Restart
from haproxy.protocol import name_of

_COMMANDS = {**fake_members.COMMANDS, **fake_tables.COMMANDS}
_PARTS = re.compile(r"(?:\\.|[^\\;])+")
_WORDS = re.compile(r"(?:\\.|[^\\ \t])+")
_OPENS = re.compile(r"(?:.* )?<<(\S*)")
_HELP = """, but maybe one of the following ones is a better match:
  help [<command>]                        : list matching or all commands
  prompt                                  : toggle interactive mode with prompt
  quit                                    : disconnect"""


def answer(worker: Worker, command: str) -> str:
    """Carry out *command*, whose payload follows after a newline; HAProxy's reply."""
    with worker.haproxy.lock:
        worker.keep_apart()
        line, _, payload = command.partition("\n")
        words = [re.sub(r"\\(.)", r"\1", word) for word in _WORDS.findall(line)]
        if words[:1] != ["show"]:
            worker.haproxy.log.append(line)
        arguments = [word for word in words if not (payload and word.startswith("<<"))]
        for length in (3, 2):
            since, act = _COMMANDS.get(" ".join(words[:length]), ((99, 0), None))
            if act and worker.version >= since:
                return _tried(act, worker, arguments[length:], payload)
        which = f": '{''.join(words[:1])}'" if worker.version >= (3, 0) else ""
        return f"Unknown command{which}{_HELP}"


def _tried(act: Act, worker: Worker, words: list[str], payload: str) -> str:
    try:
        return act(worker, words, payload)
    except (IndexError, TypeError, ValueError):  # too few words, or no number where one should be
        return "This command expects other parameters."


@define(eq=False)
class Wire:
    """faults: what may befall a command; `Restart` is taken out when it happened."""

    worker: Worker
    faults: list[Fault]
    ended: bool = field(default=False, init=False)
    hung: bool = field(default=False, init=False)
    _prompt: bool = field(default=False, init=False)
    _buffer: bytes = field(default=b"", init=False, repr=False)
    _open: list[str] = field(factory=list, init=False)
    _end: str = field(default="", init=False)

    def receive(self, data: bytes) -> Iterator[bytes]:
        """What is to be sent for what arrived, in pieces."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if self.hung or self.ended:
                return
            yield from self._line(line.decode(errors="backslashreplace"))
        if self._open and self._prompt and self.worker.version >= (3, 2):
            yield b"+ "
        self.ended = self.ended or bool(lines and not (self._prompt or self._open or self.hung))

    def _line(self, line: str) -> Iterator[bytes]:
        if not self._open and (opens := _OPENS.fullmatch(line)) and self._known(opens[1]):
            self._open, self._end = [line], opens[1]
        elif not self._open:
            yield from self._commands(line)
            return
        elif line == self._end:
            command, self._open = "\n".join([*self._open, ""]), []
            yield from self._one(command)
            return
        else:
            self._open.append(line)
        if self._prompt and self.worker.version < (3, 2):
            yield b"+ "

    def _known(self, pattern: str) -> bool:
        return not pattern or self.worker.version >= (3, 0)

    def _commands(self, line: str) -> Iterator[bytes]:
        parts = [part.strip() for part in _PARTS.findall(line)]
        for number, part in enumerate(parts, 1):
            if self.hung or self.ended:
                return
            if part == "quit":
                self.ended = True
                return
            yield from self._one(part, self.worker.version < (3, 2) or number == len(parts))
        if not (self._prompt or self.hung) and self.worker.version >= (3, 0):
            self.ended = True

    def _one(self, command: str, last: bool = True) -> Iterator[bytes]:
        met = [fault for fault in self.faults if fault.meets(name_of(command))]
        if any(isinstance(fault, Hang) for fault in met):
            self.hung = True
            return
        said = self._answered(command, met)
        reply = f"{said}\n\n" if said else "\n"
        data = (reply + ("> " if self._prompt and last else "")).encode(errors="replace")
        if any(isinstance(fault, Close) for fault in met):
            data, self.ended = data[: len(data) // 2], True
        self._restart(met)
        if any(isinstance(fault, Drip) for fault in met):
            yield from (data[at : at + 1] for at in range(len(data)))
        else:
            yield data

    def _answered(self, command: str, met: list[Fault]) -> str:
        if command == "prompt":
            self._prompt = not self._prompt
            return ""
        refused = [fault.words for fault in met if isinstance(fault, Refuse)]
        notices = [fault.words for fault in met if isinstance(fault, Notice)]
        words = refused[0] if refused else answer(self.worker, command)
        return "\n".join([*notices, words] if words else notices)

    def _restart(self, met: list[Fault]) -> None:
        for fault in met:
            if isinstance(fault, Restart):
                self.faults.remove(fault)
                self.worker.haproxy.restart()
