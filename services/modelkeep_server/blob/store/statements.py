"""What both databases can do, and sqlalchemy spells once for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncSession


def insert(session: AsyncSession, table: Table) -> postgresql.Insert:
    """An INSERT that knows ON CONFLICT; into a table, because rows that are mapped cost five times as much."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)  # type: ignore[return-value] # the same methods, without a common parent
    return postgresql.insert(table)
