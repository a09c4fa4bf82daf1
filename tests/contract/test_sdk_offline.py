"""What was recorded offline arrives: the same versions, aliases in their order, uses once, however often it is replayed."""

from __future__ import annotations

import fcntl
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import modelkeep
import pytest
from modelkeep import config
from modelkeep._channel import connect
from modelkeep._offline_find import runs_in
from modelkeep._offline_journal import Journal
from modelkeep._sync import Outcome, sync

from tests.contract.sdk import artifact, read, some
from tests.suites import BIN


@pytest.fixture(autouse=True)
def _client(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])
    monkeypatch.setenv("MODELKEEP_OFFLINE_DIR", str(tmp_path / "offline"))
    monkeypatch.setenv("MODELKEEP_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "offline"


def offline(**words: Any) -> modelkeep.Run:
    return modelkeep.init(mode="offline", **words)


def replay(folder: Path, **options: Any) -> list[Outcome]:
    return list(sync(connect(config.load()), runs_in(str(folder)), **options))


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / "modelkeep"), "sync", *map(str, arguments)], capture_output=True, text=True, check=False)


def history(collection: str, alias: str = "") -> list[tuple[str, str, str]]:
    """Oldest first."""
    return [(line.alias, line.from_version, line.to_version) for line in modelkeep.Api().history(collection, alias)][::-1]


def test_what_was_recorded_arrives_whole(folder: Path, tmp_path: Path) -> None:
    content = {"weights.bin": some(3 << 20), "deep/er/config.json": b"{}", "empty": b""}
    with offline(name="calm-otter-1", job_type="train") as run:
        made = artifact(tmp_path / "in", content, metadata={"acc": 0.9}, description="**small**", notes="by hand")
        (tmp_path / "in" / "empty").chmod(0o755)
        recorded = run.log_artifact(made, aliases=["best", "b"], tags=["small"])
        run.use_artifact("digits:best")
    (outcome,) = replay(folder)
    assert (outcome.state, outcome.error, outcome.torn) == ("synced", None, False)
    version = modelkeep.Api().artifact("digits:best")
    assert (version.digest, version.version, version.type) == (recorded.digest, "v0", "model")
    assert (version.aliases, version.tags) == (("b", "best", "latest"), ("small",))
    assert (version.metadata, version.description) == ({"acc": 0.9}, "**small**")
    when = recorded.create_time.isoformat().replace("+00:00", "Z")
    assert version.notes == f"by hand\n\nRecorded offline at {when}."
    assert (version.run.rpartition("/")[2], version.run_display_name) == (run.id, "calm-otter-1")
    assert version.uses.run_count == 1
    assert {line.reason for line in modelkeep.Api().history("digits")} == {
        f"recorded offline at {when} by the run calm-otter-1"
    }
    assert read(version.download(tmp_path / "out")) == content
    assert modelkeep.Api().artifact(recorded.name).version == "v0"


def test_a_repeated_sync_changes_nothing(folder: Path, tmp_path: Path) -> None:
    """Not even one that has lost its notes: the ids of its requests are the same (SEM-14)."""
    with offline() as run:
        for number in range(3):
            run.log_artifact(artifact(tmp_path / "in", {"x": b"%d" % (number % 2)}), aliases=["best"])
            run.use_artifact("digits")
    replay(folder)
    before = history("digits")
    assert before == [("best", "", "v0"), ("best", "v0", "v1"), ("best", "v1", "v0")]
    (again,) = replay(folder)
    assert (again.state, again.records, again.steps) == ("unchanged", 7, [])
    (only,) = runs_in(str(folder))
    Path(only, "sync.jsonl").unlink()
    (anew,) = replay(folder)
    assert [(step.kind, step.version, step.deduplicated) for step in anew.steps if step.kind == "log"] == [
        ("log", "digits:v0", False),
        ("log", "digits:v1", False),
        ("log", "digits:v0", True),
    ]
    assert sum(step.sent_bytes for step in anew.steps) == 0
    assert history("digits") == before
    assert [version.uses.run_count for version in modelkeep.Api().versions("digits")] == [1, 1]


def test_aliases_move_as_of_now(folder: Path, tmp_path: Path) -> None:
    """What somebody did meanwhile is history; what was recorded comes after it."""
    with offline() as run:
        run.log_artifact(artifact(tmp_path / "in", {"x": b"offline"}), aliases=["best"])
    with modelkeep.init() as online:
        online.log_artifact(artifact(tmp_path / "in", {"x": b"online"}), aliases=["best"])
    replay(folder)
    assert history("digits") == [("best", "", "v0"), ("best", "v0", "v1")]
    assert modelkeep.Api().artifact("digits:best").version == "v1"


def test_content_that_is_there_already_is_not_sent(folder: Path, tmp_path: Path) -> None:
    content = {"x": some(100_000)}
    with modelkeep.init() as online:
        online.log_artifact(artifact(tmp_path / "in", content))
    with offline() as run:
        run.log_artifact(artifact(tmp_path / "in", content, metadata={"a": 1}), aliases=["best"])
    (outcome,) = replay(folder)
    step = outcome.steps[0]
    assert (step.version, step.deduplicated, step.sent_bytes, step.ignored_fields) == ("digits:v0", True, 0, ("metadata",))
    assert modelkeep.Api().artifact("digits:best").version == "v0"


def test_a_record_that_fails_stops_its_run_and_no_other(folder: Path, tmp_path: Path) -> None:
    with modelkeep.init() as online:
        online.log_artifact(artifact(tmp_path / "in", {"x": b"0"}, type="dataset"))
    with offline(name="first") as run:
        run.log_artifact(artifact(tmp_path / "in", {"x": b"1"}, name="fine"))
        run.log_artifact(artifact(tmp_path / "in", {"x": b"2"}))
        run.log_artifact(artifact(tmp_path / "in", {"x": b"3"}, name="after"))
    with offline(name="second") as run:
        run.log_artifact(artifact(tmp_path / "in", {"x": b"4"}, name="other"))
    done = command("--json")
    assert done.returncode == 1, done.stderr
    first, second = json.loads(done.stdout)
    assert (first["state"], second["state"]) == ("failed", "synced")
    assert [step["version"] for step in first["replayed"]] == ["fine:v0"]
    error = json.loads(done.stderr)["error"]
    assert error["reason"] == "SYNC_FAILED"
    about = {name: error["metadata"][name] for name in ("step", "record", "run", "why")}
    assert about == {"step": "draft", "record": "2", "run": first["run"], "why": "COLLECTION_TYPE_MISMATCH"}
    assert "record 2 (log digits)" in error["message"]
    assert "dataset" in error["message"]
    assert {found.name for found in modelkeep.Api().collections()} == {"digits", "fine", "other"}

    modelkeep.Api().set_type("digits", "model")
    healed, unchanged = replay(folder)
    assert (healed.state, unchanged.state) == ("synced", "unchanged")
    assert [step.version for step in healed.steps if step.version] == ["digits:v1", "after:v0"]


@pytest.mark.one_topology
def test_a_damaged_snapshot_is_never_committed(folder: Path, tmp_path: Path) -> None:
    with offline() as run:
        run.log_artifact(artifact(tmp_path / "in", {"x": some(50_000)}), aliases=["best"])
    (only,) = runs_in(str(folder))
    (kept,) = Path(only, "objects").glob("*/*")
    data = kept.read_bytes()
    kept.chmod(0o600)
    kept.write_bytes(data[:-1] + b"?")
    for _ in range(2):
        (outcome,) = replay(folder, skip=7)
        assert outcome.error is not None
        assert (outcome.error.metadata["step"], outcome.error.metadata["why"]) == ("upload", "DIGEST_MISMATCH")
    assert list(modelkeep.Api().versions("digits")) == []
    kept.write_bytes(data)
    (outcome,) = replay(folder)
    assert [step.version for step in outcome.steps if step.version] == ["digits:v0"]


@pytest.mark.one_topology
def test_a_record_that_cannot_be_mended_is_left_out_when_somebody_says_so(folder: Path, tmp_path: Path) -> None:
    with offline() as run:
        run.use_artifact(run.log_artifact(artifact(tmp_path / "in", {"x": b"1"})))
        run.log_artifact(artifact(tmp_path / "in", {"x": b"2"}))
    (only,) = runs_in(str(folder))
    for path in Path(only, "objects").rglob("*"):
        if path.is_file() and path.read_bytes() == b"1":
            path.unlink()
    refused = command(only, folder / "..", "--all", "--skip", "1")
    assert refused.returncode == 2, refused.stderr
    (outcome,) = replay(folder, skip=1)
    assert outcome.error is not None
    assert (outcome.error.metadata["record"], outcome.error.metadata["why"]) == ("2", "PROJECT_NOT_FOUND")
    (outcome,) = replay(folder, skip=2)
    assert [(step.record, step.kind, step.version) for step in outcome.steps] == [
        (2, "skipped", ""),
        (3, "log", "digits:v0"),
        (4, "finish", ""),
    ]


@pytest.mark.one_topology
def test_a_run_that_goes_on_is_synced_so_far(folder: Path, tmp_path: Path) -> None:
    run = offline()
    run.log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
    (outcome,) = replay(folder, clean=True)
    assert (outcome.state, outcome.removed) == ("synced", False), "its process is still there"
    run.log_artifact(artifact(tmp_path / "in", {"x": b"2"}))
    run.finish()
    (outcome,) = replay(folder, clean=True)
    assert [step.version for step in outcome.steps] == ["digits:v1", ""]
    assert outcome.removed
    assert list(folder.iterdir()) == []


@pytest.mark.one_topology
def test_an_incomplete_last_record_is_left_out_and_told(folder: Path, tmp_path: Path) -> None:
    with offline() as run:
        run.log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
    (only,) = runs_in(str(folder))
    journal = Path(only, "journal.jsonl")
    journal.write_bytes(journal.read_bytes()[:-10])
    done = command(only)
    assert done.returncode == 0
    assert "its last record was never completed" in done.stderr
    assert modelkeep.Api().artifact("digits").version == "v0"


@pytest.mark.one_topology
def test_a_damaged_journal_is_replayed_up_to_the_damage(folder: Path, tmp_path: Path) -> None:
    with offline() as run:
        for number in range(2):
            run.log_artifact(artifact(tmp_path / "in", {"x": b"%d" % number}))
    (only,) = runs_in(str(folder))
    journal = Path(only, "journal.jsonl")
    journal.write_bytes(journal.read_bytes().replace(b'"n":2,', b'"n":7,'))
    (outcome,) = replay(folder)
    assert outcome.error is not None
    assert outcome.error.metadata["step"] == "read"
    assert [step.version for step in outcome.steps] == ["digits:v0"]
    assert len(list(modelkeep.Api().versions("digits"))) == 1


@pytest.mark.one_topology
def test_runs_are_found_and_replayed_oldest_first(tmp_path: Path) -> None:
    """The second uses what the first made, and lies where the first would be found later."""
    with offline(dir=tmp_path / "z") as first:
        made = first.log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
    with offline(dir=tmp_path / "a" / "deep") as second:
        second.use_artifact(made)
    done = command(tmp_path, "--all", "--clean", "--json")
    assert done.returncode == 0, done.stderr
    assert [outcome["run"] for outcome in json.loads(done.stdout)] == [first.id, second.id]
    assert [outcome["removed"] for outcome in json.loads(done.stdout)] == [True, True]
    assert modelkeep.Api().artifact("digits").uses.run_count == 1


@pytest.mark.one_topology
def test_two_syncs_at_once_do_not_mix(folder: Path, tmp_path: Path) -> None:
    with offline() as run:
        run.log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
    (only,) = runs_in(str(folder))
    with Path(only, "sync.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        (locked,) = replay(folder)
        told = command()
    assert told.returncode == 1
    assert Path(only).name in told.stdout
    assert locked.error is not None
    assert locked.error.metadata["step"] == "lock"
    assert locked.steps == []
    assert [outcome.state for outcome in replay(folder)] == ["synced"]


@pytest.mark.one_topology
def test_another_server_is_not_taken_for_the_first(folder: Path, tmp_path: Path) -> None:
    run = offline()
    run.log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
    replay(folder)
    run.log_artifact(artifact(tmp_path / "in", {"x": b"2"}))
    run.finish()
    (only,) = runs_in(str(folder))
    notes = list(Journal(f"{only}/sync.jsonl").read())
    Path(only, "sync.jsonl").unlink()
    for note in notes:  # as if another server had made it
        values = {"url": "grpc://elsewhere:1"} if note.kind == "server" else {"uid": "another"} if note.kind == "logged" else {}
        Journal(f"{only}/sync.jsonl").append(note.kind, **(note.values | values))
    (outcome,) = replay(folder)
    assert outcome.error is not None
    assert outcome.error.metadata["step"] == "server"
    assert "grpc://elsewhere:1" in outcome.error.message
    Path(only, "sync.jsonl").unlink()
    for note in notes:  # as if this one had had another address
        values = {"url": "grpc://elsewhere:1"} if note.kind == "server" else {}
        Journal(f"{only}/sync.jsonl").append(note.kind, **(note.values | values))
    (outcome,) = replay(folder)
    assert [step.version for step in outcome.steps] == ["digits:v1", ""]


@pytest.mark.one_topology
def test_what_is_no_fault_of_a_record_stops_a_sync(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with offline() as run:
            run.log_artifact(artifact(tmp_path / "in", {"x": b"1"}))
    right = config.load()
    with pytest.raises(modelkeep.ApiKeyInvalid):
        list(sync(connect(replace(right, api_key="mk_wrong")), runs_in(str(folder))))
    assert [outcome.state for outcome in replay(folder)] == ["synced", "synced"]


NOWHERE = {"MODELKEEP_URL": "grpc://127.0.0.1:1", "MODELKEEP_BLOB_URL": "grpc://127.0.0.1:1"}


def test_what_was_fetched_once_is_used_and_fetched_offline(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    content = {"large.bin": some(3 << 20), "small/a": b"a", "small/b": some(1000), "empty": b""}
    with modelkeep.init() as online:
        online.log_artifact(artifact(tmp_path / "in", content), aliases=["production"])
        online.use_artifact("digits:production").download(tmp_path / "first")
    with monkeypatch.context() as away:
        for name, value in NOWHERE.items():
            away.setenv(name, value)
        with offline() as run:
            for number, pin in enumerate(("digits:v0", "digits:production", f"digits@{modelkeep_digest(tmp_path)}")):
                version = run.use_artifact(pin)
                assert (version.version, version.metadata) == ("v0", {})
                assert read(version.download(tmp_path / f"out-{number}")) == content
                version.verify(tmp_path / f"out-{number}")
                assert [file.path for file in version.files("small")] == ["small/a", "small/b"]
                assert [item.path for item in version.ls()] == ["empty", "large.bin", "small"]
                assert [version.open(path).read() for path in content] == list(content.values())
            with pytest.raises(modelkeep.NotCached, match="'digits' was neither"):
                run.use_artifact("digits")
            with pytest.raises(modelkeep.ServiceUnavailable, match="needs a server"):
                version.tag(["x"])
    warnings = [record.message for record in caplog.records if "nobody can say offline" in record.message]
    assert len(warnings) == 1
    assert "digits:production is digits:v0 here" in warnings[0]
    (outcome,) = replay(folder)
    assert [step.version for step in outcome.steps if step.kind == "use"] == ["digits:v0"] * 3
    assert modelkeep.Api().artifact("digits:v0").uses.run_count == 2


def modelkeep_digest(tmp_path: Path) -> str:
    """Computed here, as by whoever pinned it in a script."""
    with modelkeep.init(mode="offline", dir=tmp_path / "apart") as run:
        return run.log_artifact(tmp_path / "in", "apart", "model").digest


@pytest.mark.one_topology
def test_what_is_missing_in_the_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"large.bin": some(3 << 20), "other.bin": some(3 << 20), "small/a": some(1000)}
    with modelkeep.init() as online:
        version = online.log_artifact(artifact(tmp_path / "in", content))
        online.use_artifact("digits:v0").download(tmp_path / "first")
    cached = {path.name: path for path in (tmp_path / "cache" / "objects").rglob("*") if path.is_file()}
    large = next(file for file in version.files() if file.path == "large.bin")
    cached[large.digest.removeprefix("sha256:")].unlink()
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    with offline() as run:
        used = run.use_artifact("digits:v0")
        with pytest.raises(modelkeep.NotCached, match="1 of the 3 files of digits:v0 are not in the cache: large") as missing:
            used.download(tmp_path / "out")
        assert missing.value.metadata["paths"] == "large.bin"
        assert read(used.download(tmp_path / "part", path="small")) == {"small/a": content["small/a"]}
        for path in (tmp_path / "cache" / "manifests").rglob("*"):
            if path.is_file():
                path.unlink()
        with pytest.raises(modelkeep.NotCached, match="list of files"):
            used.download(tmp_path / "none")
        monkeypatch.setenv("MODELKEEP_CACHE_BYTES", "0")
        with pytest.raises(modelkeep.NotCached, match="neither recorded offline here nor fetched"):
            run.use_artifact("digits:v0")


def test_of_a_recording_and_the_cache_the_later_one_counts(folder: Path, tmp_path: Path) -> None:
    with offline() as run:
        run.log_artifact(artifact(tmp_path / "in", {"x": b"recorded"}), aliases=["best"])
    replay(folder)
    with modelkeep.init() as online:
        online.log_artifact(artifact(tmp_path / "in", {"x": b"online"}), aliases=["best"])
        online.use_artifact("digits:best").download(tmp_path / "first")
    with offline() as run:
        assert read(run.use_artifact("digits:best").download(tmp_path / "out")) == {"x": b"online"}
        run.log_artifact(artifact(tmp_path / "in", {"x": b"newest"}), aliases=["best"])
        assert read(run.use_artifact("digits:best").download(tmp_path / "out")) == {"x": b"newest"}
    with offline() as run:
        assert read(run.use_artifact("digits:best").download(tmp_path / "out")) == {"x": b"newest"}
