"""Runs as scripts make them, against the whole product: what they tell is there, and in the graph."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import modelkeep
import pytest
from modelkeep._channel import connect
from modelkeep._offline_find import runs_in
from modelkeep._plain_json import MAX_DEPTH
from modelkeep._sync import sync
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.config import load

from tests.contract.sdk import artifact, some

CANARY = "hunter2canary"


@pytest.fixture(autouse=True)
def _client(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])


def told(name: str) -> run_pb2.Run:
    run: run_pb2.Run = connect(load()).lineage.GetRun(pb.GetRunRequest(name=name))
    return run


def points(name: str) -> dict[str, list[tuple[int, float]]]:
    lineage = connect(load()).lineage
    found = {}
    for metric in lineage.ListMetrics(pb.ListMetricsRequest(parent=name, page_size=1000)).metrics:
        request = pb.ListMetricPointsRequest(parent=name, key=metric.key, page_size=10_000)
        series = lineage.ListMetricPoints(request).series
        found[metric.key] = [point for one in series for point in zip(one.steps, one.values, strict=True)]
    return found


def test_a_run_is_told_whole() -> None:
    with modelkeep.init(job_type="train", config={"lr": 0.1, "api_key": CANARY}, tags=["a"], group="g") as run:
        run.define_metric("acc", summary="best", goal="maximize")
        run.log({"acc": 0.5, "loss": math.nan})
        run.log({"acc": 0.9, "loss": math.inf, "eval": {"f1": 1}})
        run.log({"acc": 0.7, "loss": -math.inf}, step=10)
        run.summary["note"] = {"deep": [1, math.inf]}
        run.config["lr"] = 0.2
        run.add_tags("b")
        run.name, run.notes = "renamed", "# N"
        run.flush()
        assert told(run.resource_name).state == run_pb2.RUN_STATE_RUNNING
    kept = told(run.resource_name)
    assert kept.state == run_pb2.RUN_STATE_FINISHED
    assert (kept.display_name, kept.job_type, kept.group, kept.notes) == ("renamed", "train", "g", "# N")
    assert list(kept.tags) == ["a", "b"]
    assert json.loads(kept.config_json) == {"lr": 0.2, "api_key": "***"}
    summary = {"acc": 0.9, "loss": "-Infinity", "eval.f1": 1.0, "note": {"deep": [1, "Infinity"]}}
    assert json.loads(kept.summary_json) == summary
    assert {**run.summary, "loss": "-Infinity", "note": summary["note"]} == summary, "the run sees the same itself"
    found = points(run.resource_name)
    assert found["acc"] == [(0, 0.5), (1, 0.9), (10, 0.7)]
    assert str(found["loss"]) == str([(0, math.nan), (1, math.inf), (10, -math.inf)])


def nested(levels: int) -> dict[str, Any]:
    """An object of so many levels."""
    inner: Any = 1
    for _ in range(levels):
        inner = {"x": inner}
    return dict(inner)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_value_that_is_too_deep_is_refused_where_it_is_given(mode: Any, tmp_path: Path) -> None:
    """What the server takes and what the client takes is the same: else it went with what was set beside it."""
    with pytest.raises(modelkeep.InvalidArgument, match="more than 32 levels deep"):
        modelkeep.init(mode=mode, dir=tmp_path, config=nested(MAX_DEPTH))
    with modelkeep.init(mode=mode, dir=tmp_path, id="r1", config=nested(MAX_DEPTH - 1)) as run:
        for values in (run.config, run.summary):
            values["deepest"] = nested(MAX_DEPTH - 2)
            with pytest.raises(modelkeep.InvalidArgument, match="more than 32 levels deep"):
                values["deepest"] = nested(MAX_DEPTH - 1)
    for outcome in sync(connect(load()), runs_in(str(tmp_path))):
        assert outcome.error is None
    kept = modelkeep.Api().run("r1")
    assert kept.config == nested(MAX_DEPTH - 1) | {"deepest": nested(MAX_DEPTH - 2)}
    assert kept.summary == {"deepest": nested(MAX_DEPTH - 2)}


def test_a_hundred_thousand_points(client_env: dict[str, str]) -> None:
    with modelkeep.init() as run:
        for number in range(50_000):
            run.log({"a": number, "b": -number})
    metrics = connect(load()).lineage.ListMetrics(pb.ListMetricsRequest(parent=run.resource_name)).metrics
    assert [(metric.key, metric.point_count, metric.last_step) for metric in metrics] == [
        ("a", 50_000, 49_999),
        ("b", 50_000, 49_999),
    ]


def test_an_exception_fails_a_run_and_a_finished_one_goes_on() -> None:
    run = modelkeep.init(id="r1")
    run.log({"x": 1})
    with pytest.raises(modelkeep.InvalidArgument), run:
        run.log({"x": "bad"})
    assert told(run.resource_name).state == run_pb2.RUN_STATE_FAILED
    with pytest.raises(modelkeep.RunExists, match="resume='allow'"):
        modelkeep.init(id="r1")
    with modelkeep.init(id="r1", resume="must", config={"again": True}) as again:
        assert (again.step, again.summary) == (1, {"x": 1})
        again.log({"x": 2})
        assert told(run.resource_name).state == run_pb2.RUN_STATE_RUNNING
    kept = told(run.resource_name)
    assert (kept.state, kept.resume_count, json.loads(kept.config_json)) == (run_pb2.RUN_STATE_FINISHED, 1, {"again": True})
    assert points(run.resource_name) == {"x": [(0, 1.0), (1, 2.0)]}
    with pytest.raises(modelkeep.RunNotFound):
        modelkeep.init(id="r2", resume="must")


def test_a_run_that_was_ended_elsewhere_takes_nothing_more() -> None:
    run = modelkeep.init(id="r1")
    request = pb.FinishRunRequest(name=run.resource_name, state=run_pb2.RUN_STATE_FAILED)
    connect(load()).lineage.FinishRun(request)
    run.log({"x": 1})
    with pytest.raises(modelkeep.RunNotRunning, match="resume"):
        run.flush()
    with pytest.raises(modelkeep.RunNotRunning):
        run.finish()


def test_two_processes_share_a_run(client_env: dict[str, str]) -> None:
    """Whoever finishes first ends it for nobody else, and what each of them said is there."""
    program = """
        import sys, modelkeep
        run = modelkeep.init(id="shared", resume="allow")
        run.define_metric("acc", summary="max")
        run.config[f"of-{sys.argv[1]}"] = int(sys.argv[1])
        for step in range(100):
            run.log({"acc": step * int(sys.argv[1])}, step=step)
        run.finish()
    """
    with modelkeep.init(id="shared", resume="allow") as run:
        processes = [
            subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(number)], env=client_env) for number in (1, 2)
        ]
        assert [process.wait(200) for process in processes] == [0, 0]
        run.log({"last": 1})
        run.flush()
        assert told(run.resource_name).state == run_pb2.RUN_STATE_RUNNING
    kept = told(run.resource_name)
    assert kept.state == run_pb2.RUN_STATE_FINISHED
    assert json.loads(kept.config_json) == {"of-1": 1, "of-2": 2}
    assert json.loads(kept.summary_json) == {"acc": 198.0, "last": 1.0}
    assert len(points(run.resource_name)["acc"]) == 200


CODE = """
    import modelkeep
    password = "hunter2canary"
    with modelkeep.init(capture="all") as run:
        run.log({"x": 1})
"""


def test_the_code_is_kept_once_and_used(client_env: dict[str, str], tmp_path: Path, project: str) -> None:
    """SEM-11; M-SEC-1: no secret reaches the server, whichever way it came."""
    env = {**client_env, "SERVICE_TOKEN": CANARY, "PATH": client_env["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null"}
    (tmp_path / "data.yaml").write_text("a: 1\n")
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-qm", "first"],
        ["remote", "add", "origin", f"https://me:{CANARY}@host/x.git"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, env=env, check=True)
    (tmp_path / "data.yaml").write_text(f"a: 2\ntoken: {CANARY}\n")
    for number in (1, 2):
        (tmp_path / "train.py").write_text(textwrap.dedent(CODE))
        command = [
            sys.executable,
            str(tmp_path / "train.py"),
            "--lr",
            "1",
            "--password",
            CANARY,
            f"https://u:{CANARY}@h/x?sig={CANARY}",
        ]
        run_env = {**env, "MODELKEEP_RUN_ID": f"r{number}"}
        subprocess.run(command, env=run_env, check=True, timeout=200)
    api = modelkeep.Api()
    kept = [told(f"teams/{api.team}/projects/{project}/runs/r{number}") for number in (1, 2)]
    source = kept[0].source
    assert (source.repository_url, source.branch, source.is_dirty) == ("https://host/x.git", "main", True)
    assert (source.entry_point, list(source.arguments)[:3]) == ("train.py", ["--lr", "1", "--password"])
    assert source.commit
    assert kept[0].environment.host
    assert any(package.startswith("grpcio==") for package in kept[0].environment.packages)
    assert kept[1].source.code_version == source.code_version, "the same code is the same version"
    (code,) = api.collections()
    assert (code.name, code.type) == ("code-train.py", "code")
    version = api.artifact("code-train.py:v0")
    assert version.uses.run_count == 2
    folder = version.download(tmp_path / "out")
    assert {file.path for file in version.files()} == {"changes.patch", "code/train.py", "packages.txt"}
    everything = "".join(str(one) for one in kept) + "".join(p.read_text() for p in folder.rglob("*") if p.is_file())
    assert CANARY not in everything
    assert "+a: 2" in everything


def test_an_offline_run_arrives_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str) -> None:
    """In order and once, however often it is synced, with its own times."""
    monkeypatch.setenv("MODELKEEP_OFFLINE_DIR", str(tmp_path / "offline"))
    with modelkeep.init(mode="offline", id="r1", job_type="train", config={"lr": 1}, tags=["t"], notes="n") as run:
        run.define_metric("acc", summary="max")
        for number in range(10):
            run.log({"acc": number % 7, "loss": math.nan})
        made = artifact(tmp_path / "in", {"x": some()})
        run.log_artifact(made)
        run.config["lr"] = 2
        run.summary["note"] = "good"
        run.add_tags("u")
        run.remove_tags("t")
        run.name = "renamed"
    for _ in range(2):
        (outcome,) = sync(connect(load()), runs_in(str(tmp_path / "offline")))
        assert outcome.error is None
    assert outcome.state == "unchanged"
    kept = told(run.resource_name.replace("/-/", f"/{modelkeep.Api().team}/"))
    assert (kept.state, kept.display_name, kept.job_type, list(kept.tags)) == (2, "renamed", "train", ["u"])
    assert json.loads(kept.config_json) == {"lr": 2}
    assert json.loads(kept.summary_json) == {"acc": 6.0, "loss": "NaN", "note": "good"}
    assert points(kept.name)["acc"] == [(number, float(number % 7)) for number in range(10)]
    (version,) = modelkeep.Api().versions("digits")
    assert kept.start_time.ToDatetime() < kept.end_time.ToDatetime()
    assert kept.end_time.ToDatetime() < version.create_time.replace(tzinfo=None), "its own times, not those of the sync"

    with modelkeep.init(mode="offline", id="r1", dir=tmp_path / "second"):
        pass
    (refused,) = sync(connect(load()), runs_in(str(tmp_path / "second")))
    assert refused.error is not None
    assert refused.error.metadata["why"] == "RUN_EXISTS"
    with modelkeep.init(mode="offline", id="r1", resume="allow", dir=tmp_path / "third") as again:
        again.log({"acc": 9}, step=100)
    (taken,) = sync(connect(load()), runs_in(str(tmp_path / "third")))
    assert taken.error is None
    assert points(kept.name)["acc"][-1] == (100, 9.0)


def test_many_runs_at_once(project: str) -> None:
    failures: list[Any] = []

    def work(number: int) -> None:
        try:
            with modelkeep.init(config={"number": number}) as run:
                for _ in range(10):
                    run.log({"x": number})
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    parent = f"teams/{modelkeep.Api().team}/projects/{project}"
    runs = connect(load()).lineage.ListRuns(pb.ListRunsRequest(parent=parent)).runs
    assert len(runs) == 12
    assert all(json.loads(run.summary_json)["x"] == json.loads(run.config_json)["number"] for run in runs)
