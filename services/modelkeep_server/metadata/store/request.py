"""The memory of successful calls, so that a repeated one gets the first answer (SEM-14)."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import timedelta
from functools import cache
from typing import Any, Final, TypeVar, cast

from modelkeep.errors import RequestIdReused
from pydantic import ConfigDict, TypeAdapter
from sqlalchemy import and_, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.metadata.domain.call import Call
from modelkeep_server.metadata.store.dialect import upsert
from modelkeep_server.metadata.store.tables import RequestRow

T = TypeVar("T")

REMEMBERED_FOR: Final = timedelta(days=30)
FORGOTTEN_AT_ONCE: Final = 256
"""How many forgotten calls one transaction takes away at most."""

_KEY = (col(RequestRow.team), col(RequestRow.method), col(RequestRow.request_id))


class RequestRepository:
    """What successful calls answered. Use it first thing in a transaction: a claim waits for the end of its rival."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def claim(self, call: Call) -> bool:
        """Whether this transaction is to run the call; false when its answer is known. A rollback takes the claim back."""
        fresh = {"fingerprint": call.fingerprint, "answer": "", "expire_time": self._clock.sql(REMEMBERED_FOR)}
        row = {"team": call.caller.team, "method": call.method, "request_id": call.request_id, **fresh}
        statement = upsert(self._session, RequestRow).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=["team", "method", "request_id"],
            set_=fresh,
            where=col(RequestRow.expire_time) <= self._clock.sql(),
        )
        claimed = await self._session.execute(statement.returning(col(RequestRow.request_id)))
        return claimed.scalar_one_or_none() is not None

    async def is_known(self, call: Call) -> bool:
        """Whether a call succeeded before, and is still remembered."""
        statement = select(col(RequestRow.request_id)).where(_is(call), col(RequestRow.expire_time) > self._clock.sql())
        return await self._session.scalar(statement) is not None

    async def recall(self, call: Call, answer: type[T]) -> T:
        """The answer that the call got before. Raises RequestIdReused when it had another body then."""
        statement = select(col(RequestRow.fingerprint), col(RequestRow.answer)).where(_is(call))
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
        await self._session.execute(update(RequestRow).where(_is(call)).values(answer=text))

    async def forget_expired(self) -> None:
        """Take a bounded number of calls away whose time is over. Those that somebody else is busy with stay."""
        expired = select(*_KEY).where(col(RequestRow.expire_time) <= self._clock.sql()).order_by(col(RequestRow.expire_time))
        some = expired.limit(FORGOTTEN_AT_ONCE).with_for_update(skip_locked=True)
        await self._session.execute(delete(RequestRow).where(tuple_(*_KEY).in_(some)))


def _is(call: Call) -> Any:
    return and_(
        *(column == value for column, value in zip(_KEY, (call.caller.team, call.method, call.request_id), strict=True))
    )


@cache
def _adapter(answer: Any) -> TypeAdapter[Any]:
    # A one-tuple, because pydantic takes no configuration for a bare dataclass, and digests are bytes that are not text.
    return TypeAdapter(tuple[answer], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
