"""Rows of teams and keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, LargeBinary
from sqlmodel import Field

from modelkeep_server.database.tables import text_field, time
from modelkeep_server.metadata.store.tables.base import Table


class TeamRow(Table, table=True):
    """A team."""

    __tablename__ = "team"
    name: str = Field(primary_key=True)
    create_time: datetime = time()


class ApiKeyRow(Table, table=True):
    """An API key: of a team, or of a service. Only the hash of its secret is here."""

    __tablename__ = "api_key"
    __table_args__ = (Index("ix_api_key_team_create_time_id", "team", "create_time", "id"),)
    id: str = Field(primary_key=True)
    team: str | None = Field(default=None, foreign_key="team.name")
    service: str = ""
    secret_hash: bytes = Field(sa_type=LargeBinary)
    display_name: str = text_field()
    role: int | None = None
    readable_teams: str = text_field()
    """A JSON list of team names."""
    create_time: datetime = time()
    expire_time: datetime | None = time(nullable=True)
    revoke_time: datetime | None = time(nullable=True)
