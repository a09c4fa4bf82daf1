"""The graph, as it is written from events: by one process at a time, a piece of a log in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from modelkeep.names import ProjectName
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.engine import Database
from modelkeep_server.lineage.domain.graph_delta import deltas
from modelkeep_server.lineage.domain.graph_event import GraphEvent
from modelkeep_server.lineage.ports.graph import OwnerChanged
from modelkeep_server.lineage.store.graph_settle import has_unsettled, settle
from modelkeep_server.lineage.store.graph_write import write
from modelkeep_server.lineage.store.tables import CursorRow, OwnerRow

DUTY = "graph"
"""What the owner owns."""


class SqlGraphLog:
    """The graph in the service's database."""

    def __init__(self, database: Database, clock: Clock, lease_seconds: float = 30) -> None:
        self._database = database
        self._clock = clock
        self._lease = timedelta(seconds=lease_seconds)

    async def own(self, holder: str) -> int | None:
        """Take the ownership, or keep it; its epoch, or None while another process has it."""
        is_settled, epoch = await self._database.look(lambda session: self._held(session, holder))
        if is_settled:
            return epoch

        async def take(session: AsyncSession) -> int | None:
            row = {"duty": DUTY, "holder": "", "epoch": 0, "lease_until": self._clock.sql()}
            await session.execute(upsert(session, OwnerRow).values(row).on_conflict_do_nothing())
            owner = (await session.execute(select(OwnerRow).where(col(OwnerRow.duty) == DUTY).with_for_update())).scalar_one()
            now = await self._clock.now(session)
            if owner.holder != holder:
                if owner.holder and owner.lease_until > now:
                    return None
                owner.holder, owner.epoch = holder, owner.epoch + 1
            owner.lease_until = now + self._lease
            return owner.epoch

        return await self._database.write(take)

    async def _held(self, session: AsyncSession, holder: str) -> tuple[bool, int | None]:
        """Whether there is nothing to write, and then the epoch: another has it, or more than half of the lease is left."""
        columns = (col(OwnerRow.holder), col(OwnerRow.epoch), col(OwnerRow.lease_until), self._clock.sql().label("now"))
        owner = (await session.execute(select(*columns).where(col(OwnerRow.duty) == DUTY))).one_or_none()
        if owner is None or not owner.holder:
            return False, None
        if owner.holder != holder:
            return owner.lease_until > owner.now, None
        return owner.lease_until - owner.now > self._lease / 2, owner.epoch

    async def release(self, holder: str) -> None:
        """Give the ownership up, if one has it."""
        await self._let_go(col(OwnerRow.holder) == holder)

    async def evict(self) -> None:
        """Take the ownership from whoever has it; a process that lives and does not know it yet writes nothing more."""
        await self._let_go(col(OwnerRow.holder) != "")

    async def _let_go(self, which: ColumnElement[bool]) -> None:
        async def work(session: AsyncSession) -> None:
            await session.execute(update(OwnerRow).where(col(OwnerRow.duty) == DUTY, which).values(holder=""))

        await self._database.write(work)

    async def apply(self, epoch: int, project: ProjectName, after: int, events: Sequence[GraphEvent]) -> bool:
        """Bring the graph from the event `after` of a project to the last of `events`, all or nothing.

        False when the log was read from there already, so that nothing counts twice. Raises OwnerChanged.
        """

        async def work(session: AsyncSession) -> bool:
            await self._require(session, epoch)
            # Locked, so that `forget` comes before or after, and its 0 is not written over.
            wanted = select(col(CursorRow.sequence), col(CursorRow.event_time)).where(_of(project)).with_for_update()
            known = (await session.execute(wanted)).one_or_none()
            if (known.sequence if known else 0) != after:
                return False
            for delta in deltas(events):
                await write(session, delta)
            # A piece that is read again is older than what the graph holds, which is asked for as of the newest of these times.
            times = [event.time for event in events] + ([known.event_time] if known else [])
            place = {"sequence": events[-1].sequence, "event_time": max(times)}
            row = {"team": project.team, "project": project.project, **place}
            moved = upsert(session, CursorRow).values(row)
            await session.execute(moved.on_conflict_do_update(index_elements=["team", "project"], set_=place))
            return True

        return await self._database.write(work)

    async def settle(self, epoch: int) -> bool:
        """Let some edges say the present labels of their nodes; false when all do. Raises OwnerChanged, if any do not."""
        if not await self._database.look(has_unsettled):
            return False

        async def work(session: AsyncSession) -> bool:
            await self._require(session, epoch)
            return await settle(session)

        return await self._database.write(work)

    async def set_back(self, epoch: int, project: ProjectName, sequence: int) -> None:
        """Read the log of a project, which was read up to `sequence`, again from its beginning. Raises OwnerChanged."""

        async def work(session: AsyncSession) -> None:
            await self._require(session, epoch)
            is_there = _of(project) & (col(CursorRow.sequence) == sequence)
            await session.execute(update(CursorRow).where(is_there).values(sequence=0))

        await self._database.write(work)

    async def cursors(self) -> Mapping[ProjectName, int]:
        """How far the logs of all projects were read."""

        async def read(session: AsyncSession) -> Mapping[ProjectName, int]:
            columns = (col(CursorRow.team), col(CursorRow.project), col(CursorRow.sequence))
            return {ProjectName(team, name): sequence for team, name, sequence in await session.execute(select(*columns))}

        return await self._database.look(read)

    async def forget(self) -> None:
        """Read all logs again from their beginnings: what is there already does not change, what is missing comes."""

        async def work(session: AsyncSession) -> None:
            await session.execute(update(CursorRow).values(sequence=0))

        await self._database.write(work)

    async def _require(self, session: AsyncSession, epoch: int) -> None:
        """Keep the row of the owner locked to the end of the transaction, and the lease alive: nobody takes over meanwhile."""
        mine = (col(OwnerRow.duty) == DUTY) & (col(OwnerRow.epoch) == epoch) & (col(OwnerRow.holder) != "")
        kept = update(OwnerRow).where(mine).values(lease_until=self._clock.sql(self._lease)).returning(col(OwnerRow.epoch))
        if await session.scalar(kept.execution_options(synchronize_session=False)) is None:
            raise OwnerChanged


def _of(project: ProjectName) -> ColumnElement[bool]:
    return (col(CursorRow.team) == project.team) & (col(CursorRow.project) == project.project)
