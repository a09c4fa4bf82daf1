"""From addresses to versions: each kind of address is one statement, built once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelkeep.address import Address, format_moment
from modelkeep.errors import DigestAmbiguous, ModelkeepError, VersionNotFound
from modelkeep.names import LATEST, CollectionName
from sqlalchemy import Select, String, and_, bindparam, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from modelkeep_server.database.clock import Clock, Micros
from modelkeep_server.database.engine import Database, Query
from modelkeep_server.database.keys import as_parameter
from modelkeep_server.database.lookups import Lookups
from modelkeep_server.metadata.domain.version import Version, VersionState
from modelkeep_server.metadata.store.alias import alias_not_found
from modelkeep_server.metadata.store.locate import collection_not_found
from modelkeep_server.metadata.store.tables import AliasChangeRow, AliasRow, CollectionRow, VersionAbsenceRow, VersionRow
from modelkeep_server.metadata.store.version import version_not_found
from modelkeep_server.metadata.store.version_view import LATEST_NUMBER, MANY, place, to_version, view

_MOMENT: Final = bindparam("moment", type_=Micros())
_ALIAS: Final = bindparam("alias", type_=String())
_past = aliased(VersionRow, name="past")

_ALIASED = select(col(AliasRow.version_id)).where(
    col(AliasRow.collection_id) == col(CollectionRow.id), col(AliasRow.alias) == _ALIAS
)
_ALIASED_THEN = (
    select(col(AliasChangeRow.to_version_id))
    .where(
        col(AliasChangeRow.collection_id) == col(CollectionRow.id),
        col(AliasChangeRow.alias) == _ALIAS,
        col(AliasChangeRow.change_time) <= _MOMENT,
    )
    .order_by(col(AliasChangeRow.seq).desc())
    .limit(1)
)
_ABSENT_THEN = exists().where(
    col(VersionAbsenceRow.version_id) == col(_past.id),
    col(VersionAbsenceRow.from_time) <= _MOMENT,
    or_(col(VersionAbsenceRow.to_time).is_(None), col(VersionAbsenceRow.to_time) > _MOMENT),
)
_LATEST_THEN = (
    select(col(_past.number))
    .where(col(_past.collection_id) == col(CollectionRow.id), col(_past.create_time) <= _MOMENT, ~_ABSENT_THEN)
    .order_by(col(_past.number).desc())
    .limit(1)
)
_FITS_PREFIX = col(VersionRow.digest).between(bindparam("lowest"), bindparam("highest"))


def _one(query: Select[Any]) -> Any:
    return query.correlate(CollectionRow).scalar_subquery()


_BY_NUMBER: Final = view(col(VersionRow.number) == bindparam("number"))
_BY_LATEST: Final = view(col(VersionRow.number) == LATEST_NUMBER)
_BY_LATEST_THEN: Final = view(col(VersionRow.number) == _one(_LATEST_THEN))
_BY_ALIAS: Final = view(col(VersionRow.id) == _one(_ALIASED))
_BY_ALIAS_THEN: Final = view(col(VersionRow.id) == _one(_ALIASED_THEN))
_BY_DIGEST: Final = view(and_(_FITS_PREFIX, col(VersionRow.is_target))).limit(2)
_BY_DIGEST_DELETED: Final = (
    view(and_(_FITS_PREFIX, col(VersionRow.state) != VersionState.COMMITTED.value))
    .order_by(col(VersionRow.number).desc())
    .limit(1)
)


_Key = tuple[str, str, str, int | None, str | None]
"""Team, project and collection, and a number, or an alias, or neither: `latest`."""


class Directory:
    """Finds live versions for the calls of one process. What they ask for at once is one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._query = Query(database, MANY)
        self._versions: Lookups[_Key, Version] = Lookups(self._fetch)

    async def find(self, address: Address) -> Version | None:
        """The live version behind an address; None when there is none, and for a digest or a moment always."""
        if address.digest_prefix or address.moment is not None:
            return None
        alias = None if address.number is not None or address.alias == LATEST else address.alias
        of = address.collection
        return await self._versions.get((of.team, of.project, of.collection, address.number, alias))

    async def _fetch(self, keys: Sequence[_Key]) -> Mapping[_Key, Version]:
        rows = await self._database.fetch(self._query, {"wanted": as_parameter(keys)})
        versions = ((keys[row.place], to_version(row)) for row in rows)
        return {key: version for key, version in versions if version is not None}


class ResolutionRepository:
    """Finds the version behind an address."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def resolve(self, address: Address) -> Version:
        """The live version behind an address, by one statement unless there is none.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound, AliasNotFound, VersionNotFound, VersionDeleted,
        DigestAmbiguous.
        """
        rows = await self._rows(*_question(address), address.collection)
        versions = [version for row in rows if (version := to_version(row)) is not None]
        if not versions:
            raise await self._missing(address, rows[0].latest_number)
        if len(versions) > 1:
            raise _ambiguous(address, versions)
        if versions[0].tombstone is not None:
            raise versions[0].tombstone.error(versions[0].name)
        return versions[0]

    async def _rows(self, statement: Select[Any], values: dict[str, Any], collection: CollectionName) -> Sequence[Any]:
        rows: Sequence[Any] = (await self._session.execute(statement, values | place(collection))).all()
        if not rows:
            raise await collection_not_found(self._session, collection)
        return rows

    async def _missing(self, address: Address, latest: int | None) -> ModelkeepError:
        """The error to raise when the collection exists, and nothing in it is meant."""
        collection = address.collection
        if address.number is not None:
            return await version_not_found(self._session, collection.version(address.number))
        if address.digest_prefix:
            return await self._no_digest(address)
        if address.alias != LATEST:
            return await alias_not_found(self._session, collection.alias(address.alias), address.moment)
        message = (
            f"{collection.collection!r} had no version as of {format_moment(address.moment)}"
            if address.moment is not None
            else f"{collection.collection!r} has no version: none was logged yet, or all of them are deleted"
        )
        return VersionNotFound(message, collection=str(collection), newest="" if latest is None else f"v{latest}")

    async def _no_digest(self, address: Address) -> ModelkeepError:
        collection, prefix = address.collection, f"sha256:{address.digest_prefix}"
        (row,) = await self._rows(_BY_DIGEST_DELETED, _range(address.digest_prefix), collection)
        deleted = to_version(row)
        if deleted is not None and deleted.tombstone is not None:
            return deleted.tombstone.error(deleted.name)
        message = f"no version of {collection.collection!r} has a digest that begins with {prefix}"
        return VersionNotFound(message, collection=str(collection), digest=prefix)


def _question(address: Address) -> tuple[Select[Any], dict[str, Any]]:
    """The statement that finds what an address means, and its values."""
    if address.number is not None:
        return _BY_NUMBER, {"number": address.number}
    if address.digest_prefix:
        return _BY_DIGEST, _range(address.digest_prefix)
    if address.moment is None:
        return (_BY_LATEST, {}) if address.alias == LATEST else (_BY_ALIAS, {"alias": address.alias})
    if address.alias == LATEST:
        return _BY_LATEST_THEN, {"moment": address.moment}
    return _BY_ALIAS_THEN, {"alias": address.alias, "moment": address.moment}


def _range(prefix: str) -> dict[str, bytes]:
    return {"lowest": bytes.fromhex(prefix.ljust(64, "0")), "highest": bytes.fromhex(prefix.ljust(64, "f"))}


def _ambiguous(address: Address, versions: Sequence[Version]) -> DigestAmbiguous:
    found = ", ".join(f"{version.name.short} ({version.digest})" for version in versions)
    message = f"sha256:{address.digest_prefix} fits several versions, such as {found}; give more digits"
    return DigestAmbiguous(message, digest=f"sha256:{address.digest_prefix}", versions=found)
