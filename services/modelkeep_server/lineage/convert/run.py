"""Runs on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from modelkeep.api.lineage.v1 import lineage_service_pb2 as service_pb
from modelkeep.api.lineage.v1 import run_pb2 as pb
from modelkeep.errors import InvalidArgument, LimitExceeded
from modelkeep.names import MAX_MARKDOWN_BYTES, ProjectName, RunName, VersionName, parse_tag, parse_words

from modelkeep_server.database.paging import Listing
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.domain.run import Environment, NewRun, Run, RunState, RunWords, Source
from modelkeep_server.lineage.domain.values import encode_object, parse_object
from modelkeep_server.runtime.messages import fields_from_pb
from modelkeep_server.runtime.moments import from_timestamp, to_timestamp

MAX_LIST_BYTES: Final = 256 * 1024
"""Of all arguments, and of all packages, so that a run fits into one message."""
_EDITABLE: Final = ("display_name", "group", "notes", "config_json", "source", "source.code_version", "environment")
_STATES: Final = {
    RunState.RUNNING: pb.RUN_STATE_RUNNING,
    RunState.FINISHED: pb.RUN_STATE_FINISHED,
    RunState.FAILED: pb.RUN_STATE_FAILED,
    RunState.CRASHED: pb.RUN_STATE_CRASHED,
}
_ENDS: Final = {
    pb.RUN_STATE_UNSPECIFIED: RunState.FINISHED,
    pb.RUN_STATE_FINISHED: RunState.FINISHED,
    pb.RUN_STATE_FAILED: RunState.FAILED,
}


def run_to_pb(run: Run) -> pb.Run:
    """A run."""
    return pb.Run(
        name=str(run.name),
        display_name=run.display_name,
        state=_STATES[run.state],
        job_type=run.job_type,
        group=run.group,
        tags=run.tags,
        notes=run.notes,
        config_json=run.config_json,
        summary_json=run.summary_json,
        source=_source_to_pb(run.source),
        environment=_environment_to_pb(run.environment),
        start_time=to_timestamp(run.start_time),
        end_time=to_timestamp(run.end_time),
        heartbeat_time=to_timestamp(run.heartbeat_time),
        update_time=to_timestamp(run.update_time),
        creator=run.creator,
        etag=run.etag,
        resume_count=run.resume_count,
    )


def runs_to_pb(listing: Listing[Run]) -> service_pb.ListRunsResponse:
    """A page of runs."""
    return service_pb.ListRunsResponse(runs=map(run_to_pb, listing.items), next_page_token=listing.next_token)


def new_run_from_pb(request: service_pb.CreateRunRequest, creator: str, limits: Limits) -> NewRun:
    """A run to begin; without a display name it is called by its id.

    Raises InvalidName, InvalidTag, InvalidArgument, InvalidMetadata, LimitExceeded.
    """
    project, run = ProjectName.parse(request.parent), request.run
    return NewRun(
        name=RunName(project.team, project.project, request.run_id),
        display_name=parse_words(run.display_name, "display_name") or request.run_id,
        creator=creator,
        job_type=parse_words(run.job_type, "job_type"),
        group=parse_words(run.group, "group"),
        tags=tags_from_pb(run.tags),
        notes=parse_words(run.notes, "notes", MAX_MARKDOWN_BYTES),
        config_json=_config(run.config_json, limits),
        source=_source(run.source),
        environment=_environment(run.environment),
        start_time=from_timestamp(run.start_time, "start_time") if run.HasField("start_time") else None,
    )


def words_from_pb(request: service_pb.UpdateRunRequest, limits: Limits) -> tuple[RunName, RunWords, str]:
    """The name, the new words and the expected etag of a run.

    Raises InvalidName, InvalidArgument, InvalidMetadata, LimitExceeded.
    """
    fields, run = fields_from_pb(request.update_mask, _EDITABLE), request.run
    name = RunName.parse(run.name)
    words = RunWords(
        display_name=(parse_words(run.display_name, "display_name") or name.run) if "display_name" in fields else None,
        group=parse_words(run.group, "group") if "group" in fields else None,
        notes=parse_words(run.notes, "notes", MAX_MARKDOWN_BYTES) if "notes" in fields else None,
        config_json=_config(run.config_json, limits) if "config_json" in fields else None,
        source=_source(run.source) if "source" in fields else None,
        code_version=_code_version(run.source.code_version) if "source.code_version" in fields else None,
        environment=_environment(run.environment) if "environment" in fields else None,
    )
    return name, words, run.etag


def tags_from_pb(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags, sorted, each once. Raises InvalidTag."""
    return tuple(sorted({parse_tag(tag) for tag in tags}))


def end_from_pb(request: service_pb.FinishRunRequest) -> tuple[RunName, RunState, datetime | None]:
    """The name of a run, and how and when it ended; None for now. Raises InvalidName, InvalidArgument."""
    state = _ENDS.get(request.state)
    if state is None:
        shown = pb.RunState.Name(request.state) if request.state in pb.RunState.values() else str(request.state)
        raise InvalidArgument(f"state is {shown}; a run ends as FINISHED or FAILED", field="state", value=shown)
    end_time = from_timestamp(request.end_time, "end_time") if request.HasField("end_time") else None
    return RunName.parse(request.name), state, end_time


def _config(text: str, limits: Limits) -> str:
    return encode_object(parse_object(text, "config", limits.max_json_bytes), "config", limits.max_json_bytes)


def _source(source: pb.Source) -> Source:
    return Source(
        repository_url=_repository_url(source.repository_url),
        commit=parse_words(source.commit, "source.commit"),
        branch=parse_words(source.branch, "source.branch"),
        is_dirty=source.is_dirty,
        code_version=_code_version(source.code_version),
        entry_point=parse_words(source.entry_point, "source.entry_point"),
        arguments=_texts(source.arguments, "source.arguments"),
    )


def _environment(environment: pb.Environment) -> Environment:
    return Environment(
        host=parse_words(environment.host, "environment.host"),
        user=parse_words(environment.user, "environment.user"),
        operating_system=parse_words(environment.operating_system, "environment.operating_system"),
        python_version=parse_words(environment.python_version, "environment.python_version"),
        packages=_texts(environment.packages, "environment.packages"),
    )


def _code_version(text: str) -> str:
    return str(VersionName.parse(text)) if text else ""


def _repository_url(text: str) -> str:
    """The address of a git remote; one with credentials is refused, without quoting them."""
    parse_words(text, "source.repository_url")
    try:
        parts = urlsplit(text)
        carries = parts.password is not None or (parts.scheme in {"http", "https"} and parts.username is not None)
    except ValueError:
        carries = "@" in text  # it is no address, and may have a password all the same
    if carries:
        message = "source.repository_url carries credentials; send it without what stands between // and @"
        raise InvalidArgument(message, field="source.repository_url")
    return text


def _texts(texts: Sequence[str], field: str) -> tuple[str, ...]:
    size = sum(len(text.encode()) + 1 for text in texts)
    if size > MAX_LIST_BYTES:
        message = f"{field} has {size:,} bytes; at most {MAX_LIST_BYTES:,} are allowed: leave some out"
        raise LimitExceeded(message, field=field, limit=MAX_LIST_BYTES)
    return tuple(parse_words(text, field, MAX_LIST_BYTES) for text in texts)


def _source_to_pb(source: Source) -> pb.Source:
    return pb.Source(
        repository_url=source.repository_url,
        commit=source.commit,
        branch=source.branch,
        is_dirty=source.is_dirty,
        code_version=source.code_version,
        entry_point=source.entry_point,
        arguments=source.arguments,
    )


def _environment_to_pb(environment: Environment) -> pb.Environment:
    return pb.Environment(
        host=environment.host,
        user=environment.user,
        operating_system=environment.operating_system,
        python_version=environment.python_version,
        packages=environment.packages,
    )
