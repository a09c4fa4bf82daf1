"""Publishing: objects become live chunks that a team holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from modelkeep.errors import ModelkeepError
from modelkeep.names import TeamName

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from modelkeep.digest import Digest
    from modelkeep.names import LeaseName

    from modelkeep_server.blob.domain import ObjectName, Terms
    from modelkeep_server.blob.ports import Backend, Index, Rows

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Upload:
    """What arrived under one lease."""

    lease: LeaseName
    objects: Mapping[ObjectName, int]
    """Objects that are durable and checked, with their sizes; at most one of a digest."""
    useless: Collection[ObjectName] = field(default_factory=frozenset)
    """Objects made under the lease that must go."""
    digests: Collection[Digest] = field(default_factory=frozenset)
    """Chunks that may be live already, by an earlier call."""


class Publisher:
    """Makes objects live, and throws away those that turn out not to be needed."""

    def __init__(self, index: Index, backend: Backend, terms: Terms) -> None:
        self._index = index
        self._backend = backend
        self._terms = terms

    async def publish(self, upload: Upload) -> set[Digest]:
        """In one transaction: all that is live, held by the lease's team and protected by the lease after it.

        Raises LeaseNotFound, LeaseExpired.
        """

        async def work(rows: Rows) -> tuple[set[Digest], set[ObjectName]]:
            return await self._publish(rows, upload)

        published, surplus = await self._index.write(work)
        if surplus:
            await self._remove(surplus)
        return published

    async def _publish(self, rows: Rows, upload: Upload) -> tuple[set[Digest], set[ObjectName]]:
        team = TeamName(upload.lease.team)
        await rows.leases.get(upload.lease)
        claimed = await rows.grants.claim(upload.lease, {*upload.objects, *upload.useless})
        fresh = {name: size for name, size in upload.objects.items() if name in claimed}
        surplus = await rows.chunks.publish(team, fresh)
        published = {name.digest for name in fresh}
        # What an earlier attempt, or the same chunk in another stream, has published already.
        published |= (await rows.chunks.revive(team, {*self._digests(upload)} - published)).keys()
        await rows.leases.protect(upload.lease, published)
        unclaimed = upload.objects.keys() - claimed.keys()
        surplus |= (claimed.keys() - fresh.keys()) | (unclaimed - await rows.chunks.known(unclaimed))
        by_url = {name for name in surplus if name in claimed and claimed[name].by_url}
        await rows.tombstones.add(surplus - by_url)
        await rows.tombstones.add(by_url, self._terms.reap_after)  # its URL can make it again for a while
        return published, surplus

    @staticmethod
    def _digests(upload: Upload) -> set[Digest]:
        return {name.digest for name in upload.objects} | {*upload.digests}

    async def _remove(self, names: set[ObjectName]) -> None:
        """Delete objects whose tombstones are committed. Should it fail, the next reaping does it."""
        try:
            await self._backend.delete(sorted(names))
            await self._index.write(lambda rows: rows.tombstones.clear(names))
        except ModelkeepError as error:
            log.warning("surplus_objects_remain", count=len(names), error=error.message)
