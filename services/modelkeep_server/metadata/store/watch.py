"""What those who watch aliases want to know: states by one statement each, and the news of many logs by two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelkeep.names import LATEST, AliasName, ProjectName
from sqlalchemy import Select, and_, bindparam, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.metadata.domain.watch import AliasState, Log
from modelkeep_server.metadata.store.locate import collection_not_found
from modelkeep_server.metadata.store.tables import AliasRow, CollectionRow, EventRow, ProjectRow, VersionRow
from modelkeep_server.metadata.store.version_view import LATEST_NUMBER, place, to_version, view

PROJECTS_AT_ONCE: Final = 500
"""Of how many projects one statement asks."""
EVENTS_READ: Final = 1000
"""A project with more new events than this is crowded: it is cheaper to look at its watched aliases than at the events."""

_MOVING: Final = ("AliasMoved", "CollectionRenamed", "VersionCommitted", "VersionDeleted", "VersionRestored")
"""The kinds of events after which an alias may point elsewhere."""

_watched = aliased(AliasRow, name="watched")
_target = (
    select(col(AliasRow.version_id))
    .where(col(AliasRow.collection_id) == col(CollectionRow.id), col(AliasRow.alias) == bindparam("alias"))
    .correlate(CollectionRow)
    .scalar_subquery()
)
_LATEST: Final = view(col(VersionRow.number) == LATEST_NUMBER)
_ALIAS: Final = (
    view(col(VersionRow.id) == _target)
    .outerjoin(_watched, and_(col(_watched.collection_id) == col(CollectionRow.id), col(_watched.alias) == bindparam("alias")))
    .add_columns(
        col(_watched.seq).label("alias_seq"),
        col(_watched.update_time).label("alias_time"),
        col(_watched.actor).label("alias_actor"),
        col(_watched.reason).label("alias_reason"),
    )
)


class WatchRepository:
    """States of aliases, and the news of the event logs."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def state(self, name: AliasName) -> AliasState:
        """Where an alias points, by one statement. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        is_latest = name.alias == LATEST
        statement: Select[Any] = (_LATEST if is_latest else _ALIAS).add_columns(
            col(ProjectRow.event_sequence), self._clock.sql().label("read_time")
        )
        values = place(name.parent) | ({} if is_latest else {"alias": name.alias})
        row: Any = (await self._session.execute(statement, values)).one_or_none()
        if row is None:
            raise await collection_not_found(self._session, name.parent)
        version = to_version(row)
        events, read = row.event_sequence, row.read_time
        if is_latest:
            return AliasState(name, version, events, version.create_time if version else None, "", "", events, read)
        actor, reason = row.alias_actor or "", row.alias_reason or ""
        return AliasState(name, version, row.alias_seq or 0, row.alias_time, actor, reason, events, read)

    async def news(self, seen: Mapping[ProjectName, int]) -> Log:
        """What came after the events seen of each project: one statement, and one more when there is anything."""
        projects = list(seen)
        found = [row for start in range(0, len(projects), PROJECTS_AT_ONCE) for row in await self._heads(projects[start:])]
        moved = {row.id: row for row in found if row.event_sequence > seen[_project(row)]}
        few = [row for row in moved.values() if row.event_sequence - seen[_project(row)] <= EVENTS_READ]
        payloads = [
            (_project(moved[event.project_id]), event.payload)
            for start in range(0, len(few), PROJECTS_AT_ONCE)
            for event in await self._events(few[start : start + PROJECTS_AT_ONCE], seen)
        ]
        return Log(
            heads={_project(row): row.event_sequence for row in found},
            payloads=payloads,
            crowded=frozenset(map(_project, moved.values())) - frozenset(map(_project, few)),
            read_time=found[0].read_time if found else await self._clock.now(self._session),
        )

    async def _heads(self, projects: Sequence[ProjectName]) -> Sequence[Any]:
        some = [(project.team, project.project) for project in projects[:PROJECTS_AT_ONCE]]
        statement = select(
            col(ProjectRow.id),
            col(ProjectRow.team),
            col(ProjectRow.name),
            col(ProjectRow.event_sequence),
            self._clock.sql().label("read_time"),
        )
        found = await self._session.execute(statement.where(tuple_(col(ProjectRow.team), col(ProjectRow.name)).in_(some)))
        return found.all()

    async def _events(self, heads: Sequence[Any], seen: Mapping[ProjectName, int]) -> Sequence[Any]:
        news = [
            and_(
                col(EventRow.project_id) == row.id,
                col(EventRow.sequence) > seen[_project(row)],
                col(EventRow.sequence) <= row.event_sequence,
            )
            for row in heads
        ]
        if not news:
            return []
        statement = select(col(EventRow.project_id), col(EventRow.payload)).where(or_(*news), col(EventRow.kind).in_(_MOVING))
        return (await self._session.execute(statement)).all()


def _project(row: Any) -> ProjectName:
    return ProjectName(row.team, row.name)
