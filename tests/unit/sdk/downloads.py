"""What the tests of downloads share: versions made by hand, and everything that a download needs."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from modelkeep._cache import Cache
from modelkeep._channel import Connection
from modelkeep._download import Download
from modelkeep._entries import Spool
from modelkeep._target import Target
from modelkeep.api.metadata.v1 import entry_pb2
from modelkeep.names import TeamName

from tests.unit.sdk.store import Store
from tests.unit.sdk.wire import Wire

TEAM = TeamName("t")
MIB = 1 << 20


@dataclass(frozen=True)
class Rig:
    """Everything that a download needs."""

    wire: Wire
    connection: Connection
    store: Store
    entries: Spool
    cache: Cache
    tmp_path: Path


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def add(entries: Spool, path: str, segments: list[tuple[bytes, int, int]], *, claims: bytes | None = None) -> bytes:
    """A file of parts of chunks; answers its content. `claims` is the content that its digest is of."""
    content = b"".join(chunk[offset : offset + length] for chunk, offset, length in segments)
    message = entry_pb2.Entry(path=path, size_bytes=len(content))
    message.digest.sha256 = sha256(content if claims is None else claims)
    for chunk, offset, length in segments:
        message.segments.add(offset=offset, length=length).chunk.sha256 = sha256(chunk)
    entries.add(message)
    return content


def pack(wire: Wire, entries: Spool, count: int, length: int, folder: str = "p") -> dict[str, bytes]:
    """Small files in one chunk."""
    chunk = os.urandom(count * length)
    wire.blob.chunks[sha256(chunk)] = chunk
    paths = [f"{folder}/{number:04}" for number in range(count)]
    return {path: add(entries, path, [(chunk, length * n, length)]) for n, path in enumerate(paths)}


def large(wire: Wire, entries: Spool, path: str, sizes: list[int]) -> dict[str, bytes]:
    """A file of several chunks."""
    chunks = [os.urandom(size) for size in sizes]
    wire.blob.chunks.update({sha256(chunk): chunk for chunk in chunks})
    return {path: add(entries, path, [(chunk, 0, len(chunk)) for chunk in chunks])}


def download(
    connection: Connection, entries: Spool, root: Path, cache: Cache | None = None, *, trusted: bool = False, link: bool = False
) -> int:
    got: list[int] = []
    with Target(root) as target:
        Download(connection, TEAM, target, trusted=trusted, durable=False, cache=cache, link=link).run(entries, got.append)
    return sum(got)


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
