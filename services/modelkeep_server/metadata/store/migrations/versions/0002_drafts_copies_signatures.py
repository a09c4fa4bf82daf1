"""Drafts with a base and many writers, copies, moves, signatures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the tables and columns; what exists has their defaults."""
    _drafts()
    with op.batch_alter_table("version") as version:
        version.add_column(sa.Column("origin", sa.String(), nullable=False, server_default=""))
        version.add_column(sa.Column("origin_uid", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "collection_change",
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("from_collection", sa.String(), nullable=False),
        sa.Column("to_collection", sa.String(), nullable=False),
        sa.Column("change_time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name="fk_collection_change_collection_id"),
        sa.PrimaryKeyConstraint("collection_id", "ordinal", name="pk_collection_change"),
    )
    op.create_table(
        "signature",
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("algorithm", sa.Integer(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("creator", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name="fk_signature_version_id"),
        sa.PrimaryKeyConstraint("version_id", "key_id", name="pk_signature"),
    )


def _drafts() -> None:
    with op.batch_alter_table("draft") as draft:
        draft.add_column(sa.Column("base_manifest", sa.LargeBinary(), nullable=True))
        draft.add_column(sa.Column("base", sa.String(), nullable=False, server_default=""))
        draft.add_column(sa.Column("distributed_id", sa.String(), nullable=True))
        draft.add_column(sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0"))
        draft.create_foreign_key("fk_draft_base_manifest", "manifest", ["base_manifest"], ["layout"])
        draft.create_unique_constraint("uq_draft_collection_id_distributed_id", ["collection_id", "distributed_id"])
    op.create_index("ix_draft_project_id_create_time_id", "draft", ["project_id", "create_time", "id"])
    with op.batch_alter_table("draft_page") as page:
        page.add_column(sa.Column("first_path", sa.LargeBinary(), nullable=True))
        page.add_column(sa.Column("last_path", sa.LargeBinary(), nullable=True))
        page.add_column(sa.Column("entry_count", sa.Integer(), nullable=True))
    op.create_index("ix_draft_page_draft_id_last_path", "draft_page", ["draft_id", "last_path"])
    op.create_index("ix_manifest_page_manifest_last_path", "manifest_page", ["manifest", "last_path"])
