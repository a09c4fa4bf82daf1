"""The folder of the files that exist only in an artifact: it goes with the artifact, and after a kill with the next one's."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
import time
from contextlib import ExitStack, suppress
from hashlib import sha256
from typing import Final
from weakref import finalize

from modelkeep._copy import file_lock

PREFIX: Final = f"modelkeep-artifact-{sha256(os.fsencode(socket.gethostname())).hexdigest()[:8]}-"
"""What the names of these folders begin with, on this host and no other: some file systems lock for one host only."""
LOCK: Final = "lock"
"""The file in the folder that its process holds, and so do its forked children, for as long as they live."""
BEGIN_SECONDS: Final = 60.0
"""How long a process may take from making the folder to locking it."""


def make_folder(owner: object) -> str:
    """Make a folder for files of this process, which is removed when `owner` is gone or the process ends. Raises OSError."""
    if hasattr(os, "getuid"):
        _remove_left_behind(os.getuid())  # first: what was left may have filled the disk
    folder = tempfile.mkdtemp(prefix=PREFIX)
    held, lock = ExitStack(), os.path.join(folder, LOCK)
    try:
        held.enter_context(file_lock(lock))
    except (OSError, ImportError):  # where nothing can be locked, it is never taken for one that was left behind
        with suppress(OSError):
            os.unlink(lock)
    finalize(owner, _end, folder, held, os.getpid())
    return folder


def _end(folder: str, held: ExitStack, process: int) -> None:
    if os.getpid() == process:  # a child that was forked meanwhile comes here too when it ends, and its parent goes on
        _remove(folder)
    held.close()


def _remove_left_behind(user: int) -> None:
    """Remove what processes of this user left that are gone."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                with suppress(OSError, ImportError):
                    _remove_if_left_behind(entry.path, user)


def _remove_if_left_behind(folder: str, user: int) -> None:
    found = os.lstat(folder)
    is_begun = time.time() - found.st_mtime > BEGIN_SECONDS
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or not is_begun:
        return
    try:
        with file_lock(os.path.join(folder, LOCK), make=False, wait=False) as lock:
            if lock is not None:
                _remove(folder)
    except FileNotFoundError:
        os.rmdir(folder)  # killed before the lock; one with files is of somebody who could not lock


def _remove(folder: str) -> None:
    """Remove a folder, its lock last: whatever this is interrupted over can be told to be left behind."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if name != LOCK:
                with suppress(OSError):
                    os.unlink(os.path.join(folder, name))
    shutil.rmtree(folder, ignore_errors=True)
