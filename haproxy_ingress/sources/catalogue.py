"""Which file an object comes from, and what it is after a file has changed. No file is touched.

A file is read to a `Content`; the catalogue tells which objects differ from what it told before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, evolve, field, frozen

from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why, bounded
from haproxy_ingress.parsing import Parsed, expand, parse
from haproxy_ingress.resources import Resource


@frozen
class Content:
    """What a file holds: objects, broken ones among them, and what is wrong with the file."""

    objects: Mapping[Ref, Parsed] = field(factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()


@frozen
class State:
    """What an object is: `Change` without its time. keep: its last readable version stays."""

    resource: Resource | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    keep: bool = False


_GONE = State()


def file_ref(path: str) -> Ref:
    """Stands for a file in diagnostics."""
    return Ref("File", "", path)


def content(path: str, found: Iterable[object]) -> Content:
    """Read the documents of a file.

    Of an object that stands there twice the first is taken. What has no name of its own is a
    diagnostic of the file.
    """
    objects: dict[Ref, Parsed] = {}
    wrong: list[Diagnostic] = []
    for number, document in enumerate(found, start=1):
        for parsed in map(parse, expand(document)):
            if parsed.ref is None:
                wrong += (_of_file(path, number, one) for one in parsed.diagnostics)
            elif objects.setdefault(parsed.ref, parsed) is not parsed:
                said = f"{parsed.ref} stands above already, which is the one that counts"
                wrong.append(_conflict(path, f"document {number}", said))
    return Content(objects, bounded(tuple(wrong)))


def unreadable(path: str, problem: str, before: Content | None) -> Content:
    """A file that cannot be read: the objects it held *before* stay."""
    objects = before.objects if before else {}
    return Content(objects, (Diagnostic(file_ref(path), Why.UNREADABLE, "", problem),))


@define(eq=False)
class Catalogue:
    """The files by path; where two hold the same object, the first by path wins."""

    _files: dict[str, Content] = field(factory=dict, init=False)
    _holders: dict[Ref, set[str]] = field(factory=dict, init=False)
    _told: dict[Ref, State] = field(factory=dict, init=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the files taken in."""
        return tuple(self._files)

    def content(self, path: str) -> Content | None:
        """What a file held when it was last read, if it was."""
        return self._files.get(path)

    @property
    def states(self) -> Mapping[Ref, State]:
        """Everything there is, by object."""
        return self._told

    def replace(self, files: Mapping[str, Content | None]) -> dict[Ref, State]:
        """Take in what files hold now, None for one that is gone; returns what changed by it.

        Together, since an object that moves from one file to another was never away.
        """
        refs: dict[Ref, None] = {}
        for path, new in files.items():
            refs |= dict.fromkeys(self._swap(path, new))
        holders = {path for ref in refs for path in self._holders[ref]} | set(files)
        states = {ref: self._state(ref) for ref in refs}
        states |= {file_ref(path): self._state_of_file(path) for path in sorted(holders)}
        return {ref: state for ref, state in states.items() if self._is_news(ref, state)}

    def _swap(self, path: str, new: Content | None) -> Iterable[Ref]:
        old = self._files.pop(path, None) or Content()
        for ref in old.objects:
            self._holders[ref].discard(path)
        if new is not None:
            self._files[path] = new
            for ref in new.objects:
                self._holders.setdefault(ref, set()).add(path)
        return {**old.objects, **(new.objects if new else {})}

    def _is_news(self, ref: Ref, state: State) -> bool:
        if self._told.get(ref, _GONE) == state:
            return False
        self._told[ref] = state
        if state == _GONE:
            del self._told[ref]
            self._holders.pop(ref, None)
        return True

    def _state(self, ref: Ref) -> State:
        holders = self._holders[ref]
        if not holders:
            return _GONE
        _, resource, wrong = self._files[min(holders)].objects[ref]
        return State(resource, wrong, keep=resource is None)

    def _state_of_file(self, path: str) -> State:
        held = self._files.get(path) or Content()
        lost = (
            _conflict(path, "", f"{ref} is in {winner} too, which is the one that counts")
            for ref in held.objects
            if (winner := min(self._holders[ref])) != path
        )
        wrong = bounded((*held.diagnostics, *lost))
        return State(None, wrong, keep=True) if wrong else _GONE


def _of_file(path: str, number: int, found: Diagnostic) -> Diagnostic:
    """A diagnostic of something without a name, told by its place in the file."""
    place = f"document {number}"
    named = f"{found.ref.kind} {found.ref.name}".strip()
    said = f"{named}: {found.message}" if named else found.message
    where = f"{place}: {found.field}" if found.field else place
    return evolve(found, ref=file_ref(path), field=where, message=said)


def _conflict(path: str, where: str, message: str) -> Diagnostic:
    return Diagnostic(file_ref(path), Why.CONFLICT, where, message, Level.WARNING)
