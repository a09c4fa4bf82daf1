"""The rows of runs and of their tags."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

from modelkeep.errors import EtagMismatch, RunDeleted, RunExists, RunNotFound
from modelkeep.names import ProjectName, RunName, nearest
from sqlalchemy import and_, case, delete, exists, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock, Micros
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.filtering.expression import Query
from modelkeep_server.lineage.domain.run import Environment, HeldRun, NewRun, Run, RunState, RunWords, Source, deleted
from modelkeep_server.lineage.store.graph_node import delete_node_of_run, node_of_run
from modelkeep_server.lineage.store.run_listing import best_run, list_runs
from modelkeep_server.lineage.store.run_view import (
    Pulse,
    environment_columns,
    named,
    source_columns,
    to_run,
    view,
)
from modelkeep_server.lineage.store.tables import ConfigValueRow, RunRow, RunTagRow, SummaryValueRow
from modelkeep_server.lineage.store.values import EMPTY, keep_values

_SEARCHED: Final = 1000
"""Among how many ids the nearest is looked for."""
_LIVE: Final = col(RunRow.delete_time).is_(None)


class RunRepository:
    """All runs."""

    def __init__(self, session: AsyncSession, clock: Clock, silence: timedelta) -> None:
        """`silence` is how long a run may be silent before it counts as crashed."""
        self._session = session
        self._clock = clock
        self._pulse = Pulse(clock, silence)

    async def add(self, run: NewRun) -> None:
        """Begin a run. Raises RunExists, RunDeleted."""
        now = await self._clock.now(self._session)
        started = run.start_time or now
        row = RunRow(
            team=run.name.team,
            project=run.name.project,
            run=run.name.run,
            display_name=run.display_name,
            state=RunState.RUNNING.value,
            job_type=run.job_type,
            group_name=run.group,
            notes=run.notes,
            config_json=run.config_json,
            creator=run.creator,
            start_time=started,
            heartbeat_time=now,
            update_time=now,
            **source_columns(run.source),
            **environment_columns(run.environment),
        )
        statement = upsert(self._session, RunRow).values(row.model_dump(exclude={"id"}))
        made = await self._session.execute(statement.on_conflict_do_nothing().returning(col(RunRow.id)))
        id_ = made.scalar_one_or_none()
        if id_ is None:
            raise await self._exists(run.name)
        await self._add_tags(id_, run.tags)
        await keep_values(self._session, ConfigValueRow, id_, EMPTY, run.config_json)
        await node_of_run(self._session, run.name, job_type=run.job_type, display_name=run.display_name, create_time=started)

    async def get(self, name: RunName) -> Run:
        """A run. Raises RunNotFound, RunDeleted."""
        statement = view(self._pulse).where(named(name), _LIVE)
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            raise await missing(self._session, name)
        return to_run(row)

    async def list(self, project: ProjectName, page: Page, query: Query) -> Listing[Run]:
        """The runs that `query` asks for. Raises InvalidPageToken."""
        return await list_runs(self._session, self._pulse, project, query, page)

    async def are_any(self, project: ProjectName) -> bool:
        """Whether a project ever had a run."""
        theirs = and_(col(RunRow.team) == project.team, col(RunRow.project) == project.project)
        return await self._session.scalar(select(exists().where(theirs))) is True

    async def best(self, project: ProjectName, path: tuple[str, ...], query: Query, *, largest: bool) -> Run | None:
        """The run with the largest or smallest number at a path of its summary."""
        return await best_run(self._session, self._pulse, project, path, query, largest=largest)

    async def lock(self, name: RunName) -> HeldRun:
        """Hold a run until the transaction ends. Raises RunNotFound, RunDeleted."""
        columns = (col(RunRow.id), col(RunRow.summary_json), col(RunRow.metric_count))
        derived = (self._pulse.state().label("state"), self._pulse.end_time().label("end_time"))
        statement = select(*columns, *derived).where(named(name), _LIVE).with_for_update()
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            raise await missing(self._session, name)
        return HeldRun(row.id, name, RunState(row.state), row.end_time, row.summary_json, row.metric_count)

    async def update(self, name: RunName, words: RunWords, etag: str) -> None:
        """Edit the words of a run, if its etag is still `etag` or that is empty.

        Raises RunNotFound, RunDeleted, EtagMismatch.
        """
        needed = (RunRow.id, RunRow.config_json, RunRow.revision, RunRow.job_type, RunRow.start_time)
        found = select(*map(col, needed)).where(named(name), _LIVE).with_for_update()
        row = (await self._session.execute(found)).one_or_none()
        if row is None:
            raise await missing(self._session, name)
        if etag and etag != str(row.revision):
            message = f"the run {name.run!r} was edited meanwhile; read it again and decide anew"
            raise EtagMismatch(message, etag=str(row.revision))
        await self._session.execute(self._edit(row.id).values(_columns(words)))
        if words.config_json is not None:
            await keep_values(self._session, ConfigValueRow, row.id, row.config_json, words.config_json)
        if words.display_name is not None:
            shown, began = words.display_name, row.start_time
            await node_of_run(self._session, name, job_type=row.job_type, display_name=shown, create_time=began)

    async def edit_tags(self, run: HeldRun, add: Collection[str], remove: Collection[str]) -> None:
        """Put tags on a run and take others off it."""
        await self._add_tags(run.id, add)
        if remove:
            theirs = and_(col(RunTagRow.run_id) == run.id, col(RunTagRow.tag).in_(sorted(remove)))
            await self._session.execute(delete(RunTagRow).where(theirs).execution_options(synchronize_session=False))
        await self._session.execute(self._edit(run.id))

    async def beat(self, name: RunName) -> bool:
        """Note that a run is alive; false when there is no such run, or it has ended."""
        alive = and_(named(name), _LIVE, col(RunRow.state) == RunState.RUNNING.value)
        statement = update(RunRow).where(alive).values(heartbeat_time=self._clock.sql()).returning(col(RunRow.id))
        beaten = await self._session.execute(statement.execution_options(synchronize_session=False))
        return beaten.scalar_one_or_none() is not None

    async def progress(self, run: HeldRun, summary_json: str, metric_count: int) -> None:
        """Note that a run is alive, and what its summary is now."""
        values: dict[str, Any] = {"heartbeat_time": self._clock.sql(), "metric_count": metric_count}
        if summary_json != run.summary_json:
            values["summary_json"] = summary_json
        await self._set(run, **values)
        await keep_values(self._session, SummaryValueRow, run.id, run.summary_json, summary_json)

    async def end(self, run: HeldRun, state: RunState, end_time: datetime | None) -> None:
        """End a run; without a time, now. By whatever clock it began, it does not end before that."""
        now = self._clock.sql()
        ended = literal(end_time, Micros()) if end_time else now
        never_before = case((col(RunRow.start_time) > ended, col(RunRow.start_time)), else_=ended)
        await self._set(run, state=state.value, end_time=never_before, heartbeat_time=now)

    async def resume(self, run: HeldRun) -> None:
        """Make a run RUNNING, once more."""
        count = col(RunRow.resume_count) + 1
        running = RunState.RUNNING.value
        await self._set(run, state=running, end_time=None, heartbeat_time=self._clock.sql(), resume_count=count)

    async def lock_deleted(self, name: RunName) -> bool:
        """Hold a run, deleted or not, until the transaction ends; whether it was deleted. Raises RunNotFound."""
        held = select(col(RunRow.delete_time).is_not(None)).where(named(name)).with_for_update()
        gone = await self._session.scalar(held)
        if gone is None:
            raise await missing(self._session, name)
        return gone

    async def delete(self, run: HeldRun, actor: str, reason: str) -> None:
        """Leave of a run only that it was deleted."""
        for table in (RunTagRow, ConfigValueRow, SummaryValueRow):
            theirs = delete(table).where(col(table.run_id) == run.id)
            await self._session.execute(theirs.execution_options(synchronize_session=False))
        nothing = {"config_json": EMPTY, "summary_json": EMPTY, "display_name": "", "group_name": "", "notes": ""}
        nothing |= source_columns(Source()) | environment_columns(Environment())
        now = await self._clock.now(self._session)
        gone = {"delete_time": now, "delete_actor": actor, "delete_reason": reason}
        await self._set(run, **nothing, **gone)
        await delete_node_of_run(self._session, run.name, now)

    async def _add_tags(self, id_: int, tags: Collection[str]) -> None:
        if tags:
            rows = [{"run_id": id_, "tag": tag} for tag in sorted(tags)]
            await self._session.execute(upsert(self._session, RunTagRow).values(rows).on_conflict_do_nothing())

    async def _exists(self, name: RunName) -> RunExists | RunDeleted:
        """The error for an id that is taken."""
        error = await missing(self._session, name)
        if isinstance(error, RunDeleted):
            return error
        message = f"a run {name.run!r} is there already; resume it (ResumeRun), or begin one under another id"
        return RunExists(message, run=str(name))

    async def _set(self, run: HeldRun, **values: Any) -> None:
        statement = update(RunRow).where(col(RunRow.id) == run.id).values(values)
        await self._session.execute(statement.execution_options(synchronize_session=False))

    def _edit(self, id_: int) -> Any:
        revision = col(RunRow.revision) + 1
        statement = update(RunRow).where(col(RunRow.id) == id_).values(update_time=self._clock.sql(), revision=revision)
        return statement.execution_options(synchronize_session=False)


def _columns(words: RunWords) -> dict[str, Any]:
    plain = {
        "display_name": words.display_name,
        "group_name": words.group,
        "notes": words.notes,
        "config_json": words.config_json,
        "code_version": words.code_version,
    }
    source = source_columns(words.source) if words.source else {}
    environment = environment_columns(words.environment) if words.environment else {}
    return source | environment | {name: value for name, value in plain.items() if value is not None}


async def missing(session: AsyncSession, name: RunName) -> RunNotFound | RunDeleted:
    """The error to raise when a run is not there: it was deleted, or never was."""
    columns = (col(RunRow.delete_actor), col(RunRow.delete_reason), col(RunRow.delete_time))
    row = (await session.execute(select(*columns).where(named(name)))).one_or_none()
    if row is not None and row.delete_time is not None:
        return deleted(name, row.delete_actor, row.delete_reason, row.delete_time)
    among = and_(col(RunRow.team) == name.team, col(RunRow.project) == name.project, _LIVE)
    newest = select(col(RunRow.run)).where(among).order_by(col(RunRow.start_time).desc(), col(RunRow.id).desc())
    existing = (await session.scalars(newest.limit(_SEARCHED))).all()
    near = nearest(name.run, existing)
    hint = f"did you mean {near!r}?" if near else f"the newest is {existing[0]!r}" if existing else "it has none yet"
    message = f"there is no run {name.run!r} in {name.team}/{name.project}; {hint}"
    return RunNotFound(message, run=str(name), nearest=near)
