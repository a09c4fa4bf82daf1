"""Rows of runs, and of what they are searched by."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text, UniqueConstraint
from sqlmodel import Field

from modelkeep_server.database.tables import BY_CODE_POINT, id_field, ref, text_field, time
from modelkeep_server.lineage.store.tables.base import Table


class RunRow(Table, table=True):
    """A run. Of one that was deleted the row stays, without its words, so that its id is never another's."""

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("team", "project", "run"),
        Index("ix_run_team_project_start_time_id", "team", "project", "start_time", "id"),
        Index("ix_run_team_start_time_id", "team", "start_time", "id"),
    )
    id: int | None = id_field()
    team: str
    project: str
    run: str
    """The last part of its name."""
    display_name: str = text_field()
    state: str
    """A name of domain.run.RunState; never CRASHED."""
    job_type: str = text_field()
    group_name: str = text_field()
    notes: str = text_field()
    config_json: str = Field(default="{}", sa_type=Text)
    summary_json: str = Field(default="{}", sa_type=Text)
    repository_url: str = text_field()
    commit_id: str = text_field()
    branch: str = text_field()
    is_dirty: bool = False
    code_version: str = text_field()
    entry_point: str = text_field()
    arguments: str = Field(default="[]", sa_type=Text)
    """A JSON list."""
    host: str = text_field()
    user_name: str = text_field()
    operating_system: str = text_field()
    python_version: str = text_field()
    packages: str = Field(default="[]", sa_type=Text)
    """A JSON list."""
    creator: str
    start_time: datetime = time()
    end_time: datetime | None = time(nullable=True)
    heartbeat_time: datetime = time()
    update_time: datetime = time()
    revision: int = 1
    """Rises with each edit of its words; the etag is its text."""
    resume_count: int = 0
    metric_count: int = 0
    """How many metrics it has, and the number of the next one."""
    delete_time: datetime | None = time(nullable=True)
    delete_actor: str = ""
    delete_reason: str = text_field()


class RunTagRow(Table, table=True):
    """A tag on a run."""

    __tablename__ = "run_tag"
    __table_args__ = (Index("ix_run_tag_tag_run_id", "tag", "run_id"),)
    run_id: int = ref("run.id", primary_key=True)
    tag: str = Field(primary_key=True)


class ConfigValueRow(Table, table=True):
    """One value in the config of a run, as `filtering.keys` writes it; kept in the transaction of each edit."""

    __tablename__ = "config_value"
    __table_args__ = (Index("ix_config_value_entry_run_id", "entry", "run_id"),)
    run_id: int = ref("run.id", primary_key=True)
    entry: str = Field(primary_key=True, sa_type=BY_CODE_POINT)
    """Where the value is, and what: text that sorts as the values do."""
    ordinal: int = Field(primary_key=True)
    """Of an element in its list; else 0."""
    text: str | None = Field(default=None, sa_type=Text)
    """The whole text, of text."""


class SummaryValueRow(Table, table=True):
    """One value in the summary of a run, in the same way."""

    __tablename__ = "summary_value"
    __table_args__ = (Index("ix_summary_value_entry_run_id", "entry", "run_id"),)
    run_id: int = ref("run.id", primary_key=True)
    entry: str = Field(primary_key=True, sa_type=BY_CODE_POINT)
    ordinal: int = Field(primary_key=True)
    text: str | None = Field(default=None, sa_type=Text)
