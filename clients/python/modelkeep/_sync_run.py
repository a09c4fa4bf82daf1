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
from modelkeep.errors import RunExists, RunNotRunning, Unimplemented
from modelkeep.names import ProjectName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelkeep._channel import Connection
    from modelkeep._offline_journal import Record
    from modelkeep._sync_record import Notes
    from modelkeep.names import RunName

KINDS: Final = frozenset({"metrics", "config", "edit", "tags", "code", "finish"})
FIELDS: Final = {"name": "display_name", "group": "group", "notes": "notes"}
"""What `init` may be given, and its field of a run."""


class RunReplay:
    """Replays the records of a run that are about itself."""

    def __init__(
        self, connection: Connection, name: RunName, notes: Notes, request_id: Callable[[Record, str], str], head: Record
    ) -> None:
        """`request_id` makes the id of a request: the same in every process, for a record and a step."""
        self._connection = connection
        self._name = name
        self._notes = notes
        self._id = request_id
        self._head = head

    def begin(self) -> None:
        """Begin the run, or go on with it, unless that was done. A server that keeps no runs gets what else was recorded."""
        if self._notes.begun and self._notes.is_kept:
            return
        try:
            is_resumed = self._resume() if self._how() == "must" else self._create()
        except Unimplemented:
            if not self._notes.begun:
                self._notes.add("begun", kept=False)
            return
        self._notes.add("begun", kept=True, resumed=is_resumed)

    def _how(self) -> str:
        """Whether a run of the id may, must or must not be there; empty when the id was drawn at random."""
        return "never" if self._notes.run else str(self._head.values.get("resume", ""))

    @property
    def _is_shared(self) -> bool:
        """Whether others may have the run too, and end it before we do: then it goes on."""
        return self._how() in {"allow", "must"}

    def _create(self) -> bool:
        """Create the run; whether there was one, and it goes on."""
        head = self._head
        request = pb.CreateRunRequest(
            parent=str(ProjectName(self._name.team, self._name.project)), run_id=self._name.run, run=_run(head)
        )
        request.request_id = self._id(head, "run")
        try:
            self._connection.lineage.CreateRun(request)
        except RunExists:
            how = self._how()
            if how == "never":
                raise
            # without a word it is this run, of which the server has forgotten the request
            return self._resume() if how else False
        return False

    def _resume(self) -> bool:
        """Go on with the run, and change what it had where `init` was given something else."""
        head, values = self._head, self._head.values
        self._wake(head)
        given = values.get("given", [name for name in ("group", "notes") if values.get(name)])
        told = {FIELDS[name]: values.get(name, "") for name in given}
        if told:
            self._edit(head, told)
        if values.get("tags"):
            request = pb.EditRunTagsRequest(name=str(self._name), add_tags=values["tags"])
            request.request_id = self._id(head, "tags")
            self._connection.lineage.EditRunTags(request)
        if values.get("config"):
            merge_config(self._connection, str(self._name), values["config"], ())
        return True

    def replay(self, record: Record, *, is_late: bool) -> None:
        """Do what a record says. A run that ended goes on for a late one, and when it is shared. Raises ModelkeepError."""
        if record.kind == "finish":
            self.end(record, "finish")
            return
        try:
            self._do(record)
        except RunNotRunning:
            if not (is_late or self._is_shared):
                raise
            self._notes.add("reopened")
            self._wake(record)
            self._do(record)

    def _wake(self, record: Record) -> None:
        self._connection.lineage.ResumeRun(pb.ResumeRunRequest(name=str(self._name), request_id=self._id(record, "resume")))

    def _do(self, record: Record) -> None:
        values = record.values
        match record.kind:
            case "metrics":
                self._measure(record)
            case "config":
                merge_config(self._connection, str(self._name), values["changes"], values["gone"])
            case "edit":
                fields = {name: value for name, value in values["fields"].items() if not self._is_of_the_first(name)}
                if fields:
                    self._edit(record, fields)
            case "tags":
                request = pb.EditRunTagsRequest(name=str(self._name), add_tags=values["add"], remove_tags=values["remove"])
                request.request_id = self._id(record, "tags")
                self._connection.lineage.EditRunTags(request)
            case _:
                logged = self._notes.logged.get(values["record"])
                if logged is not None and not self._notes.resumed:  # else it was left out, or the run keeps what it had
                    self._edit(record, {"source": {"code_version": logged["version"]}}, "source.code_version")

    def _is_of_the_first(self, field: str) -> bool:
        """Whether a run that goes on keeps this as it was when it began."""
        return self._notes.resumed and field in {"source", "environment"}

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

    def end(self, record: Record, step: str) -> None:
        """End the run as a record says; `step` tells its ends from each other. Raises ModelkeepError.

        Of several who share the run, one that failed makes it a failed one.
        """
        try:
            self._finish(record, step)
        except RunNotRunning:
            if not self._is_shared:
                raise
            if record.values.get("state") == "failed":
                self._wake(record)
                self._finish(record, f"{step} again")

    def _finish(self, record: Record, step: str) -> None:
        state = STATES[record.values.get("state", "finished")]
        request = pb.FinishRunRequest(name=str(self._name), state=state, request_id=self._id(record, step))
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
