"""Rows of signatures."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlmodel import Field

from modelkeep_server.database.tables import ref, text_field, time
from modelkeep_server.metadata.store.tables.base import Table


class SignatureRow(Table, table=True):
    """A signature of a version by one key."""

    __tablename__ = "signature"
    version_id: int = ref("version.id", primary_key=True)
    key_id: str = Field(primary_key=True)
    algorithm: int
    """A number of domain.signature.Algorithm."""
    public_key: bytes = Field(sa_type=LargeBinary)
    value: bytes = Field(sa_type=LargeBinary)
    comment: str = text_field()
    create_time: datetime = time()
    creator: str
