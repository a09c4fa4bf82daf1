"""A database: its engine, its transactions, and what may go wrong with them.

SQLite runs in WAL mode with `synchronous=FULL` and one writer at a time: a write begins with BEGIN IMMEDIATE, behind a lock
of this process, so that tasks queue here instead of polling the file. PostgreSQL runs at READ COMMITTED; what must not
interleave takes row locks.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from modelkeep.errors import ModelkeepError, ServiceUnavailable, StorageFull
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.engine import URL

T = TypeVar("T")

ATTEMPTS: Final = 8
"""How often a transaction is tried before its conflict is shown to the caller as UNAVAILABLE."""

_RETRYABLE_STATES = {"40001", "40P01", "55P03"}  # serialization_failure, deadlock_detected, lock_not_available
_FULL_STATES = {"53100", "53200"}  # disk_full, out_of_memory
_GONE_STATES = {"57P01", "57P02", "57P03", "53300", "08000", "08003", "08006"}  # shutdown, cannot_connect_now, connections


class Database:
    """One service's own database. Open it with `Database(url)`, close it with `close`."""

    def __init__(self, url: str, *, pool_size: int = 10, busy_seconds: float = 30.0) -> None:
        self.url: URL = driver_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._writer = asyncio.Lock()
        options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": busy_seconds}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": busy_seconds}
        else:
            options |= {"pool_pre_ping": True, "connect_args": {"timeout": 10, "server_settings": {"timezone": "UTC"}}}
        # Parameters are what people wrote, and hashes of secrets: no error may carry them into a log.
        self.engine: AsyncEngine = create_async_engine(self.url, hide_parameters=True, **options)
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)

    def in_use(self) -> float:
        """How many connections are busy now."""
        return float(self.engine.pool.checkedout()) if isinstance(self.engine.pool, QueuePool) else 0.0

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()

    async def read(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `work` in a transaction that writes nothing."""
        return await self._attempts(work, write=False)

    async def write(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit it; after a conflict with another one, run it again from its start.

        `work` must therefore do nothing outside of its session. Raises ServiceUnavailable, StorageFull.
        """
        if not self.is_sqlite:
            return await self._attempts(work, write=True)
        async with self._writer:
            return await self._attempts(work, write=True)

    async def _attempts(self, work: Callable[[AsyncSession], Awaitable[T]], *, write: bool) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._session(write=write) as session:
                    return await work(session)
            except (DBAPIError, PoolTimeout, OSError) as error:
                fault = diagnose(error)
                if fault is None:
                    raise
                if not fault.is_conflict or attempt == ATTEMPTS:
                    raise fault.error from error
            await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter, not a secret
        raise AssertionError

    @asynccontextmanager
    async def _session(self, *, write: bool) -> AsyncIterator[AsyncSession]:
        async with self.engine.connect() as connection:
            if self.is_sqlite:
                await _begin_sqlite(connection, write=write)
            else:
                await connection.begin()  # the connection's, so that the session does not end it when it closes
            async with AsyncSession(connection, expire_on_commit=False) as session:
                yield session
                await session.flush()
            if write:
                await connection.commit()


async def _begin_sqlite(connection: AsyncConnection, *, write: bool) -> None:
    await connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN DEFERRED")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own; we do
    connection.create_function("now_micros", 0, lambda: time.time_ns() // 1000)
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def driver_url(url: str) -> URL:
    """The URL with the driver that we use: `sqlite:///file` and `postgresql://…` are enough. Raises ValueError."""
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+asyncpg")
    raise ValueError(f"a database URL begins with sqlite: or postgresql:, not {parsed.drivername}:")


@dataclass(frozen=True, slots=True)
class Fault:
    """What a driver's error means for a caller."""

    error: ModelkeepError
    is_conflict: bool = False
    """Another transaction was in the way: the same work may succeed if it is done again."""


def diagnose(error: BaseException) -> Fault | None:
    """What a driver's error means; None for a fault of ours."""
    busy = ServiceUnavailable("the database is too busy; try again")
    gone = ServiceUnavailable("the database cannot be reached; try again later")
    if isinstance(error, PoolTimeout):
        return Fault(busy)
    if isinstance(error, OSError):
        return Fault(gone)
    if not isinstance(error, DBAPIError):
        return None
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    text = str(error.orig).lower()
    if state in _RETRYABLE_STATES or "database is locked" in text or "database table is locked" in text:
        return Fault(busy, is_conflict=True)
    if state in _FULL_STATES or "disk is full" in text or "disk i/o error" in text:
        return Fault(StorageFull("the database's disk is full, or fails; nothing was written"))
    unopened = "unable to open database file" in text or "readonly database" in text
    if state in _GONE_STATES or error.connection_invalidated or isinstance(error, InterfaceError) or unopened:
        return Fault(gone)
    return None
