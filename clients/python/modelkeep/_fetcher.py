"""Fetching chunks: ask where they are, get them from the store or through the server, and hand them to who wants them."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, Self

from modelkeep._channel import stream_seconds
from modelkeep._direct import StoreFailed
from modelkeep._direct_get import Gets
from modelkeep._pace import MOST, Pace
from modelkeep._retry import Retry, may_help
from modelkeep._wire import unknown_plan
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.digest import Digest
from modelkeep.errors import ChunkCorrupt, ChunkNotFound, ModelkeepError, ServiceUnavailable, rebuild

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelkeep._channel import Connection
    from modelkeep._direct import Round
    from modelkeep.names import TeamName

BATCH_SECONDS: Final = 300.0
"""How long a batch may get nothing before the download fails."""
CORRUPT_TIMES: Final = 2
"""How often wrong bytes are asked for again: they may have been damaged on their way."""
BUSY_SECONDS: Final = 5.0
"""How long one chunk is asked for again at the same URL."""
GIVE_UP_TIMES: Final = 3
"""After so many rounds in which the store gave nothing, the server gives the bytes."""


class Want(Protocol):
    """A chunk of which some bytes are wanted, or all."""

    @property
    def sha256(self) -> bytes:
        """Its digest."""

    def ranges(self, size_bytes: int) -> list[tuple[int, int]]:
        """What to fetch of a chunk of this size: offsets and lengths."""

    def take(self, data: memoryview, offset: int, *, whole: bool) -> None:
        """Some bytes of the chunk, or the `whole` of it; they are gone afterwards.

        Raises ChunkCorrupt to get them again, and what ends the download.
        """


class _FromStoreError(ServiceUnavailable):
    """The store failed, not the server."""

    def __init__(self, failed: StoreFailed) -> None:
        super().__init__(str(failed))
        self.failed = failed


class Fetcher:
    """Fetches batches of chunks. Use it as a context manager: it has threads."""

    def __init__(self, connection: Connection, team: TeamName) -> None:
        self._connection = connection
        self._team = team
        self._threads: ThreadPoolExecutor | None = None
        self._free: list[memoryview] = []
        self._gets = Gets(connection.config)
        self._pace = Pace()
        self._stream_only = False
        self._slowing = threading.Lock()
        self._slowed = 0
        self.stopped = False
        """Set to end all tries."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and whatever is under way."""
        self.stopped = True
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._gets.close()

    def fetch(self, wants: Iterable[Want]) -> None:
        """Fetch all. Raises ChunkNotFound, ChunkCorrupt, Unimplemented, what the wants raise, and what calls raise."""
        left, corrupt, empty = dict.fromkeys(wants), 0, 0
        retry = Retry(BATCH_SECONDS)
        while left and not self.stopped:
            before = len(left)
            error = self._try(left)
            if len(left) < before:
                retry, empty = Retry(BATCH_SECONDS), 0  # a store that has much to do gives little at a time
            if isinstance(error, ChunkCorrupt) and corrupt < CORRUPT_TIMES:
                corrupt += 1
            elif isinstance(error, _FromStoreError):
                if len(left) == before:
                    # Who cannot be reached is gone around at once; who gives nothing in some rounds, then.
                    empty += 1
                    self._stream_only = self._stream_only or not error.failed.reached or empty >= GIVE_UP_TIMES
                retry.pause(error.failed.as_error())
            elif error is not None:
                retry.pause(error)

    def _try(self, wants: dict[Want, None]) -> ModelkeepError | None:
        """Ask and fetch once; takes out what it got, and answers why something is left."""
        plans = self._plans(list(dict.fromkeys(want.sha256 for want in wants)))
        streams: dict[Want, int] = {}
        urls: dict[Want, tuple[str, int]] = {}
        for want in wants:
            plan = plans[want.sha256]
            match plan.WhichOneof("source"):
                case "url":
                    urls[want] = plan.url.url, plan.size_bytes
                case "stream":
                    streams[want] = plan.size_bytes
                case "missing":
                    raise lost(want.sha256)
                case _:
                    raise unknown_plan("download a chunk")
        error = self._get(urls, wants) if urls else None
        return (self._read(streams, wants) if streams else None) or error

    def _plans(self, digests: list[bytes]) -> dict[bytes, pb.DownloadPlan]:
        """Where each chunk is."""
        plans: dict[bytes, pb.DownloadPlan] = {}
        most = self._connection.limits().max_batch_chunks
        for begin in range(0, len(digests), most):
            request = pb.PrepareDownloadRequest(parent=str(self._team), stream_only=self._stream_only)
            for sha256 in digests[begin : begin + most]:
                request.digests.add().sha256 = sha256
            answer = self._connection.blob.PrepareDownload(request)
            plans.update(zip(digests[begin : begin + most], answer.plans, strict=True))
        return plans

    def _get(self, urls: dict[Want, tuple[str, int]], wants: dict[Want, None]) -> ModelkeepError | None:
        """Get chunks from their URLs, many at once."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MOST, "modelkeep-get")
        this = self._gets.round()
        futures = [self._threads.submit(self._get_one, want, *where, this) for want, where in urls.items()]
        failure: _FromStoreError | None = None
        corrupt: ChunkCorrupt | None = None
        try:
            for want, future in zip(urls, futures, strict=True):
                try:
                    future.result()
                except StoreFailed as failed:
                    failure = _FromStoreError(failed)
                except ChunkCorrupt as error:
                    corrupt = error
                else:
                    del wants[want]
        finally:
            # Nobody may still be writing to a file when what failed here closes it: its descriptor may be another file's soon.
            for future in futures:
                future.cancel()
            wait(futures)
        return corrupt or failure

    def _get_one(self, want: Want, url: str, size_bytes: int, this: Round) -> None:
        for offset, length in want.ranges(size_bytes):
            whole = length == size_bytes
            with self._got(url, offset, length, this, whole=whole) as data:
                want.take(data, offset, whole=whole)

    @contextmanager
    def _got(self, url: str, offset: int, length: int, this: Round, *, whole: bool) -> Iterator[memoryview]:
        """Some bytes from a URL; a store that has too much to do is asked again later, by fewer at once."""
        retry = Retry(BUSY_SECONDS)
        while True:
            if self.stopped:
                raise StoreFailed("nobody waits for it any more")
            slowed, into = self._slowed, memoryview(b"")
            try:
                with self._pace.one(length):
                    this.check()
                    into = self._buffer(length)
                    self._gets.get(url, offset, into[:length], whole=whole)
                break
            except StoreFailed as failed:
                self._free.append(into)
                this.failed(failed)
                if not failed.busy:
                    raise
                with self._slowing:
                    if slowed == self._slowed:  # those that were under way at the same time say the same thing
                        self._pace.slow_down()
                        self._slowed += 1
                try:
                    retry.pause(failed.as_error())
                except ModelkeepError:
                    raise failed from None
        try:
            yield into[:length]
        finally:
            self._free.append(into)

    def _buffer(self, length: int) -> memoryview:
        """Memory for as many bytes, or more: that of earlier ones, which were taken."""
        try:
            buffer = self._free.pop()
        except IndexError:
            buffer = memoryview(b"")
        return buffer if len(buffer) >= length else memoryview(bytearray(length))

    def _read(self, sizes: dict[Want, int], wants: dict[Want, None]) -> ModelkeepError | None:
        """Read chunks through the server, as many ranges in a stream as it allows."""
        pieces = [(want, *piece) for want, size in sizes.items() for piece in want.ranges(size)]
        missing = Counter(want for want, _, _ in pieces)
        most = self._connection.limits().max_batch_chunks
        try:
            for begin in range(0, len(pieces), most):
                for (want, offset, length), data in self._stream(pieces[begin : begin + most]):
                    want.take(data, offset, whole=length == sizes[want])
                    missing[want] -= 1
                    if not missing[want]:
                        del wants[want]
        except ModelkeepError as error:
            if isinstance(error, ChunkCorrupt) or may_help(error):
                return error
            raise
        return None

    def _stream(self, pieces: list[tuple[Want, int, int]]) -> Iterator[tuple[tuple[Want, int, int], memoryview]]:
        """The pieces, each as soon as it is whole. Raises ChunkCorrupt when what comes is not what was asked for."""
        request = pb.ReadRequest(parent=str(self._team))
        for want, offset, length in pieces:
            wanted = request.ranges.add(offset=offset, length=length)
            wanted.digest.sha256 = want.sha256
        into = memoryview(bytearray(max(length for _, _, length in pieces)))
        seconds = stream_seconds(sum(length for _, _, length in pieces))
        position = count = 0
        for message in self._connection.blob.Read(request, timeout=seconds):
            if message.range_index != count or count >= len(pieces):
                raise corrupt_chunk(pieces[min(count, len(pieces) - 1)][0].sha256, "the stream is out of order")
            data, length = message.data, pieces[count][2]
            if position + len(data) > length:
                raise corrupt_chunk(pieces[count][0].sha256, "there are more bytes than it has")
            if len(data) == length:
                yield pieces[count], memoryview(data)
            else:
                into[position : position + len(data)] = data
                position += len(data)
                if position < length:
                    continue
                yield pieces[count], into[:length]
            position, count = 0, count + 1
        if count < len(pieces):
            raise corrupt_chunk(pieces[count][0].sha256, "the stream ended early")


def corrupt_chunk(sha256: bytes, why: str) -> ChunkCorrupt:
    """A chunk that came, and not as it should."""
    digest = str(Digest(sha256))
    return ChunkCorrupt(f"the chunk {digest} did not arrive as it was stored: {why}", digest=digest)


def of_file(error: ModelkeepError, path: str, what: str) -> ModelkeepError:
    """An error about a chunk, told of a file that it is part of; `what` cannot be done, such as "read"."""
    message = f"{path!r} cannot be {what}: {error.message}"
    return rebuild(error.code, error.reason, message, error.metadata | {"path": path}, error.request_id)


def lost(sha256: bytes) -> ChunkNotFound:
    """A chunk that the server does not have."""
    digest = str(Digest(sha256))
    return ChunkNotFound(
        f"the server has no chunk {digest} any more; ask its operator to run `modelkeep-server fsck`", digest=digest
    )


def whole_or_parts(wanted: list[tuple[int, int]], size_bytes: int, *, check: bool) -> list[tuple[int, int]]:
    """What to fetch of a chunk: all of it when it must be checked, or most of it is wanted; else just what is wanted."""
    if check or 2 * sum(length for _, length in wanted) > size_bytes:
        return [(0, size_bytes)]
    merged: list[tuple[int, int]] = []
    for offset, length in sorted(wanted):
        if merged and offset <= sum(merged[-1]):
            begin = merged[-1][0]
            merged[-1] = begin, max(sum(merged[-1]), offset + length) - begin
        else:
            merged.append((offset, length))
    return merged
