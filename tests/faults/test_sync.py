"""A sync that is killed, wherever and however often, ends as one that was not: each record is replayed once, in its order."""

from __future__ import annotations

import multiprocessing
import random
import signal
import subprocess
from pathlib import Path
from uuid import uuid4

import modelkeep
import pytest
from modelkeep._channel import connect
from modelkeep._offline_find import runs_in
from modelkeep._offline_journal import Journal
from modelkeep._sync import sync
from modelkeep.api.metadata.v1 import draft_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.config import Config
from modelkeep.names import ProjectName

from tests.faults import syncer
from tests.suites import BIN, Suite

pytestmark = pytest.mark.one_topology

MOST_KILLS = 200


def record(folder: Path, project: str) -> None:
    """Two runs that make three versions of two collections, one of them twice, move an alias back and forth, and use them."""
    for begun in range(2):
        with modelkeep.init(project, mode="offline", dir=folder, name=f"run-{begun}") as run:
            for number in (0, 1, 0) if begun == 0 else (2,):
                made = modelkeep.Artifact("digits", "model", metadata={"number": number})
                with made.new_file("weights", "wb") as file:
                    file.write(b"%d" % number * 70_000)
                with made.new_file("same", "wb") as file:
                    file.write(b"the same in all" * 5_000)
                run.log_artifact(made, aliases=["best", f"of-{begun}"], tags=["t"])
                run.use_artifact("digits:best")
            other = modelkeep.Artifact("other", "data")
            with other.new_file("x") as file:
                file.write("x")
            run.log_artifact(other)


def state(api: modelkeep.Api, project: str) -> dict[str, object]:
    """All that a sync leaves on the server."""
    names = [f"{project}/{collection.name}" for collection in api.collections(project)]
    versions = [version for name in names for version in api.versions(name)]
    request = pb.ListEventsRequest(parent=str(ProjectName(api.team, project)), page_size=1000)
    events = api._connection.metadata.ListEvents(request).events
    drafts = api._connection.metadata.ListDrafts(pb.ListDraftsRequest(parent=request.parent)).drafts
    return {
        "versions": [(v.name, v.digest, v.aliases, v.tags, v.metadata, v.run_display_name) for v in versions],
        "uses": [(v.name, v.uses.run_count) for v in versions],
        "history": [(c.alias, c.seq, c.from_version, c.to_version) for name in names for c in api.history(name)],
        "events": [event.WhichOneof("happening") for event in events],
        "open drafts": [draft.name for draft in drafts if draft.state == draft_pb2.DRAFT_STATE_OPEN],
    }


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`modelkeep sync` that needs no server."""
    return subprocess.run([str(BIN / "modelkeep"), "sync", *arguments], capture_output=True, text=True, check=False)


class Rig:
    """Syncs in processes of their own, from a server of processes that has everything imported."""

    def __init__(self, suite: Suite, tmp_path: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.faults.syncer"])
        self.config = Config(suite.url, suite.api_key, blob_url=suite.blob_url)
        self.connection = connect(self.config)
        self.api = modelkeep.Api(suite.url, suite.api_key)
        self._tmp_path = tmp_path

    def finish(self, folder: Path) -> None:
        """Sync to the end, in this process."""
        errors = [outcome.error for outcome in sync(self.connection, runs_in(str(folder)))]
        assert errors == [None] * len(errors)

    def sync(self, folder: Path, kill_at: int) -> bool:
        """Whether it came to its end."""
        process = self._context.Process(target=syncer.run, args=(self.config, str(folder), kill_at))
        process.start()
        process.join()
        assert process.exitcode in {0, -signal.SIGKILL}, "it failed"
        return process.exitcode == 0

    def begin(self) -> tuple[Path, str]:
        """A new recording of the same, for a project of its own."""
        project = f"t-{uuid4().hex[:12]}"
        folder = self._tmp_path / project
        record(folder, project)
        return folder, project

    def undisturbed(self) -> dict[str, object]:
        folder, project = self.begin()
        self.finish(folder)
        return state(self.api, project)


@pytest.fixture
def rig(suite: Suite, tmp_path: Path) -> Rig:
    return Rig(suite, tmp_path)


def test_a_sync_that_is_killed_again_and_again_ends_as_one_that_was_not(rig: Rig) -> None:
    wanted = rig.undisturbed()
    assert wanted["open drafts"] == []
    dice = random.Random(5)
    for _ in range(2):
        folder, project = rig.begin()
        kills = 0
        while not rig.sync(folder, dice.randint(3, 18)):
            kills += 1
            assert kills < MOST_KILLS, "it does not get on"
        assert kills >= 3
        assert state(rig.api, project) == wanted
        assert rig.sync(folder, 1), "there is nothing left to ask a server for"


def test_no_moment_is_a_bad_one_to_be_killed_in(rig: Rig) -> None:
    """Each moment of replaying one version with an alias, and its use."""

    def begin() -> tuple[Path, str]:
        project = f"t-{uuid4().hex[:12]}"
        folder = rig._tmp_path / project
        with modelkeep.init(project, mode="offline", dir=folder, name="one") as run:
            made = modelkeep.Artifact("digits", "model")
            with made.new_file("weights", "wb") as file:
                file.write(b"weights")
            run.use_artifact(run.log_artifact(made, aliases=["best"]))
        return folder, project

    folder, project = begin()
    rig.finish(folder)
    wanted, kill_at = state(rig.api, project), 0
    while True:
        kill_at += 1
        folder, project = begin()
        if rig.sync(folder, kill_at):
            break
        rig.finish(folder)
        assert state(rig.api, project) == wanted, kill_at
    assert kill_at > 20, "these are all the calls and notes of it"


def test_notes_that_a_kill_tore_are_read_as_far_as_they_go(rig: Rig) -> None:
    folder, project = rig.begin()
    wanted = rig.undisturbed()
    assert not rig.sync(folder, 30)
    first = next(run for run in runs_in(str(folder)) if Path(run, "sync.jsonl").exists())
    notes = Path(first, "sync.jsonl")
    notes.write_bytes(notes.read_bytes()[:-3])
    rig.finish(folder)
    assert state(rig.api, project) == wanted
    assert [note.kind for note in Journal(str(notes)).read()][-1] == "done"


@pytest.mark.parametrize("arguments", [["runs"], [".", "--all"]])
def test_what_a_kill_leaves_of_a_removed_run_goes_with_the_next_sync(
    rig: Rig, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the first of its files is gone; by then it is no run any more, and there is no other one."""
    monkeypatch.chdir(tmp_path)
    with modelkeep.init("vision", mode="offline", dir="runs") as run:
        run.log_artifact(__file__, "digits", "model")
    (only,) = runs_in("runs")
    process = rig._context.Process(target=syncer.clean_and_die, args=(rig.config, str(tmp_path / "runs")))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = [Path("runs", f".removing-{Path(only).name}")]
    for options, kept in ([], left), (["--clean"], []):
        assert list(Path("runs").iterdir()) == left
        done = command(*arguments, *options)
        assert (done.returncode, done.stderr) == (0, "no run was recorded offline here\n")
        assert list(Path("runs").iterdir()) == kept
