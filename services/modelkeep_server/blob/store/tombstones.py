"""Tombstones: objects that must go, remembered until they are gone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from modelkeep.digest import Digest
from sqlalchemy import delete, select

from modelkeep_server.blob.domain import ObjectName
from modelkeep_server.blob.store.statements import insert
from modelkeep_server.blob.store.tables import TombstoneRow

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncSession

    from modelkeep_server.database.clock import Clock

tombstone = TombstoneRow.__table__  # type: ignore[attr-defined]


class TombstoneRows:
    """The tombstones, inside one transaction."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def add(self, names: Collection[ObjectName], lasting: timedelta = timedelta()) -> None:
        """Remember objects; for `lasting` more they may come back, so that they must be deleted once again."""
        if not names:
            return
        due = await self._clock.now(self._session) + lasting
        values = [{"digest": name.digest.sha256, "generation": name.generation, "due_time": due} for name in names]
        await self._session.execute(insert(self._session, tombstone).on_conflict_do_nothing(), values)

    async def due(self, limit: int) -> list[ObjectName]:
        """Those that cannot come back."""
        statement = select(tombstone.c.digest, tombstone.c.generation).where(tombstone.c.due_time <= self._clock.sql())
        rows = await self._session.execute(statement.order_by(tombstone.c.due_time).limit(limit))
        return [ObjectName(Digest(row[0]), row[1]) for row in rows]

    async def clear(self, names: Collection[ObjectName]) -> None:
        """Forget those that are deleted and cannot come back."""
        generations = [name.generation for name in names]
        statement = delete(TombstoneRow).where(
            tombstone.c.generation.in_(generations), tombstone.c.due_time <= self._clock.sql()
        )
        await self._session.execute(statement)
