"""Chunks as a download wants them: a pack, which holds files, and a block, which is a part of files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from modelkeep._fetcher import corrupt_chunk, whole_or_parts
from modelkeep._writer import SmallFile
from modelkeep.errors import DigestMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from modelkeep._writer import Writer


class Pack:
    """A chunk of which files are wanted: they are written from memory, each proven by its own digest."""

    __slots__ = ("_advance", "_keep", "_trusted", "_writer", "check", "files", "sha256")

    def __init__(
        self,
        sha256: bytes,
        writer: Writer,
        advance: Callable[[int], None],
        *,
        trusted: bool,
        keep: Callable[[bytes, memoryview], None] | None,
    ) -> None:
        """`trusted`: where the chunk is proven, its files are. `keep` is given the whole and proven chunk."""
        self.sha256 = sha256
        self.files: list[SmallFile] = []
        self.check = False
        self._writer = writer
        self._advance = advance
        self._trusted = trusted
        self._keep = keep

    @property
    def path(self) -> str:
        """One of the files that are not written yet."""
        return f"{self.files[0][0]}/{self.files[0][1]}".lstrip("/") if self.files else ""

    def ranges(self, size_bytes: int) -> list[tuple[int, int]]:
        """What to fetch of the chunk."""
        return whole_or_parts([(file[3], file[4]) for file in self.files], size_bytes, check=self.check)

    def take(self, data: memoryview, offset: int, *, whole: bool) -> None:
        """Write the files that are in these bytes. Raises ChunkCorrupt, DigestMismatch, TargetUnusable, DiskFull."""
        proven = whole and (self.check or self._keep is not None or self._trusted)
        if proven and hashlib.sha256(data).digest() != self.sha256:
            raise corrupt_chunk(self.sha256, "its bytes have another digest")
        if proven and self._keep is not None:
            self._keep(self.sha256, data)
        bad = self.write(data, offset, unseen=proven and self._trusted)
        if bad is None:
            _require_none_left(self.sha256, self.files, whole=whole)
            return
        if not proven:
            self.check = True  # all of it next, to see whose fault it is
            raise corrupt_chunk(self.sha256, "a file in it has another digest")
        path, digest = f"{bad[0]}/{bad[1]}" if bad[0] else bad[1], f"sha256:{bad[2].hex()}"
        message = f"{path!r} is not what its digest {digest} says, so it was not kept; its version is damaged"
        raise DigestMismatch(message, path=path, expected=digest)

    def write(self, data: memoryview, begin: int, *, unseen: bool = False) -> SmallFile | None:
        """Write the files that are in these bytes, unless their digest is another one; one of those, if there are any.

        `unseen`: their digests need not be looked at. Raises TargetUnusable, DiskFull.
        """
        end, size = begin + len(data), 0
        inside = [file for file in self.files if file[3] >= begin and file[3] + file[4] <= end]
        left = [] if len(inside) == len(self.files) else [file for file in self.files if file not in inside]
        if unseen:
            bad = []
        else:
            hashed = hashlib.sha256
            bad = [f for f in inside if hashed(data[f[3] - begin : f[3] - begin + f[4]]).digest() != f[2]]
        with self._writer.lock:
            if bad:
                inside = [file for file in inside if file not in bad]
            for file in inside:
                size += file[4]
            self._writer.write_all(inside, data, begin)
        self.files = left + bad
        self._advance(size)
        return bad[0] if bad else None


class Sink(Protocol):
    """Where bytes of a file go."""

    def put(self, data: memoryview, at: int, *, proven: bool) -> None:
        """Take bytes for their place in the file; `proven` when the digest of their chunk says that they are right."""


class Use(NamedTuple):
    """Some bytes of a chunk that are some bytes of a file."""

    sink: Sink
    at: int
    """Where in the file."""
    offset: int
    """Where in the chunk."""
    length: int


class Block:
    """A chunk that is a part of files."""

    __slots__ = ("check", "path", "sha256", "uses")

    def __init__(self, sha256: bytes, *, check: bool, path: str = "") -> None:
        """`path` is of the first of the files, for errors."""
        self.sha256 = sha256
        self.path = path
        self.check = check
        self.uses: list[Use] = []

    def ranges(self, size_bytes: int) -> list[tuple[int, int]]:
        """What to fetch of the chunk."""
        return whole_or_parts([(use.offset, use.length) for use in self.uses], size_bytes, check=self.check)

    def take(self, data: memoryview, offset: int, *, whole: bool) -> None:
        """Give each file its bytes. Raises ChunkCorrupt, and what the sinks raise."""
        if self.check and not (whole and hashlib.sha256(data).digest() == self.sha256):
            raise corrupt_chunk(self.sha256, "its bytes have another digest")
        left = []
        for use in self.uses:
            begin = use.offset - offset
            if begin < 0 or begin + use.length > len(data):
                left.append(use)
                continue
            use.sink.put(data[begin : begin + use.length], use.at, proven=self.check)
        self.uses = left
        _require_none_left(self.sha256, left, whole=whole)


def _require_none_left(sha256: bytes, left: Sized, *, whole: bool) -> None:
    """Raise ChunkCorrupt when all of a chunk came, and somebody wants more than it has."""
    if whole and left:
        raise corrupt_chunk(sha256, "a file says that there is more in it than there is")
