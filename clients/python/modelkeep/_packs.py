"""Small files share chunks: packs. Where a pack ends is decided by the content of its files.

So a file that is added, changed or removed changes its own pack and perhaps the next one, and no other.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from modelkeep._pieces import Stale, changed, open_source, read_fully
from modelkeep._walk import unreadable

if TYPE_CHECKING:
    from modelkeep._pieces import FileRead

_SPAN: Final = 1 << 64
_LEAST_WEIGHT: Final = 256
"""What an entry weighs at least: a pack has an end even when its files are empty."""


class Pack:
    """Files that share a chunk, in their order. The same content is in it once."""

    __slots__ = ("data", "files", "offsets", "parts", "size_bytes")

    def __init__(self) -> None:
        self.files: list[FileRead] = []
        self.parts: list[FileRead] = []
        """The files whose content makes up the chunk, one for each content."""
        self.data: list[bytes | None] = []
        """The content of each part; None where it is known by its digest only."""
        self.offsets: dict[bytes, int] = {}
        """Where in the chunk each content begins."""
        self.size_bytes = 0

    def add(self, file: FileRead, sha256: bytes, data: bytes | None) -> None:
        """Take one more file."""
        self.files.append(file)
        if file.size_bytes and sha256 not in self.offsets:
            self.offsets[sha256] = self.size_bytes
            self.size_bytes += file.size_bytes
            self.parts.append(file)
            self.data.append(data)

    @property
    def key(self) -> bytes:
        """Names the chunk by what is in it, without reading it."""
        return hashlib.sha256(b"".join(self.offsets)).digest()

    def read(self) -> list[bytes]:
        """The content of each part. Raises FileUnreadable, FileChanged, Stale when one is something else by now."""
        known = self.data or [None] * len(self.parts)
        return [data if data is not None else _content(file) for file, data in zip(self.parts, known, strict=True)]

    def changed(self) -> Exception:
        """What to raise when its bytes are not what they were."""
        cached = [file.identity for file in self.parts if file.cached]
        return Stale(cached, self.key) if cached else changed(self.parts[0].source)


def _content(file: FileRead) -> bytes:
    descriptor, _ = open_source(file.source)
    try:
        data = read_fully(descriptor, file.size_bytes + 1)
    except OSError as error:
        raise unreadable(file.source.path, error) from None
    finally:
        os.close(descriptor)
    if hashlib.sha256(data).digest() != file.sha256:
        raise file.changed()
    return data


class Packer:
    """Puts files into packs."""

    def __init__(self, pack_bytes: int) -> None:
        self._most = max(pack_bytes, _LEAST_WEIGHT)
        self._least = pack_bytes // 4
        # Beyond the least size a pack goes on for so many bytes, on average.
        self._mean = max(1, pack_bytes * 3 // 8)
        self._open = Pack()
        self._weight = 0

    def add(self, file: FileRead, sha256: bytes, data: bytes | None) -> list[Pack]:
        """Take the next file; the packs that are complete with it."""
        done: list[Pack] = []
        weight = max(file.size_bytes, _LEAST_WEIGHT)
        if self._weight + weight > self._most:
            done += self.finish()
        self._open.add(file, sha256, data)
        self._weight += weight
        if self._weight >= self._least and int.from_bytes(sha256[:8]) * self._mean < weight * _SPAN:
            done += self.finish()
        return done

    def finish(self) -> list[Pack]:
        """What is left."""
        done = [self._open] if self._open.files else []
        if done:
            self._open, self._weight = Pack(), 0
        return done
