"""Objects as files in a folder of a local disk.

A chunk is written to a file in `incoming/`, hashed on the way. To become an object it is fsynced, linked to its name without
replacing anything, and the folder is fsynced; only then may a row name it (RELIABILITY §2.5). A failed fsync is never tried
again: the kernel may have dropped the bytes and forgotten that it did, so the file is thrown away.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from modelkeep_server.blob.backends import layout
from modelkeep_server.blob.backends.disk import Disk, shown
from modelkeep_server.blob.backends.filewriter import FileWriter
from modelkeep_server.blob.backends.refusals import damaged, no_urls
from modelkeep_server.blob.backends.threads import Threads
from modelkeep_server.blob.domain import MIB, ListedObject

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
    from datetime import timedelta
    from pathlib import Path

    from modelkeep.digest import Digest
    from modelkeep.names import LeaseName

    from modelkeep_server.blob.domain import Incoming, ObjectName, StoredChunk
    from modelkeep_server.blob.ports import Writer

P = ParamSpec("P")
T = TypeVar("T")

_BATCH: Final = 1000


class FilesystemBackend:
    """A store in a folder. One process at a time: the server holds a lock on its data folder."""

    direct_upload = False
    direct_download = False

    def __init__(self, root: Path, *, threads: int = 16, disk: Disk | None = None) -> None:
        self._root = root
        self._incoming = root / layout.INCOMING
        self._disk = disk or Disk()
        self._threads = Threads(threads, "disk")
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
        await self._threads.close()

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
            await self._threads.each(FileWriter.sync, [writer for writer, _ in files])
            await self._threads.run(self._link, files)
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

    async def read(self, chunk: StoredChunk, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """A range of an object, in pieces."""
        path, end = self._path(chunk.object), offset + length
        while offset < end:
            piece = await self._run(self._disk.read, path, offset, min(MIB, end - offset))
            if not piece:
                raise damaged(chunk)
            offset += len(piece)
            yield piece

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

    def _prepare(self) -> None:
        for folder in reversed([folder for folder in (self._root, *self._root.parents) if not folder.exists()]):
            self._disk.make_folder(folder)
            self._disk.sync_folder(folder.parent)
        self._disk.make_folder(self._incoming)
        self._remove_incoming(layout.is_complete)

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

    def _link(self, files: Sequence[tuple[FileWriter, Path]]) -> None:
        """One batch at a time: what another stream finds linked is durable, and is never taken away again."""
        with self._linking:
            self._link_all(files)

    def _link_all(self, files: Sequence[tuple[FileWriter, Path]]) -> None:
        linked: list[Path] = []
        try:
            folders: set[Path] = set()
            for writer, target in files:
                folders |= self._make_folders(target.parent)
                with suppress(FileExistsError):  # made by an attempt that was cut short; it was flushed before it was linked
                    self._disk.link(writer.path, target)
                    linked.append(target)
            for folder in folders:
                self._disk.sync_folder(folder)
        except OSError:
            for target in linked:
                with suppress(OSError):  # what cannot be removed is found by its grant
                    self._disk.remove(target)
            raise
        self._durable |= {folder for _, target in files for folder in self._ancestors(target.parent)}

    def _make_folders(self, folder: Path) -> set[Path]:
        """Make a folder; which ones must be flushed before it, and a file in it, are durable."""
        changed = {folder}
        for path in self._ancestors(folder):
            if path not in self._durable:
                self._disk.make_folder(path)
                changed.add(path.parent)
        return changed

    def _ancestors(self, folder: Path) -> list[Path]:
        """The folder and those above it, within the root, from the top down."""
        parts = folder.relative_to(self._root).parts
        return [self._root.joinpath(*parts[: depth + 1]) for depth in range(len(parts))]

    def _walk(self) -> Iterator[ListedObject]:
        folders = [self._root]
        while folders:
            for entry in self._disk.entries(folders.pop()):
                path = self._root.joinpath(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders += [] if path == self._incoming else [path]
                elif (size := self._disk.size(path)) is not None:
                    key = path.relative_to(self._root).as_posix()
                    yield ListedObject(key, layout.parse(key), size)


def _discard(files: Sequence[tuple[FileWriter, Path]]) -> None:
    for writer, _ in files:
        writer.discard()
