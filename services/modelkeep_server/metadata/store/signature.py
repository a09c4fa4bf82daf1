"""The signatures of versions."""

from __future__ import annotations

from typing import Any

from modelkeep.names import VersionName
from sqlalchemy import func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock, from_micros, to_micros
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.metadata.domain.signature import Algorithm, Signature, Signing
from modelkeep_server.metadata.store.ids import version_id
from modelkeep_server.metadata.store.tables import SignatureRow


class SignatureRepository:
    """All signatures of all versions."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def find(self, version: VersionName, key_id: str) -> Signature | None:
        """The signature by a key, if there is one."""
        statement = select(SignatureRow).where(_of(version), col(SignatureRow.key_id) == key_id)
        row = await self._session.scalar(statement)
        return None if row is None else _signature(version, row)

    async def count(self, version: VersionName) -> int:
        """How many signatures a version has."""
        return await self._session.scalar(select(func.count()).select_from(SignatureRow).where(_of(version))) or 0

    async def add(self, version: VersionName, signing: Signing, creator: str) -> Signature:
        """Write a signature of a live version of a locked collection, by a key that has not signed it."""
        values = {
            "version_id": version_id(version),
            "key_id": signing.key_id,
            "algorithm": int(signing.algorithm),
            "public_key": signing.public_key,
            "value": signing.value,
            "comment": signing.comment,
            "create_time": self._clock.sql(),
            "creator": creator,
        }
        statement = insert(SignatureRow).values(values).returning(col(SignatureRow.create_time))
        return Signature(version, signing, (await self._session.execute(statement)).scalar_one(), creator)

    async def list(self, version: VersionName, page: Page) -> Listing[Signature]:
        """The signatures of a version that exists, oldest first."""
        key = (col(SignatureRow.create_time), col(SignatureRow.key_id))
        statement = select(SignatureRow).where(_of(version)).order_by(*key).limit(page.size + 1)
        if position := page.position("signatures", version, of=(int, str)):
            statement = statement.where(tuple_(*key) > (from_micros(position[0]), position[1]))
        rows = (await self._session.scalars(statement)).all()
        if len(rows) <= page.size:
            return Listing(tuple(_signature(version, row) for row in rows))
        last = rows[page.size - 1]
        following = token([to_micros(last.create_time), last.key_id], "signatures", version)
        return Listing(tuple(_signature(version, row) for row in rows[: page.size]), following)


def _of(version: VersionName) -> Any:
    return col(SignatureRow.version_id) == version_id(version)


def _signature(version: VersionName, row: SignatureRow) -> Signature:
    signing = Signing(Algorithm(row.algorithm), row.public_key, row.value, row.comment)
    return Signature(version, signing, row.create_time, row.creator)
