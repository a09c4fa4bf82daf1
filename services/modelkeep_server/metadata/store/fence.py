"""The row of the fence between commits and collection (RELIABILITY §2.4)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import upsert
from modelkeep_server.metadata.store.tables import FenceRow

_LOCK: Final = 0x6D6B_6663
"""The advisory lock of PostgreSQL that is the fence. On SQLite the one lock of all writers is enough."""

_ROW: Final = 1


class FenceRepository:
    """The number of the last collection that began."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def epoch(self) -> int:
        """The number now; 0 before the first collection."""
        epoch: int | None = await self._session.scalar(select(col(FenceRow.gc_epoch)).where(col(FenceRow.id) == _ROW))
        return epoch or 0

    async def holds(self, epoch: int) -> bool:
        """Whether no collection began since `epoch` was read, and none begins before this transaction ends."""
        if self._is_postgresql:
            await self._session.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))
        # A statement of its own: one that waits for a lock goes on with what it saw before it waited.
        return await self.epoch() == epoch

    async def advance(self) -> int:
        """A collection begins, once every transaction that holds the fence has ended; its number."""
        if self._is_postgresql:
            await self._session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        statement = upsert(self._session, FenceRow).values(id=_ROW, gc_epoch=1)
        statement = statement.on_conflict_do_update(index_elements=["id"], set_={"gc_epoch": col(FenceRow.gc_epoch) + 1})
        epoch: int = (await self._session.execute(statement.returning(col(FenceRow.gc_epoch)))).scalar_one()
        return epoch

    @property
    def _is_postgresql(self) -> bool:
        return self._session.get_bind().dialect.name == "postgresql"
