"""The uid of a collection: given by the migration to what was there, and by PostgreSQL to what an older release still makes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from modelkeep_server.database.engine import Database
from modelkeep_server.database.migrate import upgrade
from sqlalchemy import text

from tests.servers import postgres_url

OLD = text(
    "INSERT INTO collection (id, project_id, name, type, description, next_index, create_time, update_time, revision)"
    " VALUES (:id, 1, :name, 'model', '', 0, 0, 0, 1)"
)


async def old(session: Any, first: int, count: int) -> None:
    await session.execute(OLD, [{"id": n, "name": f"c{n}"} for n in range(first, first + count)])


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_every_collection_gets_one_of_its_own(engine: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'metadata.db'}" if engine == "sqlite" else postgres_url()
    folder = Path(str(import_module("modelkeep_server.metadata.store").__file__)).parent / "migrations"
    step = import_module("modelkeep_server.metadata.store.migrations.versions.0004_collection_uid")
    count = step.COLLECTIONS_AT_ONCE + 1
    await upgrade(url, folder, revision="0003")
    database = Database(url)

    async def fill(session: Any) -> None:
        await session.execute(text("INSERT INTO team (name, create_time) VALUES ('t', 0)"))
        project = "(id, team, name, description, create_time, update_time, revision, event_sequence)"
        await session.execute(text(f"INSERT INTO project {project} VALUES (1, 't', 'p', '', 0, 0, 1, 0)"))
        await old(session, 1, count)

    await database.write(fill)
    await upgrade(url, folder)
    if engine == "postgresql":
        await database.write(lambda session: old(session, count + 1, 2))
        count += 2
    uids = (await database.read(lambda session: session.scalars(text("SELECT uid FROM collection")))).all()
    assert len(set(uids)) == len(uids) == count
    assert all(str(UUID(uid)) == uid and UUID(uid).version == 4 for uid in uids)
    await database.close()
