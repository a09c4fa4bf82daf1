"""A database: its engine, its transactions, and what may go wrong with them.

SQLite runs in WAL mode with `synchronous=FULL` and one writer at a time: a write begins with BEGIN IMMEDIATE, behind a lock
of this process, so that tasks queue here instead of polling the file. PostgreSQL runs at READ COMMITTED; what must not
interleave takes row locks.

Nobody asks a connection whether it lives before it is used: that would cost as much as most reads. What is done on a connection
that turns out to be dead is done again on another one, as long as it cannot have been committed.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import namedtuple
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg
from modelkeep.errors import ModelkeepError, ServiceUnavailable, StorageFull
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import QueuePool

from modelkeep_server.database import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import URL

T = TypeVar("T")

ATTEMPTS: Final = 8
"""How often a transaction is tried before its conflict is shown to the caller as UNAVAILABLE."""

READERS: Final = 2
"""How many connections are kept at hand for `fetch`, at most; more are opened when it is busier."""
RECONNECTS: Final = 3
"""How often it is begun again on another connection after one turned out to be dead."""

_RETRYABLE_STATES = {"40001", "40P01", "55P03"}  # serialization_failure, deadlock_detected, lock_not_available
_FULL_STATES = {"53100", "53200"}  # disk_full, out_of_memory
_ENDED_STATES = {"57P01", "57P02", "25P03", "08003", "08006"}  # shutdown, crash, idle for too long, not there, failure
_GONE_STATES = {"57P03", "53300", "08000", "08001", "08004"}  # cannot_connect_now, too many, cannot establish, rejected


_DRIVER_ERRORS: Final = (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the drivers raise themselves. The last one is what asyncpg says, before it sends anything, of a connection on which the
server has said farewell while nobody asked, and whose end has not arrived yet."""


def pool_gauges(database: Database) -> dict[str, Callable[[], float]]:
    """What the metrics of a service tell of its connections: when both are equal for long, callers wait."""
    return {"database_connections_in_use": database.in_use, "database_connections_limit": lambda: database.most}


class Database:
    """One service's own database. Open it with `Database(url)`, close it with `close`."""

    def __init__(self, url: str, *, pool_size: int = 10, busy_seconds: float = 30.0) -> None:
        self.url: URL = driver_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.most = pool_size
        """How many connections there may be; who needs one more waits."""
        self._writer = asyncio.Lock()
        options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": busy_seconds}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": busy_seconds, "async_creator_fn": sqlite.connect}
        else:
            settings = {"timezone": "UTC"}
            options["connect_args"] = {"timeout": 10, "server_settings": settings, "async_creator_fn": postgresql.connect}
        # Parameters are what people wrote, and hashes of secrets: no error may carry them into a log.
        self.engine: AsyncEngine = create_async_engine(self.url, hide_parameters=True, **options)
        # The same connections, on which PostgreSQL is told of no transaction; SQLite has one only where we begin it.
        self._readers: list[tuple[AsyncConnection, Any]] = []
        self._most_readers = min(READERS, pool_size // 4)  # of a small pool none: they would be missing elsewhere
        self._plain = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def in_use(self) -> float:
        """How many connections are busy now."""
        pool = self.engine.pool
        return float(pool.checkedout() - len(self._readers)) if isinstance(pool, QueuePool) else 0.0

    async def close(self) -> None:
        """Give all connections back."""
        while self._readers:
            await self._readers.pop()[0].close()
        await self.engine.dispose()

    async def look(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `work`, which reads by one statement, without a transaction: no BEGIN and no ROLLBACK go to the database."""
        return await self._attempts(lambda: self._plainly(work))

    async def fetch(self, query: Query, values: Mapping[str, Any]) -> Sequence[Any]:
        """The rows of a compiled query, in one crossing to the database; connections are kept at hand for it."""
        return await self._attempts(lambda: self._fetch(query, values))

    async def read(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `work` in a transaction that writes nothing."""
        return await self._attempts(lambda: self._transact(work, write=False))

    async def write(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit it; after a conflict with another one, run it again from its start.

        `work` must therefore do nothing outside of its session. Raises ServiceUnavailable, StorageFull.
        """
        if not self.is_sqlite:
            return await self._attempts(lambda: self._transact(work, write=True))
        async with self._writer:
            return await self._attempts(lambda: self._transact(work, write=True))

    async def _attempts(self, run: Callable[[], Awaitable[T]]) -> T:
        reconnects = 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await run()
            except (DBAPIError, *_DRIVER_ERRORS, PoolTimeout, OSError) as error:
                fault = diagnose(error)
                if fault is None:
                    raise
                reconnects += fault.is_broken
                if attempt == ATTEMPTS or not (fault.is_conflict or (fault.is_broken and reconnects <= RECONNECTS)):
                    raise fault.error from error
            if fault.is_conflict:
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter, not a secret
        raise AssertionError

    async def _plainly(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        async with self._plain.connect() as connection, AsyncSession(connection, expire_on_commit=False) as session:
            return await work(session)

    async def _fetch(self, query: Query, values: Mapping[str, Any]) -> Sequence[Any]:
        """Past sqlalchemy, which would work longer on the answer than the database on the question."""
        connection, driver = self._readers.pop() if self._readers else await self._reader()
        try:
            rows = await driver.fetch(query.sql, *query.parameters(values))
        except BaseException as error:
            await _drop(connection, diagnose(error))
            raise
        if len(self._readers) < self._most_readers:
            self._readers.append((connection, driver))
        else:
            await connection.close()
        return [query.row(*row) for row in rows]

    async def _reader(self) -> tuple[AsyncConnection, Any]:
        connection = await self._plain.connect()
        return connection, (await connection.get_raw_connection()).driver_connection

    async def _transact(self, work: Callable[[AsyncSession], Awaitable[T]], *, write: bool) -> T:
        async with self.engine.connect() as connection:
            if self.is_sqlite:
                await connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN DEFERRED")
            else:
                await connection.begin()  # the connection's, so that the session does not end it when it closes
            async with AsyncSession(connection, expire_on_commit=False) as session:
                result = await work(session)
                await session.flush()
            if write:
                await _commit(connection)
            return result


class Query:
    """A statement that reads, compiled once for a database. Its values and rows are what the driver takes and gives."""

    def __init__(self, database: Database, statement: Select[Any]) -> None:
        compiled = statement.compile(dialect=database.engine.dialect)
        self.sql = str(compiled)
        """As the driver wants it."""
        self.row = _row_of([column.name for column in statement.selected_columns])
        """Makes a row, whose fields are called as the columns."""
        self._names = tuple(compiled.positiontup or ())
        self._fixed = compiled.params

    def parameters(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values in their order."""
        return tuple(values[name] if name in values else self._fixed[name] for name in self._names)


def _row_of(names: Sequence[str]) -> Any:
    row: Any = namedtuple("Row", names)  # type: ignore[misc]  # noqa: PYI024 - its names are known only here
    return row


async def _drop(connection: AsyncConnection, fault: Fault | None) -> None:
    if fault is not None and fault.is_broken:
        with suppress(Exception):  # sqlalchemy finds out too, and keeps none that is as old
            await connection.exec_driver_sql("SELECT 1")
    with suppress(Exception):
        await connection.invalidate()
        await connection.close()


async def _commit(connection: AsyncConnection) -> None:
    try:
        await connection.commit()
    except DBAPIError as error:
        fault = diagnose(error)
        if fault is not None and fault.is_broken:
            raise fault.error from error  # nobody knows whether it was committed, so nobody runs it again
        raise


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
    is_broken: bool = False
    """The connection was dead: the same work may succeed on another one."""


def diagnose(error: BaseException) -> Fault | None:
    """What a driver's error means; None for a fault of ours."""
    busy = ServiceUnavailable("the database is too busy; try again")
    gone = ServiceUnavailable("the database cannot be reached; try again later")
    if isinstance(error, PoolTimeout):
        return Fault(busy)
    if isinstance(error, OSError):
        return Fault(gone)
    if not isinstance(error, (DBAPIError, *_DRIVER_ERRORS)):
        return None
    said = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(said, "sqlstate", None) or getattr(said, "pgcode", None) or ""
    text = str(said).lower()
    if state in _RETRYABLE_STATES or "database is locked" in text or "database table is locked" in text:
        return Fault(busy, is_conflict=True)
    if state in _FULL_STATES or "disk is full" in text or "disk i/o error" in text:
        return Fault(StorageFull("the database's disk is full, or fails; nothing was written"))
    is_closed = error.connection_invalidated if isinstance(error, DBAPIError) else "connection is closed" in text
    if is_closed or state in _ENDED_STATES or isinstance(error, asyncpg.InternalClientError):
        return Fault(gone, is_broken=True)
    unopened = "unable to open database file" in text or "readonly database" in text
    if state in _GONE_STATES or isinstance(error, InterfaceError) or unopened:
        return Fault(gone)
    return None
