"""The list of the files of a version: checked once when it comes, and kept in the cache, so that it need not come again.

It is a file of messages as the server streams them, each with its length before it; then what is known of all of them; and,
in the cache, a seal. A message has thousands of entries, so that reading the list costs little for each.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import tempfile
from bisect import bisect_left
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from modelkeep._cache import SEAL_BYTES, is_sealed, sealed_hasher
from modelkeep._entries import EntryCheck
from modelkeep._intake import Intake
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import DigestMismatch, DiskFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelkeep._cache import Cache
    from modelkeep.api.metadata.v1 import entry_pb2

_LENGTH: Final = struct.Struct(">I")
_IN_MEMORY_BYTES: Final = 1 << 20


class Listing:
    """The entries of a version, or of a part of it, sorted by path. Close it after use."""

    def __init__(self, file: int | bytes, head: dict[str, Any], prefix: str = "") -> None:
        """Use `Listing.of` or `Listing.cached`."""
        self._file = file
        self._index: list[tuple[int, str]] = [(offset, path) for offset, path in head["index"]]
        self._end: int = head["end"]
        self._prefix = prefix
        self.entry_count: int = head["entry_count"]
        self.file_bytes: int = head["file_bytes"]

    @classmethod
    def of(cls, responses: Iterable[pb.StreamEntriesResponse], check: EntryCheck | None = None) -> Self:
        """Take a stream in, each entry checked. Raises InvalidPath, InvalidEntry, InvalidReference, DiskFull."""
        with _Writing() as writing:
            for response in responses:
                if check is not None:
                    for message in response.entries:
                        check.add(message)
                writing.add(response)
            return cls(*writing.finish())

    @classmethod
    def cached(cls, cache: Cache, name: str, prefix: str = "") -> Self | None:
        """What the cache has of a version, or of the part of it at or under `prefix`; None when it has nothing good."""
        descriptor = cache.open("manifests", name)
        if descriptor is None:
            return None
        try:
            good = is_sealed(name, descriptor)
            end = os.fstat(descriptor).st_size - SEAL_BYTES - _LENGTH.size
            if good:
                (length,) = _LENGTH.unpack(os.pread(descriptor, _LENGTH.size, end))
                head = json.loads(os.pread(descriptor, length, end - length))
        except OSError:
            good = False
        if not good:
            os.close(descriptor)
            cache.drop("manifests", name)
            return None
        listing = cls(descriptor, head, prefix)
        if prefix:
            listing._count()
        return listing

    def keep(self, cache: Cache, name: str) -> None:
        """Give it to the cache, where there is room for it."""
        hasher = sealed_hasher(name)
        with suppress(OSError), Intake(cache) as intake, tempfile.TemporaryFile(prefix="modelkeep-", buffering=0) as sealed:
            for part in (*self._raw(), self._tail()):
                hasher.update(part)
                sealed.write(part)
            sealed.write(hasher.digest())
            intake.add_file("manifests", name, sealed.fileno(), sealed.tell())

    def __iter__(self) -> Iterator[entry_pb2.Entry]:
        """The messages of the entries, from the beginning. Several may read at once."""
        if not self._prefix:
            for response in self._responses(0):
                yield from response.entries
            return
        first, under = self._prefix.encode(), f"{self._prefix}/"
        begin = bisect_left([path.encode() for _, path in self._index], first) - 1  # an entry may take several messages
        for response in self._responses(self._index[max(begin, 0)][0] if self._index else 0):
            for message in response.entries:
                path = message.path
                if path == self._prefix or path.startswith(under):
                    yield message
                elif path.encode() > under.encode():
                    return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give it up."""
        file, self._file = self._file, b""
        self._end = 0
        if isinstance(file, int):
            os.close(file)

    def _count(self) -> None:
        heads = [message.size_bytes for message in self if message.HasField("digest")]
        self.entry_count, self.file_bytes = len(heads), sum(max(size, 0) for size in heads)

    def _responses(self, position: int) -> Iterator[pb.StreamEntriesResponse]:
        while position < self._end:
            (length,) = _LENGTH.unpack(self._read(position, _LENGTH.size))
            position += _LENGTH.size
            yield pb.StreamEntriesResponse.FromString(self._read(position, length))
            position += length

    def _raw(self) -> Iterator[bytes]:
        for position in range(0, self._end, _IN_MEMORY_BYTES):
            yield self._read(position, min(_IN_MEMORY_BYTES, self._end - position))

    def _tail(self) -> bytes:
        head = {"index": self._index, "end": self._end, "entry_count": self.entry_count, "file_bytes": self.file_bytes}
        text = json.dumps(head, separators=(",", ":")).encode()
        return text + _LENGTH.pack(len(text))

    def _read(self, position: int, length: int) -> bytes:
        if isinstance(self._file, bytes):
            return self._file[position : position + length]
        return os.pread(self._file, length, position)


class _Writing:
    """A list that is being taken in: in memory while it is short, else in a temporary file."""

    def __init__(self) -> None:
        self._short = bytearray()
        self._long: int | None = None
        self._index: list[tuple[int, str]] = []
        self._end = self._entry_count = self._file_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._long is not None:
            os.close(self._long)

    def add(self, response: pb.StreamEntriesResponse) -> None:
        """Take a message in. Raises DiskFull."""
        if not response.entries:
            return
        self._index.append((self._end, response.entries[0].path))
        for message in response.entries:
            if message.HasField("digest"):
                self._entry_count += 1
                self._file_bytes += max(message.size_bytes, 0)
        data = response.SerializeToString()
        self._short += _LENGTH.pack(len(data)) + data
        self._end += _LENGTH.size + len(data)
        if self._end > _IN_MEMORY_BYTES:
            self._flush()

    def finish(self) -> tuple[int | bytes, dict[str, Any]]:
        """What it is now, and what is known of it. Raises DiskFull."""
        head = {"index": self._index, "end": self._end, "entry_count": self._entry_count, "file_bytes": self._file_bytes}
        if self._long is None:
            return bytes(self._short), head
        self._flush()
        file, self._long = self._long, None
        return file, head

    def _flush(self) -> None:
        folder = tempfile.gettempdir()
        try:
            if self._long is None:
                with tempfile.TemporaryFile(prefix="modelkeep-", buffering=0) as file:
                    self._long = os.dup(file.fileno())
            while self._short:
                del self._short[: os.write(self._long, self._short)]
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise DiskFull(f"the disk of {folder} is full; the list of files did not fit", path=folder) from None


def compare(check: EntryCheck, expected: str, name: str) -> None:
    """Raise DigestMismatch unless the entries that were checked are those that a version digest stands for."""
    found = str(check.finish())
    if expected and found != expected:
        message = f"the files of {name} are not those that its digest {expected} stands for"
        raise DigestMismatch(message, version=name, expected=expected, found=found)
