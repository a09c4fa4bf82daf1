"""What the database says about its own faults, and how little it is asked."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import aiosqlite
import pytest
from modelkeep.errors import ServiceUnavailable
from modelkeep_server.database.engine import Database, Query
from sqlalchemy import Integer, bindparam, event, literal, literal_column, select, text
from sqlalchemy.exc import DBAPIError

from tests import servers


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return servers.postgres_url() if request.param == "postgresql" else f"sqlite:///{tmp_path}/database.sqlite"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    yield database
    await database.close()


@pytest.fixture
async def postgres() -> AsyncIterator[Database]:
    database = Database(servers.postgres_url())
    yield database
    await database.close()


async def driver(session: Any) -> Any:
    """The driver's own connection."""
    return (await (await session.connection()).get_raw_connection()).driver_connection


def test_a_file_that_cannot_be_opened_leaves_no_thread_that_talks_to_a_closed_loop(tmp_path: Path) -> None:
    """What it would say then is an error of this test, by the rules for all of them."""

    async def ask() -> None:
        database = Database(f"sqlite:///{tmp_path}/missing/database.sqlite")
        with pytest.raises(ServiceUnavailable):
            await database.look(lambda session: session.execute(text("SELECT 1")))
        await database.close()

    for _ in range(30):
        asyncio.run(ask())


class Listening:
    """Stands before the protocol of asyncpg, and notes what goes to the server."""

    def __init__(self, protocol: Any, seen: list[str]) -> None:
        self._protocol = protocol
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._protocol, name)
        if name not in {"prepare", "bind_execute", "query", "execute"}:
            return method

        def noted(*args: Any, **kwargs: Any) -> Any:
            what = kwargs.get("state", args[0] if args else "")
            self._seen.append(getattr(what, "query", what))
            return method(*args, **kwargs)

        return noted


async def listen(session: Any, seen: list[str]) -> None:
    """Note in `seen` all that goes to the database over this connection."""
    await tap(await driver(session), seen)


async def tap(connection: Any, seen: list[str]) -> None:
    """Note in `seen` all that goes to the database over this driver's connection."""
    if isinstance(connection, aiosqlite.Connection):
        await connection.set_trace_callback(seen.append)
    else:
        connection._protocol = Listening(connection._protocol, seen)


async def test_an_unexpected_error_says_nothing_of_what_people_wrote(database):
    with pytest.raises(DBAPIError, match="no_such_table") as raised:
        await database.write(lambda session: session.execute(text("DELETE FROM no_such_table WHERE a = :a"), {"a": "secret"}))
    assert "secret" not in str(raised.value)


async def test_a_look_is_one_statement_to_the_database_itself(database):
    """No BEGIN, no ROLLBACK and no ping: counted in the driver."""
    seen: list[str] = []

    question = Query(database, select((literal(1) + bindparam("more", type_=Integer)).label("sum")))
    reader = await database._reader()
    await tap(reader[1], seen)
    database._readers.append(reader)
    await database.look(lambda session: listen(session, seen))
    await database.look(lambda session: session.execute(text("SELECT 1")))
    await database.fetch(question, {"more": 2})
    seen.clear()
    assert await database.look(lambda session: session.scalar(text("SELECT 1"))) == 1
    assert [tuple(row) for row in await database.fetch(question, {"more": 2})] == [(3,)]
    assert len(seen) == 2
    await database.read(lambda session: session.scalar(text("SELECT 1")))
    assert [one.split()[0].rstrip(";") for one in seen[2:]] == ["BEGIN", "SELECT", "ROLLBACK"]


async def test_every_statement_crosses_to_the_thread_of_sqlite_once(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/database.sqlite")
    crossings: list[str] = []

    async def count(session: Any) -> None:
        connection = await driver(session)
        cross = connection._execute

        async def crossing(function: Any, *args: Any) -> Any:
            crossings.append(str(args))
            return await cross(function, *args)

        connection._execute = crossing

    await database.look(count)
    await database.look(lambda session: session.scalar(text("SELECT 1")))
    assert len(crossings) == 1
    await database.read(lambda session: session.scalar(text("SELECT 1")))
    assert len(crossings) == 1 + 3
    await database.write(lambda session: session.execute(text("CREATE TABLE a (b INTEGER)")))
    assert len(crossings) == 1 + 3 + 3
    await database.close()


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i % 7 FROM n) SELECT max(i) AS i FROM n"


@pytest.mark.parametrize("way", ["read", "write", "look", "fetch"])
async def test_a_statement_that_nobody_waits_for_is_ended(url, way):
    """It would go on for ever, and have the only connection."""
    database = Database(url, pool_size=1, busy_seconds=60)
    if way == "fetch":
        asked = database.fetch(Query(database, select(literal_column(f"({ENDLESS})").label("i"))), {})
    else:
        asked = getattr(database, way)(lambda session: session.scalar(text(ENDLESS)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asked, 0.2)
    assert await database.read(lambda session: session.scalar(text("SELECT 1"))) == 1
    await database.close()


async def test_a_statement_is_ended_also_when_nobody_waits_for_it_as_it_begins(tmp_path, monkeypatch):
    """SQLite forgets an interruption that comes a moment before the statement: it would go on for ever."""
    interrupted, sheltered = Event(), Event()

    class Late(sqlite3.Connection):
        def cursor(self, *args: Any) -> sqlite3.Cursor:
            if sheltered.is_set():
                sheltered.clear()
                assert interrupted.wait(60)
            return super().cursor(*args)

        def interrupt(self) -> None:
            super().interrupt()
            interrupted.set()

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Late))
    database = Database(f"sqlite:///{tmp_path}/database.sqlite", pool_size=1)
    begun = asyncio.Event()

    async def work(session: Any) -> None:
        sheltered.set()
        begun.set()
        await session.execute(text(ENDLESS))

    asked = asyncio.create_task(database.read(work))
    await begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert interrupted.is_set()
    assert await database.read(lambda session: session.scalar(text("SELECT 1"))) == 1
    await database.close()


async def test_sqlite_answers_as_a_driver_should(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/database.sqlite")

    async def work(session: Any) -> tuple[Any, ...]:
        await session.execute(text("CREATE TABLE a (id INTEGER PRIMARY KEY, b TEXT)"))
        many = await session.execute(text("INSERT INTO a (b) VALUES (:b)"), [{"b": "x"}, {"b": "y"}])
        one = await session.execute(text("INSERT INTO a (b) VALUES ('z') RETURNING id"))
        changed = await session.execute(text("UPDATE a SET b = 'w' WHERE id > 1"))
        rows = await session.execute(text("SELECT id, b FROM a ORDER BY id"))
        return many.rowcount, one.scalar_one(), changed.rowcount, [tuple(row) for row in rows]

    assert await database.write(work) == (2, 3, 2, [(1, "x"), (2, "w"), (3, "w")])
    await database.close()
    with sqlite3.connect(tmp_path / "database.sqlite") as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(("pool_size", "kept"), [(1, 0), (10, 2)])
async def test_look_ups_keep_few_connections_and_never_the_last(url, pool_size, kept):
    database = Database(url, pool_size=pool_size, busy_seconds=5)
    question = Query(database, select(literal(1).label("one")))
    await asyncio.gather(*(database.fetch(question, {}) for _ in range(4)))
    assert database.engine.pool.checkedout() == kept
    assert database.in_use() == 0
    assert await database.read(lambda session: session.scalar(text("SELECT 1"))) == 1
    await database.close()


async def test_dead_connections_are_replaced_unseen(postgres):
    """There is no ping before each use; whatever runs into a dead connection runs again on another one."""
    other = Database(postgres.url.render_as_string(hide_password=False))
    question = Query(postgres, select(literal(1).label("one")))
    for use in (
        lambda: postgres.read(lambda session: session.scalar(text("SELECT 1"))),
        lambda: postgres.write(lambda session: session.scalar(text("SELECT 1"))),
        lambda: postgres.look(lambda session: session.scalar(text("SELECT 1"))),
        lambda: postgres.fetch(question, {}),
    ):
        await use()
        ended = await other.look(
            lambda session: session.scalar(
                text(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        )
        assert ended >= 1
        assert await use()
    await other.close()


FAREWELL = b"SFATAL\x00C57P01\x00Mterminating connection due to administrator command\x00\x00"
"""What a PostgreSQL that ends sends to whoever is connected, before it closes the connection."""


@pytest.mark.parametrize("way", ["read", "write", "look", "fetch"])
async def test_a_connection_that_was_told_of_its_end_is_not_used_again(postgres, way):
    """The end itself has not arrived yet: asyncpg neither calls it closed nor can use it."""
    question = Query(postgres, select(literal(1).label("one")))
    told: list[Any] = []

    async def tell(session: Any) -> None:
        told.append(await driver(session))

    await asyncio.gather(*(postgres.read(tell) for _ in range(2)))
    await postgres.fetch(question, {})
    for connection in {*told, *(reader[1] for reader in postgres._readers)}:
        connection._transport.get_protocol().data_received(b"E" + (len(FAREWELL) + 4).to_bytes(4, "big") + FAREWELL)
    if way == "fetch":
        assert len(await postgres.fetch(question, {})) == 1
    else:
        assert await getattr(postgres, way)(lambda session: session.scalar(text("SELECT 1"))) == 1


async def test_a_look_up_survives_a_pool_of_dead_connections(postgres):
    """One that is dead says that all before it are, as when the database was restarted."""
    question = Query(postgres, select(literal(1).label("one")))
    together = asyncio.Barrier(8)

    async def work(session: Any) -> Any:
        found = await driver(session)
        await together.wait()
        return found

    dead = await asyncio.gather(*(postgres.read(work) for _ in range(8)))
    for one in dead:
        one.terminate()
    assert len(await postgres.fetch(question, {})) == 1


async def test_work_whose_connection_dies_runs_again_from_its_start(postgres):
    await postgres.write(lambda session: session.execute(text("CREATE TABLE a (b INTEGER)")))
    runs = 0

    async def work(session: Any) -> None:
        nonlocal runs
        runs += 1
        await session.execute(text("INSERT INTO a VALUES (1)"))
        if runs == 1:
            (await driver(session)).terminate()
        await session.execute(text("INSERT INTO a VALUES (2)"))

    await postgres.write(work)
    assert runs == 2
    assert (await postgres.read(lambda session: session.scalars(text("SELECT b FROM a ORDER BY b")))).all() == [1, 2]


async def test_a_commit_that_may_have_happened_is_not_run_again(postgres):
    runs = 0

    async def work(session: Any) -> None:
        nonlocal runs
        runs += 1
        await session.execute(text("SELECT 1"))

    def cut(connection: Any) -> None:
        connection.connection.dbapi_connection.driver_connection.terminate()

    event.listen(postgres.engine.sync_engine, "commit", cut)
    with pytest.raises(ServiceUnavailable):
        await postgres.write(work)
    assert runs == 1
