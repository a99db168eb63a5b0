"""Finds manifest files and reads them whole, never while somebody is still writing."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from attrs import define, field

from haproxy_ingress.sources.documents import MAX_FILE_BYTES, Unreadable

SUFFIXES = (".yaml", ".yml", ".json")

Signature = tuple[int, ...]
Enter = Callable[[str], None]


class StillWritten(Exception):
    """Somebody has the file open for writing; when he closes it, it is worth a look."""


@define
class Tree:
    """What there is.

    links: where files that are symbolic links really are. missing: roots that do not exist.
    problems: what exists and cannot be looked at.
    """

    files: dict[str, Signature] = field(factory=dict)
    folders: set[str] = field(factory=set)
    links: dict[str, str] = field(factory=dict)
    missing: set[str] = field(factory=set)
    problems: dict[str, str] = field(factory=dict)

    def hides(self, path: str) -> bool:
        """Whether *path* may exist although it was not seen."""
        return path in self.problems or any(
            path.startswith(folder + os.sep) for folder in self.problems
        )


def pass_by(_folder: str) -> None:
    """Enter a folder without watching it."""


def is_manifest(name: str) -> bool:
    """By its name. Editors' temporary files are hidden, or end in something else."""
    return name.endswith(SUFFIXES) and not name.startswith(".")


def scan(roots: Iterable[str], enter: Enter = pass_by) -> Tree:
    """Everything below *roots*, which are files of any name, or folders.

    enter: called with each folder before it is listed, so that a watch misses nothing. Folders
    reached by several names (links may even form circles) are listed once.
    """
    tree, seen = Tree(), set[Signature]()
    for root in roots:
        try:
            if os.path.isdir(root):
                _scan_folder(root, tree, seen, enter)
            else:
                _add_file(root, os.stat(root), tree, enter)
        except (FileNotFoundError, NotADirectoryError):
            tree.missing.add(root)
        except OSError as error:
            tree.problems[root] = said(error)
    return tree


def _scan_folder(folder: str, tree: Tree, seen: set[Signature], enter: Enter) -> None:
    _enter(folder, tree, enter)
    try:
        status = os.stat(folder)
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        tree.problems[folder] = said(error)
        return
    identity = (status.st_dev, status.st_ino)
    tree.folders.add(folder)
    if identity in seen:
        return
    seen.add(identity)
    for entry in entries:
        _scan_entry(entry, tree, seen, enter)


def _scan_entry(entry: os.DirEntry[str], tree: Tree, seen: set[Signature], enter: Enter) -> None:
    try:
        if entry.name.startswith("."):
            return
        if entry.is_dir():
            _scan_folder(entry.path, tree, seen, enter)
        elif is_manifest(entry.name):
            _add_file(entry.path, entry.stat(), tree, enter)
    except (FileNotFoundError, NotADirectoryError):
        return  # gone since it was listed, or a link to nowhere
    except OSError as error:
        tree.problems[entry.path] = said(error)


def _add_file(path: str, status: os.stat_result, tree: Tree, enter: Enter) -> None:
    if os.path.islink(path):
        tree.links[path] = os.path.realpath(path)
        _enter(os.path.dirname(tree.links[path]), tree, enter)
    tree.files[path] = _signature(status)


def _enter(folder: str, tree: Tree, enter: Enter) -> None:
    """A folder that cannot be watched is read all the same."""
    try:
        enter(folder)
    except OSError as error:
        tree.problems[folder] = said(error)


def _signature(status: os.stat_result) -> Signature:
    s = status
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def read(path: str) -> tuple[bytes, Signature]:
    """The bytes of a file that nobody is writing.

    Raises `StillWritten`, `Unreadable` for what is no file of a bearable size, and `OSError`.
    """
    with _opened(path) as descriptor:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise Unreadable(f"more than {MAX_FILE_BYTES} bytes; split the file")
        _refuse_writers(descriptor)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_FILE_BYTES + 1)
        _refuse_writers(descriptor)
        return data, _signature(status)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    # Not blocking: a pipe that is called x.yaml would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_writers(descriptor: int) -> None:
    """Ask the kernel, which grants a lease for reading only where nobody writes.

    Where it grants none at all (files of other users, some file systems, other systems than
    Linux), files are taken for complete.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return
    try:
        # A writer who opens the file before the lease is given back makes the kernel send a
        # signal. SIGIO, the default, would end this process; SIGURG is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        raise StillWritten from None
    except OSError:
        return
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def said(error: OSError) -> str:
    """The system's words without the path, which the reader knows."""
    return error.strerror or str(error)
