"""Upload grants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelkeep.digest import Digest
from sqlalchemy import delete, select

from modelkeep_server.blob.domain import Grant, ObjectName
from modelkeep_server.blob.store.tables import LeaseRow, UploadGrantRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import timedelta

    from modelkeep.names import LeaseName
    from sqlalchemy.ext.asyncio import AsyncSession

    from modelkeep_server.database.clock import Clock

grant = UploadGrantRow.__table__  # type: ignore[attr-defined]
lease = LeaseRow.__table__  # type: ignore[attr-defined]
_COLUMNS = (grant.c.digest, grant.c.generation, grant.c.size_bytes, grant.c.by_url)


class GrantRows:
    """The upload grants, inside one transaction."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def add(self, lease: LeaseName, grants: Iterable[Grant]) -> None:
        """Remember grants."""
        values = [
            {
                "generation": one.object.generation,
                "lease_id": lease.lease,
                "digest": one.object.digest.sha256,
                "size_bytes": one.size_bytes,
                "by_url": one.by_url,
            }
            for one in grants
        ]
        if values:
            await self._session.execute(grant.insert(), values)

    async def find(self, lease: LeaseName, digests: Collection[Digest], *, by_url: bool) -> list[Grant]:
        """The grants of these chunks under the lease."""
        if not digests:
            return []
        statement = select(*_COLUMNS).where(
            grant.c.lease_id == lease.lease,
            grant.c.digest.in_([digest.sha256 for digest in digests]),
            grant.c.by_url.is_(by_url),
        )
        return [_grant(row) for row in await self._session.execute(statement)]

    async def open(self, names: Collection[ObjectName]) -> set[ObjectName]:
        """Those of these objects that a grant names."""
        if not names:
            return set()
        statement = select(*_COLUMNS).where(grant.c.generation.in_([name.generation for name in names]))
        return {_grant(row).object for row in await self._session.execute(statement)} & set(names)

    async def claim(self, lease: LeaseName, names: Collection[ObjectName]) -> dict[ObjectName, Grant]:
        """Take grants out, so that nobody else can. What is not in the answer was not there."""
        if not names:
            return {}
        generations = [name.generation for name in names]
        statement = delete(UploadGrantRow).where(grant.c.lease_id == lease.lease, grant.c.generation.in_(generations))
        taken = [_grant(row) for row in await self._session.execute(statement.returning(*_COLUMNS))]
        return {one.object: one for one in taken}

    async def reap(self, since: timedelta, limit: int) -> list[ObjectName]:
        """Take out grants whose lease ended at least `since` ago."""
        over = (
            select(grant.c.generation)
            .join_from(grant, lease, grant.c.lease_id == lease.c.id)
            .where(lease.c.expire_time <= self._clock.sql(-since))
            .limit(limit)
            .with_for_update(of=grant, skip_locked=True)
        )
        statement = delete(UploadGrantRow).where(grant.c.generation.in_(over)).returning(*_COLUMNS)
        return [_grant(row).object for row in await self._session.execute(statement)]


def _grant(row: Any) -> Grant:
    digest, generation, size_bytes, by_url = row
    return Grant(ObjectName(Digest(digest), generation), size_bytes, by_url)
