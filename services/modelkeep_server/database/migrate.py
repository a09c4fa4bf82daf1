"""Brings a database to the tables that the code expects: one tree of Alembic revisions per service, the same on both engines.

A service keeps its revisions in `store/migrations/versions/`, one step per file, named by what it does. There is no `env.py`:
`revising.py` is it. An upgrade is one transaction, which two processes never run at once: on PostgreSQL it holds an advisory
lock, on SQLite it begins with BEGIN IMMEDIATE. So replicas may all migrate at their start, and a crash leaves the old tables.

A database that is up to date, as at nearly every start, is recognised by one query, without Alembic.
"""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkeep.errors import ModelkeepError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from modelkeep_server.database.engine import Database

if TYPE_CHECKING:
    from sqlalchemy import MetaData


class MigrationError(Exception):
    """The database cannot be brought to the tables that this release expects; nothing was changed."""


async def upgrade(url: str, folder: Path, *, revision: str = "head") -> None:
    """Run what is missing up to `revision` of the tree in `folder`, in one transaction.

    Makes the folder of a SQLite file. Raises MigrationError when that fails, or the database is at a revision that the tree
    does not know; ServiceUnavailable when the database cannot be reached.
    """
    if revision == "head" and (head := _head(folder)) and await _at(url) == [head]:
        return
    await asyncio.to_thread(_alembic().upgrade, url, folder, revision)


async def differences(url: str, metadata: MetaData) -> list[str]:
    """What `metadata` says and the database does not have, or the other way round, one line each; empty when they are equal."""
    found: list[str] = await asyncio.to_thread(_alembic().differences, url, metadata)
    return found


def revisions(folder: Path) -> list[str]:
    """The ids of all revisions of the tree in `folder`, oldest first."""
    found: list[str] = _alembic().revisions(folder)
    return found


def _alembic() -> Any:
    from modelkeep_server.database import revising  # noqa: PLC0415 - it takes half a second

    return revising


async def _at(url: str) -> list[str]:
    """The revisions that a database is at; none when it cannot tell: it is new, or away."""
    database = Database(url, pool_size=1, busy_seconds=1)
    if _is_missing(database):
        return []
    try:
        rows = await database.look(lambda session: session.scalars(text("SELECT version_num FROM alembic_version")))
        return [str(row) for row in rows]
    except (DBAPIError, ModelkeepError):
        return []
    finally:
        await database.close()


def _is_missing(database: Database) -> bool:
    """Whether there is no file yet; to ask it anything would make one."""
    return database.is_sqlite and not Path(database.url.database or "").is_file()


def _head(folder: Path) -> str:
    """The newest revision of a tree without branches, as its files say; empty when they cannot be read so simply."""
    steps = [_names(path) for path in sorted((folder / "versions").glob("*.py"))]
    heads = {step.get("revision") for step in steps} - {step.get("down_revision") for step in steps}
    head = heads.pop() if len(heads) == 1 else None
    return head if isinstance(head, str) else ""


def _names(path: Path) -> dict[str, object]:
    """What the assignments of a file give to names, as far as they are written out."""
    found: dict[str, object] = {}
    for node in ast.parse(path.read_bytes()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                found[name] = value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                pairs = zip(names, values, strict=False)
                found |= {n.id: v.value for n, v in pairs if isinstance(n, ast.Name) and isinstance(v, ast.Constant)}
    return found
