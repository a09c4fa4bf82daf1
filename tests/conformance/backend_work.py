"""What tests of stores of objects do with one, whatever it is."""

from __future__ import annotations

from contextlib import aclosing
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit
from uuid import uuid4

from modelkeep.digest import Digest
from modelkeep.names import LeaseName
from modelkeep_server.blob.domain import (
    MIB,
    Chunk,
    ChunkState,
    Incoming,
    ObjectName,
    StoredChunk,
)
from modelkeep_server.blob.ports import Backend, Writer

LEASE = LeaseName("a.team-1", "123e4567-e89b-42d3-a456-426614174000")
SMALL = b"some bytes of a model"
LARGE = bytes(range(256)) * (5 * MIB // 512)  # 2.5 MiB


def new_lease() -> LeaseName:
    return LeaseName("a.team-1", str(uuid4()))


def chunk_of(data: bytes) -> Chunk:
    return Chunk(Digest.of(data), len(data))


def stored(data: bytes, name: ObjectName) -> StoredChunk:
    return StoredChunk(chunk_of(data), name.generation, ChunkState.LIVE)


async def complete(backend: Backend, data: bytes, lease: LeaseName = LEASE) -> Writer:
    """A writer with all bytes of `data`."""
    writer = await backend.receive(Incoming(lease, chunk_of(data)), 0)
    for start in range(0, len(data), MIB):
        await writer.write(data[start : start + MIB])
    return writer


async def put(backend: Backend, data: bytes, lease: LeaseName = LEASE) -> StoredChunk:
    """An object with the bytes of `data`."""
    name = ObjectName.fresh(Digest.of(data))
    await backend.store([(await complete(backend, data, lease), name)])
    return stored(data, name)


async def get(backend: Backend, chunk: StoredChunk, offset: int = 0, length: int | None = None) -> bytes:
    size = chunk.chunk.size_bytes if length is None else length
    async with aclosing(backend.read(chunk, offset, size)) as pieces:
        return b"".join([piece async for piece in pieces])


async def objects(backend: Backend) -> dict[ObjectName | None, int]:
    return {found.name: found.size_bytes async for batch in backend.objects() for found in batch}


async def leases(backend: Backend) -> set[LeaseName]:
    return {lease async for batch in backend.leases() for lease in batch}


def break_off(url: str, body: bytes) -> None:
    """Send the half of a body that was announced, and hang up."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=30)
    connection.putrequest("PUT", f"{parts.path}?{parts.query}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[: len(body) // 2])
    connection.close()
