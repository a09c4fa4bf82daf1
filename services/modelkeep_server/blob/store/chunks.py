"""Chunks, and which teams hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelkeep.digest import Digest
from sqlalchemy import Select, case, exists, literal, or_, select, union_all, update

from modelkeep_server.blob.domain import Chunk, ChunkRecord, ChunkState, ObjectName, StoredChunk
from modelkeep_server.blob.store.statements import insert
from modelkeep_server.blob.store.tables import ChunkRow, HoldingRow, TombstoneRow, UploadGrantRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from modelkeep.names import TeamName
    from sqlalchemy.ext.asyncio import AsyncSession

    from modelkeep_server.database.clock import Clock

chunk = ChunkRow.__table__  # type: ignore[attr-defined]
holding = HoldingRow.__table__  # type: ignore[attr-defined]
_COLUMNS = (chunk.c.digest, chunk.c.size_bytes, chunk.c.generation, chunk.c.state)


class ChunkRows:
    """The chunks, inside one transaction."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def held(self, team: TeamName, digests: Collection[Digest]) -> dict[Digest, StoredChunk]:
        """Those that the team holds, whatever their state. Changes and protects nothing."""
        return await self._chunks(_held(team, digests, *_COLUMNS)) if digests else {}

    async def revive(self, team: TeamName, digests: Collection[Digest], epoch: int = 0) -> dict[Digest, StoredChunk]:
        """Those that are live or condemned and held by the team; live and, from `epoch` on, confirmed in the same statement.

        The inner query locks chunk and holding, in the order of the digests: two callers never wait for each other in a
        circle, and what a sweep deletes meanwhile is not reported. Since the chunk's row itself is updated, a sweep that
        waits for it sees the change (RELIABILITY §3, the PostgreSQL trap).
        """
        if not digests:
            return {}
        mine = _held(team, digests, chunk.c.digest).where(chunk.c.state != ChunkState.ROTTEN)
        statement = (
            update(ChunkRow)
            .where(chunk.c.digest.in_(mine.order_by(chunk.c.digest).with_for_update(key_share=True)))
            .values(
                state=ChunkState.LIVE,
                confirmed_epoch=case((chunk.c.confirmed_epoch < epoch, epoch), else_=chunk.c.confirmed_epoch),
            )
            .returning(*_COLUMNS)
        )
        return await self._chunks(statement)

    async def hold(self, team: TeamName, digests: Collection[Digest]) -> None:
        """Let the team hold chunks that `revive` answered in the same transaction."""
        if not digests:
            return
        columns = (literal(team.team), chunk.c.digest, self._clock.sql())
        theirs = select(*columns).where(chunk.c.digest.in_([digest.sha256 for digest in digests])).order_by(chunk.c.digest)
        statement = insert(self._session, holding).from_select(["team", "digest", "create_time"], theirs)
        await self._session.execute(statement.on_conflict_do_nothing())

    async def publish(self, team: TeamName, objects: Mapping[ObjectName, int]) -> set[ObjectName]:
        """Make chunks of objects, given with their sizes, and let the team hold them.

        Returns the objects that are not needed, because another object has the bytes already.
        """
        if not objects:
            return set()
        names = sorted(objects)
        now = self._clock.sql()
        insertion = insert(self._session, chunk).values(create_time=now, live_time=now)
        is_rotten = chunk.c.state == ChunkState.ROTTEN
        statement = insertion.on_conflict_do_update(
            index_elements=[chunk.c.digest],
            set_={
                "generation": case((is_rotten, insertion.excluded.generation), else_=chunk.c.generation),
                "live_time": case((is_rotten, insertion.excluded.live_time), else_=chunk.c.live_time),
                "state": ChunkState.LIVE,
            },
        ).returning(chunk.c.digest, chunk.c.generation)
        values = [
            {
                "digest": name.digest.sha256,
                "size_bytes": objects[name],
                "generation": name.generation,
                "state": ChunkState.LIVE,
                "confirmed_epoch": 0,
            }
            for name in names
        ]
        live = {ObjectName(Digest(row[0]), row[1]) for row in await self._session.execute(statement, values)}
        holdings = [{"team": team.team, "digest": name.digest.sha256} for name in names]
        holds = insert(self._session, holding).values(create_time=now).on_conflict_do_nothing()
        await self._session.execute(holds, holdings)
        return set(names) - live

    async def page(self, after: Digest | None, limit: int) -> list[ChunkRecord]:
        """All chunks in the order of their digests."""
        is_held = exists().where(holding.c.digest == chunk.c.digest)
        is_doomed = or_(*(exists().where(other.c.generation == chunk.c.generation) for other in _OTHERS))
        statement = select(*_COLUMNS, is_held, is_doomed).order_by(chunk.c.digest).limit(limit)
        if after is not None:
            statement = statement.where(chunk.c.digest > after.sha256)
        return [ChunkRecord(_chunk(row), bool(row[4]), bool(row[5])) for row in await self._session.execute(statement)]

    async def known(self, names: Collection[ObjectName]) -> set[ObjectName]:
        """Those objects that a chunk, a grant or a tombstone names."""
        if not names:
            return set()
        generations = [name.generation for name in names]
        digests = [name.digest.sha256 for name in names]
        chunks = select(chunk.c.digest, chunk.c.generation).where(chunk.c.digest.in_(digests))
        others = [select(t.c.digest, t.c.generation).where(t.c.generation.in_(generations)) for t in _OTHERS]
        rows = await self._session.execute(union_all(chunks, *others))
        return {ObjectName(Digest(row[0]), row[1]) for row in rows} & set(names)

    async def _chunks(self, statement: Any) -> dict[Digest, StoredChunk]:
        found = [_chunk(row) for row in await self._session.execute(statement)]
        return {stored.chunk.digest: stored for stored in found}


_OTHERS = (UploadGrantRow.__table__, TombstoneRow.__table__)  # type: ignore[attr-defined]


def _held(team: TeamName, digests: Collection[Digest], *columns: Any) -> Select[Any]:
    joined = select(*columns).join_from(chunk, holding, chunk.c.digest == holding.c.digest)
    return joined.where(holding.c.team == literal(team.team), holding.c.digest.in_([digest.sha256 for digest in digests]))


def _chunk(row: Any) -> StoredChunk:
    return StoredChunk(Chunk(Digest(row[0]), row[1]), row[2], ChunkState(row[3]))
