"""Confirming: what metadata asks before it commits a version (RELIABILITY §2.4), or a copy of another team's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkeep_server.blob.domain import check_batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelkeep.digest import Digest
    from modelkeep.names import TeamName

    from modelkeep_server.blob.domain import StoredChunk
    from modelkeep_server.blob.ports import Index, Rows
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
        return _sizes(digests, confirmed)

    async def adopt_chunks(
        self, team: TeamName, source: TeamName, epoch: int, digests: Sequence[Digest], caller: Caller
    ) -> list[int]:
        """The size of each chunk; -1 for what is not live or not held by the source. Raises LimitExceeded.

        A chunk that has a size is held by the team from the same transaction on, and confirmed as by `confirm_chunks`.
        """
        caller.require(team.team)
        caller.require(source.team)
        check_batch(len(digests), "digests")

        async def work(rows: Rows) -> Mapping[Digest, StoredChunk]:
            confirmed = await rows.chunks.revive(source, set(digests), epoch)
            await rows.chunks.hold(team, confirmed)
            return confirmed

        return _sizes(digests, await self._index.write(work))


def _sizes(digests: Sequence[Digest], confirmed: Mapping[Digest, StoredChunk]) -> list[int]:
    return [confirmed[digest].chunk.size_bytes if digest in confirmed else -1 for digest in digests]
