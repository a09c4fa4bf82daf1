"""The lines of a manifest, read a few pages at a time."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from operator import itemgetter
from typing import Final

from modelkeep.digest import Digest

from modelkeep_server.metadata.domain.entry import path_ranges
from modelkeep_server.metadata.domain.manifest import PageSlot
from modelkeep_server.metadata.domain.page import Keyed, Line, read_segment_page
from modelkeep_server.metadata.domain.stretch import Stretch
from modelkeep_server.metadata.ports.transactions import Transactions, Work

PAGES_AT_ONCE: Final = 8
SEGMENT_PAGES_AT_ONCE: Final = 16

by_path: Final = itemgetter(0)

Find = Callable[[Work, bytes, int], Awaitable[Sequence[PageSlot]]]
"""The next slots that may have paths from a path on, from an ordinal on: at most `PAGES_AT_ONCE`."""


async def read_lines(
    transactions: Transactions, layout: Digest, prefix: str = "", after: bytes | None = None
) -> AsyncGenerator[Line]:
    """The lines of a manifest in byte order of path: under a prefix, and after a path. Each read is a short transaction.

    Raises InvalidPath when the prefix is no path.
    """
    async with aclosing(read_some_lines(transactions, layout, prefix, after)) as some:
        async for lines in some:
            for _path, line in lines:
                yield Line.decode(line)


async def read_some_lines(
    transactions: Transactions, layout: Digest, prefix: str, after: bytes | None
) -> AsyncGenerator[Sequence[Keyed]]:
    """The same, some at a time and as they stand in their pages."""
    for first, end in path_ranges(prefix):
        begin = first if after is None else max(first, after + b"\x00")
        async with aclosing(read_manifest(transactions, layout, begin, end)) as pages:
            async for stretch in pages:
                yield stretch.lines


def read_manifest(
    transactions: Transactions, layout: Digest, first: bytes = b"", end: bytes | None = None
) -> AsyncGenerator[Stretch]:
    """The lines of a manifest from a path on and before another one, page by page."""

    async def find(work: Work, begin: bytes, ordinal: int) -> Sequence[PageSlot]:
        return await work.manifests.slots(layout, begin, end, ordinal, PAGES_AT_ONCE)

    return read_slots(transactions, find, first, end)


async def read_slots(
    transactions: Transactions,
    find: Find,
    first: bytes,
    end: bytes | None,
    wanted: Callable[[PageSlot], bool] | None = None,
) -> AsyncGenerator[Stretch]:
    """The lines of pages that are found by their slots, if they are wanted, read a few at a time in short transactions.

    Who comes back for more probably wants all: from then on the next pages are read while the last ones are looked at.
    """
    begin, ordinal, comes_back = first, 0, False
    ahead: asyncio.Task[tuple[Sequence[PageSlot], Mapping[Digest, bytes]]] | None = None
    try:
        while True:
            slots, pages = await (ahead or transactions.read(partial(_read, find, begin, ordinal, wanted)))
            ahead, is_last = None, len(slots) < PAGES_AT_ONCE
            if not is_last:
                begin, ordinal = slots[-1].last_path + b"\x00", slots[-1].ordinal + 1
                if comes_back:
                    ahead = asyncio.create_task(transactions.read(partial(_read, find, begin, ordinal, wanted)))
            for slot in slots:
                if slot.page in pages:
                    yield _within(slot, pages[slot.page], first, end)
            if is_last:
                return
            comes_back = True
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


async def _read(
    find: Find, begin: bytes, ordinal: int, wanted: Callable[[PageSlot], bool] | None, work: Work
) -> tuple[Sequence[PageSlot], Mapping[Digest, bytes]]:
    slots = await find(work, begin, ordinal)
    digests = [slot.page for slot in slots if wanted is None or wanted(slot)]
    return slots, await work.manifests.pages(digests) if digests else {}


def _within(slot: PageSlot, data: bytes, first: bytes, end: bytes | None) -> Stretch:
    """Of a page the lines whose path is `first` or later, and before `end`: the whole of it, if they all are."""
    page = Stretch.of_page(data, slot.first_path, slot.last_path, slot.entry_count, slot.page)
    if slot.first_path >= first and (end is None or slot.last_path < end):
        return page
    lines = page.lines
    stop = len(lines) if end is None else bisect_left(lines, end, key=by_path)
    return Stretch.of(lines[bisect_left(lines, first, key=by_path) : stop])


async def read_segments(transactions: Transactions, segment_pages: bytes) -> AsyncGenerator[bytes]:
    """The segments of a long entry, by the digests of its pages, in their stored form: at most 1,024 at a time."""
    digests = [Digest(segment_pages[i : i + 32]) for i in range(0, len(segment_pages), 32)]
    for start in range(0, len(digests), SEGMENT_PAGES_AT_ONCE):
        some = digests[start : start + SEGMENT_PAGES_AT_ONCE]
        pages = await transactions.read(partial(_read_pages, some))
        for digest in some:
            yield read_segment_page(pages[digest])


async def _read_pages(digests: Sequence[Digest], work: Work) -> Mapping[Digest, bytes]:
    return await work.manifests.pages(digests)
