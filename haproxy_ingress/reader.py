"""Reads fields of a plain JSON dict: strict types, bounds, and a path to whatever is wrong.

Every string of an object passes `_text`, so that control characters and lengths are judged in
one place. A problem is collected, not raised: a person wants to hear of all of them at once.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

from attrs import define, field, frozen

MAX_TEXT_BYTES = 64 * 1024
MAX_NAME_BYTES = 253
MAX_ANNOTATION_BYTES = 256 * 1024  # the API's own bound, for all annotations of an object
MAX_KEY_BYTES = 253 + 1 + 63  # prefix/name
MAX_SECRET_BYTES = 1024 * 1024  # the API's own bound
MAX_ITEMS = 10_000
MAX_PROBLEMS = 20
MAX_SHOWN = 80
MAX_PORT = 65535

# Cc, the two other line separators, and the surrogates that no UTF-8 can carry.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Annotations are prose: snippets and lists span lines, and the grammar of a key judges them.
_CONTROL_IN_PROSE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_HIDDEN = "a value that is not shown"

_Choice = TypeVar("_Choice", bound=str)  # keeps the literals apart for the type checker


@frozen
class Problem:
    """path: where in the object. message: what is there and what is allowed."""

    path: str
    message: str


def shown(value: object) -> str:
    """A value as a message may carry it: scalars cut at 80 characters, the rest by its type."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN else value[: MAX_SHOWN - 3] + "...")
    if value is None or isinstance(value, bool | float):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 2**64 else "a very large number"
    return "a mapping" if isinstance(value, dict) else f"a {type(value).__name__}"


def has_control(text: str, *, prose: bool = False) -> bool:
    """Whether *text* holds what no text may. prose: line ends and tabs may stand in it."""
    pattern = _CONTROL_IN_PROSE if prose else _CONTROL
    return not text.isprintable() and bool(pattern.search(text))


def _refused(value: object) -> str:
    return f"{shown(value)} is not allowed"


@define(eq=False)
class Node:
    """A mapping inside an object. A key that is absent and one that is null are the same."""

    _values: Mapping[object, object] = field(repr=False)
    _problems: list[Problem] = field(factory=list)
    _parent: Node | None = None
    _key: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was wrong in the whole object, at most `MAX_PROBLEMS`."""
        return tuple(self._problems)

    @property
    def path(self) -> str:
        """Where this mapping is, such as ``spec.rules[0]``."""
        above = self._parent.path if self._parent else ""
        return f"{above}.{self._key}" if above else self._key

    def get(self, key: str) -> object:
        """What stands at *key*, unjudged; None if nothing."""
        return self._values.get(key)

    def wrong(self, key: str, allowed: str) -> None:
        """Note that what stands at *key* is not *allowed*, or is missing."""
        value = self._values.get(key)
        self._note(key, "is missing" if value is None else _refused(value), allowed)

    def defect(self, kind: str) -> None:
        """Note that reading it failed for a reason of ours, by an exception of that *kind*."""
        self._problems.append(Problem("", f"not read, a defect of ours: {kind}"))

    def wrong_item(self, key: str, index: int, value: str, allowed: str) -> None:
        """Note that one item of the list at *key* is not *allowed*."""
        self._note(f"{key}[{index}]", _refused(value), allowed)

    def _note(self, key: str, said: str, allowed: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            path = f"{self.path}.{key}".strip(".").replace(".[", "[")
            self._problems.append(Problem(path, f"{said}; allowed: {allowed}"))

    def child(self, key: str, *, required: bool = False) -> Node:
        """The mapping at *key*, an empty one if there is none."""
        value = self._values.get(key)
        if isinstance(value, Mapping):
            return Node(value, self._problems, self, key)
        if value is not None or required:
            self.wrong(key, "a mapping")
        return Node({}, self._problems, self, key)

    def children(self, key: str) -> Iterator[Node]:
        """The mappings in the list at *key*."""
        for index, value in enumerate(self._list(key)):
            place = f"{key}[{index}]"
            if isinstance(value, Mapping):
                yield Node(value, self._problems, self, place)
            else:
                self._note(place, _refused(value), "a mapping")

    def text(self, key: str, default: str = "", limit: int = MAX_TEXT_BYTES) -> str:
        """The text at *key*, on one line."""
        value = self._values.get(key)
        return default if value is None else self._text(key, value, limit)

    def name(self, key: str, *, required: bool = False) -> str:
        """A short text; the object it names may or may not exist."""
        if required and not self._values.get(key):
            self.wrong(key, f"a text of 1 to {MAX_NAME_BYTES} bytes")
            return ""
        return self.text(key, limit=MAX_NAME_BYTES)

    def names(self, key: str, limit: int = MAX_ITEMS) -> tuple[str, ...]:
        """The short texts in the list at *key*."""
        return tuple(
            self._text(f"{key}[{index}]", value, MAX_NAME_BYTES)
            for index, value in enumerate(self._list(key, limit))
        )

    def choice(self, key: str, allowed: tuple[_Choice, ...], default: _Choice | None) -> _Choice:
        """One of *allowed*; without a default the key is required."""
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        for one in allowed:
            if value == one and isinstance(value, str):
                return one
        self.wrong(key, ", ".join(allowed))
        return allowed[0]

    def flag(self, key: str) -> bool | None:
        """A boolean; the words "true" and "false" are none."""
        value = self._values.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.wrong(key, "true or false")
        return None

    def port(self, key: str) -> int | None:
        """A port's number."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_PORT:
            return value
        self.wrong(key, f"a number from 1 to {MAX_PORT}")
        return None

    def port_or_name(self, key: str) -> int | str | None:
        """A port; digits in quotes are a number, since a port's name holds a letter."""
        value = self._values.get(key)
        if not isinstance(value, str):
            return self.port(key)
        if re.fullmatch("[0-9]{1,5}", value) and 1 <= int(value) <= MAX_PORT:
            return int(value)
        if value and not re.fullmatch("[0-9]+", value):
            return self.name(key)
        self.wrong(key, f"a number from 1 to {MAX_PORT} or a name")
        return None

    def prose(self, key: str) -> dict[str, str]:
        """A mapping of keys to texts that may span lines: annotations."""
        return self.child(key)._prose()  # noqa: SLF001

    def _prose(self) -> dict[str, str]:
        if len(self._values) > MAX_ITEMS:
            self._note("", f"{len(self._values)} keys are not allowed", f"at most {MAX_ITEMS}")
            return {}
        if sum(len(value) for value in self._values.values() if isinstance(value, str)) > (
            MAX_ANNOTATION_BYTES
        ):
            self._note("", "is too large", f"at most {MAX_ANNOTATION_BYTES} bytes together")
            return {}
        return {
            self._text("", key, MAX_KEY_BYTES): self._text(
                f"[{shown(key)}]", value, MAX_ANNOTATION_BYTES, prose=True
            )
            for key, value in self._values.items()
        }

    def secrets(self, encoded: str, plain: str) -> dict[str, bytes]:
        """The contents of a Secret: Base64 at *encoded*, and texts at *plain*, which precede."""
        found = {key: self._decoded(encoded, key, text) for key, text in self._hidden(encoded)}
        found |= {key: self._encoded(plain, key, text) for key, text in self._hidden(plain)}
        if sum(map(len, found.values())) > MAX_SECRET_BYTES:
            self._note(encoded, "is too large", f"at most {MAX_SECRET_BYTES} bytes together")
            return {}
        return found

    def _hidden(self, key: str) -> Iterator[tuple[str, str]]:
        """Keys and texts of a mapping whose values no message may show."""
        values = self._values.get(key)
        if values is not None and not isinstance(values, Mapping):
            self._note(key, _HIDDEN, "a mapping")
            return
        for name, value in (values or {}).items():
            if isinstance(name, str) and isinstance(value, str) and len(name) <= MAX_KEY_BYTES:
                yield name, value
            elif value is not None:
                self._note(f"{key}[{shown(name)}]", _HIDDEN, "a text")

    def _decoded(self, key: str, name: str, text: str) -> bytes:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except ValueError:
            self._note(f"{key}[{shown(name)}]", _HIDDEN, "Base64")
            return b""

    def _encoded(self, key: str, name: str, text: str) -> bytes:
        try:
            return text.encode()
        except UnicodeEncodeError:
            self._note(f"{key}[{shown(name)}]", _HIDDEN, "text that is valid Unicode")
            return b""

    def _text(self, key: str, value: object, limit: int, *, prose: bool = False) -> str:
        if not isinstance(value, str):
            allowed = "a text (in YAML, put it in quotes)"
        elif has_control(value, prose=prose):
            allowed = "a text without control characters"
        elif len(value) > limit or len(value.encode()) > limit:
            allowed = f"at most {limit} bytes"
        else:
            return value
        self._note(key, _refused(value), allowed)
        return ""

    def _list(self, key: str, limit: int = MAX_ITEMS) -> list[object]:
        value = self._values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(key, "a list")
        elif len(value) > limit:
            self.wrong(key, f"at most {limit} items")
        else:
            return value
        return []
