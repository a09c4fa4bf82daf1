"""Downloading a version: resolve → entries → cache → ask → fetch → check → rename.

All paths are checked before anything is written (M-PATH-4), and nothing unverified ever stands under its final name.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from modelkeep._assembly import Assembly
from modelkeep._cached import CachedFiles
from modelkeep._channel import retrying
from modelkeep._copy import sha256_of
from modelkeep._entries import EntryCheck, entry_of
from modelkeep._fetcher import Fetcher, of_file
from modelkeep._listing import Listing, compare
from modelkeep._pack import Block, Pack
from modelkeep._writer import Writer
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.digest import Digest
from modelkeep.errors import ChunkCorrupt, ChunkNotFound, TargetUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modelkeep._cache import Cache
    from modelkeep._channel import Connection
    from modelkeep._target import Target
    from modelkeep.api.metadata.v1 import entry_pb2
    from modelkeep.names import TeamName, VersionName

BATCHES: Final = 3
"""Batches on their way at once: while one is fetched, it is asked where the next ones are."""
BATCH_BYTES: Final = 64 << 20
BATCH_CHUNKS: Final = 256
BATCH_FILES: Final = 16_384
"""Small files that wait for their packs at once."""
OPEN_FILES: Final = 100
"""How many files of several chunks are being written at once."""
HASHING: Final = min(4, os.cpu_count() or 1)
"""Files that are hashed at once."""
MANIFEST_SECONDS: Final = 1800.0
"""The deadline of a manifest, which may have millions of entries, with all its tries."""
_CACHED_NAME: Final = re.compile(r"[0-9a-f]{64}-[A-Za-z0-9_-]{1,100}")


def manifest_of(
    connection: Connection, version: VersionName, digest: str, prefix: str = "", *, uid: str = "", cache: Cache | None = None
) -> Listing:
    """All entries of a version, or those at or under `prefix`: checked, and safe to be written.

    Raises InvalidPath, InvalidEntry, InvalidReference; DigestMismatch when they are not those that the digest stands for.
    """
    name = f"{digest.rpartition(':')[2]}-{uid}"
    if cache is not None and not _CACHED_NAME.fullmatch(name):
        cache = None  # a server said both, and a path is made of them
    if cache is not None:
        known = Listing.cached(cache, name, prefix)
        if known is not None:
            return known
    request = pb.StreamEntriesRequest(parent=str(version), prefix=prefix)

    def attempt(seconds: float, request_id: str) -> Listing:
        check = EntryCheck()
        listing = Listing.of(connection.stream("metadata", "StreamEntries", request, seconds, request_id), check)
        try:
            compare(check, "" if prefix else digest, version.short)
        except BaseException:
            listing.close()
            raise
        return listing

    listing = retrying(connection, "metadata", attempt, MANIFEST_SECONDS)
    if cache is not None and not prefix:
        listing.keep(cache, name)
    return listing


class Download:
    """The files of one version on their way into a folder."""

    def __init__(
        self,
        connection: Connection,
        team: TeamName,
        target: Target,
        *,
        trusted: bool,
        durable: bool,
        cache: Cache | None = None,
        link: bool = False,
    ) -> None:
        """`trusted`: the digests of whole files were proven by the server, so those of the chunks are enough.

        `link`: large files are links to what the cache has, and read-only.
        """
        self._connection = connection
        self._target = target
        self._trusted = trusted
        self._durable = durable
        self._fetcher = Fetcher(connection, team)
        self._cached = CachedFiles(cache, target, durable=durable, link=link)
        self._writer = Writer(target, durable=durable)
        self._looking = Writer(target, durable=durable)
        self._hashing = ThreadPoolExecutor(HASHING, "modelkeep-verify")
        self._fetching = ThreadPoolExecutor(BATCHES, "modelkeep-fetch")
        self._under_way: deque[Future[None]] = deque()
        self._checks: deque[Future[None]] = deque()
        self._open: set[Assembly] = set()
        self._slots = threading.Semaphore(OPEN_FILES)
        self._advance: Callable[[int], None] = _nothing
        self._packs: dict[bytes, Pack] = {}
        self._pack_files = 0
        self._blocks: dict[bytes, Block] = {}
        self._block_bytes = 0

    def run(self, entries: Iterable[entry_pb2.Entry], advance: Callable[[int], None]) -> None:
        """Write all files, and make them durable. Raises DiskFull, TargetUnusable, ChunkCorrupt, DigestMismatch, …"""
        self._advance = advance
        self._refuse_what_the_target_cannot_hold(entries)
        with ExitStack() as leaving:
            leaving.callback(self._looking.close)
            leaving.callback(self._writer.close)
            leaving.enter_context(self._cached)
            leaving.enter_context(self._fetcher)
            leaving.callback(self._give_up)
            self._plan(entries)
            for future in self._under_way:
                future.result()
            self._hashing.shutdown()
            self._raise_failures()
            self._target.sync()

    def _give_up(self) -> None:
        """End everything that is still going on; nothing when all is done."""
        self._fetcher.stopped = True
        self._fetching.shutdown(cancel_futures=True)
        self._hashing.shutdown(cancel_futures=True)
        for assembly in list(self._open):
            assembly.discard()

    def _refuse_what_the_target_cannot_hold(self, entries: Iterable[entry_pb2.Entry]) -> None:
        folded = self._target.folding()
        if folded is not None:
            check_names((message.path for message in entries if message.HasField("digest")), folded)

    def _plan(self, entries: Iterable[entry_pb2.Entry]) -> None:
        """Go through the files: small ones by their packs, large ones chunk by chunk."""
        assembly: Assembly | None = None
        at = 0
        for message in entries:
            segments = message.segments
            if message.HasField("digest"):
                if len(segments) < 2 and not message.continued:
                    assembly = None
                    if not message.HasField("reference"):  # whose content is kept elsewhere
                        self._add_small(message)
                    continue
                assembly, at = self._begin(message), 0
            if assembly is None:
                continue
            for segment in segments:
                self._add_part(assembly, segment, at)
                at += segment.length
        self._send_packs()
        self._send_blocks()

    def _add_small(self, message: entry_pb2.Entry) -> None:
        """A file that lies in one chunk, or is empty."""
        path, digest, executable, segments = message.path, message.digest.sha256, message.executable, message.segments
        folder, _, name = path.rpartition("/")
        if not self._looking.is_fresh(folder) and self._is_there(path, message.size_bytes, digest, executable=executable):
            self._advance(message.size_bytes)
            return
        if not segments:
            with self._writer.lock:
                self._writer.write_all([(folder, name, digest, 0, 0, executable)], memoryview(b""), 0)
            return
        segment = segments[0]
        sha256 = segment.chunk.sha256
        pack = self._packs.get(sha256)
        if pack is None:
            if len(self._packs) >= BATCH_CHUNKS or self._pack_files >= BATCH_FILES:
                self._send_packs()
            pack = self._packs[sha256] = Pack(
                sha256, self._writer, self._advance, trusted=self._trusted, keep=self._cached.keep_chunk
            )
        pack.files.append((folder, name, digest, segment.offset, segment.length, executable))
        self._pack_files += 1
        if self._pack_files >= 4 * BATCH_FILES:  # one chunk, over and over
            self._send_packs()

    def _add_part(self, assembly: Assembly, segment: entry_pb2.Segment, at: int) -> None:
        sha256 = segment.chunk.sha256
        block = self._blocks.get(sha256)
        if block is None:
            block = self._blocks[sha256] = Block(sha256, check=self._trusted, path=assembly.path)
        block.uses.append(assembly.expect(sha256, at, segment.offset, segment.length))
        self._block_bytes += segment.length
        if self._block_bytes >= BATCH_BYTES or len(self._blocks) >= BATCH_CHUNKS:
            self._send_blocks()

    def _send_packs(self) -> None:
        """Write what the cache has of the small files that wait, and have the rest fetched."""
        packs, self._packs, self._pack_files = self._packs, {}, 0
        self._send([pack for pack in packs.values() if not self._cached.write(pack)])

    def _send_blocks(self) -> None:
        blocks, self._blocks, self._block_bytes = self._blocks, {}, 0
        self._send(list(blocks.values()))

    def _send(self, wants: Sequence[Pack] | Sequence[Block]) -> None:
        if wants:
            self._under_way.append(self._fetching.submit(self._fetch, wants))
            if len(self._under_way) > 2 * BATCHES:
                self._under_way.popleft().result()
        self._raise_failures()

    def _fetch(self, wants: Iterable[Pack] | Iterable[Block]) -> None:
        """Fetch; an error about a chunk names a file that it is part of."""
        try:
            self._fetcher.fetch(wants)
        except (ChunkCorrupt, ChunkNotFound) as error:
            digest = error.metadata.get("digest")
            path = next((want.path for want in wants if str(Digest(want.sha256)) == digest), "")
            if not path:
                raise
            raise of_file(error, path, "downloaded") from None

    def _begin(self, message: entry_pb2.Entry) -> Assembly | None:
        """What takes the bytes of a file of several chunks; None when it needs none."""
        entry = entry_of(message)
        there = self._is_there(entry.path, entry.size_bytes or 0, entry.digest.sha256, executable=entry.executable)
        if there or self._cached.place(entry):
            self._advance(entry.size_bytes or 0)
            return None
        if not self._slots.acquire(blocking=False):
            self._send_blocks()  # the open files may wait for just these
            while not self._slots.acquire(timeout=1):
                self._raise_failures()
        assembly = Assembly(
            self._target,
            entry,
            proven=self._trusted,
            durable=self._durable,
            hashing=self._submit_check,
            refetch=self._fetch,
        )
        self._open.add(assembly)
        assembly.keeping = self._cached.keep_file
        assembly.advance = self._advance
        assembly.finished = partial(self._finished, assembly)
        return assembly

    def _finished(self, assembly: Assembly) -> None:
        self._open.discard(assembly)
        self._slots.release()

    def _is_there(self, path: str, size_bytes: int, sha256: bytes, *, executable: bool) -> bool:
        """Whether the target has the file already, with the right content; its executable bit is put right."""
        descriptor = self._target.open_existing(path)
        if descriptor is None:
            return False
        try:
            found = os.fstat(descriptor)
            if found.st_size != size_bytes or sha256_of(descriptor) != sha256:
                return False
            mode = with_executable(found.st_mode, executable=executable)
            if mode != stat.S_IMODE(found.st_mode):
                if found.st_nlink > 1:
                    return False  # its other names, the cache's among them, keep their bits
                os.fchmod(descriptor, mode)
        except OSError as error:
            raise self._target.unusable(path, error) from None
        finally:
            os.close(descriptor)
        return True

    def _submit_check(self, function: Callable[[], None]) -> Future[None]:
        future = self._hashing.submit(function)
        self._checks.append(future)
        return future

    def _raise_failures(self) -> None:
        for futures in (self._under_way, self._checks):
            while futures and futures[0].done():
                futures.popleft().result()


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


def with_executable(mode: int, *, executable: bool) -> int:
    """The permissions with the executable bit as it should be: for everybody who may read."""
    mode = stat.S_IMODE(mode)
    if bool(mode & stat.S_IXUSR) == executable:
        return mode
    return mode | (mode & 0o444) >> 2 if executable else mode & ~0o111


def _nothing(_size_bytes: int) -> None:
    pass
