"""From YAML to plain objects in one pass over the parser's events, within bounds.

PyYAML's own way is to compose nodes and construct objects from them. It recurses in C, so that
deep nesting ends the process; it takes the second of two equal keys in silence; and checking
first and constructing then costs half as much time again, on the way from a file to HAProxy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from attrs import define, field

MAX_NODES = 1_000_000
MAX_DEPTH = 100
MAX_SHOWN = 80

_TEXTS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "merge", "value"))
_PLAIN_COLLECTIONS = frozenset({None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _ManifestLoader(_Loader):  # type: ignore[misc, valid-type]
    """Leaves times as text, as the API's own reader does: 2024-01-01 is a fine annotation."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and shape
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def build(text: str) -> Iterator[object]:
    """The documents of a YAML text.

    Raises `yaml.YAMLError`, and whatever PyYAML's constructors raise for a scalar that is not
    what its tag promises (``!!int x``).
    """
    builder = _Builder()
    for event in yaml.parse(text, Loader=_ManifestLoader):
        builder.see(event)
        if isinstance(event, yaml.DocumentEndEvent):
            yield builder.finish()


class _Merge:
    """Stands for the key ``<<``."""


@define(eq=False, repr=False)
class _Open:
    """A collection whose end has not come. nodes: how many came before it."""

    event: Any
    nodes: int
    items: list[object] = field(factory=list)


@define(eq=False, repr=False)
class _Builder:
    _scalars: Any = field(factory=lambda: _ManifestLoader(""))
    _plain: dict[str, object] = field(factory=dict)
    _anchors: dict[str, tuple[object, int]] = field(factory=dict)
    _open: list[_Open] = field(factory=list)
    _root: object = None
    _nodes: int = 0

    def see(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._add(event, self._scalar(event), 1)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._enter(event)
            case yaml.MappingEndEvent():
                self._leave(_mapping)
            case yaml.SequenceEndEvent():
                self._leave(lambda items, _: items)
            case yaml.AliasEvent():
                self._add(event, *self._meant(event))

    def finish(self) -> object:
        """The document; what anchors it had ends with it."""
        root, self._root = self._root, None
        self._anchors.clear()
        return root

    def _scalar(self, event: Any) -> object:
        plain, quoted = event.implicit
        if quoted:
            return event.value
        if not plain:
            return self._constructed(event.tag, event)
        if event.value == "<<" and self._expects_key():
            return _Merge
        if event.value not in self._plain:
            tag = self._scalars.resolve(yaml.ScalarNode, event.value, (True, False))
            self._plain[event.value] = self._constructed(tag, event)
        return self._plain[event.value]

    def _expects_key(self) -> bool:
        if not self._open:
            return False
        top = self._open[-1]
        return isinstance(top.event, yaml.MappingStartEvent) and len(top.items) % 2 == 0

    def _constructed(self, tag: str, event: Any) -> object:
        if tag in _TEXTS:
            return event.value
        return self._scalars.construct_object(
            yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        )

    def _enter(self, event: Any) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _refused(event, f"nested more than {MAX_DEPTH} deep")
        if event.tag not in _PLAIN_COLLECTIONS:
            raise _refused(event, f"the tag {event.tag[:MAX_SHOWN]!r} is not allowed")
        self._open.append(_Open(event, self._nodes))
        self._count(event, 1)

    def _leave(self, made: Any) -> None:
        done = self._open.pop()
        value = made(done.items, done.event)
        self._put(value)
        if done.event.anchor is not None:
            self._anchors[done.event.anchor] = (value, self._nodes - done.nodes)

    def _meant(self, event: Any) -> tuple[object, int]:
        if any(one.event.anchor == event.anchor for one in self._open):
            raise _refused(event, "an alias inside what it stands for")
        if event.anchor not in self._anchors:
            raise _refused(event, "undefined alias")
        return self._anchors[event.anchor]

    def _add(self, event: Any, value: object, nodes: int) -> None:
        self._count(event, nodes)
        self._put(value)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, nodes)

    def _put(self, value: object) -> None:
        if self._open:
            self._open[-1].items.append(value)
        else:
            self._root = value

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _refused(event, f"more than {MAX_NODES} values, aliases counted in full")


def _mapping(items: list[object], event: Any) -> dict[object, object]:
    """Keys and values take turns in *items*. What is merged gives way to what is written."""
    merged: dict[object, object] = {}
    own: dict[object, object] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        if key is _Merge:
            merged = _merged(value, event) | merged
        elif isinstance(key, dict | list):
            raise _refused(event, "a key that is a mapping or a list")
        elif key in own:
            raise _refused(event, f"the key {str(key)[:MAX_SHOWN]!r} stands twice in the mapping")
        else:
            own[key] = value
    return merged | own if merged else own


def _merged(value: object, event: Any) -> dict[object, object]:
    """The first of several mappings wins."""
    merged: dict[object, object] = {}
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            raise _refused(event, "<< wants a mapping, or a list of them")
        merged = one | merged
    return merged


def _refused(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
