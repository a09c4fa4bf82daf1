"""Many ids in little memory: a walk through a million nodes keeps a byte for each, or two (flat memory)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

_BITS: Final = 15
_PAGE: Final = 1 << _BITS
_MASK: Final = _PAGE - 1

FARTHEST: Final = 0xFFFF
"""Depths beyond it count as it."""


class IdSet:
    """A set of ids, a byte each, in pages that are made when they are needed."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._pages: dict[int, bytearray] = {}
        self._count = 0
        self.add_new(ids)

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

    def add_new(self, ids: Iterable[int]) -> list[int]:
        """Add ids; those that were not there, each once, in ascending order."""
        pages = self._pages
        fresh = []
        number, page = -1, bytearray()
        for id_ in sorted(set(ids)):
            if id_ >> _BITS != number:
                number = id_ >> _BITS
                page = pages.get(number) or pages.setdefault(number, bytearray(_PAGE))
            if not page[id_ & _MASK]:
                page[id_ & _MASK] = 1
                fresh.append(id_)
        self._count += len(fresh)
        return fresh


class Depths:
    """How far each id is from somewhere; two bytes each."""

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}

    def set(self, ids: Iterable[int], depth: int) -> None:
        """Note a depth of at least 1 for ids."""
        for id_ in ids:
            page = self._pages.get(id_ >> _BITS)
            if page is None:
                page = self._pages[id_ >> _BITS] = array("H", bytes(2 * _PAGE))
            page[id_ & _MASK] = min(depth, FARTHEST)

    def get(self, id_: int) -> int:
        """The depth of an id; 0 for one that has none."""
        page = self._pages.get(id_ >> _BITS)
        return 0 if page is None else page[id_ & _MASK]


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
