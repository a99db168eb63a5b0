"""From a plain JSON dict to a frozen resource, or to words about why not.

An object is read as a whole or not at all: half an Ingress may route what the other half
protects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why
from haproxy_ingress.kinds import KINDS, NAMESPACED, Read
from haproxy_ingress.naming import MAX_LABEL, is_name, is_namespace
from haproxy_ingress.reader import Node, Problem
from haproxy_ingress.resources import Meta, Resource

MAX_NESTED_LISTS = 8
DEFAULT_NAMESPACE = "default"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
# kubectl's copy of the object: large, and every word of it is said elsewhere.
# That of a Secret may hold the secret: no message about it may be made.
_UNANNOTATED = frozenset({"EndpointSlice", "Secret"})
_UNREAD = "kubectl.kubernetes.io/last-applied-configuration"


class Parsed(NamedTuple):
    """What became of one object.

    ref: None when the object has no usable name (the Ref of its diagnostics is then partly
    empty) or is of no kind that we read (no diagnostics). resource: None when it is broken.
    """

    ref: Ref | None
    resource: Resource | None
    diagnostics: tuple[Diagnostic, ...]


def parse(obj: object) -> Parsed:
    """Read one object, in which lists were already expanded."""
    if not isinstance(obj, Mapping):
        return _unnamed(Problem("", "not an object; allowed: a mapping with apiVersion and kind"))
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        which = "apiVersion" if isinstance(kind, str) else "kind"
        return _unnamed(Problem(which, "not an object of Kubernetes; allowed: a text"))
    if _is_list(obj):
        return _unnamed(Problem("items", f"allowed: a list, at most {MAX_NESTED_LISTS} deep"))
    if (read := KINDS.get((version, kind))) is None:
        return Parsed(None, None, ())
    root = Node(obj)
    ref = _ref(kind, root)
    named = not root.problems
    resource = _read(read, root, ref)
    found = tuple(Diagnostic(ref, Why.INVALID, p.path, p.message) for p in root.problems)
    return Parsed(ref if named else None, None if found else resource, found)


def _read(read: Read, root: Node, ref: Ref) -> Resource | None:
    try:
        return read(root, _meta(root, ref))
    except Exception as error:  # noqa: BLE001  our defect must not stop the other objects
        # Its words may hold a part of a Secret.
        root.defect(type(error).__name__)
        return None


def expand(document: object) -> tuple[object, ...]:
    """The objects in a document: itself, or the items of a List, however deep it nests.

    A list that is broken or nests too deeply stays, for `parse` to say so. An empty document
    holds nothing.
    """
    return () if document is None else tuple(_expand(document, MAX_NESTED_LISTS))


def _expand(document: object, depth: int) -> Iterator[object]:
    if not (depth and isinstance(document, Mapping) and _is_list(document)):
        yield document
        return
    items = document.get("items", [])
    if not isinstance(items, list | None):
        yield document
        return
    for item in items or ():
        yield from _expand(_named_after(document, item), depth - 1)


def _is_list(obj: Mapping[object, object]) -> bool:
    kind = obj.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List"):
        return False
    return kind == "List" or (obj.get("apiVersion"), kind.removesuffix("List")) in KINDS


def _named_after(document: Mapping[object, object], item: object) -> object:
    """The API leaves out the kind of the items of, say, an IngressList."""
    kind = document["kind"]
    if kind == "List" or not isinstance(item, Mapping) or "kind" in item:
        return item
    named = {"apiVersion": document["apiVersion"], "kind": str(kind).removesuffix("List")}
    return {**item, **named}


def _unnamed(*problems: Problem) -> Parsed:
    """Something that is perhaps no object at all: a warning, since folders hold other files."""
    nobody = Ref("", "", "")
    return Parsed(
        None,
        None,
        tuple(Diagnostic(nobody, Why.INVALID, p.path, p.message, Level.WARNING) for p in problems),
    )


def _ref(kind: str, root: Node) -> Ref:
    """Notes what is wrong with the names; a name that is wrong is empty."""
    metadata = root.child("metadata", required=True)
    name = metadata.name("name", required=True)
    if name and not is_name(name):
        metadata.wrong("name", "lower-case letters, digits, '-' and '.'")
        name = ""
    return Ref(kind, _namespace(metadata) if kind in NAMESPACED else "", name)


def _namespace(metadata: Node) -> str:
    namespace = metadata.name("namespace") or DEFAULT_NAMESPACE
    if is_namespace(namespace):
        return namespace
    metadata.wrong("namespace", f"lower-case letters, digits and '-', at most {MAX_LABEL}")
    return ""


def _meta(root: Node, ref: Ref) -> Meta:
    metadata = root.child("metadata")
    annotations = {} if ref.kind in _UNANNOTATED else metadata.prose("annotations")
    annotations.pop(_UNREAD, None)
    return Meta(ref.name, ref.namespace, _created(metadata), annotations)


def _created(metadata: Node) -> str:
    """creationTimestamp in whole seconds UTC, so that times compare as texts."""
    value = metadata.get("creationTimestamp")
    if value is None:
        return ""
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
            return zoned.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    except (ValueError, OverflowError):  # a 13th month; a zone before the year 1
        pass
    metadata.wrong("creationTimestamp", "a time such as 2024-05-01T12:00:00Z")
    return ""
