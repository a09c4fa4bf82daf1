"""What is over in an offline folder: runs that are removed, and what kills leave there."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from typing import Final

from modelkeep._offline_find import ALIVE, LOCK, NOTES, REMOVING, folders_in, is_run
from modelkeep._offline_version import JOURNAL

OWN: Final = frozenset({JOURNAL, ALIVE, LOCK, NOTES, "objects", "manifests"})
"""All that a run and its syncs put into its folder."""


def is_alive(folder: str) -> bool:
    """Whether the process of the run, or a child of it, may still record."""
    try:
        descriptor = os.open(os.path.join(folder, ALIVE), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # the folder came from another machine
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove(folder: str) -> None:
    """Remove a run's folder. What a kill leaves of it is no run any more, and goes with the next that is removed beside it."""
    above, name = os.path.split(os.path.abspath(folder))
    gone = os.path.join(above, REMOVING + name)
    with suppress(OSError):
        os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    sweep(above)


def sweep(folder: str, *, deep: bool = False) -> None:
    """Remove what kills left in a folder; with `deep`, wherever it is under it. A folder with anything else in it stays."""
    if is_run(folder):
        return
    for path in folders_in(folder, deep=deep):
        if os.path.basename(path).startswith(REMOVING) and _names(path) <= OWN:
            shutil.rmtree(path, ignore_errors=True)


def _names(folder: str) -> set[str]:
    """What is in a folder; a dot where that cannot be read."""
    try:
        return set(os.listdir(folder))
    except OSError:
        return {"."}
