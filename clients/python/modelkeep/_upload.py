"""Uploading the content of an artifact: plan → ask → send, in one pass over the files and in bounded memory."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING, Final, Self

from modelkeep._chunks import Reader
from modelkeep._cut import Rules
from modelkeep._entries import Spool, entry_messages
from modelkeep._lease import KeptLease
from modelkeep._pieces import Stale, changed
from modelkeep._sender import Sender
from modelkeep._stat_cache import open_stat_cache

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Iterator

    from modelkeep._artifact import Artifact, Source
    from modelkeep._channel import Connection
    from modelkeep._pieces import FileRead, Item, Piece
    from modelkeep._stat_cache import StatCache
    from modelkeep.names import TeamName

BATCH_BYTES: Final = 64 << 20
"""A batch is sent when so many bytes were read for it, …"""
BATCH_MEMORY_BYTES: Final = 12 << 20
"""… or so many are kept in memory (packs are), …"""
BATCH_CHUNKS: Final = 512
"""… or it has so many chunks: each PrepareUpload is one transaction of the server."""
AHEAD_BYTES: Final = 16 << 20
"""How far the reading is ahead of what is sent: meanwhile threads hash it. …"""
AHEAD_ITEMS: Final = 256
"""… No further than this where nothing has to be read."""
STALE_TIMES: Final = 3
"""How often the stat cache may be wrong before an upload goes without it."""


class Upload:
    """The content of one artifact on its way. Use it as a context manager around the commit: it keeps the lease."""

    def __init__(self, connection: Connection, team: TeamName, advance: Callable[[int], None]) -> None:
        self._connection = connection
        limits = connection.limits()
        self._rules = Rules.of(limits)
        self._batch_chunks = min(BATCH_CHUNKS, limits.max_batch_chunks)
        self._lease = KeptLease(connection)
        self._sender = Sender(connection, team, self._lease, advance)
        self._cache = open_stat_cache(self._rules.key)
        self.entries = Spool()
        """What the files are, as it is known after `send`."""
        self.noted: Callable[[Spool], None] = _nothing
        """Called with the entries whenever there is one more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.end()
        self._sender.__exit__()
        self.entries.close()
        if self._cache is not None:
            self._cache.close()

    @property
    def sent_bytes(self) -> int:
        """How many bytes the server did not have."""
        return self._sender.sent_bytes

    def send(self, sources: Iterable[Source], stamps: array[int] | None = None) -> None:
        """Read all files, and store what the server does not have. Raises FileUnreadable, FileChanged and what calls raise."""
        again = tuple(sources) if iter(sources) is sources else sources
        for _ in range(STALE_TIMES):
            try:
                return self._send(again, stamps, self._cache)
            except Stale as stale:
                self._forget(stale)
        return self._send(again, stamps, None)

    def send_missing(self, artifact: Artifact) -> None:
        """Ask again for every chunk, and store those that got lost since `send`. Raises as `send` does."""
        self._sender.start_over()
        first, self.entries = self.entries, Spool()
        with first:
            self.send(artifact.sources())
            for before, after in zip(first, self.entries, strict=False):
                if before != after:
                    raise changed(artifact.source(after.path))

    def _forget(self, stale: Stale) -> None:
        """Begin again without what turned out to be wrong."""
        self._sender.start_over()
        if self._cache is not None:
            self._cache.drop(stale.identities, stale.pack)
        self.entries.close()
        self.entries = Spool()

    def _send(self, sources: Iterable[Source], stamps: array[int] | None, cache: StatCache | None) -> None:
        with Reader(self._rules, cache) as reader, closing(reader.read(sources, stamps)) as items:
            for batch in self._batches(_ahead(items), cache):
                self._sender.send(batch)
        self._sender.finish()

    def _batches(self, items: Iterable[Item], cache: StatCache | None) -> Iterator[list[Piece]]:
        batch: list[Piece] = []
        read = kept = 0
        for item in items:
            for piece in item.pieces():
                batch.append(piece)
                read += 0 if piece.cached else piece.size_bytes
                kept += piece.memory_bytes
                enough = read >= BATCH_BYTES and not self._sender.mostly_present
                if enough or kept >= BATCH_MEMORY_BYTES or len(batch) >= self._batch_chunks:
                    yield batch
                    batch, read, kept = [], 0, 0
            for file in item.files():
                self._note(file, cache)
        yield batch

    def _note(self, file: FileRead, cache: StatCache | None) -> None:
        messages = entry_messages(
            file.source.name,
            file.sha256,
            file.size_bytes,
            executable=file.executable,
            segments=file.segments,
            most_segments=self._connection.metadata_limits().max_segments_per_message,
        )
        for message in messages:
            self.entries.add(message)
        self.noted(self.entries)
        if cache is not None and file.settled and not file.cached:
            cache.add(file.identity, file.sha256, b"" if file.size_bytes <= self._rules.member_bytes else file.segments)


def _nothing(_entries: Spool) -> None:
    pass


def _ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, while those that follow are being read and hashed."""
    waiting: deque[Item] = deque()
    weight = 0
    for item in items:
        waiting.append(item)
        weight += item.weight_bytes
        while weight > AHEAD_BYTES or len(waiting) > AHEAD_ITEMS:
            first = waiting.popleft()
            weight -= first.weight_bytes
            yield first
    yield from waiting
