"""A lineage service that is small enough to see through, and fails as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import lineage_service_pb2_grpc as rpc
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.errors import ModelkeepError, RunExists, RunNotFound

from tests.unit.sdk.wire import Calls, fail


class Lineage(rpc.LineageServiceServicer):
    """Keeps what it is told, each request once."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.runs: dict[str, run_pb2.Run] = {}
        self.points: list[tuple[str, int, float]] = []
        self.requests: list[pb.LogMetricsRequest] = []
        self.seen: set[str] = set()
        self.let_through = threading.Event()
        self.let_through.set()
        self.max_points = 100
        self.beat_seconds = 60.0

    def GetCapabilities(self, request: Any, context: grpc.ServicerContext) -> pb.Capabilities:
        self.calls.enter("Lineage.GetCapabilities", request, context)
        return pb.Capabilities(max_points=self.max_points, max_message_bytes=1 << 20, max_json_bytes=1 << 20)

    def CreateRun(self, request: pb.CreateRunRequest, context: grpc.ServicerContext) -> run_pb2.Run:
        self.calls.enter("CreateRun", request, context)
        name = f"{request.parent}/runs/{request.run_id}"
        if name in self.runs:
            fail(context, RunExists(f"there is a run {name}"))
        run = run_pb2.Run()
        run.CopyFrom(request.run)
        run.name, run.state, run.etag = name, run_pb2.RUN_STATE_RUNNING, "1"
        self.runs[name] = run
        return run

    def ResumeRun(self, request: pb.ResumeRunRequest, context: grpc.ServicerContext) -> run_pb2.Run:
        self.calls.enter("ResumeRun", request, context)
        return self._run(request.name, context)

    def GetRun(self, request: pb.GetRunRequest, context: grpc.ServicerContext) -> run_pb2.Run:
        self.calls.enter("GetRun", request, context)
        return self._run(request.name, context)

    def UpdateRun(self, request: pb.UpdateRunRequest, context: grpc.ServicerContext) -> run_pb2.Run:
        self.calls.enter("UpdateRun", request, context)
        run = self._run(request.run.name, context)
        request.update_mask.MergeMessage(request.run, run, replace_message_field=True)
        return run

    def EditRunTags(self, request: pb.EditRunTagsRequest, context: grpc.ServicerContext) -> run_pb2.Run:
        self.calls.enter("EditRunTags", request, context)
        run = self._run(request.name, context)
        run.tags[:] = sorted({*run.tags, *request.add_tags} - {*request.remove_tags})
        return run

    def Heartbeat(self, request: pb.HeartbeatRequest, context: grpc.ServicerContext) -> pb.HeartbeatResponse:
        self.calls.enter("Heartbeat", request, context)
        answer = pb.HeartbeatResponse()
        answer.next_within.FromMilliseconds(int(self.beat_seconds * 1000))
        return answer

    def LogMetrics(self, request: pb.LogMetricsRequest, context: grpc.ServicerContext) -> pb.LogMetricsResponse:
        self.let_through.wait(60)
        self.calls.enter("LogMetrics", request, context)
        if request.request_id not in self.seen:
            self.seen.add(request.request_id)
            self.requests.append(request)
            for series in request.series:
                self.points += [(series.key, *point) for point in zip(series.steps, series.values, strict=True)]
            run = self._run(request.name, context)
            run.summary_json = json.dumps(json.loads(run.summary_json or "{}") | json.loads(request.summary_json or "{}"))
        return pb.LogMetricsResponse()

    def ListMetrics(self, request: pb.ListMetricsRequest, context: grpc.ServicerContext) -> pb.ListMetricsResponse:
        self.calls.enter("ListMetrics", request, context)
        rules = {one.key: one.summary for told in self.requests for one in told.definitions}
        metrics = []
        for key in dict.fromkeys([*(key for key, _, _ in self.points), *rules]):
            found = [(step, value) for one, step, value in self.points if one == key] or [(0, 0.0)]
            values = [value for _, value in found]
            metric = run_pb2.Metric(key=key, summary=rules.get(key, run_pb2.METRIC_SUMMARY_LAST), last_step=found[-1][0])
            metric.last_value, metric.min_value, metric.max_value = values[-1], min(values), max(values)
            metric.point_count = len([1 for one, _, _ in self.points if one == key])
            metrics.append(metric)
        return pb.ListMetricsResponse(metrics=metrics)

    def FinishRun(self, request: pb.FinishRunRequest, context: grpc.ServicerContext) -> run_pb2.Run:
        self.calls.enter("FinishRun", request, context)
        run = self._run(request.name, context)
        run.state = request.state
        return run

    def _run(self, name: str, context: grpc.ServicerContext) -> run_pb2.Run:
        if name not in self.runs:
            fail(context, RunNotFound(f"there is no run {name}"))
        return self.runs[name]

    def fail_next(self, method: str, *errors: ModelkeepError) -> None:
        self.calls.errors.setdefault(method, []).extend(errors)


@contextmanager
def serving(lineage: Lineage) -> Iterator[str]:
    """Serve it at an address of its own."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    rpc.add_LineageServiceServicer_to_server(lineage, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        lineage.let_through.set()
        server.stop(None)
