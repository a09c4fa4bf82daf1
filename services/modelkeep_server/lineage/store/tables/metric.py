"""Rows of metrics and their points."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import BigInteger, Dialect, Double, TypeDecorator, UniqueConstraint
from sqlmodel import Field

from modelkeep_server.database.tables import BY_CODE_POINT, ref
from modelkeep_server.lineage.store.tables.base import Table


class Measurement(TypeDecorator[float]):
    """A double, NaN and the infinities included. NaN is stored as NULL, because SQLite has no other NaN."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:  # noqa: ARG002 - sqlalchemy's signature
        """To the database."""
        return None if value is None or math.isnan(value) else value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> float:  # noqa: ARG002 - sqlalchemy's signature
        """From the database."""
        return math.nan if value is None else float(value)


def _measurement() -> Any:
    return Field(default=math.nan, sa_type=Measurement, nullable=True)


class MetricRow(Table, table=True):
    """A metric of a run, in short."""

    __tablename__ = "metric"
    __table_args__ = (UniqueConstraint("run_id", "key"),)
    run_id: int = ref("run.id", primary_key=True)
    number: int = Field(primary_key=True)
    """Which one of the run it is, from 0, in the order in which they came."""
    key: str = Field(sa_type=BY_CODE_POINT)
    summary: str
    """A name of domain.metric.MetricSummary."""
    point_count: int = Field(default=0, sa_type=BigInteger)
    last_value: float = _measurement()
    last_step: int = Field(default=0, sa_type=BigInteger)
    min_value: float = _measurement()
    max_value: float = _measurement()
    steps_went_back: bool = False


class PointRow(Table, table=True):
    """A point of a metric.

    It points to run and metric without a foreign key: that would be looked up for each of a million points, which are only ever
    written beside the row of their metric, and taken away before it.
    """

    __tablename__ = "metric_point"
    __table_args__ = ({"sqlite_with_rowid": False},)
    run_id: int = Field(primary_key=True, sa_type=BigInteger)
    metric: int = Field(primary_key=True)
    """Its number."""
    ordinal: int = Field(primary_key=True, sa_type=BigInteger)
    """Which point of the metric it is, from 0, in the order in which they came."""
    step: int = Field(sa_type=BigInteger)
    value: float = _measurement()
    time_micros: int = Field(sa_type=BigInteger)
    """By the clock of the client."""
