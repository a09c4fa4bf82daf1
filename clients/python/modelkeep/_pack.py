"""Chunks as a download wants them: a pack, which holds files, and a block, which is a part of files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from modelkeep._fetcher import corrupt_chunk, whole_or_parts
from modelkeep.errors import DigestMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelkeep._writer import Writer


class SmallFile(NamedTuple):
    """A file that lies in one chunk."""

    folder: str
    name: str
    sha256: bytes
    offset: int
    length: int
    executable: bool


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

    def ranges(self, size_bytes: int) -> list[tuple[int, int]]:
        """What to fetch of the chunk."""
        return whole_or_parts([(file.offset, file.length) for file in self.files], size_bytes, check=self.check)

    def take(self, data: memoryview, offset: int, *, whole: bool) -> None:
        """Write the files that are in these bytes. Raises ChunkCorrupt, DigestMismatch, TargetUnusable, DiskFull."""
        proven = whole and (self.check or self._keep is not None or self._trusted)
        if proven and hashlib.sha256(data).digest() != self.sha256:
            raise corrupt_chunk(self.sha256, "its bytes have another digest")
        if proven and self._keep is not None:
            self._keep(self.sha256, data)
        bad = self.write(data, offset, unseen=proven and self._trusted)
        if bad is None:
            return
        if not proven:
            self.check = True  # all of it next, to see whose fault it is
            raise corrupt_chunk(self.sha256, "a file in it has another digest")
        path = f"{bad.folder}/{bad.name}" if bad.folder else bad.name
        message = f"{path!r} is not what its digest sha256:{bad.sha256.hex()} says, so it was not kept; its version is damaged"
        raise DigestMismatch(message, path=path, expected=f"sha256:{bad.sha256.hex()}")

    def write(self, data: memoryview, begin: int, *, unseen: bool = False) -> SmallFile | None:
        """Write the files that are in these bytes, unless their digest is another one; one of those, if there are any.

        `unseen`: their digests need not be looked at. Raises TargetUnusable, DiskFull.
        """
        end, size, left, bad = begin + len(data), 0, [], None
        sha256, writer = hashlib.sha256, self._writer
        with writer.lock:
            for file in self.files:
                folder, name, digest, offset, length, executable = file
                if offset < begin or offset + length > end:
                    left.append(file)
                    continue
                part = data[offset - begin : offset - begin + length]
                if not unseen and sha256(part).digest() != digest:
                    left.append(file)
                    bad = file
                    continue
                writer.write(folder, name, part, executable=executable)
                size += length
        self.files = left
        self._advance(size)
        return bad


class Sink(Protocol):
    """Where bytes of a file go."""

    def write(self, data: memoryview, offset: int) -> None:
        """Write bytes at their place in the file."""

    def done(self, offset: int, length: int, *, proven: bool) -> None:
        """The bytes there are complete; `proven` when the digest of their chunk says so."""


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

    __slots__ = ("check", "sha256", "uses")

    def __init__(self, sha256: bytes, *, check: bool) -> None:
        self.sha256 = sha256
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
            use.sink.write(data[begin : begin + use.length], use.at)
            use.sink.done(use.at, use.length, proven=self.check)
        self.uses = left
