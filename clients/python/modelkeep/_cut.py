"""Where files are cut into chunks. It matters for what is sent again after a change, never for correctness.

A `.safetensors` file is cut at its tensors, another large file where its content says so (FastCDC); small files share packs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep.api.blob.v1.blob_service_pb2 import Capabilities

MIB: Final = 1 << 20
WINDOW_BYTES: Final = 8 * MIB
"""How much of a file is read at once, at least."""
RULES_VERSION: Final = b"\x01"
"""Raised when the same file would be cut differently."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Into how large pieces files are cut."""

    average_bytes: int
    """Chunks of a large file have about this size, …"""
    smallest_bytes: int
    largest_bytes: int
    """… and never more than this."""
    block_bytes: int
    """Blocks inside a tensor."""
    pack_bytes: int
    """Most bytes in a chunk of small files; 0 when they are not packed."""

    @classmethod
    def of(cls, limits: Capabilities) -> Self:
        """What the server wants, as far as the cutter can do it."""
        most = min(limits.max_chunk_bytes or 16 * MIB, 16 * MIB)
        average = max(256, min(limits.average_chunk_bytes or MIB, 4 * MIB, most // 4))
        largest = max(1024, min(4 * average, most))
        block = max(1, min(limits.block_bytes or MIB, most * 4 // 5))
        return cls(average, max(64, min(average // 2, MIB)), largest, block, min(limits.pack_bytes, most))

    @property
    def whole_bytes(self) -> int:
        """A file up to this size is not cut."""
        return self.pack_bytes or self.average_bytes

    @property
    def member_bytes(self) -> int:
        """A file up to this size is packed with others; a larger one costs too much when its neighbours change."""
        return self.pack_bytes // 4

    @property
    def window_bytes(self) -> int:
        """How much of a file to read at once: always enough to find the end of a chunk."""
        return max(WINDOW_BYTES, 2 * self.largest_bytes, 2 * (self.block_bytes + self.block_bytes // 4), self.whole_bytes)

    @property
    def key(self) -> bytes:
        """Names the rules: what was cut by rules of the same key is cut alike."""
        sizes = (self.average_bytes, self.smallest_bytes, self.largest_bytes, self.block_bytes, self.pack_bytes)
        return RULES_VERSION + b"".join(size.to_bytes(4, "big") for size in sizes)


class Scissors(Protocol):
    """Cuts one file, a window at a time."""

    def lengths(self, window: memoryview, *, last: bool) -> list[int]:
        """The lengths of the chunks that the window begins with. Unless it is the last one, some bytes may be left over."""


class Uncut:
    """One chunk."""

    def lengths(self, window: memoryview, *, last: bool) -> list[int]:
        """All of it."""
        return [len(window)] if last else []


class ByContent:
    """Cuts where the content says so, so that an insertion moves only the cuts near it."""

    def __init__(self, rules: Rules) -> None:
        from pyfastcdc import FastCDC  # noqa: PLC0415 - only where a large file is cut

        self._fastcdc = FastCDC(
            rules.average_bytes, min_size=rules.smallest_bytes, max_size=rules.largest_bytes, normalized_chunking=2
        )

    def lengths(self, window: memoryview, *, last: bool) -> list[int]:
        """What FastCDC finds. The end of a window is no place to cut at, only the end of the file is."""
        found = [chunk.length for chunk in self._fastcdc.cut_buf(window)]
        return found if last else found[:-1]


class ByLayout:
    """Cuts at lengths that are known before."""

    def __init__(self, lengths: Iterator[int]) -> None:
        self._coming = lengths
        self._next: int | None = None

    def lengths(self, window: memoryview, *, last: bool) -> list[int]:  # noqa: ARG002 - the layout knows its end
        """As many as fit."""
        found: list[int] = []
        left = len(window)
        while (length := self._peek()) is not None and length <= left:
            found.append(length)
            left -= length
            self._next = None
        return found

    def _peek(self) -> int | None:
        if self._next is None:
            self._next = next(self._coming, None)
        return self._next
