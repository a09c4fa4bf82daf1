"""Secrets that a killed process left under a name that nobody knows, on their way to the file that they were meant for."""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import suppress
from typing import Final

LEFT_BEHIND_SECONDS: Final = 3600.0
"""No process takes so long to write a small file."""


def remove_left_behind(folder: str, pattern: str) -> None:
    """Remove the files of a folder whose whole name fits the pattern, if they are old. What cannot be removed stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if re.fullmatch(pattern, entry.name):
                with suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > LEFT_BEHIND_SECONDS:
                        os.unlink(entry.path)
