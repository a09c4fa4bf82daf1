"""Objects as files in a folder of a local disk.

A chunk is written to a file in `incoming/`, hashed on the way, or left in `staging/` by a client, and hashed where it lies.
To become an object it is fsynced, linked to its name without replacing anything, and the folder is fsynced; only then may a
row name it (RELIABILITY §2.5). A failed fsync is never tried again: the kernel may have dropped the bytes and forgotten that
it did, so the file is thrown away. All files of a batch are flushed at once, and so are all their folders.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from modelkeep_server.blob.backends import layout
from modelkeep_server.blob.backends.disk import Disk, shown
from modelkeep_server.blob.backends.filewriter import FileWriter
from modelkeep_server.blob.backends.refusals import damaged, judge, judged, no_urls
from modelkeep_server.blob.backends.staging import Checked, StagingFolder
from modelkeep_server.blob.backends.threads import Threads
from modelkeep_server.blob.domain import PIECE_BYTES, Arrival, ListedObject

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
    from datetime import timedelta

    from modelkeep.digest import Digest
    from modelkeep.names import LeaseName

    from modelkeep_server.blob.domain import Grant, Incoming, ObjectName, StoredChunk
    from modelkeep_server.blob.ports import Writer

P = ParamSpec("P")
T = TypeVar("T")

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Made:
    """A file that is checked and flushed, and what it shall be called."""

    source: Path
    target: Path
    inode: int
    """Which file was checked: by the time it is linked, another one may have the name of the source."""


class FilesystemBackend:
    """A store in a folder. One process at a time: the server holds a lock on its data folder."""

    direct_upload = False
    direct_download = False

    def __init__(self, root: Path, *, threads: int = 16, staging: bool = False, disk: Disk | None = None) -> None:
        self._root = root
        self._incoming = root / layout.INCOMING
        self._passing = {self._incoming, root / layout.STAGING}
        """Folders whose files are no objects yet."""
        self._disk = disk or Disk()
        self._threads = Threads(threads, "disk")
        self._flushing = ThreadPoolExecutor(threads, thread_name_prefix="folders")
        self._flushers = threads
        self.staging = StagingFolder(self._disk, self._threads, root / layout.STAGING) if staging else None
        self._open: WeakValueDictionary[tuple[LeaseName, Digest], FileWriter] = WeakValueDictionary()
        self._handover = asyncio.Lock()
        """Held while a chunk passes from one stream to the next: at no time may two of them write one file."""
        self._linking = threading.Lock()
        self._durable: set[Path] = set()
        """Folders that are known to survive a power cut; at most 65,795."""

    async def open(self) -> None:
        """Make the folders, and remove complete chunks that no row came to name."""
        await self._run(self._prepare)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self.staging is not None:
            await self._threads.run(self.staging.end)
        await self._threads.close()
        self._flushing.shutdown()

    async def check(self) -> None:
        """Raise ServiceUnavailable when the folder cannot be reached."""
        await self._run(self._incoming.stat)

    async def received(self, incoming: Sequence[Incoming]) -> list[int]:
        """How many bytes an interrupted write left of each."""
        return await self._run(lambda: [self._received(one) for one in incoming])

    async def receive(self, incoming: Incoming, offset: int) -> FileWriter:
        """Begin, or go on at `offset`."""
        place = (incoming.lease, incoming.chunk.digest)
        writer = FileWriter(self._disk, self._threads, incoming, self._incoming)
        async with self._handover:
            if (other := self._open.get(place)) is not None:
                await other.close(keep=True)
            self._open[place] = writer
        try:
            if offset:
                await self._run(writer.resume, offset)
        except BaseException:
            await writer.close(keep=True)
            raise
        return writer

    async def store(self, batch: Sequence[tuple[Writer, ObjectName]]) -> None:
        """Make objects of complete chunks: all files are flushed at once, then linked, then their folders are flushed."""
        files = [(writer, self._path(name)) for writer, name in batch if isinstance(writer, FileWriter)]
        try:
            inodes = await self._threads.each(FileWriter.sync, [writer for writer, _ in files])
            made = [Made(writer.path, target, inode) for (writer, target), inode in zip(files, inodes, strict=True)]
            if not all(await self._threads.run(self._link, made)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        except OSError as error:
            raise shown(error) from error
        finally:
            await self._threads.run(_discard, files)

    async def leases(self) -> AsyncIterator[set[LeaseName]]:
        """The leases of which interrupted writes were kept, in batches."""
        entries = self._disk.entries(self._incoming)
        while batch := await self._run(lambda: [entry.name for entry in islice(entries, _BATCH)]):
            yield {lease for lease in map(layout.lease_of, batch) if lease is not None}

    async def forget(self, leases: Collection[LeaseName]) -> None:
        """Throw away what interrupted writes under these leases left."""
        for writer in [writer for writer in self._open.values() if writer.incoming.lease in leases]:
            await writer.close(keep=False)
        if leases:
            await self._run(self._remove_incoming, lambda file: layout.lease_of(file) in leases)

    async def read(
        self, chunk: StoredChunk, offset: int, length: int, see: Callable[[bytes], object] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A range of an object, in pieces."""
        path, end = self._path(chunk.object), offset + length
        while offset < end:
            piece = await self._run(self._read, path, offset, min(PIECE_BYTES, end - offset), see)
            if not piece:
                raise damaged(chunk)
            offset += len(piece)
            yield piece

    async def arrived(self, grants: Sequence[Grant]) -> list[Arrival]:
        """Make objects of what clients left in the staging folder: all files are hashed and flushed at once, then linked."""
        if (staging := self.staging) is None:
            return judged(grants, await self.stat([grant.object for grant in grants]))
        try:
            checked = await self._threads.each(lambda grant: self._check(staging, grant), grants)
            whole = [(grant, found) for grant, found in zip(grants, checked, strict=True) if found.arrival is Arrival.WHOLE]
            made = [Made(Path(staging.path(g.object)), self._path(g.object), found.inode) for g, found in whole]
            there = await self._threads.run(self._link, made)
        except OSError as error:
            raise shown(error) from error
        await self._threads.run(staging.discard, *(grant.object for grant, _ in whole))
        gone = {grant.object for (grant, _), is_there in zip(whole, there, strict=True) if not is_there}
        pairs = zip(grants, checked, strict=True)
        return [Arrival.MISSING if grant.object in gone else found.arrival for grant, found in pairs]

    async def stat(self, names: Sequence[ObjectName]) -> list[int | None]:
        """The size of each object."""
        return await self._run(lambda: [self._disk.size(self._path(name)) for name in names])

    async def delete(self, names: Sequence[ObjectName]) -> None:
        """Remove objects."""
        await self._run(self._delete, names)

    async def objects(self) -> AsyncIterator[list[ListedObject]]:
        """Everything, in batches."""
        found = self._walk()
        while batch := await self._run(lambda: list(islice(found, _BATCH))):
            yield batch

    async def upload_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """A folder has no URL."""
        return no_urls(objects)

    async def download_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """A folder has no URL."""
        return no_urls(objects)

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._threads.run(call, *args, **kwargs)
        except OSError as error:
            raise shown(error) from error

    def _path(self, name: ObjectName) -> Path:
        return self._root / layout.key(name)

    def _read(self, path: Path, offset: int, length: int, see: Callable[[bytes], object] | None) -> bytes:
        piece = self._disk.read(path, offset, length)
        if see is not None:
            see(piece)
        return piece

    def _prepare(self) -> None:
        for folder in reversed([folder for folder in (self._root, *self._root.parents) if not folder.exists()]):
            self._disk.make_folder(folder)
            self._disk.sync_folder(folder.parent)
        self._disk.make_folder(self._incoming)
        self._remove_incoming(layout.is_complete)
        if self.staging is not None:
            self.staging.prepare()

    def _delete(self, names: Sequence[ObjectName]) -> None:
        for name in names:
            self._disk.remove(self._path(name))

    def _received(self, incoming: Incoming) -> int:
        kept_bytes = self._disk.size(self._incoming / layout.incoming_file(incoming)) or 0
        return kept_bytes if kept_bytes < incoming.chunk.size_bytes else 0

    def _remove_incoming(self, is_wanted: Callable[[str], bool]) -> None:
        for entry in self._disk.entries(self._incoming):
            if is_wanted(entry.name):
                self._disk.remove(self._incoming / entry.name)

    def _check(self, staging: StagingFolder, grant: Grant) -> Checked:
        """What a client left for a grant; an attempt that was cut short may have made the object of it already."""
        size_bytes = self._disk.size(self._path(grant.object))
        return staging.check(grant) if size_bytes is None else Checked(judge(grant, size_bytes))

    def _link(self, files: Sequence[Made]) -> list[bool]:
        """Whether each object is there in the end. All of them are durable, and so is their name.

        One batch at a time: what another batch finds linked is durable, and is never taken away again.
        """
        with self._linking:
            linked: list[Path] = []
            try:
                folders = {file.target.parent for file in files}
                made = {folder for path in folders for folder in self._make_folders(path)}
                there = [self._link_one(file, linked) for file in files]
                self._flush(folders | {folder.parent for folder in made})
            except OSError:
                for target in linked:
                    with suppress(OSError):  # what cannot be removed is found by its grant
                        self._disk.remove(target)
                raise
            self._durable |= made
            return there

    def _link_one(self, file: Made, linked: list[Path]) -> bool:
        try:
            self._disk.link(file.source, file.target)
        except FileExistsError:  # made by an attempt that was cut short; it was flushed before it was linked
            return True
        except FileNotFoundError:  # what was checked is gone; perhaps another attempt has made the object of it
            return self._disk.size(file.target) is not None
        linked.append(file.target)
        if self._disk.inode(file.target) == file.inode:
            return True
        self._disk.remove(file.target)
        return False

    def _flush(self, folders: Iterable[Path]) -> None:
        """Make the entries of folders durable, many at a time."""
        todo = list(folders)
        flushes = [self._flushing.submit(self._flush_some, todo[first :: self._flushers]) for first in range(self._flushers)]
        wait(flushes)
        for flush in flushes:
            flush.result()

    def _flush_some(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            self._disk.sync_folder(folder)

    def _make_folders(self, folder: Path) -> list[Path]:
        """Make a folder, and those above it; which of them are not known to be durable."""
        unsure = []
        while folder not in self._durable and folder != self._root:
            unsure.append(folder)
            folder = folder.parent
        for path in reversed(unsure):
            self._disk.make_folder(path)
        return unsure

    def _walk(self) -> Iterator[ListedObject]:
        folders = [self._root]
        while folders:
            for entry in self._disk.entries(folders.pop()):
                path = self._root.joinpath(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders += [] if path in self._passing else [path]
                elif (size := self._disk.size(path)) is not None:
                    key = path.relative_to(self._root).as_posix()
                    yield ListedObject(key, layout.parse(key), size)


def _discard(files: Sequence[tuple[FileWriter, Path]]) -> None:
    for writer, _ in files:
        writer.discard()
