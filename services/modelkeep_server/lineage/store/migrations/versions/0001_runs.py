"""Runs, and what they measured."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite numbers rows only in a column that is literally INTEGER.
ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BY_CODE_POINT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    _runs()
    _tags()
    _values("config_value")
    _values("summary_value")
    _metrics()
    _requests()


def _text(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _runs() -> None:
    op.create_table(
        "run",
        sa.Column("id", ID, nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        *_text("display_name"),
        sa.Column("state", sa.String(), nullable=False),
        *_text("job_type", "group_name", "notes", "config_json", "summary_json", "repository_url", "commit_id", "branch"),
        sa.Column("is_dirty", sa.Boolean(), nullable=False),
        *_text("code_version", "entry_point", "arguments", "host", "user_name", "operating_system", "python_version"),
        *_text("packages"),
        sa.Column("creator", sa.String(), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.Column("heartbeat_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("resume_count", sa.Integer(), nullable=False),
        sa.Column("metric_count", sa.Integer(), nullable=False),
        sa.Column("delete_time", sa.BigInteger(), nullable=True),
        sa.Column("delete_actor", sa.String(), nullable=False),
        *_text("delete_reason"),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.UniqueConstraint("team", "project", "run", name="uq_run_team_project_run"),
    )
    op.create_index("ix_run_team_project_start_time_id", "run", ["team", "project", "start_time", "id"])
    op.create_index("ix_run_team_start_time_id", "run", ["team", "start_time", "id"])


def _tags() -> None:
    op.create_table(
        "run_tag",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_tag_run_id"),
        sa.PrimaryKeyConstraint("run_id", "tag", name="pk_run_tag"),
    )
    op.create_index("ix_run_tag_tag_run_id", "run_tag", ["tag", "run_id"])


def _values(name: str) -> None:
    op.create_table(
        name,
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("entry", _BY_CODE_POINT, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=f"fk_{name}_run_id"),
        sa.PrimaryKeyConstraint("run_id", "entry", "ordinal", name=f"pk_{name}"),
    )
    op.create_index(f"ix_{name}_entry_run_id", name, ["entry", "run_id"])


def _metrics() -> None:
    op.create_table(
        "metric",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key", _BY_CODE_POINT, nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("point_count", sa.BigInteger(), nullable=False),
        sa.Column("last_value", sa.Double(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("min_value", sa.Double(), nullable=True),
        sa.Column("max_value", sa.Double(), nullable=True),
        sa.Column("steps_went_back", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_metric_run_id"),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_metric"),
        sa.UniqueConstraint("run_id", "key", name="uq_metric_run_id_key"),
    )
    op.create_table(
        "metric_point",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("metric", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("time_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "metric", "ordinal", name="pk_metric_point"),
        sqlite_with_rowid=False,
    )


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
