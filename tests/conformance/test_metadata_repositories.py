"""The suite of `metadata_repositories.py` on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database
from modelkeep_server.metadata.ports.transactions import Transactions
from modelkeep_server.metadata.store import tables
from modelkeep_server.metadata.store.unit_of_work import SqlTransactions

from tests.conformance.metadata_repositories import RepositorySuite
from tests.databases import copied


async def made(url: str) -> None:
    """Make the tables."""
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(tables.metadata.create_all)
    await database.close()


async def opened(engine: str, folder: Path, clock: Clock) -> AsyncIterator[Transactions]:
    """Transactions on a fresh database."""
    async with copied(engine, folder, made) as url:
        database = Database(url)
        yield SqlTransactions(database, clock)
        await database.close()


class Engine(RepositorySuite):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()


class TestSqlite(Engine):
    @pytest.fixture
    async def transactions(self, tmp_path: Path, clock: Clock) -> AsyncIterator[Transactions]:
        async for transactions in opened("sqlite", tmp_path, clock):
            yield transactions


class TestPostgresql(Engine):
    @pytest.fixture
    async def transactions(self, tmp_path: Path, clock: Clock) -> AsyncIterator[Transactions]:
        async for transactions in opened("postgresql", tmp_path, clock):
            yield transactions
