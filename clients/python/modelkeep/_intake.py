"""What a download gives to the cache.

The cache is a help and never in the way: whatever fails here ends the intake, never the download.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from modelkeep._cache import LOCK
from modelkeep._copy import clone, copy_file, file_lock
from modelkeep._target import sync_file_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelkeep._cache import Cache, Kind

RESERVE_BYTES: Final = 64 << 20
"""Room is asked for in pieces of this size: asking takes a lock."""
FEW: Final = 8
"""So many files are made durable one by one; more of them with all that is on the disk."""
_log: Final = logging.getLogger("modelkeep")


class Intake:
    """Entries on their way in, from any thread. They count once they are durable: from `commit` on."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._place = ExitStack()
        self._folder = ""
        self._seen: set[str] = set()
        self._ready: dict[str, tuple[Kind, str, int]] = {}
        self._claim = -1
        self._room = 0
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let count what came in."""
        self.commit()
        with self._lock:
            self._end()

    def add(self, kind: Kind, name: str, data: bytes | bytearray | memoryview) -> None:
        """Keep these bytes."""
        self._add(kind, name, len(data), lambda path: _write(path, data))

    def add_file(self, kind: Kind, name: str, source: int, size_bytes: int) -> None:
        """Keep what the open file `source` has."""
        self._add(kind, name, size_bytes, lambda path: _copy(path, source, size_bytes))

    def add_link(self, kind: Kind, name: str, source: int, size_bytes: int) -> None:
        """Keep the open file `source` itself, which nobody may write to from now on; a copy, where it lies on another disk."""
        self._add(kind, name, size_bytes, lambda path: _link(path, source, size_bytes))

    def can_share(self, source: int) -> bool:
        """Whether a copy of the open file `source` would share its blocks, and so take neither room nor time."""
        try:
            with self._lock:
                if self._ended:
                    return False
                self._begin()
            path = os.path.join(self._folder, secrets.token_hex(8))
            with _made(path) as descriptor:
                os.unlink(path)
                return clone(source, descriptor)
        except OSError:
            return False

    def replace(self, kind: Kind, name: str, data: bytes) -> None:
        """Keep these bytes in place of what has the name now."""
        self._add(kind, name, len(data), lambda path: _write(path, data), anew=True)

    def read(self, name: str, most_bytes: int) -> bytes | None:
        """An object that is in the cache, or on its way into it; not checked yet."""
        if f"objects-{name}" in self._ready:
            with suppress(OSError), open(os.path.join(self._folder, f"objects-{name}"), "rb", buffering=0) as file:
                return file.read(most_bytes)
        return self._cache.read("objects", name, most_bytes)

    def commit(self) -> None:
        """Make durable what came in so far, and let it count."""
        with self._lock:
            ready = dict(self._ready)
            try:
                if ready:
                    self._sync(list(ready))
                for temporary, (kind, name, _) in ready.items():
                    self._cache.keep(os.path.join(self._folder, temporary), kind, name)
                    del self._ready[temporary]
            except OSError as error:
                self._fail(error)

    def _sync(self, names: list[str]) -> None:
        paths = [self._folder] if len(names) > FEW else [os.path.join(self._folder, name) for name in names]
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                sync_file_system(descriptor) if len(names) > FEW else os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _add(self, kind: Kind, name: str, size_bytes: int, make: Callable[[str], None], *, anew: bool = False) -> None:
        temporary = f"{kind}-{name}"
        try:
            with self._lock:
                if self._ended or temporary in self._seen or (not anew and self._cache.has(kind, name)):
                    return
                if not self._admit(size_bytes):
                    return
                self._seen.add(temporary)
            make(os.path.join(self._folder, temporary))
        except OSError as error:
            with self._lock:
                self._fail(error)
            return
        with self._lock:
            if not self._ended:
                self._ready[temporary] = (kind, name, size_bytes)
                self._filled(size_bytes)

    def _admit(self, size_bytes: int) -> bool:
        """Whether there is room for it."""
        self._begin()
        if self._room < size_bytes:
            piece = max(size_bytes, min(RESERVE_BYTES, self._cache.limit_bytes // 16))
            if not self._cache.reserve(piece, self._claim):
                return False
            self._room += piece
        self._room -= size_bytes
        return True

    def _filled(self, size_bytes: int) -> None:
        """Claim so much less: a file that is there counts by itself."""
        with suppress(OSError):
            os.ftruncate(self._claim, max(os.fstat(self._claim).st_size - size_bytes, 0))

    def _begin(self) -> None:
        if not self._folder:
            folder = os.path.join(self._cache.incoming, secrets.token_hex(8))
            os.makedirs(folder, mode=0o700)
            claim = self._place.enter_context(file_lock(os.path.join(folder, LOCK)))
            assert claim is not None
            self._claim, self._folder = claim, folder

    def _fail(self, error: OSError) -> None:
        if not self._ended:
            _log.warning("the cache in %s takes nothing more of this download: %s", self._cache.folder, error.strerror or error)
        self._end()

    def _end(self) -> None:
        """Leave nothing that does not count."""
        self._ended = True
        self._room += sum(size for _, _, size in self._ready.values())
        self._ready.clear()
        if self._room:
            with suppress(OSError):
                self._cache.give_back(self._room, self._claim)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._place.close()
        self._room = 0


@contextmanager
def _made(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    with _made(path) as descriptor:
        while view:
            view = view[os.write(descriptor, view) :]


def _copy(path: str, source: int, size_bytes: int) -> None:
    with _made(path) as descriptor:
        copy_file(source, descriptor, size_bytes)


def _link(path: str, source: int, size_bytes: int) -> None:
    folder, name = os.path.split(path)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(f"/proc/self/fd/{source}", name, dst_dir_fd=place, follow_symlinks=True)
    except OSError:
        _copy(path, source, size_bytes)
    else:
        os.fchmod(source, 0o444)
    finally:
        os.close(place)
