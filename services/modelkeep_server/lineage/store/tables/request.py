"""Rows of remembered calls."""

from __future__ import annotations

from sqlalchemy import Index

from modelkeep_server.database.requests import RequestColumns
from modelkeep_server.lineage.store.tables.base import Table


class RequestRow(RequestColumns, Table, table=True):
    """What a successful call answered, for when it is repeated (SEM-14)."""

    __tablename__ = "request"
    __table_args__ = (Index("ix_request_expire_time", "expire_time"),)
