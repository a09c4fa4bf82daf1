"""What may come twice: every call of lineage that writes, by a table that a new RPC has to be in (SEM-14, R12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from modelkeep._channel import Connection, connect
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1.run_pb2 import Run, RunState
from modelkeep.config import load
from modelkeep.errors import InvalidArgument, RequestIdReused

from tests.suites import Suite


def test_every_call_that_writes_may_be_repeated(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same id, the same answer; another body under it is refused; no UUID4 is refused."""
    for name, value in suite.client(f"p-{uuid4().hex[:8]}").items():
        monkeypatch.setenv(name, value)
    connection = connect(load())
    calls, others = _requests(connection)
    service = pb.DESCRIPTOR.services_by_name["LineageService"]
    writing = {method.name for method in service.methods if "request_id" in method.input_type.fields_by_name}
    assert writing == calls.keys() == others.keys()
    for method, request in calls.items():
        ask: Callable[[Any], Any] = getattr(connection.lineage, method)
        request.request_id = "7"
        with pytest.raises(InvalidArgument, match="request_id"):
            ask(request)
        request.request_id = str(uuid4())
        assert ask(request) == ask(request), method
        other = type(request)()
        other.CopyFrom(request)
        other.MergeFrom(others[method])
        with pytest.raises(RequestIdReused):
            ask(other)
    connection.close_channels()


def _requests(connection: Connection) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request of each kind, in the order in which a run would see them; and what makes another one of each."""
    project = str(connection.project)
    name = f"{project}/runs/r1"
    edit = {"run": Run(name=name, notes="n"), "update_mask": FieldMask(paths=["notes"])}
    calls: dict[str, Any] = {
        "CreateRun": pb.CreateRunRequest(parent=project, run_id="r1", run=Run()),
        "UpdateRun": pb.UpdateRunRequest(**edit),
        "EditRunTags": pb.EditRunTagsRequest(name=name, add_tags=["a"]),
        "LogMetrics": pb.LogMetricsRequest(name=name, summary_json='{"acc":1}'),
        "FinishRun": pb.FinishRunRequest(name=name, state=RunState.RUN_STATE_FINISHED),
        "ResumeRun": pb.ResumeRunRequest(name=name),
        "DeleteRun": pb.DeleteRunRequest(name=name, reason="done"),
    }
    others: dict[str, Any] = {
        "CreateRun": pb.CreateRunRequest(run=Run(notes="other")),
        "UpdateRun": pb.UpdateRunRequest(run=Run(notes="other")),
        "EditRunTags": pb.EditRunTagsRequest(add_tags=["b"]),
        "LogMetrics": pb.LogMetricsRequest(summary_json='{"acc":2}'),
        "FinishRun": pb.FinishRunRequest(state=RunState.RUN_STATE_FAILED),
        "ResumeRun": pb.ResumeRunRequest(name=f"{project}/runs/r2"),
        "DeleteRun": pb.DeleteRunRequest(reason="other"),
    }
    return calls, others
