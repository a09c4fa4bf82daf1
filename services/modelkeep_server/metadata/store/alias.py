"""Aliases and their history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelkeep.address import format_moment
from modelkeep.errors import AliasNotFound, LimitExceeded, NotFound
from modelkeep.names import LATEST, AliasName, CollectionName, VersionName, nearest
from sqlalchemy import Row, Select, and_, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from modelkeep_server.database.clock import Clock, from_micros, to_micros
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.metadata.domain.alias import MAX_ON_ONE_VERSION, Alias, AliasChange, Wish
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.store.locate import SEARCHED, collection_not_found, in_collection, suggest
from modelkeep_server.metadata.store.tables import AliasChangeRow, AliasRow, CollectionRow, ProjectRow, VersionRow
from modelkeep_server.metadata.store.version import VersionRepository

_before = aliased(VersionRow, name="before")
_after = aliased(VersionRow, name="after")


class AliasRepository:
    """All aliases of all collections, and where they pointed."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def current(self, collection: CollectionName, names: tuple[str, ...]) -> Mapping[str, Alias]:
        """The aliases among `names` that ever were, by bare name; deleted ones have no version."""
        statement = _aliases(collection).where(col(AliasRow.alias).in_(names))
        return {row.alias: _alias(collection, row) for row in await self._session.execute(statement)}

    async def change(
        self,
        collection: CollectionName,
        wishes: Mapping[str, Wish],
        current: Mapping[str, Alias],
        actor: str,
    ) -> tuple[AliasChange, ...]:
        """Point aliases elsewhere, or delete them, and note it in their history; the changes in the order of `wishes`.

        The caller holds the lock of the collection, read `current` under it, and wishes nothing that is so already. Raises
        VersionNotFound, VersionDeleted, LimitExceeded.
        """
        collection_id, now, ids = await self._targets(collection, wishes, current)
        changes, aliases, history = [], [], []
        for name, wish in wishes.items():
            alias, reason = collection.alias(name), wish.reason
            change = AliasChange.following(current.get(name), alias, wish.version, now, actor=actor, reason=reason)
            row = {"collection_id": collection_id, "alias": name, "seq": change.seq, "actor": actor, "reason": reason}
            from_id, to_id = ids.get(change.from_version), ids.get(change.to_version)
            aliases.append(row | {"version_id": to_id, "update_time": change.change_time})
            history.append(row | {"from_version_id": from_id, "to_version_id": to_id, "change_time": change.change_time})
            changes.append(change)
        insert = upsert(self._session, AliasRow)
        updated = {name: insert.excluded[name] for name in ("version_id", "seq", "update_time", "actor", "reason")}
        insert = insert.on_conflict_do_update(index_elements=["collection_id", "alias"], set_=updated)
        await self._session.execute(insert, aliases)
        await self._session.execute(upsert(self._session, AliasChangeRow), history)
        return tuple(changes)

    async def get(self, name: AliasName) -> Alias:
        """An alias. Raises TeamNotFound, ProjectNotFound, CollectionNotFound, AliasNotFound (with the nearest)."""
        statement = _aliases(name.parent).where(col(AliasRow.alias) == name.alias, col(AliasRow.version_id).is_not(None))
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            raise await alias_not_found(self._session, name)
        return _alias(name.parent, row)

    async def list(self, collection: CollectionName, page: Page) -> Listing[Alias]:
        """The aliases of a collection by name. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        statement = _aliases(collection).where(col(AliasRow.version_id).is_not(None)).order_by(col(AliasRow.alias))
        if position := page.position("aliases", collection):
            statement = statement.where(col(AliasRow.alias) > position[0])
        rows = (await self._session.execute(statement.limit(page.size + 1))).all()
        if not rows and not await _exists(self._session, collection):
            raise await collection_not_found(self._session, collection)
        items = tuple(_alias(collection, row) for row in rows[: page.size])
        return Listing(items, token([items[-1].name.alias], "aliases", collection) if len(rows) > page.size else "")

    async def history(self, collection: CollectionName, alias: str, page: Page) -> Listing[AliasChange]:
        """The changes of one alias, or of all when it is empty, newest first.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound; AliasNotFound when the alias never was.
        """
        query = ("alias history", collection, alias)
        statement = _history(collection)
        if alias:  # in the order of its numbers, which is that of its stamps, and of the primary key
            statement = statement.where(col(AliasChangeRow.alias) == alias).order_by(col(AliasChangeRow.seq).desc())
            if position := page.position(*query, of=(int,)):
                statement = statement.where(col(AliasChangeRow.seq) < position[0])
        else:
            key = (col(AliasChangeRow.change_time), col(AliasChangeRow.alias))
            statement = statement.order_by(*(column.desc() for column in key))
            if position := page.position(*query, of=(int, str)):
                statement = statement.where(tuple_(*key) < (from_micros(position[0]), position[1]))
        rows = (await self._session.execute(statement.limit(page.size + 1))).all()
        if not rows and not await _exists(self._session, collection):
            raise await collection_not_found(self._session, collection)
        if not rows and alias and not page.token:
            raise await alias_not_found(self._session, collection.alias(alias))
        items = tuple(_line(collection, row) for row in rows[: page.size])
        if len(rows) <= page.size:
            return Listing(items)
        last = items[-1]
        return Listing(items, token([last.seq] if alias else [to_micros(last.change_time), last.alias.alias], *query))

    async def _targets(
        self, collection: CollectionName, wishes: Mapping[str, Wish], current: Mapping[str, Alias]
    ) -> tuple[int, datetime, dict[VersionName | None, int | None]]:
        """The id of the collection, the time under its lock, and the ids of all versions that play a part."""
        sources = {alias.version for name, alias in current.items() if name in wishes and alias.version}
        targets = [wish.version for wish in wishes.values() if wish.version]
        rows = (await self._session.execute(_versions(self._clock, collection, sources | set(targets)))).all()
        found = {collection.version(row.number): row for row in rows if row.id is not None}
        for version in set(targets):
            row = found.get(version)
            if row is None or row.state != VersionState.COMMITTED.value:
                await VersionRepository(self._session, self._clock).get(version)  # says what is wrong
            elif row.alias_count + targets.count(version) > MAX_ON_ONE_VERSION:
                message = f"{version.short} would carry more than {MAX_ON_ONE_VERSION:,} aliases"
                raise LimitExceeded(message, field="moves", limit=MAX_ON_ONE_VERSION)
        return rows[0].collection_id, rows[0].now, {None: None, **{version: row.id for version, row in found.items()}}


async def alias_not_found(session: AsyncSession, name: AliasName, moment: datetime | None = None) -> NotFound:
    """The error to raise when an alias is missing, now or as of a moment, or its collection is."""
    collection = name.parent
    if not await _exists(session, collection):
        return await collection_not_found(session, collection)
    message = f"{collection.collection} has no alias {name.alias!r}"
    if moment is not None:
        message = f"{collection.collection} had no alias {name.alias!r} as of {format_moment(moment)}"
        if first := await _first_set(session, name):  # who asks for it by its name needs no other name
            return AliasNotFound(f"{message}; it was first set at {format_moment(first)}", alias=str(name), nearest="")
    statement = _aliases(collection).with_only_columns(col(AliasRow.alias))
    statement = statement.where(col(AliasRow.version_id).is_not(None)).order_by(col(AliasRow.alias))
    existing = (await session.scalars(statement.limit(SEARCHED))).all()
    near = nearest(name.alias, [*existing, LATEST])
    return AliasNotFound(f"{message}; {suggest(existing, near)}", alias=str(name), nearest=near)


async def _first_set(session: AsyncSession, name: AliasName) -> datetime | None:
    """Since when an alias has a history; None when it never was."""
    statement = _history(name.parent).where(col(AliasChangeRow.alias) == name.alias).order_by(col(AliasChangeRow.seq)).limit(1)
    row = (await session.execute(statement)).one_or_none()
    return row.change_time if row else None


async def _exists(session: AsyncSession, collection: CollectionName) -> bool:
    statement = select(col(CollectionRow.id)).join(ProjectRow, col(CollectionRow.project_id) == col(ProjectRow.id))
    return await session.scalar(statement.where(in_collection(collection))) is not None


def _aliases(collection: CollectionName) -> Select[*tuple[Any, ...]]:
    return (
        select(
            col(AliasRow.alias),
            col(AliasRow.seq),
            col(AliasRow.update_time),
            col(AliasRow.actor),
            col(AliasRow.reason),
            col(VersionRow.number),
        )
        .join(CollectionRow, col(AliasRow.collection_id) == col(CollectionRow.id))
        .join(ProjectRow, col(CollectionRow.project_id) == col(ProjectRow.id))
        .outerjoin(VersionRow, col(AliasRow.version_id) == col(VersionRow.id))
        .where(in_collection(collection))
    )


def _history(collection: CollectionName) -> Select[Any]:
    return (
        select(
            *(column for column in AliasChangeRow.__table__.columns if not column.name.endswith("_id")),  # type: ignore[attr-defined]
            col(_before.number).label("from_number"),
            col(_after.number).label("to_number"),
        )
        .join(CollectionRow, col(AliasChangeRow.collection_id) == col(CollectionRow.id))
        .join(ProjectRow, col(CollectionRow.project_id) == col(ProjectRow.id))
        .outerjoin(_before, col(AliasChangeRow.from_version_id) == col(_before.id))
        .outerjoin(_after, col(AliasChangeRow.to_version_id) == col(_after.id))
        .where(in_collection(collection))
    )


def _versions(clock: Clock, collection: CollectionName, versions: set[VersionName]) -> Select[Any]:
    count = select(func.count()).where(col(AliasRow.version_id) == col(VersionRow.id)).correlate(VersionRow)
    return (
        select(
            col(CollectionRow.id).label("collection_id"),
            clock.sql().label("now"),
            col(VersionRow.id),
            col(VersionRow.number),
            col(VersionRow.state),
            count.scalar_subquery().label("alias_count"),
        )
        .select_from(CollectionRow)
        .join(ProjectRow, col(CollectionRow.project_id) == col(ProjectRow.id))
        .outerjoin(
            VersionRow,
            and_(
                col(VersionRow.collection_id) == col(CollectionRow.id),
                col(VersionRow.number).in_([version.number for version in versions]),
            ),
        )
        .where(in_collection(collection))
    )


def _alias(collection: CollectionName, row: Row[Any]) -> Alias:
    version = None if row.number is None else collection.version(row.number)
    return Alias(collection.alias(row.alias), version, row.seq, row.update_time, row.actor, row.reason)


def _line(collection: CollectionName, row: Row[Any]) -> AliasChange:
    before = None if row.from_number is None else collection.version(row.from_number)
    after = None if row.to_number is None else collection.version(row.to_number)
    name = collection.alias(row.alias)
    return AliasChange(name, row.seq, before, after, row.change_time, row.actor, row.reason)
