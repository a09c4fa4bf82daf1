"""The content of one file of a version, where it is kept: which bytes of which chunks, and whole chunks of it, proven."""

from __future__ import annotations

import hashlib
import os
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from modelkeep._cached import MOST_PACK_BYTES
from modelkeep._entries import entry_of
from modelkeep._fetcher import Fetcher, of_file
from modelkeep._pack import Block, Use
from modelkeep.errors import ChunkCorrupt, ChunkNotFound, DigestMismatch, EntryNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from modelkeep._cache import Cache
    from modelkeep._channel import Connection
    from modelkeep._pack import Sink
    from modelkeep.api.metadata.v1 import entry_pb2
    from modelkeep.manifest import Entry
    from modelkeep.names import TeamName

SMALL_BYTES: Final = 1 << 20
"""A file up to this size is read as a whole, and proven by its own digest: it may lie in a chunk with many others."""
AHEAD: Final = 8
"""Chunks that are fetched ahead of who reads one after the other."""
KEPT: Final = 2 * AHEAD
"""Chunks that stay in memory."""


class Layout:
    """Where the bytes of one file are."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.size_bytes = entry.size_bytes or 0
        self._chunks = bytearray()
        self._at = array("Q")
        self._offsets = array("Q")
        self._lengths = array("Q")

    @classmethod
    def of(cls, entries: Iterable[entry_pb2.Entry], path: str, name: str) -> Self:
        """The layout of the file `path` among the entries of a version. Raises EntryNotFound."""
        layout: Self | None = None
        for message in entries:
            if message.path == path:
                layout = layout or cls(entry_of(message))
                layout.add(message.segments)
            elif layout is not None:
                break
        if layout is None:
            raise EntryNotFound(f"{name} has no file {path!r}", path=path, version=name)
        if layout.entry.reference is not None:
            message_ = f"{path!r} of {name} is a reference to {layout.entry.reference.uri}: its content is not kept here"
            raise EntryNotFound(message_, path=path, version=name)
        return layout

    def add(self, segments: Iterable[entry_pb2.Segment]) -> None:
        """The next segments."""
        for segment in segments:
            self._at.append(self._at[-1] + self._lengths[-1] if self._at else 0)
            self._chunks += segment.chunk.sha256
            self._offsets.append(segment.offset)
            self._lengths.append(segment.length)

    def __len__(self) -> int:
        return len(self._at)

    def number_at(self, position: int) -> int:
        """The number of the segment that has the byte at a position."""
        return bisect_right(self._at, position) - 1

    def place(self, number: int) -> tuple[bytes, int, int]:
        """A segment: its chunk, where in the file it begins, and how long it is."""
        return bytes(self._chunks[32 * number : 32 * number + 32]), self._at[number], self._lengths[number]

    def block(self, number: int, sink: Sink, *, check: bool) -> Block:
        """What fetches a segment into a sink."""
        sha256, at, length = self.place(number)
        block = Block(sha256, check=check)
        block.uses.append(Use(sink, at, self._offsets[number], length))
        return block


class Content:
    """Reads one file, chunk by chunk. For many threads. Close it after use."""

    def __init__(self, connection: Connection, team: TeamName, layout: Layout, cache: Cache | None) -> None:
        self.layout = layout
        self._connection = connection
        self._team = team
        self._cache = cache
        self._file = cache.open("objects", layout.entry.digest.hex) if cache is not None else None
        self._is_damaged = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Have threads and connections of one's own, as a forked child needs: a data loader reads what its parent opened."""
        self._process = os.getpid()
        self._fetcher = Fetcher(self._connection, self._team)
        self._threads = ThreadPoolExecutor(2, "modelkeep-read")
        self._lock = threading.Lock()
        self._ready: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._ahead = 1
        self._last = -1
        self._whole: bytes | None = None

    @property
    def is_small(self) -> bool:
        """Whether it is read, and proven, as a whole."""
        return self.layout.size_bytes <= SMALL_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is under way."""
        if self._process == os.getpid():
            self._fetcher.stopped = True
            self._threads.shutdown(cancel_futures=True)
            self._fetcher.close()
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def read(self, position: int, into: memoryview) -> int:
        """Bytes from a position on, proven: as many as one segment has. Raises ChunkCorrupt, DigestMismatch, …"""
        layout = self.layout
        if position >= layout.size_bytes or not into:
            return 0
        if self._process != os.getpid():
            self._begin_anew()
        if self.is_small:
            data, begin = self.whole(), position
        else:
            number = layout.number_at(position)
            data, begin = self._segment(number), position - layout.place(number)[1]
        count = min(len(data) - begin, len(into))
        into[:count] = data[begin : begin + count]
        return count

    def whole(self) -> bytes:
        """All bytes of a small file, proven by its own digest. Raises ChunkCorrupt, DigestMismatch, …"""
        with self._lock:
            if self._whole is None:
                self._whole = self._load_whole()
            return self._whole

    def fetch(self, numbers: Iterable[int], sink: Sink) -> None:
        """Some segments, proven chunk by chunk, into a sink. Raises ChunkCorrupt, ChunkNotFound, …"""
        left = [number for number in numbers if not self._from_cache(number, sink)]
        if left:
            compared = sink if self._file is None else _Comparing(sink, self._file, self._drop)
            self._fetch([self.layout.block(number, compared, check=True) for number in left])

    def _fetch(self, blocks: Sequence[Block]) -> None:
        try:
            self._fetcher.fetch(blocks)
        except (ChunkCorrupt, ChunkNotFound) as error:
            raise of_file(error, self.layout.entry.path, "read") from None

    def _load_whole(self) -> bytes:
        entry = self.layout.entry
        for check in (None, False, True):
            memory = bytearray(self.layout.size_bytes)
            if check is None:
                if not self._whole_from_cache(memory):
                    continue
            else:
                blocks = [self.layout.block(number, _Memory(memory), check=check) for number in range(len(self.layout))]
                self._fetch(blocks)
            if hashlib.sha256(memory).digest() == entry.digest.sha256:
                return bytes(memory)
            if check is None:
                self._drop_damaged()
        message = f"{entry.path!r} is not what its digest {entry.digest} says; its version is damaged"
        raise DigestMismatch(message, path=entry.path, expected=str(entry.digest))

    def _whole_from_cache(self, memory: bytearray) -> bool:
        if self._file is not None:
            with suppress(OSError):
                if os.preadv(self._file, [memory], 0) == len(memory):
                    return True
            self._drop()
            return False
        for number in range(len(self.layout)):
            sha256, at, length = self.layout.place(number)
            data = self._cache.read("objects", sha256.hex(), MOST_PACK_BYTES) if self._cache is not None else None
            if data is None:
                return False
            offset = self.layout.block(number, _Memory(memory), check=False).uses[0].offset
            memory[at : at + length] = data[offset : offset + length].ljust(length, b"\0")
        return True

    def _drop_damaged(self) -> None:
        """Throw away what of the cache is not what its name says, so that the next download brings it again."""
        if self._file is not None:
            self._drop()
        elif self._cache is not None:
            for name in {self.layout.place(number)[0].hex() for number in range(len(self.layout))}:
                data = self._cache.read("objects", name, MOST_PACK_BYTES)
                if data is not None and hashlib.sha256(data).hexdigest() != name:
                    self._cache.drop("objects", name)

    def _drop(self) -> None:
        """Throw the file in the cache away; who has it open still takes from it what is right."""
        if self._cache is not None and not self._is_damaged:
            self._is_damaged = True
            self._cache.drop("objects", self.layout.entry.digest.hex)

    def _segment(self, number: int) -> bytes:
        with self._lock:
            follows = number in {self._last, self._last + 1}
            if number != self._last:
                self._ahead = min(2 * self._ahead, AHEAD) if follows else 1
            self._last = number
            wanted = range(number, min(number + self._ahead, len(self.layout)))
            for kept in self._ready.keys() & set(wanted):
                self._ready.move_to_end(kept)  # what makes room for the others is none of these
            self._begin([n for n in wanted if n not in self._ready])
            future = self._ready[number]
        try:
            return future.result()
        except BaseException:
            with self._lock:
                self._ready.pop(number, None)  # the next reader tries again
            raise

    def _begin(self, numbers: Sequence[int]) -> None:
        """Have segments fetched; the one that is wanted now by itself, so that it comes first."""
        for group in (numbers[:1], numbers[1:]):
            if group:
                futures: dict[int, Future[bytes]] = {number: Future() for number in group}
                self._ready.update(futures)
                self._threads.submit(self._deliver, futures)
        while len(self._ready) > KEPT:
            self._ready.popitem(last=False)

    def _deliver(self, futures: dict[int, Future[bytes]]) -> None:
        sink = _Waiting(self.layout, futures)
        try:
            self.fetch(futures, sink)
        except BaseException as error:  # noqa: BLE001 - who waits for it gets it
            for future in futures.values():
                if not future.done():
                    future.set_exception(error)

    def _from_cache(self, number: int, sink: Sink) -> bool:
        """Take a segment from the file in the cache, if it is a whole chunk there, and right."""
        if self._file is None:
            return False
        sha256, at, length = self.layout.place(number)
        data = b""
        with suppress(OSError):  # a disk that fails is no reason to fail: the server has it too
            data = os.pread(self._file, length, at)
        if hashlib.sha256(data).digest() != sha256:
            return False
        sink.put(memoryview(data), at, proven=True)
        return True


class _Memory:
    """Puts bytes where they belong in memory."""

    def __init__(self, memory: bytearray) -> None:
        self._memory = memory

    def put(self, data: memoryview, at: int, *, proven: bool) -> None:
        del proven
        self._memory[at : at + len(data)] = data


class _Comparing:
    """Puts proven bytes where they belong, and tells when the file in the cache has others there."""

    def __init__(self, sink: Sink, file: int, differs: Callable[[], None]) -> None:
        self._sink = sink
        self._file = file
        self._differs = differs

    def put(self, data: memoryview, at: int, *, proven: bool) -> None:
        self._sink.put(data, at, proven=proven)
        kept = b""
        with suppress(OSError):  # a disk that fails has nothing that is right
            kept = os.pread(self._file, len(data), at)
        if proven and kept != data:
            self._differs()


class _Waiting:
    """Gives segments to those who wait for them."""

    def __init__(self, layout: Layout, futures: dict[int, Future[bytes]]) -> None:
        self._layout = layout
        self._futures = futures

    def put(self, data: memoryview, at: int, *, proven: bool) -> None:
        assert proven
        self._futures[self._layout.number_at(at)].set_result(bytes(data))


def batches(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """The numbers, so many at a time."""
    return (numbers[begin : begin + size] for begin in range(0, len(numbers), size))
