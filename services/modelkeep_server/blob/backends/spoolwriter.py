"""A chunk on its way to a store that takes it only whole."""

from __future__ import annotations

import tempfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelkeep.errors import ModelkeepError

from modelkeep_server.blob.backends.disk import Disk, shown
from modelkeep_server.blob.backends.intake import Intake
from modelkeep_server.blob.backends.refusals import taken_over

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from modelkeep_server.blob.backends.threads import Threads
    from modelkeep_server.blob.domain import Incoming


class SpoolWriter:
    """Writes one chunk to a temporary file without a name: whatever happens, nothing of it stays.

    The lock is held while a thread works on the file, as in `FileWriter`.
    """

    def __init__(self, incoming: Incoming, threads: Threads) -> None:
        self.incoming = incoming
        self._threads = threads
        self._intake = Intake(incoming.chunk)
        self._disk = Disk()
        self._file: FileIO | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def received_bytes(self) -> int:
        """How many bytes it has by now."""
        return self._intake.received_bytes

    async def write(self, data: bytes) -> None:
        """Append, hashing on the way."""
        try:
            await self._threads.run(self._write, data)
        except OSError as error:
            raise shown(error) from error

    async def close(self, *, keep: bool) -> None:  # noqa: ARG002 - the port's signature; nothing is ever kept
        """Let go of it."""
        await self._threads.run(self._close)

    @contextmanager
    def content(self) -> Iterator[FileIO]:
        """All bytes, from the first on; in a thread."""
        with self._lock:
            if self._file is None:
                raise taken_over(self.incoming)
            self._file.seek(0)
            yield self._file

    def _write(self, data: bytes) -> None:
        with self._lock:
            if self._closed:
                raise taken_over(self.incoming)
            try:
                self._file = self._file or tempfile.TemporaryFile(prefix="modelkeep-", buffering=0)  # noqa: SIM115
                self._intake.take(data)
                self._disk.write(self._file, data)
            except (OSError, ModelkeepError):
                self._let_go()
                raise

    def _close(self) -> None:
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        self._closed = True
        if self._file is not None:
            self._file.close()
            self._file = None
