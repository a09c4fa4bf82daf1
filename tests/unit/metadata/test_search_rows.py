"""The rows that searches read: made for old versions by the migration, true after concurrent edits, entered by index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from modelkeep.metadata import MAX_BYTES
from modelkeep_server.database.engine import Database
from modelkeep_server.database.migrate import upgrade
from modelkeep_server.database.paging import Page
from modelkeep_server.filtering.keys import values_of
from modelkeep_server.filtering.parser import parse_query
from modelkeep_server.metadata.convert.search import VERSION_FIELDS
from modelkeep_server.metadata.domain.version import Words
from modelkeep_server.metadata.store.tables import VersionRow, VersionValueRow
from sqlalchemy import event, func, insert, select, text
from sqlmodel import col

from tests.servers import postgres_url
from tests.unit.metadata.rig import CALLER, DIGITS, Rig, call

INDEX = "ix_version_value_entry_version_id"
MANY = 5000


def test_the_migration_reads_a_bounded_amount_at_once() -> None:
    """However large the metadata of each version is."""
    step = import_module("modelkeep_server.metadata.store.migrations.versions.0003_search")
    assert step.VERSIONS_AT_ONCE * MAX_BYTES <= 32 << 20


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_the_migration_makes_the_rows_of_versions_that_were_there(engine: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'metadata.db'}" if engine == "sqlite" else postgres_url()
    folder = Path(str(import_module("modelkeep_server.metadata.store").__file__)).parent / "migrations"
    await upgrade(url, folder, revision="0002")
    metadata = ['{"acc":0.9,"tags":["x",3]}', "{}", '{"acc":"~=3p","deep":{"a.b":-1}}'] * 70  # more than one batch
    database = Database(url)

    async def fill(session: Any) -> None:
        for statement in (
            "INSERT INTO team (name, create_time) VALUES ('t', 0)",
            (
                "INSERT INTO project (id, team, name, description, create_time, update_time, revision, event_sequence)"
                " VALUES (1, 't', 'p', '', 0, 0, 1, 0)"
            ),
            (
                "INSERT INTO collection"
                " (id, project_id, name, type, description, next_index, create_time, update_time, revision)"
                " VALUES (1, 1, 'c', 'model', '', 0, 0, 0, 1)"
            ),
            (
                "INSERT INTO manifest"
                " (layout, digest, segments_digest, entry_count, stored_bytes, referenced_bytes, create_time)"
                " VALUES ('m', 'm', 'm', 0, 0, 0, 0)"
            ),
        ):
            await session.execute(text(statement))
        rows = [{"id": i, "uid": str(i), "number": i, "metadata_json": one} for i, one in enumerate(metadata, 1)]
        version = text(
            "INSERT INTO version (id, uid, collection_id, number, state, digest, manifest, is_target, description, notes,"
            " metadata_json, creator, run, run_display_name, create_time, update_time, revision, delete_actor, delete_reason,"
            " use_count) SELECT :id, :uid, 1, :number, 'committed', layout, layout, false, '', '', :metadata_json, '', '', '',"
            " 0, 0, 1, '', '', 0 FROM manifest"
        )
        await session.execute(version, rows)

    await database.write(fill)
    await upgrade(url, folder)
    table = VersionValueRow.__table__  # type: ignore[attr-defined]
    found = (await database.read(lambda session: session.execute(select(table)))).all()
    rows = {(row.version_id, row.entry, row.ordinal, row.text) for row in found}
    assert rows == {(i, v.entry, v.ordinal, v.text) for i, one in enumerate(metadata, 1) for v in values_of(one)}
    assert len(rows) == 70 * (4 + 3)
    numbers = {(row.version_id, row.entry) for row in found if row.number_in == 1}
    assert numbers == {(i, v.entry) for i, one in enumerate(metadata, 1) for v in values_of(one) if v.is_number}
    assert len(numbers) == 70 * 2
    await database.close()


async def test_edits_at_once_leave_the_rows_of_the_last_one(rig: Rig) -> None:
    version = (await rig.log(metadata_json='{"n":0}')).version
    edits = [
        rig.versions.update_version(call("UpdateVersion"), version.name, Words(metadata_json=f'{{"n":{n},"n{n}":1}}'), "")
        for n in range(1, 7)
    ]
    await asyncio.gather(*edits)
    last = await rig.versions.get_version(CALLER, version.name, show_deleted=False)
    entries = await rig.database.read(lambda session: session.scalars(select(col(VersionValueRow.entry))))
    assert sorted(entries) == sorted(value.entry for value in values_of(last.metadata_json))


@pytest.fixture
async def large() -> AsyncIterator[Rig]:
    """A collection of thousands of versions, on PostgreSQL, among others."""
    database = Database(postgres_url())
    rig = await Rig(database).start()
    await rig.log()
    async with database.engine.begin() as connection:
        first = (await connection.execute(select(VersionRow.__table__))).mappings().one()  # type: ignore[attr-defined]
        rows, values = [], []
        for number in range(1, MANY):
            ids = {"id": first["id"] + number, "uid": f"u{number}", "number": number, "is_target": False}
            rows.append(dict(first) | ids)
            metadata = f'{{"acc":{number / MANY},"epoch":{number},"arch":"net-{number % 3}","tags":["t{number % 500}"]}}'
            mine = {"version_id": ids["id"]}
            values += [mine | {"entry": v.entry, "ordinal": v.ordinal, "text": v.text} for v in values_of(metadata)]
        await connection.execute(insert(VersionRow.__table__), rows)  # type: ignore[attr-defined]
        await connection.execute(insert(VersionValueRow.__table__), values)  # type: ignore[attr-defined]
        await connection.execute(text("ANALYZE"))
    yield rig
    await database.close()


async def plan(rig: Rig, filter_: str, order: str, token: str = "") -> tuple[str, list[int], str]:
    """How PostgreSQL finds a page, what is on it, and the token of the next one."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    engine = rig.database.engine
    event.listen(engine.sync_engine, "before_cursor_execute", note)
    query = parse_query(filter_, order, VERSION_FIELDS)
    page = await rig.versions.list_versions(CALLER, DIGITS, Page(20, token), show_deleted=False, query=query)
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    statement, parameters = next(one for one in seen if one[0].startswith("SELECT version.id"))
    async with engine.connect() as connection:
        lines = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        return "\n".join(line[0] for line in lines), [version.name.number for version in page.items], page.next_token


async def test_postgresql_finds_and_sorts_by_an_index(large: Rig) -> None:
    """A selective comparison reads the entries that fit; an order by metadata reads a page, and sorts no list."""
    assert await large.count(VersionRow) == MANY
    for filter_, expected in {
        "metadata.epoch = 777": [777],
        "metadata.acc > 0.999": [4999, 4998, 4997, 4996],
        "metadata.acc >= 0.1 AND metadata.acc <= 0.1004": [502, 501, 500],
        "metadata.tags:t7": [4507, 4007, 3507, 3007, 2507, 2007, 1507, 1007, 507, 7],
        "metadata.epoch = 3 OR metadata.epoch = 5": [5, 3],
    }.items():
        plan_, found, _ = await plan(large, filter_, "")
        assert found == expected
        assert INDEX in plan_, plan_
    for order, numbers in {"-metadata.acc": [*range(4999, 0, -1)], "metadata.acc": [*range(1, 5000)]}.items():
        token = ""
        for start in (0, 20):
            plan_, found, token = await plan(large, "metadata.arch:*", order, token)
            assert found == numbers[start : start + 20]
            assert INDEX in plan_, plan_
            assert "Sort  (" not in plan_.replace("Incremental Sort  (", ""), plan_
    total = await large.database.read(lambda session: session.scalar(select(func.count()).select_from(VersionValueRow)))
    assert total == (MANY - 1) * 5
