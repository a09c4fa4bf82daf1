"""Filling: the entries of a stream on their way into an open draft.

Entries that come more or less in byte order of path, where the draft has little yet, are cut into the pages of the manifest at
once: runs. All others become lines, one row each, which count more than what the runs and the base of the draft have.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Final

from modelkeep.errors import LimitExceeded

from modelkeep_server.metadata.app.lines import PAGES_AT_ONCE, by_path, read_slots
from modelkeep_server.metadata.domain.draft import Draft
from modelkeep_server.metadata.domain.entry import Batch, folders_above, is_same, require_same
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.domain.manifest import PageSlot
from modelkeep_server.metadata.domain.page import Keyed, Page, PageCutter, split_page
from modelkeep_server.metadata.ports.transactions import Transactions, Work

BATCH_LINES: Final = 4096
BATCH_BYTES: Final = 1 << 20
"""What one transaction writes of a stream of entries: whichever comes first."""
MERGED_RUNS: Final = 16
"""With how many runs a batch is merged; where it meets more, its entries become lines."""


class Filler:
    """Puts the entries of one stream into a draft, batch by batch."""

    def __init__(self, transactions: Transactions, limits: Limits, draft: Draft, *, overwrite: bool) -> None:
        self._transactions = transactions
        self._limits = limits
        self._draft = draft
        self._overwrite = overwrite
        self._cutter = PageCutter()
        self._last = b""
        self._pages: list[Page] = []
        self._bytes = 0

    async def put(self, batch: Batch) -> None:
        """Take a batch. Raises DraftNotFound, DraftNotOpen, PathConflict, LimitExceeded, also for batches before it."""
        if batch.pages:
            await self._transactions.write(lambda work: self._write_segments(work, batch))
        lines = sorted(batch.lines.items())
        late = bisect_right(lines, self._last, key=by_path)
        if 2 * late > len(lines) or (late and self._overwrite):  # the order begins anew, or what comes late counts more
            await self.flush()
        if late and 2 * late <= len(lines):
            await self._write(cut(lines[:late]))
            lines = lines[late:]
        for page in self._cutter.extend(lines):
            self._keep(page)
        if lines:
            self._last = lines[-1][0]
        if self._bytes >= BATCH_BYTES:
            await self._write(self._taken())

    async def flush(self) -> None:
        """Write all that was taken. Raises what `put` raises."""
        if page := self._cutter.rest():
            self._keep(page)
        self._cutter, self._last = PageCutter(), b""
        await self._write(self._taken())

    def _keep(self, page: Page) -> None:
        self._pages.append(page)
        self._bytes += len(page.data)

    def _taken(self) -> list[Page]:
        pages, self._pages, self._bytes = self._pages, [], 0
        return pages

    async def _write_segments(self, work: Work, batch: Batch) -> None:
        await work.drafts.prolong(self._draft.name, self._limits.draft_lifetime)
        await work.manifests.add_pages(self._draft.name, batch.pages)

    async def _write(self, pages: Sequence[Page]) -> None:
        in_base = await in_manifest(self._transactions, self._draft, pages) if self._draft.base else {}

        async def step(work: Work) -> None:
            count, _ = await work.drafts.prolong(self._draft.name, self._limits.draft_lifetime)
            if pages:
                added = await self._add_runs(work, pages) if not in_base else None
                added = await self._add_lines(work, pages, in_base) if added is None else added
                if count + added > self._limits.max_entries:
                    most = self._limits.max_entries
                    message = f"a version has at most {most:,} entries; pack small files, or log several versions"
                    raise LimitExceeded(message, field="entries", limit=most)

        await self._transactions.write(step)

    async def _add_runs(self, work: Work, pages: Sequence[Page]) -> int | None:
        """Make pages runs, merged with the few runs that are there; how many entries came, None when that cannot be."""
        name, first, last = self._draft.name, pages[0].first_path, pages[-1].last_path
        if await work.draft_entries.has_lines(name, first, last, folders_above(first)):
            return None
        there = await work.draft_entries.runs(name, first, last + b"\x00", MERGED_RUNS + 1)
        if len(there) > MERGED_RUNS:
            return None
        added = sum(page.entry_count for page in pages)
        if there:
            known: dict[bytes, bytes] = {}
            for data in (await work.manifests.pages([slot.page for slot in there])).values():
                known.update(split_page(data))
            fresh, added = self._fresh(_lines_of(pages), Current(known, {}))
            if not fresh:
                return 0
            pages = cut(sorted((known | fresh).items()))
        await work.draft_entries.set_runs(name, pages, [slot.page for slot in there])
        await work.draft_entries.changed(name, added)
        return added

    async def _add_lines(self, work: Work, pages: Sequence[Page], in_base: Mapping[bytes, bytes]) -> int:
        """Keep the entries of pages line by line; how many came."""
        lines = _lines_of(pages)
        fresh, added = self._fresh(lines, await Current.of(work, self._draft, lines, in_base))
        if fresh:
            await work.draft_entries.put_lines(self._draft.name, fresh)
            await work.draft_entries.changed(self._draft.name, added)
        return added

    def _fresh(self, lines: Mapping[bytes, bytes], current: Current) -> tuple[dict[bytes, bytes], int]:
        """The lines that are not in the draft like this, and of how many paths it has nothing. Raises PathConflict."""
        fresh: dict[bytes, bytes] = {}
        added = 0
        for path, line in lines.items():
            known = current.line(path)
            if not known:
                added += 1
            elif is_same(known, line):
                continue
            elif not self._overwrite:
                require_same(known, line)
            fresh[path] = line
        return fresh, added


class Current:
    """What a locked draft has for some paths."""

    def __init__(self, over: Mapping[bytes, bytes], below: Mapping[bytes, bytes]) -> None:
        self._over = over
        self._below = below
        self._has_masks = any(path.endswith(b"/") for path in over)

    @classmethod
    async def of(cls, work: Work, draft: Draft, paths: Mapping[bytes, object], in_base: Mapping[bytes, bytes]) -> Current:
        """By its lines, its runs, and what its base has for the paths."""
        folders = {folder for path in paths for folder in folders_above(path)}
        over = await work.draft_entries.lines(draft.name, [*paths, *folders])
        below = dict(in_base)
        wanted = sorted(paths)
        begin = wanted[0]
        while True:
            slots = await work.draft_entries.runs(draft.name, begin, wanted[-1] + b"\x00", PAGES_AT_ONCE)
            pages = await work.manifests.pages([slot.page for slot in slots if _has_any(wanted, slot)])
            for data in pages.values():
                below.update(keyed for keyed in split_page(data) if keyed[0] in paths)
            if len(slots) < PAGES_AT_ONCE:
                return cls(over, below)
            begin = slots[-1].last_path + b"\x00"

    def line(self, path: bytes) -> bytes:
        """The line of a path; nothing if the draft does not have it."""
        if path in self._over:
            return self._over[path]
        if self._has_masks and any(folder in self._over for folder in folders_above(path)):
            return b""
        return self._below.get(path, b"")


async def in_manifest(transactions: Transactions, draft: Draft, pages: Sequence[Page]) -> dict[bytes, bytes]:
    """The lines that the base of a draft has for the paths of pages."""
    wanted = sorted(path for page in pages for path, _ in split_page(page.data))
    if draft.base is None or (layout := draft.base.layout) is None or not wanted:
        return {}
    end = wanted[-1] + b"\x00"

    async def find(work: Work, begin: bytes, ordinal: int) -> Sequence[PageSlot]:
        return await work.manifests.slots(layout, begin, end, ordinal, PAGES_AT_ONCE)

    found: dict[bytes, bytes] = {}
    paths = set(wanted)
    slots = read_slots(transactions, find, wanted[0], end, lambda slot: _has_any(wanted, slot))
    async with aclosing(slots) as read:
        async for stretch in read:
            found.update(keyed for keyed in stretch.lines if keyed[0] in paths)
    return found


def cut(lines: Sequence[Keyed]) -> list[Page]:
    """Sorted lines as pages."""
    cutter = PageCutter()
    pages = cutter.extend(lines)
    rest = cutter.rest()
    return [*pages, rest] if rest else pages


def _lines_of(pages: Sequence[Page]) -> dict[bytes, bytes]:
    return {path: line for page in pages for path, line in split_page(page.data)}


def _has_any(paths: Sequence[bytes], slot: PageSlot) -> bool:
    """Whether one of sorted paths may be in a page."""
    at = bisect_left(paths, slot.first_path)
    return at < len(paths) and paths[at] <= slot.last_path
