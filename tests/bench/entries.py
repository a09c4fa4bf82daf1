"""A version of very many small files, by the contract alone: what the metadata service costs without the bytes.

As the SDK does it: entries go up some at a time, each time their bytes are stored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import modelkeep
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb

FILE_BYTES = 64
FILES_PER_CHUNK = 256
_PER_MESSAGE = 1000
_CHUNKS_PER_CALL = 40
"""Some 10,000 entries go in one call, as those of the SDK."""


def commit(count: int) -> dict[str, float]:
    """Commit a version of `count` files in packs; the clock runs from the last stored byte to the answer."""
    connection = modelkeep.Api(project="bench")._connection
    project = str(connection.project)
    request = pb.CreateDraftRequest(parent=project)
    request.draft.collection, request.draft.type = f"{project}/collections/entries", "dataset"
    draft = connection.metadata.CreateDraft(request).name
    taken, adding, lease, step = 0, 0.0, "", _CHUNKS_PER_CALL * FILES_PER_CHUNK
    for begin in range(0, count, step):
        end = min(begin + step, count)
        packs, lease = _store(connection, -(-(end - begin) // FILES_PER_CHUNK), lease)
        stored = perf_counter()
        taken += connection.metadata.AddEntries(_messages(draft, packs, begin, end), timeout=600).entry_count
        added = perf_counter()
        adding += added - stored
    version = connection.metadata.CommitDraft(pb.CommitDraftRequest(name=draft), timeout=1800).version
    committed = perf_counter()
    if taken != count or version.entry_count != count:
        raise RuntimeError(f"{taken} taken and {version.entry_count} committed of {count}")
    return {"seconds": committed - stored, "all_seconds": adding + committed - added}


def _store(connection: Any, count: int, lease: str) -> tuple[list[tuple[bytes, bytes]], str]:
    """So many more packs, stored: their digests and their bytes; and the lease that protects them."""
    team = str(connection.project).rsplit("/projects/", 1)[0]
    data = [os.urandom(FILE_BYTES * FILES_PER_CHUNK) for _ in range(count)]
    packs = [(hashlib.sha256(pack).digest(), pack) for pack in data]
    request = blob_pb.PrepareUploadRequest(parent=team, lease=lease, stream_only=True)
    for sha256, pack in packs:
        request.chunks.add(size_bytes=len(pack)).digest.sha256 = sha256
    lease = connection.blob.PrepareUpload(request).lease.name
    connection.blob.Write(_writes(lease, packs), timeout=600)
    return packs, lease


def _writes(lease: str, packs: list[tuple[bytes, bytes]]) -> Iterator[blob_pb.WriteRequest]:
    for sha256, pack in packs:
        message = blob_pb.WriteRequest(lease=lease, data=pack)
        message.chunk.digest.sha256, message.chunk.size_bytes = sha256, len(pack)
        lease = ""
        yield message


def _messages(draft: str, packs: list[tuple[bytes, bytes]], first: int, end: int) -> Iterator[pb.AddEntriesRequest]:
    for begin in range(first, end, _PER_MESSAGE):
        request = pb.AddEntriesRequest(draft=draft)
        draft = ""
        for number in range(begin, min(begin + _PER_MESSAGE, end)):
            chunk, pack = packs[(number - first) // FILES_PER_CHUNK]
            offset = number % FILES_PER_CHUNK * FILE_BYTES
            entry = request.entries.add(path=f"part-{number // 1000:05}/{number:08}.bin", size_bytes=FILE_BYTES)
            entry.digest.sha256 = hashlib.sha256(pack[offset : offset + FILE_BYTES]).digest()
            segment = entry.segments.add(offset=offset, length=FILE_BYTES)
            segment.chunk.sha256 = chunk
        yield request
