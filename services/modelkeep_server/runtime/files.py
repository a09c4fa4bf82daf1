"""Small files that other processes read: written whole or not at all, and private from their first byte.

What a process that was killed left of one under another name, which may be a secret, goes when that file is written again.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from uuid import uuid4

from modelkeep._left_behind import remove_left_behind

PRIVATE = 0o600


def write(path: Path, data: bytes, *, mode: int = PRIVATE, replace: bool = True) -> None:
    """Write a file durably, under its final name only when it is whole.

    Raises FileExistsError when it exists and `replace` is false, OSError when it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left_behind(str(path.parent), rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}")
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            aside.replace(path)
        else:
            os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
