"""Writing very many small files: the folder that they go into stays open, and each costs four calls."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelkeep._target import Target

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


SmallFile = tuple[str, str, bytes, int, int, bool]
"""A file that lies in one chunk: its folder, name and SHA-256, where in the chunk it is and how long, executable or not.

A bare tuple: there are a million of them, and a class would take a third of the time that writing one takes.
"""


class Writer:
    """Writes whole files aside and gives them their names. Hold `lock` while using it. Close it after use."""

    def __init__(self, target: Target, *, durable: bool) -> None:
        self._target = target
        self._durable = durable
        self._folder = ""
        self._descriptor = -1
        self._fresh = False
        self._trace = target.trace()
        """The name that files have until they are whole, one after the other."""
        self.lock = threading.Lock()
        """Two threads at once are slower here than one."""

    def is_fresh(self, folder: str) -> bool:
        """Whether the folder was made by this download, so that nothing is in it that it did not write.

        Raises TargetUnusable, DiskFull.
        """
        if folder != self._folder or self._descriptor < 0:
            self._enter(folder)
        return self._fresh

    def write_all(self, files: Iterable[SmallFile], data: memoryview, begin: int) -> None:
        """Write files, in place of what stands there; `data` has what is in their chunk from `begin` on.

        Raises TargetUnusable, DiskFull.
        """
        for folder, name, _, offset, length, executable in files:
            if folder != self._folder or self._descriptor < 0:
                self._enter(folder)
            temporary, place, part = self._trace.name, self._descriptor, data[offset - begin :][:length]
            try:
                descriptor = os.open(temporary, _FLAGS, 0o777 if executable else 0o666, dir_fd=place)
                try:
                    written = os.write(descriptor, part)
                    while written < length:
                        written += os.write(descriptor, part[written:])
                    if self._durable:
                        os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                os.rename(temporary, name, src_dir_fd=place, dst_dir_fd=place)
                if self._durable:
                    os.fsync(place)
            except OSError as error:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=place)
                raise self._target.unusable(f"{folder}/{name}" if folder else name, error) from None

    def close(self) -> None:
        """Close the folder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _enter(self, folder: str) -> None:
        self.close()
        self._descriptor, self._fresh = self._target.enter(folder)
        self._trace.enter(folder)
        self._folder = folder
