"""The transactions of the index."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from modelkeep_server.blob.store.chunks import ChunkRows
from modelkeep_server.blob.store.grants import GrantRows
from modelkeep_server.blob.store.leases import LeaseRows
from modelkeep_server.blob.store.tombstones import TombstoneRows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from modelkeep_server.blob.ports import Rows
    from modelkeep_server.database.clock import Clock
    from modelkeep_server.database.engine import Database

T = TypeVar("T")


class SqlRows:
    """One transaction."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    @cached_property
    def leases(self) -> LeaseRows:
        """The leases."""
        return LeaseRows(self._session, self._clock)

    @cached_property
    def chunks(self) -> ChunkRows:
        """The chunks."""
        return ChunkRows(self._session, self._clock)

    @cached_property
    def grants(self) -> GrantRows:
        """The grants."""
        return GrantRows(self._session, self._clock)

    @cached_property
    def tombstones(self) -> TombstoneRows:
        """The tombstones."""
        return TombstoneRows(self._session, self._clock)

    async def now(self) -> datetime:
        """The database's clock."""
        return await self._clock.now(self._session)


class SqlIndex:
    """The index in a SQL database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self, work: Callable[[Rows], Awaitable[T]]) -> T:
        """Run `work` in a transaction that writes nothing."""
        return await self._database.read(lambda session: work(SqlRows(session, self._clock)))

    async def write(self, work: Callable[[Rows], Awaitable[T]]) -> T:
        """Run `work` in one transaction, and commit it."""
        return await self._database.write(lambda session: work(SqlRows(session, self._clock)))
