"""The migration runner, on both engines (HOUSE §10)."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from modelkeep.errors import ServiceUnavailable
from modelkeep_server.database import migrate
from modelkeep_server.database.engine import Database
from modelkeep_server.database.migrate import MigrationError, differences, revisions, upgrade
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, text

from tests import servers

FIRST = """
revision, down_revision = "0001", None
import sqlalchemy as sa
from alembic import op
def upgrade():
    op.create_table("shelf", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(10), nullable=False))
    op.create_table("book", sa.Column("id", sa.Integer, primary_key=True),
                    sa.Column("shelf", sa.Integer, sa.ForeignKey("shelf.id", ondelete="CASCADE"), nullable=False))
"""
SECOND = """
revision, down_revision = "0002", "0001"
import sqlalchemy as sa
from alembic import op
def upgrade():
    with op.batch_alter_table("shelf") as batch:
        batch.alter_column("name", type_=sa.String(20), existing_nullable=False)
        batch.add_column(sa.Column("place", sa.Integer, nullable=False, server_default="0"))
"""
BROKEN = """
revision, down_revision = "0003", "0002"
from alembic import op
def upgrade():
    op.drop_table("book")
    op.execute("SELECT no_such_column FROM shelf")
"""

TABLES = MetaData()
Table(
    "shelf",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("name", String(20), nullable=False),
    Column("place", Integer, nullable=False, server_default="0"),
)
Table(
    "book",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("shelf", ForeignKey("shelf.id", ondelete="CASCADE"), nullable=False),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return servers.postgres_url() if request.param == "postgresql" else f"sqlite:///{tmp_path}/made/here.sqlite"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "versions" / "0001_shelves.py").write_text(FIRST)
    (folder / "versions" / "0002_places.py").write_text(SECOND)
    return folder


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    database = Database(url)
    try:
        return await database.read(lambda session: _fetch(session, query))
    finally:
        await database.close()


async def _fetch(session, query):
    return [tuple(row) for row in await session.execute(text(query))]


async def execute(url: str, *statements: str) -> None:
    database = Database(url)

    async def run(session):
        for statement in statements:
            await session.execute(text(statement))

    await database.write(run)
    await database.close()


async def test_up_on_an_empty_database_gives_the_models_tables(url, tree):
    await upgrade(url, tree)
    await upgrade(url, tree)  # nothing is missing now
    assert await differences(url, TABLES) == []
    assert await rows(url, "SELECT version_num FROM alembic_version") == [("0002",)]


async def test_differences_names_what_the_models_have_more(url, tree):
    await upgrade(url, tree, revision="0001")
    assert any("place" in line for line in await differences(url, TABLES))


async def test_up_from_an_old_revision_keeps_the_rows(url, tree):
    await upgrade(url, tree, revision="0001")
    await execute(url, "INSERT INTO shelf (id, name) VALUES (1, 'a')", "INSERT INTO book (id, shelf) VALUES (7, 1)")
    await upgrade(url, tree)
    assert await rows(url, "SELECT id, name, place FROM shelf") == [(1, "a", 0)]
    assert await rows(url, "SELECT id FROM book") == [(7,)]


async def test_a_failing_step_leaves_everything_as_it_was(url, tree):
    await upgrade(url, tree, revision="0001")
    await execute(url, "INSERT INTO shelf (id, name) VALUES (1, 'a')")
    (tree / "versions" / "0003_broken.py").write_text(BROKEN)
    with pytest.raises(Exception, match="no_such_column"):
        await upgrade(url, tree)
    assert await rows(url, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert await rows(url, "SELECT id FROM book") == []
    assert await rows(url, "SELECT * FROM shelf") == [(1, "a")]


async def test_replicas_may_migrate_at_once(url, tree):
    await asyncio.gather(*(upgrade(url, tree) for _ in range(4)))
    assert await differences(url, TABLES) == []


async def test_a_revision_of_somebody_else_is_refused_with_a_way_out(url, tree):
    await upgrade(url, tree)
    await execute(url, "UPDATE alembic_version SET version_num = 'ffff'")
    with pytest.raises(MigrationError, match=r"ffff.*newer release"):
        await upgrade(url, tree)


async def test_a_database_that_is_away_is_unavailable(tree):
    with pytest.raises(ServiceUnavailable):
        await upgrade("postgresql://nobody@127.0.0.1:1/none", tree)


def test_revisions_are_listed_oldest_first(tree):
    assert revisions(tree) == ["0001", "0002"]


async def test_a_database_that_is_up_to_date_needs_no_alembic(url, tree, monkeypatch):
    """Nearly every start finds nothing to do, and Alembic takes half a second to load."""
    await upgrade(url, tree)
    monkeypatch.setattr(migrate, "_alembic", lambda: pytest.fail("there was nothing to do"))
    await upgrade(url, tree)


async def test_a_new_step_is_never_overlooked(url, tree):
    newest = (tree / "versions" / "0002_places.py").rename(tree / "later")
    await upgrade(url, tree)
    assert await differences(url, TABLES)
    newest.rename(tree / "versions" / "0002_places.py")
    await upgrade(url, tree)
    assert await differences(url, TABLES) == []


def test_a_server_starts_without_what_it_may_not_need():
    """These are slow to load, and only some starts use them."""
    code = "import sys, modelkeep_server.main; print({'alembic', 'mako', 'minio'} & set(sys.modules) or 'none')"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "none"
