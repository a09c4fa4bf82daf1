"""Rows of projects."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field

from modelkeep_server.database.tables import id_field, text_field, time
from modelkeep_server.metadata.store.tables.base import Table


class ProjectRow(Table, table=True):
    """A project, and the counter of its event log."""

    __tablename__ = "project"
    __table_args__ = (UniqueConstraint("team", "name"),)
    id: int | None = id_field()
    team: str = Field(foreign_key="team.name")
    name: str
    description: str = text_field()
    create_time: datetime = time()
    update_time: datetime = time()
    revision: int = 1
    """Rises with each edit; the etag is its text."""
    event_sequence: int = Field(default=0, sa_type=BigInteger)
    """The last event's number; updated as the last statement of a transaction (SEM-58)."""
