"""Rules of aliases, conditions of commits, and an index of the numbers of each collection that finds the best one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table, the columns and the index; the numbers that are there are in it."""
    op.create_table(
        "alias_rule",
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("goal", sa.String(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("keys", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("creator", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name="fk_alias_rule_collection_id"),
        sa.PrimaryKeyConstraint("collection_id", "alias", name="pk_alias_rule"),
    )
    op.add_column("draft", sa.Column("comparison", sa.Text(), nullable=False, server_default=""))
    op.add_column("version_value", sa.Column("number_in", sa.BigInteger(), nullable=True))
    # As `filtering.keys` writes them: ~=3 before a number and ~=4 before a text, which may hold anything; ~e after a list.
    op.execute(
        "UPDATE version_value SET number_in = (SELECT collection_id FROM version WHERE version.id = version_value.version_id)"
        " WHERE entry LIKE '%~=3%' AND entry NOT LIKE '%~=4%' AND entry NOT LIKE '%~e~=3%'"
    )
    is_number = sa.text("number_in IS NOT NULL")
    op.create_index(
        "ix_version_value_number_in_entry_version_id",
        "version_value",
        ["number_in", "entry", "version_id"],
        sqlite_where=is_number,
        postgresql_where=is_number,
    )
