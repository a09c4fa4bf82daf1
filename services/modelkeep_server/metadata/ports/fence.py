"""The fence between commits and collection (RELIABILITY §2.4)."""

from __future__ import annotations

from typing import Protocol


class Fence(Protocol):
    """The number of the last collection that began."""

    async def epoch(self) -> int:
        """The number now; 0 before the first collection."""
        ...

    async def holds(self, epoch: int) -> bool:
        """Whether no collection began since `epoch` was read, and none begins before this transaction ends."""
        ...

    async def advance(self) -> int:
        """A collection begins, once every transaction that holds the fence has ended; its number."""
        ...
