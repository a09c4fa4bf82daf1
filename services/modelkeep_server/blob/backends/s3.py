"""Objects in an S3 store.

Clients send and fetch the bytes themselves, with signed URLs whose digest the store enforces. What still comes through this
service, because a client cannot reach the store or the store enforces nothing (careful mode), is hashed into a nameless
temporary file first: no byte reaches the store before its digest is known.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from modelkeep_server.blob.backends import layout
from modelkeep_server.blob.backends.bucket import Bucket, S3Address, refused
from modelkeep_server.blob.backends.probe import Probe
from modelkeep_server.blob.backends.refusals import damaged, judged, no_urls, nothing_kept
from modelkeep_server.blob.backends.spoolwriter import SpoolWriter
from modelkeep_server.blob.backends.threads import Threads
from modelkeep_server.blob.domain import MIB, PIECE_BYTES, ListedObject

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence

    from modelkeep.names import LeaseName

    from modelkeep_server.blob.domain import Arrival, Grant, Incoming, ObjectName, StoredChunk
    from modelkeep_server.blob.ports import Writer

log = structlog.get_logger()
_BATCH: Final = 1000
_OWN_URL_LASTS: Final = timedelta(minutes=15)


class S3Backend:
    """A store in a bucket."""

    staging = None

    def __init__(self, address: S3Address, *, threads: int = 16, direct: bool = True, backoff_seconds: float = 0.2) -> None:
        self._bucket = Bucket(address, connections=threads, backoff_seconds=backoff_seconds)
        self._threads = Threads(threads, "s3")
        self.direct_upload = False
        self.direct_download = direct

    async def open(self) -> None:
        """Make the bucket, and find out whether it may hand out URLs for uploads."""
        await self._threads.run(self._bucket.make)
        if self.direct_download:
            self.direct_upload = await self._threads.run(Probe(self._bucket).enforces_digest)
            if not self.direct_upload:
                log.warning(
                    "careful_mode", why="the S3 store does not enforce the digest of a signed URL: uploads go through us"
                )

    async def close(self) -> None:
        """Let go of threads and connections."""
        await self._threads.close()
        self._bucket.close()

    async def check(self) -> None:
        """Raise ServiceUnavailable when the bucket cannot be reached."""
        await self._threads.run(self._bucket.check)

    async def received(self, incoming: Sequence[Incoming]) -> list[int]:
        """Nothing is kept: the next attempt may reach another process."""
        return [0 for _ in incoming]

    async def receive(self, incoming: Incoming, offset: int) -> SpoolWriter:
        """Begin."""
        if offset:
            raise nothing_kept(incoming, offset, 0)
        return SpoolWriter(incoming, self._threads)

    async def store(self, batch: Sequence[tuple[Writer, ObjectName]]) -> None:
        """Make objects of complete chunks, many at a time.

        What a failure leaves is not deleted: another stream may just have published the same object.
        """
        try:
            await self._threads.each(self._put, batch)
        finally:
            for writer, _ in batch:
                await writer.close(keep=False)

    async def leases(self) -> AsyncIterator[set[LeaseName]]:
        """None: nothing is kept."""
        return
        yield

    async def forget(self, leases: Collection[LeaseName]) -> None:
        """Nothing to do: nothing is kept."""

    async def read(
        self, chunk: StoredChunk, offset: int, length: int, see: Callable[[bytes], object] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A range of an object, in pieces; each request to the store brings two of them."""
        key, end = layout.key(chunk.object), offset + length
        while offset < end:
            found = await self._threads.run(self._get, key, offset, min(MIB, end - offset), see)
            if not found:
                raise damaged(chunk)
            offset += len(found)
            for start in range(0, len(found), PIECE_BYTES):
                yield found[start : start + PIECE_BYTES]

    async def arrived(self, grants: Sequence[Grant]) -> list[Arrival]:
        """Whether clients made the objects of these grants; the store has checked their digests."""
        return judged(grants, await self.stat([grant.object for grant in grants]))

    async def stat(self, names: Sequence[ObjectName]) -> list[int | None]:
        """The size of each object."""
        return await self._threads.each(lambda name: self._bucket.size(layout.key(name), name.digest), names)

    async def delete(self, names: Sequence[ObjectName]) -> None:
        """Remove objects."""
        await self._threads.run(self._bucket.delete, [layout.key(name) for name in names])

    async def objects(self) -> AsyncIterator[list[ListedObject]]:
        """Everything, in batches."""
        found = self._bucket.objects()
        while batch := await self._threads.run(lambda: list(islice(found, _BATCH))):
            yield [ListedObject(key, layout.parse(key), size) for key, size in batch]

    async def upload_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """For each object a URL that takes its bytes, and only its bytes, for that long."""
        if not self.direct_upload:
            return no_urls(objects)
        sign = self._bucket.upload_url
        return await self._threads.run(lambda: [sign(layout.key(name), name.digest, lasting) for name, lasting in objects])

    async def download_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """For each object a URL that gives its bytes for that long."""
        if not self.direct_download:
            return no_urls(objects)
        sign = self._bucket.download_url
        return await self._threads.run(lambda: [sign(layout.key(name), lasting) for name, lasting in objects])

    def _get(self, key: str, offset: int, length: int, see: Callable[[bytes], object] | None) -> bytes:
        found = self._bucket.get(key, offset, length)
        if see is not None:
            see(found)
        return found

    def _put(self, item: tuple[Writer, ObjectName]) -> None:
        writer, name = item
        assert isinstance(writer, SpoolWriter), "a writer of another backend"
        url = self._bucket.upload_url(layout.key(name), name.digest, _OWN_URL_LASTS, public=False)
        with writer.content() as content:
            if code := self._bucket.put(url, content, writer.received_bytes):
                raise refused(code)
