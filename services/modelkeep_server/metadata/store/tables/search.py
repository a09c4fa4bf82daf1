"""Rows that lists are searched by."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy import text as sql
from sqlmodel import Field

from modelkeep_server.database.tables import BY_CODE_POINT, ref
from modelkeep_server.metadata.store.tables.base import Table


class VersionValueRow(Table, table=True):
    """One value in the metadata of a version, as `filtering.keys` writes it; kept in the transaction of each edit."""

    __tablename__ = "version_value"
    __table_args__ = (
        Index("ix_version_value_entry_version_id", "entry", "version_id"),
        # The best version of a collection stands at one end of the numbers of a path.
        Index(
            "ix_version_value_number_in_entry_version_id",
            "number_in",
            "entry",
            "version_id",
            sqlite_where=sql("number_in IS NOT NULL"),
            postgresql_where=sql("number_in IS NOT NULL"),
        ),
    )
    version_id: int = ref("version.id", primary_key=True)
    entry: str = Field(primary_key=True, sa_type=BY_CODE_POINT)
    """Where the value is, and what: text that sorts as the values do."""
    ordinal: int = Field(primary_key=True)
    """Of an element in its list; else 0."""
    text: str | None = Field(default=None, sa_type=Text)
    """The whole text, of text."""
    number_in: int | None = Field(default=None, sa_type=BigInteger)
    """The id of the collection, of a number that is no element of a list."""
