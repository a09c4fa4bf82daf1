"""The tables of the blob service.

    lease ◄── lease_chunk ──► holding ──► chunk          upload_grant ──► lease          tombstone

What protects a chunk points to it by foreign keys, so that the database itself refuses to delete what is held or leased.
Times are microseconds by the database's clock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Dialect, ForeignKeyConstraint, Index, LargeBinary, MetaData
from sqlmodel import Field, SQLModel

from modelkeep_server.database.clock import Micros
from modelkeep_server.database.tables import registry

metadata = registry()


class Table(SQLModel):
    """The parent of all rows; keeps them out of the global registry of sqlmodel."""

    metadata: ClassVar[MetaData] = metadata


class Raw(LargeBinary):
    """Bytes, handed to the driver as they are: what sqlalchemy wraps around each of them is needed by neither of ours."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        """Nothing to do."""


def _digest(*, primary_key: bool = False) -> Any:
    return Field(primary_key=primary_key, sa_type=Raw)


def _time() -> Any:
    return Field(sa_type=Micros)


class ChunkRow(Table, table=True):
    """A chunk that is live, condemned or rotten; an absent chunk has no row."""

    __tablename__ = "chunk"
    digest: bytes = _digest(primary_key=True)
    size_bytes: int = Field(sa_type=BigInteger)
    generation: str
    """Which object holds the bytes."""
    state: str
    confirmed_epoch: int = Field(default=0, sa_type=BigInteger)
    """No mark of a collection epoch up to this one may condemn the chunk."""
    create_time: datetime = _time()
    live_time: datetime = _time()
    """When the present object became live."""


class HoldingRow(Table, table=True):
    """A team uploaded this chunk itself, and may therefore know of it (SEM-22)."""

    __tablename__ = "holding"
    __table_args__ = (ForeignKeyConstraint(["digest"], ["chunk.digest"]), Index(None, "digest"))
    team: str = Field(primary_key=True)
    digest: bytes = _digest(primary_key=True)
    create_time: datetime = _time()


class LeaseRow(Table, table=True):
    """A lease, open until its time."""

    __tablename__ = "lease"
    id: str = Field(primary_key=True)
    team: str
    expire_time: datetime = Field(sa_type=Micros, index=True)


class LeaseChunkRow(Table, table=True):
    """A lease protects what its team holds."""

    __tablename__ = "lease_chunk"
    __table_args__ = (
        ForeignKeyConstraint(["lease_id"], ["lease.id"]),
        ForeignKeyConstraint(["team", "digest"], ["holding.team", "holding.digest"]),
        Index(None, "team", "digest"),
    )
    lease_id: str = Field(primary_key=True)
    digest: bytes = _digest(primary_key=True)
    team: str


class UploadGrantRow(Table, table=True):
    """The permission to make one object. Written before the URL leaves, so that whatever it made can be found by its key."""

    __tablename__ = "upload_grant"
    __table_args__ = (ForeignKeyConstraint(["lease_id"], ["lease.id"]), Index(None, "lease_id", "digest"))
    generation: str = Field(primary_key=True)
    lease_id: str
    digest: bytes = _digest()
    size_bytes: int = Field(sa_type=BigInteger)
    by_url: bool


class TombstoneRow(Table, table=True):
    """An object that must go."""

    __tablename__ = "tombstone"
    generation: str = Field(primary_key=True)
    digest: bytes = _digest()
    due_time: datetime = Field(sa_type=Micros, index=True)
    """When nobody can write the object any more, so that one more deletion is the last."""
