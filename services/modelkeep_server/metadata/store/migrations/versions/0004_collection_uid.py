"""Collections get an identity that outlives their names."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

COLLECTIONS_AT_ONCE: Final = 1000


def upgrade() -> None:
    """Add the column, and a uid for each collection that there is."""
    # What the release before this one still makes, while processes are replaced one by one, gets one from PostgreSQL.
    given = sa.text("gen_random_uuid()") if op.get_bind().dialect.name == "postgresql" else ""
    op.add_column("collection", sa.Column("uid", sa.String(), nullable=False, server_default=given))
    _fill()
    op.create_index("ix_collection_uid", "collection", ["uid"], unique=True)


def _fill() -> None:
    connection = op.get_bind()
    some = sa.text("SELECT id FROM collection WHERE uid = '' ORDER BY id LIMIT :limit")
    name = sa.text("UPDATE collection SET uid = :uid WHERE id = :id")
    while ids := connection.scalars(some, {"limit": COLLECTIONS_AT_ONCE}).all():
        connection.execute(name, [{"id": id_, "uid": str(uuid4())} for id_ in ids])
