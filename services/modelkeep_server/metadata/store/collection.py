"""The rows of collections."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from modelkeep.errors import CollectionExists, CollectionTypeMismatch
from modelkeep.names import CollectionName, ProjectName
from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.filtering.expression import ALL, Query
from modelkeep_server.metadata.domain.collection import Collection, CollectionChange, Locked
from modelkeep_server.metadata.store.collection_listing import list_collections, with_versions
from modelkeep_server.metadata.store.ids import project_id
from modelkeep_server.metadata.store.locate import collection_not_found
from modelkeep_server.metadata.store.project import etag_mismatch, revision_of
from modelkeep_server.metadata.store.rule import to_rule
from modelkeep_server.metadata.store.tables import AliasRuleRow, CollectionChangeRow, CollectionRow, DraftRow

_RULE: Final = tuple(col(column) for column in (AliasRuleRow.alias, AliasRuleRow.goal, AliasRuleRow.key, AliasRuleRow.keys))


class CollectionRepository:
    """All collections of all projects."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def ensure(self, name: CollectionName, type_: str, description: str = "") -> str | None:
        """Make the collection in its project; its uid, or None when it was there. Until the end nobody renames it.

        Raises CollectionTypeMismatch, naming the type that it has (SEM-2).
        """
        now = await self._clock.now(self._session)
        row = {"name": name.collection, "type": type_, "description": description, "create_time": now, "update_time": now}
        statement = upsert(self._session, CollectionRow).values(
            uid=str(uuid4()), project_id=project_id(name.parent), next_index=0, revision=1, **row
        )
        there = select(col(CollectionRow.type)).where(_is(name)).with_for_update(read=True, key_share=True)
        existing = None
        while existing is None:  # it may go away between the two statements
            made = await self._session.execute(statement.on_conflict_do_nothing().returning(col(CollectionRow.uid)))
            if uid := made.scalar_one_or_none():
                return str(uid)
            existing = await self._session.scalar(there)
        if existing != type_:
            message = (
                f"the collection {name.collection!r} has the type {existing!r}, not {type_!r}; "
                "use that type, or another name, or change the type explicitly"
            )
            raise CollectionTypeMismatch(message, collection=str(name), type=str(existing), asked=type_)
        return None

    async def get(self, name: CollectionName) -> Collection:
        """A collection. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        row = await self._session.scalar(select(CollectionRow).where(_is(name)).execution_options(populate_existing=True))
        if row is None:
            raise await collection_not_found(self._session, name)
        return (await with_versions(self._session, [(name, row)]))[0]

    async def list(self, project: ProjectName, type_: str, page: Page, query: Query = ALL) -> Listing[Collection]:
        """The collections that `query` asks for, by name unless it says otherwise; `-` stands for all projects of the team.

        Only those of one type, unless that is empty. Raises TeamNotFound, ProjectNotFound, InvalidPageToken.
        """
        return await list_collections(self._session, self._clock, project, page, type_=type_, query=query)

    async def update(self, name: CollectionName, type_: str | None, description: str | None, etag: str) -> Collection:
        """Edit a collection, if its etag is still `etag` or that is empty; None leaves a value as it is.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound, EtagMismatch.
        """
        values: dict[str, Any] = {"type": type_, "description": description}
        statement = _edit(name, self._clock).values({key: value for key, value in values.items() if value is not None})
        if etag:
            statement = statement.where(col(CollectionRow.revision) == revision_of(etag))
        edited = await self._session.execute(statement)
        collection = await self.get(name)
        if edited.scalar_one_or_none() is None:
            raise etag_mismatch(f"the collection {name.collection!r}", collection.etag)
        return collection

    async def rename(self, name: CollectionName, new: CollectionName, actor: str) -> None:
        """Give a collection another name, perhaps in another project, and note that; its drafts go with it.

        Raises CollectionNotFound, CollectionExists.
        """
        try:
            values = {"name": new.collection, "project_id": project_id(new.parent)}
            id_ = (await self._session.execute(_edit(name, self._clock).values(values))).scalar_one_or_none()
        except IntegrityError:
            message = f"there is a collection {new.collection!r} already; choose another name"
            raise CollectionExists(message, collection=str(new)) from None
        if id_ is None:
            raise await collection_not_found(self._session, name)
        if name.parent != new.parent:
            drafts = update(DraftRow).where(col(DraftRow.collection_id) == id_).values(project_id=project_id(new.parent))
            await self._session.execute(drafts.execution_options(synchronize_session=False))
        mine = col(CollectionChangeRow.collection_id) == id_
        count = await self._session.scalar(select(func.count()).where(mine))
        change = CollectionChangeRow(
            collection_id=id_,
            ordinal=(count or 0) + 1,
            from_collection=str(name),
            to_collection=str(new),
            change_time=await self._clock.now(self._session),
            actor=actor,
        )
        self._session.add(change)
        await self._session.flush()

    async def history(self, name: CollectionName, page: Page) -> Listing[CollectionChange]:
        """The names that a collection had, newest first. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        id_ = await self._session.scalar(select(col(CollectionRow.id)).where(_is(name)))
        if id_ is None:
            raise await collection_not_found(self._session, name)
        statement = select(CollectionChangeRow).where(col(CollectionChangeRow.collection_id) == id_)
        if position := page.position("collection history", name, of=(int,)):
            statement = statement.where(col(CollectionChangeRow.ordinal) < position[0])
        ordered = statement.order_by(col(CollectionChangeRow.ordinal).desc()).limit(page.size + 1)
        rows = (await self._session.scalars(ordered)).all()
        shown = rows[: page.size]
        following = token([shown[-1].ordinal], "collection history", name) if len(rows) > len(shown) else ""
        changes = (CollectionChange(row.from_collection, row.to_collection, row.change_time, row.actor) for row in shown)
        return Listing(tuple(changes), following)

    async def lock(self, name: CollectionName) -> Locked:
        """Keep everybody else from writing in a collection until the transaction ends: the first lock of whoever does.

        Rows that merely point to the collection, such as new drafts, may still be made. Raises TeamNotFound,
        ProjectNotFound, CollectionNotFound.
        """
        statement = select(col(CollectionRow.id)).where(_is(name)).with_for_update(key_share=True)
        if await self._session.scalar(statement) is None:
            raise await collection_not_found(self._session, name)
        # A statement of its own: one that waited for a lock answers, of all but the locked rows, what it saw before.
        return await self.locked(name)

    async def locked(self, name: CollectionName) -> Locked:
        """What there is to know of a collection that this transaction locked in another way."""
        statement = (
            select(col(CollectionRow.uid), *_RULE)
            .outerjoin(AliasRuleRow, col(AliasRuleRow.collection_id) == col(CollectionRow.id))
            .where(_is(name))
            .order_by(col(AliasRuleRow.alias))
        )
        rows = (await self._session.execute(statement)).all()
        return Locked(name, rows[0].uid, tuple(to_rule(row) for row in rows if row.alias is not None))

    async def next_number(self, name: CollectionName) -> int:
        """The number of the next version, given once and for good (SEM-9)."""
        statement = (
            update(CollectionRow)
            .where(_is(name))
            .values(next_index=col(CollectionRow.next_index) + 1)
            .returning(col(CollectionRow.next_index))
            .execution_options(synchronize_session=False)
        )
        following: int = (await self._session.execute(statement)).scalar_one()
        return following - 1


def _is(name: CollectionName) -> ColumnElement[bool]:
    return and_(col(CollectionRow.project_id) == project_id(name.parent), col(CollectionRow.name) == name.collection)


def _edit(name: CollectionName, clock: Clock) -> Any:
    return (
        update(CollectionRow)
        .where(_is(name))
        .values(update_time=clock.sql(), revision=col(CollectionRow.revision) + 1)
        .returning(col(CollectionRow.id))
        .execution_options(synchronize_session=False)
    )
