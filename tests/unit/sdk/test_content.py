"""One file of a version, read chunk by chunk: whatever way a reader goes through it, it gets what is there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from modelkeep._channel import Connection
from modelkeep._content import KEPT, Content, Layout
from modelkeep._entries import entry_messages
from modelkeep._open import open_content
from modelkeep._pieces import SEGMENT
from modelkeep._tensors import load
from modelkeep.errors import InvalidSafetensors
from modelkeep.names import TeamName

CHUNK_BYTES = 64 * 1024
DATA = b"".join(number.to_bytes(2, "big") * (CHUNK_BYTES // 2) for number in range(4 * KEPT))


class InMemory(Content):
    """Content whose chunks need not be fetched."""

    def fetch(self, numbers: Iterable[int], sink: Any) -> None:
        for number in numbers:
            _, at, length = self.layout.place(number)
            sink.put(memoryview(DATA)[at : at + length], at, proven=True)


@pytest.fixture
def content() -> InMemory:
    chunks = [DATA[begin : begin + CHUNK_BYTES] for begin in range(0, len(DATA), CHUNK_BYTES)]
    segments = b"".join(SEGMENT.pack(hashlib.sha256(chunk).digest(), 0, len(chunk)) for chunk in chunks)
    digest = hashlib.sha256(DATA).digest()
    messages = entry_messages("f", digest, len(DATA), executable=False, segments=segments, most_segments=7)
    connection = cast("Connection", SimpleNamespace(config=SimpleNamespace(ca_file="")))
    return InMemory(connection, TeamName("t"), Layout.of(messages, "f", "digits:v0"), None)


@pytest.mark.parametrize("back", range(1, KEPT + 2))
def test_who_goes_back_and_reads_on_gets_what_is_there(content: InMemory, back: int) -> None:
    with open_content(content) as file:
        begin = 2 * KEPT * CHUNK_BYTES
        assert file.read(begin) == DATA[:begin]
        again = begin - back * CHUNK_BYTES
        file.seek(again)
        assert file.read() == DATA[again:]


def test_what_the_disk_of_the_cache_cannot_read_is_fetched(content: InMemory, tmp_path: Path) -> None:
    content._file = os.open(tmp_path, os.O_RDONLY)  # a folder: every read of it fails
    assert not content._from_cache(0, Mock())
    assert not content._whole_from_cache(bytearray(10))
    content.close()


def test_a_tensor_of_nothing_in_a_shape_that_no_memory_has_is_refused() -> None:
    header = json.dumps({"a": {"dtype": "U8", "shape": [0, 1 << 62, 1 << 62], "data_offsets": [0, 0]}}).encode()
    data = len(header).to_bytes(8, "little") + header
    content = Mock(layout=Mock(size_bytes=len(data)), is_small=True, whole=lambda: data)

    def read(position: int, into: memoryview) -> int:
        into[:] = data[position : position + len(into)]
        return len(into)

    content.read = read
    with pytest.raises(InvalidSafetensors, match="shape"):
        load(content, "numpy", None)
