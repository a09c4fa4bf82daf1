"""Logging when something goes wrong between the first byte and the commit: healed, or nothing of it stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from modelkeep._artifact import Artifact
from modelkeep._channel import Connection
from modelkeep._log import COMMIT_TIMES, Words, log_artifact
from modelkeep.errors import (
    ChunksMissing,
    CollectionNotFound,
    CollectionTypeMismatch,
    FileChanged,
    InternalError,
    InvalidAlias,
    InvalidPath,
    ServiceUnavailable,
)
from modelkeep.names import ProjectName

from tests.unit.sdk.wire import Wire

PROJECT = ProjectName("t", "default")


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    (tmp_path / "weights").write_bytes(os.urandom(5000))
    made = Artifact("digits", "model")
    made.add_file(tmp_path / "weights")
    return made


def log(connection: Connection, artifact: Artifact) -> None:
    log_artifact(connection, PROJECT, artifact, Words.of(artifact, ["best"]))


def test_entries_that_got_lost_are_never_committed(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    """I3: what the server took is counted before the commit."""
    wire.metadata.overlooks = 1
    with pytest.raises(InternalError, match="took 0 of 1 entries"):
        log(connection, artifact)
    assert wire.calls.count("CommitDraft") == 0
    assert wire.calls.count("AbortDraft") == 1


@pytest.mark.peer("M-GC-1")
def test_a_commit_that_lacks_chunks_heals_itself(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    """RELIABILITY §2.4."""
    wire.calls.errors["CommitDraft"] = [ChunksMissing("two are missing", digests="sha256:…")] * 2
    wire.metadata.lose = lambda: wire.blob.chunks.popitem() and None if wire.calls.errors["CommitDraft"] else None
    log(connection, artifact)
    assert wire.calls.count("CommitDraft") == 3
    assert sum(map(len, wire.blob.chunks.values())) == 5000
    assert wire.calls.count("CreateDraft") == wire.calls.count("AddEntries") == 1
    assert wire.calls.count("AbortDraft") == 0


def test_healing_has_an_end(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    wire.calls.errors["CommitDraft"] = [ChunksMissing("always")] * 100
    with pytest.raises(ChunksMissing):
        log(connection, artifact)
    assert wire.calls.count("CommitDraft") == COMMIT_TIMES
    assert wire.calls.count("AbortDraft") == 1


@pytest.mark.peer("M-UP-3")
def test_a_file_that_changed_before_it_could_heal_is_told(
    wire: Wire, connection: Connection, artifact: Artifact, tmp_path: Path
) -> None:
    wire.calls.errors["CommitDraft"] = [ChunksMissing("gone")]
    wire.metadata.lose = lambda: (tmp_path / "weights").write_bytes(os.urandom(5000)) and None
    with pytest.raises(FileChanged, match="weights"):
        log(connection, artifact)
    assert wire.calls.count("AbortDraft") == 1


def test_entries_and_commits_are_repeated(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    """SEM-14: both may come again."""
    wire.calls.errors["AddEntries"] = [ServiceUnavailable("away")] * 2
    wire.calls.errors["CommitDraft"] = [ServiceUnavailable("away")] * 2
    log(connection, artifact)
    sent = [request for name, request, _ in wire.calls.seen if name == "AddEntries"]
    assert len(sent) == 3
    assert sent[0] == sent[1] == sent[2]
    commits = [request for name, request, _ in wire.calls.seen if name == "CommitDraft"]
    assert commits[0] == commits[1] == commits[2]
    assert list(commits[0].aliases) == ["best"]


def test_what_fails_leaves_no_draft(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    wire.calls.errors["AddEntries"] = [InvalidPath("bad")]
    wire.calls.errors["AbortDraft"] = [ServiceUnavailable("away too")]
    with pytest.raises(InvalidPath):
        log(connection, artifact)
    assert wire.calls.count("AbortDraft") == 2
    assert wire.calls.count("CommitDraft") == 0


def test_a_file_that_vanished_is_told_before_there_is_a_draft(
    wire: Wire, connection: Connection, artifact: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "weights").unlink()
    with pytest.raises(Exception, match="weights"):
        log(connection, artifact)
    assert wire.calls.count("CreateDraft") == 0


def test_a_wrong_type_is_told_before_anything_is_read(wire: Wire, connection: Connection, tmp_path: Path) -> None:
    """SEM-2."""
    (tmp_path / "x").write_bytes(b"x")
    other = Artifact("digits", "dataset")
    other.add_file(tmp_path / "x")
    with pytest.raises(CollectionTypeMismatch, match="'model', not 'dataset'"):
        log(connection, other)
    assert wire.calls.count("PrepareUpload") == 0
    wire.calls.errors["GetCollection"] = [CollectionNotFound("a new one")]
    log(connection, other)


def test_words_are_taken_when_it_is_logged(artifact: Artifact) -> None:
    artifact.metadata["loss"] = 0.5
    words = Words.of(artifact, ["best", "latest"], ["a"])
    artifact.metadata["loss"] = 0.1
    assert words.metadata_json == '{"loss":0.5}'
    assert words.aliases == ("best",)
    assert Words.of(artifact, "best").aliases == ("best",)
    with pytest.raises(InvalidAlias):
        Words.of(artifact, ["v3"])
