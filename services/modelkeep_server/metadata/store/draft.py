"""The rows of drafts and of their entries."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from modelkeep.digest import Digest
from modelkeep.errors import DraftNotFound
from modelkeep.names import CollectionName, DraftName
from sqlalchemy import ColumnElement, Select, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.metadata.domain.draft import Draft, DraftState, Outcome
from modelkeep_server.metadata.store.ids import collection_id, project_id, version_id
from modelkeep_server.metadata.store.tables import (
    CollectionRow,
    DraftEntryRow,
    DraftPageRow,
    DraftRow,
    ProjectRow,
    VersionRow,
)


class DraftRepository:
    """All drafts, and the entries of those that are open."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def create(self, name: DraftName, collection: CollectionName, type_: str, creator: str, life: timedelta) -> Draft:
        """Open a draft in a collection that exists."""
        statement = insert(DraftRow).values(
            id=name.draft,
            project_id=project_id(name.parent),
            collection_id=collection_id(collection),
            type=type_,
            state=DraftState.OPEN.value,
            creator=creator,
            create_time=self._clock.sql(),
            expire_time=self._clock.sql(life),
        )
        await self._session.execute(statement)
        return await self.get(name)

    async def get(self, name: DraftName) -> Draft:
        """A draft. Raises DraftNotFound."""
        return await self._one(name, self._select(name))

    async def lock(self, name: DraftName) -> Draft:
        """A draft that, like its collection, nobody else changes until the transaction ends. Raises DraftNotFound."""
        statement = (
            select(col(DraftRow.id))
            .join(CollectionRow, col(CollectionRow.id) == col(DraftRow.collection_id))
            .where(col(DraftRow.id) == name.draft)
            .with_for_update(key_share=True, of=(DraftRow, CollectionRow))
        )
        await self._session.execute(statement)
        # A statement of its own: one that waited for a lock answers, of all but the locked rows, what it saw before.
        return await self.get(name)

    async def prolong(self, name: DraftName, life: timedelta) -> int:
        """Give an open draft `life` from now on, and lock it; how many entries it has. Raises DraftNotFound, DraftNotOpen."""
        statement = self._update_open(name).values(expire_time=self._clock.sql(life)).returning(col(DraftRow.entry_count))
        count: int | None = (await self._session.execute(statement)).scalar_one_or_none()
        if count is None:
            (await self.get(name)).require_open()
            raise AssertionError
        return count

    async def lines(self, name: DraftName, paths: Collection[bytes]) -> Mapping[bytes, bytes]:
        """The lines that a draft has for some paths."""
        statement = select(col(DraftEntryRow.path), col(DraftEntryRow.line))
        statement = statement.where(col(DraftEntryRow.draft_id) == name.draft, col(DraftEntryRow.path).in_(paths))
        rows = await self._session.execute(statement)
        return {row.path: row.line for row in rows}

    async def add_lines(self, name: DraftName, lines: Mapping[bytes, bytes]) -> None:
        """Add lines for paths that a locked draft does not have, and take its seal back."""
        rows = [{"draft_id": name.draft, "path": path, "line": line} for path, line in lines.items()]
        await self._session.execute(insert(DraftEntryRow), rows)
        count = col(DraftRow.entry_count) + len(rows)
        await self._session.execute(_update(name).values(entry_count=count, manifest=None))

    async def lines_after(self, name: DraftName, path: bytes | None, limit: int, size: int) -> Sequence[tuple[bytes, bytes]]:
        """The next paths and lines of a draft by path: at most `limit`, up to the one that reaches `size` bytes."""
        key, line = col(DraftEntryRow.path), col(DraftEntryRow.line)
        following = [col(DraftEntryRow.draft_id) == name.draft]
        if path is not None:
            following.append(key > path)
        # Lengths are known without reading the lines, so only those that are asked for are ever loaded.
        lengths = select(key, func.length(line).label("size")).where(*following).order_by(key).limit(limit).subquery()
        up_to_here = func.sum(lengths.c.size).over(order_by=lengths.c.path)
        places = select(lengths.c.path, (up_to_here - lengths.c.size).label("start")).subquery()
        last = select(places.c.path).where(places.c.start < size).order_by(places.c.path.desc()).limit(1).scalar_subquery()
        rows = await self._session.execute(select(key, line).where(*following, key <= last).order_by(key))
        return [(path, line) for path, line in rows]

    async def seal(self, name: DraftName, layout: Digest, entry_count: int) -> bool:
        """Point an open draft to its manifest; false when it got more than `entry_count` entries meanwhile, or ended."""
        statement = self._update_open(name).where(col(DraftRow.entry_count) == entry_count).values(manifest=layout.sha256)
        sealed = await self._session.execute(statement.returning(col(DraftRow.id)))
        return sealed.scalar_one_or_none() is not None

    async def commit(self, name: DraftName, outcome: Outcome) -> None:
        """A locked draft became a version."""
        statement = _update(name).values(
            state=DraftState.COMMITTED.value,
            commit_fingerprint=outcome.fingerprint,
            version_id=version_id(outcome.version),
            deduplicated=outcome.deduplicated,
            ignored_fields=json.dumps(outcome.ignored_fields),
        )
        await self._session.execute(statement)

    async def abort(self, name: DraftName) -> None:
        """Give a locked draft up."""
        await self._session.execute(_update(name).values(state=DraftState.ABORTED.value))

    async def unswept(self, limit: int) -> Sequence[DraftName]:
        """Some drafts that ended and still have entries."""
        statement = (
            select(col(ProjectRow.team), col(ProjectRow.name), col(DraftRow.id))
            .join(ProjectRow, col(ProjectRow.id) == col(DraftRow.project_id))
            .where(~col(DraftRow.is_swept), self._has_ended())
            .order_by(col(DraftRow.expire_time))
            .limit(limit)
        )
        return [DraftName(*row) for row in await self._session.execute(statement)]

    async def sweep(self, name: DraftName, limit: int) -> bool:
        """Drop at most `limit` entries of a draft that ended; whether it has none left, or somebody else is at it."""
        ours = select(col(DraftRow.id)).where(col(DraftRow.id) == name.draft, ~col(DraftRow.is_swept), self._has_ended())
        if await self._session.scalar(ours.with_for_update(skip_locked=True, key_share=True)) is None:
            return True
        for table, key in ((DraftEntryRow, col(DraftEntryRow.path)), (DraftPageRow, col(DraftPageRow.page))):
            mine = col(table.draft_id) == name.draft
            some = select(key).where(mine).order_by(key).limit(limit)
            statement = delete(table).where(mine, key.in_(some)).execution_options(synchronize_session=False)
            dropped = await self._session.execute(statement)
            if dropped.rowcount >= limit:  # type: ignore[attr-defined]
                return False
        await self._session.execute(_update(name).values(is_swept=True, manifest=None))
        return True

    def _has_expired(self) -> ColumnElement[bool]:
        return and_(col(DraftRow.state) == DraftState.OPEN.value, col(DraftRow.expire_time) <= self._clock.sql())

    def _has_ended(self) -> ColumnElement[bool]:
        return or_(col(DraftRow.state) != DraftState.OPEN.value, col(DraftRow.expire_time) <= self._clock.sql())

    def _update_open(self, name: DraftName) -> Any:
        return _update(name).where(
            col(DraftRow.project_id) == project_id(name.parent),
            col(DraftRow.state) == DraftState.OPEN.value,
            col(DraftRow.expire_time) > self._clock.sql(),
        )

    def _select(self, name: DraftName) -> Select[Any]:
        state = case((self._has_expired(), DraftState.EXPIRED.value), else_=col(DraftRow.state))
        return (
            select(DraftRow, state.label("state"), col(CollectionRow.name), col(VersionRow.number))
            .join(CollectionRow, col(CollectionRow.id) == col(DraftRow.collection_id))
            .outerjoin(VersionRow, col(VersionRow.id) == col(DraftRow.version_id))
            .where(col(DraftRow.id) == name.draft, col(DraftRow.project_id) == project_id(name.parent))
            .execution_options(populate_existing=True)
        )

    async def _one(self, name: DraftName, statement: Select[Any]) -> Draft:
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            message = f"there is no draft {name.draft} in {name.team}/{name.project}; open a new one"
            raise DraftNotFound(message, draft=str(name))
        return _draft(name, row)


def _update(name: DraftName) -> Any:
    return update(DraftRow).where(col(DraftRow.id) == name.draft).execution_options(synchronize_session=False)


def _draft(name: DraftName, found: Any) -> Draft:
    row, state, collection_name, number = found
    collection = CollectionName(name.team, name.project, collection_name)
    outcome = None
    if number is not None:
        ignored = tuple(json.loads(row.ignored_fields))
        outcome = Outcome(collection.version(number), row.commit_fingerprint, row.deduplicated, ignored)
    layout = Digest(row.manifest) if row.manifest else None
    times = (row.create_time, row.expire_time)
    return Draft(name, collection, row.type, DraftState(state), *times, row.entry_count, layout, outcome)
