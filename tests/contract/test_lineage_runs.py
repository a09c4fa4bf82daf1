"""Runs and metrics as the contract says it, through generated stubs alone, in every topology."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from modelkeep._channel import Connection
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.blob.v1.digest_pb2 import Chunk, Digest
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.api.lineage.v1.run_pb2 import MetricDefinition, MetricSeries, Run
from modelkeep.api.metadata.v1 import metadata_service_pb2 as metadata_pb
from modelkeep.api.metadata.v1.draft_pb2 import Draft
from modelkeep.api.metadata.v1.entry_pb2 import Entry, Segment
from modelkeep.config import Config
from modelkeep.errors import InvalidFilter, ModelkeepError

from tests.suites import Suite

NAN, INF = math.nan, math.inf


@dataclass
class Client:
    """A client of one team, in one project."""

    connection: Connection
    project: str

    @property
    def parent(self) -> str:
        return f"teams/{self.connection.team}/projects/{self.project}"

    def call(self, method: str, **fields: Any) -> Any:
        """The answer of an RPC of lineage; a call that writes gets a request id unless it has one."""
        return getattr(self.connection.lineage, method)(getattr(pb, f"{method}Request")(**fields))

    def begin(self, run_id: str = "", **run: Any) -> Run:
        return self.call("CreateRun", parent=self.parent, run_id=run_id or f"r-{uuid4().hex[:8]}", run=Run(**run))

    def log(self, run: str, *series: MetricSeries, **more: Any) -> None:
        self.call("LogMetrics", name=run, series=series, **more)

    def found(self, filter_: str = "", order: str = "", parent: str = "", size: int = 50) -> list[str]:
        """The display names of the runs of all pages."""
        token, names = "", []
        while True:
            asked = {"filter": filter_, "order_by": order, "page_size": size, "page_token": token}
            page = self.call("ListRuns", parent=parent or self.parent, **asked)
            names += [run.display_name for run in page.runs]
            if not (token := page.next_page_token):
                return names

    def produce(self, run: str) -> str:
        """The name of a version that a run produced."""
        data = uuid4().bytes
        digest = Digest(sha256=hashlib.sha256(data).digest())
        chunk = Chunk(digest=digest, size_bytes=len(data))
        blob, metadata = self.connection.blob, self.connection.metadata
        request = blob_pb.PrepareUploadRequest(parent=f"teams/{self.connection.team}", chunks=[chunk], stream_only=True)
        lease = blob.PrepareUpload(request).lease.name
        blob.Write(iter([blob_pb.WriteRequest(lease=lease, chunk=chunk, data=data)]))
        wish = Draft(collection=f"{self.parent}/collections/net", type="model")
        draft = metadata.CreateDraft(metadata_pb.CreateDraftRequest(parent=self.parent, draft=wish)).name
        entry = Entry(path="w", digest=digest, size_bytes=len(data), segments=[Segment(chunk=digest, length=len(data))])
        requests = [metadata_pb.AddEntriesRequest(draft=draft), metadata_pb.AddEntriesRequest(entries=[entry])]
        metadata.AddEntries(iter(requests))
        return metadata.CommitDraft(metadata_pb.CommitDraftRequest(name=draft, run=run)).version.name


def connected(suite: Suite, key: str, project: str) -> Client:
    return Client(Connection(Config(suite.url, key, blob_url=suite.blob_url, lineage_url=suite.lineage_url)), project)


@pytest.fixture
def client(suite: Suite, project: str) -> Iterator[Client]:
    client = connected(suite, suite.api_key, project)
    yield client
    client.connection.close_channels()


def series(key: str, *values: float, steps: tuple[int, ...] = ()) -> MetricSeries:
    """Points of a metric, one a second."""
    steps = steps or tuple(range(len(values)))
    return MetricSeries(key=key, steps=steps, values=values, times_micros=[1_000_000 * (n + 1) for n in range(len(values))])


def reason(work: Callable[[], object]) -> str:
    """The reason that something fails with."""
    with pytest.raises(ModelkeepError) as raised:
        work()
    return raised.value.reason


def moment(*parts: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(*parts, tzinfo=UTC))
    return stamp


def test_a_run_from_its_beginning_to_its_end(client: Client):
    limits = client.call("GetCapabilities")
    assert limits.max_points >= 1000
    assert limits.heartbeat_timeout.seconds == 300
    source = run_pb2.Source(repository_url="https://git.example/net.git", commit="c0ffee", arguments=["--lr", "0.1"])
    environment = run_pb2.Environment(host="node1", packages=["numpy==2.0"])
    words = {"display_name": "calm-lake", "job_type": "train", "group": "sweep", "tags": ["b", "a"], "notes": "# N"}
    made = client.begin("r1", config_json=' {"lr": 0.1, "b": NaN}', source=source, environment=environment, **words)
    assert made.name == f"{client.parent}/runs/r1"
    assert {name: getattr(made, name) for name in words} == words | {"tags": ["a", "b"]}
    assert (made.state, made.config_json, made.summary_json) == (run_pb2.RUN_STATE_RUNNING, '{"b":"NaN","lr":0.1}', "{}")
    assert (made.source, made.environment, made.resume_count) == (source, environment, 0)
    assert made.creator.startswith(f"teams/{client.connection.team}/apiKeys/")
    assert client.call("Heartbeat", name=made.name).next_within.seconds == 100
    client.log(made.name, series("acc", 0.5, 0.9), summary_json='{"note": "good"}')
    ended = client.call("FinishRun", name=made.name)
    assert ended.state == run_pb2.RUN_STATE_FINISHED
    assert json.loads(ended.summary_json) == {"acc": 0.9, "note": "good"}
    assert ended.end_time.ToDatetime() >= ended.start_time.ToDatetime()
    shown = client.call("GetRun", name=made.name)
    assert shown == ended
    (listed,) = client.call("ListRuns", parent=client.parent).runs
    shown.source.ClearField("arguments")
    shown.environment.ClearField("packages")
    assert listed == shown


def test_a_run_that_was_recorded_offline_says_when(client: Client):
    began = client.begin("r1", start_time=moment(2026, 1, 2))
    assert began.start_time == moment(2026, 1, 2)
    ended = client.call("FinishRun", name=began.name, state=run_pb2.RUN_STATE_FAILED, end_time=moment(2026, 1, 3))
    assert (ended.state, ended.end_time) == (run_pb2.RUN_STATE_FAILED, moment(2026, 1, 3))


def test_words_and_tags_are_edited(client: Client):
    """SEM-19."""
    run = client.begin("r1", config_json='{"lr":1}', tags=["a"])
    code = f"{client.parent}/collections/code/versions/v3"

    def edit(*paths: str, **words: Any) -> Run:
        return client.call("UpdateRun", run=Run(name=run.name, **words), update_mask=FieldMask(paths=paths))

    edited = edit("notes", "config_json", "source.code_version", etag=run.etag, notes="n", config_json='{"lr":2}',
                  source=run_pb2.Source(code_version=code, commit="not in the mask"))  # fmt: skip
    assert (edited.notes, edited.config_json, edited.source.code_version, edited.source.commit) == ("n", '{"lr":2}', code, "")
    assert edited.display_name == "r1"
    assert edit("source", "environment", source=run_pb2.Source(commit="c0ffee")).source == run_pb2.Source(commit="c0ffee")
    assert reason(lambda: edit("notes", etag=run.etag, notes="lost")) == "ETAG_MISMATCH"
    assert reason(lambda: edit("state")) == reason(edit) == "INVALID_ARGUMENT"
    assert reason(lambda: edit("source.code_version", source=run_pb2.Source(code_version="net:v1"))) == "INVALID_NAME"
    tagged = client.call("EditRunTags", name=run.name, add_tags=["b", "c"], remove_tags=["a", "z"])
    assert tagged.tags == ["b", "c"]
    assert reason(lambda: client.call("EditRunTags", name=run.name, add_tags=["a/b"])) == "INVALID_TAG"
    many = [f"t{n}" for n in range(100)]
    assert reason(lambda: client.call("EditRunTags", name=run.name, add_tags=many)) == "LIMIT_EXCEEDED"


def test_a_call_that_comes_twice_counts_once(client: Client):
    """SEM-14."""
    again = str(uuid4())
    fields = {"parent": client.parent, "run_id": "r1", "run": Run(notes="n"), "request_id": again}
    made = client.call("CreateRun", **fields)
    assert client.call("CreateRun", **fields) == made
    assert reason(lambda: client.call("CreateRun", **fields | {"run": Run(notes="other")})) == "REQUEST_ID_REUSED"
    assert reason(lambda: client.begin("r1")) == "RUN_EXISTS"
    for _ in range(2):
        client.log(made.name, series("acc", 1.0), request_id=again)
    (metric,) = client.call("ListMetrics", parent=made.name).metrics
    assert metric.point_count == 1


def test_values_of_every_kind_come_back(client: Client):
    """NaN and the infinities too; keys with dots, of any script; steps that go back; whatever the clocks of clients say."""
    run = client.begin().name
    keys = ["loss", "eval.acc", "größe/字", 'a "key"', "~=/"]
    client.log(run, *(series(key, 1.0, NAN, INF, -INF, 5e-324, steps=(3, 4, 4, 2, -1)) for key in keys))
    listed = client.call("ListMetrics", parent=run).metrics
    assert [metric.key for metric in listed] == sorted(keys)
    assert {(m.point_count, m.last_value, m.last_step, m.min_value, m.max_value) for m in listed} == {
        (5, 5e-324, -1, -INF, INF)
    }
    assert all(metric.steps_went_back for metric in listed)
    for key in keys:
        (points,) = client.call("ListMetricPoints", parent=run, key=key).series
        assert (points.key, list(points.steps)) == (key, [3, 4, 4, 2, -1])
        assert math.isnan(points.values[1])
        assert [*points.values[:1], *points.values[2:]] == [1.0, INF, -INF, 5e-324]
        assert list(points.times_micros) == [1_000_000 * (n + 1) for n in range(5)]
    assert json.loads(client.call("GetRun", name=run).summary_json) == dict.fromkeys(keys, 5e-324)
    extremes = [0, 253_402_300_799_999_999]
    client.log(run, MetricSeries(key="skewed", steps=[0, 1], values=[1.0, 2.0], times_micros=extremes))
    (points,) = client.call("ListMetricPoints", parent=run, key="skewed").series
    assert list(points.times_micros) == extremes
    client.log(run, series("last", NAN), series("least", INF))
    summary = json.loads(client.call("GetRun", name=run).summary_json)
    assert (summary["last"], summary["least"]) == ("NaN", "Infinity")


def test_the_summary_keeps_what_was_declared(client: Client):
    run = client.begin().name
    rules = {"lo": run_pb2.METRIC_SUMMARY_MIN, "hi": run_pb2.METRIC_SUMMARY_MAX, "off": run_pb2.METRIC_SUMMARY_NONE}
    definitions = [MetricDefinition(key=key, summary=rule) for key, rule in rules.items()]
    client.log(run, *(series(key, 2.0, 1.0, 3.0, 2.5) for key in (*rules, "last")), definitions=definitions)
    client.log(run, series("lo", 9.0), summary_json='{"hi": null, "set": {"by": ["hand"]}}')
    assert json.loads(client.call("GetRun", name=run).summary_json) == {"lo": 1.0, "last": 2.5, "set": {"by": ["hand"]}}
    shown = {metric.key: metric.summary for metric in client.call("ListMetrics", parent=run).metrics}
    assert shown == rules | {"last": run_pb2.METRIC_SUMMARY_LAST}


def test_two_processes_write_to_one_run_and_it_is_resumed(client: Client, suite: Suite):
    run = client.begin().name
    others = [connected(suite, suite.api_key, client.project) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        work = [
            pool.submit(other.log, run, series("a", float(n)), series(f"own{n}", 1.0)) for n, other in enumerate(others * 5)
        ]
        for one in work:
            one.result()
    (a, *own) = client.call("ListMetrics", parent=run).metrics
    assert (a.point_count, a.min_value, a.max_value, len(own)) == (10, 0.0, 9.0, 10)
    client.call("FinishRun", name=run)
    assert reason(lambda: client.log(run, series("a", 1.0))) == "RUN_NOT_RUNNING"
    assert reason(lambda: client.call("Heartbeat", name=run)) == "RUN_NOT_RUNNING"
    assert reason(lambda: client.call("FinishRun", name=run, state=run_pb2.RUN_STATE_FAILED)) == "RUN_NOT_RUNNING"
    assert client.call("FinishRun", name=run).state == run_pb2.RUN_STATE_FINISHED
    resumed = client.call("ResumeRun", name=run)
    assert (resumed.state, resumed.resume_count, resumed.HasField("end_time")) == (run_pb2.RUN_STATE_RUNNING, 1, False)
    client.log(run, series("a", 42.0))
    assert json.loads(client.call("GetRun", name=run).summary_json)["a"] == 42.0
    for other in others:
        other.connection.close_channels()


def test_points_come_in_pages(client: Client):
    """SEM-53."""
    run = client.begin().name
    client.log(run, series("a", *map(float, range(2500))), series("b", 1.0))
    sizes, values, token = [], [], ""
    while True:
        page = client.call("ListMetricPoints", parent=run, key="a", page_size=0 if token else 10_000, page_token=token)
        values += page.series[0].values
        sizes.append(len(page.series[0].values))
        if not (token := page.next_page_token):
            break
    assert values == list(map(float, range(2500)))
    assert sizes == [2500]
    first = client.call("ListMetricPoints", parent=run, key="a")
    assert len(first.series[0].values) == 1000
    assert reason(lambda: client.call("ListMetricPoints", parent=run, key="b", page_token=first.next_page_token)) == (
        "PAGE_TOKEN_INVALID"
    )
    assert reason(lambda: client.call("ListMetricPoints", parent=run, key="c")) == "METRIC_NOT_FOUND"
    assert reason(lambda: client.call("ListMetricPoints", parent=run, key="")) == "INVALID_ARGUMENT"


def test_runs_are_found_and_sorted(client: Client):
    for n in range(4):
        loss = [0.4, NAN, INF, 0.1][n]
        run = client.begin(
            f"r{n}", config_json=f'{{"opt":{{"lr":{n}}}}}', tags=[f"t{n % 2}"], job_type="eval" if n else "train"
        )
        client.log(run.name, series("loss", loss), series("eval.acc", n / 10))
    client.call("FinishRun", name=f"{client.parent}/runs/r3")
    assert client.found() == ["r3", "r2", "r1", "r0"]
    assert client.found(size=1) == ["r3", "r2", "r1", "r0"]
    for filter_, names in {
        "config.opt.lr >= 2": ["r3", "r2"],
        'summary."eval.acc" < 0.2 AND tag:t1': ["r1"],
        "summary.loss = NaN": ["r1"],
        "summary.loss > 1e308": ["r2"],
        "summary.loss = Infinity OR summary.loss < 0.2": ["r3", "r2"],
        "state = finished": ["r3"],
        "job_type = eval AND NOT state = running": ["r3"],
        'id = "r*" AND name != r0 AND start_time > -1d': ["r3", "r2", "r1"],
    }.items():
        assert client.found(filter_) == names, filter_
    for size in (1, 50):
        assert client.found(order="summary.loss", size=size) == ["r3", "r0", "r2", "r1"]
        assert client.found(order="-summary.loss", size=size) == ["r2", "r0", "r3", "r1"]
        assert client.found(order="-config.opt.lr, name", size=size) == ["r3", "r2", "r1", "r0"]
        assert client.found("job_type:a", 'summary."eval.acc"', size=size) == ["r0", "r1", "r2", "r3"]
    other = Client(client.connection, f"{client.project}-b")
    other.begin("x", tags=[client.project])
    client.call("EditRunTags", name=f"{client.parent}/runs/r0", add_tags=[client.project])
    everywhere = f"teams/{client.connection.team}/projects/-"
    assert client.found(f"tag:{client.project}", parent=everywhere) == ["x", "r0"]
    with pytest.raises(InvalidFilter, match="at character 14") as raised:
        client.found("summary.acc >< 1")
    assert raised.value.metadata["position"] == "13"
    assert reason(lambda: client.found("summry.acc > 1")) == "INVALID_FILTER"
    assert reason(lambda: client.found(parent=f"{client.parent}-none")) == "PROJECT_NOT_FOUND"


def test_the_best_run_and_what_it_produced(client: Client):
    for n, acc in enumerate([0.5, 0.9, 0.9, NAN]):
        run = client.begin(f"r{n}", tags=["odd"] if n % 2 else [])
        client.log(run.name, series("acc", acc), series("eval.loss", [1.0, 2.0, -INF, 3.0][n]))
    version = client.produce(f"{client.parent}/runs/r1")

    def best(metric: str, **more: Any) -> tuple[str, float]:
        answer = client.call("GetBestRun", parent=client.parent, metric=metric, **more)
        return answer.run.display_name, answer.value

    assert best("acc") == ("r1", 0.9)
    assert best("acc", goal=pb.GOAL_MINIMIZE) == ("r0", 0.5)
    assert best('"eval.loss"', goal=pb.GOAL_MINIMIZE) == ("r2", -INF)
    assert best('"eval.loss"', filter="tag:odd", goal=pb.GOAL_MINIMIZE) == ("r1", 2.0)
    answer = client.call("GetBestRun", parent=client.parent, metric="acc")
    assert [link.node.name for link in answer.produced] == [version]
    assert reason(lambda: best("f1")) == "RUN_NOT_FOUND"
    assert reason(lambda: best("")) == "INVALID_ARGUMENT"
    with pytest.raises(InvalidFilter, match="in the metric, at character 1: keys"):
        best("acc, other")


def test_a_deleted_run_leaves_a_tombstone_and_its_versions(client: Client):
    """SEM-47, 51."""
    run = client.begin("r1").name
    client.log(run, series("acc", 1.0))
    version = client.produce(run)
    client.call("DeleteRun", name=run, reason="wrong data")
    client.call("DeleteRun", name=run)
    for method, fields in {
        "GetRun": {"name": run},
        "LogMetrics": {"name": run, "series": [series("acc", 1.0)]},
        "ListMetrics": {"parent": run},
        "ResumeRun": {"name": run},
    }.items():
        assert reason(lambda method=method, fields=fields: client.call(method, **fields)) == "RUN_DELETED"
    assert reason(lambda: client.begin("r1")) == "RUN_DELETED"
    assert client.found() == []
    assert client.connection.metadata.GetVersion(metadata_pb.GetVersionRequest(name=version)).name == version
    assert reason(lambda: client.call("GetRun", name=f"{client.parent}/runs/none")) == "RUN_NOT_FOUND"


def test_what_is_too_much_or_malformed_is_refused(client: Client):
    """M-DOS-1."""
    run = client.begin().name
    big = json.dumps({"x": "y" * 1_100_000})
    for config, expected in {
        big: "LIMIT_EXCEEDED",
        "[1]": "INVALID_METADATA",
        "{": "INVALID_METADATA",
        '{"a":' * 40 + "1" + "}" * 40: "INVALID_METADATA",
        "[" * 100_000: "INVALID_METADATA",
    }.items():
        assert reason(lambda config=config: client.begin(config_json=config)) == expected
    assert reason(lambda: client.log(run, summary_json=big)) == "LIMIT_EXCEEDED"
    assert reason(lambda: client.log(run, series("a", *[1.0] * 50_001))) == "LIMIT_EXCEEDED"
    assert reason(lambda: client.log(run, series("k" * 257, 1.0))) == "LIMIT_EXCEEDED"
    assert reason(lambda: client.begin(environment=run_pb2.Environment(packages=["p" * 300_000]))) == "LIMIT_EXCEEDED"
    assert reason(lambda: client.begin(notes="n" * 70_000)) == "LIMIT_EXCEEDED"
    uneven = MetricSeries(key="a", steps=[1, 2], values=[1.0], times_micros=[1])
    for wrong in ([series("", 1.0)], [series("a\n", 1.0)], [series("a", 1.0), series("a", 2.0)], [uneven]):
        assert reason(lambda wrong=wrong: client.log(run, *wrong)) == "INVALID_ARGUMENT"
    for time in (-(2**63), -1, 253_402_300_800_000_000, 2**63 - 1):
        no_time = MetricSeries(key="a", steps=[1, 2], values=[1.0, 2.0], times_micros=[1, time])
        assert reason(lambda no_time=no_time: client.log(run, no_time)) == "INVALID_ARGUMENT"
    for name in ("r 1", "a/b", ".."):
        assert reason(lambda name=name: client.begin(name)) == "INVALID_NAME"
    for address in ("https://user:hunter2@git.example/net.git", "https://user:hunter2@[x"):
        with pytest.raises(ModelkeepError, match="credentials") as raised:
            client.begin(source=run_pb2.Source(repository_url=address))
        assert "hunter2" not in str(raised.value)
    assert reason(lambda: client.call("FinishRun", name=run, state=run_pb2.RUN_STATE_CRASHED)) == "INVALID_ARGUMENT"
    assert json.loads(client.call("GetRun", name=run).summary_json) == {}


@pytest.mark.peer("M-AUTHZ-1")
def test_no_other_team_sees_a_run(client: Client, suite: Suite):
    """M-AUTHZ-1."""
    run = client.begin("r1").name
    reader = connected(suite, suite.key("lineage-reader", readable_teams=(client.connection.team,)), client.project)
    stranger = connected(suite, suite.key("lineage-stranger"), client.project)
    assert reader.call("GetRun", name=run).display_name == "r1"
    assert reason(lambda: reader.log(run, series("a", 1.0))) == "PERMISSION_DENIED"
    assert reason(lambda: stranger.call("GetRun", name=run)) == "PERMISSION_DENIED"
    assert reason(lambda: stranger.call("GetRun", name=f"{run}-none")) == "PERMISSION_DENIED"
    for other in (reader, stranger):
        other.connection.close_channels()
