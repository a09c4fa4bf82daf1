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
from tests.servers import postgres_url


async def opened(url: str, clock: Clock) -> AsyncIterator[Transactions]:
    """Transactions on a fresh database."""
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(tables.metadata.create_all)
    yield SqlTransactions(database, clock)
    await database.close()


class Engine(RepositorySuite):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()


class TestSqlite(Engine):
    @pytest.fixture
    async def transactions(self, tmp_path: Path, clock: Clock) -> AsyncIterator[Transactions]:
        async for transactions in opened(f"sqlite:///{tmp_path / 'metadata.db'}", clock):
            yield transactions


class TestPostgresql(Engine):
    @pytest.fixture
    async def transactions(self, clock: Clock) -> AsyncIterator[Transactions]:
        async for transactions in opened(postgres_url(), clock):
            yield transactions
