"""Entries on their way: from files to messages, from messages to files, and a place on disk for those that wait.

A manifest may have a million entries and an entry a million segments, so nothing here holds more than one message.
"""

from __future__ import annotations

import errno
import struct
import tempfile
import threading
from typing import TYPE_CHECKING, Final, Self

from modelkeep._pieces import SEGMENT
from modelkeep.api.blob.v1 import digest_pb2
from modelkeep.api.metadata.v1 import entry_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.digest import Digest
from modelkeep.errors import DiskFull, InvalidEntry
from modelkeep.manifest import (
    ChangeTokenKind,
    CollisionCheck,
    Entry,
    ManifestHasher,
    Reference,
    parse_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEGMENTS_PER_MESSAGE: Final = 8192
"""Most segments in one message that we write: some 400 KiB."""
_LENGTH: Final = struct.Struct(">I")
_IN_MEMORY_BYTES: Final = 1 << 20
_BLOCK_BYTES: Final = 1 << 16
"""How much is written, and read, at once."""
_KINDS: Final = {
    entry_pb2.CHANGE_TOKEN_KIND_ETAG: ChangeTokenKind.ETAG,
    entry_pb2.CHANGE_TOKEN_KIND_GENERATION: ChangeTokenKind.GENERATION,
    entry_pb2.CHANGE_TOKEN_KIND_LAST_MODIFIED: ChangeTokenKind.LAST_MODIFIED,
}


class Spool:
    """Entry messages that wait, in the order they came: in memory while they are few, else in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, prefix="modelkeep-")  # noqa: SIM115 - closed by close()
        self._end = 0
        self._waiting = bytearray()
        self._moving = threading.Lock()
        self.entry_count = 0
        self.file_bytes = 0

    def add(self, message: entry_pb2.Entry) -> None:
        """Keep a message. Raises DiskFull."""
        data = message.SerializeToString()
        with self._moving:
            self._waiting += _LENGTH.pack(len(data))
            self._waiting += data
            if len(self._waiting) >= _BLOCK_BYTES:
                self._flush()
        if message.HasField("digest"):
            self.entry_count += 1
            self.file_bytes += max(message.size_bytes, 0)

    def __iter__(self) -> Iterator[entry_pb2.Entry]:
        """The messages, from the beginning. Raises DiskFull."""
        return self.between(0, None)

    @property
    def end(self) -> int:
        """Where the next message will stand."""
        with self._moving:
            return self._end + len(self._waiting)

    def between(self, position: int, last: int | None) -> Iterator[entry_pb2.Entry]:
        """The messages from one place on, up to another one or to the last. Raises DiskFull.

        Each iterator has a place of its own: when a stream breaks, gRPC may still be reading from the old one while the next
        try reads from another.
        """
        wanted = _BLOCK_BYTES
        while data := self._read(position, wanted if last is None else min(wanted, last - position)):
            begin, length = 0, 0
            while begin + _LENGTH.size <= len(data):
                (length,) = _LENGTH.unpack_from(data, begin)
                end = begin + _LENGTH.size + length
                if end > len(data):
                    break
                yield entry_pb2.Entry.FromString(data[begin + _LENGTH.size : end])
                begin = end
            position += begin
            wanted = _BLOCK_BYTES if begin else _LENGTH.size + length

    def _read(self, position: int, size_bytes: int) -> bytes:
        """Some of what is kept; nothing at the end, or when the spool was closed."""
        with self._moving:
            if self._file.closed:
                return b""
            self._flush()
            self._file.seek(position)
            return self._file.read(size_bytes)

    def _flush(self) -> None:
        if not self._waiting:
            return
        try:
            self._file.seek(self._end)
            self._file.write(self._waiting)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            folder = tempfile.gettempdir()
            raise DiskFull(f"the disk of {folder} is full; the list of files did not fit", path=folder) from None
        self._end += len(self._waiting)
        self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what was kept."""
        with self._moving:
            self._file.close()


class Portion:
    """Of the messages of a whole manifest, those of the entries at or under a prefix."""

    def __init__(self, entries: Iterable[entry_pb2.Entry], prefix: str) -> None:
        self._entries = entries
        self._prefix = prefix
        sizes = [max(message.size_bytes, 0) for message in self if message.HasField("digest")]
        self.entry_count = len(sizes)
        self.file_bytes = sum(sizes)

    def __iter__(self) -> Iterator[entry_pb2.Entry]:
        """The messages, from the beginning."""
        under = f"{self._prefix}/"
        return (message for message in self._entries if message.path == self._prefix or message.path.startswith(under))


def entry_messages(
    path: str, sha256: bytes, size_bytes: int, *, executable: bool, segments: bytes | bytearray, most_segments: int
) -> Iterator[entry_pb2.Entry]:
    """The messages of a file; `segments` holds those that make it up, in their stored form."""
    step = SEGMENT.size * min(most_segments, SEGMENTS_PER_MESSAGE)
    for begin in range(0, max(len(segments), 1), step):
        end = min(begin + step, len(segments))
        message = entry_pb2.Entry(path=path, continued=end < len(segments))
        if begin == 0:
            message.digest.sha256 = sha256
            message.size_bytes = size_bytes
            message.executable = executable
        for position in range(begin, end, SEGMENT.size):
            chunk, offset, length = SEGMENT.unpack_from(segments, position)
            segment = message.segments.add(offset=offset, length=length)
            segment.chunk.sha256 = chunk
        yield message


def requests(
    entries: Iterable[entry_pb2.Entry], draft: str, limits: pb.Capabilities, *, overwrite: bool = False
) -> Iterator[pb.AddEntriesRequest]:
    """The stream of AddEntries: as many entries in each message as the server takes."""
    most_bytes = limits.max_message_bytes * 3 // 4
    request, segments, size = pb.AddEntriesRequest(draft=draft, overwrite=overwrite), 0, 0
    for entry in entries:
        entry_bytes = entry.ByteSize()
        full = (
            len(request.entries) >= limits.max_entries_per_message
            or segments + len(entry.segments) > limits.max_segments_per_message
            or size + entry_bytes > most_bytes
        )
        if full and request.entries:
            yield request
            request, segments, size = pb.AddEntriesRequest(), 0, 0
        request.entries.append(entry)
        segments += len(entry.segments)
        size += entry_bytes
    yield request


def entry_of(message: entry_pb2.Entry) -> Entry:
    """The entry that the first of its messages describes; without its segments."""
    reference = None
    if message.HasField("reference"):
        wire = message.reference
        kind = _KINDS.get(wire.change_token_kind)
        checked = wire.checked_time.ToMicroseconds()
        reference = Reference(wire.uri, wire.object_version, wire.change_token, kind, checked)
    size = None if reference and message.size_bytes < 0 else message.size_bytes
    return Entry(message.path, digest_of(message.digest), size, message.executable, (), reference)


def digest_of(message: digest_pb2.Digest) -> Digest:
    """The digest in a message. Raises InvalidArgument."""
    return Digest(message.sha256)


class EntryCheck:
    """Checks a manifest that a server sends, message by message, before anything is done with it.

    Paths must be safe, sorted and free of collisions (SEM-7), and segments must add up. Computes the version digest.
    """

    def __init__(self) -> None:
        self._collisions = CollisionCheck()
        self._hasher = ManifestHasher()
        self._open: Entry | None = None
        self._missing_bytes = 0

    def add(self, message: entry_pb2.Entry) -> Entry | None:
        """Take the next message; the entry, when one begins. Raises InvalidPath, InvalidEntry, InvalidReference."""
        begins = self._open is None
        if begins:
            entry = entry_of(message)
            parse_path(entry.path)
            if entry.reference is not None:
                entry.check()
            self._collisions.add(entry.path)
            self._hasher.add(entry)
            self._open = entry
            self._missing_bytes = 0 if entry.reference else entry.size_bytes or 0
        current = self._open
        if current is None or message.path != current.path:
            raise InvalidEntry(f"{message.path!r} comes where more of another entry was announced", path=message.path)
        for segment in message.segments:
            if segment.length < 1 or segment.offset < 0 or len(segment.chunk.sha256) != 32:
                raise InvalidEntry(f"{current.path!r} has a segment that no chunk can hold", path=current.path)
            self._missing_bytes -= segment.length
        if not message.continued:
            self._open = None
            if self._missing_bytes:
                raise InvalidEntry(f"the segments of {current.path!r} do not add up to its size", path=current.path)
        return current if begins else None

    def finish(self) -> Digest:
        """The digest of the manifest. Raises InvalidEntry when it ended in the middle of an entry."""
        if self._open is not None:
            raise InvalidEntry(f"the manifest ends in the middle of {self._open.path!r}", path=self._open.path)
        return self._hasher.digest()
