"""A draft commits all that was added to it, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest
from modelkeep import _draft
from modelkeep._artifact import Artifact
from modelkeep._channel import Connection
from modelkeep._draft import Draft
from modelkeep.api.metadata.v1 import draft_pb2
from modelkeep.errors import ModelkeepError, PathConflict, ServiceUnavailable


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
