"""Lists of runs: of a project or a team, filtered, sorted, page by page; and the best of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from modelkeep.names import ANY, ProjectName
from sqlalchemy import ColumnElement, Select, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.listing import fitting
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.filtering.expression import EVERYTHING, By, Every, Expression, JsonCompare, Operator, Query
from modelkeep_server.filtering.ordering import Key, parts, written
from modelkeep_server.filtering.sql import condition
from modelkeep_server.lineage.domain.run import Run
from modelkeep_server.lineage.store.run_fields import column, micros, moments, run_columns
from modelkeep_server.lineage.store.run_view import LONG, Pulse, to_run, view
from modelkeep_server.lineage.store.tables import RunRow, RunTagRow

_WORDS: Final = (
    RunRow.display_name,
    RunRow.job_type,
    RunRow.group_name,
    RunRow.notes,
    RunRow.config_json,
    RunRow.summary_json,
    RunRow.repository_url,
    RunRow.commit_id,
    RunRow.branch,
    RunRow.code_version,
    RunRow.entry_point,
    RunRow.host,
    RunRow.user_name,
    RunRow.operating_system,
    RunRow.python_version,
    RunRow.creator,
)
_FIXED_CHARACTERS: Final = 256
"""Of a run, beside its words and tags: four bytes each, so room for 1 KiB of names, times and numbers."""
_NEWEST: Final = (Key(micros(col(RunRow.start_time)), descending=True), Key(column(RunRow.id), descending=True))
_OLDEST: Final = (Key(micros(col(RunRow.start_time))), Key(column(RunRow.id)))


async def list_runs(session: AsyncSession, pulse: Pulse, project: ProjectName, query: Query, page: Page) -> Listing[Run]:
    """The runs that `query` asks for. At most three statements, however many runs there are. Raises InvalidPageToken."""
    bound = ("runs", project, query.filter, query.order_by)
    keys = len(query.order) + len(_NEWEST)
    columns = run_columns(pulse)
    statement = _where(_lengths(project), query.where, pulse)
    found: list[Any] = []
    for part in parts(statement, query.order, _NEWEST, columns, page.position(*bound, of=(str,) * keys)):
        found += (await session.execute(part.limit(page.size + 1 - len(found)))).all()
        if len(found) > page.size:
            break
    if not found:
        return Listing(())
    count = fitting([row.length for row in found], page.size)
    runs = await _chosen(session, view(pulse, without=LONG), [row.id for row in found[:count]])
    following = token(written(found[count - 1], keys), *bound) if count < len(found) else ""
    return Listing(tuple(runs), following)


async def best_run(
    session: AsyncSession,
    pulse: Pulse,
    project: ProjectName,
    path: tuple[str, ...],
    query: Query,
    *,
    largest: bool,
) -> Run | None:
    """The run with the largest or smallest number at a path of its summary. Two statements."""
    is_number = JsonCompare("summary", path, Operator.GE, -math.inf)
    statement = _where(_ids(project), Every((is_number, query.where)), pulse)
    by = By("summary", path, descending=largest)
    having, *_ = parts(statement, [by], _OLDEST, run_columns(pulse), None)
    id_ = await session.scalar(having.limit(1))
    return None if id_ is None else (await _chosen(session, view(pulse), [id_]))[0]


async def _chosen(session: AsyncSession, statement: Select[Any], ids: Sequence[int]) -> list[Run]:
    """Some runs, in that order."""
    rows = {row.id: row for row in await session.execute(statement.where(col(RunRow.id).in_(ids)))}
    return [to_run(rows[id_]) for id_ in ids if id_ in rows]


def _where(statement: Select[Any], where: Expression, pulse: Pulse) -> Select[Any]:
    if where == EVERYTHING:
        return statement
    return statement.where(condition(where, run_columns(pulse), moments(pulse.clock)))


def _ids(project: ProjectName) -> Select[Any]:
    """The ids of the runs of a project, or of all of a team."""
    return select(col(RunRow.id).label("id")).where(_among(project), col(RunRow.delete_time).is_(None))


def _lengths(project: ProjectName) -> Select[Any]:
    """The ids of runs, and how many characters they have on the wire, at most."""
    total: Any = literal(_FIXED_CHARACTERS)
    for word in _WORDS:
        total = total + func.length(col(word))
    lengths = select(func.coalesce(func.sum(func.length(col(RunTagRow.tag)) + 1), 0))
    total = total + lengths.where(col(RunTagRow.run_id) == col(RunRow.id)).correlate(RunRow).scalar_subquery()
    return _ids(project).add_columns(total.label("length"))


def _among(project: ProjectName) -> ColumnElement[bool]:
    of_team = col(RunRow.team) == project.team
    return of_team if project.project == ANY else and_(of_team, col(RunRow.project) == project.project)
