"""Where it is written down what a run is and does: with a server's lineage service, or nowhere; offline, in a journal."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from modelkeep import _plain_json
from modelkeep._batch import Limits
from modelkeep._summary import Seen
from modelkeep._wire import pages
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.errors import (
    EtagMismatch,
    InvalidArgument,
    LimitExceeded,
    RunExists,
    RunNotFound,
    RunNotRunning,
    Unimplemented,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from modelkeep._batch import Batch
    from modelkeep._channel import Connection
    from modelkeep._version import Version
    from modelkeep.names import RunName

_log: Final = logging.getLogger("modelkeep")
T = TypeVar("T")

CALL_SECONDS: Final = 30.0
"""The deadline of a call in the background, with its tries; it is made again after that."""
CERTAINLY_SMALL_BYTES: Final = 256 * 1024
"""A config up to here is sent without asking how large it may be."""
STATES: Final = {"finished": run_pb2.RUN_STATE_FINISHED, "failed": run_pb2.RUN_STATE_FAILED}


class Ledger(Protocol):
    """What a run needs of it. All but `limits` raise ModelkeepError."""

    def limits(self) -> Limits:
        """How much may be told at once."""

    def tell(self, part: Batch) -> None:
        """Keep one of the parts of a batch, all or nothing."""

    def beat(self) -> float:
        """Say that the run is alive, and answer in how many seconds to say so again, at the latest."""

    def edit(self, **fields: Any) -> None:
        """Edit fields of the run, by their names in the contract."""

    def edit_tags(self, add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...] | None:
        """Add and remove tags; the tags that it has then, if that is known."""

    def keep_code(self, version: Version) -> None:
        """Say which version keeps the code."""

    def finish(self, state: str) -> None:
        """End the run."""


class Begun:
    """A run that began, or went on."""

    def __init__(self, run: run_pb2.Run, *, resumed: bool, next_step: int = 0, seen: Iterable[Seen] = ()) -> None:
        self.run = run
        self.resumed = resumed
        self.next_step = next_step
        """The step after the last that was logged."""
        self.seen = seen
        """The metrics that it has; as many as the server allows."""


class LineageLedger:
    """Writes to the lineage service of a server."""

    def __init__(self, connection: Connection, name: RunName) -> None:
        self._connection = connection
        self._name = str(name)
        self._is_shared = False
        """Whether others may have the run too, and end it before we do: then it goes on."""
        self._has_failed = False
        """Whether one of them ended it as failed, before it went on here."""

    def begin(self, run: run_pb2.Run, resume: str) -> Begun:
        """Create the run, or resume it, as `resume` says: `never`, `allow` or `must`.

        Raises RunExists, RunNotFound, RunDeleted, LimitExceeded, Unimplemented.
        """
        self._is_shared = resume != "never"
        if resume == "must":
            return self._resume()
        parent, _, run_id = self._name.rpartition("/runs/")
        require_small_config(self._connection, run.config_json)
        try:
            request = pb.CreateRunRequest(parent=parent, run_id=run_id, run=run)
            return Begun(self._connection.lineage.CreateRun(request), resumed=False)
        except RunExists:
            if resume == "allow":
                return self._resume()
            message = (
                f"there is a run {run_id!r} in {parent}: go on with it by resume='allow' (or 'must'), or leave out id= to begin"
                " another one"
            )
            raise RunExists(message, run=self._name) from None

    def _resume(self) -> Begun:
        try:
            run = self._connection.lineage.ResumeRun(pb.ResumeRunRequest(name=self._name))
        except RunNotFound:
            message = f"there is no run {self._name} to resume; with resume='allow' it is begun where there is none"
            raise RunNotFound(message, run=self._name) from None
        last, seen = -1, []
        request = pb.ListMetricsRequest(parent=self._name, page_size=1000)
        for metric in pages(self._connection.lineage.ListMetrics, request, lambda page: page.metrics):
            last = max(last, metric.last_step)
            seen.append(Seen.from_pb(metric))
        return Begun(run, resumed=True, next_step=last + 1, seen=seen)

    def limits(self) -> Limits:
        """As the server says."""
        told = self._connection.lineage_limits()
        return Limits(
            told.max_points or Limits.max_points,
            told.max_message_bytes or Limits.max_message_bytes,
            told.max_json_bytes or Limits.max_json_bytes,
        )

    def tell(self, part: Batch) -> None:
        """A LogMetrics, which is harmless to repeat, or a change of the config."""
        if part.has_metrics:
            request = metrics_request(self._name, part)
            self._going_on(lambda: self._connection.lineage.LogMetrics(request, timeout=CALL_SECONDS))
        else:
            self._merge_config(part.config, part.config_gone)

    def _merge_config(self, changes: Mapping[str, Any], gone: Iterable[str]) -> None:
        merge_config(self._connection, self._name, changes, gone)

    def beat(self) -> float:
        """A heartbeat."""
        request = pb.HeartbeatRequest(name=self._name)
        answer = self._going_on(lambda: self._connection.lineage.Heartbeat(request, timeout=CALL_SECONDS))
        return max(float(answer.next_within.ToTimedelta().total_seconds()), 1.0)

    def edit(self, **fields: Any) -> None:
        """An UpdateRun."""
        run = run_pb2.Run(name=self._name, **fields)
        request = pb.UpdateRunRequest(run=run, update_mask=FieldMask(paths=sorted(fields)))
        self._connection.lineage.UpdateRun(request)

    def edit_tags(self, add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...] | None:
        """An EditRunTags."""
        request = pb.EditRunTagsRequest(name=self._name, add_tags=add, remove_tags=remove)
        return tuple(self._connection.lineage.EditRunTags(request).tags)

    def keep_code(self, version: Version) -> None:
        """An UpdateRun."""
        run = run_pb2.Run(name=self._name, source=run_pb2.Source(code_version=version.resource_name))
        request = pb.UpdateRunRequest(run=run, update_mask=FieldMask(paths=["source.code_version"]))
        self._connection.lineage.UpdateRun(request)

    def finish(self, state: str) -> None:
        """A FinishRun. Of several who share a run, one that failed makes it a failed one."""
        state = "failed" if self._has_failed else state
        request = pb.FinishRunRequest(name=self._name, state=STATES[state])
        try:
            self._connection.lineage.FinishRun(request, timeout=CALL_SECONDS)
        except RunNotRunning:
            if not self._is_shared:
                raise
            if state == "failed":
                self._going_on(lambda: self._connection.lineage.FinishRun(request, timeout=CALL_SECONDS))

    def _going_on(self, call: Callable[[], T]) -> T:
        """A call of a run that runs: one that another process ended meanwhile is resumed, when it is shared."""
        try:
            return call()
        except RunNotRunning as ended:
            if not self._is_shared:
                raise
            self._has_failed = self._has_failed or ended.metadata.get("state") == "failed"
            self._connection.lineage.ResumeRun(pb.ResumeRunRequest(name=self._name), timeout=CALL_SECONDS)
            return call()


class NoLedger:
    """Of a server that keeps no runs: what is told is checked, and let go."""

    def limits(self) -> Limits:
        """Any."""
        return Limits()

    def tell(self, part: Batch) -> None:
        """Nothing."""

    def beat(self) -> float:
        """Never."""
        return math.inf

    def edit(self, **fields: Any) -> None:
        """Nothing."""

    def edit_tags(self, add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...] | None:
        """Nothing is known."""
        del add, remove
        return None

    def keep_code(self, version: Version) -> None:
        """Nothing."""

    def finish(self, state: str) -> None:
        """Nothing."""


def open_ledger(connection: Connection, name: RunName, run: run_pb2.Run, resume: str) -> tuple[Ledger, Begun]:
    """Begin a run on a server; on one that keeps none, say so and go on without. Raises as `LineageLedger.begin`."""
    ledger = LineageLedger(connection, name)
    try:
        return ledger, ledger.begin(run, resume)
    except Unimplemented:
        _log.warning(
            "%s keeps no runs: artifacts are logged, and metrics, config and code are not kept; a newer server, or"
            " MODELKEEP_LINEAGE_URL where lineage has an address of its own, keeps them",
            connection.config.url,
        )
        return NoLedger(), Begun(run, resumed=False)


def metrics_request(name: str, batch: Batch) -> pb.LogMetricsRequest:
    """What tells the metrics and the summary in a batch."""
    request = pb.LogMetricsRequest(name=name, request_id=batch.request_id)
    for key, series in batch.series.items():
        request.series.add(key=key, steps=series.steps, values=series.values, times_micros=series.times_micros)
    for key, rule in batch.definitions.items():
        request.definitions.add(key=key, summary=rule)
    if batch.summary:
        request.summary_json = _plain_json.encode(batch.summary)
    return request


def require_small(what: str, size_bytes: int, limit: int) -> None:
    """Raise LimitExceeded for what is no config or summary any more."""
    if size_bytes > limit:
        message = (
            f"the {what} has {size_bytes:,} bytes, and a run keeps at most {limit:,}; log what is large as an artifact, and"
            f" put its name into the {what}"
        )
        raise LimitExceeded(message, field=what, limit=limit)


def require_small_config(connection: Connection, config_json: str) -> None:
    """Raise LimitExceeded for a config that the server would not take."""
    size = len(config_json.encode())
    if size > CERTAINLY_SMALL_BYTES:
        require_small("config", size, connection.lineage_limits().max_json_bytes)


def merge_config(connection: Connection, name: str, changes: Mapping[str, Any], gone: Iterable[str]) -> None:
    """Change some keys of a run's config, over whatever others make of the rest meanwhile."""
    import json  # noqa: PLC0415 - few runs change their config

    while True:
        run = connection.lineage.GetRun(pb.GetRunRequest(name=name))
        config = {**json.loads(run.config_json or "{}"), **changes}
        for key in gone:
            config.pop(key, None)
        edited = run_pb2.Run(name=name, config_json=_plain_json.encode(config), etag=run.etag)
        request = pb.UpdateRunRequest(run=edited, update_mask=FieldMask(paths=["config_json"]))
        try:
            connection.lineage.UpdateRun(request)
        except EtagMismatch:
            continue
        return


def parse_state(state: str) -> str:
    """How a run ends. Raises InvalidArgument."""
    if state not in STATES:
        raise InvalidArgument(f"{state!r:.100} is no end of a run; use 'finished' or 'failed'", field="state")
    return state
