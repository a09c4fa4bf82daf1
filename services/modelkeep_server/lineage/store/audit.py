"""What a check of the whole database reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from modelkeep.names import RunName
from sqlalchemy import and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.lineage.domain.problem import Problem, ProblemKind
from modelkeep_server.lineage.store.tables import ConfigValueRow, MetricRow, PointRow, RunRow, SummaryValueRow
from modelkeep_server.lineage.store.values import ValueTable, rows_of

MOST_PROBLEMS: Final = 1000
RUNS_AT_ONCE: Final = 32
"""Of up to 1.5 MiB of config and summary each."""
_NAME: Final = (col(RunRow.team), col(RunRow.project), col(RunRow.run))
_IS_LIVE: Final = col(RunRow.delete_time).is_(None)


class AuditRepository:
    """Looks for what does not fit together."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def points(self) -> Sequence[Problem]:
        """Metrics that do not have as many points as they say, and what is left of deleted runs; the first 1,000 of each."""
        key = (col(PointRow.run_id), col(PointRow.metric))
        kept = select(*key, func.count().label("count")).group_by(*key).subquery()
        beside = and_(kept.c.run_id == col(MetricRow.run_id), kept.c.metric == col(MetricRow.number))
        count = func.coalesce(kept.c.count, 0)
        wrong = (
            select(*_NAME, col(MetricRow.key), col(MetricRow.point_count), count.label("count"))
            .select_from(MetricRow)
            .join(RunRow, col(RunRow.id) == col(MetricRow.run_id))
            .outerjoin(kept, beside)
            .where(_IS_LIVE, count != col(MetricRow.point_count))
            .limit(MOST_PROBLEMS)
        )
        found = [
            Problem(
                ProblemKind.POINTS_WRONG,
                f"{_name(row)} {row.key!r}",
                f"it has {row.count} points and says {row.point_count}",
            )
            for row in await self._session.execute(wrong)
        ]
        theirs = exists().where(col(MetricRow.run_id) == col(RunRow.id))
        left = select(*_NAME).where(~_IS_LIVE, theirs).limit(MOST_PROBLEMS)
        detail = "it was deleted, and its metrics were not: delete it once more"
        rows = await self._session.execute(left)
        return [*found, *(Problem(ProblemKind.POINTS_LEFT, _name(row), detail) for row in rows)]

    async def values(self, after: int) -> tuple[Sequence[Problem], int]:
        """Runs of a batch that are not found by what their config and summary say, and where the next begins; 0 for none."""
        columns = (col(RunRow.id), *_NAME, col(RunRow.config_json), col(RunRow.summary_json))
        batch = select(*columns).where(col(RunRow.id) > after).order_by(col(RunRow.id)).limit(RUNS_AT_ONCE)
        runs = (await self._session.execute(batch)).all()
        ids = [run.id for run in runs]
        config, summary = [await self._rows(table, ids) for table in (ConfigValueRow, SummaryValueRow)]
        wrong = [
            Problem(ProblemKind.VALUES_WRONG, _name(run), f"filters and orders do not read what its {field} says")
            for run in runs
            for field, text, rows in (("config", run.config_json, config), ("summary", run.summary_json, summary))
            if rows[run.id] != {(value.entry, value.ordinal, value.text) for value in rows_of(text)}
        ]
        return wrong, ids[-1] if len(ids) == RUNS_AT_ONCE else 0

    async def _rows(self, table: ValueTable, ids: Sequence[int]) -> dict[int, set[tuple[str, int, str | None]]]:
        columns = (col(table.run_id), col(table.entry), col(table.ordinal), col(table.text))
        found: dict[int, set[tuple[str, int, str | None]]] = defaultdict(set)
        for row in await self._session.execute(select(*columns).where(col(table.run_id).in_(ids))):
            found[row.run_id].add((row.entry, row.ordinal, row.text))
        return found


def _name(row: Any) -> str:
    return str(RunName(row.team, row.project, row.run))
