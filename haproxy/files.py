"""The state directory: generations of files, one of which is live.

``current`` is a symlink to the live generation, and what lies under the fixed names
(``haproxy.cfg``, ``maps``, ``certs``) are symlinks through it: renaming one symlink changes all
files at once. Names inside a configuration are relative to it (``default-path config``), so that
it and its maps are of the same generation whoever loads them.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Self

from attrs import define, field, frozen

from haproxy.errors import AlreadyRunning, FilesFailed, InvalidValue

CONFIG = "haproxy.cfg"
FOLDERS = ("maps", "certs")
RETIRED_S = 10.0  # longer than a load takes

_GENERATION = re.compile(r"gen-(\d{6,})")
# A unix socket's path takes 107 bytes, and HAProxy binds to PATH.PID.tmp before it renames.
_SOCKET_BYTES = 90
_UNSAFE = re.compile(r"""[\s\x00-\x1f\x7f,;#$"'\\]""")


@frozen
class Layout:
    """Where everything lies under *root*, an absolute path."""

    root: Path

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Self:
        """Raises `InvalidValue` for a path that HAProxy's sockets cannot have."""
        layout = cls(Path(path).absolute())
        text = str(layout.root)
        if _UNSAFE.search(text):
            raise InvalidValue("state directory", text, "no space, quote or any of , ; # $ \\")
        room = _SOCKET_BYTES - len("/haproxy.sock")
        if len(os.fsencode(text)) > room:
            raise InvalidValue("state directory", text, f"at most {room} bytes, for its sockets")
        return layout

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def config(self) -> Path:
        """What HAProxy is started on: once it is open, all names lead into one generation."""
        return self.current / CONFIG

    @property
    def runtime_socket(self) -> Path:
        return self.root / "haproxy.sock"

    @property
    def master_socket(self) -> Path:
        return self.root / "master.sock"

    @property
    def pid_file(self) -> Path:
        return self.root / "haproxy.pid"

    @property
    def lock(self) -> Path:
        return self.root / "lock"


@define(eq=False)
class StateDirectory:
    """The `Files` of a HAProxy on this machine. One thread at a time.

    check: raises `ConfigRefused` for a folder whose ``haproxy.cfg`` HAProxy does not accept.
    """

    layout: Layout
    check: Callable[[Path], None]
    _lock: int
    _previous: Path | None = None
    _retired: dict[str, float] = field(factory=dict)

    @classmethod
    def open(cls, layout: Layout, check: Callable[[Path], None]) -> Self:
        """Create it or take it up as it is, and lock it until `close`.

        Raises `AlreadyRunning` when another process has it, `FilesFailed`.
        """
        with _failing(layout.root):
            _make_private(layout)
            directory = cls(layout, check, _locked(layout.lock))
            directory._adopt()
        return directory

    def close(self) -> None:
        """Let another process have it; the files stay."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Replace all files by *files* (path relative to the configuration -> content), or none.

        A file that is no longer among them stays for `RETIRED_S` seconds of further generations:
        whoever is loading through the fixed names may be about to open it.

        Raises `InvalidValue` for a name that leads elsewhere, `ConfigRefused`, `FilesFailed`, or
        what else `check` raises; the files that were there are then untouched.
        """
        _check_names(files)
        candidate = self._next()
        try:
            with _failing(candidate):
                self._write(candidate, files)
            self.check(candidate)
            with _failing(candidate):
                self._go_live(candidate)
        except BaseException:
            shutil.rmtree(candidate, ignore_errors=True)
            raise
        self._prune()

    def tidy(self) -> None:
        """Remove what nobody can be loading any more: old generations, and what is not in use.

        For `RETIRED_S` after a `publish`. Then there is nothing left to roll back to.
        """
        live = self._live()
        if live is None:
            return
        for name in self._retired:
            with suppress(OSError):
                (live / name).unlink(missing_ok=True)
        self._retired, self._previous = {}, None
        self._prune()

    def rollback(self) -> None:
        """Back to the files before the last `publish`. Raises `FilesFailed`, also without any."""
        if self._previous is None:
            raise FilesFailed(str(self.layout.current), "there is no generation before this one")
        with _failing(self.layout.current):
            _point(self.layout.current, self._previous.name)
        self._previous = None
        self._prune()

    def current(self, name: str) -> bytes:
        """The live file *name*. Raises `FilesFailed`, also when there is none."""
        path = self.layout.current / name
        with _failing(path):
            return path.read_bytes()

    def _adopt(self) -> None:
        """What an earlier owner left: keep the live generation and the one before."""
        live = self._live()
        if live is not None:
            before = [path for path in self._generations() if _number(path) < _number(live)]
            self._previous = before[-1] if before else None
            self._prune()

    def _live(self) -> Path | None:
        with suppress(FileNotFoundError):
            live = self.layout.root / self.layout.current.readlink()
            return live if live.is_dir() else None
        return None

    def _generations(self) -> list[Path]:
        found = [path for path in self.layout.root.iterdir() if _GENERATION.fullmatch(path.name)]
        return sorted(found, key=_number)

    def _next(self) -> Path:
        with _failing(self.layout.root):
            numbers = [_number(path) for path in self._generations()]
        return self.layout.root / f"gen-{max(numbers, default=0) + 1:06d}"

    def _write(self, candidate: Path, files: Mapping[str, bytes]) -> None:
        live = self._live()
        candidate.mkdir(0o700)
        for name in FOLDERS:
            (candidate / name).mkdir(0o700)
        for name, content in files.items():
            _make_parents(candidate, name)
            if live is None or not _holds(live / name, content):
                _create(candidate / name, content)
            else:
                os.link(live / name, candidate / name)
        if live is not None:
            self._keep_retired(live, candidate, files)

    def _keep_retired(self, live: Path, candidate: Path, files: Mapping[str, bytes]) -> None:
        now = time.monotonic()
        gone = _names(live) - files.keys()
        self._retired = {name: self._retired.get(name, now) for name in gone}
        for name, since in self._retired.items():
            if now - since < RETIRED_S:
                with suppress(FileExistsError, NotADirectoryError):  # a folder became a file
                    _make_parents(candidate, name)
                    os.link(live / name, candidate / name)

    def _go_live(self, candidate: Path) -> None:
        before = self._live()
        _point(self.layout.current, candidate.name)
        self._previous = before
        for name in (*FOLDERS, CONFIG):
            _point(self.layout.root / name, f"current/{name}")

    def _prune(self) -> None:
        with suppress(OSError):  # what cannot be removed now is tried again next time
            for path in self._generations():
                if path not in (self._live(), self._previous):
                    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    """What the system says of a file becomes `FilesFailed`."""
    try:
        yield
    except OSError as error:
        named = error.filename2 or error.filename or path
        raise FilesFailed(str(named), error.strerror or str(error)) from error


def _number(path: Path) -> int:
    return int(path.name.removeprefix("gen-"))


def _make_private(layout: Layout) -> None:
    layout.root.mkdir(0o700, parents=True, exist_ok=True)
    # A mounted volume comes with a mode of its own. A folder that holds something else was given
    # by mistake and must not be closed to others.
    if layout.lock.exists() or not any(layout.root.iterdir()):
        with suppress(PermissionError):
            layout.root.chmod(0o700)


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise AlreadyRunning(str(path.parent)) from None
    except BaseException:
        os.close(handle)
        raise
    return handle


def _check_names(files: Mapping[str, bytes]) -> None:
    for name in files:
        path = PurePosixPath(name)
        if not name or "\0" in name or path.is_absolute() or ".." in path.parts:
            raise InvalidValue("file name", name, "a relative path without ..")
        if str(path) != name or name == ".":
            raise InvalidValue("file name", name, "a path in its shortest form")


def _make_parents(root: Path, name: str) -> None:
    path = root
    for part in PurePosixPath(name).parts[:-1]:
        path /= part
        with suppress(FileExistsError):
            path.mkdir(0o700)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False


def _create(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)


def write_tree(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write *files* into *folder* to be looked at; what else lies there stays.

    Raises `InvalidValue` for a name that leads elsewhere, `FilesFailed`.
    """
    _check_names(files)
    with _failing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            _make_parents(folder, name)
            (folder / name).unlink(missing_ok=True)
            _create(folder / name, content)


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _point(link: Path, target: str) -> None:
    """Make *link* a symlink to *target*, with no moment at which it is missing."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    try:
        fresh.replace(link)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
