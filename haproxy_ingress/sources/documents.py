"""From the bytes of a manifest file to its documents, within bounds.

YAML is dangerous to read twice over: an alias may stand for millions of nodes, and libyaml's
composer recurses, so that deep nesting ends the process. Both are judged from the stream of
events, before anything is built.
"""

from __future__ import annotations

import json
from typing import Any

import yaml
from attrs import define, field

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_NODES = 1_000_000
MAX_DEPTH = 100
MAX_SAID = 200

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _ManifestLoader(_Loader):  # type: ignore[misc, valid-type]
    """Leaves times as text, as the API's own reader does: 2024-01-01 is a fine annotation."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@define(eq=False)
class Unreadable(Exception):
    """Why a file holds no documents. line and column count from 1; 0 is nowhere in particular."""

    problem: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}: " if self.line else ""
        return where + self.problem


def documents(data: bytes, *, is_json: bool = False) -> list[object]:
    """What the file holds, document by document.

    Raises `Unreadable` when any of it cannot be read: half a file is not what its writer means.
    """
    if len(data) > MAX_FILE_BYTES:
        raise Unreadable(f"more than {MAX_FILE_BYTES} bytes; split the file")
    text = _text(data)
    return [_json(text)] if is_json and text.strip() else _yaml(text)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise Unreadable("not UTF-8", line, column) from None


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError:  # a number of thousands of digits
        raise Unreadable("holds a number that is too large") from None


def _yaml(text: str) -> list[object]:
    try:
        _check(text)
        return list(yaml.load_all(text, Loader=_ManifestLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(filter(None, (error.context, error.problem))) or "not YAML"
        raise Unreadable(said[:MAX_SAID], *_place(mark)) from None
    except yaml.YAMLError as error:
        raise Unreadable(str(error).splitlines()[0][:MAX_SAID]) from None
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
        # PyYAML's constructors, where a tag promises what the text does not hold: !!int x
        raise Unreadable("holds a value that does not fit its tag") from None


def _check(text: str) -> None:
    nodes = _Nodes()
    for event in yaml.parse(text, Loader=_ManifestLoader):
        nodes.see(event)


@define
class _Nodes:
    """Counts nodes as if every alias were written out."""

    _sizes: dict[str, int] = field(factory=dict)
    _open: list[tuple[str | None, int]] = field(factory=list)
    _count: int = 0

    def see(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._sizes.clear()
            case yaml.AliasEvent():
                self._add(event, self._size(event))
            case yaml.ScalarEvent():
                self._add(event, 1)
                self._keep(event.anchor, 1)
            case yaml.CollectionStartEvent():
                self._enter(event)
            case yaml.CollectionEndEvent():
                anchor, before = self._open.pop()
                self._keep(anchor, self._count - before)

    def _enter(self, event: yaml.CollectionStartEvent) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _at(event, f"nested more than {MAX_DEPTH} deep")
        self._open.append((event.anchor, self._count))
        self._add(event, 1)

    def _size(self, event: yaml.AliasEvent) -> int:
        if any(anchor == event.anchor for anchor, _ in self._open):
            raise _at(event, "an alias inside what it stands for")
        return self._sizes.get(event.anchor or "", 1)  # the loader refuses unknown anchors

    def _keep(self, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self._sizes[anchor] = size

    def _add(self, event: yaml.Event, size: int) -> None:
        self._count += size
        if self._count > MAX_NODES:
            raise _at(event, f"more than {MAX_NODES} values, aliases counted in full")


def _at(event: yaml.Event, problem: str) -> Unreadable:
    return Unreadable(problem, *_place(event.start_mark))


def _place(mark: Any) -> tuple[int, int]:  # libyaml has a Mark of its own
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)
