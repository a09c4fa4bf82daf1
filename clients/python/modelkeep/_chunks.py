"""Reading files: one read of each, its digest and those of its chunks computed in threads meanwhile.

What comes out are items: some chunks of a file, a pack of small files, or a file that the stat cache knows. The bytes of a
large file do not stay in memory: who sends a chunk takes them from the file again, a moment later, and its digest is enforced
where it arrives. A file that changes while it is read is refused.
"""

from __future__ import annotations

import hashlib
import os
import queue
from array import array
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, count, islice, pairwise, repeat
from typing import TYPE_CHECKING, Final, Self

from modelkeep._cut import ByContent, ByLayout, Uncut
from modelkeep._packs import Packer
from modelkeep._pieces import Cuts, FileRead, Known, Packed, changed, open_source, read_fully, status_of
from modelkeep._safetensors_cut import layout_of
from modelkeep._walk import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future

    from modelkeep._artifact import Source
    from modelkeep._cut import Rules, Scissors
    from modelkeep._packs import Pack
    from modelkeep._pieces import Item
    from modelkeep._stat_cache import StatCache

HASH_THREADS: Final = 2
WINDOWS: Final = 4
"""Windows of files in memory at once: one is being filled, the others are being hashed."""
GROUP: Final = 256
"""Files that the stat cache is asked for at once."""
EMPTY_SHA256: Final = hashlib.sha256().digest()


class Windows:
    """Buffers that are used again and again. Whoever wants one more waits for another to come back."""

    def __init__(self, size_bytes: int, most: int = WINDOWS) -> None:
        self._size_bytes = size_bytes
        self._left = most
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()

    def take(self) -> bytearray:
        """A buffer, with whatever is in it."""
        if self._left and self._free.empty():
            self._left -= 1
            return bytearray(self._size_bytes)
        return self._free.get()

    def give(self, buffer: bytearray) -> None:
        """It is not needed any more."""
        self._free.put(buffer)


class Reader:
    """Reads files one after the other. Use it as a context manager: it has threads."""

    def __init__(self, rules: Rules, cache: StatCache | None = None) -> None:
        self._rules = rules
        self._cache = cache
        self._windows = Windows(rules.window_bytes)
        self._packer = Packer(rules.pack_bytes)
        self._chunk_threads = ThreadPoolExecutor(HASH_THREADS, "modelkeep-chunks")
        # One thread, so that the windows of a file are hashed in their order.
        self._file_thread = ThreadPoolExecutor(1, "modelkeep-files")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._chunk_threads.shutdown(cancel_futures=True)
        self._file_thread.shutdown(cancel_futures=True)

    def read(self, sources: Iterable[Source], stamps: array[int] | None = None) -> Generator[Item]:
        """What the files are made of; in the order of the files, but that a small file comes with its pack.

        `stamps`, from `stamps_of`, says what the files must still be. Raises FileUnreadable, FileChanged.
        """
        expected: Iterable[int | None] = stamps if stamps is not None else repeat(None)
        coming = iter(zip(sources, expected, strict=False))
        while group := list(islice(coming, GROUP)):
            found = [status_of(source) for source, _ in group] if self._cache else [None] * len(group)
            known = self._cache.find(found) if self._cache else repeat(None)
            for (source, stamp), status, row in zip(group, found, known, strict=False):
                if row is None or status is None:
                    yield from self._read(source, stamp)
                    continue
                _check_stamp(source, status, stamp)
                yield from self._known(FileRead(source, status, cached=True), row.sha256, row.segments)
        for pack in self._packer.finish():
            yield self._packed(pack)

    def _known(self, file: FileRead, sha256: bytes, segments: bytes) -> Iterator[Item]:
        file.sha256 = sha256
        if file.size_bytes > self._rules.member_bytes:
            file.segments += segments
            yield Known(file)
        else:
            for pack in self._packer.add(file, sha256, None):
                yield self._packed(pack)

    def _read(self, source: Source, stamp: int | None) -> Iterator[Item]:
        descriptor, before = open_source(source)
        try:
            _check_stamp(source, before, stamp)
            file = FileRead(source, before)
            if file.size_bytes > self._rules.member_bytes:
                yield from self._cut(file, descriptor)
                return
            data = os.read(descriptor, file.size_bytes + 1)
            if len(data) < file.size_bytes:
                data += read_fully(descriptor, file.size_bytes + 1 - len(data))
            if len(data) != file.size_bytes or not file.is_still(os.fstat(descriptor)):
                raise changed(source)
        except OSError as error:  # a disk that fails
            raise unreadable(source.path, error) from None
        finally:
            os.close(descriptor)
        sha256 = file.sha256 = hashlib.sha256(data).digest()
        for pack in self._packer.add(file, sha256, data):
            yield self._packed(pack)

    def _packed(self, pack: Pack) -> Packed:
        if len(pack.parts) < 2:
            return Packed(pack, next(iter(pack.offsets), EMPTY_SHA256))
        if None in pack.data:
            sha256 = self._cache.pack(pack.key) if self._cache else None
            if sha256 is not None:
                pack.data.clear()  # nobody may want it
                return Packed(pack, sha256)
        data = pack.read()
        pack.data[:] = data
        return Packed(pack, self._chunk_threads.submit(_sha256_of, data), self._cache)

    def _cut(self, file: FileRead, descriptor: int) -> Iterator[Item]:
        """The chunks of a larger file, a window at a time."""
        scissors = self._scissors(file, descriptor)
        hasher, offset, tail = None, 0, b""
        item: Cuts | None = None
        while offset < file.size_bytes:
            if item is not None:
                yield item
            buffer = self._windows.take()
            lengths, filled = self._fill(file, descriptor, memoryview(buffer), (offset, tail), scissors)
            used = sum(lengths)
            tail = bytes(memoryview(buffer)[used:filled])
            if offset or used < file.size_bytes or len(lengths) > 1:
                hasher = hasher or hashlib.sha256()
            digests = self._hash(buffer, lengths, hasher.update if hasher else None)
            item = Cuts(file, offset, lengths, digests)
            offset += used
        if os.read(descriptor, 1) or not file.is_still(status_of(file.source)):
            raise changed(file.source)
        if item is not None:
            item.last = True
            file.whole = self._file_thread.submit(hasher.digest) if hasher else None
            yield item

    def _fill(
        self, file: FileRead, descriptor: int, window: memoryview, left: tuple[int, bytes], scissors: Scissors
    ) -> tuple[list[int], int]:
        """Fill a window, after what was left over of the last one; where to cut it, and how much is in it."""
        offset, tail = left
        window[: len(tail)] = tail
        filled = min(len(window), file.size_bytes - offset)
        if _read_into(descriptor, window[len(tail) : filled]) < filled - len(tail):
            raise changed(file.source)
        return scissors.lengths(window[:filled], last=offset + filled == file.size_bytes), filled

    def _scissors(self, file: FileRead, descriptor: int) -> Scissors:
        if file.size_bytes <= self._rules.whole_bytes:
            return Uncut()
        layout = layout_of(lambda length: os.pread(descriptor, length, 0), file.size_bytes, self._rules.block_bytes)
        return ByContent(self._rules) if layout is None else ByLayout(iter(layout))

    def _hash(self, buffer: bytearray, lengths: list[int], update: Callable[[memoryview], None] | None) -> Future[bytes]:
        """Hash a window in threads, chunk by chunk and as part of its file; then it may be used again."""
        window = memoryview(buffer)[: sum(lengths)]
        ended, tasks = count(1), 1 if update is None else 2

        def give_back(_: object) -> None:
            if next(ended) == tasks:
                self._windows.give(buffer)

        digests = self._chunk_threads.submit(_digests, window, lengths)
        digests.add_done_callback(give_back)
        if update is not None:
            self._file_thread.submit(update, window).add_done_callback(give_back)
        return digests


def stamps_of(sources: Iterable[Source]) -> array[int]:
    """What tells whether files were written to since: a number for each. Raises FileUnreadable."""
    return array("Q", (_stamp(status_of(source)) for source in sources))


def _check_stamp(source: Source, found: os.stat_result, expected: int | None) -> None:
    if expected is not None and _stamp(found) != expected:
        raise changed(source)


def _stamp(found: os.stat_result) -> int:
    # Without ctime: a link or a mode that changed between the call and the read is no other content.
    return hash((found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)) & 0xFFFF_FFFF_FFFF_FFFF


def _read_into(descriptor: int, view: memoryview) -> int:
    """Fill a buffer; how many bytes there were, fewer only at the end of the file."""
    done = 0
    while done < len(view):
        got = os.readv(descriptor, [view[done:]])
        if not got:
            break
        done += got
    return done


def _digests(window: memoryview, lengths: list[int]) -> bytes:
    """The SHA-256 of each chunk, one after the other."""
    ends = accumulate(lengths, initial=0)
    return b"".join(hashlib.sha256(window[begin:end]).digest() for begin, end in pairwise(ends))


def _sha256_of(parts: list[bytes]) -> bytes:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return hasher.digest()
