"""The memory of successful calls, so that a repeated one gets the first answer (SEM-14)."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Protocol, TypeVar, cast

from modelkeep.errors import RequestIdReused
from pydantic import ConfigDict, TypeAdapter
from sqlalchemy import LargeBinary, Text, and_, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, SQLModel, col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.tables import time

T = TypeVar("T")

REMEMBERED_FOR: Final = timedelta(days=30)
FORGOTTEN_AT_ONCE: Final = 256
"""How many forgotten calls one transaction takes away at most."""
CLEAN_EVERY: Final = 64
"""After so many remembered calls of a process, one takes forgotten ones away."""


class RequestColumns(SQLModel):
    """What a successful call answered; the columns of a service's table `request`, which has an index by `expire_time`."""

    team: str = Field(primary_key=True)
    method: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    """Of the body of the call."""
    answer: str = Field(sa_type=Text)
    expire_time: datetime = time()


class Call(Protocol):
    """A call, as far as it is remembered."""

    @property
    def team(self) -> str:
        """The team of the caller."""
        ...

    @property
    def method(self) -> str:
        """The bare name of the RPC."""
        ...

    @property
    def request_id(self) -> str:
        """A UUID4 of the client."""
        ...

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the body without its request id."""
        ...


class RequestRepository:
    """What successful calls answered. Use it first thing in a transaction: a claim waits for the end of its rival."""

    def __init__(self, session: AsyncSession, clock: Clock, rows: type[RequestColumns]) -> None:
        """`rows` is the table of the service."""
        self._session = session
        self._clock = clock
        self._rows = rows
        self._key = (col(rows.team), col(rows.method), col(rows.request_id))

    async def claim(self, call: Call) -> bool:
        """Whether this transaction is to run the call; false when its answer is known. A rollback takes the claim back."""
        fresh = {"fingerprint": call.fingerprint, "answer": "", "expire_time": self._clock.sql(REMEMBERED_FOR)}
        row = {"team": call.team, "method": call.method, "request_id": call.request_id, **fresh}
        statement = upsert(self._session, self._rows).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=["team", "method", "request_id"],
            set_=fresh,
            where=col(self._rows.expire_time) <= self._clock.sql(),
        )
        claimed = await self._session.execute(statement.returning(col(self._rows.request_id)))
        return claimed.scalar_one_or_none() is not None

    async def is_known(self, call: Call) -> bool:
        """Whether a call succeeded before, and is still remembered."""
        rows = self._rows
        statement = select(col(rows.request_id)).where(self._is(call), col(rows.expire_time) > self._clock.sql())
        return await self._session.scalar(statement) is not None

    async def recall(self, call: Call, answer: type[T]) -> T:
        """The answer that the call got before. Raises RequestIdReused when it had another body then."""
        statement = select(col(self._rows.fingerprint), col(self._rows.answer)).where(self._is(call))
        fingerprint, text = (await self._session.execute(statement)).one()
        if fingerprint != call.fingerprint:
            message = (
                f"the request id {call.request_id} of an earlier {call.method} came again with another body; draw a new one"
            )
            raise RequestIdReused(message, request_id=call.request_id, method=call.method)
        (remembered,) = _adapter(cast("Hashable", answer)).validate_json(text)
        return remembered  # type: ignore[no-any-return]

    async def remember(self, call: Call, answer: type[T], result: T) -> None:
        """Keep the answer of a call that this transaction claimed."""
        text = _adapter(cast("Hashable", answer)).dump_json((result,)).decode()
        await self._session.execute(update(self._rows).where(self._is(call)).values(answer=text))

    async def forget_expired(self) -> None:
        """Take a bounded number of calls away whose time is over. Those that somebody else is busy with stay."""
        expire_time = col(self._rows.expire_time)
        expired = select(*self._key).where(expire_time <= self._clock.sql()).order_by(expire_time)
        some = expired.limit(FORGOTTEN_AT_ONCE).with_for_update(skip_locked=True)
        await self._session.execute(delete(self._rows).where(tuple_(*self._key).in_(some)))

    def _is(self, call: Call) -> Any:
        return and_(
            *(column == value for column, value in zip(self._key, (call.team, call.method, call.request_id), strict=True))
        )


@cache
def _adapter(answer: Any) -> TypeAdapter[Any]:
    # A one-tuple, because pydantic takes no configuration for a bare dataclass, and digests are bytes that are not text.
    return TypeAdapter(tuple[answer], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
