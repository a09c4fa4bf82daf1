"""Objects in memory: for tests, and for a server that is thrown away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelkeep.errors import ModelkeepError

from modelkeep_server.blob.backends import layout
from modelkeep_server.blob.backends.intake import Intake
from modelkeep_server.blob.backends.refusals import damaged, judged, no_urls, nothing_kept, taken_over
from modelkeep_server.blob.domain import PIECE_BYTES, ListedObject

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
    from datetime import timedelta

    from modelkeep.digest import Digest
    from modelkeep.names import LeaseName

    from modelkeep_server.blob.domain import Arrival, Grant, Incoming, ObjectName, StoredChunk
    from modelkeep_server.blob.ports import Writer

_BATCH: Final = 1000


class MemoryBackend:
    """A store in the memory of this process."""

    direct_upload = False
    direct_download = False
    staging = None

    def __init__(self) -> None:
        self._objects: dict[ObjectName, bytes] = {}
        self._kept: dict[tuple[LeaseName, Digest], bytearray] = {}
        self._open: dict[tuple[LeaseName, Digest], MemoryWriter] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do: the bytes go with the process."""

    async def check(self) -> None:
        """It is always there."""

    async def received(self, incoming: Sequence[Incoming]) -> list[int]:
        """How many bytes an interrupted write left of each."""
        return [len(self._kept.get(_key(one), b"")) for one in incoming]

    async def receive(self, incoming: Incoming, offset: int) -> MemoryWriter:
        """Begin, or go on at `offset`."""
        if (other := self._open.pop(_key(incoming), None)) is not None:
            await other.close(keep=True)
        kept = self._kept.pop(_key(incoming), bytearray())
        if offset > len(kept):
            raise nothing_kept(incoming, offset, len(kept))
        writer = MemoryWriter(self, incoming, kept[:offset])
        self._open[_key(incoming)] = writer
        return writer

    async def store(self, batch: Sequence[tuple[Writer, ObjectName]]) -> None:
        """Make objects of complete chunks."""
        for writer, name in batch:
            assert isinstance(writer, MemoryWriter)
            self._objects.setdefault(name, bytes(writer.content))

    async def leases(self) -> AsyncIterator[set[LeaseName]]:
        """The leases of which interrupted writes were kept."""
        if self._kept:
            yield {lease for lease, _ in self._kept}

    async def forget(self, leases: Collection[LeaseName]) -> None:
        """Throw away what interrupted writes under these leases left."""
        for key in [key for key in self._kept if key[0] in leases]:
            del self._kept[key]
        for key in [key for key in self._open if key[0] in leases]:
            await self._open[key].close(keep=False)

    async def read(
        self, chunk: StoredChunk, offset: int, length: int, see: Callable[[bytes], object] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A range of an object, in pieces."""
        content = self._objects.get(chunk.object, b"")
        if offset + length > len(content):
            raise damaged(chunk)
        for start in range(offset, offset + length, PIECE_BYTES):
            piece = content[start : min(start + PIECE_BYTES, offset + length)]
            if see is not None:
                see(piece)
            yield piece

    async def arrived(self, grants: Sequence[Grant]) -> list[Arrival]:
        """No client reaches this memory."""
        return judged(grants, await self.stat([grant.object for grant in grants]))

    async def stat(self, names: Sequence[ObjectName]) -> list[int | None]:
        """The size of each object."""
        return [len(self._objects[name]) if name in self._objects else None for name in names]

    async def delete(self, names: Sequence[ObjectName]) -> None:
        """Remove objects."""
        for name in names:
            self._objects.pop(name, None)

    async def objects(self) -> AsyncIterator[list[ListedObject]]:
        """Everything, in batches."""
        names = sorted(self._objects)
        for start in range(0, len(names), _BATCH):
            part = [name for name in names[start : start + _BATCH] if name in self._objects]
            yield [ListedObject(layout.key(name), name, len(self._objects[name])) for name in part]

    async def upload_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """Memory has no URL."""
        return no_urls(objects)

    async def download_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """Memory has no URL."""
        return no_urls(objects)

    def end(self, writer: MemoryWriter, *, keep: bool) -> None:
        """A writer is complete or lets go."""
        key = _key(writer.incoming)
        if self._open.get(key) is writer:
            del self._open[key]
            if keep and writer.content:
                self._kept[key] = writer.content


class MemoryWriter:
    """A chunk on its way into memory."""

    def __init__(self, backend: MemoryBackend, incoming: Incoming, kept: bytearray) -> None:
        self.incoming = incoming
        self.content = kept
        self._backend = backend
        self._intake = Intake(incoming.chunk)
        self._intake.take(bytes(kept))
        self._closed = False

    @property
    def received_bytes(self) -> int:
        """How many bytes it has by now."""
        return self._intake.received_bytes

    async def write(self, data: bytes) -> None:
        """Append."""
        if self._closed:
            raise taken_over(self.incoming)
        try:
            self._intake.take(data)
        except ModelkeepError:
            await self.close(keep=False)
            raise
        self.content += data
        if self._intake.is_complete:
            self._backend.end(self, keep=False)

    async def close(self, *, keep: bool) -> None:
        """Let go of it."""
        self._closed = True
        self._backend.end(self, keep=keep)


def _key(incoming: Incoming) -> tuple[LeaseName, Digest]:
    return incoming.lease, incoming.chunk.digest
