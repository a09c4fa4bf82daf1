"""Entries that go ahead of the last byte: counted, each of them once, and nothing of them stays when they were in vain."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from modelkeep import _ahead
from modelkeep._artifact import Artifact
from modelkeep._channel import Connection
from modelkeep._entries import Spool, entry_messages
from modelkeep._log import Words, log_artifact
from modelkeep.errors import InvalidPath, StorageFull
from modelkeep.names import ProjectName

from tests.unit.sdk.wire import Wire

PROJECT = ProjectName("t", "default")
FILES = 400


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact of some files is a large one."""
    monkeypatch.setattr(_ahead, "ENTRIES", 20)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"f{number:03}").write_bytes(os.urandom(100))
    made = Artifact("digits", "model")
    made.add_dir(folder)
    return made


def log(connection: Connection, artifact: Artifact) -> None:
    log_artifact(connection, PROJECT, artifact, Words.of(artifact))


def added(wire: Wire) -> list[list[str]]:
    """The paths that each call of AddEntries brought."""
    calls = [request for method, request, _ in wire.calls.seen if method == "AddEntries"]
    return [[entry.path for message in messages for entry in message.entries] for messages in calls]


def test_entries_are_sent_while_bytes_go_up(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    """P13: the last chunks are not even asked for before the first entries are there; each entry goes once, into one draft."""
    here = threading.Event()
    errors = wire.calls.errors
    batches = 0

    def prepared() -> None:
        nonlocal batches
        batches += 1
        if batches > 1:
            assert here.wait(30)

    enter = wire.calls.enter

    def entered(method: str, request: object, context: object) -> None:
        enter(method, request, context)  # type: ignore[arg-type]
        if method == "AddEntries":
            here.set()

    wire.blob.prepared, wire.calls.enter = prepared, entered  # type: ignore[method-assign]
    log(connection, artifact)
    calls = added(wire)
    assert batches > 1
    assert len(calls) > 1
    assert sorted(path for paths in calls for path in paths) == [f"f{number:03}" for number in range(FILES)]
    assert [wire.calls.count(method) for method in ("CreateDraft", "CommitDraft", "AbortDraft")] == [1, 1, 0]
    assert not errors


def test_what_fails_ahead_is_sent_as_if_it_had_not_been_tried(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    wire.calls.errors["AddEntries"] = [InvalidPath("not now")]
    log(connection, artifact)
    calls = added(wire)
    assert len(calls) == 2
    assert len(calls[-1]) == FILES
    assert [wire.calls.count(method) for method in ("CreateDraft", "CommitDraft", "AbortDraft")] == [2, 1, 1]


def test_entries_that_got_lost_ahead_are_sent_again(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    """I3: what the server took is counted, call by call."""
    enter = wire.calls.enter

    def entered(method: str, request: object, context: object) -> None:
        enter(method, request, context)  # type: ignore[arg-type]
        if method == "AddEntries":
            wire.metadata.overlooks = 1 if wire.calls.count(method) == 1 else 0

    wire.calls.enter = entered  # type: ignore[method-assign]
    log(connection, artifact)
    assert len(added(wire)[-1]) == FILES
    assert [wire.calls.count(method) for method in ("CreateDraft", "CommitDraft", "AbortDraft")] == [2, 1, 1]


def test_an_upload_that_fails_leaves_no_draft(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    """SEM-8."""
    here = threading.Event()
    enter = wire.calls.enter

    def entered(method: str, request: object, context: object) -> None:
        enter(method, request, context)  # type: ignore[arg-type]
        if method == "AddEntries":
            here.set()

    def prepared() -> None:
        if wire.calls.count("PrepareUpload") > 1:
            assert here.wait(30)
            wire.calls.errors["Write"] = [StorageFull("no more room")] * 9

    wire.blob.prepared, wire.calls.enter = prepared, entered  # type: ignore[method-assign]
    with pytest.raises(StorageFull):
        log(connection, artifact)
    assert [wire.calls.count(method) for method in ("CreateDraft", "CommitDraft", "AbortDraft")] == [1, 0, 1]


def test_entries_of_a_reading_that_began_again_are_given_up(wire: Wire, connection: Connection) -> None:
    """A cache that was wrong about a file was perhaps wrong about what went ahead."""

    def filled(spool: Spool) -> Spool:
        for number in range(30):
            for message in entry_messages(f"f{number}", bytes(32), 0, executable=False, segments=b"", most_segments=9):
                spool.add(message)
        return spool

    with Spool() as first, Spool() as second, _ahead.Ahead(connection, lambda: "drafts/d") as ahead:
        ahead.noted(filled(first))
        assert ahead.finish(filled(second)) == ""
    assert [len(paths) for paths in added(wire)] == [30]
    assert wire.calls.count("AbortDraft") == 1
