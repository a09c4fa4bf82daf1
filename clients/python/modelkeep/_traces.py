"""What a download has in a folder under names that are not final, noted there for whoever comes after a kill.

The notes are a file in the root of the folder, locked for as long as the download lives. What is noted stands there before the
file does, so whoever can take the lock knows all that is left, and need not look for it among a million files. Notes are a
help and never in the way: where they cannot be written, or locked, a download goes on without them.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
import stat
import threading
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from modelkeep.errors import DiskFull, TargetUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep._target import Target

TEMPORARY: Final = ".modelkeep-"
"""How the names of files begin that are not complete yet, and of notes."""
SLOT_BYTES: Final = 2048
"""Room for the longest path. It divides a page of memory, so a kill leaves a slot as it was or as it should be."""
MOST_SLOTS: Final = 1024
TRIES: Final = 10
FORGOTTEN_SECONDS: Final = 24 * 3600.0
"""Some file systems lock for one machine only: a lock of another one that seems free is believed after so long a silence."""
_HEADER: Final = b"modelkeep notes 1 "
_NOTES: Final = re.compile(r"\.modelkeep-[0-9a-f]{16}\.notes")
_NAME: Final = re.compile(r"\.modelkeep-å?[0-9a-f]{16}")


class Traces:
    """The notes of one download, from one or many threads. They are begun with the first trace, and go when closed."""

    def __init__(self, root: int) -> None:
        """`root` is the open folder, and stays open until after `close`."""
        self._root = root
        self._name = ""
        self._file: int | None = None
        self._process = os.getpid()
        self._slots = 0
        self._free: list[int] = []
        self._lock = threading.Lock()

    def begin(self, mark: str = "") -> Trace:
        """A new name for temporary files, one after the other; `mark` is a part of it."""
        with self._lock:
            if not self._slots:
                self._begin()
            if self._free:
                slot = self._free.pop()
            else:
                self._slots += 1
                slot = self._slots
        return Trace(self, slot, TEMPORARY + mark + secrets.token_hex(8))

    def note(self, slot: int, path: str) -> None:
        """Say what a slot has from now on. It outlives a kill, and not always a loss of power."""
        if self._file is not None and slot < MOST_SLOTS:
            with suppress(OSError):
                os.pwrite(self._file, os.fsencode(path).ljust(SLOT_BYTES, b"\0"), slot * SLOT_BYTES)

    def end(self, slot: int) -> None:
        """Let another trace have the slot. What it says meanwhile is the name of no file."""
        with self._lock:
            self._free.append(slot)

    def close(self) -> None:
        """Remove the notes: everything has its final name."""
        if self._file is None:
            return
        if os.getpid() == self._process:  # they are not those of a child that was forked meanwhile
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._root)
        os.close(self._file)
        self._file = None

    def _begin(self) -> None:
        with suppress(OSError):
            for _ in range(TRIES):
                if self._try():
                    return

    def _try(self) -> bool:
        """Make notes; False when somebody took them for those of a dead one, as they had no lock yet. Raises OSError."""
        self._name = f"{TEMPORARY}{secrets.token_hex(8)}.notes"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._name, flags, 0o666, dir_fd=self._root)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(descriptor, (_HEADER + _machine()).ljust(SLOT_BYTES, b"\0"), 0)
            if os.fstat(descriptor).st_nlink:
                self._file = descriptor
                return True
        except BlockingIOError:
            pass
        finally:
            if self._file is None:
                os.close(descriptor)
                with suppress(OSError):
                    os.unlink(self._name, dir_fd=self._root)
        return False


class Trace:
    """The name of one temporary file at a time, noted."""

    __slots__ = ("_slot", "_traces", "name")

    def __init__(self, traces: Traces, slot: int, name: str) -> None:
        self._traces = traces
        self._slot = slot
        self.name = name

    def enter(self, folder: str) -> None:
        """Note that the file will be in this folder, and in no other any more."""
        self._traces.note(self._slot, f"{folder}/{self.name}" if folder else self.name)

    def end(self) -> None:
        """There is no file of this name any more."""
        self._traces.end(self._slot)


def clear_traces(target: Target, root: int) -> None:
    """Remove what downloads that were killed have left in the folder `root`; what cannot be removed stays."""
    for notes in _notes_in(root):
        with suppress(OSError):
            if notes.is_nobodys():
                for path in notes.paths():
                    with suppress(TargetUnusable, DiskFull):
                        target.remove(path)
                os.unlink(notes.name, dir_fd=root)


def traces_in_use(root: int) -> set[str]:
    """What downloads have in the folder that are under way: their notes, and what these name."""
    return {path for notes in _notes_in(root) if notes.is_held() for path in (notes.name, *notes.paths())}


class _Notes(NamedTuple):
    """Notes that were found, open."""

    name: str
    descriptor: int
    machine: bytes
    """Where they were written; empty when somebody is just about to write it, or was killed before that."""

    def is_held(self) -> bool:
        """Whether their writer lives, or may be about to lock them."""
        return not self.machine or not self._take()

    def is_nobodys(self) -> bool:
        """Whether their writer is certainly dead. Nobody else can take them then, before they are closed."""
        silence = time.time() - os.fstat(self.descriptor).st_mtime
        return (self.machine in {b"", _machine()} or silence > FORGOTTEN_SECONDS) and self._take()

    def paths(self) -> Iterator[str]:
        """The paths of temporary files, which may be there; never of other files, whoever wrote the notes."""
        for slot in range(1, MOST_SLOTS):
            data = os.pread(self.descriptor, SLOT_BYTES, slot * SLOT_BYTES)
            if not data:
                return
            path = os.fsdecode(data.rstrip(b"\0"))
            *folders, name = path.split("/")
            if _NAME.fullmatch(name) and "\0" not in path and not {"", ".", ".."}.intersection(folders):
                yield path

    def _take(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _notes_in(root: int) -> Iterator[_Notes]:
    """The notes in a folder, each open for as long as it is looked at; nothing where they cannot be read."""
    try:
        with os.scandir(root) as there:
            names = [entry.name for entry in there if _NOTES.fullmatch(entry.name)]
    except OSError:
        return
    for name in names:
        try:
            # To write: without that, some file systems give no lock.
            descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
        except OSError:
            continue  # gone meanwhile, or those of another user
        try:
            header = os.pread(descriptor, SLOT_BYTES, 0) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b"none"
            if not header or header.startswith(_HEADER):
                yield _Notes(name, descriptor, header.removeprefix(_HEADER).rstrip(b"\0"))
        except OSError:
            continue  # its disk fails
        finally:
            os.close(descriptor)


@cache
def _machine() -> bytes:
    """What the processes have in common that see each other's locks on any file system: one kernel, since one start of it."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read(100).strip()
    except OSError:
        return os.fsencode(socket.gethostname())
