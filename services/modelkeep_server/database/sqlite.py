"""Connections to SQLite that cross to their thread once per statement.

aiosqlite gives each connection a thread, and crosses to it to make a cursor, to execute, to fetch and to close. A crossing
costs more than most of our statements do, so here a statement is executed and all of its rows are fetched in one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from threading import Lock, Thread
from typing import Any, Final, Self

import aiosqlite

_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY")
_LAST_WORD_SECONDS: Final = 10.0
"""How long a connection that failed, or that nobody waits for any more, may take to end."""
_AGAIN_SECONDS: Final = 0.05
"""When to interrupt once more what goes on: SQLite forgets an interruption of a statement that is only about to begin."""


async def connect(path: str, **options: Any) -> Connection:
    """A connection to a file, as sqlalchemy asks for it. The driver begins no transactions of its own; we do."""

    def open_file() -> sqlite3.Connection:
        connection: sqlite3.Connection = sqlite3.connect(path, **options, isolation_level=None)
        try:
            connection.create_function("now_micros", 0, lambda: time.time_ns() // 1000)
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").close()
        except BaseException:
            connection.close()
            raise
        return connection

    connection = Connection(open_file, 64)
    # In older releases of aiosqlite a connection is a thread itself.
    thread: Any = connection if isinstance(connection, Thread) else connection._thread  # noqa: SLF001 - as sqlalchemy does
    thread.daemon = True
    try:
        await connection
    except BaseException:
        # Its thread has a last word for this loop, which is not closed before what its executor does is over.
        asyncio.get_running_loop().run_in_executor(None, thread.join, _LAST_WORD_SECONDS)
        raise
    return connection


class Connection(aiosqlite.Connection):
    """One file, one thread."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._asked = 0
        self._done = 0
        self._given_up = 0
        self._ending = Lock()
        """Had while a statement is counted as done, so that none but the one that is meant is interrupted."""

    def cursor(self) -> Cursor:  # type: ignore[override]  # what sqlalchemy wants of a driver
        """For one statement."""
        return Cursor(self)

    async def rollback(self) -> None:
        """End the transaction, if there is one."""
        # What a cancelled task asked for may still run, and begin one.
        if self._asked != self._done or self.in_transaction:
            await super().rollback()

    async def fetch(self, sql: str, *parameters: Any) -> list[Any]:
        """The rows that a statement reads."""
        return (await self.perform("execute", sql, parameters))[-1]

    async def perform(self, method: str, sql: str, parameters: Any) -> _Outcome:
        """Execute a statement and fetch its rows, in the thread. Who is cancelled meanwhile has it interrupted."""
        self._asked += 1
        number = self._asked
        try:
            outcome: _Outcome = await self._execute(self._perform, number, method, sql, parameters)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            # Nobody waits for it, and it may go on for minutes: its connection would be missing to all others.
            self._given_up = number
            self._interrupt(number, self._conn)
            raise
        return outcome

    def _interrupt(self, number: int, connection: sqlite3.Connection) -> None:
        with self._ending:
            if self._done >= number:
                return
            connection.interrupt()
        asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._interrupt, number, connection)

    def _perform(self, number: int, method: str, sql: str, parameters: Any) -> _Outcome:
        try:
            if number <= self._given_up:
                raise sqlite3.OperationalError("interrupted")
            cursor = self._conn.cursor()
            try:
                getattr(cursor, method)(sql, parameters)
                rows = cursor.fetchall() if cursor.description else []
                return cursor.description, cursor.rowcount, cursor.lastrowid, rows
            finally:
                cursor.close()
        finally:
            with self._ending:
                self._done += 1


_Outcome = tuple[Any, int, int | None, list[Any]]
"""A description of the rows, how many there were written, the last id, and the rows."""


class Cursor:
    """What one statement answered: the part of a driver's cursor that sqlalchemy uses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, operation: str, parameters: Any = ()) -> None:
        """Execute a statement."""
        await self._run("execute", operation, parameters)

    async def executemany(self, operation: str, parameters: Sequence[Any]) -> None:
        """Execute it with each of these parameters."""
        await self._run("executemany", operation, parameters)

    async def fetchall(self) -> list[Any]:
        """Its rows, which are here already."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Forget the rows."""
        self._rows = []

    async def _run(self, method: str, sql: str, parameters: Any) -> None:
        outcome = await self._connection.perform(method, sql, parameters)
        self.description, self.rowcount, self.lastrowid, self._rows = outcome
