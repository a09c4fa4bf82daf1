"""Merging: what a draft is now, of its base, of its runs, and of the single lines over both, in byte order of path."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

from modelkeep.digest import Digest

from modelkeep_server.metadata.app.lines import PAGES_AT_ONCE, by_path, read_manifest, read_slots
from modelkeep_server.metadata.domain.draft import Draft
from modelkeep_server.metadata.domain.entry import folders_above
from modelkeep_server.metadata.domain.manifest import PageSlot
from modelkeep_server.metadata.domain.page import Keyed
from modelkeep_server.metadata.domain.stretch import Stretch
from modelkeep_server.metadata.ports.transactions import Transactions, Work

READ_BYTES: Final = 2 << 20
READ_ROWS: Final = 8192
"""How much of the single lines is read at once, up to the line that reaches it, and how many of them: whichever comes first."""

Lines = AsyncGenerator[Stretch]


class DraftLines:
    """The entries of a draft, as a stream that is read in many short transactions: it may change meanwhile (`revision`)."""

    def __init__(self, transactions: Transactions, draft: Draft) -> None:
        self._transactions = transactions
        self._draft = draft
        self.pages: set[Digest] = set()
        """The pages that were read so far: written already, and kept for as long as the draft is open."""

    async def read(self, first: bytes = b"", end: bytes | None = None) -> Lines:
        """The lines from a path on and before another one, some at a time."""
        mask = await self._masked_until(first)
        below = _union(_Cursor(self._base(first, end)), _Cursor(self._runs(first, end)))
        async with aclosing(_overlay(_Cursor(below), _Cursor(self._over(first, end)), mask)) as merged:
            async for stretch in merged:
                yield stretch

    async def _masked_until(self, first: bytes) -> bytes:
        folders = folders_above(first)
        if not folders:
            return b""
        found = await self._transactions.read(lambda work: work.draft_entries.lines(self._draft.name, folders))
        return max((end_of(folder) for folder in found), default=b"")

    async def _base(self, first: bytes, end: bytes | None) -> Lines:
        if self._draft.base is None or (layout := self._draft.base.layout) is None:
            return
        async with aclosing(read_manifest(self._transactions, layout, first, end)) as pages:
            async for stretch in pages:
                yield self._seen(stretch)

    async def _runs(self, first: bytes, end: bytes | None) -> Lines:
        async def find(work: Work, begin: bytes, _ordinal: int) -> Sequence[PageSlot]:
            return await work.draft_entries.runs(self._draft.name, begin, end, PAGES_AT_ONCE)

        async with aclosing(read_slots(self._transactions, find, first, end)) as pages:
            async for stretch in pages:
                yield self._seen(stretch)

    def _seen(self, stretch: Stretch) -> Stretch:
        if stretch.page:
            self.pages.add(stretch.page)
        return stretch

    async def _over(self, first: bytes, end: bytes | None) -> Lines:
        while lines := await self._transactions.read(partial(self._read_over, first, end)):
            yield Stretch.of(lines)
            first = lines[-1][0] + b"\x00"

    async def _read_over(self, first: bytes, end: bytes | None, work: Work) -> Sequence[Keyed]:
        return await work.draft_entries.lines_from(self._draft.name, first, end, READ_ROWS, READ_BYTES)


_NONE: Final = Stretch.of([])


class _Cursor:
    """A stream of sorted lines, of which the next ones can be looked at."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.head = _NONE

    async def fill(self) -> bool:
        """Whether there are more."""
        while not len(self.head):
            found = await anext(self._lines, None)
            if found is None:
                return False
            self.head = found
        return True

    def take(self, last: bytes) -> Stretch:
        """Those of the next lines whose path is `last` or earlier; a page that goes as a whole is not split."""
        head = self.head
        if not len(head) or head.last_path <= last:
            self.head = _NONE
            return head
        cut = bisect_right(head.lines, last, key=by_path)
        self.head = Stretch.of(head.lines[cut:])
        return Stretch.of(head.lines[:cut])

    async def close(self) -> None:
        await self._lines.aclose()


async def _together(one: _Cursor, other: _Cursor) -> AsyncGenerator[tuple[Stretch, Stretch]]:
    """The lines of two streams, some at a time, cut so that all of a step sort before all of the next."""
    try:
        while True:
            ends = [cursor.head.last_path for cursor in (one, other) if await cursor.fill()]
            if not ends:
                return
            last = min(ends)
            yield one.take(last), other.take(last)
    finally:
        await one.close()
        await other.close()


async def _union(one: _Cursor, other: _Cursor) -> Lines:
    """The lines of two streams that have no path in common."""
    async with aclosing(_together(one, other)) as steps:
        async for first, second in steps:
            if len(first) and len(second):
                yield Stretch.of(sorted([*first.lines, *second.lines]))
            else:
                yield first if len(first) else second


async def _overlay(below: _Cursor, over: _Cursor, mask: bytes) -> Lines:
    """What is below, but for what the lines over it replace and take out. Until `mask` nothing below counts."""
    async with aclosing(_together(below, over)) as steps:
        async for lines, changes in steps:
            merged = lines
            if len(changes) or (len(lines) and lines.first_path < mask):
                kept, mask = _laid_over(lines.lines, changes.lines, mask)
                merged = Stretch.of(kept)
            if len(merged):
                yield merged


def _laid_over(lines: Sequence[Keyed], changes: Sequence[Keyed], mask: bytes) -> tuple[list[Keyed], bytes]:
    replaced = {path for path, _ in changes}
    folders = [path for path, _ in changes if path.endswith(b"/")]
    folders.reverse()
    kept = []
    for keyed in lines:
        path = keyed[0]
        while folders and folders[-1] < path:
            mask = max(mask, end_of(folders.pop()))
        if path >= mask and path not in replaced:
            kept.append(keyed)
    mask = max([mask, *map(end_of, folders)])
    return sorted(kept + [keyed for keyed in changes if keyed[1]]), mask


def end_of(folder: bytes) -> bytes:
    """Where what lies under a folder, given with its slash, ends in byte order: before this."""
    return folder[:-1] + b"0"
