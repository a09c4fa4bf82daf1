"""Uploading the content of an artifact: plan → ask → send, in one pass over the files and in bounded memory."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final, Self

from modelkeep._chunks import Budget, Cutter, FileRead, Piece, read_again
from modelkeep._entries import Spool, entry_messages
from modelkeep._sender import Sender

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Iterator

    from modelkeep._artifact import Artifact, Source
    from modelkeep._channel import Connection
    from modelkeep.names import TeamName

BATCH_BYTES: Final = 12 << 20
"""A batch is sent when its chunks have so many bytes, …"""
BATCH_CHUNKS: Final = 512
"""… or are so many: each PrepareUpload is one transaction of the server."""
MEMORY_BYTES: Final = 40 << 20
"""How many bytes of files are in memory at once."""


class Upload:
    """The content of one artifact on its way. Use it as a context manager around the commit: it keeps the lease."""

    def __init__(self, connection: Connection, team: TeamName, advance: Callable[[int], None]) -> None:
        self._connection = connection
        self._limits = connection.limits()
        self._budget = Budget(max(MEMORY_BYTES, 4 * self._limits.block_bytes))
        self._batch_chunks = min(BATCH_CHUNKS, self._limits.max_batch_chunks)
        self._sender = Sender(connection, team, self._budget, advance)
        self.entries = Spool()
        """What the files are, as it is known after `send`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.__exit__()
        self.entries.close()

    @property
    def sent_bytes(self) -> int:
        """How many bytes the server did not have."""
        return self._sender.sent_bytes

    def send(self, sources: Iterable[Source], stamps: array[int] | None = None) -> None:
        """Read all files, and store what the server does not have. Raises FileUnreadable, FileChanged and what calls raise."""
        with Cutter(self._limits.block_bytes, self._budget) as cutter, closing(cutter.read(sources, stamps)) as items:
            for batch in self._batches(items):
                pieces = [item for item in batch if isinstance(item, Piece)]
                for item in batch:
                    if isinstance(item, Piece):
                        item.file.chunks += item.sha256
                    else:
                        self._note(item)
                self._sender.send(pieces)
        self._sender.finish()

    def send_missing(self, artifact: Artifact) -> None:
        """Ask again for every chunk, and store those that got lost since `send`. Raises as `send` does."""
        self._sender.forget_recent()
        for batch in self._batches(self._again(artifact)):
            self._sender.send([item for item in batch if isinstance(item, Piece)])
        self._sender.finish()

    def _batches(self, items: Iterable[Piece | FileRead]) -> Iterator[list[Piece | FileRead]]:
        batch: list[Piece | FileRead] = []
        size = 0
        for item in items:
            batch.append(item)
            size += item.size_bytes if isinstance(item, Piece) else 0
            if size >= BATCH_BYTES or len(batch) >= self._batch_chunks:
                yield batch
                batch, size = [], 0
        yield batch

    def _note(self, file: FileRead) -> None:
        messages = entry_messages(
            file.source.name,
            file.sha256(),
            file.size_bytes,
            executable=file.executable,
            chunks=bytes(file.chunks),
            block_bytes=self._limits.block_bytes,
            most_segments=self._connection.metadata_limits().max_segments_per_message,
        )
        for message in messages:
            self.entries.add(message)

    def _again(self, artifact: Artifact) -> Iterator[Piece]:
        offset, path = 0, ""
        for message in self.entries:
            offset = offset if message.path == path else 0
            path = message.path
            source = artifact.source(path)
            file = FileRead(source, message.size_bytes, executable=message.executable)
            for segment in message.segments:
                self._budget.take(segment.length)
                data = read_again(source, offset, segment.length, segment.chunk.sha256)
                yield Piece(file, data, segment.chunk.sha256)
                offset += segment.length
