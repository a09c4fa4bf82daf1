"""Chunks that clients of the same host and user leave in a folder, instead of sending them (decision 0013).

A staged file is a stranger's until it was checked: it must be a regular file of our user with one name, of the right size, and
we hash it ourselves. Whoever can write into the folder runs as our user and could write anywhere in the store: what is
checked here is what may go wrong, and what a program that runs with more rights may do by mistake.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import secrets
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from modelkeep_server.blob.backends import layout
from modelkeep_server.blob.backends.disk import shown
from modelkeep_server.blob.domain import Arrival, ListedObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
    from io import FileIO
    from pathlib import Path

    from modelkeep_server.blob.backends.disk import Disk
    from modelkeep_server.blob.backends.threads import Threads
    from modelkeep_server.blob.domain import Grant, ObjectName

T = TypeVar("T")

_BATCH: Final = 1000
_BUFFER_BYTES: Final = 256 << 10
"""Small enough to stay in the cache of a core between reading and hashing."""
_NO_FILE: Final = {errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM}
"""What the opening of something says that is a link, a folder, a socket, or not ours to read."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one staged file."""

    arrival: Arrival
    inode: int = 0
    """Which file it was that was found whole, and flushed."""


class StagingFolder:
    """The folder `staging/` of a store on a local disk."""

    def __init__(self, disk: Disk, threads: Threads, folder: Path) -> None:
        self._disk = disk
        self._threads = threads
        self._folder = folder
        self._token = ""
        self._hashing = threading.BoundedSemaphore(os.cpu_count() or 1)
        """More hashing threads than cores would only keep the event loop from its own."""

    @property
    def folder(self) -> str:
        """Where it is."""
        return str(self._folder)

    def admits(self, token: str) -> bool:
        """Whether the token is the one in the folder."""
        return bool(self._token) and hmac.compare_digest(token.encode(), self._token.encode())

    def path(self, name: ObjectName) -> str:
        """The file that is to become this object."""
        return f"{self._folder}/{layout.staged_file(name)}"

    async def listed(self) -> AsyncIterator[list[ListedObject]]:
        """The files in it, in batches."""
        found = self._walk()
        while batch := await self._run(lambda: list(islice(found, _BATCH))):
            yield batch

    async def remove(self, names: Collection[ObjectName]) -> None:
        """Remove the files of these objects."""
        await self._run(lambda: self._remove(names))

    def prepare(self) -> None:
        """Make the folder and its token, in a thread."""
        self._disk.make_private_folder(self._folder)
        self._token = secrets.token_hex(32)
        with self._disk.create_private(self._folder / layout.TOKEN) as file:
            self._disk.write(file, self._token.encode())

    def end(self) -> None:
        """Take the token away, in a thread, if it is ours: nobody is asked to write here any more."""
        if self._token:
            self._token = ""
            with suppress(OSError):  # the next start makes another one
                self._disk.remove(self._folder / layout.TOKEN)

    def check(self, grant: Grant) -> Checked:
        """Look at what a client left, in a thread; what is whole is durable then, and anything else is gone."""
        path = self._file(grant.object)
        try:
            with self._disk.open(path) as file:
                checked = self._checked(file, grant)
        except FileNotFoundError:
            return Checked(Arrival.MISSING)
        except OSError as error:
            self.discard(grant.object)
            if error.errno not in _NO_FILE:
                raise
            return Checked(Arrival.MISSING)
        if checked.arrival is not Arrival.WHOLE:
            self.discard(grant.object)
        return checked

    def discard(self, *names: ObjectName) -> None:
        """Remove the files of these objects, in a thread, as far as that is possible."""
        for name in names:
            with suppress(OSError):  # what cannot be removed is found by the next reaping
                self._disk.remove(self._file(name))

    def _remove(self, names: Iterable[ObjectName]) -> None:
        for name in names:
            self._disk.remove(self._file(name))

    def _checked(self, file: FileIO, grant: Grant) -> Checked:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
            return Checked(Arrival.MISSING)
        if found.st_size != grant.size_bytes:
            return Checked(Arrival.SIZE_WRONG)
        if self._sha256(file, found.st_size) != grant.object.digest.sha256:
            return Checked(Arrival.DIGEST_WRONG)
        if os.fstat(file.fileno()).st_size != found.st_size:
            return Checked(Arrival.SIZE_WRONG)  # somebody is still writing
        self._disk.sync(file)
        return Checked(Arrival.WHOLE, found.st_ino)

    def _sha256(self, file: FileIO, size_bytes: int) -> bytes:
        sha256, buffer = hashlib.sha256(), memoryview(bytearray(min(size_bytes, _BUFFER_BYTES)))
        with self._hashing:
            while size_bytes > 0 and (count := self._disk.read_into(file, buffer[:size_bytes])):
                sha256.update(buffer[:count])
                size_bytes -= count
        return sha256.digest()

    def _file(self, name: ObjectName) -> Path:
        return self._folder / layout.staged_file(name)

    def _walk(self) -> Iterator[ListedObject]:
        for entry in self._disk.entries(self._folder):
            if entry.name != layout.TOKEN and (size := self._disk.size(self._folder / entry.name)) is not None:
                yield ListedObject(f"{layout.STAGING}/{entry.name}", layout.parse_staged(entry.name), size)

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await self._threads.run(call)
        except OSError as error:
            raise shown(error) from error
