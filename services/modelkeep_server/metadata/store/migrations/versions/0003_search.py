"""Values of metadata in rows of their own, so that versions can be found and sorted by them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from modelkeep_server.filtering.keys import values_of

revision = "0003"
down_revision = "0002"

VERSIONS_AT_ONCE: Final = 32
_BY_CODE_POINT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the table, and the rows of all versions that there are."""
    table = op.create_table(
        "version_value",
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("entry", _BY_CODE_POINT, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name="fk_version_value_version_id"),
        sa.PrimaryKeyConstraint("version_id", "entry", "ordinal", name="pk_version_value"),
    )
    _fill(table)
    op.create_index("ix_version_value_entry_version_id", "version_value", ["entry", "version_id"])
    op.create_index("ix_version_create_time_uid", "version", ["create_time", "uid"])


def _fill(table: sa.Table) -> None:
    connection = op.get_bind()
    some = sa.text("SELECT id, metadata_json FROM version WHERE id > :after AND metadata_json <> '{}' ORDER BY id LIMIT :limit")
    after = 0
    while versions := connection.execute(some, {"after": after, "limit": VERSIONS_AT_ONCE}).all():
        after = versions[-1].id
        rows = [
            {"version_id": id_, "entry": value.entry, "ordinal": value.ordinal, "text": value.text}
            for id_, metadata_json in versions
            for value in values_of(metadata_json)
        ]
        if rows:
            connection.execute(table.insert(), rows)
