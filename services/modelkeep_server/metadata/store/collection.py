"""The rows of collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelkeep.errors import CollectionExists, CollectionTypeMismatch
from modelkeep.names import CollectionName, ProjectName
from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.metadata.domain.collection import Collection
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.store.dialect import upsert
from modelkeep_server.metadata.store.ids import project_id
from modelkeep_server.metadata.store.listing import fitting
from modelkeep_server.metadata.store.locate import collection_not_found, project_not_found
from modelkeep_server.metadata.store.project import etag_mismatch, revision_of
from modelkeep_server.metadata.store.tables import CollectionRow, ProjectRow, VersionRow


class CollectionRepository:
    """All collections of all projects."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def ensure(self, name: CollectionName, type_: str, description: str = "") -> bool:
        """Make the collection in its project, unless it is there; whether it was made.

        Raises CollectionTypeMismatch, naming the type that it has (SEM-2).
        """
        now = await self._clock.now(self._session)
        row = {"name": name.collection, "type": type_, "description": description, "create_time": now, "update_time": now}
        statement = upsert(self._session, CollectionRow).values(
            project_id=project_id(name.parent), next_index=0, revision=1, **row
        )
        made = await self._session.execute(statement.on_conflict_do_nothing().returning(col(CollectionRow.id)))
        if made.scalar_one_or_none() is not None:
            return True
        existing = await self._session.scalar(select(col(CollectionRow.type)).where(_is(name)))
        if existing != type_:
            message = (
                f"the collection {name.collection!r} has the type {existing!r}, not {type_!r}; "
                "use that type, or another name, or change the type explicitly"
            )
            raise CollectionTypeMismatch(message, collection=str(name), type=str(existing), asked=type_)
        return False

    async def get(self, name: CollectionName) -> Collection:
        """A collection. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        row = await self._session.scalar(select(CollectionRow).where(_is(name)).execution_options(populate_existing=True))
        if row is None:
            raise await collection_not_found(self._session, name)
        return (await self._with_versions(name.parent, [row]))[0]

    async def list(self, project: ProjectName, type_: str, page: Page) -> Listing[Collection]:
        """The collections of a project by name; only those of one type, unless that is empty.

        Raises TeamNotFound, ProjectNotFound.
        """
        names = select(col(CollectionRow.name), func.length(col(CollectionRow.description)))
        names = names.where(col(CollectionRow.project_id) == project_id(project))
        if type_:
            names = names.where(col(CollectionRow.type) == type_)
        if position := page.position("collections", project, type_, of=(str,)):
            names = names.where(col(CollectionRow.name) > position[0])
        found = (await self._session.execute(names.order_by(col(CollectionRow.name)).limit(page.size + 1))).all()
        if not found:
            await self._require(project)
            return Listing(())
        chosen = [name for name, _ in found][: fitting([length for _, length in found], page.size)]
        statement = select(CollectionRow).where(
            col(CollectionRow.project_id) == project_id(project), col(CollectionRow.name).in_(chosen)
        )
        rows = (await self._session.scalars(statement.order_by(col(CollectionRow.name)))).all()
        following = token([chosen[-1]], "collections", project, type_) if len(chosen) < len(found) else ""
        return Listing(tuple(await self._with_versions(project, rows)), following)

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

    async def rename(self, name: CollectionName, new: CollectionName) -> None:
        """Give a collection another name. Raises CollectionNotFound, CollectionExists."""
        try:
            renamed = await self._session.execute(_edit(name, self._clock).values(name=new.collection))
        except IntegrityError:
            message = f"there is a collection {new.collection!r} already; choose another name"
            raise CollectionExists(message, collection=str(new)) from None
        if renamed.scalar_one_or_none() is None:
            raise await collection_not_found(self._session, name)

    async def lock(self, name: CollectionName) -> None:
        """Keep everybody else from writing in a collection until the transaction ends: the first lock of whoever does.

        Rows that merely point to the collection, such as new drafts, may still be made. Raises TeamNotFound,
        ProjectNotFound, CollectionNotFound.
        """
        statement = select(col(CollectionRow.id)).where(_is(name)).with_for_update(key_share=True)
        if await self._session.scalar(statement) is None:
            raise await collection_not_found(self._session, name)

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

    async def _require(self, project: ProjectName) -> None:
        statement = select(col(ProjectRow.id)).where(col(ProjectRow.id) == project_id(project))
        if await self._session.scalar(statement) is None:
            raise await project_not_found(self._session, project)

    async def _with_versions(self, project: ProjectName, rows: Sequence[CollectionRow]) -> Sequence[Collection]:
        """The collections of some rows, with what their live versions add up to: one statement for all."""
        statement = (
            select(col(VersionRow.collection_id), func.max(col(VersionRow.number)), func.count())
            .where(
                col(VersionRow.collection_id).in_([row.id for row in rows]),
                col(VersionRow.state) == VersionState.COMMITTED.value,
            )
            .group_by(col(VersionRow.collection_id))
        )
        live: dict[int | None, tuple[int | None, int]] = {
            id_: (highest, count) for id_, highest, count in await self._session.execute(statement)
        }
        return [
            _collection(CollectionName(project.team, project.project, row.name), row, *live.get(row.id, (None, 0)))
            for row in rows
        ]


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


def _collection(name: CollectionName, row: CollectionRow, highest: int | None, count: int) -> Collection:
    latest = None if highest is None else name.version(highest)
    etag = str(row.revision)
    return Collection(name, row.type, row.description, latest, count, row.create_time, row.update_time, etag)
