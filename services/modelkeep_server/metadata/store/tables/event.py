"""Rows of the event log, of remembered calls and of the fence."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field

from modelkeep_server.database.requests import RequestColumns
from modelkeep_server.database.tables import ref, time
from modelkeep_server.metadata.store.tables.base import Table


class EventRow(Table, table=True):
    """An event, written in the transaction that caused it."""

    __tablename__ = "event"
    project_id: int = ref("project.id", primary_key=True)
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    uid: str
    event_time: datetime = time()
    actor: str
    kind: str
    """The name of a class in domain.event."""
    payload: str = Field(sa_type=Text)
    """The fields of that class, as JSON."""


class RequestRow(RequestColumns, Table, table=True):
    """What a successful call answered, for when it is repeated (SEM-14)."""

    __tablename__ = "request"
    __table_args__ = (Index("ix_request_expire_time", "expire_time"),)


class FenceRow(Table, table=True):
    """The one row `gc_epoch`: which collection has begun (RELIABILITY §2.4)."""

    __tablename__ = "fence"
    id: int = Field(primary_key=True)
    gc_epoch: int = Field(sa_type=BigInteger)
