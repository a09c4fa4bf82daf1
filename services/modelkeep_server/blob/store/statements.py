"""What both databases can do, and sqlalchemy spells once for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlmodel import SQLModel


def insert(session: AsyncSession, row: type[SQLModel]) -> postgresql.Insert:
    """An INSERT that knows ON CONFLICT."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(row)  # type: ignore[return-value] # the same methods, without a common parent
    return postgresql.insert(row)
