"""What `parsing` would not let pass, found in a resource that somebody made without it.

A program may build resources itself, and hand them over as it likes. What they are annotated to
be is what they have to be: types, sizes, ports, names, and texts without control characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from itertools import islice
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from haproxy_ingress.diagnostics import Diagnostic, Ref, Why
from haproxy_ingress.naming import is_name, is_namespace
from haproxy_ingress.reader import (
    MAX_ANNOTATION_BYTES,
    MAX_ITEMS,
    MAX_PORT,
    MAX_PROBLEMS,
    MAX_SECRET_BYTES,
    MAX_TEXT_BYTES,
    Problem,
    has_control,
    shown,
)
from haproxy_ingress.resources import IngressClass, Meta, Resource

_Found = Iterator[Problem]
_HIDDEN = "a value that is not shown"  # it may be a secret


def unsound(ref: Ref, resource: object) -> tuple[Diagnostic, ...]:
    """What is wrong with a *resource* that was handed over as *ref*; nothing, as a rule."""
    said = Ref(*(shown(text).strip("'") for text in attrs.astuple(ref)))
    found = islice(_problems(ref, resource), MAX_PROBLEMS)
    return tuple(Diagnostic(said, Why.INVALID, one.path, one.message) for one in found)


def _problems(ref: Ref, resource: object) -> _Found:
    if not isinstance(resource, Resource):
        yield _problem("", resource, "a resource")
        return
    wrong = tuple(islice(_check(type(resource), resource, ""), MAX_PROBLEMS))
    yield from wrong or _names(ref, resource)


def _names(ref: Ref, resource: Resource) -> _Found:
    meta = resource.meta
    if not is_name(meta.name):
        yield _problem("meta.name", meta.name, "lower-case letters, digits, '-' and '.'")
    elif isinstance(resource, IngressClass):
        if meta.namespace:
            yield _problem("meta.namespace", meta.namespace, "none for this kind")
    elif not is_namespace(meta.namespace):
        yield _problem("meta.namespace", meta.namespace, "lower-case letters, digits and '-'")
    if ref != resource.ref:
        yield _problem("ref", str(ref), "that of the object")


def _check(hint: Any, value: object, path: str) -> _Found:
    """*value* against the annotation *hint*."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        yield from _one_of(get_args(hint), value, path)
    elif origin is tuple:
        yield from _items(get_args(hint)[0], value, path)
    elif origin is Literal:
        if value not in get_args(hint):
            yield _problem(path, value, ", ".join(get_args(hint)))
    elif origin is not None:
        key, item = get_args(hint)
        yield from _mapping(key, item, value, path)
    elif not _is(hint, value):
        yield _problem(path, value, f"a value of type {hint.__name__}")
    elif attrs.has(hint):
        yield from _fields(hint, value, path)
    else:
        yield from _scalar(value, path)


def _is(hint: type, value: object) -> bool:
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _fields(cls: type, value: object, path: str) -> _Found:
    for name, hint in _hints(cls).items():
        place = f"{path}.{name}" if path else name
        if cls is Meta and name == "annotations":
            yield from _mapping(str, str, getattr(value, name), place, prose=True)
        else:
            yield from _check(hint, getattr(value, name), place)


@cache
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {one.name: hints[one.name] for one in attrs.fields(cls)}


def _one_of(hints: tuple[Any, ...], value: object, path: str) -> _Found:
    for hint in hints:
        if hint is NoneType and value is None:
            return
        if hint is not NoneType and _is(hint, value):
            yield from _check(hint, value, path)
            return
    yield _problem(path, value, " or ".join(hint.__name__ for hint in hints))


def _items(hint: Any, value: object, path: str) -> _Found:
    if not isinstance(value, tuple):
        yield _problem(path, value, "a tuple")
    elif len(value) > MAX_ITEMS:
        yield Problem(path, f"{len(value)} items are not allowed; allowed: at most {MAX_ITEMS}")
    else:
        for index, item in enumerate(value):
            yield from _check(hint, item, f"{path}[{index}]")


def _mapping(key: type, item: type, value: object, path: str, *, prose: bool = False) -> _Found:
    if not isinstance(value, Mapping):
        yield Problem(path, f"{_HIDDEN}; allowed: a mapping")
        return
    if len(value) > MAX_ITEMS:
        yield Problem(path, f"{len(value)} keys are not allowed; allowed: at most {MAX_ITEMS}")
        return
    size = 0
    for name, held in value.items():
        yield from _check(key, name, path)
        if not isinstance(held, item):
            yield Problem(path, f"{_HIDDEN}; allowed: {item.__name__}")
            return
        if isinstance(held, str) and has_control(held, prose=prose):
            yield Problem(path, f"{_HIDDEN}; allowed: texts without control characters")
        size += len(held)
    most = MAX_SECRET_BYTES if item is bytes else MAX_ANNOTATION_BYTES
    if size > most:
        yield Problem(path, f"is too large; allowed: at most {most} bytes together")


def _scalar(value: object, path: str) -> _Found:
    if isinstance(value, str) and not isinstance(value, Enum):
        if has_control(value):
            yield _problem(path, value, "a text without control characters")
        elif len(value) > MAX_TEXT_BYTES:
            yield _problem(path, value, f"at most {MAX_TEXT_BYTES} bytes")
    elif isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= MAX_PORT:
        yield _problem(path, value, f"a port from 1 to {MAX_PORT}")


def _problem(path: str, value: object, allowed: str) -> Problem:
    return Problem(path, f"{shown(value)} is not allowed; allowed: {allowed}")
