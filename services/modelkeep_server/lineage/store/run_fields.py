"""Where the fields of runs are, for filters and orders over them (`convert.search` says what they hold)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, FromClause, exists, type_coerce
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.filtering.expression import Pattern
from modelkeep_server.filtering.functions import fits
from modelkeep_server.filtering.json_sql import JsonRows
from modelkeep_server.filtering.sql import Columns, Moment
from modelkeep_server.lineage.domain.values import NAN
from modelkeep_server.lineage.store.run_view import Pulse
from modelkeep_server.lineage.store.tables import ConfigValueRow, RunRow, RunTagRow, SummaryValueRow

_PLAIN: Final = {
    "id": RunRow.run,
    "name": RunRow.display_name,
    "project": RunRow.project,
    "job_type": RunRow.job_type,
    "group": RunRow.group_name,
    "notes": RunRow.notes,
    "creator": RunRow.creator,
    "repository": RunRow.repository_url,
    "commit": RunRow.commit_id,
    "branch": RunRow.branch,
    "code": RunRow.code_version,
    "entry_point": RunRow.entry_point,
    "host": RunRow.host,
    "user": RunRow.user_name,
    "resume_count": RunRow.resume_count,
    "metric_count": RunRow.metric_count,
}
_TIMES: Final = {
    "start_time": RunRow.start_time,
    "heartbeat_time": RunRow.heartbeat_time,
    "update_time": RunRow.update_time,
}


def moments(clock: Clock) -> Moment:
    """What is some time ago, by the clock of the database."""
    return lambda micros: type_coerce(clock.sql(-timedelta(microseconds=micros)), BigInteger())


def run_columns(pulse: Pulse) -> Columns:
    """The fields of runs, in a statement over runs."""
    times = {name: micros(col(attribute)) for name, attribute in _TIMES.items()}
    plain: dict[str, ColumnElement[Any]] = {name: column(attribute) for name, attribute in _PLAIN.items()}
    return Columns(
        plain=plain | times | {"state": pulse.state(), "end_time": micros(pulse.end_time())},
        nullable=frozenset({"end_time"}),
        flags={"dirty": column(RunRow.is_dirty)},
        labels={"tag": _has_tag},
        json={"config": _values(ConfigValueRow), "summary": _values(SummaryValueRow)},
    )


def _values(table: Any) -> JsonRows:
    rows: FromClause = table.__table__
    return JsonRows(column(RunRow.id), rows, "run_id", unordered=(NAN,))


def _has_tag(pattern: Pattern) -> ColumnElement[bool]:
    return exists().where(col(RunTagRow.run_id) == col(RunRow.id), fits(column(RunTagRow.tag), pattern))


def micros(moment: Any) -> ColumnElement[int]:
    """A moment as the database has it."""
    return type_coerce(moment, BigInteger())


def column(attribute: Any) -> ColumnElement[Any]:
    """A column as filters and orders take it."""
    found: Any = col(attribute)
    return found  # type: ignore[no-any-return]
