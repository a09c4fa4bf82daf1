"""The event log of each project (SEM-58)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from typing import Any, Final, get_args
from uuid import uuid4

from modelkeep.names import ProjectName
from pydantic import TypeAdapter
from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.metadata.domain.event import Event, EventHead, Happening
from modelkeep_server.metadata.store.locate import project_not_found
from modelkeep_server.metadata.store.tables import EventRow, ProjectRow

_KINDS: Final = {kind.__name__: TypeAdapter(kind) for kind in get_args(Happening)}


class EventRepository:
    """The events of all projects."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def append(self, happenings: Sequence[tuple[ProjectName, str, Happening]]) -> None:
        """Give events their numbers and write them: for each project one UPDATE, then one INSERT.

        The row of the project stays locked from here to the commit, so a reader never sees a number before a smaller one.
        Projects are locked in the order of their names, so two transactions never wait for each other.
        """
        for project, group in groupby(sorted(happenings, key=lambda noted: noted[0]), key=lambda noted: noted[0]):
            noted = list(group)
            project_id, last, time = await self._count(project, len(noted))
            first = last - len(noted) + 1
            rows = [_row(project_id, first + i, time, actor, fact) for i, (_, actor, fact) in enumerate(noted)]
            await self._session.execute(insert(EventRow), rows)

    async def _count(self, project: ProjectName, how_many: int) -> tuple[int, int, datetime]:
        statement = (
            update(ProjectRow)
            .where(col(ProjectRow.team) == project.team, col(ProjectRow.name) == project.project)
            .values(event_sequence=col(ProjectRow.event_sequence) + how_many)
            # The clock is read once the row is locked, so that the times rise with the numbers.
            .returning(col(ProjectRow.id), col(ProjectRow.event_sequence), self._clock.sql().label("time"))
            .execution_options(synchronize_session=False)
        )
        counted: Any = (await self._session.execute(statement)).one()
        return counted.id, counted.event_sequence, counted.time

    async def after(self, project: ProjectName, sequence: int, size: int) -> tuple[tuple[Event, ...], int]:
        """At most `size` events with a higher sequence, oldest first, and the last sequence of the project.

        Raises TeamNotFound, ProjectNotFound.
        """
        head = select(col(ProjectRow.id), col(ProjectRow.event_sequence))
        head = head.where(col(ProjectRow.team) == project.team, col(ProjectRow.name) == project.project)
        found = (await self._session.execute(head)).one_or_none()
        if found is None:
            raise await project_not_found(self._session, project)
        rows = select(EventRow).where(
            col(EventRow.project_id) == found.id,
            col(EventRow.sequence) > sequence,
            # The two statements may see different commits; what came between them belongs to the next page.
            col(EventRow.sequence) <= found.event_sequence,
        )
        events = await self._session.scalars(rows.order_by(col(EventRow.sequence)).limit(size))
        return tuple(_event(project, row) for row in events), found.event_sequence

    async def heads(self, page: Page) -> Listing[EventHead]:
        """The last sequence of every project, by project."""
        key = (col(ProjectRow.team), col(ProjectRow.name))
        statement = select(*key, col(ProjectRow.event_sequence)).order_by(*key).limit(page.size + 1)
        if position := page.position("event heads", of=(str, str)):
            statement = statement.where(tuple_(*key) > tuple_(*position))
        rows = (await self._session.execute(statement)).all()
        heads = tuple(EventHead(ProjectName(team, name), last) for team, name, last in rows[: page.size])
        following = token([heads[-1].project.team, heads[-1].project.project], "event heads") if len(rows) > page.size else ""
        return Listing(heads, following)


def _row(project_id: int, sequence: int, time: datetime, actor: str, happening: Happening) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "sequence": sequence,
        "uid": str(uuid4()),
        "event_time": time,
        "actor": actor,
        "kind": type(happening).__name__,
        "payload": json.dumps(asdict(happening), ensure_ascii=False, separators=(",", ":")),
    }


def _event(project: ProjectName, row: EventRow) -> Event:
    happening = _KINDS[row.kind].validate_json(row.payload)
    return Event(row.uid, project, row.sequence, row.event_time, row.actor, happening)
