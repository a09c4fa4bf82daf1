"""Confirming: what metadata asks before it commits a version (RELIABILITY §2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkeep_server.blob.domain import check_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelkeep.digest import Digest
    from modelkeep.names import TeamName

    from modelkeep_server.blob.ports import Index
    from modelkeep_server.runtime.callers import Caller


class Confirmations:
    """Answers whether chunks are there, and sees to it that they stay."""

    def __init__(self, index: Index) -> None:
        self._index = index

    async def confirm_chunks(self, team: TeamName, epoch: int, digests: Sequence[Digest], caller: Caller) -> list[int]:
        """The size of each chunk; -1 for what is not live or not held by the team.

        A chunk that has a size is live, and no mark of an epoch up to `epoch` can condemn it. Raises LimitExceeded.
        """
        caller.require(team.team)
        check_batch(len(digests), "digests")
        confirmed = await self._index.write(lambda rows: rows.chunks.revive(team, set(digests), epoch))
        return [confirmed[digest].chunk.size_bytes if digest in confirmed else -1 for digest in digests]
