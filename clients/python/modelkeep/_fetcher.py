"""Fetching chunks: ask where they are, get them from the store or through the server, check each against its digest."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from modelkeep._channel import stream_seconds
from modelkeep._direct import CONNECTIONS, StoreFailed
from modelkeep._retry import Retry
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.digest import Digest
from modelkeep.errors import ChunkCorrupt, ChunkNotFound, ModelkeepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modelkeep._channel import Connection
    from modelkeep.names import TeamName

BATCH_SECONDS: Final = 300.0
"""How long a batch may fail before the download does."""
CORRUPT_TIMES: Final = 2
"""How often wrong bytes are asked for again: they may have been damaged on their way."""


class Range(NamedTuple):
    """Some bytes of a chunk."""

    sha256: bytes
    offset: int
    length: int


class Sink(Protocol):
    """Where bytes of a file go."""

    def write(self, data: bytes, offset: int) -> None:
        """Write bytes at their place in the file."""

    def done(self, offset: int, length: int, *, checked: bool) -> None:
        """The bytes there are complete; `checked` when the digest of their chunk says so."""


class Want(NamedTuple):
    """Some bytes of a chunk that are some bytes of a file."""

    range: Range
    sink: Sink
    at: int
    """Where in the file."""


class Fetcher:
    """Fetches batches of ranges. Use it as a context manager: it has threads."""

    def __init__(self, connection: Connection, team: TeamName, advance: Callable[[int], None]) -> None:
        self._connection = connection
        self._team = team
        self._advance = advance
        self._gets = ThreadPoolExecutor(CONNECTIONS, "modelkeep-get")
        self._stream_only = False
        self._get_worked = False
        self.stopped = False
        """Set to end all tries."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._gets.shutdown(cancel_futures=True)

    def fetch(self, wants: Iterable[Want]) -> None:
        """Fetch all, checked as far as chunks can be. Raises ChunkNotFound, ChunkCorrupt, and what calls raise."""
        open_wants: dict[Range, list[Want]] = {}
        for want in wants:
            open_wants.setdefault(want.range, []).append(want)
        retry, corrupt = Retry(BATCH_SECONDS), 0
        while open_wants and not self.stopped:
            error = self._try(open_wants)
            if isinstance(error, ChunkCorrupt) and corrupt < CORRUPT_TIMES:
                corrupt += 1
            elif error is not None:
                retry.pause(error)

    def _try(self, wants: dict[Range, list[Want]]) -> ModelkeepError | None:
        """Ask and fetch once; takes out what it got, and answers why something is left."""
        digests = list(dict.fromkeys(piece.sha256 for piece in wants))
        request = pb.PrepareDownloadRequest(parent=str(self._team), stream_only=self._stream_only)
        for sha256 in digests:
            request.digests.add().sha256 = sha256
        answer = self._connection.blob.PrepareDownload(request)
        plans = dict(zip(digests, answer.plans, strict=True))
        streams: list[Range] = []
        urls: list[tuple[Range, str]] = []
        for piece in wants:
            plan = plans[piece.sha256]
            match plan.WhichOneof("source"):
                case "url":
                    urls.append((piece, plan.url.url))
                case "stream":
                    streams.append(piece)
                case _:
                    raise _lost(piece)
        sizes = {sha256: plan.size_bytes for sha256, plan in plans.items()}
        error = self._get(urls, sizes, wants) if urls else None
        return (self._read(streams, sizes, wants) if streams else None) or error

    def _get(
        self, urls: list[tuple[Range, str]], sizes: dict[bytes, int], wants: dict[Range, list[Want]]
    ) -> ModelkeepError | None:
        """Get ranges from their URLs, many at once."""
        futures = [self._gets.submit(self._get_one, piece, url, sizes[piece.sha256], wants[piece]) for piece, url in urls]
        got, failure, corrupt = 0, None, None
        try:
            for (piece, _), future in zip(urls, futures, strict=True):
                try:
                    future.result()
                except StoreFailed as failed:
                    failure = failed
                except ChunkCorrupt as error:
                    corrupt = error
                else:
                    got += 1
                    del wants[piece]
        finally:
            # Nobody may still be writing to a file when what failed here closes it: its descriptor may be another file's soon.
            for future in futures:
                future.cancel()
            wait(futures)
        self._get_worked = self._get_worked or got > 0
        if failure is not None and not got:
            # Not one came. If none ever did, or another round brings none either, the server gives the bytes.
            self._stream_only = self._stream_only or not failure.reached or not self._get_worked
            self._get_worked = False
        return corrupt or (failure.as_error() if failure else None)

    def _get_one(self, piece: Range, url: str, size: int, wants: list[Want]) -> None:
        whole = piece.offset == 0 and piece.length == size
        data = self._connection.direct.get(url, piece.offset, piece.length, whole=whole)
        if whole and hashlib.sha256(data).digest() != piece.sha256:
            raise _corrupt(piece, "its bytes have another digest")
        for want in wants:
            want.sink.write(data, want.at)
            self._complete(want, checked=whole)

    def _read(self, pieces: list[Range], sizes: dict[bytes, int], wants: dict[Range, list[Want]]) -> ModelkeepError | None:
        """Read ranges through the server, in one stream."""
        request = pb.ReadRequest(parent=str(self._team))
        for piece in pieces:
            wanted = request.ranges.add(offset=piece.offset, length=piece.length)
            wanted.digest.sha256 = piece.sha256
        reading = iter(self._connection.blob.Read(request, timeout=stream_seconds(sum(piece.length for piece in pieces))))
        try:
            position, count, hasher = 0, 0, hashlib.sha256()
            for message in reading:
                if message.range_index != count or count >= len(pieces):
                    return _corrupt(pieces[min(count, len(pieces) - 1)], "the stream is out of order")
                piece, data = pieces[count], message.data
                if position + len(data) > piece.length:
                    return _corrupt(piece, "there are more bytes than it has")
                for want in wants[piece]:
                    want.sink.write(data, want.at + position)
                hasher.update(data)
                position += len(data)
                if position == piece.length:
                    whole = piece.offset == 0 and piece.length == sizes[piece.sha256]
                    if whole and hasher.digest() != piece.sha256:
                        return _corrupt(piece, "its bytes have another digest")
                    for want in wants.pop(piece):
                        self._complete(want, checked=whole)
                    position, count, hasher = 0, count + 1, hashlib.sha256()
        except ModelkeepError as error:
            return error
        return _corrupt(pieces[count], "the stream ended early") if count < len(pieces) else None

    def _complete(self, want: Want, *, checked: bool) -> None:
        want.sink.done(want.at, want.range.length, checked=checked)
        self._advance(want.range.length)


def _corrupt(piece: Range, why: str) -> ChunkCorrupt:
    digest = str(Digest(piece.sha256))
    return ChunkCorrupt(f"the chunk {digest} did not arrive as it was stored: {why}", digest=digest)


def _lost(piece: Range) -> ChunkNotFound:
    digest = str(Digest(piece.sha256))
    return ChunkNotFound(
        f"the server has no chunk {digest} any more; ask its operator to run `modelkeep-server fsck`", digest=digest
    )
