"""The cache as a download uses it: what it has is taken out, and checked; what was fetched goes in."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, Self

from modelkeep._copy import copy_and_hash, sha256_of
from modelkeep._intake import Intake

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelkeep._cache import Cache
    from modelkeep._pack import Pack
    from modelkeep._target import Target
    from modelkeep.manifest import Entry

MOST_PACK_BYTES: Final = 64 << 20
"""Chunks are smaller; something larger is none."""
LARGEST_SHARE: Final = 4
"""A file that would fill more than this part of the cache is not copied into it: it would push out all others."""
_OTHER_DISK: Final = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT})
"""Where there can be no link, a copy does."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class CachedFiles:
    """What one download takes from the cache and gives to it; nothing where there is none."""

    def __init__(self, cache: Cache | None, target: Target, *, durable: bool, link: bool) -> None:
        """`link`: large files are links to what the cache has, and read-only."""
        self._cache = cache
        self._target = target
        self._durable = durable
        self._link = link
        self._intake = Intake(cache) if cache is not None else None
        self._most_copied = cache.limit_bytes // LARGEST_SHARE if cache is not None else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._intake is not None:
            self._intake.close()

    @property
    def keep_chunk(self) -> Callable[[bytes, memoryview], None] | None:
        """What takes a whole and proven chunk; None where there is no cache."""
        return None if self._intake is None else self._keep_chunk

    def _keep_chunk(self, sha256: bytes, data: memoryview) -> None:
        assert self._intake is not None
        self._intake.add("objects", sha256.hex(), data)

    def keep_file(self, entry: Entry, descriptor: int) -> None:
        """Take a proven file that is being downloaded."""
        if self._intake is None:
            return
        size = entry.size_bytes or 0
        if self._link and not entry.executable:
            self._intake.add_link("objects", entry.digest.hex, descriptor, size)
        elif size <= self._most_copied or self._intake.can_share(descriptor):
            self._intake.add_file("objects", entry.digest.hex, descriptor, size)

    def write(self, pack: Pack) -> bool:
        """Write the files of a pack that is here, each proven; whether none is left."""
        if self._cache is None or self._intake is None:
            return False
        name = pack.sha256.hex()
        data = self._intake.read(name, MOST_PACK_BYTES)
        if data is None:
            return False
        pack.write(memoryview(data), 0)
        if pack.files:
            self._cache.drop("objects", name)
            pack.check = True  # all of it, so that the cache has it again
        return not pack.files

    def place(self, entry: Entry) -> bool:
        """Make a large file of what is here, proven; whether there was something."""
        if self._cache is None:
            return False
        source = self._cache.open("objects", entry.digest.hex)
        if source is None:
            return False
        try:
            good = os.fstat(source).st_size == entry.size_bytes and self._take_out(entry, source)
        except OSError:
            good = False  # its disk fails
        finally:
            os.close(source)
        if not good:
            self._cache.drop("objects", entry.digest.hex)
        return good

    def _take_out(self, entry: Entry, source: int) -> bool:
        if not self._link or entry.executable:
            return self._copy(entry, source)
        if sha256_of(source) != entry.digest.sha256:
            return False
        try:
            self._target.link(entry.path, source)
        except OSError as error:
            if error.errno not in _OTHER_DISK:
                raise self._target.unusable(entry.path, error) from None
            return self._copy(entry, source)
        return True

    def _copy(self, entry: Entry, source: int) -> bool:
        draft = self._target.create(entry.path, executable=entry.executable)
        try:
            if copy_and_hash(source, draft.descriptor, entry.size_bytes or 0) != entry.digest.sha256:
                return False
            draft.keep(durable=self._durable)
        except OSError as error:
            if error.errno in _FULL:
                raise self._target.unusable(entry.path, error) from None  # no fault of what is in the cache
            return False
        finally:
            draft.discard()
        return True
