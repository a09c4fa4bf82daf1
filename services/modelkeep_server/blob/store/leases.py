"""Leases, and what they protect."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from modelkeep.errors import LeaseExpired, LeaseNotFound
from modelkeep.names import LeaseName
from sqlalchemy import delete, exists, select, tuple_, update

from modelkeep_server.blob.domain import Lease
from modelkeep_server.blob.store.statements import insert
from modelkeep_server.blob.store.tables import LeaseChunkRow, LeaseRow, UploadGrantRow

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime, timedelta

    from modelkeep.digest import Digest
    from modelkeep.names import TeamName
    from sqlalchemy.ext.asyncio import AsyncSession

    from modelkeep_server.database.clock import Clock

lease = LeaseRow.__table__  # type: ignore[attr-defined]
lease_chunk = LeaseChunkRow.__table__  # type: ignore[attr-defined]
grant = UploadGrantRow.__table__  # type: ignore[attr-defined]


class LeaseRows:
    """The leases, inside one transaction."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def open(self, team: TeamName, lasting: timedelta) -> Lease:
        """A new lease."""
        name = LeaseName(team.team, str(uuid4()))
        values = {"id": name.lease, "team": name.team, "expire_time": self._clock.sql(lasting)}
        statement = insert(self._session, lease).values(values).returning(lease.c.expire_time)
        expire_time: datetime = (await self._session.execute(statement)).scalar_one()
        return Lease(name, expire_time, expire_time - lasting)

    async def get(self, name: LeaseName) -> Lease:
        """An open lease. Raises LeaseNotFound, LeaseExpired."""
        statement = select(lease.c.expire_time, self._clock.sql()).where(lease.c.id == name.lease, lease.c.team == name.team)
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            message = f"there is no lease {name}; call PrepareUpload without a lease to open one"
            raise LeaseNotFound(message, lease=str(name))
        expire_time, now = row
        if expire_time <= now:
            raise LeaseExpired(
                f"lease {name} ended at {expire_time.isoformat()}; call PrepareUpload without a lease to open a new one",
                lease=str(name),
                expire_time=expire_time.isoformat(),
            )
        return Lease(name, expire_time, now)

    async def renew(self, name: LeaseName, lasting: timedelta) -> Lease:
        """Move its end to `lasting` from now. Raises LeaseNotFound, LeaseExpired."""
        statement = (
            update(LeaseRow)
            .where(lease.c.id == name.lease, lease.c.team == name.team, lease.c.expire_time > self._clock.sql())
            .values(expire_time=self._clock.sql(lasting))
            .returning(lease.c.expire_time)
        )
        expire_time: datetime | None = (await self._session.execute(statement)).scalar_one_or_none()
        if expire_time is None:
            return await self.get(name)  # raises, and says what is wrong with it
        return Lease(name, expire_time, expire_time - lasting)

    async def protect(self, name: LeaseName, digests: Collection[Digest]) -> None:
        """Protect chunks that the lease's team holds."""
        if digests:
            values = [{"lease_id": name.lease, "team": name.team, "digest": digest.sha256} for digest in sorted(digests)]
            await self._session.execute(insert(self._session, lease_chunk).on_conflict_do_nothing(), values)

    async def ended(self, names: Collection[LeaseName]) -> set[LeaseName]:
        """Those of them that ended, or do not exist."""
        ids = {name.lease for name in names}
        statement = select(lease.c.id).where(lease.c.id.in_(ids), lease.c.expire_time > self._clock.sql())
        alive = set((await self._session.execute(statement)).scalars())
        return {name for name in names if name.lease not in alive}

    async def reap(self, since: timedelta, limit: int) -> bool:
        """Delete some of what ended at least `since` ago, at most `limit` rows: what leases protected, then leases themselves.

        A lease with a grant stays, because the grant's object is found by it. False when there is nothing left to delete.
        """
        return await self._release(since, limit) or await self._delete(since, limit)

    async def _release(self, since: timedelta, limit: int) -> bool:
        key = (lease_chunk.c.lease_id, lease_chunk.c.digest)
        over = (
            select(*key)
            .join_from(lease_chunk, lease, lease_chunk.c.lease_id == lease.c.id)
            .where(lease.c.expire_time <= self._clock.sql(-since))
            .limit(limit)
            .with_for_update(of=lease_chunk, skip_locked=True)
        )
        statement = delete(LeaseChunkRow).where(tuple_(*key).in_(over)).returning(lease_chunk.c.lease_id)
        return bool((await self._session.execute(statement)).all())

    async def _delete(self, since: timedelta, limit: int) -> bool:
        over = (
            select(lease.c.id)
            .where(
                lease.c.expire_time <= self._clock.sql(-since),
                ~exists().where(lease_chunk.c.lease_id == lease.c.id),
                ~exists().where(grant.c.lease_id == lease.c.id),
            )
            .limit(limit)
            .with_for_update(of=lease, skip_locked=True)
        )
        statement = delete(LeaseRow).where(lease.c.id.in_(over)).returning(lease.c.id)
        return bool((await self._session.execute(statement)).all())
