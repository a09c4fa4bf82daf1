"""Bytes from file to file without passing through Python, and what keeps processes apart."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_BYTES: Final = 1 << 20
"""So much at a time: what was copied is still near when it is hashed."""
_FICLONE: Final = 0x40049409
_IN_KERNEL: Final = hasattr(os, "copy_file_range")
_CANNOT: Final = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM, errno.ETXTBSY})


def copy_file(source: int, target: int, size_bytes: int) -> None:
    """Make the empty file `target` what `source` is: by sharing blocks where the disk can, else by copying. Raises OSError."""
    if clone(source, target):
        return
    for offset in range(0, size_bytes, STEP_BYTES):
        _copy_step(source, target, offset, min(STEP_BYTES, size_bytes - offset))


def copy_and_hash(source: int, target: int, size_bytes: int) -> bytes:
    """The same, and the SHA-256 of what `target` has then. Raises OSError."""
    cloned = clone(source, target)
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(min(STEP_BYTES, max(size_bytes, 1))))
    for offset in range(0, size_bytes, STEP_BYTES):
        length = min(STEP_BYTES, size_bytes - offset)
        if not cloned:
            _copy_step(source, target, offset, length)
        hasher.update(buffer[: os.preadv(target, [buffer[:length]], offset)])
    return hasher.digest()


def sha256_of(descriptor: int, begin: int = 0, end: int | None = None) -> bytes:
    """The SHA-256 of a file, or of a part of it. Raises OSError."""
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(STEP_BYTES))
    while end is None or begin < end:
        count = os.preadv(descriptor, [buffer if end is None else buffer[: end - begin]], begin)
        if not count:
            break
        hasher.update(buffer[:count])
        begin += count
    return hasher.digest()


def clone(source: int, target: int) -> bool:
    """Let `target` share the blocks of `source`. False where the disk cannot do that."""
    try:
        import fcntl  # noqa: PLC0415 - not everywhere

        fcntl.ioctl(target, _FICLONE, source)
    except (OSError, ImportError):
        return False
    return True


def _copy_step(source: int, target: int, offset: int, length: int) -> None:
    end = offset + length
    while offset < end:
        count = 0
        try:
            if _IN_KERNEL:
                count = os.copy_file_range(source, target, end - offset, offset, offset)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
        if not count:
            data = os.pread(source, end - offset, offset)
            count = (
                os.pwrite(target, data, offset) if data else end - offset
            )  # a source that got shorter is found by its digest
        offset += count


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def file_lock(path: str, *, make: bool = True, wait: bool = True) -> Iterator[int | None]:
    """Hold a file against all others; the file, or None when somebody else has it and `wait` is off.

    Raises OSError; FileNotFoundError when there is no such file and `make` is off.
    """
    import fcntl  # noqa: PLC0415 - not everywhere

    flags, process = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), os.getpid()
    descriptor = os.open(path, flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        yield descriptor
    finally:
        with suppress(OSError):
            if os.getpid() == process:  # a child that was forked meanwhile has the file open for as long as it lives
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        with suppress(OSError):
            os.close(descriptor)
