"""Fetching chunks: what goes on when one of them cannot be written."""

from __future__ import annotations

import hashlib
import threading

import pytest
from modelkeep._channel import Connection
from modelkeep._fetcher import Fetcher
from modelkeep._pack import Block, Use
from modelkeep.errors import DiskFull, Unimplemented
from modelkeep.names import TeamName

from tests.unit.sdk.store import Store
from tests.unit.sdk.wire import Wire


class Full:
    """A file on a full disk, which fails once another one is being written."""

    def __init__(self, after: threading.Event) -> None:
        self._after = after

    def put(self, data: memoryview, at: int, *, proven: bool) -> None:
        assert self._after.wait(60)
        raise DiskFull("the disk is full")


class Slow:
    """A file whose write takes until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.written = threading.Event(), threading.Event(), False

    def put(self, data: memoryview, at: int, *, proven: bool) -> None:
        self.begun.set()
        assert self.let_go.wait(60)
        self.written = True


def test_a_batch_that_fails_waits_for_what_is_being_written(wire: Wire, connection: Connection) -> None:
    """Its caller closes the files next, and the number of a closed descriptor may soon be another file's."""
    store = Store(wire)
    wire.blob.download_url = store.url
    contents = [b"one" * 100, b"two" * 100]
    wire.blob.chunks.update({hashlib.sha256(data).digest(): data for data in contents})
    slow = Slow()
    blocks = []
    for data, sink in zip(contents, [Full(slow.begun), slow], strict=True):
        blocks.append(Block(hashlib.sha256(data).digest(), check=False))
        blocks[-1].uses.append(Use(sink, 0, 0, 300))
    written_at_the_end: list[bool] = []

    def fetch() -> None:
        with Fetcher(connection, TeamName("t")) as fetcher:
            with pytest.raises(DiskFull):
                fetcher.fetch(blocks)
            written_at_the_end.append(slow.written)

    fetching = threading.Thread(target=fetch)
    fetching.start()
    assert slow.begun.wait(60)
    fetching.join(0.3)  # time enough for a batch that does not wait
    slow.let_go.set()
    fetching.join(60)
    store.close()
    assert written_at_the_end == [True]


def test_a_way_to_download_that_only_a_newer_client_knows(wire: Wire, connection: Connection) -> None:
    """It says nothing of the version, which is as good as ever."""
    wire.blob.newer = True
    newer = pytest.raises(Unimplemented, match=r"the server is newer than this client.*update modelkeep")
    with Fetcher(connection, TeamName("t")) as fetcher, newer:
        fetcher.fetch([Block(hashlib.sha256(b"x").digest(), check=True)])
