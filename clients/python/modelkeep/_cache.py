"""The cache of this machine: content that was fetched and proven once, shared by all processes of the user.

Nothing in it is ever changed: an entry appears under its name when it is whole and durable, and goes as a whole. So readers
need no lock: who opened an entry has it, whatever is trimmed meanwhile. Only room is given out under a lock. What comes out is
checked again by who takes it out: disks rot, and a folder can be written to.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from modelkeep import config
from modelkeep._copy import STEP_BYTES, file_lock, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["objects", "manifests", "records"]
KINDS: Final[tuple[Kind, ...]] = ("objects", "manifests", "records")
"""Files and chunks, by their SHA-256; lists of files, by version; and what names stood for."""
SEAL_BYTES: Final = 32
"""What manifests and records end with: the SHA-256 of their name and of all before it."""
LOCK: Final = "lock"
"""The file in the folder of an intake that its process holds."""
BEGIN_SECONDS: Final = 60.0
"""How long an intake may take from making its folder to locking it."""
SHARE: Final = 0.9
"""How full the cache is left when something has to go, so that it does not go one by one."""
_TOTAL: Final = re.compile(rb"(\d{1,20})\n")
_log: Final = logging.getLogger("modelkeep")


class Cached(NamedTuple):
    """An entry of the cache."""

    kind: Kind
    name: str
    size_bytes: int
    used_ns: int
    """When it was last used."""


class Removed(NamedTuple):
    """What went."""

    entry_count: int
    size_bytes: int


class Cache:
    """A folder of entries, bounded in bytes; what was not used for longest goes first."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Make the folder if it is missing. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._root = str(folder)

    def open(self, kind: Kind, name: str) -> int | None:
        """The entry, opened for reading; None when there is none. It counts as used now. Its bytes are not checked yet."""
        descriptor = self._open(kind, name)
        if descriptor is not None:
            with suppress(OSError):  # a cache that may only be read is a cache too
                os.utime(descriptor)
        return descriptor

    def read(self, kind: Kind, name: str, most_bytes: int) -> bytes | None:
        """All bytes of the entry, not checked yet; None when there is none, or none of such a size."""
        descriptor = self.open(kind, name)
        if descriptor is None:
            return None
        try:
            size = os.fstat(descriptor).st_size
            return os.read(descriptor, size) if size <= most_bytes else None
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def has(self, kind: Kind, name: str) -> bool:
        """Whether there is such an entry."""
        return os.path.isfile(self.path(kind, name))

    def drop(self, kind: Kind, name: str) -> None:
        """Remove an entry that is not what its name says. The next download brings it again."""
        self._remove(kind, name)
        _log.warning("the cache in %s held damaged bytes, which were thrown away: %s", self._root, name)

    def entries(self, *kinds: Kind) -> Iterator[Cached]:
        """All entries of some kinds, or of all, in no order."""
        for kind in kinds or KINDS:
            for path in _files(os.path.join(self._root, kind)):
                try:
                    found = os.stat(path, follow_symlinks=False)
                except OSError:
                    continue  # somebody else removed it just now
                yield Cached(kind, os.path.basename(path), found.st_size, found.st_mtime_ns)

    def trim(self, limit_bytes: int) -> Removed:
        """Remove what was not used for longest, until no more than so many bytes are left. Raises OSError."""
        with self._counter() as counter:
            removed, left = self._evict(limit_bytes)
            _set_total(counter, left)
        return removed

    def verify(self) -> Iterator[tuple[Cached, bool]]:
        """Read every entry, say whether it is what its name says, and remove it if not."""
        for entry in self.entries():
            descriptor = self._open(entry.kind, entry.name)
            if descriptor is None:
                continue
            try:
                good = _is_good(entry, descriptor)
            except OSError:
                good = False
            finally:
                os.close(descriptor)
            if not good:
                self._remove(entry.kind, entry.name)
            yield entry, good

    def reserve(self, size_bytes: int, claim: int) -> bool:
        """Room for so many bytes; others go for it. False when there can be none. Raises OSError.

        `claim` is the lock of the intake, an open file. It becomes as long as the room that its holder has and has not filled
        yet, without taking a block: so that whoever counts the bytes anew meanwhile counts these too.
        """
        if size_bytes > self.limit_bytes:
            return False
        with self._counter() as counter:
            total = _total(counter)
            if total is None or total + size_bytes > self.limit_bytes:
                goal = min(int(self.limit_bytes * SHARE), self.limit_bytes - size_bytes)
                total = max(self._evict(goal)[1], 0)
            fits = total + size_bytes <= self.limit_bytes
            _set_total(counter, total + size_bytes if fits else total)
            if fits:
                os.ftruncate(claim, os.fstat(claim).st_size + size_bytes)
        return fits

    def give_back(self, size_bytes: int, claim: int) -> None:
        """Room that was reserved and not needed. Nothing is claimed any more. Raises OSError."""
        with self._counter() as counter:
            os.ftruncate(claim, 0)
            total = _total(counter)
            if total is not None:
                _set_total(counter, max(total - size_bytes, 0))

    def keep(self, source: str, kind: Kind, name: str) -> None:
        """Give a whole and durable file its name. Raises OSError."""
        path = self.path(kind, name)
        try:
            os.rename(source, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(source, path)

    def path(self, kind: Kind, name: str) -> str:
        """Where the entry is, if there is one."""
        return os.path.join(self._root, kind, name[:2], name)

    @property
    def incoming(self) -> str:
        """The folder of what is on its way in: a folder for each intake."""
        return os.path.join(self._root, "incoming")

    def _open(self, kind: Kind, name: str) -> int | None:
        try:
            descriptor = os.open(self.path(kind, name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            self.drop(kind, name)  # it would be in the way of the entry for ever
            return None
        return descriptor

    def _remove(self, kind: Kind, name: str) -> None:
        path = self.path(kind, name)
        try:
            os.unlink(path)
        except IsADirectoryError:
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # it is gone, or the cache may only be read

    @contextmanager
    def _counter(self) -> Iterator[int]:
        """The file that says how many bytes there are, while nobody else has it."""
        with file_lock(os.path.join(self._root, "size")) as descriptor:
            assert descriptor is not None
            yield descriptor

    def _evict(self, goal_bytes: int) -> tuple[Removed, int]:
        """Remove entries until at most so many bytes are left; what went, and how many bytes are left."""
        for name in _names(self.incoming):
            _remove_if_left_behind(os.path.join(self.incoming, name))
        # In the order in which bytes come in, so that none that move on meanwhile are missed.
        left = sum(_size(os.path.join(self.incoming, name, LOCK)) for name in _names(self.incoming))
        left += sum(_size(path) for path in _files(self.incoming) if os.path.basename(path) != LOCK)
        entries = sorted(self.entries(), key=lambda entry: entry.used_ns)
        left += sum(entry.size_bytes for entry in entries)
        count = freed = 0
        for entry in entries:
            if left <= goal_bytes:
                break
            try:
                os.unlink(self.path(entry.kind, entry.name))
            except FileNotFoundError:
                pass
            except OSError:
                continue
            count, freed, left = count + 1, freed + entry.size_bytes, left - entry.size_bytes
        return Removed(count, freed), left


def open_cache() -> Cache | None:
    """The user's cache; None when it is switched off, or its folder cannot be made. Raises InvalidArgument."""
    limit = config.cache_limit_bytes()
    if not limit:
        return None
    folder = config.cache_home()
    try:
        return Cache(folder, limit)
    except OSError as error:
        _log.warning("there is no cache: %s cannot be made (%s)", folder, error.strerror)
        return None


def seal(name: str, body: bytes) -> bytes:
    """The body of a manifest or record, so that damage shows."""
    return body + hashlib.sha256(name.encode() + b"\0" + body).digest()


def unseal(name: str, data: bytes) -> bytes | None:
    """What was sealed under this name; None when it is damaged."""
    body = data[:-SEAL_BYTES]
    return body if seal(name, body) == data else None


def sealed_hasher(name: str) -> hashlib._Hash:
    """What a body goes into to seal it piece by piece."""
    return hashlib.sha256(name.encode() + b"\0")


def is_sealed(name: str, descriptor: int) -> bool:
    """Whether a file is what was sealed under this name. Raises OSError."""
    hasher, buffer, position = sealed_hasher(name), memoryview(bytearray(STEP_BYTES)), 0
    end = os.fstat(descriptor).st_size - SEAL_BYTES
    while position < end:
        count = os.preadv(descriptor, [buffer[: end - position]], position)
        hasher.update(buffer[:count])
        position += count
        if not count:
            return False
    return end >= 0 and os.pread(descriptor, SEAL_BYTES, end) == hasher.digest()


def _is_good(entry: Cached, descriptor: int) -> bool:
    if entry.kind == "objects":
        return sha256_of(descriptor).hex() == entry.name
    return is_sealed(entry.name, descriptor)


def _files(folder: str) -> Iterator[str]:
    for where, _, names in os.walk(folder):
        yield from (os.path.join(where, name) for name in names)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0


def _remove_if_left_behind(folder: str) -> None:
    """Remove what an intake left whose process is gone; a living one holds its lock, as soon as it has begun."""
    with suppress(OSError):
        if time.time() - os.stat(folder).st_mtime < BEGIN_SECONDS:
            return
    with suppress(OSError), file_lock(os.path.join(folder, LOCK), wait=False) as lock:
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _total(counter: int) -> int | None:
    match = _TOTAL.fullmatch(os.pread(counter, 64, 0))
    return int(match[1]) if match else None


def _set_total(counter: int, total: int) -> None:
    os.ftruncate(counter, 0)
    os.pwrite(counter, b"%d\n" % total, 0)
