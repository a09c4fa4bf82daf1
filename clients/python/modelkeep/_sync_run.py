"""Replaying what a run recorded about itself: that it began, what it measured, how it was edited, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict

from modelkeep import _plain_json
from modelkeep._batch import Batch, Limits, Points
from modelkeep._ledger import STATES, merge_config, metrics_request
from modelkeep.address import parse_moment
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.errors import RunExists, Unimplemented
from modelkeep.names import ProjectName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelkeep._channel import Connection
    from modelkeep._offline_journal import Record
    from modelkeep._sync_record import Notes
    from modelkeep.names import RunName

KINDS: Final = frozenset({"metrics", "config", "edit", "tags", "code", "finish"})


class RunReplay:
    """Replays the records of a run that are about itself."""

    def __init__(self, connection: Connection, name: RunName, notes: Notes, request_id: Callable[[Record, str], str]) -> None:
        """`request_id` makes the id of a request: the same in every process, for a record and a step."""
        self._connection = connection
        self._name = name
        self._notes = notes
        self._id = request_id

    def begin(self, head: Record) -> None:
        """Begin the run, unless that was done. A server that keeps no runs gets what else was recorded."""
        if self._notes.begun:
            return
        request = pb.CreateRunRequest(
            parent=str(ProjectName(self._name.team, self._name.project)), run_id=self._name.run, run=_run(head)
        )
        request.request_id = self._id(head, "run")
        try:
            self._connection.lineage.CreateRun(request)
        except RunExists:
            resume = head.values.get("resume", "")
            if resume == "never":
                raise
            if resume:
                self._connection.lineage.ResumeRun(
                    pb.ResumeRunRequest(name=str(self._name), request_id=self._id(head, "resume"))
                )
            # else the id was drawn at random, so that it is this run, of which the server has forgotten the request
        except Unimplemented:
            self._notes.add("begun", kept=False)
            return
        self._notes.add("begun", kept=True)

    def replay(self, record: Record) -> None:
        """Do what a record says. Raises ModelkeepError."""
        if not self._notes.is_kept:
            return
        values = record.values
        match record.kind:
            case "metrics":
                self._measure(record)
            case "config":
                merge_config(self._connection, str(self._name), values["changes"], values["gone"])
            case "edit":
                self._edit(record, values["fields"])
            case "tags":
                request = pb.EditRunTagsRequest(name=str(self._name), add_tags=values["add"], remove_tags=values["remove"])
                request.request_id = self._id(record, "tags")
                self._connection.lineage.EditRunTags(request)
            case "code":
                logged = self._notes.logged.get(values["record"])
                if logged is not None:  # else it was left out
                    self._edit(record, {"source": {"code_version": logged["version"]}}, "source.code_version")
            case _:
                self._finish(record)

    def _measure(self, record: Record) -> None:
        limits = self._connection.lineage_limits()
        allowed = Limits(limits.max_points, limits.max_message_bytes)
        for place, batch in enumerate(_batches(record.values, allowed)):
            batch.request_id = self._id(record, f"metrics {place}")
            self._connection.lineage.LogMetrics(metrics_request(str(self._name), batch))

    def _edit(self, record: Record, fields: dict[str, Any], *paths: str) -> None:
        run = ParseDict({"name": str(self._name), **fields}, run_pb2.Run(), ignore_unknown_fields=True)
        request = pb.UpdateRunRequest(run=run, update_mask=FieldMask(paths=paths or sorted(fields)))
        request.request_id = self._id(record, "edit")
        self._connection.lineage.UpdateRun(request)

    def _finish(self, record: Record) -> None:
        state = STATES[record.values.get("state", "finished")]
        request = pb.FinishRunRequest(name=str(self._name), state=state, request_id=self._id(record, "finish"))
        request.end_time.FromDatetime(parse_moment(record.values["time"]))
        self._connection.lineage.FinishRun(request)


def _run(head: Record) -> run_pb2.Run:
    """The run as it began."""
    values = head.values
    run = run_pb2.Run(
        display_name=values["name"],
        job_type=values.get("job_type", ""),
        group=values.get("group", ""),
        tags=values.get("tags", ()),
        notes=values.get("notes", ""),
        config_json=_plain_json.encode(_plain_json.plain(values.get("config", {}), "config")),
    )
    ParseDict(values.get("source", {}), run.source, ignore_unknown_fields=True)
    ParseDict(values.get("environment", {}), run.environment, ignore_unknown_fields=True)
    run.start_time.FromDatetime(parse_moment(values["time"]))
    return run


def _batches(values: dict[str, Any], limits: Limits) -> Iterator[Batch]:
    """What a record measured, in parts that the server takes; the summary goes last."""
    batch = Batch(definitions=values.get("definitions", {}))
    for key, (steps, numbers, times) in values.get("series", {}).items():
        for step, number, time in zip(steps, numbers, times, strict=True):
            point = Points(time, step, {key: number})
            if not batch.has_room(point, limits):
                yield batch
                batch = Batch()
            batch.add(point)
    batch.summary = values.get("summary", {})
    yield batch
