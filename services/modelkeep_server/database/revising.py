"""Runs Alembic. Only `migrate` imports this, and only when there is something to do: Alembic takes half a second to load."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from modelkeep_server.database.engine import Database, diagnose
from modelkeep_server.database.migrate import MigrationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, MetaData
    from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

_LOCK_KEY: Final = 0x6D6F64656C6B6570
"""The advisory lock of PostgreSQL under which a database is migrated; such locks belong to one database."""

_one_at_a_time = threading.Lock()
"""Alembic keeps the running migration in globals of its modules."""


def upgrade(url: str, folder: Path, revision: str) -> None:
    """Run what is missing up to `revision`, in one transaction. Raises MigrationError, ServiceUnavailable."""
    _locked(url, lambda connection: _upgrade(connection, folder, revision))


def differences(url: str, metadata: MetaData) -> list[str]:
    """What `metadata` says and the database does not have, or the other way round, one line each."""

    def compare(connection: Connection) -> list[str]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [repr(difference) for difference in compare_metadata(context, metadata)]

    return _locked(url, compare)


def revisions(folder: Path) -> list[str]:
    """The ids of all revisions of the tree in `folder`, oldest first."""
    return [script.revision for script in ScriptDirectory(str(folder)).walk_revisions()][::-1]


def _upgrade(connection: Connection, folder: Path, revision: str) -> None:
    scripts = ScriptDirectory(str(folder))

    def steps(current: object, _context: object) -> object:
        return scripts._upgrade_revs(revision, current)  # type: ignore[arg-type]  # noqa: SLF001 - as alembic's own command does

    with EnvironmentContext(Config(), scripts, fn=steps, destination_rev=revision) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        try:
            environment.run_migrations()
        except CommandError as error:
            message = (
                f"cannot migrate this database: {error}. It was made by a newer release, or belongs to another service; "
                "run the release that made it, or point database_url at a database of this service's own"
            )
            raise MigrationError(message) from error
    if connection.dialect.name == "sqlite" and (broken := connection.execute(text("PRAGMA foreign_key_check")).first()):
        raise MigrationError(f"the migration would leave a row that points nowhere: {tuple(broken)}")


def _locked(url: str, work: Callable[[Connection], T]) -> T:
    """Run `work` in a loop of its own, in this thread, while no other thread or process migrates the same database."""
    with _one_at_a_time:
        return asyncio.run(_in_transaction(url, work))


async def _in_transaction(url: str, work: Callable[[Connection], T]) -> T:
    database = Database(url, pool_size=1)
    try:
        if database.is_sqlite and database.url.database:
            _make_folder(Path(database.url.database).parent)
        async with database.engine.connect() as connection:
            await _begin(connection, database)
            result = await connection.run_sync(work)
            await connection.commit()
            return result
    except (DBAPIError, OSError) as error:
        if (fault := diagnose(error)) is None:
            raise
        raise fault.error from error
    finally:
        await database.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = (
            f"cannot make the folder {folder} of the database: {error.strerror}; "
            "choose another one with --data, or with database_url"
        )
        raise MigrationError(message) from error


async def _begin(connection: AsyncConnection, database: Database) -> None:
    if database.is_sqlite:
        # SQLite changes a table by copying it, which foreign keys would take for a deletion; they are checked at the end.
        await connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        await connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
