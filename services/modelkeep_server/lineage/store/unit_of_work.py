"""Transactions on the service's database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database
from modelkeep_server.database.requests import CLEAN_EVERY, RequestRepository
from modelkeep_server.lineage.ports.transactions import Work
from modelkeep_server.lineage.store.audit import AuditRepository
from modelkeep_server.lineage.store.metric import MetricRepository
from modelkeep_server.lineage.store.run import RunRepository
from modelkeep_server.lineage.store.tables import RequestRow
from modelkeep_server.runtime.calls import Call

T = TypeVar("T")


class SqlWork:
    """One transaction. Repositories are made when they are first asked for."""

    def __init__(self, session: AsyncSession, clock: Clock, silence: timedelta) -> None:
        self._session = session
        self._clock = clock
        self._silence = silence
        self._now: datetime | None = None

    async def now(self) -> datetime:
        """The present moment by the database's clock; the same one for the whole transaction once asked."""
        if self._now is None:
            self._now = await self._clock.now(self._session)
        return self._now

    @cached_property
    def runs(self) -> RunRepository:
        """All runs."""
        return RunRepository(self._session, self._clock, self._silence)

    @cached_property
    def metrics(self) -> MetricRepository:
        """The metrics of all runs, and their points."""
        return MetricRepository(self._session)

    @cached_property
    def audit(self) -> AuditRepository:
        """What a check of the whole database reads."""
        return AuditRepository(self._session)

    @cached_property
    def requests(self) -> RequestRepository:
        """The answers to remember."""
        return RequestRepository(self._session, self._clock, RequestRow)


class SqlTransactions:
    """Transactions on one database, which every process of the service shares."""

    def __init__(self, database: Database, clock: Clock, silence: timedelta = timedelta(minutes=5)) -> None:
        """`silence` is how long a run may be silent before it counts as crashed."""
        self._database = database
        self._clock = clock
        self._silence = silence
        self._remembered = 0

    async def look(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """As `read`, for a step of one statement: nothing begins and nothing ends around it."""
        return await self._database.look(lambda session: step(SqlWork(session, self._clock, self._silence)))

    async def read(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in a transaction that writes nothing."""
        return await self._database.read(lambda session: step(SqlWork(session, self._clock, self._silence)))

    async def write(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in one transaction and commit it."""
        return await self._database.write(lambda session: step(SqlWork(session, self._clock, self._silence)))

    async def once(self, call: Call, answer: type[T], step: Callable[[Work], Awaitable[T]]) -> T:
        """As `write`, but a repeated call gets the first answer (SEM-14). Raises RequestIdReused.

        Of calls that come at once, one runs; the others wait for its end, then find its answer, or run if it failed.
        """
        self._remembered += 1
        clean = self._remembered % CLEAN_EVERY == 0

        async def run(session: AsyncSession) -> T:
            work = SqlWork(session, self._clock, self._silence)
            if not await work.requests.claim(call):
                return await work.requests.recall(call, answer)
            result = await step(work)
            await work.requests.remember(call, answer, result)
            if clean:
                await work.requests.forget_expired()
            return result

        return await self._database.write(run)
