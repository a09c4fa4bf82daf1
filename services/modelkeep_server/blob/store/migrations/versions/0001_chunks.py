"""Chunks, who holds them, what protects them, and the uploads that were granted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chunk",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("confirmed_epoch", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("live_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_chunk"),
    )
    op.create_table(
        "holding",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("team", "digest", name="pk_holding"),
        sa.ForeignKeyConstraint(["digest"], ["chunk.digest"], name="fk_holding_digest"),
    )
    op.create_index("ix_holding_digest", "holding", ["digest"])
    op.create_table(
        "lease",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lease"),
    )
    op.create_index("ix_lease_expire_time", "lease", ["expire_time"])
    op.create_table(
        "lease_chunk",
        sa.Column("lease_id", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("lease_id", "digest", name="pk_lease_chunk"),
        sa.ForeignKeyConstraint(["lease_id"], ["lease.id"], name="fk_lease_chunk_lease_id"),
        sa.ForeignKeyConstraint(["team", "digest"], ["holding.team", "holding.digest"], name="fk_lease_chunk_team"),
    )
    op.create_index("ix_lease_chunk_team_digest", "lease_chunk", ["team", "digest"])
    op.create_table(
        "upload_grant",
        sa.Column("generation", sa.String(), nullable=False),
        sa.Column("lease_id", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("by_url", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("generation", name="pk_upload_grant"),
        sa.ForeignKeyConstraint(["lease_id"], ["lease.id"], name="fk_upload_grant_lease_id"),
    )
    op.create_index("ix_upload_grant_lease_id_digest", "upload_grant", ["lease_id", "digest"])
    op.create_table(
        "tombstone",
        sa.Column("generation", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("due_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("generation", name="pk_tombstone"),
    )
    op.create_index("ix_tombstone_due_time", "tombstone", ["due_time"])


def downgrade() -> None:
    for table in ("tombstone", "upload_grant", "lease_chunk", "lease", "holding", "chunk"):
        op.drop_table(table)
