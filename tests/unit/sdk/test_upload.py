"""Uploads of very many files."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from modelkeep import _upload
from modelkeep._artifact import Artifact
from modelkeep._channel import Connection
from modelkeep._entries import Spool
from modelkeep._pieces import FILE_BYTES, FileRead
from modelkeep._upload import Upload
from modelkeep.names import TeamName

from tests.unit.sdk.wire import Wire


def test_many_tiny_files_take_no_more_memory_than_some(
    wire: Wire, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of a file waits with it; a bound in bytes of content alone would let a million tiny files wait."""
    monkeypatch.setattr(_upload, "AHEAD_BYTES", 100 * FILE_BYTES)
    monkeypatch.setattr(_upload, "BATCH_MEMORY_BYTES", 100 * FILE_BYTES)
    wire.blob.pack_bytes = 25_600  # a hundred tiny files
    root, most = tmp_path / "many", 0
    root.mkdir()
    for number in range(3000):
        (root / str(number)).write_text(str(number))
    made = Artifact("a", "dataset")
    made.add_dir(root)

    def look(entries: Spool) -> None:
        nonlocal most
        if not entries.entry_count % 100:
            most = max(most, sum(isinstance(one, FileRead) for one in gc.get_objects()))

    with Upload(connection, TeamName("t"), lambda _: None) as upload:
        upload.noted = look
        upload.send(made.sources())
    assert 0 < most < 1500  # what was read ahead, and the batches that are under way
    assert sum(map(len, wire.blob.chunks.values())) == sum(len(str(number)) for number in range(3000))
