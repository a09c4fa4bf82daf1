"""What a run recorded of itself offline arrives: under its id or another, once it is kept, and also behind its end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import grpc
import modelkeep
import pytest
from modelkeep import config
from modelkeep._channel import connect
from modelkeep._offline_find import runs_in
from modelkeep._offline_journal import Journal
from modelkeep._sync import Outcome, sync
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import run_pb2

from tests.contract.sdk import artifact
from tests.suites import BIN


@pytest.fixture(autouse=True)
def _client(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])
    monkeypatch.setenv("MODELKEEP_OFFLINE_DIR", str(tmp_path / "offline"))


@pytest.fixture
def without_runs() -> Iterator[config.Config]:
    """Settings of a server whose address of lineage has none."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield replace(config.load(), lineage_url=f"grpc://127.0.0.1:{port}")
    server.stop(None)


def offline(folder: Path, **words: Any) -> modelkeep.Run:
    return modelkeep.init(mode="offline", dir=folder, **words)


def replay(folder: Path, settings: config.Config | None = None, **options: Any) -> Outcome:
    (outcome,) = sync(connect(settings or config.load()), runs_in(str(folder)), **options)
    return outcome


def told(run_id: str) -> run_pb2.Run:
    connection = connect(config.load())
    run: run_pb2.Run = connection.lineage.GetRun(pb.GetRunRequest(name=f"{connection.project}/runs/{run_id}"))
    return run


def points(run_id: str, key: str) -> list[int]:
    return [point.step for point in modelkeep.Api().run(run_id).history(key)]


def why(outcome: Outcome) -> str:
    assert outcome.error is not None
    return str(outcome.error.metadata["why"])


@pytest.mark.one_topology
def test_what_a_server_without_runs_was_not_sent_waits(tmp_path: Path, without_runs: config.Config) -> None:
    folder = tmp_path / "offline"
    with offline(folder, id="r1", config={"lr": 1}) as run:
        run.log({"acc": 1})
        run.log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
        run.config["lr"] = 2
    first = replay(folder, without_runs, clean=True)
    assert (first.error, first.removed, first.is_kept) == (None, False, False)
    assert [step.version for step in first.steps if step.kind == "log"][-1:] == ["digits:v0"]
    again = replay(folder, without_runs, clean=True)
    assert (again.state, again.removed, again.waiting) == ("unchanged", False, first.waiting)
    assert again.waiting >= 3, "metrics, config and end"
    kept = replay(folder, clean=True)
    assert (kept.error, kept.removed, kept.waiting, kept.is_kept) == (None, True, 0, True)
    assert (told("r1").state, json.loads(told("r1").config_json)) == (run_pb2.RUN_STATE_FINISHED, {"lr": 2})
    assert points("r1", "acc") == [0]
    assert [version.version for version in modelkeep.Api().versions("digits")] == ["v0"]


@pytest.mark.one_topology
def test_what_an_older_sync_noted_as_done_and_did_not_send_is_sent(tmp_path: Path) -> None:
    folder = tmp_path / "offline"
    with offline(folder, id="r1") as run:
        run.log({"acc": 1})
    (only,) = runs_in(str(folder))
    notes = Journal(f"{only}/sync.jsonl")
    notes.append("begun", kept=False)
    for record in list(Journal(f"{only}/journal.jsonl").read())[1:]:
        notes.append("done", record=record.number)
    assert replay(folder).error is None
    assert points("r1", "acc") == [0]


@pytest.mark.one_topology
def test_a_run_that_goes_on_has_to_be_there(tmp_path: Path) -> None:
    with offline(tmp_path / "offline", id="r1", resume="must"):
        pass
    outcome = replay(tmp_path / "offline")
    assert why(outcome) == "RUN_NOT_FOUND"
    with pytest.raises(modelkeep.RunNotFound):
        told("r1")
    modelkeep.init(id="r1", capture="none").finish()
    assert replay(tmp_path / "offline").error is None


@pytest.mark.one_topology
@pytest.mark.parametrize("how", ["allow", "must"])
def test_a_run_that_goes_on_takes_what_is_said_and_keeps_the_rest(how: Any, tmp_path: Path) -> None:
    words = {"name": "first", "group": "g", "notes": "n", "job_type": "train"}
    with modelkeep.init(id="r1", config={"a": 1, "b": 1}, tags=["x"], capture="arguments,platform", **words):
        pass
    before = told("r1")
    with offline(tmp_path / "one", id="r1", resume=how, config={"b": 2}, tags=["y"], notes="again"):
        pass
    assert replay(tmp_path / "one").error is None
    after = told("r1")
    assert json.loads(after.config_json) == {"a": 1, "b": 2}
    assert (after.display_name, after.group, after.notes, list(after.tags)) == ("first", "g", "again", ["x", "y"])
    assert (after.source, after.environment) == (before.source, before.environment)
    with offline(tmp_path / "two", id="r1", resume=how, name="second", group=""):
        pass
    assert replay(tmp_path / "two").error is None
    assert (told("r1").display_name, told("r1").group, told("r1").notes) == ("second", "", "again")


@pytest.mark.one_topology
@pytest.mark.parametrize(
    ("most", "more"),
    [
        ({"config": {"x": "y" * ((1 << 20) - 8)}}, {"config": {"x": "y" * ((1 << 20) - 7)}}),
        ({"notes": "n" * 65_536}, {"notes": "n" * 65_537}),
        ({"name": "ü" * 512}, {"name": "ü" * 512 + "n"}),
        ({"group": "g" * 1024}, {"group": "g" * 1025}),
        ({"tags": [f"t{number}" for number in range(100)]}, {"tags": [f"t{number}" for number in range(101)]}),
        ({"notes": "a\nb"}, {"notes": "a\0b"}),
    ],
    ids=["config", "notes", "name", "group", "tags", "characters"],
)
def test_what_no_server_would_begin_is_refused_offline_as_online(
    most: dict[str, Any], more: dict[str, Any], tmp_path: Path
) -> None:
    """Else all that the run records could never be synced."""
    offline(tmp_path / "most", **most).finish()
    assert replay(tmp_path / "most").error is None
    modes: tuple[Literal["online", "offline"], ...] = ("online", "offline")
    for mode in modes:
        with pytest.raises((modelkeep.LimitExceeded, modelkeep.InvalidArgument)):
            modelkeep.init(mode=mode, dir=tmp_path / "more", **more)
    assert not (tmp_path / "more").exists()


@pytest.mark.one_topology
def test_a_run_whose_id_is_taken_begins_under_another(tmp_path: Path) -> None:
    modelkeep.init(id="r1", capture="none").finish()
    folder = tmp_path / "offline"
    with offline(folder, id="r1") as run:
        run.log({"acc": 1})
        run.log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
    refused = replay(folder)
    assert why(refused) == "RUN_EXISTS"
    assert refused.error is not None
    (only,) = runs_in(str(folder))
    assert f"modelkeep sync {only} --run-id NEW" in refused.error.message
    assert why(replay(folder, run_id="r1")) == "RUN_EXISTS"
    done = subprocess.run(
        [str(BIN / "modelkeep"), "sync", only, "--run-id", "r2", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["run"] == "r2"
    assert replay(folder).state == "unchanged", "the other id is noted"
    assert points("r2", "acc") == [0]
    with pytest.raises(modelkeep.MetricNotFound):
        points("r1", "acc")
    (version,) = modelkeep.Api().versions("digits")
    assert version.run.endswith("/runs/r2")
    late = replay(folder, run_id="r3")
    assert late.error is not None
    assert "keeps its id" in late.error.message


def test_a_run_that_is_deleted_between_two_syncs_can_be_replayed_under_another_id(tmp_path: Path) -> None:
    folder = tmp_path / "offline"
    with offline(folder, id="r1") as run:
        run.log({"acc": 1})
        run.log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
        run.flush()
        assert replay(folder).error is None
        modelkeep.Api().run("r1").delete()
        run.log({"acc": 2})
    refused = replay(folder)
    assert why(refused) == "RUN_DELETED"
    assert refused.error is not None
    (only,) = runs_in(str(folder))
    assert f"remove sync.jsonl from the folder, and replay all of it under another id: modelkeep sync {only} --run-id NEW" in (
        refused.error.message
    )
    kept = replay(folder, run_id="r2")
    assert kept.error is not None
    assert "remove sync.jsonl" in kept.error.message
    (Path(only) / "sync.jsonl").unlink()
    assert replay(folder, run_id="r2").error is None
    assert points("r2", "acc") == [0, 1]
    assert told("r2").state == run_pb2.RUN_STATE_FINISHED
    (link,) = modelkeep.Api().run("r2").produced()
    assert link.node.name == "digits:v0"


@pytest.mark.one_topology
@pytest.mark.parametrize("between", [False, True])
def test_what_a_child_recorded_behind_the_end_arrives(between: bool, tmp_path: Path) -> None:
    folder = tmp_path / "offline"
    with offline(folder, id="r1") as run:
        run.log({"acc": 1})
    if between:
        assert replay(folder).error is None
    (only,) = runs_in(str(folder))
    records = list(Journal(f"{only}/journal.jsonl").read())
    for step in (7, 8):
        series = {"acc": [[step], [0.5], [1_700_000_000_000_000]]}
        Journal(f"{only}/journal.jsonl").append("metrics", time=records[-1].values["time"], series=series)
    for _ in range(2):
        assert replay(folder).error is None
    assert points("r1", "acc") == [0, 7, 8]
    assert told("r1").state == run_pb2.RUN_STATE_FINISHED


@pytest.mark.one_topology
def test_a_run_did_not_produce_its_code_or_what_it_logged_to_use_it(tmp_path: Path) -> None:
    """As online: else each would be made from all that the run used."""
    with offline(tmp_path / "offline", id="r1", capture="script") as run:
        run.use_artifact(artifact(tmp_path / "in", {"x": b"1"}))
        run.log_artifact(artifact(tmp_path / "out", {"x": b"2"}, name="made"))
    assert replay(tmp_path / "offline").error is None
    run_there = modelkeep.Api().run("r1")
    assert [link.node.name for link in run_there.produced()] == ["made:v0"]
    assert "digits:v0" in [link.node.name for link in run_there.used()]
