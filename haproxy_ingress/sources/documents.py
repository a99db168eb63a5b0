"""From the bytes of a manifest file to its documents, or to words about why not."""

from __future__ import annotations

import json
from typing import Any

import yaml
from attrs import define

from haproxy_ingress.sources.building import build

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_SAID = 200


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
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise Unreadable(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError:  # of thousands of digits
        raise Unreadable("holds a number that is too large") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Unreadable(f"the key {twice[:MAX_SAID]!r} stands twice in a mapping")
    return made


def _yaml(text: str) -> list[object]:
    try:
        return list(build(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(filter(None, (error.context, error.problem))) or "not YAML"
        raise Unreadable(said[:MAX_SAID], *_place(mark)) from None
    except yaml.YAMLError as error:
        raise Unreadable(str(error).splitlines()[0][:MAX_SAID]) from None
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
        # PyYAML's constructors, where a tag promises what the text does not hold: !!int x
        raise Unreadable("holds a value that does not fit its tag") from None


def _place(mark: Any) -> tuple[int, int]:  # libyaml has a Mark of its own
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)
