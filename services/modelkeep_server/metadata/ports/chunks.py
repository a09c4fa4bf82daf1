"""What the blob service knows of chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

from modelkeep.digest import Digest


class Chunks(Protocol):
    """The blob service, as far as commits need it."""

    def confirm(self, team: str, epoch: int, batches: AsyncIterator[Sequence[Digest]]) -> AsyncGenerator[Sequence[int]]:
        """Confirm batches of chunks against collections up to `epoch` (RELIABILITY §2.4).

        Answers one list per batch: the size in bytes of each chunk, -1 for one that is not live or not held by the team.
        """
        ...

    def adopt(
        self, team: str, source: str, epoch: int, batches: AsyncIterator[Sequence[Digest]]
    ) -> AsyncGenerator[Sequence[int]]:
        """Give a team holdings of chunks that the team `source` has, and confirm them, as `confirm` does and answers."""
        ...
