"""What the tables of all services share: how their keys are called, and the forms of their columns."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Integer, MetaData, Text
from sqlmodel import Field

from modelkeep_server.database.clock import Micros

NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
"""How indexes and keys are called."""

# SQLite numbers rows only in a column that is literally INTEGER.
ID: Final = BigInteger().with_variant(Integer(), "sqlite")

BY_CODE_POINT: Final = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that compares by code point on every database."""


def registry() -> MetaData:
    """A registry of tables: one for each service."""
    return MetaData(naming_convention=NAMES)


def id_field() -> Any:
    """A key that the database gives."""
    return Field(default=None, primary_key=True, sa_type=ID)


def ref(column: str, *, primary_key: bool = False, nullable: bool = False, index: bool = False) -> Any:
    """A key of another table."""
    return Field(
        default=None if nullable else ...,
        primary_key=primary_key,
        nullable=nullable,
        index=index,
        sa_type=BigInteger,
        sa_column_args=[ForeignKey(column)],
    )


def time(*, nullable: bool = False) -> Any:
    """A moment, in microseconds."""
    return Field(default=None if nullable else ..., sa_type=Micros, nullable=nullable)


def text_field() -> Any:
    """Text of any length, empty by default."""
    return Field(default="", sa_type=Text)
