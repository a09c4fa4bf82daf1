"""Which runs used which versions."""

from __future__ import annotations

from modelkeep.names import VersionName
from sqlalchemy import func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock, Micros
from modelkeep_server.database.dialect import upsert
from modelkeep_server.metadata.domain.use import Recorded, Use
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.store.locate import in_collection
from modelkeep_server.metadata.store.tables import CollectionRow, ProjectRow, UseRow, VersionRow
from modelkeep_server.metadata.store.version import VersionRepository, version_not_found


class UseRepository:
    """Which runs used which versions."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def record(self, version: VersionName, use: Use, actor: str) -> Recorded:
        """Note that a run uses a live version now; once per run, the time of the last use apart (SEM-39).

        The row of the version is locked first, so that nobody deletes it meanwhile and no count is lost. Raises TeamNotFound,
        ProjectNotFound, CollectionNotFound, VersionNotFound, VersionDeleted.
        """
        version_id, uid = await self._lock(version)
        now = await self._clock.now(self._session)
        row = UseRow(
            version_id=version_id,
            run=str(use.run),
            run_display_name=use.run_display_name,
            alias_text=use.alias_text,
            first_time=now,
            actor=actor,
        )
        insert = upsert(self._session, UseRow).values(row.model_dump()).on_conflict_do_nothing()
        is_first = await self._session.scalar(insert.returning(col(UseRow.version_id))) is not None
        await self._session.execute(
            update(VersionRow)
            .where(col(VersionRow.id) == version_id)
            .values(
                use_count=col(VersionRow.use_count) + int(is_first),
                first_use_time=func.coalesce(col(VersionRow.first_use_time), literal(now, Micros())),
                last_use_time=now,
            )
            .execution_options(synchronize_session=False)
        )
        return Recorded(uid, is_first)

    async def _lock(self, version: VersionName) -> tuple[int, str]:
        statement = (
            select(col(VersionRow.id), col(VersionRow.uid), col(VersionRow.state))
            .join(CollectionRow, col(VersionRow.collection_id) == col(CollectionRow.id))
            .join(ProjectRow, col(CollectionRow.project_id) == col(ProjectRow.id))
            .where(in_collection(version.parent), col(VersionRow.number) == version.number)
            .with_for_update(key_share=True, of=VersionRow)
        )
        row = (await self._session.execute(statement)).one_or_none()
        if row is None or row.state != VersionState.COMMITTED.value:
            await VersionRepository(self._session, self._clock).get(version)  # says what is wrong
            raise await version_not_found(self._session, version)
        return row.id, row.uid
