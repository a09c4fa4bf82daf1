"""Many ids in little memory: a walk through a million nodes keeps a byte for each, or two (flat memory).

Columns of ids are numpy arrays: a loop in Python over the edges of a walk takes longer than the database takes to read them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
"""One column of ids, shape (n,)."""
Marks = NDArray[np.bool_]
"""Which of such a column are meant, shape (n,)."""

_BITS: Final = 15
_PAGE: Final = 1 << _BITS
_MASK: Final = _PAGE - 1

FARTHEST: Final = 0xFFFF
"""Depths beyond it count as it."""


def ints(ids: Iterable[int] = ()) -> Ints:
    """A column of these ids."""
    return np.fromiter(ids, np.int64)


def are_among(ids: Ints, ascending: Ints) -> Marks:
    """Which of some ids, in any order, are among ascending ones."""
    if not len(ascending):
        return np.zeros(len(ids), np.bool_)
    places = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return np.equal(ascending[places], ids)


def _paged(ids: Ints) -> Iterator[tuple[int, slice]]:
    """The pages of ascending ids, and where the ids of each are."""
    numbers = ids >> _BITS
    others = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    for start, end in pairwise([0, *others.tolist(), len(ids)] if len(ids) else ()):
        yield int(numbers[start]), slice(start, end)


class IdSet:
    """A set of ids, a byte each, in pages that are made when they are needed."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._pages: dict[int, bytearray] = {}
        self._count = 0
        self.add_new(ints(ids))

    def __contains__(self, id_: int) -> bool:
        page = self._pages.get(id_ >> _BITS)
        return page is not None and bool(page[id_ & _MASK])

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        """In ascending order."""
        for number in sorted(self._pages):
            page = self._pages[number]
            place = page.find(1)
            while place >= 0:
                yield number << _BITS | place
                place = page.find(1, place + 1)

    def add(self, id_: int) -> bool:
        """Add an id; whether it was not there."""
        page = self._pages.get(id_ >> _BITS)
        if page is None:
            page = self._pages[id_ >> _BITS] = bytearray(_PAGE)
        is_new = not page[id_ & _MASK]
        page[id_ & _MASK] = 1
        self._count += is_new
        return is_new

    def add_new(self, ids: Ints) -> Ints:
        """Add ids; those that were not there, each once, in ascending order."""
        some = np.unique(ids)
        return some[self.add_ascending(some)]

    def add_ascending(self, ids: Ints) -> Marks:
        """Add ids that are ascending, each once; which of them were not there."""
        fresh = np.ones(len(ids), np.bool_)
        for number, part in _paged(ids):
            if number not in self._pages:
                self._pages[number] = bytearray(_PAGE)
            page = np.frombuffer(self._pages[number], np.bool_)
            places = ids[part] & _MASK
            fresh[part] = ~page[places]
            page[places] = True
        self._count += int(np.count_nonzero(fresh))
        return fresh

    def among(self, ids: Ints) -> Marks:
        """Which of some ids, in any order, are there."""
        some, places = np.unique(ids, return_inverse=True)
        found = np.zeros(len(some), np.bool_)
        for number, part in _paged(some):
            if number in self._pages:
                found[part] = np.frombuffer(self._pages[number], np.bool_)[some[part] & _MASK]
        return found[places]


class Depths:
    """How far each id is from somewhere; two bytes each."""

    def __init__(self) -> None:
        self._pages: dict[int, NDArray[np.uint16]] = {}

    def set(self, ids: Ints, depth: int) -> None:
        """Note a depth of at least 1 for ascending ids."""
        for number, part in _paged(ids):
            if number not in self._pages:
                self._pages[number] = np.zeros(_PAGE, np.uint16)
            self._pages[number][ids[part] & _MASK] = min(depth, FARTHEST)

    def of(self, ids: Ints) -> Ints:
        """The depths of ascending ids; 0 for one that has none."""
        found = np.zeros(len(ids), np.int64)
        for number, part in _paged(ids):
            if number in self._pages:
                found[part] = self._pages[number][ids[part] & _MASK]
        return found


class Numbers:
    """A number for each id; four bytes each."""

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}

    def swap(self, id_: int, number: int) -> int:
        """Give an id a number; the one that it had, or 0."""
        page = self._pages.get(id_ >> _BITS)
        if page is None:
            page = self._pages[id_ >> _BITS] = array("i", bytes(4 * _PAGE))
        before, page[id_ & _MASK] = page[id_ & _MASK], number
        return before

    def get(self, id_: int) -> int:
        """The number of an id; 0 for one that has none."""
        page = self._pages.get(id_ >> _BITS)
        return 0 if page is None else page[id_ & _MASK]
