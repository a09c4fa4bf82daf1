"""The content of one file that was logged offline: read from its snapshot, as others are read from the store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from modelkeep._copy import sha256_of
from modelkeep._file import Folder
from modelkeep.errors import DigestMismatch, EntryNotFound, ModelkeepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelkeep._file import File
    from modelkeep._pack import Sink
    from modelkeep.manifest import Entry

BLOCK_BYTES: Final = 1 << 20
"""It is read in blocks of this size."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where the bytes of the file are."""

    entry: Entry
    size_bytes: int

    def number_at(self, position: int) -> int:
        """The number of the block that has the byte at a position."""
        return position // BLOCK_BYTES


class KeptContent:
    """What `Content` is for a version of a server."""

    is_small = False

    def __init__(self, entry: Entry, path: str) -> None:
        """Open it, and prove all of it. Raises DigestMismatch."""
        self.layout = Blocks(entry, entry.size_bytes or 0)
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise damaged(path) from None
        if sha256_of(self._file) != entry.digest.sha256:
            self.close()
            raise damaged(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def read(self, position: int, into: memoryview) -> int:
        """Bytes from a position on."""
        return os.preadv(self._file, [into], position) if into else 0

    def fetch(self, numbers: Iterable[int], sink: Sink) -> None:
        """Some blocks, into a sink."""
        for number in numbers:
            data = os.pread(self._file, BLOCK_BYTES, number * BLOCK_BYTES)
            sink.put(memoryview(data), number * BLOCK_BYTES, proven=True)


def damaged(path: str) -> ModelkeepError:
    """What says that a kept file is not what was logged."""
    return DigestMismatch(f"{path!r} is not the file that was logged: the offline folder is damaged", path=path)


def directly_in(folder: str, files: Iterable[File], name: str) -> Iterator[File | Folder]:
    """The files and folders directly in a folder, of all files of a version by path. Raises EntryNotFound."""
    inside, last, found = f"{folder}/" if folder else "", "", False
    for file in files:
        if file.path.startswith(inside):
            found = True
            head, deeper, _ = file.path[len(inside) :].partition("/")
            if not deeper:
                yield file
            elif inside + head != last:
                last = inside + head
                yield Folder(last)
    if folder and not found:
        raise EntryNotFound(f"{name} has no folder {folder!r}", path=folder, version=name)
