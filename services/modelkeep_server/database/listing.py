"""Pages of rows that carry words: bounded in bytes, not only in rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MAX_CHARACTERS: Final = 512 * 1024
"""Of all the rows of one page: at most 2 MiB in UTF-8, well within a message."""


def fitting(characters: Sequence[int], size: int) -> int:
    """How many of the first rows go on a page of `size`, by how many characters each has. At least one, if there is one."""
    total = 0
    for count, length in enumerate(characters[:size]):
        total += length
        if count and total > MAX_CHARACTERS:
            return count
    return min(len(characters), size)
