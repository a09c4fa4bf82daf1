"""What files are made of on their way up: chunks to have, and where their bytes are to be found when somebody wants them."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import time
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Protocol

from modelkeep._walk import check_file, unreadable
from modelkeep.errors import FileChanged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from modelkeep._artifact import Source
    from modelkeep._packs import Pack
    from modelkeep._stat_cache import StatCache

SEGMENT: Final = struct.Struct(">32sIQ")
"""A segment as manifests store it: chunk, offset, length."""
SETTLED_NANOSECONDS: Final = 2_000_000_000
"""How long a file must have been left alone before what is known of it may be remembered, as in git."""
FILE_BYTES: Final = 1024
"""What is known of a small file takes about as much memory until it is stored, however few bytes it has."""
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)

Identity = tuple[int, int, int, int, int]
"""Device, inode, size, mtime_ns, ctime_ns: what tells whether a file is still the same."""


class Stale(Exception):
    """What the stat cache said of files is not so. Never leaves the SDK: they are read again."""

    def __init__(self, identities: Sequence[Identity], pack: bytes = b"") -> None:
        super().__init__("the stat cache was wrong")
        self.identities = identities
        self.pack = pack


class FileRead:
    """A file that is being read, or whose content is known."""

    __slots__ = ("cached", "executable", "identity", "opened_at", "segments", "sha256", "size_bytes", "source", "whole")

    def __init__(self, source: Source, status: os.stat_result, *, cached: bool = False) -> None:
        self.source = source
        self.size_bytes = status.st_size
        self.executable = bool(status.st_mode & stat.S_IXUSR)
        self.identity: Identity = identity_of(status)
        self.opened_at = time.time_ns()
        self.cached = cached
        """Whether its content is known from the stat cache only."""
        self.segments = bytearray()
        """The segments so far, in their stored form."""
        self.sha256 = b""
        """The SHA-256 of the whole file, once it is known."""
        self.whole: Future[bytes] | None = None
        """Computes it."""

    def is_still(self, status: os.stat_result) -> bool:
        """Whether it is the file that was opened."""
        return identity_of(status) == self.identity

    @property
    def settled(self) -> bool:
        """Whether nobody wrote to it shortly before it was opened: a later write would then show in its times."""
        return max(self.identity[3:]) < self.opened_at - SETTLED_NANOSECONDS

    def changed(self) -> Exception:
        """What to raise when its bytes are not what they were."""
        return Stale([self.identity]) if self.cached else changed(self.source)


class Piece:
    """A chunk to have. Its bytes are some of a file, or those of a pack."""

    __slots__ = ("_file", "_offset", "_pack", "progress_bytes", "sha256", "size_bytes")

    def __init__(self, sha256: bytes, size_bytes: int, *, file: FileRead | None = None, offset: int = 0) -> None:
        self.sha256 = sha256
        self.size_bytes = size_bytes
        self.progress_bytes = size_bytes
        """How many bytes of files are done with it."""
        self._file = file
        self._offset = offset
        self._pack: Pack | None = None

    @classmethod
    def of_pack(cls, sha256: bytes, pack: Pack) -> Piece:
        """The chunk of a pack."""
        only = pack.parts[0] if len(pack.parts) == 1 else None
        piece = cls(sha256, pack.size_bytes, file=only)
        piece.progress_bytes = sum(file.size_bytes for file in pack.files)
        piece._pack = pack if only is None else None
        return piece

    @property
    def memory_bytes(self) -> int:
        """How many bytes it keeps in memory, about."""
        if self._pack is None:
            return FILE_BYTES
        return FILE_BYTES * len(self._pack.files) + (self.size_bytes if self._pack.data else 0)

    @property
    def cached(self) -> bool:
        """Whether its bytes were not read."""
        return not self._pack.data if self._pack is not None else self._file is not None and self._file.cached

    @contextmanager
    def opened(self) -> Iterator[tuple[int, int] | None]:
        """An open file that holds the bytes, and from where on; None when they are in memory. Raises FileUnreadable."""
        if self._file is None:
            yield None
            return
        descriptor, _ = open_source(self._file.source)
        try:
            yield descriptor, self._offset
        finally:
            os.close(descriptor)

    def parts(self, most: int) -> Iterator[bytes]:
        """The bytes, so many at a time. Raises FileUnreadable, FileChanged, Stale."""
        return self.parts_from(0, most)

    def parts_from(self, begin: int, most: int) -> Iterator[bytes]:
        """The bytes from a place on, so many at a time. Raises FileUnreadable, FileChanged, Stale."""
        with self.opened() as place:
            data = b"" if place else self._packed()
            for position in range(begin, self.size_bytes, most):
                length = min(most, self.size_bytes - position)
                part = self._part(length, place[1] + position, place[0]) if place else data[position : position + length]
                if len(part) < length:
                    raise self.changed()
                yield part

    def _part(self, length: int, at: int, descriptor: int) -> bytes:
        try:
            return os.pread(descriptor, length, at)
        except OSError as error:
            assert self._file is not None
            raise unreadable(self._file.source.path, error) from None

    def check(self) -> None:
        """Read the bytes once more. Raises FileChanged, FileUnreadable or Stale when they are others by now."""
        hasher = hashlib.sha256()
        for part in self.parts(1 << 20):
            hasher.update(part)
        if hasher.digest() != self.sha256:
            raise self.changed()

    def changed(self) -> Exception:
        """What to raise when the bytes are not what they were."""
        if self._file is not None:
            return self._file.changed()
        assert self._pack is not None
        return self._pack.changed()

    def _packed(self) -> bytes:
        assert self._pack is not None
        return b"".join(self._pack.read())


class Item(Protocol):
    """Something that was read: chunks to have, and the files that are complete with them."""

    @property
    def weight_bytes(self) -> int:
        """What it counts when the reading must not get too far ahead: the bytes read, and FILE_BYTES for each file."""

    def pieces(self) -> list[Piece]:
        """The chunks; waits for their digests."""

    def files(self) -> Sequence[FileRead]:
        """The files that are complete; after `pieces`."""


class Cuts:
    """Some chunks of a file, one after the other."""

    def __init__(self, file: FileRead, offset: int, lengths: list[int], digests: Future[bytes]) -> None:
        self._file = file
        self._offset = offset
        self._lengths = lengths
        self._digests = digests
        self.last = False
        """Whether the file ends here."""

    @property
    def weight_bytes(self) -> int:
        """How many bytes they have."""
        return sum(self._lengths)

    def pieces(self) -> list[Piece]:
        """The chunks; waits for their digests."""
        digests, found = self._digests.result(), []
        places = accumulate(self._lengths, initial=self._offset)
        for position, (length, place) in enumerate(zip(self._lengths, places, strict=False)):
            sha256 = digests[32 * position : 32 * position + 32]
            self._file.segments += SEGMENT.pack(sha256, 0, length)
            found.append(Piece(sha256, length, file=self._file, offset=place))
        return found

    def files(self) -> Sequence[FileRead]:
        """The file, if it is complete; waits for its digest."""
        if not self.last:
            return ()
        whole = self._file.whole
        self._file.sha256 = whole.result() if whole else bytes(self._file.segments[:32])
        return (self._file,)


class Packed:
    """A pack, and all files in it."""

    def __init__(self, pack: Pack, sha256: Future[bytes] | bytes, cache: StatCache | None = None) -> None:
        self._pack = pack
        self._sha256 = sha256
        self._cache = cache

    @property
    def weight_bytes(self) -> int:
        """How many bytes the chunk has, and what its files take."""
        return self._pack.size_bytes + FILE_BYTES * len(self._pack.files)

    def pieces(self) -> list[Piece]:
        """The chunk, unless all files are empty; waits for its digest."""
        pack = self._pack
        sha256 = self._sha256 if isinstance(self._sha256, bytes) else self._sha256.result()
        if self._cache is not None:
            self._cache.add_pack(pack.key, sha256)
        for file in pack.files:
            if file.size_bytes:
                file.segments += SEGMENT.pack(sha256, pack.offsets[file.sha256], file.size_bytes)
        return [Piece.of_pack(sha256, pack)] if pack.size_bytes else []

    def files(self) -> Sequence[FileRead]:
        """All of them."""
        return self._pack.files


class Known:
    """A file whose content is known without reading it."""

    weight_bytes = FILE_BYTES

    def __init__(self, file: FileRead) -> None:
        self._file = file

    def pieces(self) -> list[Piece]:
        """Its chunks."""
        found, offset = [], 0
        for sha256, _, length in SEGMENT.iter_unpack(self._file.segments):
            found.append(Piece(sha256, length, file=self._file, offset=offset))
            offset += length
        return found

    def files(self) -> Sequence[FileRead]:
        """The file."""
        return (self._file,)


def open_source(source: Source) -> tuple[int, os.stat_result]:
    """Open a regular file to read it, without waiting for a fifo that took its place. Raises FileUnreadable."""
    try:
        descriptor = os.open(source.path, _OPEN)
    except OSError as error:
        raise unreadable(source.path, error) from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        check_file(source.path)  # says what it is
        raise changed(source)
    return descriptor, found


def read_fully(descriptor: int, size_bytes: int) -> bytes:
    """So many bytes, fewer only at the end of the file."""
    data = os.read(descriptor, size_bytes)
    while len(data) < size_bytes:
        more = os.read(descriptor, size_bytes - len(data))
        if not more:
            break
        data += more
    return data


def status_of(source: Source) -> os.stat_result:
    """What the file system says of a file. Raises FileUnreadable."""
    try:
        return os.stat(source.path)
    except OSError as error:
        raise unreadable(source.path, error) from None


def identity_of(found: os.stat_result) -> Identity:
    """What tells whether a file is still the same."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def changed(source: Source) -> FileChanged:
    """A file is not what it was."""
    return FileChanged(f"{source.path!r} changed while it was logged, so nothing was logged; log it again", path=source.path)
