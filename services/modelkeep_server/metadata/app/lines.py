"""The lines of a manifest, read a few pages at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import Final

from modelkeep.digest import Digest

from modelkeep_server.metadata.domain.entry import path_ranges
from modelkeep_server.metadata.domain.manifest import PageSlot
from modelkeep_server.metadata.domain.page import Line, read_page, read_segment_page
from modelkeep_server.metadata.ports.transactions import Transactions, Work

PAGES_AT_ONCE: Final = 4
SEGMENT_PAGES_AT_ONCE: Final = 16


async def read_lines(
    transactions: Transactions, layout: Digest, prefix: str = "", after: bytes | None = None
) -> AsyncGenerator[Line]:
    """The lines of a manifest in byte order of path: under a prefix, and after a path. Each read is a short transaction.

    Raises InvalidPath when the prefix is no path.
    """
    for first, end in path_ranges(prefix):
        ordinal = 0
        begin = first if after is None else max(first, after)
        while True:
            slots, pages = await _read(transactions, layout, begin, end, ordinal)
            for slot in slots:
                for line in read_page(pages[slot.page]):
                    path = line.path
                    if path >= first and (end is None or path < end) and (after is None or path > after):
                        yield line
            if len(slots) < PAGES_AT_ONCE:
                break
            ordinal = slots[-1].ordinal + 1


async def _read(
    transactions: Transactions, layout: Digest, first: bytes, end: bytes | None, ordinal: int
) -> tuple[Sequence[PageSlot], Mapping[Digest, bytes]]:
    async def step(work: Work) -> tuple[Sequence[PageSlot], Mapping[Digest, bytes]]:
        slots = await work.manifests.slots(layout, first, end, ordinal, PAGES_AT_ONCE)
        return slots, await work.manifests.pages([slot.page for slot in slots])

    return await transactions.read(step)


async def read_segments(transactions: Transactions, line: Line) -> AsyncGenerator[bytes]:
    """The segments of an entry in their stored form, at most 1,024 at a time."""
    if line.segments:
        yield line.segments
    digests = line.page_digests()
    for start in range(0, len(digests), SEGMENT_PAGES_AT_ONCE):
        some = digests[start : start + SEGMENT_PAGES_AT_ONCE]
        pages = await transactions.read(partial(_read_pages, some))
        for digest in some:
            yield read_segment_page(pages[digest])


async def _read_pages(digests: Sequence[Digest], work: Work) -> Mapping[Digest, bytes]:
    return await work.manifests.pages(digests)
