"""What is over in an offline folder: runs that are removed, and what kills leave there."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from itertools import chain
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


def is_blank(folder: str) -> bool:
    """Whether a run began in this folder and came to record nothing: there is no whole line, nor anything beside.

    A line that was damaged was recorded, and may be mended.
    """
    names = _names(folder)
    if not names <= {JOURNAL, ALIVE, LOCK}:
        return False
    try:
        if JOURNAL in names:
            return not _has_line(os.path.join(folder, JOURNAL))
        return ALIVE in names and not os.path.getsize(os.path.join(folder, ALIVE))
    except OSError:
        return False


def _has_line(path: str) -> bool:
    """Whether a file has a line to its end. Zeros are what a power loss leaves of one; none is written."""
    with open(path, "rb") as file:
        line = file.readline()
        return (line.endswith(b"\n") and b"\0" not in line) or bool(file.read(1))


def remove(folder: str) -> None:
    """Remove a run's folder, and what kills left of those that were beside it."""
    for path in folders_in(_drop(folder)):
        _drop_rest(path)


def sweep(folder: str, *, deep: bool = False) -> None:
    """Remove what kills left in a folder, and of it; with `deep`, wherever it is under it.

    That is folders that were removed in part, and those of runs that were killed before they had a journal. A folder with
    anything else in it stays.
    """
    if is_run(folder):
        return
    for path in chain([folder], folders_in(folder, deep=deep)):
        _drop_rest(path)
        if _never_began(path):
            _drop(path)


def _drop(folder: str) -> str:
    """Remove a folder. What a kill leaves of it is no run any more. Answers where it was."""
    above, name = os.path.split(os.path.abspath(folder))
    gone = os.path.join(above, REMOVING + name)
    with suppress(OSError):
        os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    return above


def _drop_rest(folder: str) -> None:
    """Remove what is left of a folder whose removal was killed."""
    if os.path.basename(folder).startswith(REMOVING) and _names(folder) <= OWN:
        shutil.rmtree(folder, ignore_errors=True)


def _never_began(folder: str) -> bool:
    """Whether the process of a run was killed before it made a journal."""
    if not os.path.exists(os.path.join(folder, ALIVE)) or is_alive(folder):
        return False
    return is_blank(folder) and not is_run(folder)  # asked last: now nobody records here any more


def _names(folder: str) -> set[str]:
    """What is in a folder; a dot where that cannot be read."""
    try:
        return set(os.listdir(folder))
    except OSError:
        return {"."}
