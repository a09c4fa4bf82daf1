"""A chunk on its way into a file."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from modelkeep.errors import ModelkeepError

from modelkeep_server.blob.backends import layout
from modelkeep_server.blob.backends.disk import shown
from modelkeep_server.blob.backends.intake import Intake
from modelkeep_server.blob.backends.refusals import nothing_kept, taken_over
from modelkeep_server.blob.domain import MIB

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from modelkeep_server.blob.backends.disk import Disk
    from modelkeep_server.blob.backends.threads import Threads
    from modelkeep_server.blob.domain import Incoming


class FileWriter:
    """Writes one chunk to a file in `incoming/`.

    The lock is held while a thread works on the file: a call that was cancelled goes on in its thread, and what closes the
    file must wait for it. What is complete has a name of its own, so that no later stream can change it.
    """

    def __init__(self, disk: Disk, threads: Threads, incoming: Incoming, folder: Path) -> None:
        self.incoming = incoming
        self.path = folder / layout.incoming_file(incoming)
        self._disk = disk
        self._threads = threads
        self._intake = Intake(incoming.chunk)
        self._file: FileIO | None = None
        self._ended = False
        self._lock = threading.Lock()

    @property
    def received_bytes(self) -> int:
        """How many bytes it has by now."""
        return self._intake.received_bytes

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are in."""
        return self._intake.is_complete

    async def write(self, data: bytes) -> None:
        """Append, hashing on the way."""
        try:
            await self._threads.run(self._write, data)
        except OSError as error:
            raise shown(error) from error

    async def close(self, *, keep: bool) -> None:
        """Let go of it; the file stays for a later stream, or is removed."""
        if not self._ended:
            await self._threads.run(self._close if keep else self.discard)

    def resume(self, offset: int) -> None:
        """Go on with a file that was kept, in a thread: it is hashed again up to `offset`."""
        with self._lock:
            if self._ended:
                raise taken_over(self.incoming)
            kept_bytes = self._disk.size(self.path) or 0
            if kept_bytes < offset:
                raise nothing_kept(self.incoming, offset, kept_bytes)
            self._file = self._disk.reopen(self.path)
            while (rest := offset - self.received_bytes) > 0:
                self._intake.take(self._file.read(min(rest, MIB)))
            self._file.truncate(offset)

    def sync(self) -> int:
        """Make the bytes durable, in a thread; which file they are in."""
        with self._lock:
            if self._file is None:
                raise taken_over(self.incoming)
            self._disk.sync(self._file)
            return os.fstat(self._file.fileno()).st_ino

    def discard(self) -> None:
        """Remove the file, in a thread."""
        with self._lock:
            self._discard()

    def _write(self, data: bytes) -> None:
        with self._lock:
            if self._ended:
                raise taken_over(self.incoming)
            try:
                self._file = self._file or self._disk.create(self.path)
                self._intake.take(data)
                self._disk.write(self._file, data)
                if self.is_complete:
                    complete = self.path.with_name(layout.complete_file(self.incoming, uuid4().hex[:8]))
                    self._disk.rename(self.path, complete)
                    self.path = complete
            except (OSError, ModelkeepError):
                self._discard()
                raise

    def _close(self) -> None:
        with self._lock:
            if not self.is_complete:
                self._end()

    def _discard(self) -> None:
        if self._end() is not None:
            with suppress(OSError):  # what cannot be removed is found by its lease
                self._disk.remove(self.path)

    def _end(self) -> FileIO | None:
        self._ended = True
        file, self._file = self._file, None
        if file is not None:
            file.close()
        return file
