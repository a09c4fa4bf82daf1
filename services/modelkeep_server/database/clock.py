"""Time, as the database tells it: every time that is stored or compared comes from one clock (RELIABILITY §2.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ColumnElement, Dialect, TypeDecorator, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Micros(TypeDecorator[datetime]):
    """A moment, stored as microseconds since 1970: the same on every database, and nothing is ever rounded."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - sqlalchemy's signature
        """To the database."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - sqlalchemy's signature
        """From the database."""
        return None if value is None else from_micros(value)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment that many microseconds after 1970."""
    return _EPOCH + micros * _MICROSECOND


class now_micros(GenericFunction[int]):  # noqa: N801 - it is the name of an SQL function
    """Microseconds since 1970 by the clock of the database; not frozen to the start of the transaction."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_micros, "postgresql")
def _now_postgresql(_element: now_micros, _compiler: Any, **_options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


class Clock:
    """The clock of a service. Its only source is the service's own database; tests give it an offset."""

    def __init__(self, offset: timedelta = timedelta(0)) -> None:
        self.offset = offset
        """Added to every reading. Only tests set it."""

    def sql(self, later: timedelta = timedelta(0)) -> ColumnElement[datetime]:
        """The present moment plus `later`, as an expression for a statement."""
        shift = (self.offset + later) // _MICROSECOND
        expression = now_micros() + shift if shift else now_micros()
        return _as_moment(expression)

    async def now(self, session: AsyncSession) -> datetime:
        """The present moment, by one query."""
        moment: datetime = (await session.execute(select(self.sql()))).scalar_one()
        return moment


def _as_moment(expression: ColumnElement[int]) -> ColumnElement[datetime]:
    from sqlalchemy import type_coerce  # noqa: PLC0415

    return type_coerce(expression, Micros())
