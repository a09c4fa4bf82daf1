"""A run as a whole, by one statement: the one place that knows how a row becomes a `Run`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from modelkeep.names import RunName
from sqlalchemy import ColumnElement, Row, ScalarSelect, Select, and_, case, literal, select
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import json_list
from modelkeep_server.lineage.domain.run import Environment, Run, RunState, Source
from modelkeep_server.lineage.store.tables import RunRow, RunTagRow

_TAGS: Final = select(json_list(col(RunTagRow.tag))).where(col(RunTagRow.run_id) == col(RunRow.id)).correlate(RunRow)
LONG: Final = frozenset({"arguments", "packages"})
"""Columns that lists leave out."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """Tells which runs have crashed: those that have been silent for longer than `silence`, by the clock of the database."""

    clock: Clock
    silence: timedelta

    def state(self) -> ColumnElement[str]:
        """Where a run stands."""
        running = col(RunRow.state) == RunState.RUNNING.value
        crashed = and_(running, col(RunRow.heartbeat_time) < self.clock.sql(-self.silence))
        return case((crashed, literal(RunState.CRASHED.value)), else_=col(RunRow.state))

    def end_time(self) -> ColumnElement[Any]:
        """When a run ended; of a crashed one, when it was last heard of."""
        return case((self.state() == RunState.CRASHED.value, col(RunRow.heartbeat_time)), else_=col(RunRow.end_time))


def view(pulse: Pulse, *, without: frozenset[str] = frozenset()) -> Select[Any]:
    """Runs with their tags, but for the columns `without`."""
    left_out = without | {"state", "end_time"}
    columns = [column for column in RunRow.__table__.columns if column.name not in left_out]  # type: ignore[attr-defined]
    derived = (pulse.state().label("state"), pulse.end_time().label("end_time"))
    return select(*columns, *derived, _TAGS.scalar_subquery().label("tags"))


def named(name: RunName) -> ColumnElement[bool]:
    """This is the row of that run."""
    return and_(col(RunRow.team) == name.team, col(RunRow.project) == name.project, col(RunRow.run) == name.run)


def run_id(name: RunName) -> ScalarSelect[int]:
    """The id of a run; null when there is none, or it was deleted."""
    return select(col(RunRow.id)).where(named(name), col(RunRow.delete_time).is_(None)).scalar_subquery()


def to_run(row: Row[Any]) -> Run:
    """The run of a row of `view`."""
    return Run(
        name=RunName(row.team, row.project, row.run),
        display_name=row.display_name,
        state=RunState(row.state),
        job_type=row.job_type,
        group=row.group_name,
        tags=tuple(sorted(json.loads(row.tags or "[]"))),
        notes=row.notes,
        config_json=row.config_json,
        summary_json=row.summary_json,
        source=Source(
            row.repository_url,
            row.commit_id,
            row.branch,
            row.is_dirty,
            row.code_version,
            row.entry_point,
            tuple(json.loads(getattr(row, "arguments", "[]"))),
        ),
        environment=Environment(
            row.host,
            row.user_name,
            row.operating_system,
            row.python_version,
            tuple(json.loads(getattr(row, "packages", "[]"))),
        ),
        start_time=row.start_time,
        end_time=row.end_time,
        heartbeat_time=row.heartbeat_time,
        update_time=row.update_time,
        creator=row.creator,
        etag=str(row.revision),
        resume_count=row.resume_count,
    )


def source_columns(source: Source) -> dict[str, Any]:
    """The columns of the code of a run."""
    return {
        "repository_url": source.repository_url,
        "commit_id": source.commit,
        "branch": source.branch,
        "is_dirty": source.is_dirty,
        "code_version": source.code_version,
        "entry_point": source.entry_point,
        "arguments": json.dumps(source.arguments, ensure_ascii=False),
    }


def environment_columns(environment: Environment) -> dict[str, Any]:
    """The columns of where a run ran."""
    return {
        "host": environment.host,
        "user_name": environment.user,
        "operating_system": environment.operating_system,
        "python_version": environment.python_version,
        "packages": json.dumps(environment.packages, ensure_ascii=False),
    }
