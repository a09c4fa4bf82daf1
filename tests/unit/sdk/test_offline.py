"""Runs that record to disk: what they log and use, with nobody to ask."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modelkeep
import numpy as np
import pytest
from modelkeep import _sync
from modelkeep._api_lineage import LineageApi
from modelkeep._channel import Connection
from modelkeep._offline import OfflineRun
from modelkeep._offline_find import runs_in
from modelkeep._offline_journal import Journal
from safetensors.numpy import save_file

HEAD = {"n": 0, "kind": "run", "format": 1, **dict.fromkeys(("time", "run", "name", "team", "project"), "x")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELKEEP_MODE", "offline")
    monkeypatch.setenv("MODELKEEP_OFFLINE_DIR", str(tmp_path / "offline"))
    monkeypatch.setenv("MODELKEEP_PROJECT", "vision")
    return tmp_path / "offline"


@pytest.fixture
def run(folder: Path) -> Iterator[modelkeep.Run]:
    with modelkeep.init(job_type="train") as begun:
        yield begun


def artifact(tmp_path: Path, name: str = "digits", **files: bytes) -> modelkeep.Artifact:
    made = modelkeep.Artifact(name, type="model", metadata={"acc": 0.5}, description="small")
    (tmp_path / "in").mkdir(exist_ok=True)
    for file, data in files.items():
        (tmp_path / "in" / file).write_bytes(data)
        made.add_file(tmp_path / "in" / file)
    return made


def records(folder: Path) -> list[dict[str, object]]:
    (only,) = runs_in(str(folder))
    return [{"kind": record.kind, **record.values} for record in Journal(f"{only}/journal.jsonl").read()]


def test_no_server_is_asked(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("MODELKEEP_URL", f"grpc://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setenv("MODELKEEP_API_KEY", "mk_nobody_asked")
        with modelkeep.init() as run:
            run.log_artifact(artifact(tmp_path, x=b"1"), aliases=["best"])
            run.use_artifact("digits:best").download(tmp_path / "out")
        listening.settimeout(0)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_what_is_known_of_a_version_is_there(run: modelkeep.Run, tmp_path: Path) -> None:
    version = run.log_artifact(artifact(tmp_path, x=b"12", y=b"3"), aliases=["best", "latest"], tags=["small"])
    assert (version.collection, version.type, version.project, version.team) == ("digits", "model", "vision", "")
    assert (version.aliases, version.tags, version.metadata, version.description) == (
        ("best",),
        ("small",),
        {"acc": 0.5},
        "small",
    )
    assert (version.entry_count, version.stored_bytes, version.state) == (2, 3, "OFFLINE")
    assert version.name == f"digits@{version.digest[:19]}"
    assert (version.version, version.number, version.resource_name) == (None, None, "")
    assert version.run_display_name == run.name
    assert [file.path for file in version.files()] == ["x", "y"]
    assert run.resource_name == f"teams/-/projects/vision/runs/{run.id}"


def test_the_record_says_all_that_will_be_replayed(folder: Path, tmp_path: Path) -> None:
    with modelkeep.init(name="calm-otter-1", config={"lr": 0.1, "odd": Path("x")}, team="t") as run:
        logged = run.log_artifact(artifact(tmp_path, x=b"1"), aliases=["b", "a"], tags=["t"])
        run.use_artifact("digits")
    begun, log, use, finish = records(folder)
    assert (begun["kind"], begun["run"], begun["name"], begun["team"]) == ("run", run.id, "calm-otter-1", "t")
    assert begun["config"] == {"lr": 0.1, "odd": "x"}
    assert (log["kind"], log["aliases"], log["tags"], log["digest"]) == ("log", ["b", "a"], ["t"], logged.digest)
    assert (use["kind"], use["alias_text"], use["digest"], use["number"]) == ("use", "digits", logged.digest, None)
    assert finish["kind"] == "finish"


def test_files_come_back_as_they_were(run: modelkeep.Run, tmp_path: Path) -> None:
    logged = run.log_artifact(artifact(tmp_path, x=b"first", tool=b"#!"), wait=False).result()
    (tmp_path / "in" / "x").write_bytes(b"later")
    out = run.use_artifact(logged).download(tmp_path / "out")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"x": b"first", "tool": b"#!"}
    logged.verify(out)
    (out / "x").write_bytes(b"wrong")
    (out / "more").write_bytes(b"")
    with pytest.raises(modelkeep.VerificationFailed, match="1 extra, 1 changed"):
        logged.verify(out)
    logged.checkout(out)
    logged.verify(out)
    assert [path.name for path in logged.download(tmp_path / "part", path="tool").iterdir()] == ["tool"]
    with pytest.raises(modelkeep.EntryNotFound, match="nosuch"):
        logged.download(tmp_path / "none", path="nosuch")
    assert not (tmp_path / "none").exists()


def test_files_are_read_without_a_copy(run: modelkeep.Run, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    weights = {f"layer{number}": np.arange(300_000, dtype=np.float32) + number for number in range(3)}
    save_file(weights, tmp_path / "deep" / "er" / "model.safetensors")
    (tmp_path / "deep" / "a.txt").write_bytes(b"text")
    (tmp_path / "deep" / "empty").write_bytes(b"")
    logged = run.log_artifact(tmp_path / "deep", "digits", "model")
    assert [item.path for item in logged.ls()] == ["a.txt", "empty", "er"]
    assert [item.path for item in logged.ls("er")] == ["er/model.safetensors"]
    with pytest.raises(modelkeep.EntryNotFound, match="nosuch"):
        list(logged.ls("nosuch"))
    with logged.open("a.txt") as file:
        assert (file.seek(2), file.read(), file.read()) == (2, b"xt", b"")
    with logged.open("empty") as file:
        assert file.read() == b""
    loaded = logged.load_safetensors("er/model.safetensors", names=["layer0", "layer2"])
    assert {name: bool((array == weights[name]).all()) for name, array in loaded.items()} == {"layer0": True, "layer2": True}
    with pytest.raises(modelkeep.EntryNotFound, match="no file 'er'"):
        logged.open("er")


def test_a_damaged_snapshot_never_comes_out(run: modelkeep.Run, tmp_path: Path) -> None:
    assert isinstance(run, OfflineRun)
    logged = run.log_artifact(artifact(tmp_path, x=b"first"))
    (kept,) = Path(run.folder, "objects").glob("*/*")
    kept.chmod(0o600)
    kept.write_bytes(b"wrong")
    with pytest.raises(modelkeep.DigestMismatch, match="damaged"):
        logged.download(tmp_path / "out")
    with pytest.raises(modelkeep.DigestMismatch, match="damaged"):
        logged.open("x")
    kept.unlink()
    with pytest.raises(modelkeep.DigestMismatch, match="damaged"):
        logged.open("x")
    with pytest.raises(modelkeep.DigestMismatch, match="damaged"):
        logged.download(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_versions_are_found_by_what_was_recorded_last(folder: Path, tmp_path: Path) -> None:
    with modelkeep.init() as first:
        a = first.log_artifact(artifact(tmp_path, x=b"a"), aliases=["best"])
        b = first.log_artifact(artifact(tmp_path, x=b"b"))
        first.log_artifact(artifact(tmp_path, name="other", x=b"c"), aliases=["best"])
        assert first.use_artifact("digits").digest == b.digest
        assert first.use_artifact("digits:best").digest == a.digest
        assert first.use_artifact(f"digits@{a.digest}").digest == a.digest
    with modelkeep.init() as second:
        assert second.use_artifact("vision/digits:best").digest == a.digest
        c = second.log_artifact(artifact(tmp_path, x=b"c"), aliases=["best"])
        assert second.use_artifact("digits:best").digest == c.digest
        assert second.use_artifact(b.name).digest == b.digest
    with modelkeep.init() as third:
        assert third.use_artifact("digits:best").digest == c.digest
    with modelkeep.init(project="elsewhere") as fourth:
        assert fourth.use_artifact("vision/digits").digest == c.digest
        with pytest.raises(modelkeep.NotCached, match="digits"):
            fourth.use_artifact("digits")


@pytest.mark.parametrize("address", ["digits:v0", "digits:nosuch", "nosuch", "digits@2026-01-01", f"digits@sha256:{'0' * 64}"])
def test_what_nobody_here_knows_is_told(run: modelkeep.Run, tmp_path: Path, address: str) -> None:
    run.log_artifact(artifact(tmp_path, x=b"1"), aliases=["best"])
    with pytest.raises(modelkeep.NotCached, match=address.partition("@")[0]):
        run.use_artifact(address)


def test_an_artifact_that_is_used_is_logged_first(folder: Path, tmp_path: Path) -> None:
    with modelkeep.init() as run:
        used = run.use_artifact(artifact(tmp_path, x=b"1"))
    assert [record["kind"] for record in records(folder)] == ["run", "log", "use", "finish"]
    assert records(folder)[2]["digest"] == used.digest


def test_what_was_recorded_is_not_in_the_graph_yet(run: modelkeep.Run, tmp_path: Path) -> None:
    for of in (run, run.log_artifact(artifact(tmp_path, x=b"1"))):
        with pytest.raises(modelkeep.InvalidArgument, match="recorded offline is in the graph once it is synced"):
            LineageApi()._subject(of)


def test_what_needs_a_server_says_so(run: modelkeep.Run, tmp_path: Path) -> None:
    version = run.log_artifact(artifact(tmp_path, x=b"1"))
    for call in (
        lambda: version.edit(notes="x"),
        lambda: version.tag(["x"]),
        version.delete,
        lambda: version.record_use("teams/t/projects/p/runs/r"),
    ):
        with pytest.raises(modelkeep.ServiceUnavailable, match="needs a server"):
            call()
    shared = modelkeep.Artifact("shared", "model")
    for call in (
        lambda: run.upsert_artifact(shared, distributed_id="x"),
        lambda: run.finish_artifact("shared", distributed_id="x"),
        lambda: list(version.signatures()),
    ):
        with pytest.raises(modelkeep.ServiceUnavailable, match="needs a server"):
            call()
    with pytest.raises(modelkeep.InvalidArgument, match="takes no require_signature"):
        version.download(tmp_path / "out", require_signature=["key"])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("words", "error"),
    [({"aliases": ["v1"]}, modelkeep.InvalidAlias), ({"tags": ["a/b"]}, modelkeep.InvalidTag)],
)
def test_bad_words_are_refused_now_and_not_by_the_sync(
    folder: Path, tmp_path: Path, words: dict[str, list[str]], error: type[Exception]
) -> None:
    with modelkeep.init() as run:
        with pytest.raises(error):
            run.log_artifact(artifact(tmp_path, x=b"1"), **words)  # type: ignore[call-overload]
        run.log_artifact(artifact(tmp_path, x=b"1"))
        with pytest.raises(modelkeep.CollectionTypeMismatch, match="'model', not 'data'"):
            run.log_artifact(tmp_path / "in" / "x", "digits", "data")
    assert [record["kind"] for record in records(folder)] == ["run", "log", "finish"]
    with pytest.raises(modelkeep.InvalidArgument, match="finished"):
        run.log_artifact(artifact(tmp_path, x=b"1"))


def test_words_that_no_server_takes_are_refused_now_and_not_by_the_sync(folder: Path, tmp_path: Path) -> None:
    with modelkeep.init() as run:
        for word, wrong in (("name", "n" * 1025), ("group", "g\0"), ("notes", "n" * 65_537)):
            with pytest.raises(modelkeep.ModelkeepError, match=r"bytes|NUL"):
                setattr(run, word, wrong)
        run.add_tags(*map(str, range(100)))
        with pytest.raises(modelkeep.LimitExceeded, match="there are 101 tags"):
            run.add_tags("more")
        run.remove_tags("0")
        run.add_tags("more")
        made = artifact(tmp_path, x=b"1")
        labels = list(map(str, range(101)))
        with pytest.raises(modelkeep.LimitExceeded, match="there are 101 aliases"):
            run.log_artifact(made, aliases=labels)
        with pytest.raises(modelkeep.LimitExceeded, match="there are 101 tags"):
            run.log_artifact(made, tags=labels)
        for key in ("loss", "acc.top1"):
            with pytest.raises(modelkeep.InvalidMetadata, match=f"compares metadata.{key}, and the new metadata has no number"):
                run.log_artifact(made, only_if_better=(key, "max"))
        made.description = "d" * 65_537
        with pytest.raises(modelkeep.LimitExceeded, match="description has 65,537 bytes"):
            run.log_artifact(made)
    assert [record["kind"] for record in records(folder)] == ["run", "tags", "tags", "tags", "finish"]


def test_what_no_journal_can_hold_is_refused_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    circle: dict[str, object] = {}
    circle["self"] = circle
    with pytest.raises(modelkeep.InvalidArgument, match=r"config\.self.* levels deep"):
        modelkeep.init(config=circle)
    assert not folder.exists()
    with modelkeep.init() as run:
        made = artifact(tmp_path, x=b"1")
        made.description = "\ud800"
        with pytest.raises(modelkeep.InvalidArgument, match="UTF-8"):
            run.log_artifact(made)
    assert [record["kind"] for record in records(folder)] == ["run", "finish"]


def test_a_mode_that_there_is_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(modelkeep.InvalidArgument, match="'ofline' is no mode"):
        modelkeep.init(mode="ofline")  # type: ignore[arg-type]
    monkeypatch.setenv("MODELKEEP_MODE", "disabled")
    with pytest.raises(modelkeep.InvalidArgument, match="MODELKEEP_MODE"):
        modelkeep.init()


def test_a_folder_that_cannot_be_used_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(modelkeep.TargetUnusable, match="offline work"):
        modelkeep.init(dir=tmp_path / "file")


def test_a_version_goes_to_other_processes(run: modelkeep.Run, tmp_path: Path) -> None:
    logged = run.log_artifact(artifact(tmp_path, x=b"1"))
    again = pickle.loads(pickle.dumps(logged))
    assert (again.digest, again.version) == (logged.digest, None)
    assert [path.name for path in again.download(tmp_path / "out").iterdir()] == ["x"]


def _log(run: modelkeep.Run, path: Path, number: int) -> None:
    (path / f"child-{number}").write_bytes(b"%d" % number)
    run.log_artifact(path / f"child-{number}", f"child-{number}", "model")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_record_into_the_same_run(folder: Path, tmp_path: Path) -> None:
    with modelkeep.init() as run:
        children = [
            multiprocessing.get_context("fork").Process(target=_log, args=(run, tmp_path, number)) for number in range(3)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
        run.log_artifact(artifact(tmp_path, x=b"1"))
    logged = [record["collection"] for record in records(folder) if record["kind"] == "log"]
    assert sorted(logged) == ["child-0", "child-1", "child-2", "digits"]


def test_a_script_that_is_killed_leaves_what_it_recorded(folder: Path, tmp_path: Path) -> None:
    """Killed when the second file is copied and its record is not written."""
    script = """
        import sys, modelkeep
        run = modelkeep.init()
        run.log_artifact(sys.argv[1], "digits", "model", aliases=["best"])
        print("logged", flush=True)
        import modelkeep._offline_store as store
        copy = store.copy_and_hash
        def slowly(*files):
            copied = copy(*files)
            print("copied", flush=True)
            import time; time.sleep(1000)
        store.copy_and_hash = slowly
        run.log_artifact(sys.argv[2], "digits", "model")
    """
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "a"), str(tmp_path / "b")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["logged\n", "copied\n"]
        process.send_signal(signal.SIGKILL)
    assert [record["kind"] for record in records(folder)] == ["run", "log"]
    with modelkeep.init() as run:
        version = run.use_artifact("digits:best")
        assert (version.download(tmp_path / "out") / "a").read_bytes() == b"a"


def test_the_default_folder_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    modelkeep.init(mode="offline").finish()
    (only,) = (tmp_path / "modelkeep-offline").iterdir()
    first = (only / "journal.jsonl").read_text().splitlines()[0].partition(" ")[2]
    assert only.name.endswith(f"-{json.loads(first)['run']}")


def test_what_a_run_records_at_the_end_of_a_sync_does_not_go_with_its_folder(
    connection: Connection, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, replay = modelkeep.init(), _sync._replay

    def and_then_the_run_goes_on(*about: Any) -> None:
        replay(*about)
        run.log_artifact(artifact(tmp_path, x=b"1"))
        run.finish()

    monkeypatch.setattr(_sync, "_replay", and_then_the_run_goes_on)
    (outcome,) = _sync.sync(connection, runs_in(str(folder)), clean=True)
    assert (outcome.error, outcome.removed) == (None, False)
    assert [record["kind"] for record in records(folder)] == ["run", "log", "finish"]


@pytest.mark.parametrize(
    "lines",
    [
        [[1]],
        [{"n": 0}],
        [{"n": 0, "kind": "run", "format": 1}],
        [{"n": 0, "kind": "run", "format": 1, "time": 1, "run": 2, "name": 3, "team": 4, "project": 5}],
        [HEAD | {"project": "../x"}, {"n": 1, "kind": "use"}],
        [HEAD, {"n": 1, "kind": "use"}],
    ],
)
def test_a_journal_that_somebody_else_wrote_keeps_no_other_run_back(
    connection: Connection, folder: Path, lines: list[Any]
) -> None:
    modelkeep.init().finish()
    (folder / "forged").mkdir()
    texts = [json.dumps(line) for line in lines]
    sums = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    (folder / "forged/journal.jsonl").write_text("".join(f"{one} {text}\n" for one, text in zip(sums, texts, strict=True)))
    outcomes = {outcome.folder: outcome for outcome in _sync.sync(connection, runs_in(str(folder)))}
    forged = outcomes.pop(str(folder / "forged"))
    assert isinstance(forged.error, modelkeep.SyncFailed)
    assert [outcome.state for outcome in outcomes.values()] == ["synced"]
