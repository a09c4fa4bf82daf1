"""Runs, and what they measured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _requests()


def _requests() -> None:
    op.create_table(
        "request",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("team", "method", "request_id", name="pk_request"),
    )
    op.create_index("ix_request_expire_time", "request", ["expire_time"])
