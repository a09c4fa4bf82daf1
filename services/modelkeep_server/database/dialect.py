"""The few words that PostgreSQL and SQLite spell differently."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from sqlmodel import SQLModel


def upsert(session: AsyncSession, table: type[SQLModel]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say what happens when the row is there already; both engines have the same methods for it."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


class json_list(GenericFunction[str]):  # noqa: N801 - it is the name of an SQL function
    """The values of a column as one JSON list, in no order; null for no rows on PostgreSQL, `[]` on SQLite."""

    type = Text()
    inherit_cache = True


@compiles(json_list, "postgresql")
def _json_list_postgresql(element: json_list, compiler: Any, **options: Any) -> str:
    return f"CAST(json_agg({compiler.process(element.clauses, **options)}) AS TEXT)"


@compiles(json_list, "sqlite")
def _json_list_sqlite(element: json_list, compiler: Any, **options: Any) -> str:
    return f"json_group_array({compiler.process(element.clauses, **options)})"
