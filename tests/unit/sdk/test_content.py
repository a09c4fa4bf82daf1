"""One file of a version, read chunk by chunk: whatever way a reader goes through it, it gets what is there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from modelkeep._channel import Connection
from modelkeep._content import KEPT, Content, Layout, _Memory
from modelkeep._entries import entry_messages
from modelkeep._open import open_content
from modelkeep._pieces import SEGMENT
from modelkeep._tensors import load
from modelkeep.errors import ChunkCorrupt, ChunkNotFound, InvalidSafetensors
from modelkeep.names import TeamName

from tests.unit.sdk.wire import Wire

CHUNK_BYTES = 64 * 1024
DATA = b"".join(number.to_bytes(2, "big") * (CHUNK_BYTES // 2) for number in range(4 * KEPT))


@pytest.fixture
def made(wire: Wire, connection: Connection) -> Callable[[bytes], Content]:
    """Makes the content of a file whose chunks a server has."""

    def make(data: bytes) -> Content:
        chunks = [data[begin : begin + CHUNK_BYTES] for begin in range(0, len(data), CHUNK_BYTES)]
        wire.blob.chunks |= {hashlib.sha256(chunk).digest(): chunk for chunk in chunks}
        segments = b"".join(SEGMENT.pack(hashlib.sha256(chunk).digest(), 0, len(chunk)) for chunk in chunks)
        digest = hashlib.sha256(data).digest()
        messages = entry_messages("f", digest, len(data), executable=False, segments=segments, most_segments=7)
        return Content(connection, TeamName("t"), Layout.of(messages, "f", "digits:v0"), None)

    return make


@pytest.fixture
def content(made: Callable[[bytes], Content]) -> Content:
    return made(DATA)


@pytest.mark.parametrize("back", [4, 9, KEPT + 1])
def test_who_goes_back_and_reads_on_gets_what_is_there(content: Content, back: int) -> None:
    with open_content(content) as file:
        begin = 2 * KEPT * CHUNK_BYTES
        assert file.read(begin) == DATA[:begin]
        again = begin - back * CHUNK_BYTES
        file.seek(again)
        assert file.read() == DATA[again:]


def test_what_the_disk_of_the_cache_cannot_read_is_fetched(content: Content, tmp_path: Path) -> None:
    content._file = os.open(tmp_path, os.O_RDONLY)  # a folder: every read of it fails
    assert not content._from_cache(0, _Memory(bytearray(CHUNK_BYTES)))
    assert not content._whole_from_cache(bytearray(10))
    content.close()


@pytest.mark.parametrize("count", [4 * KEPT, 2])
def test_a_file_whose_chunk_rotted_or_is_lost_is_named(made: Callable[[bytes], Content], wire: Wire, count: int) -> None:
    """What the server says of it names only the chunk. Two chunks are read as a whole, many one by one."""
    content = made(DATA[: count * CHUNK_BYTES])
    chunk = DATA[:CHUNK_BYTES]
    sha256 = hashlib.sha256(chunk).digest()
    wire.blob.chunks[sha256] = b"?" * CHUNK_BYTES
    message = f"^'f' cannot be read: .*{sha256.hex()}"
    with pytest.raises(ChunkCorrupt, match=message) as rotten:
        content.read(0, memoryview(bytearray(10)))
    del wire.blob.chunks[sha256]
    with pytest.raises(ChunkNotFound, match=message) as lost:
        content.read(0, memoryview(bytearray(10)))
    assert lost.value.metadata["path"] == rotten.value.metadata["path"] == "f"
    content.close()


def test_a_tensor_of_nothing_in_a_shape_that_no_memory_has_is_refused(made: Callable[[bytes], Content]) -> None:
    header = json.dumps({"a": {"dtype": "U8", "shape": [0, 1 << 62, 1 << 62], "data_offsets": [0, 0]}}).encode()
    data = len(header).to_bytes(8, "little") + header
    with pytest.raises(InvalidSafetensors, match="shape"):
        load(made(data), "numpy", None)
