"""A draft commits all that was added to it, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest
from modelkeep import _draft, _run
from modelkeep._artifact import Artifact
from modelkeep._channel import Connection
from modelkeep._draft import Draft
from modelkeep._run import Run
from modelkeep.api.metadata.v1 import draft_pb2
from modelkeep.errors import ModelkeepError, PathConflict, ServiceUnavailable
from modelkeep.names import ProjectName


@pytest.fixture
def draft(monkeypatch: pytest.MonkeyPatch) -> Draft:
    monkeypatch.setattr(_draft, "Upload", Mock(return_value=Mock(__enter__=Mock(), __exit__=Mock(return_value=None))))
    name = "teams/t/projects/p/drafts/d"
    message = draft_pb2.Draft(name=name, collection="teams/t/projects/p/collections/digits", type="model")
    return Draft(message, cast("Connection", Mock()))


@pytest.mark.parametrize(("error", "again"), [(ServiceUnavailable("away"), ["a"]), (PathConflict("other content"), [])])
def test_what_could_not_be_sent_is_sent_by_the_next_try(
    draft: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: ModelkeepError, again: list[str]
) -> None:
    sent: list[list[str]] = []
    errors = [error]

    def send(artifact: Artifact, *, overwrite: bool) -> None:
        del overwrite
        artifact.seal()
        if errors:
            raise errors.pop()
        sent.append([source.name for source in artifact.sources()])

    monkeypatch.setattr(draft, "_send", send)
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    draft.add_file(tmp_path / "a")
    with pytest.raises(type(error)):
        draft.flush()
    draft.add_file(tmp_path / "b")
    draft.flush()
    draft.flush()
    assert [name for names in sent for name in names] == [*again, "b"]


def test_a_run_finishes_nothing_without_the_files_that_it_could_not_add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(cast("Connection", Mock()), ProjectName("t", "p"), "run", "", {})
    (tmp_path / "a").write_text("a")
    artifact = Artifact("digits", "model")
    artifact.add_file(tmp_path / "a")
    added: list[Artifact] = []

    def add(artifact: Artifact) -> None:
        artifact.seal()
        if not added:
            added.append(artifact)
            raise ServiceUnavailable("away")
        added.append(artifact)

    shared = Mock(type="model", add=add)
    monkeypatch.setattr(_run, "find_shared", Mock(return_value=shared))
    with pytest.raises(ServiceUnavailable):
        run.finish_artifact(artifact, distributed_id="one")
    for _ in range(2):
        run.finish_artifact(artifact, distributed_id="one")
    assert added == [artifact, artifact]
