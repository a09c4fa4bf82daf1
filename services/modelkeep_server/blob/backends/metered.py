"""What a store does, in numbers for Prometheus."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Histogram

from modelkeep_server.blob.backends.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from modelkeep_server.blob.domain import Arrival, Grant, ObjectName, StoredChunk
    from modelkeep_server.blob.ports import Writer

STORED_BYTES: Final = Counter("modelkeep_blob_stored_bytes", "Bytes of objects that this process wrote to the store")
READ_BYTES: Final = Counter("modelkeep_blob_read_bytes", "Bytes of objects that this process read from the store")
SECONDS: Final = Histogram("modelkeep_blob_store_seconds", "How long the store took", ["operation"])
FAILURES: Final = Counter("modelkeep_blob_store_failures", "How often the store failed", ["operation"])


class MeteredBackend(Wrapper):
    """Counts bytes, times and failures. Payload that clients bring to the store themselves is not seen here."""

    async def store(self, batch: Sequence[tuple[Writer, ObjectName]]) -> None:
        """Make objects of complete chunks."""
        with _measured("store"):
            await super().store(batch)
        STORED_BYTES.inc(sum(writer.received_bytes for writer, _ in batch))

    async def read(
        self, chunk: StoredChunk, offset: int, length: int, see: Callable[[bytes], object] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A range of an object, in pieces."""
        async with aclosing(self.inner.read(chunk, offset, length, see)) as pieces:
            while True:
                with _measured("read"):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                READ_BYTES.inc(len(piece))
                yield piece

    async def arrived(self, grants: Sequence[Grant]) -> list[Arrival]:
        """Whether clients made the objects of these grants."""
        with _measured("arrived"):
            return await super().arrived(grants)

    async def stat(self, names: Sequence[ObjectName]) -> list[int | None]:
        """The size of each object."""
        with _measured("stat"):
            return await super().stat(names)

    async def delete(self, names: Sequence[ObjectName]) -> None:
        """Remove objects."""
        with _measured("delete"):
            await super().delete(names)


@contextmanager
def _measured(operation: str) -> Iterator[None]:
    with SECONDS.labels(operation).time(), FAILURES.labels(operation).count_exceptions(Exception):
        yield
