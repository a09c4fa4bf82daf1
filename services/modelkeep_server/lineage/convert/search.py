"""Filters and orders on the wire, and the fields of runs that they may name (`docs/filter.md`)."""

from __future__ import annotations

from typing import Final, Protocol

from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.errors import InvalidArgument

from modelkeep_server.filtering.expression import Query
from modelkeep_server.filtering.fields import Field, Fields, Kind
from modelkeep_server.filtering.parser import parse_path, parse_query
from modelkeep_server.lineage.domain.run import RunState

_WORDS: Final = Field(Kind.TEXT, is_ordered=False)
_TIME: Final = Field(Kind.TIME)
_JSON: Final = Field(Kind.JSON, is_finite=False)

_IS_LARGEST_BEST: Final = {pb.GOAL_UNSPECIFIED: True, pb.GOAL_MAXIMIZE: True, pb.GOAL_MINIMIZE: False}

RUN_FIELDS: Final[Fields] = {
    "id": Field(Kind.TEXT),
    "name": Field(Kind.TEXT),
    "project": Field(Kind.TEXT),
    "state": Field(Kind.CHOICE, choices=tuple(state.value for state in RunState)),
    "job_type": Field(Kind.TEXT),
    "group": Field(Kind.TEXT),
    "tag": Field(Kind.LABELS),
    "config": _JSON,
    "summary": _JSON,
    "notes": _WORDS,
    "start_time": _TIME,
    "end_time": _TIME,
    "heartbeat_time": _TIME,
    "update_time": _TIME,
    "creator": Field(Kind.RESOURCE, marker="/apiKeys/"),
    "repository": Field(Kind.TEXT),
    "commit": Field(Kind.TEXT),
    "branch": Field(Kind.TEXT),
    "dirty": Field(Kind.FLAG),
    "code": _WORDS,
    "entry_point": Field(Kind.TEXT),
    "host": Field(Kind.TEXT),
    "user": Field(Kind.TEXT),
    "resume_count": Field(Kind.NUMBER),
    "metric_count": Field(Kind.NUMBER),
}


class _Filtered(Protocol):
    @property
    def filter(self) -> str: ...
    @property
    def order_by(self) -> str: ...


def run_query(request: _Filtered) -> Query:
    """What a list of runs is asked for. Raises InvalidFilter."""
    return parse_query(request.filter, request.order_by, RUN_FIELDS)


def best_from_pb(request: pb.GetBestRunRequest) -> tuple[tuple[str, ...], Query, bool]:
    """The path in the summary, among which runs, and whether the largest is best. Raises InvalidArgument, InvalidFilter."""
    if not request.metric.strip():
        raise InvalidArgument("metric is empty; name a number of the summary, such as acc", field="metric")
    path = parse_path(request.metric.strip(), "summary", "metric")
    if request.goal not in _IS_LARGEST_BEST:
        raise InvalidArgument(f"goal is {request.goal}; it is MAXIMIZE or MINIMIZE", field="goal", value=str(request.goal))
    return path, parse_query(request.filter, "", RUN_FIELDS), _IS_LARGEST_BEST[request.goal]
