"""Files as they were when they were logged offline: each content once, and the manifests that name them.

    objects/ab/<sha256 hex>       the bytes of a file; with `-x` behind it, of one that is executable
    manifests/<version digest>    a line for each entry: [path, sha256, size, executable]

Both are complete before they get their names. A snapshot is a clone (reflink) where the file system knows how, else a copy.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from modelkeep._copy import copy_and_hash
from modelkeep._offline_journal import cannot_record
from modelkeep._target import sync_file_system
from modelkeep._walk import check_file, unreadable
from modelkeep.digest import Digest
from modelkeep.errors import DigestMismatch, FileChanged, InvalidEntry, ModelkeepError
from modelkeep.manifest import CollisionCheck, Entry, ManifestHasher, parse_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelkeep._artifact import Source

YOUNG_NS: Final = 2_000_000_000
"""A file that was written to so recently may be written to again without its times telling."""
REMEMBERED_FILES: Final = 100_000


class Taken(NamedTuple):
    """What was logged."""

    digest: Digest
    """The version digest (SEM-10): the one that the version will have on every server."""
    entry_count: int
    size_bytes: int


class _Identity(NamedTuple):
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    executable: bool


class Snapshots:
    """The files and manifests of one run's folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._seen: dict[_Identity, bytes] = {}
        self._is_durable = True

    def take(self, sources: Iterable[Source]) -> Taken:
        """Keep files as they are now, durably. Raises FileUnreadable, FileChanged, DiskFull, TargetUnusable."""
        hasher, size = ManifestHasher(), 0
        temporary = os.path.join(self.folder, "manifests", f".{secrets.token_hex(8)}")
        try:
            os.makedirs(os.path.dirname(temporary), exist_ok=True)
            with open(temporary, "w", encoding="utf-8") as manifest:
                for source in sorted(sources, key=lambda source: source.name.encode()):
                    entry = self._keep(source)
                    hasher.add(entry)
                    manifest.write(_line(entry))
                    size += entry.size_bytes or 0
            digest = hasher.digest()
            if not os.path.exists(self._manifest(digest)):
                self._is_durable = False
                os.rename(temporary, self._manifest(digest))
            if not self._is_durable:
                _sync(self.folder)
                self._is_durable = True
        except OSError as error:
            raise cannot_record(self.folder, error) from None
        finally:
            with suppress(OSError):
                os.unlink(temporary)
        return Taken(digest, hasher.entry_count, size)

    def entries(self, digest: Digest) -> Iterator[Entry]:
        """The entries of what was logged, in order of path; all of them are checked when the last one was given.

        Raises DigestMismatch or InvalidEntry when the manifest is damaged or gone.
        """
        hasher, collisions = ManifestHasher(), CollisionCheck()
        path = self._manifest(digest)
        try:
            with open(path, encoding="utf-8") as manifest:
                for line in manifest:
                    entry = _entry(line, path)
                    collisions.add(entry.path)
                    hasher.add(entry)
                    yield entry
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidEntry(f"the list of files {path!r} cannot be read: {error}", path=path) from None
        if hasher.digest() != digest:
            message = f"the list of files {path!r} is not what was recorded: the file is damaged"
            raise DigestMismatch(message, path=path, expected=str(digest))

    def object(self, sha256: bytes, *, executable: bool) -> str:
        """Where the bytes of a file are."""
        name = sha256.hex()
        return os.path.join(self.folder, "objects", name[:2], name + ("-x" if executable else ""))

    def _manifest(self, digest: Digest) -> str:
        return os.path.join(self.folder, "manifests", digest.hex)

    def _keep(self, source: Source) -> Entry:
        """Keep one file; the entry that it is."""
        try:
            descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise unreadable(source.path, error) from None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                check_file(source.path)  # says what it is
                raise _changed(source)
            identity = _identity(found)
            sha256 = self._seen.get(identity, b"")
            if not sha256 or not os.path.exists(self.object(sha256, executable=identity.executable)):
                sha256 = self._copy(source, descriptor, identity)
        finally:
            os.close(descriptor)
        return Entry(source.name, Digest(sha256), identity.size, identity.executable)

    def _copy(self, source: Source, descriptor: int, identity: _Identity) -> bytes:
        objects = os.path.join(self.folder, "objects")
        os.makedirs(objects, exist_ok=True)
        temporary = os.path.join(objects, f".{secrets.token_hex(8)}")
        try:
            with open(temporary, "x+b", buffering=0) as copy:
                sha256 = copy_and_hash(descriptor, copy.fileno(), identity.size)
                os.fchmod(copy.fileno(), 0o555 if identity.executable else 0o444)
                size = os.fstat(copy.fileno()).st_size
            if size != identity.size or _identity(_stat(source)) != identity:
                raise _changed(source)
            kept = self.object(sha256, executable=identity.executable)
            if not os.path.exists(kept):
                self._is_durable = False
                os.makedirs(os.path.dirname(kept), exist_ok=True)
                os.rename(temporary, kept)
        finally:
            with suppress(OSError):
                os.unlink(temporary)
        self._remember(identity, sha256)
        return sha256

    def _remember(self, identity: _Identity, sha256: bytes) -> None:
        if time.time_ns() - max(identity.mtime_ns, identity.ctime_ns) < YOUNG_NS:
            return
        if len(self._seen) >= REMEMBERED_FILES:
            self._seen.clear()
        self._seen[identity] = sha256


def _line(entry: Entry) -> str:
    values = [entry.path, entry.digest.hex, entry.size_bytes, int(entry.executable)]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"


def _entry(line: str, path: str) -> Entry:
    try:
        name, sha256, size, executable = json.loads(line)
        return Entry(parse_path(name), Digest(bytes.fromhex(sha256)), int(size), bool(executable))
    except (ValueError, TypeError, AttributeError, ModelkeepError):
        raise InvalidEntry(f"the list of files {path!r} is not what was recorded: the file is damaged", path=path) from None


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_file_system(descriptor)
    finally:
        os.close(descriptor)


def _identity(found: os.stat_result) -> _Identity:
    executable = bool(found.st_mode & stat.S_IXUSR)
    return _Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, executable)


def _stat(source: Source) -> os.stat_result:
    try:
        return os.stat(source.path)
    except OSError as error:
        raise unreadable(source.path, error) from None


def _changed(source: Source) -> FileChanged:
    message = f"{source.path!r} changed while it was logged, so nothing was recorded; log it again"
    return FileChanged(message, path=source.path)
