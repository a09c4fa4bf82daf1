"""Downloading a version: resolve → entries → ask → fetch → check → rename.

All paths are checked before anything is written (M-PATH-4), and nothing unverified ever stands under its final name.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from modelkeep._assembly import Assembly
from modelkeep._channel import retrying
from modelkeep._entries import EntryCheck, Spool, entry_of
from modelkeep._fetcher import Fetcher, Range, Want
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import DigestMismatch, TargetUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modelkeep._channel import Connection
    from modelkeep._target import Target
    from modelkeep.api.metadata.v1 import entry_pb2
    from modelkeep.digest import Digest
    from modelkeep.manifest import Entry
    from modelkeep.names import TeamName, VersionName

BATCHES: Final = 3
"""Batches on their way at once."""
BATCH_BYTES: Final = 16 << 20
BATCH_CHUNKS: Final = 512
OPEN_FILES: Final = 100
"""How many files of several chunks are being written at once."""
MANIFEST_SECONDS: Final = 1800.0
"""The deadline of a manifest, which may have millions of entries, with all its tries."""
_READ_BYTES: Final = 1 << 20


def manifest_of(connection: Connection, version: VersionName, digest: str, prefix: str = "") -> Spool:
    """All entries of a version, or those at or under `prefix`: checked, and safe to be written.

    Raises InvalidPath, InvalidEntry, InvalidReference; DigestMismatch when they are not those that the digest stands for.
    """
    request = pb.StreamEntriesRequest(parent=str(version), prefix=prefix)

    def attempt(seconds: float, request_id: str) -> Spool:
        spool, check = Spool(), EntryCheck()
        try:
            for response in connection.stream("metadata", "StreamEntries", request, seconds, request_id):
                for message in response.entries:
                    check.add(message)
                    spool.add(message)
            _compare(check.finish(), "" if prefix else digest, version)
        except BaseException:
            spool.close()
            raise
        return spool

    return retrying(connection, attempt, MANIFEST_SECONDS)


def _compare(found: Digest, expected: str, version: VersionName) -> None:
    if expected and str(found) != expected:
        message = f"the files of {version.short} are not those that its digest {expected} stands for"
        raise DigestMismatch(message, version=version.short, expected=expected, found=str(found))


class Download:
    """The files of one version on their way into a folder."""

    def __init__(self, connection: Connection, team: TeamName, target: Target, *, trusted: bool, durable: bool) -> None:
        """`trusted`: the digests of whole files were proven by the server, so those of the chunks are enough."""
        self._connection = connection
        self._team = team
        self._target = target
        self._trusted = trusted
        self._durable = durable
        # One thread, so that the parts of a file are hashed in their order.
        self._hashing = ThreadPoolExecutor(1, "modelkeep-verify")
        self._fetching = ThreadPoolExecutor(BATCHES, "modelkeep-fetch")
        self._under_way: deque[Future[None]] = deque()
        self._checks: deque[Future[None]] = deque()
        self._open: set[Assembly] = set()
        self._slots = threading.Semaphore(OPEN_FILES)

    def run(self, entries: Spool, advance: Callable[[int], None]) -> None:
        """Write all files, and make them durable. Raises DiskFull, TargetUnusable, ChunkCorrupt, DigestMismatch, …"""
        self._refuse_what_the_target_cannot_hold(entries)
        with Fetcher(self._connection, self._team, advance) as fetcher:
            try:
                for batch in self._batches(entries, advance):
                    self._under_way.append(self._fetching.submit(fetcher.fetch, batch))
                    if len(self._under_way) > 2 * BATCHES:
                        self._under_way.popleft().result()
                    self._raise_failures()
                for future in self._under_way:
                    future.result()
                self._hashing.shutdown()
                self._raise_failures()
            finally:
                fetcher.stopped = True
                self._fetching.shutdown(cancel_futures=True)
                self._hashing.shutdown(cancel_futures=True)
                for assembly in list(self._open):
                    assembly.discard()
        self._target.sync()

    def _refuse_what_the_target_cannot_hold(self, entries: Spool) -> None:
        folded = self._target.folding()
        if folded is not None:
            check_names((message.path for message in entries if message.HasField("digest")), folded)

    def _batches(self, entries: Spool, advance: Callable[[int], None]) -> Iterator[list[Want]]:
        """What to fetch for the files that are not there yet."""
        most = min(BATCH_CHUNKS, self._connection.limits().max_batch_chunks)
        batch: list[Want] = []
        assembly: Assembly | None = None
        size = offset = 0
        for message in entries:
            if message.HasField("digest"):
                assembly, offset = self._begin(message, advance), 0
                if assembly is not None and _is_long(message) and not self._slots.acquire(blocking=False):
                    yield batch  # the open files may wait for just these
                    batch, size = [], 0
                    while not self._slots.acquire(timeout=1):
                        self._raise_failures()
            if assembly is None:
                continue
            for segment in message.segments:
                batch.append(Want(Range(segment.chunk.sha256, segment.offset, segment.length), assembly, offset))
                offset += segment.length
                size += segment.length
                if size >= BATCH_BYTES or len(batch) >= most:
                    yield batch
                    batch, size = [], 0
        yield batch

    def _begin(self, message: entry_pb2.Entry, advance: Callable[[int], None]) -> Assembly | None:
        """What takes the bytes of the entry; None when it needs none."""
        entry = entry_of(message)
        if entry.reference is not None:
            return None  # its content is kept elsewhere
        if self._is_there(entry):
            advance(entry.size_bytes or 0)
            return None
        one = len(message.segments) == 1 and message.segments[0].chunk.sha256 == entry.digest.sha256
        assembly = Assembly(self._target, entry, proven=self._trusted or one, durable=self._durable, hashing=self._submit_check)
        if not entry.size_bytes:
            assembly.keep_empty()
            return None
        self._open.add(assembly)
        assembly.finished = partial(self._finished, assembly, long=_is_long(message))
        return assembly

    def _finished(self, assembly: Assembly, *, long: bool) -> None:
        self._open.discard(assembly)
        if long:
            self._slots.release()

    def _is_there(self, entry: Entry) -> bool:
        """Whether the target has the file already, with the right content; its executable bit is put right."""
        descriptor = self._target.open_existing(entry.path)
        if descriptor is None:
            return False
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            if found.st_size != entry.size_bytes or sha256_of(file) != entry.digest.sha256:
                return False
            mode = with_executable(found.st_mode, executable=entry.executable)
            if mode != stat.S_IMODE(found.st_mode):
                os.fchmod(descriptor, mode)
        return True

    def _submit_check(self, function: Callable[..., None], *arguments: object) -> Future[None]:
        future = self._hashing.submit(function, *arguments)
        self._checks.append(future)
        return future

    def _raise_failures(self) -> None:
        for futures in (self._under_way, self._checks):
            while futures and futures[0].done():
                futures.popleft().result()


def _is_long(message: entry_pb2.Entry) -> bool:
    """Whether the file stays open for a while, as its parts come one by one."""
    return message.continued or len(message.segments) > 1


def check_names(paths: Iterable[str], folded: Callable[[str], str]) -> None:
    """Raise TargetUnusable when two paths are one where the target makes no difference between them (SEM-7)."""
    seen: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            part = "/".join(parts[:depth])
            other = seen.setdefault(folded(part), part)
            if other != part:
                message = f"this folder cannot hold both {other!r} and {part!r}: its file system takes them for one name"
                raise TargetUnusable(message, path=part, other=other)


def sha256_of(file: IO[bytes]) -> bytes:
    """The SHA-256 of what an unbuffered file has from where it stands."""
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(_READ_BYTES))
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        hasher.update(buffer[:count])
    return hasher.digest()


def with_executable(mode: int, *, executable: bool) -> int:
    """The permissions with the executable bit as it should be: for everybody who may read."""
    mode = stat.S_IMODE(mode)
    if bool(mode & stat.S_IXUSR) == executable:
        return mode
    return mode | (mode & 0o444) >> 2 if executable else mode & ~0o111
