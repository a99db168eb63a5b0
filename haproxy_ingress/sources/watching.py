"""Hears of changes in folders from inotify.

Built on the lower half of watchdog: its upper half holds back the news of a file that was moved
away for 500 ms, and with it everything that comes after.
"""

from __future__ import annotations

import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from attrs import frozen
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from haproxy_ingress.sources.files import Enter, Tree, is_manifest

_MASK = Mask(
    InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)

Look = Callable[[Iterable[str], Enter | None], Tree]


@frozen
class _Watch:
    descriptor: WatchDescriptor
    callback: CallbackId
    identity: tuple[int, int]


class Watcher(InotifyFD):
    """A thread that calls *look* whenever there may be something new.

    look: is given files to be read again and, when folders too have to be listed, a function to
    call with each folder before it is listed. Returns what it knows.
    synced: called after the first look.
    """

    def __init__(self, roots: Iterable[str], look: Look, synced: Callable[[], None]) -> None:
        super().__init__()
        self._is_reading = False  # or else stopping before the first read leaks descriptors
        self._settling = threading.RLock()
        self._look = look
        self._synced = synced
        self._spine = frozenset(itertools.chain.from_iterable(map(_upwards, roots)))
        self._ids = itertools.count()
        self._watches: dict[str, _Watch] = {}
        self._tree = Tree()
        self._touched: set[str] = set()
        self._stale = True

    def run(self) -> None:
        """Look once, then after each batch of events."""
        self._settle()
        self._synced()
        while self.should_keep_running():
            for event in self.read_events():
                self.handle_event(event)
            self._settle()

    def on_thread_stop(self) -> None:
        """Close inotify, but not under the feet of a look."""
        with self._settling:
            super().on_thread_stop()

    def on_event(self, event: InotifyEvent) -> None:
        """Note what to look at; the looking comes after the batch."""
        for folder in self._folders(event.wd):
            if event.name:
                self._hint(folder, os.fsdecode(event.name), event)
            else:
                self._stale = True

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """A folder is gone; another one may have its name by now."""
        if not self.should_keep_running():
            return  # called by `stop`, from another thread
        for folder in self._folders(wd):
            del self._watches[folder]
            self._stale = True

    def on_queue_overflow(self) -> None:
        """Events were lost."""
        self._stale = True

    def _hint(self, folder: str, name: str, event: InotifyEvent) -> None:
        path = os.path.join(folder, name)
        if event.is_create and not event.is_directory and not _is_complete(path):
            return
        self._touched |= {link for link, real in self._tree.links.items() if real == path}
        if path in self._spine or path in self._watches or os.path.islink(path):
            self._stale = True
        if path in self._tree.files and event.is_moved_from:
            self._stale = True  # where it went is not yet told, but can be seen already
        elif path in self._tree.files:
            self._touched.add(path)
        elif folder in self._tree.folders and not name.startswith("."):
            if event.is_directory:
                self._stale = True
            elif is_manifest(name):
                self._touched.add(path)

    def _settle(self) -> None:
        with self._settling:
            if self.should_keep_running():
                self._settle_now()

    def _settle_now(self) -> None:
        touched, self._touched = sorted(self._touched), set()
        if self._stale:
            self._stale = False
            self._rescan(touched)
        elif touched:
            self._look(touched, None)

    def _rescan(self, touched: list[str]) -> None:
        entered = set()

        def enter(folder: str) -> None:
            entered.add(folder)
            self._watch(folder)

        for folder in sorted(self._spine):
            with suppress(OSError):  # missing, a file, or not ours to watch: its parent tells
                enter(folder)
        self._tree = self._look(touched, enter)
        for folder in self._watches.keys() - entered:
            self._unwatch(folder)

    def _watch(self, folder: str) -> None:
        try:
            status = os.stat(folder)
        except FileNotFoundError:
            return
        identity = (status.st_dev, status.st_ino)
        if folder in self._watches:
            if self._watches[folder].identity == identity:
                return
            self._unwatch(folder)
        callback = CallbackId(next(self._ids))
        descriptor = self.add_callback(os.fsencode(folder), _MASK, self, callback)
        self._watches[folder] = _Watch(descriptor, callback, identity)

    def _unwatch(self, folder: str) -> None:
        watch = self._watches.pop(folder)
        self.remove_callbacks([(watch.descriptor, watch.callback)])

    def _folders(self, wd: WatchDescriptor) -> list[str]:
        return [folder for folder, watch in self._watches.items() if watch.descriptor == wd]


def _upwards(path: str) -> Iterator[str]:
    """A path and every folder above it: each may be moved, or be a link that is swapped."""
    while True:
        yield path
        parent = os.path.dirname(path)
        if parent == path:
            return
        path = parent


def _is_complete(path: str) -> bool:
    """Whether a name that was just created stands for something older: a link, hard or soft."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISLNK(status.st_mode) or status.st_nlink > 1
