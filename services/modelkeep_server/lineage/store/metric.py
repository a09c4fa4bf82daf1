"""The rows of metrics and their points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from modelkeep.errors import MetricNotFound
from modelkeep.names import RunName, nearest
from sqlalchemy import ARRAY, BigInteger, Double, Integer, and_, bindparam, delete, exists, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.keys import Keys, as_parameter
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.lineage.domain.metric import Batch, Metric, MetricSummary, Point
from modelkeep_server.lineage.domain.run import HeldRun
from modelkeep_server.lineage.store.run import missing
from modelkeep_server.lineage.store.run_view import named, run_id
from modelkeep_server.lineage.store.tables import MetricRow, PointRow, RunRow

_SHOWN: Final = 20
"""How many existing metrics an error tells."""
_SEARCHED: Final = 1000
"""Among how many the nearest is looked for."""
_WANTED: Final = Keys("wanted")
_SOME: Final = (
    select(*MetricRow.__table__.columns)  # type: ignore[attr-defined]
    .select_from(_WANTED.table)
    .join(MetricRow, and_(col(MetricRow.run_id) == bindparam("run"), col(MetricRow.key) == _WANTED.text(1)))
)
_POINT_COLUMNS: Final[dict[str, Any]] = {
    "metric": Integer(),
    "ordinal": BigInteger(),
    "step": BigInteger(),
    "value": Double(),
    "time_micros": BigInteger(),
}


class MetricRepository:
    """The metrics of all runs, and their points."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def some(self, run: HeldRun, keys: Sequence[str]) -> Mapping[str, Metric]:
        """Those metrics of a run that there are, by key."""
        if not keys:
            return {}
        rows = await self._session.execute(_SOME, {"run": run.id, "wanted": as_parameter((key,) for key in keys)})
        return {row.key: _metric(row) for row in rows}

    async def keep(self, run: HeldRun, metrics: Sequence[Metric], batches: Sequence[Batch]) -> None:
        """Write metrics as they are now, and add points. Two statements, however many there are."""
        if metrics:
            statement = upsert(self._session, MetricRow)
            changing = [column.name for column in MetricRow.__table__.columns if column.name not in {"run_id", "number", "key"}]  # type: ignore[attr-defined]
            statement = statement.on_conflict_do_update(
                index_elements=["run_id", "number"], set_={name: statement.excluded[name] for name in changing}
            )
            await self._session.execute(statement, [_row(run, metric) for metric in metrics])
        if batches:
            await self._add_points(run, batches)

    async def _add_points(self, run: HeldRun, batches: Sequence[Batch]) -> None:
        table = PointRow.__table__  # type: ignore[attr-defined]
        if self._session.get_bind().dialect.name == "sqlite":
            rows = [dict(zip(("run_id", *_POINT_COLUMNS), (run.id, *point), strict=True)) for point in _points(batches)]
            await self._session.execute(insert(table), rows)
            return
        # Five arrays, because a row at a time costs the driver ten times as much.
        columns = zip(*_points(batches), strict=True)
        arrays = [literal(list(values), ARRAY(type_)) for values, type_ in zip(columns, _POINT_COLUMNS.values(), strict=True)]
        points = func.unnest(*arrays).table_valued(*_POINT_COLUMNS).render_derived("point")
        selected = select(literal(run.id, BigInteger()), *(points.c[name] for name in _POINT_COLUMNS))
        await self._session.execute(insert(table).from_select(["run_id", *_POINT_COLUMNS], selected))

    async def list(self, run: RunName, page: Page) -> Listing[Metric]:
        """The metrics of a run by key. Raises RunNotFound, RunDeleted, InvalidPageToken."""
        statement = select(*MetricRow.__table__.columns).where(col(MetricRow.run_id) == run_id(run))  # type: ignore[attr-defined]
        if position := page.position("metrics", run, of=(str,)):
            statement = statement.where(col(MetricRow.key) > position[0])
        rows = (await self._session.execute(statement.order_by(col(MetricRow.key)).limit(page.size + 1))).all()
        if not rows:
            await self._require(run)
        metrics = tuple(_metric(row) for row in rows[: page.size])
        return Listing(metrics, token([metrics[-1].key], "metrics", run) if len(rows) > page.size else "")

    async def points(self, run: RunName, key: str, page: Page) -> Listing[Point]:
        """The points of a metric in the order in which they came.

        Raises RunNotFound, RunDeleted, MetricNotFound, InvalidPageToken.
        """
        position = page.position("points", run, key, of=(int,))
        first = position[0] if position else 0
        theirs = and_(col(MetricRow.run_id) == run_id(run), col(MetricRow.key) == key)
        number = select(col(MetricRow.number)).where(theirs).scalar_subquery()
        statement = (
            select(col(PointRow.step), col(PointRow.value), col(PointRow.time_micros))
            .where(col(PointRow.run_id) == run_id(run), col(PointRow.metric) == number, col(PointRow.ordinal) >= first)
            .order_by(col(PointRow.ordinal))
            .limit(page.size + 1)
        )
        rows = (await self._session.execute(statement)).all()
        if not rows and not await self._session.scalar(select(exists().where(theirs))):
            raise await self._not_found(run, key)
        points = tuple(Point(row.step, row.value, row.time_micros) for row in rows[: page.size])
        return Listing(points, token([first + page.size], "points", run, key) if len(rows) > page.size else "")

    async def erase(self, run: RunName, most: int) -> bool:
        """Take at most so many points of a deleted run away, and its metrics with the last; whether there is more."""
        is_gone = select(col(RunRow.id)).where(named(run), col(RunRow.delete_time).is_not(None))
        id_ = await self._session.scalar(is_gone)
        if id_ is None:
            return False
        key = (col(PointRow.metric), col(PointRow.ordinal))
        statement = select(*key).where(col(PointRow.run_id) == id_).order_by(*key).offset(most).limit(1)
        behind = (await self._session.execute(statement)).one_or_none()
        gone = delete(PointRow).where(col(PointRow.run_id) == id_)
        if behind is not None:
            earlier = and_(col(PointRow.metric) == behind.metric, col(PointRow.ordinal) < behind.ordinal)
            gone = gone.where((col(PointRow.metric) < behind.metric) | earlier)
        await self._session.execute(gone.execution_options(synchronize_session=False))
        if behind is None:
            metrics = delete(MetricRow).where(col(MetricRow.run_id) == id_)
            await self._session.execute(metrics.execution_options(synchronize_session=False))
        return behind is not None

    async def _require(self, run: RunName) -> None:
        statement = select(col(RunRow.id)).where(named(run), col(RunRow.delete_time).is_(None))
        if await self._session.scalar(statement) is None:
            raise await missing(self._session, run)

    async def _not_found(self, run: RunName, key: str) -> MetricNotFound:
        """The error to raise when a run has no such metric. Raises RunNotFound, RunDeleted."""
        await self._require(run)
        keys = select(col(MetricRow.key)).where(col(MetricRow.run_id) == run_id(run)).order_by(col(MetricRow.key))
        existing = (await self._session.scalars(keys.limit(_SEARCHED))).all()
        near = nearest(key, existing)
        shown = ", ".join(existing[:_SHOWN]) + (", …" if len(existing) > _SHOWN else "")
        which = f"did you mean {near!r}? There are: {shown}" if near else f"there are: {shown}" if shown else "it has none yet"
        return MetricNotFound(f"the run {run.run!r} has no metric {key[:100]!r}; {which}", run=str(run), nearest=near)


def _points(batches: Sequence[Batch]) -> Iterator[tuple[int, int, int, float | None, int]]:
    for batch in batches:
        series = batch.series
        for place, value in enumerate(series.values):
            stored = None if math.isnan(value) else value
            yield batch.number, batch.first + place, series.steps[place], stored, series.times_micros[place]


def _metric(row: Any) -> Metric:
    return Metric(
        row.key,
        row.number,
        MetricSummary(row.summary),
        row.point_count,
        row.last_value,
        row.last_step,
        row.min_value,
        row.max_value,
        row.steps_went_back,
    )


def _row(run: HeldRun, metric: Metric) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "number": metric.number,
        "key": metric.key,
        "summary": metric.summary.value,
        "point_count": metric.point_count,
        "last_value": metric.last_value,
        "last_step": metric.last_step,
        "min_value": metric.min_value,
        "max_value": metric.max_value,
        "steps_went_back": metric.steps_went_back,
    }
