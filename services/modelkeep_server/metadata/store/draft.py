"""The rows of drafts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from modelkeep.digest import Digest
from modelkeep.errors import DraftNotFound
from modelkeep.names import CollectionName, DraftName, ProjectName, VersionName
from sqlalchemy import ColumnElement, Select, and_, case, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock, from_micros, to_micros
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.metadata.domain.draft import Base, Draft, DraftState, NewDraft, Outcome
from modelkeep_server.metadata.domain.rule import Comparison, Goal
from modelkeep_server.metadata.store.ids import collection_id, project_id, version_id
from modelkeep_server.metadata.store.locate import project_not_found
from modelkeep_server.metadata.store.tables import (
    CollectionChangeRow,
    CollectionRow,
    DraftEntryRow,
    DraftPageRow,
    DraftRow,
    ProjectRow,
    VersionRow,
)


class DraftRepository:
    """All drafts. A draft is found by any project that its collection was in."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def create(self, draft: NewDraft, life: timedelta) -> Draft | None:
        """Open a draft in a collection that exists; None when that has a draft of the same `distributed_id`."""
        base = draft.base
        statement = upsert(self._session, DraftRow).values(
            id=draft.name.draft,
            project_id=project_id(draft.name.parent),
            collection_id=collection_id(draft.collection),
            type=draft.type,
            state=DraftState.OPEN.value,
            creator=draft.creator,
            create_time=self._clock.sql(),
            expire_time=self._clock.sql(life),
            entry_count=base.entry_count if base else 0,
            base_manifest=base.layout.sha256 if base and base.layout else None,
            base=str(base.version) if base else "",
            distributed_id=draft.distributed_id or None,
        )
        statement = statement.on_conflict_do_nothing(index_elements=["collection_id", "distributed_id"])
        made = await self._session.execute(statement.returning(col(DraftRow.id)))
        return None if made.scalar_one_or_none() is None else await self.get(draft.name)

    async def shared(self, collection: CollectionName, distributed_id: str) -> Draft | None:
        """The draft that several writers call `distributed_id`."""
        its = and_(col(DraftRow.collection_id) == collection_id(collection), col(DraftRow.distributed_id) == distributed_id)
        row = (await self._session.execute(self._select(its))).one_or_none()
        return _draft(row) if row else None

    async def get(self, name: DraftName) -> Draft:
        """A draft. Raises DraftNotFound."""
        row = (await self._session.execute(self._select(_is(name)))).one_or_none()
        if row is None:
            message = f"there is no draft {name.draft} in {name.team}/{name.project}; open a new one"
            raise DraftNotFound(message, draft=str(name))
        return _draft(row)

    async def list(
        self, project: ProjectName, state: DraftState | None, page: Page, distributed_id: str = ""
    ) -> Listing[Draft]:
        """The drafts of a project, newest first; only those in one state, or of one distributed id, if given.

        Raises TeamNotFound, ProjectNotFound.
        """
        query = ("drafts", project, state, distributed_id)
        key = (col(DraftRow.create_time), col(DraftRow.id))
        conditions = [col(DraftRow.project_id) == project_id(project)]
        if state is not None:
            conditions.append(self._state() == state.value)
        if distributed_id:
            conditions.append(col(DraftRow.distributed_id) == distributed_id)
        if position := page.position(*query, of=(int, str)):
            moment = from_micros(position[0])
            conditions.append(or_(key[0] < moment, and_(key[0] == moment, key[1] < position[1])))
        statement = self._select(and_(*conditions)).order_by(*(column.desc() for column in key)).limit(page.size + 1)
        drafts = [_draft(row) for row in await self._session.execute(statement)]
        if not drafts and await self._session.scalar(select(project_id(project))) is None:
            raise await project_not_found(self._session, project)
        shown = tuple(drafts[: page.size])
        following = token([to_micros(shown[-1].create_time), shown[-1].name.draft], *query) if len(drafts) > len(shown) else ""
        return Listing(shown, following)

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

    async def prolong(self, name: DraftName, life: timedelta) -> tuple[int, int]:
        """Give an open draft `life` from now on, and lock it; how many entries it has, and its revision.

        Raises DraftNotFound, DraftNotOpen.
        """
        statement = self._update_open(name).values(expire_time=self._clock.sql(life))
        found = await self._session.execute(statement.returning(col(DraftRow.entry_count), col(DraftRow.revision)))
        row = found.one_or_none()
        if row is None:
            (await self.get(name)).require_open()
            raise AssertionError
        return row[0], row[1]

    async def seal(self, name: DraftName, layout: Digest, revision: int) -> bool:
        """Point an open draft to its manifest; false when it is another revision by now, or ended."""
        statement = self._update_open(name).where(col(DraftRow.revision) == revision).values(manifest=layout.sha256)
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
            comparison=_written(outcome.comparison),
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
        await self._session.execute(_update(name).values(is_swept=True, manifest=None, base_manifest=None))
        return True

    def _state(self) -> ColumnElement[str]:
        expired = and_(col(DraftRow.state) == DraftState.OPEN.value, col(DraftRow.expire_time) <= self._clock.sql())
        return case((expired, DraftState.EXPIRED.value), else_=col(DraftRow.state))

    def _has_ended(self) -> ColumnElement[bool]:
        return or_(col(DraftRow.state) != DraftState.OPEN.value, col(DraftRow.expire_time) <= self._clock.sql())

    def _update_open(self, name: DraftName) -> Any:
        return (
            update(DraftRow)
            .where(_is(name), col(DraftRow.state) == DraftState.OPEN.value, col(DraftRow.expire_time) > self._clock.sql())
            .execution_options(synchronize_session=False)
        )

    def _select(self, condition: ColumnElement[bool]) -> Select[Any]:
        """The drafts that fit, with what is known of them elsewhere."""
        statement: Any = (
            select(
                DraftRow,
                self._state().label("state"),
                col(ProjectRow.team),
                col(ProjectRow.name),
                col(CollectionRow.name),
                col(VersionRow.number),
            )
            .join(CollectionRow, col(CollectionRow.id) == col(DraftRow.collection_id))
            .join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
            .outerjoin(VersionRow, col(VersionRow.id) == col(DraftRow.version_id))
            .where(condition)
            .execution_options(populate_existing=True)
        )
        found: Select[Any] = statement
        return found


def _is(name: DraftName) -> ColumnElement[bool]:
    """Says which draft: by its id, in its project, or in one that its collection was in when the draft was opened."""
    here = col(DraftRow.project_id) == project_id(name.parent)
    prefix = f"{name.parent}/"
    moved = exists().where(
        col(CollectionChangeRow.collection_id) == col(DraftRow.collection_id),
        func.substr(col(CollectionChangeRow.from_collection), 1, len(prefix)) == prefix,
    )
    return and_(col(DraftRow.id) == name.draft, or_(here, moved))


def _update(name: DraftName) -> Any:
    return update(DraftRow).where(col(DraftRow.id) == name.draft).execution_options(synchronize_session=False)


def _written(comparison: Comparison | None) -> str:
    """As JSON, with the number of the version: its collection may get another name."""
    if comparison is None:
        return ""
    best = comparison.best_version
    return json.dumps(asdict(comparison) | {"goal": comparison.goal.value, "best_version": best.number if best else None})


def _read(collection: CollectionName, text: str) -> Comparison | None:
    if not text:
        return None
    values = json.loads(text)
    number = values["best_version"]
    best = None if number is None else collection.version(number)
    return Comparison(**values | {"goal": Goal(values["goal"]), "best_version": best})


def _draft(found: Any) -> Draft:
    row, state, team, project, collection_name, number = found
    collection = CollectionName(team, project, collection_name)
    outcome = None
    if number is not None:
        ignored = tuple(json.loads(row.ignored_fields))
        outcome = Outcome(
            collection.version(number), row.commit_fingerprint, row.deduplicated, ignored, _read(collection, row.comparison)
        )
    base = None
    if row.base:
        base = Base(VersionName.parse(row.base), Digest(row.base_manifest) if row.base_manifest else None)
    return Draft(
        name=DraftName(team, project, row.id),
        collection=collection,
        type=row.type,
        state=DraftState(state),
        create_time=row.create_time,
        expire_time=row.expire_time,
        entry_count=row.entry_count,
        layout=Digest(row.manifest) if row.manifest else None,
        outcome=outcome,
        revision=row.revision,
        base=base,
        distributed_id=row.distributed_id or "",
        creator=row.creator,
    )
