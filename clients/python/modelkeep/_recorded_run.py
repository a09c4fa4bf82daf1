"""A run as it was recorded: what code ran where, with which configuration, and what came out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from modelkeep import _lineage, _plain_json
from modelkeep._ledger import require_small_config
from modelkeep._metric import decode_values, list_metrics, list_points
from modelkeep._node import Link
from modelkeep._redact import Redactor
from modelkeep._resolve import get_version
from modelkeep._summary import GOALS
from modelkeep._wire import label, last, moment, moment_if_set, pages
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.errors import (
    InvalidArgument,
    InvalidFilter,
    InvalidName,
    ModelkeepError,
    ProjectNotFound,
    RunNotFound,
    VersionAliased,
)
from modelkeep.names import ProjectName, RunName, nearest, parse_tag, parse_text, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from modelkeep._channel import Connection
    from modelkeep._metric import Metric, Point
    from modelkeep._version import Version

_GOALS: Final = {"max": pb.GOAL_MAXIMIZE, "min": pb.GOAL_MINIMIZE}


@dataclass(frozen=True, slots=True)
class RunSource:
    """The code of a run, as far as it is known."""

    repository_url: str
    commit: str
    branch: str
    is_dirty: bool
    """There were changes that no commit had."""
    code_version: str
    """The resource name of the version that keeps script, changes and packages; empty when there is none."""
    entry_point: str
    """The script or notebook."""
    arguments: tuple[str, ...]
    """Left out in lists."""

    @classmethod
    def from_pb(cls, message: run_pb2.Source) -> RunSource:
        """Read a message."""
        return cls(
            message.repository_url,
            message.commit,
            message.branch,
            message.is_dirty,
            message.code_version,
            message.entry_point,
            tuple(message.arguments),
        )


@dataclass(frozen=True, slots=True)
class RunEnvironment:
    """Where a run ran, as far as it is known."""

    host: str
    user: str
    operating_system: str
    python_version: str
    packages: tuple[str, ...]
    """`name==version`; left out in lists."""

    @classmethod
    def from_pb(cls, message: run_pb2.Environment) -> RunEnvironment:
        """Read a message."""
        return cls(message.host, message.user, message.operating_system, message.python_version, tuple(message.packages))


@dataclass(frozen=True, slots=True, repr=False)
class RecordedRun:
    """A run as it was when it was asked for. Editing answers with a new object."""

    team: str
    project: str
    id: str
    resource_name: str
    name: str
    """What people call it; many runs may be called the same."""
    state: str
    """`RUNNING`, `FINISHED`, `FAILED`, or `CRASHED`: it has not been heard of for too long."""
    job_type: str
    group: str
    tags: tuple[str, ...]
    notes: str
    config: dict[str, Any]
    summary: dict[str, Any]
    """What came out: a value of each metric, and what was set besides."""
    source: RunSource
    environment: RunEnvironment
    start_time: datetime
    end_time: datetime | None
    """Of a crashed run, when it was last heard of."""
    heartbeat_time: datetime | None
    update_time: datetime | None
    creator: str
    """The API key that began it."""
    etag: str
    resume_count: int
    best_value: float | None = None
    """Set by `Api.best_run`: the value that made it the best."""
    best_produced: tuple[Link, ...] = ()
    """Set by `Api.best_run`: what it produced, newest first, at most 100; `produced` has all."""
    _connection: Connection = field(kw_only=True, compare=False)

    @classmethod
    def from_pb(cls, message: run_pb2.Run, connection: Connection, **found: Any) -> RecordedRun:
        """Read a message; `found` is what only looking for the best knows."""
        name = RunName.parse(message.name)
        return cls(
            team=name.team,
            project=name.project,
            id=name.run,
            resource_name=message.name,
            name=message.display_name,
            state=label(run_pb2.RunState, message.state, "RUN_STATE_"),
            job_type=message.job_type,
            group=message.group,
            tags=tuple(message.tags),
            notes=message.notes,
            config=decode_values(message.config_json),
            summary=decode_values(message.summary_json),
            source=RunSource.from_pb(message.source),
            environment=RunEnvironment.from_pb(message.environment),
            start_time=moment(message.start_time),
            end_time=moment_if_set(message, "end_time"),
            heartbeat_time=moment_if_set(message, "heartbeat_time"),
            update_time=moment_if_set(message, "update_time"),
            creator=message.creator,
            etag=message.etag,
            resume_count=message.resume_count,
            _connection=connection,
            **found,
        )

    def __repr__(self) -> str:
        return f"<RecordedRun {self.name!r} {self.id} {self.state}>"

    def metrics(self) -> Iterator[Metric]:
        """What it measured, by key."""
        return list_metrics(self._connection, self.resource_name)

    def history(self, key: str) -> Iterator[Point]:
        """The values of one metric, in the order in which they came. Raises MetricNotFound, which says which there are."""
        return list_points(self._connection, self.resource_name, key)

    def used(self, type: Iterable[str] = ()) -> Iterator[Link]:  # noqa: A002 - the word that users know
        """The versions that it used, newest first; only of a type or several, if given. `link.node.version()` is one."""
        return _lineage.neighbors(self._connection, self.resource_name, "up", type)

    def produced(self, type: Iterable[str] = ()) -> Iterator[Link]:  # noqa: A002 - the word that users know
        """The versions that it produced, newest first; only of a type, or of several, if given."""
        return _lineage.neighbors(self._connection, self.resource_name, "down", type)

    def edit(
        self,
        *,
        name: str | None = None,
        group: str | None = None,
        notes: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> RecordedRun:
        """Change words; what is None stays. The config is replaced as a whole; what looks like a secret stays here.

        Raises EtagMismatch when somebody edited the run since this object was made; InvalidArgument; LimitExceeded (the config
        is too large).
        """
        request = pb.UpdateRunRequest()
        request.run.name, request.run.etag = self.resource_name, self.etag
        values = {"display_name": name, "group": group, "notes": notes}
        values["config_json"] = None if config is None else _encode_config(self._connection, config)
        for field_name, value in values.items():
            if value is not None:
                setattr(request.run, field_name, parse_text(value, field_name))
                request.update_mask.paths.append(field_name)
        return self._again(self._connection.lineage.UpdateRun(request))

    def add_tags(self, *tags: str) -> RecordedRun:
        """Add tags; one that is there already stays. Raises InvalidTag."""
        return self._edit_tags(add=tags)

    def remove_tags(self, *tags: str) -> RecordedRun:
        """Take tags off; one that is not there changes nothing. Raises InvalidTag."""
        return self._edit_tags(remove=tags)

    def delete(self, *, delete_versions: bool = False, delete_aliases: bool = False, reason: str = "") -> tuple[Version, ...]:
        """Delete the run and what it measured; the versions it produced stay, and so does its place in the graph.

        With `delete_versions` those that it was the first to produce are deleted too, and answered. When one of them has an
        alias nothing is deleted, unless `delete_aliases`. Raises VersionAliased.
        """
        gone = self._delete_produced(delete_aliases, reason) if delete_versions else ()
        self._connection.lineage.DeleteRun(pb.DeleteRunRequest(name=self.resource_name, reason=reason))
        return gone

    def _delete_produced(self, delete_aliases: bool, reason: str) -> tuple[Version, ...]:
        links = _lineage.produced_for_good(self._connection, self.resource_name)
        versions = [get_version(self._connection, link.node.resource_name) for link in links]
        live = [version for version in versions if version.tombstone is None]
        aliased = [version for version in live if set(version.aliases) - {"latest"}]
        if aliased and not delete_aliases:
            names = ", ".join(f"{version.name} ({', '.join(version.aliases)})" for version in aliased[:5])
            message = (
                f"the run produced versions that have aliases, so nothing was deleted: {names}; allow it with delete_aliases"
            )
            raise VersionAliased(message, version=aliased[0].name, aliases=", ".join(aliased[0].aliases))
        return tuple(version.delete(delete_aliases=delete_aliases, reason=reason) for version in live)

    def _edit_tags(self, add: Iterable[str] = (), remove: Iterable[str] = ()) -> RecordedRun:
        request = pb.EditRunTagsRequest(
            name=self.resource_name, add_tags=map(parse_tag, add), remove_tags=map(parse_tag, remove)
        )
        return self._again(self._connection.lineage.EditRunTags(request))

    def _again(self, message: run_pb2.Run) -> RecordedRun:
        return RecordedRun.from_pb(message, self._connection)


def get_run(connection: Connection, name: str) -> RecordedRun:
    """A run by its resource name."""
    return RecordedRun.from_pb(connection.lineage.GetRun(pb.GetRunRequest(name=name)), connection)


def list_runs(connection: Connection, parent: ProjectName, filter_: str = "", order: str = "") -> Iterator[RecordedRun]:
    """The runs of a project, or of all projects."""
    request = pb.ListRunsRequest(parent=str(parent), filter=filter_, order_by=order)
    messages = pages(connection.lineage.ListRuns, request, lambda page: page.runs)
    return (RecordedRun.from_pb(message, connection) for message in messages)


def best_run(connection: Connection, parent: ProjectName, metric: str, goal: str, filter_: str) -> RecordedRun:
    """The run whose summary has the best value of a metric."""
    parse_text(metric, "metric")
    if goal not in GOALS:
        message = f"{shown(goal)} is no goal; 'max' means that the largest value is best, 'min' that the smallest is"
        raise InvalidArgument(message, field="goal", value=str(goal)[:100])
    request = pb.GetBestRunRequest(parent=str(parent), metric=metric, goal=_GOALS[GOALS[goal]], filter=filter_)
    try:
        answer = connection.lineage.GetBestRun(request)
    except (RunNotFound, InvalidFilter) as failed:
        if not _may_be_a_key(metric, failed):
            raise
        request.metric = json.dumps(metric, ensure_ascii=False)
        answer = connection.lineage.GetBestRun(request)
    produced = tuple(Link.from_pb(link, connection) for link in answer.produced)
    return RecordedRun.from_pb(answer.run, connection, best_value=answer.value, best_produced=produced)


def _may_be_a_key(metric: str, failed: ModelkeepError) -> bool:
    """Whether a metric that was not found as a filter writes it may be a key as it is: with dots, slashes or spaces in it."""
    if isinstance(failed, InvalidFilter):
        return bool(metric.strip()) and failed.metadata.get("field") == "metric"
    return "." in metric and '"' not in metric


def parse_run(text: str, project: ProjectName) -> RunName:
    """Read `[[team/]project/]id`, or a resource name. Raises InvalidName."""
    parts = parse_text(text, "run").split("/")
    if len(parts) > 3:
        return RunName.parse(text)
    *place, run = parts
    match place:
        case [other]:
            return RunName(project.team, other, run)
        case [team, other]:
            return RunName(team, other, run)
    return RunName(project.team, project.project, run)


def find_run(connection: Connection, text: str) -> RecordedRun:
    """The run of that id, or of that display name when only one has it. Raises RunNotFound, RunDeleted, InvalidName."""
    project = connection.project
    try:
        return get_run(connection, str(parse_run(text, project)))
    except (RunNotFound, InvalidName) as failed:
        place, _, called = text.rpartition("/")
        if "/" in place or not 0 < len(called) <= 256 or not called.isprintable():
            raise
        return get_run(connection, _called(connection, ProjectName(project.team, place or project.project), called, failed))


def _called(connection: Connection, project: ProjectName, name: str, failed: ModelkeepError) -> str:
    """The resource name of the only run of that display name. Raises RunNotFound."""
    quoted = json.dumps(name, ensure_ascii=False).replace("*", "\\*")
    found = _some_runs(connection, project, 6, f"name = {quoted}")
    if len(found) == 1:
        return found[0].name
    if found:
        ids = ", ".join(last(run.name) for run in found)
        message = f"several runs are called {shown(name)}; say which by its id: {ids}{', …' if len(found) > 5 else ''}"
        raise RunNotFound(message, run=name, ids=ids) from None
    near = nearest(name, [run.display_name for run in _some_runs(connection, project, 100)])
    if not near and isinstance(failed, RunNotFound):
        raise failed
    hint = f"; did you mean {shown(near)}?" if near else ""
    message = f"there is no run {shown(name)} in {project.team}/{project.project}{hint}"
    raise RunNotFound(message, run=name, nearest=near) from None


def _some_runs(connection: Connection, project: ProjectName, count: int, filter_: str = "") -> Sequence[run_pb2.Run]:
    try:
        return connection.lineage.ListRuns(pb.ListRunsRequest(parent=str(project), page_size=count, filter=filter_)).runs
    except ProjectNotFound:
        return []


def _encode_config(connection: Connection, config: Mapping[str, Any]) -> str:
    plain = _plain_json.plain(_plain_json.as_mapping(config, "config"), "config")
    text = _plain_json.encode(Redactor.of_process(connection.config.api_key).json(plain))
    require_small_config(connection, text)
    return text
