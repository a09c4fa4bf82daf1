"""Runs: executions of code, and the words around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from modelkeep.address import format_moment
from modelkeep.errors import RunDeleted, RunNotRunning
from modelkeep.names import RunName

MAX_AHEAD: Final = timedelta(days=1)
"""How far the clock that a run goes by may be ahead of the server's."""


class RunState(Enum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CRASHED = "crashed"
    """Never stored: a run that is RUNNING, and has been silent for too long."""

    @property
    def has_ended(self) -> bool:
        """Whether the run itself said that it ended."""
        return self in {RunState.FINISHED, RunState.FAILED}


@dataclass(frozen=True, slots=True)
class Source:
    """The code of a run, as far as it is known."""

    repository_url: str = ""
    commit: str = ""
    branch: str = ""
    is_dirty: bool = False
    code_version: str = ""
    """The resource name of a version; whether there is one, nobody checks."""
    entry_point: str = ""
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run ran, as far as it is known."""

    host: str = ""
    user: str = ""
    operating_system: str = ""
    python_version: str = ""
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to begin."""

    name: RunName
    display_name: str
    creator: str = ""
    job_type: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    config_json: str = "{}"
    source: Source = field(default_factory=Source)
    environment: Environment = field(default_factory=Environment)
    start_time: datetime | None = None
    """None for now."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run."""

    name: RunName
    display_name: str
    state: RunState
    job_type: str
    group: str
    tags: tuple[str, ...]
    notes: str
    config_json: str
    summary_json: str
    source: Source
    environment: Environment
    start_time: datetime
    end_time: datetime | None
    heartbeat_time: datetime
    update_time: datetime
    creator: str
    etag: str
    resume_count: int


@dataclass(frozen=True, slots=True)
class RunWords:
    """New values for the words of a run; None leaves a value as it is."""

    display_name: str | None = None
    group: str | None = None
    notes: str | None = None
    config_json: str | None = None
    source: Source | None = None
    code_version: str | None = None
    environment: Environment | None = None


@dataclass(frozen=True, slots=True)
class HeldRun:
    """A run that this transaction alone may change until it ends."""

    id: int
    """Its row, for the store."""
    name: RunName
    state: RunState
    end_time: datetime | None
    summary_json: str
    metric_count: int

    def require_running(self) -> None:
        """Raises RunNotRunning when it said that it ended."""
        if self.state.has_ended:
            raise self.ended("resume it first: ResumeRun, or `modelkeep.init(resume=…)`")

    def ended(self, advice: str) -> RunNotRunning:
        """The error for what only a run that runs may do."""
        when = f" on {format_moment(self.end_time)}" if self.end_time else ""
        message = f"the run {self.name.run!r} is {self.state.value}{when}; {advice}"
        return RunNotRunning(message, run=str(self.name), state=self.state.value)


def by_a_sane_clock(moment: datetime, now: datetime) -> datetime:
    """A time that a run told; now, when the clock that it was taken from is far ahead.

    A run of the year 9999 would be the newest for ever. It is not refused, as what was recorded offline by a wrong clock could
    never be synced then.
    """
    return now if moment - now > MAX_AHEAD else moment


def deleted(name: RunName, actor: str, reason: str, delete_time: datetime) -> RunDeleted:
    """What a call that needs a deleted run is answered."""
    when = format_moment(delete_time)
    why = f": {reason}" if reason else ""
    message = f"the run {name.run!r} was deleted on {when} by {actor}{why}; begin another one, under another id"
    return RunDeleted(message, run=str(name), actor=actor, reason=reason, delete_time=when)
