"""Objects from YAML and JSON files: watched, or read once for the offline commands."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from attrs import define, field

from haproxy_ingress.diagnostics import Diagnostic, Ref
from haproxy_ingress.resources import Resource
from haproxy_ingress.sources import Change, Deliver
from haproxy_ingress.sources.catalogue import Catalogue, Content, State, content, unreadable
from haproxy_ingress.sources.documents import MAX_FILE_BYTES, Unreadable, documents
from haproxy_ingress.sources.files import (
    Enter,
    Signature,
    StillWritten,
    Tree,
    pass_by,
    read,
    said,
    scan,
)

if TYPE_CHECKING:
    from haproxy_ingress.sources.watching import Watcher

STDIN = "-"


def read_paths(
    paths: Sequence[Path], stdin: BinaryIO | None = None
) -> tuple[list[Resource], list[Diagnostic]]:
    """Everything that files, folders and ``-`` (standard input) hold, and what is wrong there.

    stdin: read in place of the process's own.
    """
    files = _Files(tuple(str(path) for path in paths if str(path) != STDIN))
    files.refresh()
    if STDIN in map(str, paths):
        files.take(STDIN, (stdin or sys.stdin.buffer).read(MAX_FILE_BYTES + 1))
    states = files.news().values()
    resources = [state.resource for state in states if state.resource is not None]
    return resources, [one for state in states for one in state.diagnostics]


def _absolute(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(os.path.abspath(path) for path in paths)


@define(eq=False)
class ManifestsSource:
    """Delivers the objects in files and folders, and each change as soon as a file is complete.

    A file is read when a writer closes it and when it is renamed into place, never before. One
    that cannot be read keeps its objects, and says why under the Ref of the file.
    """

    _paths: tuple[str, ...] = field(converter=_absolute)
    _watcher: Watcher | None = field(default=None, init=False)

    def start(self, deliver: Deliver, synced: Callable[[], None]) -> None:
        """Read everything and then watch, in a thread. Raises `OSError` if inotify is used up."""
        # Imported here, since the offline commands run where there is no inotify.
        from haproxy_ingress.sources.watching import Watcher  # noqa: PLC0415

        files = _Files(self._paths)

        def look(touched: Iterable[str], enter: Enter | None) -> Tree:
            arrived_s = time.monotonic()
            if enter is not None:
                files.refresh(enter)
            files.reread(touched)
            if news := files.news():
                deliver(_changes(news, arrived_s))
            return files.tree

        self._watcher = Watcher(self._paths, look, synced)
        self._watcher.start()

    def stop(self) -> None:
        """End the thread."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.join()
            self._watcher = None


def _changes(states: Mapping[Ref, State], arrived_s: float) -> tuple[Change, ...]:
    return tuple(
        Change(ref, state.resource, arrived_s, state.diagnostics, state.keep, parsed=True)
        for ref, state in states.items()
    )


@define(eq=False)
class _Files:
    """The files below some roots, as they were last read."""

    _roots: tuple[str, ...]
    tree: Tree = field(factory=Tree, init=False)
    _catalogue: Catalogue = field(factory=Catalogue, init=False)
    _signatures: dict[str, Signature] = field(factory=dict, init=False)
    _fresh: dict[str, Content | None] = field(factory=dict, init=False)

    def news(self) -> dict[Ref, State]:
        """What changed since this was last asked."""
        fresh, self._fresh = self._fresh, {}
        return self._catalogue.replace(fresh)

    def refresh(self, enter: Enter = pass_by) -> None:
        """Read what differs from what was read before, by the look of it from outside."""
        self.tree = tree = scan(self._roots, enter)
        for path in self._catalogue.paths:
            if path not in tree.files and not tree.hides(path):
                self._forget(path)
        for path, problem in tree.problems.items():
            self._fail(path, problem)
        for path in tree.missing:
            self._fresh[path] = unreadable(path, "no such file or folder", None)
        for path, signature in tree.files.items():
            if self._signatures.get(path) != signature:
                self._read(path)

    def reread(self, paths: Iterable[str]) -> None:
        """Read files, whatever they look like from outside."""
        for path in paths:
            if path not in self._fresh:
                self._read(path)

    def _read(self, path: str) -> None:
        try:
            data, signature = read(path)
        except StillWritten:
            return  # its closing is heard of
        except (FileNotFoundError, NotADirectoryError):
            self._forget(path)
        except OSError as error:
            self._fail(path, said(error))
        except Unreadable as error:
            self._fail(path, str(error))
        else:
            self._signatures[path] = signature
            self.take(path, data)

    def take(self, path: str, data: bytes) -> None:
        """Take in what a file holds."""
        try:
            self._fresh[path] = content(path, _documents(path, data))
        except Unreadable as error:
            self._fail(path, str(error))

    def _fail(self, path: str, problem: str) -> None:
        self._fresh[path] = unreadable(path, problem, self._catalogue.content(path))

    def _forget(self, path: str) -> None:
        self._signatures.pop(path, None)
        self._fresh[path] = None


def _documents(path: str, data: bytes) -> list[object]:
    if path != STDIN:
        return documents(data, is_json=path.endswith(".json"))
    try:  # what kubectl prints is either
        return documents(data, is_json=data.lstrip()[:1] == b"{")
    except Unreadable:
        return documents(data)
